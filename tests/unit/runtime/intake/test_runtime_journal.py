"""States kept between batches, and when they are not to be trusted; ids that a retry makes again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import structlog

from schemas.topics import Source
from services.runtime.effect import Retry
from services.runtime.errors import VersionConflict
from services.runtime.flow.intake.guard import ShardGuard
from services.runtime.flow.intake.intake import Intake
from services.runtime.log.event_log import chain_hash
from services.runtime.log.memory_log import MemoryEventLog
from services.runtime.processor import Decision, Streams
from tests.controls import T0
from tests.unit.runtime.toy import (
    ACCOUNT,
    ORDERS_OF,
    OTHER_ACCOUNT,
    SHARD,
    SHARDS,
    TOYS,
    Toy,
    begin,
    counted,
    intake_of,
    low_balance,
    memory_log,
    request,
    streams_of,
)


class Loads:
    """Counts the streams that are read from the log."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streams: list[str] = []
        original = "services.runtime.log.memory_log.MemoryTransaction.load_streams"
        from services.runtime.log.memory_log import MemoryTransaction  # noqa: PLC0415

        load = MemoryTransaction.load_streams

        async def counting(tx: MemoryTransaction, stream_ids: set[str]) -> object:
            self.streams += sorted(stream_ids)
            return await load(tx, stream_ids)

        monkeypatch.setattr(original, counting)


@pytest.fixture
async def log() -> MemoryEventLog:
    log = memory_log()
    await begin(log)
    return log


