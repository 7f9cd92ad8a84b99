"""Topics that are lost with all they held: services halt, and recover without doing a thing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from pydantic import SecretStr

from deploy.local.processes import Child
from schemas.topics import LEDGER, NOTIFICATIONS, ORDERS, REQUESTS
from services.runtime.app.start import open_pool
from services.runtime.errors import Halt
from services.runtime.kafka.topics import topic_identity
from services.runtime.kafka.topics.reach import first_offsets_now
from services.runtime.kafka.topics.topic_identity import KnownTopics
from services.runtime.log.postgres_log import PostgresEventLog
from services.runtime.settings import KafkaSettings, RuntimeSettings
from tests.faults.conftest import Books
from tests.faults.records.test_lost_records import SHARD, halted
from tests.faults.recovery.recovery import SERVICES, make_again, perennial, recover
from tests.faults.requests import card_renewal
from tests.faults.stream import Stream, start, start_services
from tests.infrastructure.system import SHARDS, System

OWN = {"orders": ORDERS, "ledger": LEDGER, "notifier": NOTIFICATIONS}


def renewals(name: str, count: int) -> list[dict[str, object]]:
    """Return renewals of one account."""
    return [card_renewal(1, f"{name}-{number}", token="tok_ok") for number in range(count)]


def log_of(child: Child) -> str:
    """Return what a service has logged so far."""
    return child.log.read_text()


def accepted(system: System, count: int) -> None:
    """Return when orders has accepted `count` renewals."""
    system.wait_for(
        f"{count} renewals", lambda: len(system.events("orders", "RenewalAccepted")) == count
    )


def test_our_topics_made_again_in_mid_stream_halt_all_and_everything_is_still_done_once(
    system: System, undisturbed_books: Books
) -> None:
    start_services(system)

    with Stream(system) as stream:
        stream.charged(0.4)
        make_again(system, [topic.name for topic in OWN.values()])
        for service in SERVICES:
            error = halted(system.children[service])
            assert "made again" in error or "the topic ends at" in error
        # Whoever still ran has published into them: once more, so that the logs come first.
        make_again(system, [topic.name for topic in OWN.values()])
        for service in SERVICES:
            for topic in (each for each in OWN.values() if service in each.groups):
                recover(system, "reread", service, topic.name, "--yes")
            recover(system, "republish", service, "--yes")
        for service in SERVICES:
            start(system, service, wait=False)

    stream.outcome.check()
    assert stream.outcome.balances() == undisturbed_books


def test_topic_of_requests_made_again_under_a_running_service_halts_it_before_it_reads_on(
    system: System,
) -> None:
    child = system.start("orders")
    system.publish("RenewalRequested", *renewals("old", 3))
    accepted(system, 3)

    make_again(system, [REQUESTS.name])
    system.publish("RenewalRequested", *renewals("old", 3), *renewals("new", 2))

    assert "perennial recover" in halted(child)
    recover(system, "reread", "orders", REQUESTS.name, "--yes")
    system.start("orders")
    accepted(system, 5)
    assert system.dead_letters("orders") == []


def test_topic_made_again_before_the_first_record_was_read_halts_the_service(
    system: System,
) -> None:
    child = system.start("orders")

    make_again(system, [REQUESTS.name])
    system.publish("RenewalRequested", *renewals("new", 2))

    assert halted(child).startswith(f"{REQUESTS.name} was made again: its id is ")
    assert system.events("orders", "RenewalAccepted") == []


def test_topic_made_again_while_its_first_offsets_are_asked_for_is_not_taken_for_the_first_one(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def made_again(settings: KafkaSettings, partitions: Collection[Any]) -> dict[Any, int]:
        found = await first_offsets_now(settings, partitions)
        await asyncio.to_thread(make_again, system, [REQUESTS.name])
        return found

    async def meet() -> None:
        settings = RuntimeSettings(
            postgres_dsn=SecretStr(system.dsn("orders")),
            bootstrap_servers=system.infrastructure.bootstrap_servers,
            shard_count=SHARDS,
        )
        pool = await open_pool("orders", settings)
        try:
            await KnownTopics(pool, settings, [REQUESTS.name]).meet(PostgresEventLog(pool))
        finally:
            await pool.close()

    monkeypatch.setattr(topic_identity, "first_offsets_now", made_again)
    with pytest.raises(Halt, match="was made again"):
        asyncio.run(meet())


def test_topic_made_again_with_more_records_than_before_halts_a_service_that_starts(
    system: System,
) -> None:
    child = system.start("orders")
    system.publish("RenewalRequested", *renewals("old", 2))
    accepted(system, 2)
    assert child.stop() == 0

    make_again(system, [REQUESTS.name])
    system.publish("RenewalRequested", *renewals("new", 6))

    error = halted(system.start("orders", wait=False))
    assert error.startswith(f"{REQUESTS.name} was made again: its id is ")
    assert len(system.events("orders", "RenewalAccepted")) == 2


def test_cursors_of_another_cluster_halt_the_service(system: System) -> None:
    child = system.start("orders")
    system.publish("RenewalRequested", *renewals("old", 1))
    accepted(system, 1)
    assert child.stop() == 0
    system.query("orders", "UPDATE cursor SET cluster_id = 'elsewhere'")

    error = halted(system.start("orders", wait=False))

    assert "and the cursors count on elsewhere" in error
    assert "BOOTSTRAP_SERVERS" in error


def test_event_published_again_has_the_same_bytes_headers_and_order(system: System) -> None:
    child = system.start("orders")
    system.publish("RenewalRequested", *renewals("old", 3))
    system.wait_for("9 events", lambda: len(system.records(ORDERS.name)) == 9)
    assert child.stop() == 0

    recover(system, "republish", "orders", "--yes")
    system.start("orders")
    system.wait_for("18 events", lambda: len(system.records(ORDERS.name)) == 18)

    found = [(record.key, record.value, record.headers) for record in system.records(ORDERS.name)]
    assert found[:9] == found[9:]


def test_publishing_again_from_a_position_leaves_out_what_is_before_it(system: System) -> None:
    child = system.start("orders")
    system.publish("RenewalRequested", *renewals("old", 3))
    system.wait_for("9 events", lambda: len(system.records(ORDERS.name)) == 9)
    assert child.stop() == 0

    recover(system, "republish", "orders", "--from-position", "7", "--yes")
    system.start("orders")

    system.wait_for("12 events", lambda: len(system.records(ORDERS.name)) == 12)


def test_topic_is_read_again_from_an_offset_although_nothing_new_arrives(system: System) -> None:
    child = system.start("orders")
    system.publish("RenewalRequested", *renewals("old", 3))
    accepted(system, 3)
    assert child.stop() == 0

    shard = str(SHARD)
    recover(
        system, "reread", "orders", REQUESTS.name, "--partition", shard, "--offset", "1", "--yes"
    )
    child = system.start("orders")

    system.wait_for("2 are read again", lambda: '"ignored:duplicate_request": 2' in log_of(child))
    cursor = "SELECT next_offset FROM cursor WHERE topic = $1 AND partition = $2"
    assert system.query("orders", cursor, REQUESTS.name, SHARD)[0]["next_offset"] == 3


def test_nothing_is_moved_without_yes_or_under_a_running_service(system: System) -> None:
    child = system.start("orders")
    system.publish("RenewalRequested", *renewals("old", 2))
    accepted(system, 2)
    places = (
        "SELECT * FROM cursor ORDER BY 1, 2",
        "SELECT published_position FROM shard ORDER BY 1",
    )
    commands = (["reread", "orders", REQUESTS.name], ["republish", "orders"])

    for command in commands:
        refused = perennial(system, "recover", *command, "--yes")
        assert refused.returncode == 2
        assert "orders is running" in refused.stderr
    assert child.stop() == 0
    before = [system.query("orders", place) for place in places]
    for command in commands:
        assert "repeat with --yes" in recover(system, *command)

    assert [system.query("orders", place) for place in places] == before


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["reread", "ledger", REQUESTS.name], "ledger does not read billing.requests.v1: name"),
        (["reread", "bookkeeper", REQUESTS.name], "name orders, ledger, notifier"),
        (["reread", "orders", REQUESTS.name, "--offset", "1"], "name it with --partition"),
        (
            ["reread", "orders", REQUESTS.name, "--partition", "0", "--offset", "7"],
            "holds the offsets 0 to 0",
        ),
    ],
)
def test_place_that_is_not_there_is_refused(
    system: System, arguments: list[str], advice: str
) -> None:
    refused = perennial(system, "recover", *arguments)
    assert refused.returncode == 2
    assert advice in refused.stderr
