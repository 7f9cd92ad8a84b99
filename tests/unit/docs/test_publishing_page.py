"""docs/PUBLISHING.md leaves out no outcome and no reason that a publisher can meet."""

from __future__ import annotations

import ast
import re
from enum import StrEnum
from pathlib import Path
from typing import Final

from schemas import EVENTS, TERMINAL_EVENTS
from schemas.access import OPERATOR, Operation, ResourceKind, grants
from schemas.topics import ALL_TOPICS, TOPICS
from services.orders.payments.payments import RETRYABLE
from services.runtime.flow.letters.letter_topic import letter_message
from services.runtime.log.event_log import DeadLetter, Whole
from tests.controls import T0

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "docs" / "PUBLISHING.md").read_text(encoding="utf-8")
BETWEEN_SERVICES: Final = frozenset(
    {
        "charge_unknown",
        "not_a_renewal",
        "partition_mismatch",
        "sequence_conflict",
        "sequence_gap",
        "sequence_missing",
        "subject_missing",
        "transaction_already_used",
    }
)
"""Reasons of what our own services wrote: their events, and the results of their effects."""


def poison_codes() -> set[str]:
    """Return the first argument of every `Poison(...)` in the services."""
    codes = set()
    for path in (ROOT / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="Poison"), args=[ast.Constant(value=str(code)), *_]):
                    codes.add(code)
                case _:
                    pass
    return codes


def test_page_names_every_event_and_topic() -> None:
    assert [model.__name__ for model, _ in EVENTS if model.__name__ not in PAGE] == []
    assert [topic.name for topic in ALL_TOPICS if f"`{topic.name}`" not in PAGE] == []


def test_page_explains_every_reason_of_a_dead_letter_and_no_other() -> None:
    rows = PAGE.split("| `dlq-reason` |")[1].splitlines()
    reasons = [row.split("|")[1] for row in rows if row.startswith("| `")]
    explained = set(re.findall("`([a-z0-9_]+)`", " ".join(reasons)))
    assert explained == poison_codes() - BETWEEN_SERVICES


def test_example_program_ends_with_every_terminal_event_of_a_renewal_and_no_other() -> None:
    final = re.search(r"^FINAL = (\{.*\})$", PAGE, re.MULTILINE)
    assert final is not None
    of_renewals = {
        model.__name__ for model in TERMINAL_EVENTS if "renewal_id" in model.model_fields
    }
    assert ast.literal_eval(final[1]) == of_renewals


def reason_rows() -> list[tuple[set[str], set[str], str, str]]:
    """Return events, codes, meaning and what comes next of each row of the table of reasons."""
    section = PAGE.split("## What each reason asks of you")[1].split("\n## ")[0]
    rows = [row.strip("|").split("|") for row in section.splitlines() if row.startswith("| `")]
    return [
        (set(re.findall("`(.+?)`", events)), set(re.findall("`(.+?)`", codes)), means, then)
        for events, codes, means, then in rows
    ]


def test_page_says_what_each_reason_of_an_event_asks_of_its_reader() -> None:
    given = {
        (model.__name__, code.value)
        for model, _ in EVENTS
        for name in ("reason", "cause")
        if (field := model.model_fields.get(name)) is not None
        and isinstance(field.annotation, type)
        and issubclass(field.annotation, StrEnum)
        for code in field.annotation
    }
    told = [
        (event, code)
        for events, codes, means, then in reason_rows()
        if means.strip() and then.strip()
        for event in events
        for code in codes
    ]
    assert sorted(told) == sorted(given)


def test_page_says_which_failed_payments_may_be_tried_the_same_way_again() -> None:
    again = {
        code
        for events, codes, _, then in reason_rows()
        if events == {"PaymentFailed"} and then.strip().startswith("`retryable`")
        for code in codes
    }
    assert again == RETRYABLE


def test_page_names_what_a_dead_letter_says_of_its_record() -> None:
    letter = DeadLetter(
        topic="billing.requests.v1",
        partition=3,
        record_offset=7,
        key=b"acct-1",
        value=b"x",
        headers=(("ce_id", b"1"),),
        reason="not_json",
        detail="",
        attempts=1,
        dead_lettered_at=T0,
        whole=Whole(70_000, bytes(32)),
    )
    message = letter_message(letter, letter.headers, "orders")
    names = {name for name, _ in message["headers"] if name.startswith("dlq-")}
    assert {name for name in names if f"`{name}`" not in PAGE} == set()
    assert (message["topic"], message["partition"]) == ("billing.requests.v1.orders.dlq", 3)
    assert message["key"] == b"acct-1"
    assert ("ce_id", b"1") in message["headers"]


def test_logins_that_may_read_dead_letters_are_those_of_the_page() -> None:
    readers = {
        grant.role
        for grant in grants()
        if grant.kind is ResourceKind.TOPIC
        and grant.operation is Operation.READ
        and grant.name.endswith(".dlq")
    }
    assert readers == {OPERATOR}


def test_topics_of_events_keep_their_records_for_the_days_that_the_page_says() -> None:
    assert {topic.retention_days for topic in TOPICS} == {30}
    assert "longer than the topic keeps its records (30 days)" in " ".join(PAGE.split())
