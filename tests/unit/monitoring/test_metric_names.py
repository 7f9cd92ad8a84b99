"""Names by the conventions, labels of closed sets, and a page of docs that agrees with the code."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.metrics_docs import PAGE, SERVICES, full_names, main, with_metrics
from deploy.monitoring.fetch_prometheus import fetch_prometheus
from schemas import BILLING, EVENT_TYPES
from schemas.confirmations import ConfirmationRefusal
from schemas.envelope import Event
from schemas.ledger import ChargeRefusalReason, WalletChargeRefused
from schemas.notifier import (
    NotificationFailed,
    NotificationFailureReason,
    NotificationSuppressed,
    NotificationSuppressionReason,
    UndeliveredReason,
)
from schemas.orders import (
    ActivationFailed,
    ActivationFailureReason,
    DeclineReason,
    PaymentFailed,
    PaymentOutcomeResolved,
    PaymentOutcomeUnknown,
    RejectionReason,
    RenewalRejected,
    TopUpRejected,
    TopUpRejectionReason,
    UnknownCause,
)
from schemas.surplus import SurplusCaptured, SurplusReason
from services.runtime.clock.database_clock import ClockCounts
from services.runtime.event_counter import EventCounter
from services.runtime.flow.publishing.relay import RelayCounts
from services.runtime.kafka.held_back import Held
from services.runtime.metrics.metrics import Metrics
from services.runtime.verify.head_writer import KeptHeads
from services.runtime.watch.exposition import MetricsPage
from services.runtime.watch.gauges import ObservedCollector
from services.runtime.watch.observed import BrokerView, DatabaseView, View

ROOT: Final = Path(__file__).parents[3]
COUNTERS: Final = [counter for counters in SERVICES.values() for counter in counters]
IDENTIFYING: Final = re.compile(r"account|_id$|^id$|email|address|token|iccid|stream|hash|key")
REASONS: Final[dict[type[Event], tuple[str, type[StrEnum]]]] = {
    RenewalRejected: ("reason", RejectionReason),
    TopUpRejected: ("reason", TopUpRejectionReason),
    PaymentFailed: ("reason", DeclineReason),
    PaymentOutcomeUnknown: ("cause", UnknownCause),
    ActivationFailed: ("reason", ActivationFailureReason),
    SurplusCaptured: ("reason", SurplusReason),
    WalletChargeRefused: ("reason", ChargeRefusalReason),
    NotificationFailed: ("reason", NotificationFailureReason),
    NotificationSuppressed: ("reason", NotificationSuppressionReason),
}


def example(model: type[Event]) -> Event:
    path = ROOT / "schemas" / "examples" / model.__name__ / "v1.json"
    return model.parse(json.dumps(json.loads(path.read_text("utf-8"))["data"]).encode())


def facts(model: type[Event]) -> Iterator[Event]:
    """Return the example of an event, and one for each of its reasons."""
    yield example(model)
    field, reasons = REASONS.get(model, ("", ()))
    for reason in reasons:
        yield example(model).model_copy(update={field: reason})


@pytest.mark.parametrize("counter", COUNTERS, ids=lambda counter: counter.name)
def test_every_event_is_counted_under_labels_that_the_counter_declares(
    counter: EventCounter,
) -> None:
    counted = [
        (fact, counter.count[model](fact))
        for model in EVENT_TYPES.values()
        if model in counter.count
        for fact in facts(model)
    ]
    assert counted
    assert [fact for fact, (labels, _) in counted if labels not in counter.series] == []
    assert [fact for fact, (_, by) in counted if type(by) is not int or by < 0] == []


def test_series_of_a_counter_are_as_many_as_its_sets_and_no_more() -> None:
    assert {counter.name: len(counter.series) for counter in COUNTERS if not counter.sparse} == {
        "orders_renewals": 5 + len(RejectionReason) + len(ActivationFailureReason),
        "orders_top_ups": 3 + len(TopUpRejectionReason),
        "orders_confirmations": 1 + len(ConfirmationRefusal),
        "orders_payments": 6 + len(DeclineReason) + len(UnknownCause) + len(SurplusReason),
        "ledger_wallet_decisions": 2 + len(ChargeRefusalReason),
        "ledger_entries": 2,
        "notifier_notifications": 9
        * (2 * (2 + len(NotificationFailureReason)) + 1 + len(UndeliveredReason)),
    }
    assert {len(counter.series) < 1_000 for counter in COUNTERS} == {True}


def test_every_way_to_resolve_an_unknown_payment_has_its_series() -> None:
    payments = next(each for each in COUNTERS if each.name == "orders_payments")
    outcomes = get_args(PaymentOutcomeResolved.model_fields["outcome"].annotation)
    assert outcomes
    assert {("resolved", outcome) for outcome in outcomes} <= payments.series


def test_captured_money_is_counted_in_minor_units_of_its_currency() -> None:
    captured = next(each for each in COUNTERS if each.name == "orders_captured_minor_units")
    model = EVENT_TYPES["billing.PaymentCaptured.v1"]
    fact: Any = example(model)
    assert captured.count[model](fact) == (
        (fact.amount.currency, fact.method.value),
        fact.amount.amount_minor,
    )


async def exposed() -> str:
    """Return a page with every metric of every service on it."""
    place = ("billing.requests.v1", 0)
    shard = {"shard": 0, "head_position": 1, "published_position": 1, "unpublished_seconds": None}
    letter = {"reason": "not_json", "letters": 1, "unsent": 0, "age_seconds": 1.0}
    view = View(
        DatabaseView([shard], [], [letter], {place: 1}),
        BrokerView({place: 0}, {place: 1}, {place: 1}, {place: Held(1, 1.0)}),
        frozenset({place}),
    )

    async def look() -> View:
        return view

    metrics = Metrics(
        service="all",
        events=BILLING,
        kinds=("charge",),
        counters=COUNTERS,
        rules={"catalogue": "0a"},
    )
    metrics.outcomes({"applied": 1})
    for model in EVENT_TYPES.values():
        metrics.committed([example(model)])
    collector = ObservedCollector(
        events=BILLING,
        kinds=("charge",),
        topics=[place[0]],
        shards=1,
        dead_letter_limit=1,
        relay=RelayCounts(),
        clock=ClockCounts(),
        heads=KeptHeads(60),
    )
    text, _ = await MetricsPage(metrics.registry, collector, look).text("text/plain")
    return text.decode()


async def test_page_of_docs_names_exactly_what_is_exposed() -> None:
    families = {
        family.name: family.type for family in text_string_to_metric_families(await exposed())
    }
    ours = {
        f"{name}_total" if kind == "counter" else name: kind
        for name, kind in families.items()
        if name.startswith("perennial_")
    }
    assert ours == full_names()


def test_names_and_labels_follow_the_conventions() -> None:
    text = asyncio.run(exposed())
    linted = subprocess.run(
        [fetch_prometheus()["promtool"], "check", "metrics"],
        input="".join(
            f"{line}\n" for line in text.splitlines() if re.match(r"(# \w+ )?perennial_", line)
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")
    labels = set(re.findall(r'[{,](\w+)="', text))
    assert [label for label in labels if IDENTIFYING.search(label)] == []
    assert not [name for name in full_names() if re.search(r"_(ms|minutes|bytes_total)$", name)]


def test_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_metrics(page) == page
    assert main(["--check"]) == 0
    assert {name for name in full_names() if f"| `{name}` |" not in page} == set()


def test_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="between the marks"):
        with_metrics("# Operations\n")
