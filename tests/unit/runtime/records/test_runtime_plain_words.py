"""What users read of a wrong value is in our words, for every field that there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from schemas import MESSAGES
from schemas.envelope import Envelope, Message
from schemas.generation.asyncapi import example_of
from schemas.money import Money
from services.ledger.settings import LedgerSettings
from services.notifier.settings import NotifierSettings
from services.orders.catalogue.catalogue import Catalogue
from services.orders.settings import OrdersSettings
from services.runtime.errors import ConfigurationError
from services.runtime.plain_words import problems_of
from services.runtime.settings import RuntimeSettings, load_settings, variable_of

NOT_OURS = re.compile(r"Input|should|Field required|permitted|[Vv]alue error|parsing|pydantic|'")
WRONG: tuple[Any, ...] = (
    None, True, -1, 10**30, 1.5, "", " ", "x" * 400, "?", [], [1], ["?"] * 99, {}, {"?": 1},
)  # fmt: skip


def told(model: type[BaseModel], data: object) -> list[str]:
    try:
        model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        return [problem["msg"] for problem in problems_of(error)]
    return []


def spoilt(value: Any) -> Iterator[Any]:
    """Yield `value` with each of its parts, however deep, wrong in every way."""
    yield from WRONG
    if isinstance(value, dict):
        yield value | {"surprise": 1}
        for name, part in value.items():
            yield {key: each for key, each in value.items() if key != name}
            yield from (value | {name: wrong} for wrong in spoilt(part))
    if isinstance(value, list) and value:
        yield from ([wrong, *value[1:]] for wrong in spoilt(value[0]))


@pytest.mark.parametrize("model", [model for model, _ in MESSAGES])
def test_every_wrong_field_of_every_message_is_told_in_our_words(model: type[Message]) -> None:
    messages = {each for data in spoilt(example_of(model)["data"]) for each in told(model, data)}
    assert messages
    assert [each for each in messages if NOT_OURS.search(each)] == []
    assert "has a value that is not possible here" not in messages


def test_wrong_attributes_are_told_in_our_words() -> None:
    example = {key: each for key, each in example_of(MESSAGES[0][0]).items() if key != "data"}
    messages = {each for data in spoilt(example) for each in told(Envelope, data)}
    assert [each for each in messages if NOT_OURS.search(each)] == []


@pytest.mark.parametrize("wrong", ["", "?", "-1", "1e99", "x" * 400])
@pytest.mark.parametrize("model", [OrdersSettings, LedgerSettings, NotifierSettings])
def test_every_wrong_setting_is_told_in_our_words(model: type[RuntimeSettings], wrong: str) -> None:
    prefix = str(model.model_config["env_prefix"])
    for name in model.model_fields:
        with pytest.raises(ConfigurationError) as raised:
            load_settings(model, {variable_of(prefix, name): wrong})
        assert not re.search(r"Input|should|[Vv]alue error|pydantic", str(raised.value)), name
        assert "not possible here" not in str(raised.value), name


def test_wrong_catalogue_is_told_in_our_words() -> None:
    messages = told(Catalogue, {"plan": [{}], "tax": 1, "colour": 2})
    assert "is missing" in messages
    assert [each for each in messages if NOT_OURS.search(each)] == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"amount_minor": "5", "currency": "USD"}, "must be a whole number"),
        ({"amount_minor": -5, "currency": "USD"}, "must be 0 or more"),
        ({"amount_minor": 5, "currency": "usd"}, "must be three capital letters, such as USD"),
        ({"amount_minor": 5}, "is missing"),
        ({"amount_minor": 5, "currency": "USD", "x": 1}, "is not known here"),
    ],
)
def test_words_say_what_a_value_must_be(data: dict[str, Any], words: str) -> None:
    assert told(Money, data) == [words]
