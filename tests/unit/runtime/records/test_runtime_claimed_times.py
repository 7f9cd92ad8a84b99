"""When something happened, as its sender says: not ahead of our clock by more than a day."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import schemas
from schemas import EVENT_TYPES, TOPIC_OF
from schemas.envelope import AHEAD_MAX, Event, happened_field, utc_text
from services.cli.requests.record_checks import RecordChecker
from tests.controls import T0
from tests.unit.runtime.toy import SHARDS, Record, request

EXAMPLES = Path(schemas.__file__).parent / "examples"
OF_OTHERS = [model for name, model in EVENT_TYPES.items() if TOPIC_OF[name].external]
A_MOMENT = timedelta(microseconds=1)


def reasons(record: Record) -> set[str]:
    """Return what the services that read `record` have against it."""
    found = RecordChecker(record.topic, SHARDS).check(record, "here", T0).findings
    return {each.reason for each in found if each.outcome == "poison"}


def example(model: type[Event], **changes: Any) -> Record:
    """Return the example of an event, from a system around us, with some of its fields replaced."""
    body = json.loads((EXAMPLES / model.__name__ / "v1.json").read_bytes())
    data = body.get("data", body) | changes
    topic = TOPIC_OF[model.wire_type()]
    record = request().having("ce_type", model.wire_type().encode())
    record = record.having("ce_source", f"{topic.source_prefix}shop".encode())
    record = record.having("ce_partitionkey", data["account_id"].encode())
    record.topic, record.key = topic.name, data["account_id"].encode()
    record.value = json.dumps(data).encode()
    return record


@pytest.mark.parametrize("model", OF_OTHERS)
def test_what_others_say_has_one_time_at_which_it_happened(model: type[Event]) -> None:
    assert happened_field(model) in model.model_fields


@pytest.mark.parametrize("model", OF_OTHERS)
def test_time_up_to_a_day_ahead_is_taken_and_a_later_one_is_poison(model: type[Event]) -> None:
    field = happened_field(model)
    assert field is not None
    assert reasons(example(model, **{field: utc_text(T0 + AHEAD_MAX)})) == set()
    assert reasons(example(model, **{field: utc_text(T0 + AHEAD_MAX + A_MOMENT)})) == {"time_ahead"}
    assert reasons(example(model, **{field: "2999-12-31T00:00:00Z"})) == {"time_ahead"}


def test_refusal_names_the_field_and_what_to_do_and_not_the_time() -> None:
    record = request()
    assert record.value is not None
    record.value = json.dumps(
        json.loads(record.value) | {"requested_at": "2900-01-01T00:00:00Z"}
    ).encode()
    findings = RecordChecker(record.topic, SHARDS).check(record, "here", T0).findings
    told = {each.advice for each in findings if each.outcome == "poison"}
    assert len(told) == 1
    assert "requested_at" in told.copy().pop()
    assert "redrive" in told.copy().pop()
    assert "2900" not in told.pop()


def test_end_of_an_offer_may_lie_ahead() -> None:
    model = EVENT_TYPES["billing.RenewalRequested.v1"]
    end = {"expected_total": {"amount_minor": 1, "currency": "USD"}}
    assert reasons(example(model, **end, quote_expires_at="2999-12-31T00:00:00Z")) == set()
