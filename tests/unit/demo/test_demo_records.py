from __future__ import annotations

import json
from itertools import pairwise

import pytest

from deploy.demo.expected.records import RawRecord, event_record, from_line, structured, to_line
from deploy.demo.expected.scenarios import CUSTOMERS
from deploy.demo.publish import REQUESTS_FILE, load_records, partition_of
from services.runtime.kafka.records.partitions import shard_of

HOSTILE = RawRecord(
    phase=3,
    key=b"\xff\x00",
    headers=(("ce_id", None), ("ce_id", b"\xc3\x28"), ("content-type", b"")),
    value=None,
    partition_shift=3,
)


def test_file_decodes_to_bytes_and_back_to_the_same_lines() -> None:
    lines = REQUESTS_FILE.read_text(encoding="utf-8").splitlines()

    assert [to_line(from_line(line)) for line in lines] == lines


@pytest.mark.parametrize(
    "record",
    [
        HOSTILE,
        RawRecord(1, b"k", (), b"x" * 700_000),
        RawRecord(1, None, (), b"\x80\x02"),
        RawRecord(1, b"", (), b""),
        RawRecord(1, b"k", (), '{"name":"張雅婷"}'.encode()),
    ],
    ids=["hostile", "long", "not utf-8", "empty", "chinese"],
)
def test_record_survives_its_line_byte_for_byte(record: RawRecord) -> None:
    line = to_line(record)

    assert from_line(line) == record
    assert len(line) < 1_000


def test_phases_never_decrease() -> None:
    phases = [record.phase for record in load_records()]

    assert all(earlier <= later for earlier, later in pairwise(phases))
    assert set(phases) == {1, 2, 3, 4, 5}


def test_header_names_are_text_that_every_client_can_send() -> None:
    assert all(name.isascii() and name for record in load_records() for name, _ in record.headers)


def test_records_of_an_account_lie_where_kafka_puts_its_key() -> None:
    for account_id in CUSTOMERS:
        record = event_record(1, "Any", {"account_id": account_id})

        assert partition_of(record, 8) == shard_of(account_id, 8)


def test_shift_moves_a_record_off_its_partition() -> None:
    at_home = event_record(1, "Any", {"account_id": "acct-0001"})
    shifted = RawRecord(1, at_home.key, at_home.headers, at_home.value, partition_shift=3)

    assert partition_of(shifted, 8) == (partition_of(at_home, 8) + 3) % 8
    assert partition_of(RawRecord(1, None, (), b""), 8) == 0


def test_structured_record_holds_the_same_event() -> None:
    binary = event_record(1, "Any", {"account_id": "acct-0001", "n": 1})

    event = json.loads(structured(binary).value or b"")

    assert event["data"] == {"account_id": "acct-0001", "n": 1}
    assert event["id"].encode() == dict(binary.headers)["ce_id"]
    assert event["type"] == "billing.Any.v1"


def test_events_differ_in_id_unless_they_are_the_same() -> None:
    first = event_record(1, "Any", {"account_id": "acct-0001", "n": 1})
    other = event_record(1, "Any", {"account_id": "acct-0001", "n": 2})
    again = event_record(1, "Any", {"account_id": "acct-0001", "n": 1})

    assert dict(first.headers)["ce_id"] == dict(again.headers)["ce_id"]
    assert dict(first.headers)["ce_id"] != dict(other.headers)["ce_id"]