async def test_state_of_a_stream_is_kept_between_batches_and_not_read_again(
    log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy()
    intake = intake_of(log, toy.processor())
    loads = Loads(monkeypatch)
    for offset in range(3):
        await intake.handle([request(offset)])
    assert toy.seen == [0, 1, 2]
    assert loads.streams == ["order/t-1"]


async def test_state_is_read_again_when_another_writer_has_moved_the_head(
    log: MemoryEventLog,
) -> None:
    toy, other = Toy(), Toy()
    intake = intake_of(log, toy.processor())
    await intake.handle([request(0)])
    await intake_of(log, other.processor()).handle([request(1), request(2)])
    await intake.handle([request(3)])
    assert toy.seen == [0, 3]
    assert await streams_of(log, "order/t-1") == [4]


async def test_failed_transaction_leaves_no_state_behind(log: MemoryEventLog) -> None:
    toy = Toy(troubles={13: VersionConflict("first")})
    intake = intake_of(log, toy.processor())
    await intake.handle([request(0)])
    with pytest.raises(VersionConflict):
        await intake.handle([request(1), request(2, amount=13)])
    await intake.handle([request(1)])
    assert toy.seen == [0, 1, 2, 1]


async def test_commands_of_one_batch_see_the_events_of_those_before_them(
    log: MemoryEventLog,
) -> None:
    toy = Toy()
    await intake_of(log, toy.processor()).handle([request(n) for n in range(4)])
    assert toy.seen == [0, 1, 2, 3]


async def test_cache_forgets_the_streams_that_were_used_longest_ago(
    log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.flow.journal.CACHED_STREAMS_MAX", 2)
    intake = intake_of(log, Toy().processor())
    loads = Loads(monkeypatch)
    for offset, name in enumerate(["a", "b", "a", "c", "a", "b"]):
        await intake.handle([request(offset, topup_id=name)])
    assert loads.streams == ["order/a", "order/b", "order/c", "order/b"]


async def test_long_streams_take_the_room_of_many_and_the_last_one_always_has_room(
    log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.flow.journal.CACHED_EVENTS_MAX", 4)
    intake = intake_of(log, Toy().processor())
    loads = Loads(monkeypatch)
    for offset, name in enumerate("aaabbaaab"):
        await intake.handle([request(offset, topup_id=name)])
        cached = intake._journal._cache[SHARD].values()  # noqa: SLF001 - what memory is spent on
        assert len(cached) == 1 or sum(each.stream_version for each in cached) <= 4
    assert loads.streams == ["order/a", "order/b", "order/a", "order/b"]


async def test_events_are_dense_and_chained_per_shard(log: MemoryEventLog) -> None:
    intake: Intake = intake_of(log, Toy().processor())
    batch = [request(n, topup_id=f"t-{n}") for n in range(3)]
    await intake.handle([*batch, request(0, topup_id="o", account_id=OTHER_ACCOUNT)])
    found = await log.unpublished("/billing/orders", range(SHARDS), limit=10)
    previous = bytes(32)
    for position, event in enumerate(found[SHARD].events, start=1):
        assert (event.position, event.sequence) == (position, position)
        assert event.hash == chain_hash(previous, event)
        previous = event.hash


async def test_same_request_gives_the_same_event_ids_in_another_log(log: MemoryEventLog) -> None:
    again = memory_log()
    await begin(again)
    for each in (log, again):
        await intake_of(each, Toy().processor()).handle([request(0), low_balance(1)])
    ids = []
    for each in (log, again):
        found = await each.unpublished("/billing/orders", [SHARD], limit=10)
        ids.append([event.event_id for event in found[SHARD].events])
    assert len(set(ids[0])) == 2
    assert ids[0] == ids[1]


async def test_events_have_ids_of_their_own_whatever_ids_their_requests_share(
    log: MemoryEventLog,
) -> None:
    asked = [
        request(0),
        request(1, topup_id="t-2"),
        request(2, amount=6),
        request(3, topup_id="t-3").having("ce_source", b"/upstream/others"),
        request(0, topup_id="t-4", account_id=OTHER_ACCOUNT),
    ]
    for each in asked:
        each.having("ce_id", b"00000000-0000-4000-8000-000000000001")
    await intake_of(log, Toy().processor()).handle(asked)
    found = await log.unpublished("/billing/orders", range(SHARDS), limit=10)
    events = [event for shard in found.values() for event in shard.events]
    assert len({event.event_id for event in events}) == len(events) == 5
    assert len({event.causation_id for event in events}) == 1


async def test_facts_apart_are_correlated_with_the_request_that_they_answer(
    log: MemoryEventLog,
) -> None:
    processor = Toy().processor()
    refusing = ORDERS_OF.decided_by(lambda *_: Decision((counted(),), apart=True))
    apart = replace(processor, streams=Streams(TOYS, refusing))
    await intake_of(log, processor).handle([request(0)])
    await intake_of(log, apart).handle([request(1, amount=6)])
    found = await log.unpublished("/billing/orders", [SHARD], limit=10)
    own, refused = found[SHARD].events
    assert own.stream_id == refused.stream_id
    assert own.correlation_id == "t-1"
    assert refused.correlation_id == str(refused.causation_id)


async def test_event_ids_of_a_place_that_another_request_took_in_another_life_of_a_log_differ(
    log: MemoryEventLog,
) -> None:
    again = memory_log()
    await begin(again)
    await intake_of(log, Toy().processor()).handle([request(0)])
    await intake_of(again, Toy().processor()).handle([request(0, amount=6)])
    first, second = [
        (await each.unpublished("/billing/orders", [SHARD], limit=10))[SHARD].events[0]
        for each in (log, again)
    ]
    assert (first.stream_id, first.stream_version) == (second.stream_id, second.stream_version)
    assert first.event_id != second.event_id


async def test_incoming_events_are_filed_with_their_own_bytes_when_the_service_wants_it(
    log: MemoryEventLog,
) -> None:
    toy = Toy()
    processor = toy.processor(source=Source.NOTIFIER, records_incoming=True)
    record = low_balance(1)
    await intake_of(log, processor).handle([record])
    async with log.transaction(shards=[SHARD]) as tx:
        filed, own = (await tx.load_streams([f"wallet/{ACCOUNT}"]))[f"wallet/{ACCOUNT}"]
        assert tx.heads[SHARD].sequence == 1
    assert (filed.source, filed.sequence, filed.body) == ("/billing/ledger", 1, record.value)
    assert (own.source, own.sequence, own.stream_version) == ("/billing/notifier", 1, 2)
    found = await log.unpublished("/billing/notifier", [SHARD], limit=10)
    assert [event.position for event in found[SHARD].events] == [2]


async def test_retry_decided_for_a_request_is_a_defect_and_becomes_a_dead_letter(
    log: MemoryEventLog,
) -> None:
    toy = Toy(effects=lambda _: (Retry(T0),))
    intake = intake_of(log, toy.processor())
    guard = ShardGuard(log=log, intake=intake, logger=structlog.get_logger())
    outcomes: list[str] = []
    for _ in range(3):
        try:
            outcomes += (await guard.handle([request(0)])).outcomes
        except Exception as error:  # noqa: BLE001 - any but the last is a retry
            outcomes.append(type(error).__name__)
    assert outcomes == ["Transient", "Transient", "dead_lettered:handler_error"]
