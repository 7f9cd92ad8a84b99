"""What is kept of a record that cannot be handled, and whom it is from and about as far as it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

from schemas.registry import Topic
from services.runtime.errors import Poison
from services.runtime.kafka.records.cloudevents import Record
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX, kept
from services.runtime.log.event_log import DeadLetter

UNKNOWN_SOURCE: Final = "unknown"
_SOURCE: Final = re.compile(r"/[a-z]{1,16}/[a-z0-9][a-z0-9-]{0,62}")
_NAME_CHARACTERS_MAX: Final = 64
_HALF_CHARACTERS: Final = (b"\xed", b"\\ud", b"\\uD")
_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


class RefusedRecord(NamedTuple):
    """A record that cannot be handled, and why."""

    record: Record
    poison: Poison


def dead_letter(
    record: Record, poison: Poison, now: datetime, topics: Mapping[str, Topic]
) -> DeadLetter:
    """Return the record as it arrived, or its beginning, with why it cannot be handled.

    `topics` say who may write where.
    """
    source, account_id = source_of(record, topics), account_of(record)
    return _letter(RefusedRecord(record, poison), source, account_id, str(poison), now)


def passing_letter(
    refused: RefusedRecord, source: str, account_id: str | None, now: datetime
) -> DeadLetter:
    """Return the same without its detail: for one that no table keeps."""
    return _letter(refused, source, account_id, "", now)


def _letter(
    refused: RefusedRecord, source: str, account_id: str | None, detail: str, now: datetime
) -> DeadLetter:
    record, poison = refused
    held = kept(record.key, record.value, record.headers)
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        record_offset=record.offset,
        key=held.key,
        value=held.value,
        headers=held.headers,
        reason=poison.reason,
        detail=detail,
        attempts=1,
        dead_lettered_at=now,
        source=source,
        account_id=account_id,
        whole=held.whole,
    )


def source_of(record: Record, topics: Mapping[str, Topic]) -> str:
    """Return who claims to have sent a record, when that one may write to its topic.

    Its value is read only where no header says so: that takes longer than all the rest.
    """
    claimed = next(_in_headers(record, "source"), None)
    if claimed is None:
        named = _document(record.value).get("source")
        claimed = named if isinstance(named, str) else ""
    return _admitted(topics.get(record.topic), claimed)


def account_of(record: Record) -> str | None:
    """Return whom a record is about, what its body says first: that is what may be personal."""
    return next(_accounts(record, _document(record.value)), None)


def _admitted(topic: Topic | None, claimed: str) -> str:
    """Return the source that is claimed, when it may write to the topic."""
    admitted = topic is not None and topic.admits(claimed) and _SOURCE.fullmatch(claimed)
    return claimed if admitted else UNKNOWN_SOURCE


def _accounts(record: Record, document: dict[str, Any]) -> Iterator[str]:
    for text in _claimed(record, document):
        if isinstance(text, str) and _ACCOUNT.fullmatch(text):
            yield text


def _claimed(record: Record, document: dict[str, Any]) -> Iterator[object]:
    for body in (document.get("data"), document):
        if isinstance(body, dict):
            yield body.get("account_id")
    yield from _in_headers(record, "partitionkey")
    yield document.get("partitionkey")
    yield _text(record.key)


def _in_headers(record: Record, attribute: str) -> Iterator[str]:
    for name, value in record.headers:
        known = _attribute(name) if len(name) <= _NAME_CHARACTERS_MAX else _spelled_out(name)
        if known == attribute and (text := _text(value)) is not None:
            yield text


def _spelled_out(header: str) -> str:
    """Return the attribute that a header may mean, however it is spelled."""
    return header.strip().lower().replace("-", "_").removeprefix("ce_")


_attribute: Final = lru_cache(maxsize=1024)(_spelled_out)
"""The names of headers are the same again and again; those that are not must not fill the memory."""


def _text(value: bytes | None) -> str | None:
    return None if value is None else value[:256].decode(errors="replace").strip()


def _document(value: bytes | None) -> dict[str, Any]:
    """Return the record's value as far as it is a JSON object that is not too long to read."""
    if value is None or len(value) > BODY_BYTES_MAX:
        return {}
    try:
        document = from_json(value, cache_strings="none")
    except ValueError as error:
        document = _as_python_reads_it(value) if _may_be_json(value, error) else None
    return document if isinstance(document, dict) else {}


def _may_be_json(value: bytes, error: ValueError) -> bool:
    """Say whether Python may read what pydantic refuses: UTF-16, half a character, great depth."""
    other_encoding = b"\0" in value[:4] or value.startswith(_MARKS)
    half = any(each in value for each in _HALF_CHARACTERS)
    return other_encoding or half or "recursion" in str(error)


def _as_python_reads_it(value: bytes) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None
