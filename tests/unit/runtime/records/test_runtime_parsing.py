"""What a parsed record asks of the service, and why it asks nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from schemas.requests import TopUpRequested
from schemas.topics import CONFIRMATIONS
from services.orders.handlers import build_processor
from services.runtime.flow.intake.parsing import RecordParser
from services.runtime.flow.work import Parsed
from services.runtime.processor import Ignored
from tests.controls import T0
from tests.unit.orders.builders import RULES, confirmation
from tests.unit.runtime.toy import (
    ACCOUNT,
    SHARD,
    SHARDS,
    Count,
    Quiet,
    Record,
    Toy,
    low_balance,
    request,
)


def parse(record: Record, now: datetime = T0) -> Parsed:
    return RecordParser(Toy().processor(), SHARDS).parse(record, now)


def body(record: Record, old: bytes, new: bytes) -> Record:
    assert record.value is not None
    assert old in record.value
    return replace(record, value=record.value.replace(old, new))


def test_request_becomes_work_in_the_shard_of_its_account() -> None:
    parsed = parse(request(partition=(SHARD + 1) % SHARDS))
    assert parsed.work is not None
    assert parsed.work.shard == SHARD
    assert parsed.work.account_id == ACCOUNT
    assert parsed.work.task.command == Count(ACCOUNT, "t-1", 5, T0)
    assert parsed.sequenced is None


def test_correlation_of_an_upstream_is_not_taken_over() -> None:
    parsed = parse(request().having("ce_correlationid", b"theirs"))
    assert parsed.work is not None
    assert parsed.work.correlation_id == "t-1"


def test_correlation_and_trace_of_our_own_events_are_carried_on() -> None:
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    record = low_balance(1).having("ce_correlationid", b"r-7").having("ce_traceparent", trace)
    parsed = parse(record)
    assert parsed.work is not None
    assert (parsed.work.correlation_id, parsed.work.traceparent) == ("r-7", trace.decode())


def test_event_of_a_service_carries_its_sequence_even_when_nobody_handles_it() -> None:
    parsed = parse(low_balance(4).having("ce_type", b"billing.WalletCharged.v1"))
    assert parsed.sequenced is not None
    assert parsed.sequenced.sequence == 4
    assert (parsed.work, parsed.poison, parsed.ignored) == (None, None, None)


def test_event_that_the_handler_ignores_says_why() -> None:
    parsed = parse(low_balance(1, amount=1))
    assert parsed.ignored == Ignored(Quiet.NOTHING_TO_COUNT)
    assert parsed.work is None
    assert parsed.sequenced is not None


def test_field_that_a_newer_producer_added_is_passed_over() -> None:
    assert parse(body(request(), b"{", b'{"newer":1,')).work is not None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (request().having("ce_source", b"/billing/orders"), "source_not_allowed"),
        (low_balance(1).having("ce_source", b"/upstream/app"), "source_not_allowed"),
        (low_balance(1).having("ce_source", b"/billing/orders"), "source_not_allowed"),
        (low_balance(1).without("ce_sequence"), "sequence_missing"),
        (request().having("ce_type", b"billing.TopUpRequested.v9"), "unknown_version"),
        (request().having("ce_type", b"billing.Unheard.v1"), "unknown_event_type"),
        (request().having("ce_type", b"billing.LowBalanceDetected.v1"), "unknown_event_type"),
        (body(request(), b'"USD"', b'"usd"'), "body_invalid"),
        (body(request(), b'"amount_minor":5', b'"amount_minor":5.5'), "body_invalid"),
        (body(request(), b'"amount_minor":5', b'"amount_minor":"5"'), "body_invalid"),
        (body(request(), b'"topup_id":"t-1",', b""), "body_invalid"),
        (body(request(), ACCOUNT.encode(), b"acct-other"), "account_mismatch"),
    ],
)
def test_wrong_record_is_poison_with_a_stable_reason(record: Record, reason: str) -> None:
    parsed = parse(record)
    assert parsed.poison is not None
    assert parsed.poison.reason == reason
    assert parsed.work is None


def test_own_event_outside_of_its_accounts_partition_is_poison() -> None:
    record = low_balance(1)
    record.partition = (SHARD + 1) % SHARDS
    parsed = parse(record)
    assert parsed.poison is not None
    assert parsed.poison.reason == "partition_mismatch"


def test_unknown_version_on_a_topic_that_is_not_strict_is_passed_over_and_counted() -> None:
    parsed = parse(low_balance(1).having("ce_type", b"billing.LowBalanceDetected.v9"))
    assert parsed.poison is None
    assert parsed.sequenced is not None


@pytest.mark.parametrize("value", [b"", b"null", b"[]", b"\xff", b"[" * 9_000, b'{"a":\x00}'])
def test_body_of_any_bytes_is_poison_and_never_an_error(value: bytes) -> None:
    record = request()
    record.value = value
    parsed = parse(record)
    assert parsed.poison is not None
    assert parsed.poison.reason == "body_invalid"


@pytest.mark.parametrize("record", [request(), low_balance(1)])
def test_refusal_names_the_field_and_not_its_value(record: Any) -> None:
    parsed = parse(body(record, b'"USD"', b'"SECRET"'))
    assert parsed.poison is not None
    assert "currency" in str(parsed.poison)
    assert "SECRET" not in str(parsed.poison)


def test_version_and_type_that_are_not_known_are_refused_word_for_word() -> None:
    version = parse(request().having("ce_type", b"billing.TopUpRequested.v9")).poison
    assert str(version) == ("this major version of the event is not known here: see docs/EVENTS.md")
    name = parse(request().having("ce_type", b"billing.Unheard.v1")).poison
    assert str(name) == "this event type does not belong on this topic: see docs/EVENTS.md"


def _broken_by(error: BaseException) -> RecordParser:
    def raising(*_: object) -> Any:
        raise error

    processor = replace(Toy().processor(), handlers={TopUpRequested: raising})
    return RecordParser(processor, SHARDS)


def test_defect_while_reading_is_poison_that_repeats_nothing_of_the_record() -> None:
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    for error, name in ((ValueError("SECRET"), "ValueError"), (panic("SECRET"), "PanicException")):
        parsed = _broken_by(error).parse(request(), T0)
        assert parsed.poison is not None
        assert (parsed.poison.reason, str(parsed.poison)) == (
            "unreadable",
            (
                f"{name} while reading: a defect of this version; report it, deploy the version that "
                "mends it, then redrive"
            ),
        )


def test_end_of_the_process_is_no_poison() -> None:
    with pytest.raises(KeyboardInterrupt):
        _broken_by(KeyboardInterrupt()).parse(request(), T0)


def test_an_event_of_another_topic_is_refused_with_where_it_belongs() -> None:
    poison = parse(request().having("ce_type", b"billing.PaymentConfirmed.v1")).poison
    assert poison is not None
    assert poison.reason == "unknown_event_type"
    assert str(poison).endswith("publish it to billing.confirmations.v1")


@pytest.mark.parametrize(
    "source", ["/upstream/toys", "/billing/orders", "/gateway-but-not/x", "/gateway/"]
)
def test_confirmations_are_taken_from_gateways_alone(source: str) -> None:
    processor = build_processor(RULES, {})
    parser = RecordParser(processor, SHARDS)
    record = request().having("ce_type", b"billing.PaymentConfirmed.v1")
    record.topic, record.value = CONFIRMATIONS.name, confirmation(account_id=ACCOUNT).body()
    good = parser.parse(record.having("ce_source", b"/gateway/acme"), T0)
    assert good.poison is None
    assert good.sequenced is None
    assert good.work is not None
    bad = parser.parse(record.having("ce_source", source.encode()), T0)
    assert bad.poison is not None
    assert bad.poison.reason in {"source_not_allowed", "attributes_invalid"}
