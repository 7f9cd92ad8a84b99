"""Traces of the three services as processes, sent by OTLP: one follows a renewal to its email."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

import pytest

from deploy.local.ports import HOST, choose_ports
from schemas.topics import NOTIFICATIONS
from services.runtime.watch.trace_ids import derived_trace_id
from tests.infrastructure.otlp import ReceivedSpan, Receiver, receiving
from tests.infrastructure.system import System, request_headers

NAMESPACE: Final = UUID("00000000-0000-4000-8000-0000000000ab")
TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
UPSTREAM: Final = "b7ad6b7169203331"
SAMPLED: Final = f"00-{TRACE}-{UPSTREAM}-01".encode()
UNSAMPLED: Final = f"00-{TRACE[::-1]}-{UPSTREAM}-00".encode()
SERVICES: Final = {"perennial-orders", "perennial-ledger", "perennial-notifier"}
BY_CARD: Final = {"method": "card", "mode": "charge", "currency": "USD", "token": "tok_ok"}
BY_WALLET: Final = {"method": "wallet", "mode": "wallet", "currency": "USD"}
ICCID: Final = "8985203000000010000"
LAST: Final = {
    ("perennial-orders", "publish PlanActivated"),
    ("perennial-ledger", "process PlanActivated"),
    ("perennial-notifier", "publish NotificationSent"),
}
"""What ends a renewal in each service; their order among each other is open."""
PERSONAL: Final = ("traveller@example.com", "Ada Marsh", ICCID, "tok_ok")


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that every service of the test exports to."""
    with receiving() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        yield found


def ask(system: System, name: str, traceparent: bytes | None, **data: Any) -> UUID:
    """Publish a request of one account; return its event id."""
    whole = data | {
        "account_id": "acct-1",
        "contact": {
            "email": "traveller@example.com",
            "name": "Ada Marsh",
            "locale": "en",
            "time_zone": "UTC",
        },
        "requested_at": "2026-11-20T08:00:00Z",
    }
    body = json.dumps(whole).encode()
    event_id = uuid5(NAMESPACE, f"{name}/{body.decode()}")
    more = {} if traceparent is None else {"ce_traceparent": traceparent}
    system.publish_raw((b"acct-1", body, request_headers(name, event_id, **more)))
    return event_id


def top_up(system: System, traceparent: bytes | None) -> UUID:
    amount = {"amount_minor": 10_000, "currency": "USD"}
    return ask(
        system, "TopUpRequested", traceparent, topup_id="top-1", amount=amount, payment=BY_CARD
    )


def renew(system: System, traceparent: bytes | None, payment: dict[str, str], name: str) -> UUID:
    return ask(
        system,
        "RenewalRequested",
        traceparent,
        renewal_id=name,
        iccid=ICCID,
        plan_code="eu-data-basic",
        payment=payment,
    )


def mailed(system: System, *templates: str) -> None:
    def all_told() -> bool:
        return sorted(
            data["template"]
            for name, data in system.published(NOTIFICATIONS.name)
            if name == "NotificationSent"
        ) == sorted(templates)

    system.wait_for(f"the emails {templates}", all_told)


def whole_trace(system: System, receiver: Receiver, trace_id: str) -> list[ReceivedSpan]:
    """Return a trace that has come to its end in each service, with every parent there."""

    def found() -> list[ReceivedSpan] | None:
        spans = receiver.trace(trace_id)
        known = {span.span_id for span in spans} | {UPSTREAM, ""}
        ended = {(span.service, span.name) for span in spans} >= LAST
        return spans if ended and {span.parent_id for span in spans} <= known else None

    return system.wait_for("a trace without missing parents", found)


def names_of(spans: list[ReceivedSpan], service: str) -> set[str]:
    return {span.name for span in spans if span.service == f"perennial-{service}"}


