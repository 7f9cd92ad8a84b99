"""What is kept of a dead letter: everything that could be handled, the beginning of what is larger."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import Poison
from services.runtime.flow.letters.letter_topic import letter_message
from services.runtime.flow.letters.letters import dead_letter
from services.runtime.kafka.patches.fetched_records import LenientRecords
from services.runtime.kafka.records.cloudevents import read_record
from services.runtime.kafka.records.record_size import (
    BODY_BYTES_MAX,
    HEADER_BYTES_MAX,
    HEADERS_BYTES_MAX,
    KEY_BYTES_MAX,
    NAME_CHARACTERS_MAX,
    HeadRecord,
    bounded,
    kept,
)
from services.runtime.log.event_log import Whole
from tests.controls import T0
from tests.unit.runtime.toy import TOPICS, request

TOO_LARGE = Poison("oversized", "send less")


def sha256(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def test_record_that_could_be_handled_is_kept_whole() -> None:
    headers = [("ce_id", b"x" * HEADER_BYTES_MAX), ("n", None), ("n", b"")]
    held = kept(b"k" * KEY_BYTES_MAX, b"v" * BODY_BYTES_MAX, headers)
    assert (held.key, held.value) == (b"k" * KEY_BYTES_MAX, b"v" * BODY_BYTES_MAX)
    assert held.headers == tuple(headers)
    assert held.whole is None


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (None, b"v" * (BODY_BYTES_MAX + 1), ()),
        (b"k" * (KEY_BYTES_MAX + 1), None, ()),
        (None, None, [("n", b"x" * (HEADER_BYTES_MAX + 1))]),
        (None, None, [("n" * (NAME_CHARACTERS_MAX + 1), None)]),
        (None, None, [("n", b"x" * HEADER_BYTES_MAX)] * 9),
        (b"k", b"v", [("", None)] * 1_000_000),
    ],
)
def test_record_beyond_a_bound_is_kept_by_its_beginning_size_and_hash(
    key: bytes | None, value: bytes | None, headers: Any
) -> None:
    held = kept(key, value, headers)
    size = len(key or b"") + len(value or b"") + sum(len(n) + len(v or b"") for n, v in headers)
    assert held.whole == Whole(size, sha256(value or b""))
    assert (key or b"").startswith(held.key or b"")
    assert (value or b"").startswith(held.value or b"")
    assert len(held.headers) <= HEADERS_BYTES_MAX // 16


PARTS = st.one_of(st.none(), st.binary(max_size=64), st.just(b"x" * 200_000))
HEADERS = st.lists(st.tuples(st.one_of(st.text(), st.just("n" * 9_000)), PARTS), max_size=12)


@given(PARTS, PARTS, HEADERS)
def test_what_is_kept_is_bounded_and_is_not_cut_again(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    held = kept(key, value, headers)
    told = sum(len(n.encode(errors="replace")) + len(v or b"") for n, v in held.headers)
    assert len(held.key or b"") <= KEY_BYTES_MAX
    assert len(held.value or b"") <= BODY_BYTES_MAX
    assert told <= HEADERS_BYTES_MAX
    assert kept(held.key, held.value, held.headers).whole is None


def test_record_too_large_in_its_key_alone_is_stood_for_with_all_that_is_kept() -> None:
    key, headers = b"k" * (KEY_BYTES_MAX + 1), [("a", b"1")]
    record = SimpleNamespace(
        offset=7, timestamp=9, timestamp_type=1, key=key, value=b"v", headers=headers
    )
    stands = bounded(record)
    assert stands == HeadRecord(7, 9, stands.value, 1, key[:KEY_BYTES_MAX], (("a", b"1"),), None)
    assert bytes(stands.value) == b"v"
    assert stands.value.whole == Whole(len(key) + 3, sha256(b"v"))


def test_letter_and_its_message_say_that_they_are_cut() -> None:
    record = request()
    record.value = b"v" * 300_000
    letter = dead_letter(record, TOO_LARGE, T0, TOPICS)
    message = letter_message(letter, letter.headers, "orders")
    told = dict(message["headers"])
    assert message["value"] == letter.value == b"v" * BODY_BYTES_MAX
    assert int(told["dlq-original-bytes"]) > len(record.value)
    assert told["dlq-original-value-sha256"] == sha256(record.value).hex().encode()


def test_message_of_a_whole_letter_says_nothing_of_that() -> None:
    letter = dead_letter(request(), TOO_LARGE, T0, TOPICS)
    told = dict(letter_message(letter, letter.headers, "orders")["headers"])
    assert not [name for name in told if name.startswith("dlq-original-") and "bytes" in name]


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    "large",
    [
        {"key": b"k" * (KEY_BYTES_MAX + 1)},
        {"headers": [("x-note", b"x" * (HEADER_BYTES_MAX + 1))]},
        {"headers": [("", None)] * 10_000},
    ],
)
def test_record_is_too_large_whatever_it_was_sent_with(
    large: dict[str, Any], *, alone: bool
) -> None:
    record = replace(request(), **large)
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
    builder.append(0, 0, record.key, record.value, list(record.headers))
    if not alone:
        builder.append(1, 0, b"k", b"v" * 200_000, [])
    batch = LenientRecords(bytes(builder.build())).next_batch()
    assert batch is not None
    found: Any = next(iter(batch))
    record.key, record.value, record.headers = found.key, found.value, found.headers
    with pytest.raises(Poison) as poison:
        read_record(record)
    assert poison.value.reason == "oversized"
