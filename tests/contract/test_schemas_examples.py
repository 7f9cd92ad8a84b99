"""The golden examples: valid for every reader, and telling one story that adds up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from jsonschema import Draft202012Validator

from schemas import BILLING, EVENTS, MESSAGES
from schemas.envelope import Envelope, Message
from schemas.generation import JSON_SCHEMAS
from schemas.generation.asyncapi import EXAMPLES, example_of
from schemas.topics import REQUESTS
from services.runtime.kafka.records.cloudevents import binary_headers, read_record
from services.runtime.log.event_log import StoredEvent

MODELS = [model for model, _ in MESSAGES]
TYPES = {model.wire_type(): model for model in MODELS}
TOPIC_OF = {model.wire_type(): topic for model, topic in MESSAGES}
PATHS = sorted(EXAMPLES.glob("*/v*.json"))
STORY = {model.__name__: example_of(model) for model in MODELS}


@dataclass
class Record:
    """A Kafka record as aiokafka hands it over."""

    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    key: bytes | None = None
    topic: str = "billing.requests.v1"
    partition: int = 0
    offset: int = 0


def validator(model: type[Message]) -> Draft202012Validator:
    name = f"{model.__name__}.v{model.schema_version}.json"
    schema = json.loads((JSON_SCHEMAS / name).read_text(encoding="utf-8"))
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def sdk_event(example: dict[str, Any]) -> CloudEvent:
    event = JSONFormat().read(None, json.dumps(example).encode())
    assert isinstance(event, CloudEvent)
    return event


def stored(example: dict[str, Any], model: type[Message]) -> StoredEvent:
    body = model.parse(json.dumps(example["data"]).encode()).body()
    return StoredEvent(
        shard=0,
        position=1,
        stream_id=example.get("subject", "stream"),
        stream_version=int(example.get("streamversion", 1)),
        event_id=UUID(example["id"]),
        source=example["source"],
        type=example["type"],
        sequence=int(example.get("sequence", 1)),
        account_id=example["partitionkey"],
        correlation_id=example["correlationid"],
        causation_id=UUID(example["causationid"]) if "causationid" in example else None,
        traceparent=example["traceparent"],
        occurred_at=datetime.fromisoformat(example["time"]),
        recorded_at=datetime.fromisoformat(example.get("recordedtime", example["time"])),
        body=body,
    )


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_example_ever_published_parses(path: Any) -> None:
    example = json.loads(path.read_text(encoding="utf-8"))

    event = TYPES[example["type"]].parse(json.dumps(example["data"]).encode())

    assert event.wire_type() == f"billing.{path.parent.name}.{path.stem}"


@pytest.mark.parametrize("model", MODELS)
def test_example_comes_back_from_the_model_unchanged(model: type[Message]) -> None:
    example = STORY[model.__name__]

    event = model.model_validate_json(json.dumps(example["data"]))

    assert json.loads(event.body()) == example["data"]


@pytest.mark.parametrize("model", MODELS)
def test_example_is_valid_by_its_json_schema(model: type[Message]) -> None:
    assert not [
        error.message for error in validator(model).iter_errors(STORY[model.__name__]["data"])
    ]


@pytest.mark.parametrize("model", MODELS)
def test_json_schema_and_model_agree_on_every_missing_and_every_unknown_field(
    model: type[Message],
) -> None:
    schema = validator(model)
    for changed, what in _changes(STORY[model.__name__]["data"]):
        try:
            model.model_validate_json(json.dumps(changed))
        except ValueError:
            accepted = False
        else:
            accepted = True
        assert schema.is_valid(changed) is accepted, what


def _changes(data: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for name, value in data.items():
        rest = {key: part for key, part in data.items() if key != name}
        yield rest, f"without {name}"
        if isinstance(value, dict):
            for changed, what in _changes(value):
                yield data | {name: changed}, f"{name}: {what}"
    yield data | {"surprise": 1}, "with a field nobody knows"


@pytest.mark.parametrize("model", MODELS)
def test_example_survives_the_cloudevents_sdk_in_both_modes(model: type[Message]) -> None:
    original = sdk_event(STORY[model.__name__])

    binary = kafka.from_kafka_event(kafka.to_binary_event(original))
    structured = kafka.from_kafka_event(kafka.to_structured_event(original))

    for read in (binary, structured):
        assert read.get_attributes() == original.get_attributes()
        assert read.get_data() == STORY[model.__name__]["data"]


@pytest.mark.parametrize("mode", ["binary", "structured"])
@pytest.mark.parametrize("model", MODELS)
def test_our_binding_reads_what_the_sdk_writes(model: type[Message], mode: str) -> None:
    example = STORY[model.__name__]
    write = kafka.to_binary_event if mode == "binary" else kafka.to_structured_event
    message = write(sdk_event(example))

    envelope, body = read_record(
        Record(
            value=message.value,
            headers=list(message.headers.items()),
            key=example["partitionkey"].encode(),
        )
    )

    assert envelope == Envelope.model_validate(example)
    assert json.loads(model.parse(body).body()) == example["data"]


@pytest.mark.parametrize(
    "model", [model for model, _ in EVENTS if "subject" in STORY[model.__name__]]
)
def test_the_sdk_reads_what_our_binding_writes(model: type[Message]) -> None:
    example = STORY[model.__name__]
    event = stored(example, model)

    read = kafka.from_binary_event(
        kafka.KafkaMessage(
            headers=dict(binary_headers(event, BILLING)), key=event.account_id, value=event.body
        )
    )

    assert read.get_attributes() == sdk_event(example).get_attributes()
    assert read.get_data() == example["data"]


@pytest.mark.parametrize("model", MODELS)
def test_event_has_a_topic_and_a_data_schema_that_names_its_json_schema(
    model: type[Message],
) -> None:
    schema = json.loads(
        (JSON_SCHEMAS / f"{model.__name__}.v{model.schema_version}.json").read_text("utf-8")
    )

    assert model.wire_type() in TOPIC_OF
    assert (
        schema["$id"]
        == model.schema_uri()
        == BILLING.data_schema(model.wire_type())
        == STORY[model.__name__]["dataschema"]
    )


@pytest.mark.parametrize("model", MODELS)
def test_source_of_an_example_is_the_writer_of_its_topic(model: type[Message]) -> None:
    topic = TOPIC_OF[model.wire_type()]
    example = STORY[model.__name__]

    assert topic.admits(example["source"])
    assert ("sequence" in example) is not (topic.external or topic.compacted)


def test_an_event_and_the_one_that_caused_it_belong_to_the_same_order() -> None:
    events = [STORY[model.__name__] for model, _ in EVENTS]
    correlations = {example["id"]: example["correlationid"] for example in events}
    caused = [example for example in STORY.values() if example.get("causationid") in correlations]

    assert caused
    for example in caused:
        assert example["correlationid"] == correlations[example["causationid"]]


def test_amounts_of_the_story_add_up() -> None:
    quote = STORY["RenewalAccepted"]["data"]["quote"]
    captured = STORY["PaymentCaptured"]["data"]
    charged = STORY["WalletCharged"]["data"]

    assert _minor(quote, "list_price") - _minor(quote, "discount") == _minor(quote, "net")
    assert _minor(quote, "net") + _minor(quote, "tax") == _minor(quote, "total")
    assert captured["amount"] == quote["total"] == STORY["PlanActivated"]["data"]["total"]
    assert STORY["RenewalRequested"]["data"]["expected_total"] == quote["total"]
    for whole in (captured, charged):
        parts = [_minor(whole["consideration"], part) for part in ("net", "tax", "bonus")]
        assert sum(parts) == _minor(whole, "amount")
    assert sum(_minor(take, "amount") for take in charged["takes"]) == _minor(charged, "amount")
    credit = _minor(STORY["WalletToppedUp"]["data"], "amount") + _minor(
        STORY["BonusGranted"]["data"], "amount"
    )
    assert credit - _minor(charged, "amount") == _minor(charged, "balance_after")
    assert charged["balance_after"] == STORY["LowBalanceDetected"]["data"]["balance"]


def _minor(holder: dict[str, Any], name: str) -> int:
    amount: int = holder[name]["amount_minor"]
    return amount


def test_examples_hold_no_address_outside_the_reserved_domains() -> None:
    for example in STORY.values():
        for domain in re.findall(r"[\w.]+@([\w.]+)", json.dumps(example)):
            assert domain.endswith(("example.com", "example.net", "example.org"))


def test_contact_data_and_iccid_appear_in_requests_only() -> None:
    for model, topic in EVENTS:
        if topic.name != REQUESTS.name:
            text = json.dumps(STORY[model.__name__]["data"])
            assert not re.search(r'"(email|phone|iccid|token|contact)":', text)