def test_one_trace_follows_a_renewal_through_the_services_the_broker_and_the_database(
    system: System, receiver: Receiver
) -> None:
    system.start_all()
    top_up(system, UNSAMPLED)
    mailed(system, "top_up_confirmed")
    renew(system, SAMPLED, BY_WALLET, "rnw-1")
    mailed(system, "top_up_confirmed", "renewal_confirmed")
    spans = whole_trace(system, receiver, TRACE)

    assert {span.service for span in spans} == SERVICES
    assert not any(span.failed for span in spans)
    assert names_of(spans, "orders") == {
        *("process RenewalRequested", "process WalletCharged", "activate", "commit"),
        *("publish RenewalAccepted", "publish WalletChargeRequested"),
        *("publish PaymentCaptured", "publish PlanActivated"),
    }
    assert names_of(spans, "ledger") == {
        *("process RenewalAccepted", "process WalletChargeRequested", "process PaymentCaptured"),
        *("process PlanActivated", "publish WalletCharged", "commit"),
    }
    assert names_of(spans, "notifier") == {
        *("process PlanActivated", "email", "publish NotificationSent", "commit"),
    }
    kinds = {(span.name.partition(" ")[0], span.kind) for span in spans}
    assert kinds == {
        ("process", "CONSUMER"),
        ("publish", "PRODUCER"),
        *((name, "CLIENT") for name in ("commit", "activate", "email")),
    }
    databases = {span.attributes["db.namespace"] for span in spans if span.name == "commit"}
    assert databases == {"orders", "ledger", "notifier"}
    assert {span.name for span in spans if span.parent_id == UPSTREAM} == {
        "process RenewalRequested"
    }
    follows_each_event_that_is_stored(system, spans)
    leads_to_the_batches(system, receiver, spans)
    assert receiver.trace(TRACE[::-1]) == []
    for body in receiver.bodies:
        assert not any(value.encode() in body for value in PERSONAL)


def follows_each_event_that_is_stored(system: System, spans: list[ReceivedSpan]) -> None:
    """Every event of the renewal names a span of the trace."""
    stored = system.query("orders", "SELECT traceparent FROM event WHERE correlation_id = 'rnw-1'")
    named = {row["traceparent"].split("-")[2] for row in stored}
    assert len(stored) == 4
    assert named <= {span.span_id for span in spans}


def leads_to_the_batches(system: System, receiver: Receiver, spans: list[ReceivedSpan]) -> None:
    """Every record and every publishing is linked to a batch of another trace, and that to it."""

    def batches() -> dict[str, ReceivedSpan] | None:
        found = {span.span_id: span for span in receiver.spans if span.trace_id != TRACE}
        wanted = {span_id for span in spans for _, span_id in span.links}
        return found if wanted <= found.keys() else None

    found = system.wait_for("the batches", batches)
    moved = [span for span in spans if span.kind in {"CONSUMER", "PRODUCER"}]
    for span in moved:
        [(_, batch_id)] = span.links
        batch = found[batch_id]
        assert (batch.service, batch.kind, batch.parent_id) == (span.service, span.kind, "")
        assert batch.name.partition(" ")[0] == span.name.partition(" ")[0]
        assert (TRACE, span.parent_id) in batch.links
        assert batch.attributes["messaging.batch.message_count"] >= 1


def test_request_without_trace_is_followed_under_the_id_that_its_event_gives(
    system: System, receiver: Receiver
) -> None:
    system.start_all()
    event_id = renew(system, None, BY_CARD, "rnw-2")
    spans = whole_trace(system, receiver, f"{derived_trace_id(f'/upstream/tests/{event_id}'):032x}")
    assert {span.service for span in spans} == SERVICES
    assert {"charge", "activate", "publish PaymentCaptured"} <= names_of(spans, "orders")
    assert {span.name for span in spans if not span.parent_id} == {"process RenewalRequested"}


def test_renewal_is_served_and_a_stop_is_orderly_while_nobody_receives_spans(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = choose_ports(system.folder / "nobody", ["nobody"])["nobody"]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{HOST}:{port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    system.start_all()
    renew(system, SAMPLED, BY_CARD, "rnw-3")
    mailed(system, "renewal_confirmed")

    for service in ("orders", "ledger", "notifier"):
        child = system.children[service]
        complaints = partial(complaints_in, child.log)
        system.wait_for("a complaint", complaints)
        assert child.stop(30) == 0
        assert len(complaints()) == 1


def complaints_in(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if "tracing_trouble" in line]
