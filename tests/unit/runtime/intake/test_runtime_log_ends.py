"""A log that lost what was committed is noticed before anything is written to it, and in seconds."""

from __future__ import annotations

import pytest
import structlog

from services.runtime.errors import Halt, Transient
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.log_ends import LogWatch
from services.runtime.log.event_log import LogEnd
from services.runtime.log.memory_log import MemoryEventLog
from tests.unit.runtime.toy import SHARD, Toy, begin, intake_of, memory_log, request, streams_of


@pytest.fixture
async def log() -> MemoryEventLog:
    log = memory_log()
    await begin(log)
    return log


async def lost_the_newest(log: MemoryEventLog, intake: Intake) -> None:
    """Have `intake` commit two events, and the database lose the second."""
    await intake.handle([request(0, topup_id="t-1")])
    before = log._tables.snapshot()  # noqa: SLF001 - a fail-over does not ask either
    await intake.handle([request(1, topup_id="t-2")])
    log._tables = before  # noqa: SLF001


async def test_log_that_went_back_is_not_written_to(log: MemoryEventLog) -> None:
    intake = intake_of(log, Toy().processor())
    await lost_the_newest(log, intake)
    with pytest.raises(Halt, match="lost its newest transactions"):
        await intake.handle([request(1, topup_id="t-3")])
    assert await streams_of(log, "order/t-1", "order/t-2", "order/t-3") == [1, 0, 0]


@pytest.mark.parametrize("others", [1, 2])
async def test_log_whose_lost_numbers_another_process_gave_again_is_not_trusted(
    log: MemoryEventLog, others: int
) -> None:
    intake = intake_of(log, Toy().processor())
    await lost_the_newest(log, intake)
    another = intake_of(log, Toy().processor())
    await another.handle([request(n + 1, topup_id=f"t-{n + 5}") for n in range(others)])
    with pytest.raises(Halt, match="lost its newest transactions"):
        await intake.handle([request(others + 1, topup_id="t-9")])


async def test_log_that_another_process_went_on_with_is_trusted(log: MemoryEventLog) -> None:
    intake, another = (intake_of(log, Toy().processor()) for _ in range(2))
    await intake.handle([request(0)])
    await another.handle([request(1)])
    await intake.handle([request(2)])
    assert await streams_of(log, "order/t-1") == [3]


async def test_watch_finds_what_nobody_writes_to(log: MemoryEventLog) -> None:
    intake = intake_of(log, Toy().processor())
    watch = LogWatch(
        log=log,
        committed=lambda: intake._journal.heads,  # noqa: SLF001 - as the process does
        logger=structlog.get_logger(),
    )
    await watch.look()
    await lost_the_newest(log, intake)
    with pytest.raises(Halt, match=f"shard {SHARD} of the log no longer holds event 2"):
        await watch.look()


async def test_watch_does_not_take_the_end_of_another_log_for_what_was_committed(
    log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database goes back between two questions of one look, and grows past what was known."""
    intake = intake_of(log, Toy().processor())
    watch = LogWatch(
        log=log,
        committed=lambda: intake._journal.heads,  # noqa: SLF001 - as the process does
        logger=structlog.get_logger(),
    )
    await intake.handle([request(0, topup_id="t-1")])
    before = log._tables.snapshot()  # noqa: SLF001 - a fail-over does not ask either
    await intake.handle([request(1, topup_id="t-2")])
    ends = log.ends

    async def ends_of_another() -> dict[int, LogEnd]:
        monkeypatch.setattr(log, "ends", ends)
        log._tables = before  # noqa: SLF001
        another = intake_of(log, Toy().processor())
        await another.handle([request(n, topup_id=f"t-{n + 5}") for n in (1, 2)])
        return await ends()

    monkeypatch.setattr(log, "ends", ends_of_another)
    await watch.look()
    with pytest.raises(Halt, match=f"shard {SHARD} of the log no longer holds event 2"):
        await watch.look()


class Servers:
    """A memory log that says which server it is on, and which one was trusted last."""

    def __init__(self, log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = "1/1"
        self.trusted: list[str] = []
        monkeypatch.setattr(log, "server", self._server)
        monkeypatch.setattr(log, "trust", self.trusted.append)

    async def _server(self) -> str:
        return self.name


async def test_another_server_is_trusted_when_it_holds_what_was_published(
    log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers, compared = Servers(log, monkeypatch), 0

    async def compare() -> None:
        nonlocal compared
        compared += 1
        assert servers.trusted[-1] == "1/1"

    watch = LogWatch(
        log=log, committed=dict, logger=structlog.get_logger(), compare_published=compare
    )
    await watch.look()
    await watch.look()
    assert (compared, servers.trusted[-1]) == (0, "1/1")
    servers.name = "1/2"
    await watch.look()
    assert (compared, servers.trusted[-1]) == (1, "1/2")
    await watch.look()
    assert compared == 1


@pytest.mark.parametrize("error", [Halt("it is not there"), Transient("Kafka does not answer")])
async def test_another_server_is_not_trusted_before_it_was_compared(
    log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    servers, outcomes = Servers(log, monkeypatch), [error, error]

    async def compare() -> None:
        if outcomes:
            raise outcomes.pop()

    watch = LogWatch(
        log=log, committed=dict, logger=structlog.get_logger(), compare_published=compare
    )
    await watch.look()
    servers.name = "1/2"
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            with pytest.raises(type(error)):
                await watch.look()
            assert set(servers.trusted) == {"1/1"}
        await watch.look()
    assert servers.trusted[-1] == "1/2"
    told = [(line["event"], line["now"]) for line in lines]
    assert told == [("database_changed", "1/2"), ("database_compared", "1/2")]


async def test_watch_finds_what_another_process_committed_and_the_database_lost(
    log: MemoryEventLog,
) -> None:
    intake = intake_of(log, Toy().processor())
    watch = LogWatch(log=log, committed=dict, logger=structlog.get_logger())
    await intake.handle([request(0)])
    before = log._tables.snapshot()  # noqa: SLF001
    await intake.handle([request(1)])
    await watch.look()
    await watch.look()
    log._tables = before  # noqa: SLF001
    with pytest.raises(Halt):
        await watch.look()
