"""Whom a bad record is from and about, as far as it says: read quickly, and as before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.runtime.flow.letters.letters import account_of, source_of
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX
from tests.hostile.flood import hostile_records
from tests.unit.runtime.toy import TOPICS, Record, request

DEEP = 300


def as_python_reads(value: bytes) -> dict[str, Any]:
    """Return the object that the standard library reads."""
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def bare(value: bytes | None) -> Record:
    """Return a record that says only by its value whom it is about."""
    record = request()
    record.key, record.headers, record.value = None, [], value
    return record


@pytest.mark.parametrize(
    "value",
    [
        b'{"account_id": "acct-7", "x": "\\ud800"}',
        b'{"account_id": "acct-7", "x": "\\uDfff"}',
        b'{"account_id": "acct-7", "x": "\xed\xa0\x80"}',
        '{"account_id": "acct-7"}'.encode("utf-16"),
        '{"account_id": "acct-7"}'.encode("utf-16-le"),
        '{"account_id": "acct-7"}'.encode("utf-32"),
        b'\xef\xbb\xbf{"account_id": "acct-7"}',
        b'{"account_id": "acct-7", "x": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"account_id": "acct-7", "x": [NaN, -Infinity, 1e999, 123456789012345678901234567890]}',
        b'{"account_id": "acct-6", "account_id": "acct-7"}',
        b'{"data": {"account_id": "acct-7"}, "account_id": "acct-6"}',
        b'{"account_id": "acct-7"}' + b" " * 1_000,
    ],
)
def test_account_is_found_in_whatever_python_takes_for_json(value: bytes) -> None:
    assert as_python_reads(value)
    assert account_of(bare(value)) == "acct-7"


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"[]",
        b'"account_id"',
        b'{"account_id": "acct-7"',
        b"{'account_id': 'acct-7'}",
        b'{"account_id": "acct-7"}x',
        b'{"account_id": "acct-7", "x": "\x01"}',
        b'{"account_id": "acct-7", "x": "\xff"}',
        b'{"account_id": "' + b"a" * 65 + b'"}',
        b'{"account_id": "acct-7"}' + b" " * BODY_BYTES_MAX,
    ],
)
def test_what_is_no_json_of_bounded_size_is_about_nobody(value: bytes | None) -> None:
    assert account_of(bare(value)) is None


def test_hostile_values_are_read_as_the_standard_library_reads_them() -> None:
    """From a value alone, whom it is from and about is what its object says."""
    for made in hostile_records(seed=7, shards=4, count=1_000):
        value = made["value"] or b""
        if len(value) > BODY_BYTES_MAX:
            continue
        document = as_python_reads(value)
        about = [document.get("data"), document]
        named = [each.get("account_id") for each in about if isinstance(each, dict)]
        found = account_of(bare(value))
        assert found is None or found in [*named, document.get("partitionkey")]
        assert source_of(bare(value), TOPICS) in [document.get("source"), "unknown"]


def test_header_says_who_sent_it_before_the_value_does() -> None:
    record = bare(b'{"source": "/upstream/shop"}')
    assert source_of(record, TOPICS) == "/upstream/shop"
    record.headers = [("Ce-Source", b"/upstream/app")]
    assert source_of(record, TOPICS) == "/upstream/app"
    record.headers = [("ce_source", b"/nobody")]
    assert source_of(record, TOPICS) == "unknown"
