"""What names a fact in the whole system, and facts that an older version wrote down."""

from __future__ import annotations

from typing import Any

import pytest

from services.notifier.decider import decide
from services.notifier.handlers import build_processor
from services.notifier.notification.evolution import initial_state
from services.notifier.notification.facts import Fact
from services.runtime.effect import Start
from services.runtime.processor import Decision, Task
from tests.unit.notifier.builders import LETTERHEAD, NOW, POLICY, incoming


def names(**attributes: Any) -> tuple[str, str, str, str]:
    """Return stream, effect, notification and Message-ID of a fact with `attributes`."""
    arrived = incoming("PlanActivated")
    arrived = arrived._replace(envelope=arrived.envelope.model_copy(update=attributes))
    handler = build_processor(POLICY, {}).handlers[type(arrived.event)]
    task = handler(arrived.envelope, arrived.event, NOW)
    assert isinstance(task, Task)
    fact = task.command.fact  # type: ignore[attr-defined]
    fanned = decide(task.command, initial_state(), POLICY)  # type: ignore[arg-type]
    assert isinstance(fanned, Decision)
    [sent] = fanned.sends
    assert task.beside == (sent.stream_id,)
    decision = decide(sent.command, initial_state(), POLICY)  # type: ignore[arg-type]
    assert isinstance(decision, Decision)
    [start] = decision.effects
    assert isinstance(start, Start)
    return sent.stream_id, start.effect_id, f"ntf-{fact.key}", LETTERHEAD.message_id(fact)


@pytest.mark.parametrize(
    "attributes",
    [
        {"source": "/billing/ledger"},
        {"sequence": 77},
        {"partitionkey": "acct-of-another-shard"},
        {"id": "00000000-0000-4000-8000-000000000001"},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_facts_that_differ_in_one_of_their_names_share_nothing(attributes: dict[str, Any]) -> None:
    assert not set(names()) & set(names(**attributes))


def test_fact_that_comes_again_has_the_same_names() -> None:
    assert names() == names(traceparent=None)


def test_email_that_an_older_version_holds_keeps_its_names() -> None:
    arrived = incoming("PlanActivated")
    fact = Fact.of(arrived.envelope, arrived.event, contact_by=NOW)
    assert Fact.from_payload(fact.payload()) == fact
    older = fact.payload()
    del older["key"]
    read = Fact.from_payload(older)
    assert LETTERHEAD.message_id(read) == f"<{fact.event_id}@mail.example.com>"
    assert Fact.from_payload(read.payload()) == read
