"""A real Prometheus scrapes the three services: what it knows agrees with what happened."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator

import asyncpg
import pytest

from deploy.local.services import SERVICES
from services.runtime.watch.observed import KEPT_SECONDS, READ_SECONDS
from tests.faults.requests import card_renewal
from tests.infrastructure.prometheus import MONITORING, Prometheus, watching
from tests.infrastructure.system import SHARDS, System

RENEWALS = 6


@pytest.fixture
def prometheus(system: System) -> Iterator[Prometheus]:
    system.start_all(UNKNOWN_LOOK_UP_SECONDS=2, UNKNOWN_SETTLE_SECONDS=2)
    addresses = {service: system.address(service) for service in SERVICES}
    with watching(addresses, system.folder / "prometheus") as ready:
        yield ready


def renewed(system: System) -> None:
    """Have plans renewed and told about, and one record that nobody can handle."""
    renewals = [
        card_renewal(number, "watched", token="tok_ok", ending="0000") for number in range(RENEWALS)
    ]
    system.publish("RenewalRequested", *renewals)
    system.publish_raw((b"acct-1", b"not json", []))
    system.wait_for("all are told", lambda: len(system.mails()) == RENEWALS)


def test_prometheus_knows_what_happened(system: System, prometheus: Prometheus) -> None:
    renewed(system)

    def is_known(expression: str, expected: float) -> None:
        system.wait_for(
            f"{expression} is {expected}, not {prometheus.query(expression)}",
            lambda: prometheus.value(expression) == expected,
            seconds=20,
        )

    system.wait_for(
        "all services are scraped",
        lambda: prometheus.targets() == dict.fromkeys(SERVICES, "up"),
        seconds=20,
    )
    is_known('sum(perennial_orders_renewals_total{outcome="activated"})', RENEWALS)
    captured = sum(
        event["amount"]["amount_minor"] for event in system.events("orders", "PaymentCaptured")
    )
    is_known('sum(perennial_orders_captured_minor_units_total{currency="USD"})', captured)
    is_known('sum(perennial_ledger_booked_minor_units_total{fact="PaymentCaptured"})', captured)
    is_known('sum(perennial_notifier_notifications_total{outcome="sent"})', RENEWALS)
    is_known('perennial_effect_attempts_total{kind="charge",result="finished"}', RENEWALS)
    for service in SERVICES:
        for gauge in ("consumer_lag_records", "consumer_group_lag_records"):
            is_known(f'sum(perennial_{gauge}{{service="{service}"}})', 0)
        heads = system.query(service, "SELECT sum(head_position)::int AS total FROM shard")
        is_known(f'sum(perennial_log_head_position{{service="{service}"}})', heads[0]["total"])
        is_known(f'max(perennial_log_unpublished_age_seconds{{service="{service}"}})', 0)
        is_known(f'perennial_shards{{service="{service}"}}', SHARDS)
        is_known(f'min(perennial_partitions_assigned{{service="{service}"}})', SHARDS)
    dead = prometheus.query("perennial_dead_letters_open")
    assert {(labels["service"], labels["reason"]): count for labels, count in dead} == {
        ("orders", "not_a_cloudevent"): 1,
        ("notifier", "not_a_cloudevent"): 1,
    }
    own = prometheus.value('sum(perennial_relay_published_messages_total{service="orders"})')
    assert own == len(system.published("billing.orders.v1")) + 1


def test_every_rule_and_dashboard_is_understood_by_a_running_prometheus(
    system: System, prometheus: Prometheus
) -> None:
    renewed(system)
    system.wait_for(
        "every rule is evaluated",
        lambda: all(rule["health"] == "ok" for rule in prometheus.rules()),
        seconds=20,
    )
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    queries = [
        target["expr"].replace("$__rate_interval", "5m")
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        # Nothing was refunded or paid twice, and a currency shows up with its first amount.
        if "refunded" not in target["expr"] and "surplus" not in target["expr"]
    ]

    def without_answer() -> list[str]:
        return [query for query in queries if not prometheus.query(query)]

    system.wait_for("each panel shows something", lambda: not without_answer(), seconds=20)


async def test_database_that_does_not_answer_leaves_the_metrics_of_the_process(
    system: System,
) -> None:
    await asyncio.to_thread(system.start, "ledger")
    page = f"{system.address('ledger')}/metrics"
    assert "perennial_log_head_position{" in await asyncio.to_thread(read, page)

    connection = await asyncpg.connect(system.admin_dsn)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE ledger.shard")
            await asyncio.sleep(KEPT_SECONDS)
            asked = time.monotonic()
            text = await asyncio.to_thread(read, page)
            took = time.monotonic() - asked
    finally:
        await connection.close()

    assert took < READ_SECONDS + 2
    assert "perennial_database_up 0.0" in text
    assert 'perennial_batches_total{result="committed"}' in text
    assert "perennial_log_head_position{" not in text
    await asyncio.sleep(KEPT_SECONDS)
    assert "perennial_log_head_position{" in await asyncio.to_thread(read, page)


def read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310
        text: str = answer.read().decode()
    return text
