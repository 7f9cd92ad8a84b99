"""The runtime serves a service that has nothing of billing, and knows nothing of it itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client import generate_latest
from pydantic import SecretStr

from schemas import BILLING
from schemas.registry import EventRegistry, Topic
from services.runtime.authenticity import EventKeys
from services.runtime.errors import ConfigurationError, Park
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.kafka.records.cloudevents import binary_headers
from services.runtime.log.memory_log import MemoryEventLog
from services.runtime.metrics.metrics import Metrics
from tests.controls import T0
from tests.unit.runtime.kiosk import (
    COINS,
    DRINKS,
    KIOSK,
    SHARDS,
    SOURCE,
    CoinInserted,
    DrinkDispensed,
    coin,
    processor,
)

BILLINGS = frozenset(
    f"schemas.{name}"
    for name in (
        *("access", "catalogue", "confirmations", "contents", "ledger", "money", "notifier"),
        *("orders", "requests", "surplus", "topics"),
    )
)


async def machine() -> tuple[MemoryEventLog, Intake]:
    log = MemoryEventLog(shard_count=SHARDS, lease_seconds=60, wall_clock=lambda: T0)
    await log.ensure_cursors({(COINS.name, n): 0 for n in range(SHARDS)})
    service = processor({})
    journal = Journal(service)
    intake = Intake(
        log=log, processor=service, journal=journal, shard_count=SHARDS, clock=lambda: T0
    )
    return log, intake


async def test_coins_become_drinks_in_the_kiosks_own_words() -> None:
    log, intake = await machine()
    result = await intake.handle([coin(0), coin(1), coin(2)])
    assert result.outcomes == {"applied": 2, "ignored:slot_is_empty": 1}
    assert [each.run.kind for each in result.leased] == ["wash", "wash"]
    news = await log.unpublished(SOURCE, range(SHARDS), limit=10)
    [events] = [each.events for each in news.values()]
    assert [type(each.event(KIOSK)) for each in events] == [DrinkDispensed, DrinkDispensed]
    headers = dict(binary_headers(events[0], KIOSK))
    assert headers["ce_type"] == b"kiosk.DrinkDispensed.v1"
    assert headers["ce_source"] == b"/kiosk/machine"
    assert headers["ce_dataschema"] == b"urn:kiosk:schema:DrinkDispensed.v1"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (coin(source="/upstream/shop"), "source_not_allowed"),
        (coin().having("ce_type", b"kiosk.DrinkDispensed.v1"), "unknown_event_type"),
        (coin().having("ce_type", b"kiosk.CoinInserted.v2"), "unknown_version"),
        (coin().having("ce_type", b"billing.TopUpRequested.v1"), "unknown_event_type"),
    ],
)
async def test_what_is_of_another_language_is_a_dead_letter(record: object, reason: str) -> None:
    _, intake = await machine()
    result = await intake.handle([record])  # type: ignore[list-item]
    assert result.outcomes == {f"dead_lettered:{reason}": 1}


async def test_event_of_another_language_in_the_log_parks_its_shard() -> None:
    log, intake = await machine()
    await intake.handle([coin()])
    news = await log.unpublished(SOURCE, range(SHARDS), limit=10)
    [stored] = [event for each in news.values() for event in each.events]
    with pytest.raises(Park, match=r"the log holds kiosk\.DrinkDispensed\.v1"):
        stored.event(BILLING)


def test_metrics_count_the_events_of_the_kiosk() -> None:
    page = generate_latest(Metrics.of(processor({})).registry).decode()
    assert "CoinInserted" in page
    assert "RenewalAccepted" not in page


def test_keys_are_those_of_the_topics_of_the_language() -> None:
    topics = KIOSK.topics.values()
    text = "\n".join(f"machine/{reader}/k:{'0b' * 32}" for reader in ("machine", "bar"))
    assert EventKeys.read(text, topics).signer("machine")
    with pytest.raises(ConfigurationError, match="there are machine/machine, machine/bar"):
        EventKeys.of(SecretStr(f"orders/ledger/k:{'0b' * 32}"), topics)


def test_runtime_loads_nothing_of_billing() -> None:
    program = (
        "import pkgutil, importlib, sys, services.runtime as runtime\n"
        "for each in pkgutil.walk_packages(runtime.__path__, 'services.runtime.'):\n"
        "    importlib.import_module(each.name)\n"
        "print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = set(run.stdout.split())
    assert "schemas.registry" in loaded
    assert loaded & BILLINGS == set()


def test_registry_refuses_a_model_that_names_itself_in_another_way() -> None:
    with pytest.raises(ValueError, match=r"is not named as billing names it"):
        EventRegistry(
            ((CoinInserted, COINS),), namespace="billing", schema_base="urn:kiosk:schema:"
        )
    with pytest.raises(ValueError, match=r"two models claim to be kiosk\.CoinInserted\.v1"):
        EventRegistry(
            ((CoinInserted, COINS), (CoinInserted, DRINKS)),
            namespace="kiosk",
            schema_base="urn:kiosk:schema:",
        )


@pytest.mark.parametrize("sources", [{}, {"source": "/a/b", "source_prefix": "/a/"}])
def test_topic_is_written_by_one_service_or_by_systems_around_us(sources: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="needs either a source or a source_prefix"):
        Topic("kiosk.taps.v1", "tap", (), "taps", **sources)  # type: ignore[arg-type]
