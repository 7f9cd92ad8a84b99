"""One service alone with work waiting for it: the ledger's intake, the notifier's mail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import aiosmtplib

from deploy.bench.line import EVENTS_PER_RENEWAL, Watcher, producing, watching
from deploy.bench.parts.events import stored_events
from deploy.bench.results.figures import Figure, steady_rate
from deploy.bench.results.plan import BenchPlan
from deploy.bench.rig import Rig
from deploy.bench.system.load import Load, Message
from deploy.local.errors import StackError
from deploy.local.ports import HOST
from schemas import BILLING
from schemas.registry import SHARD_COUNT_DEFAULT
from schemas.topics import NOTIFICATIONS, ORDERS, REQUESTS, TOPICS
from services.runtime.authenticity import EventKeys
from services.runtime.kafka.records.cloudevents import binary_headers
from services.runtime.log.event_log import ShardHead

NAMES: Final = ("ledger_intake", "mail")
_LOOK_SECONDS: Final = 0.02
_STALLED_SECONDS: Final = 60
_IN_FLIGHT: Final = 2_000
_CONNECTIONS: Final = 16
"""As many as the notifier opens."""
_PATIENT: Final = {
    "PERENNIAL_LEDGER_READY_LAG_MAX": "100000000",
    "PERENNIAL_NOTIFIER_READY_LAG_MAX": "100000000",
}

Progress = Callable[[Watcher], Awaitable[float]]


def ledger_intake(rig: Rig, plan: BenchPlan) -> list[Figure]:
    """Return how fast the ledger takes in what lies on the orders topic, beside a bare COPY loop."""
    rig.fresh()
    load, count = Load("fill"), plan.intake_renewals
    asyncio.run(_publish(rig, ORDERS.name, _events(rig, load, count)))
    rig.start_bare("ledger", topics=(REQUESTS.name, ORDERS.name, NOTIFICATIONS.name))
    line = rig.bare_line()
    bare = asyncio.run(_rate(rig, _booked(line.booked_query), EVENTS_PER_RENEWAL * count))
    rig.stop()
    rig.start("ledger", settings=_PATIENT, wait=False)
    query = rig.line().booked_query
    rate = asyncio.run(_rate(rig, _booked(query), EVENTS_PER_RENEWAL * count))
    rig.stop()
    note = "with amounts, balances, chain"
    return [Figure("ledger_intake", rate, "events/s", "bare COPY loop", bare, "0.33; 20,000", note)]


def mail(rig: Rig, plan: BenchPlan) -> list[Figure]:
    """Return how fast facts become delivered emails, beside an SMTP client that only sends."""
    rig.fresh()
    load, count = Load("mail"), plan.mails
    asyncio.run(_publish(rig, REQUESTS.name, (load.message(n) for n in range(count))))
    rig.stack.start_mail_sink()
    sink = rig.stack.children["smtp"]
    port = rig.stack.addresses().smtp_port
    rig.start("notifier", settings=_PATIENT)
    asyncio.run(_counted(rig, _requests_read, count))
    asyncio.run(_publish(rig, ORDERS.name, _events(rig, load, count)))
    rate = asyncio.run(_rate(rig, _notified, count))
    rig.stop()
    delivered = sorted(rig.stack.mail_folder.glob("*.eml"))
    if len(delivered) != count:
        message = f"{len(delivered)} emails were delivered and {count} were due"
        raise StackError(message)
    bare = asyncio.run(_bare_mail(port, delivered[0].read_bytes(), count))
    sink.stop()
    note = f"sink and all on the same cores; {_CONNECTIONS} connections"
    return [Figure("mail", rate, "emails/s", "bare aiosmtplib loop", bare, "0.7", note)]


def _events(rig: Rig, load: Load, count: int) -> Iterable[Message]:
    heads = {shard: ShardHead() for shard in range(SHARD_COUNT_DEFAULT)}
    keys = EventKeys.read(rig.stack.event_keys_file.read_text(encoding="utf-8"), TOPICS)
    signer = keys.signer("orders")
    for event in stored_events(load, 0, count, heads):
        key, headers = event.account_id.encode(), binary_headers(event, BILLING)
        yield {
            "partition": event.shard,
            "key": key,
            "value": event.body,
            "headers": [*headers, signer.mac(ORDERS.name, event.shard, key, headers, event.body)],
        }


async def _publish(rig: Rig, topic: str, messages: Iterable[Message]) -> None:
    async with producing(rig.stack.bootstrap_servers) as producer:
        for number, message in enumerate(messages):
            await producer.send(topic, **message)
            if number % _IN_FLIGHT == 0:
                await producer.flush()
        await producer.flush()


def _booked(query: str) -> Progress:
    async def progress(watcher: Watcher) -> float:
        return float(await watcher.connection.fetchval(query, ORDERS.name))

    return progress


async def _notified(watcher: Watcher) -> float:
    return await watcher.end_of(NOTIFICATIONS.name)


async def _requests_read(watcher: Watcher) -> float:
    query = "SELECT coalesce(sum(next_offset), 0) FROM notifier.cursor WHERE topic = $1"
    return float(await watcher.connection.fetchval(query, REQUESTS.name))


async def _rate(rig: Rig, progress: Progress, total: int) -> float:
    """Return the rate of `progress` once it has reached `total`.

    Raises:
        StackError: it stands still.
    """
    return steady_rate(await _counted(rig, progress, total))


async def _counted(rig: Rig, progress: Progress, total: int) -> list[tuple[float, float]]:
    """Return (seconds, `progress`) from now until it has reached `total`: once, if it has already.

    Raises:
        StackError: it stands still.
    """
    samples: list[tuple[float, float]] = []
    async with watching(rig.line()) as watcher:
        started = last_change = time.monotonic()
        while not samples or samples[-1][1] < total:
            samples.append((time.monotonic() - started, await progress(watcher)))
            if len(samples) < 2 or samples[-1][1] != samples[-2][1]:  # noqa: PLR2004 - a pair
                last_change = time.monotonic()
            if time.monotonic() - last_change > _STALLED_SECONDS:
                message = f"{samples[-1][1]:.0f} of {total} were dealt with: see the logs"
                raise StackError(message)
            await asyncio.sleep(_LOOK_SECONDS)
    return samples


async def _bare_mail(port: int, content: bytes, count: int) -> float:
    """Send the same message `count` times over as many connections as the notifier uses."""
    numbers = iter(range(count))

    async def send() -> None:
        async with aiosmtplib.SMTP(hostname=HOST, port=port, start_tls=False) as client:
            for _ in numbers:
                await client.sendmail("billing@perennial.example", "one@example.net", content)

    started = time.monotonic()
    await asyncio.gather(*(send() for _ in range(_CONNECTIONS)))
    return count / (time.monotonic() - started)
