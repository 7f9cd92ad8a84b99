"""A schema may change only so that events of the last released version are still read.

`schemas/released/` holds the released form of each event; releasing means copying `schemas/json/`.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import jsoncompat
import pytest

from schemas.generation import JSON_SCHEMAS, ROOT

RELEASED = sorted((ROOT / "schemas" / "released").glob("*.json"))
_CROSS_FIELD = ("oneOf", "allOf")
_SET_ASIDE = ("$id", *_CROSS_FIELD)


def reads_released_events(released: dict[str, Any], current: dict[str, Any]) -> bool:
    """Say whether `current` accepts every event that `released` accepts.

    The rules between fields are compared for equality: jsoncompat takes any schema that has them
    and a new optional field for incompatible, and it resolves no `$id`.
    """
    return _rules(released) == _rules(current) and jsoncompat.check_compat(
        json.dumps(_comparable(released)),
        json.dumps(_comparable(current)),
        jsoncompat.Role.DESERIALIZER,
    )


def _rules(part: Any) -> list[Any]:
    if isinstance(part, list):
        return [rule for one in part for rule in _rules(one)]
    if not isinstance(part, dict):
        return []
    own = [part[name] for name in _CROSS_FIELD if name in part]
    return own + [rule for one in part.values() for rule in _rules(one)]


def _comparable(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _comparable(one) for key, one in part.items() if key not in _SET_ASIDE}
    if isinstance(part, list):
        return [_comparable(one) for one in part]
    return part


def read(path: Any) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def test_something_was_released() -> None:
    assert RELEASED


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_current_schema_reads_every_event_of_the_released_one(path: Any) -> None:
    assert reads_released_events(read(path), read(JSON_SCHEMAS / path.name))


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_new_optional_field_is_compatible(path: Any) -> None:
    changed = read(path)
    changed["properties"]["note"] = {"type": "string"}

    assert reads_released_events(read(path), changed)


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_new_required_field_is_reported(path: Any) -> None:
    changed = read(path)
    changed["properties"]["note"] = {"type": "string"}
    changed["required"].append("note")

    assert not reads_released_events(read(path), changed)


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_removal_of_any_field_is_reported(path: Any) -> None:
    released = read(path)
    for name in released["properties"]:
        changed = copy.deepcopy(released)
        del changed["properties"][name]
        changed["required"] = [one for one in changed["required"] if one != name]

        assert not reads_released_events(released, changed), name


def test_narrower_word_list_in_a_part_is_reported() -> None:
    released = read(ROOT / "schemas" / "released" / "PaymentFailed.v1.json")
    changed = copy.deepcopy(released)
    changed["$defs"]["DeclineReason"]["enum"].remove("bank_limit")

    assert not reads_released_events(released, changed)


def test_changed_rule_between_fields_is_reported() -> None:
    released = read(ROOT / "schemas" / "released" / "PaymentFailed.v1.json")
    changed = copy.deepcopy(released)
    changed["oneOf"] = [{"required": ["renewal_id"]}]

    assert not reads_released_events(released, changed)
