"""What the command line and the documents say of effects is what the services define."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from services.cli.app import app
from services.cli.operation.effects import definitions
from services.orders import effects as orders
from services.runtime.effect_definition import EffectDefinition
from tests.unit.runtime.effects.test_runtime_effect_definition import KNOCK

Definition = EffectDefinition[Any, Any, Any]
ALL: Final = [each for effects in definitions().values() for each in effects]
OPERATIONS: Final = Path(__file__).parents[2] / "docs" / "OPERATIONS.md"
ROW: Final = re.compile(r"^\| ?(?:`(\w+)`)? ?\| `(\w+)` \|([^|]*)\|", re.MULTILINE)
SECRETS: Final = {"token": "tok_secret", "iccid": "89852030000000secret", "body": "secret"}


def help_of_settle() -> str:
    result = CliRunner().invoke(app, ["effects", "settle", "--help"], terminal_width=200)
    assert result.exit_code == 0, result.output
    return result.output


def shown(definition: Definition) -> str:
    return rf"{definition.kind} +{re.escape(definition.described())}"


@pytest.mark.parametrize(
    "definition", [each for each in ALL if each.outcomes], ids=lambda each: each.kind
)
def test_help_of_settle_tells_what_may_be_said_of_each_kind(definition: Definition) -> None:
    assert re.search(shown(definition), help_of_settle())


def test_kind_that_is_added_to_a_service_is_offered_by_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not re.search(shown(KNOCK), help_of_settle())
    monkeypatch.setattr(orders, "EFFECTS", (*orders.EFFECTS, KNOCK))
    assert re.search(shown(KNOCK), help_of_settle())


def test_operations_page_lists_every_outcome_with_what_it_needs() -> None:
    page = OPERATIONS.read_text(encoding="utf-8")
    start = page.index("| kind | `--outcome` | needs | then |")
    kind, told = "", set()
    for named, outcome, needs in ROW.findall(page[start : page.index("\n\n", start)]):
        kind = named or kind
        told.add((kind, outcome, tuple(re.findall(r"`--(\w+)`", needs))))
    assert told == {(each.kind, o.name, o.needs) for each in ALL for o in each.outcomes}


def test_kind_is_defined_once() -> None:
    kinds = [each.kind for each in ALL]
    assert sorted(kinds) == sorted(set(kinds))


@pytest.mark.parametrize("definition", ALL, ids=lambda each: each.kind)
def test_payload_that_cannot_be_read_is_not_repeated_in_what_is_said_of_it(
    definition: Definition,
) -> None:
    with pytest.raises((ValidationError, KeyError)) as refused:
        definition.read(SECRETS)
    assert "secret" not in str(refused.value)
