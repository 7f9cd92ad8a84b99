"""One value makes a kind of effect: it is run, counted, settled, described and restored by it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import pytest
from prometheus_client import generate_latest
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.runtime.effect import EffectRun, Start
from services.runtime.effect_definition import (
    HIDDEN,
    Command,
    EffectDefinition,
    Outcome,
    Restored,
    payload_of,
)
from services.runtime.errors import SettlementRefused
from services.runtime.metrics.metrics import Metrics
from services.runtime.processor import Mark, Settlement
from tests.controls import T0
from tests.unit.runtime.greetings import GREETED, World
from tests.unit.runtime.toy import Done, Toy


class Knock(BaseModel):
    """Knock at a door."""

    door: str


class Listen(BaseModel):
    """Hear whether somebody comes: without the door nobody can knock."""

    times: int


@dataclass
class Street:
    """The doors, and what is done at them; `open` ones answer."""

    open: frozenset[str] = frozenset()
    done: list[str] = field(default_factory=list)


async def knock(street: Street, payload: Knock | Listen, run: EffectRun, _mark: Mark) -> object:
    street.done.append(f"knock {payload}")
    return ("knocked", run.attempt)


async def listen(street: Street, payload: Knock | Listen, run: EffectRun) -> object | None:
    street.done.append(f"listen {payload}")
    if isinstance(payload, Knock) and payload.door in street.open:
        return ("heard", run.attempt)
    return None


def opened(said: Settlement, _payload: Knock | Listen, _run: EffectRun, now: datetime) -> object:
    return ("opened", said.needed("reference"), said.when(now))


def silent(_said: Settlement, payload: Knock | Listen, run: EffectRun, _now: datetime) -> object:
    return ("silent", payload, run.effect_id)


async def look(street: Street, said: Settlement) -> Command[Knock | Listen]:
    street.done.append(f"look at {said.reference}")
    return silent


KNOCK: Final[EffectDefinition[Knock | Listen, Street, list[str]]] = EffectDefinition(
    kind="knock",
    called="a knock",
    read=payload_of(TypeAdapter(Knock | Listen, config=HIDDEN)),
    execute=knock,
    look_up=listen,
    outcomes=(
        Outcome("opened", opened, ("gateway", "reference")),
        Outcome("seen", opened, ("reference",), look),
        Outcome("silent", silent),
    ),
    hint="ask the neighbours",
    restore=lambda doors: Restored(tuple(Start(door, "knock", {"door": door}) for door in doors)),
)


def run_of(attempt: int = 1, *, recovered: bool = False, **payload: Any) -> EffectRun:
    wanted = payload or {"door": "7"}
    return EffectRun(0, "knock/1", "knock", "acct-1", "s", wanted, attempt, recovered, None)


async def mark(checkpoint: str) -> None:
    message = f"nothing is marked, but {checkpoint} was"
    raise AssertionError(message)


async def test_first_attempt_does_it_with_its_payload_as_it_was_typed() -> None:
    street = Street()
    assert await KNOCK.bound_to(street).execute(run_of(), mark) == ("knocked", 1)
    assert street.done == ["knock door='7'"]


@pytest.mark.parametrize(("attempt", "recovered"), [(1, True), (2, False), (3, True)])
async def test_attempt_that_may_not_be_the_first_looks_before_it_does_it_again(
    attempt: int,
    recovered: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    street = Street()
    run = run_of(attempt, recovered=recovered)
    assert await KNOCK.bound_to(street).execute(run, mark) == ("knocked", attempt)
    assert street.done == ["listen door='7'", "knock door='7'"]
    found = Street(frozenset({"7"}))
    assert await KNOCK.bound_to(found).execute(run, mark) == ("heard", attempt)
    assert found.done == ["listen door='7'"]


async def test_service_that_has_the_kind_runs_it_and_records_its_result() -> None:
    async def knock_and_wait(
        street: Street, payload: Knock | Listen, _run: EffectRun, _mark: Mark
    ) -> object:
        street.done.append(f"knock {payload}")
        return Done(GREETED)

    street = Street()
    effect = replace(KNOCK, execute=knock_and_wait).bound_to(street)
    world = World(effect.execute, Start("knock/1", KNOCK.kind, {"door": "7"}))
    world.processor = replace(world.processor, effects={KNOCK.kind: effect})
    async with world.running() as runner:
        runner.submit(await world.count())
        await world.until_events(2)
    assert street.done == ["knock door='7'"]


async def test_payloads_are_told_apart_by_their_fields_and_never_repeated_in_errors() -> None:
    assert KNOCK.read({"times": 2}) == Listen(times=2)
    with pytest.raises(ValidationError) as refused:
        await KNOCK.bound_to(Street()).execute(run_of(token="tok_secret"), mark)
    assert "secret" not in str(refused.value)


def said(outcome: str, **more: Any) -> Settlement:
    return Settlement(outcome=outcome, by="li.wei", reason="seen", **more)


def test_outcome_that_a_person_states_becomes_its_command() -> None:
    told = said("opened", gateway="front", reference="r-1")
    assert KNOCK.settle(told, run_of(), T0) == ("opened", "r-1", T0)
    assert KNOCK.settle(said("silent"), run_of(), T0) == ("silent", Knock(door="7"), "knock/1")


@pytest.mark.parametrize(
    ("settlement", "problem"),
    [
        (said("opened"), "opened needs --gateway and --reference"),
        (said("opened", gateway="front"), "opened needs --gateway and --reference"),
        (said("opened", reference="r-1"), "opened needs --gateway and --reference"),
        (said("seen", gateway="front"), "seen needs --reference"),
        (
            said("captured", gateway="front", reference="r-1"),
            "the outcome of a knock is opened or seen or silent: ask the neighbours",
        ),
    ],
)
async def test_what_is_no_outcome_or_lacks_what_it_needs_is_refused_before_anybody_is_asked(
    settlement: Settlement, problem: str
) -> None:
    street = Street()
    inquire = KNOCK.bound_to(street).inquire
    assert inquire is not None
    with pytest.raises(SettlementRefused) as refused:
        KNOCK.settle(settlement, run_of(), T0)
    with pytest.raises(SettlementRefused) as unasked:
        await inquire(settlement, run_of())
    assert str(refused.value) == str(unasked.value) == problem
    assert street.done == []


async def test_only_the_outcome_that_can_be_borne_out_is_asked_about() -> None:
    street = Street()
    inquire = KNOCK.bound_to(street).inquire
    assert inquire is not None
    settle = await inquire(said("opened", gateway="front", reference="r-1"), run_of())
    assert street.done == []
    assert settle(said("opened", gateway="front", reference="r-1"), run_of(), T0) == (
        "opened",
        "r-1",
        T0,
    )
    settle = await inquire(said("seen", reference="r-2"), run_of())
    assert street.done == ["look at r-2"]
    found = settle(said("seen", reference="r-2"), run_of(), T0)
    assert found == ("silent", Knock(door="7"), "knock/1")


def test_effect_without_outcomes_is_settled_by_nobody() -> None:
    alone: EffectDefinition[Knock, Street, None] = EffectDefinition(
        kind="wait",
        called="a wait",
        read=payload_of(TypeAdapter(Knock)),
        execute=knock,
        outcomes=(),
        restore=lambda _: Restored(),
    )
    effect = alone.bound_to(Street())
    assert (effect.settle, effect.inquire) == (None, None)


def test_metrics_show_the_kind_before_it_runs() -> None:
    effects = {KNOCK.kind: KNOCK.bound_to(Street())}
    processor = replace(Toy().processor(), effects=effects)
    page = generate_latest(Metrics.of(processor).registry).decode()
    assert 'perennial_effects_under_way{kind="knock"} 0.0' in page
    assert 'perennial_effect_attempts_total{kind="knock",result="finished"} 0.0' in page


def test_person_who_settles_one_is_told_its_outcomes_and_what_they_need() -> None:
    assert KNOCK.described() == "opened (--gateway and --reference), seen (--reference), silent"
