"""Runs effects outside of any transaction and records their results, many to a commit."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from services.runtime.effect import RunKey
from services.runtime.errors import Halt, Park, PerennialError, Transient, VersionConflict
from services.runtime.flow.effects.checkpoints import Checkpoints
from services.runtime.flow.effects.due_times import POLL_SECONDS, DueTimes
from services.runtime.flow.journal import Journal
from services.runtime.flow.pace import Pace
from services.runtime.flow.session import Session
from services.runtime.flow.tracing import UNTRACED, ResultsTrace, Tracing
from services.runtime.flow.work import Recorded, result_of
from services.runtime.log.event_log import EventLog, LeasedEffect
from services.runtime.logs import Logger
from services.runtime.processor import Effect, Mark, Processor

RESULTS_PER_COMMIT_MAX: Final = 500
LEASED_PER_POLL_MAX: Final = 500
BACKLOG_MAX: Final = 2_000
RETRY_SECONDS_FIRST: Final = 1.0
RETRY_SECONDS_MAX: Final = 60.0
CONFLICTS_MAX: Final = 5
ASIDE_SECONDS_FIRST: Final = 5.0
ASIDE_SECONDS_MAX: Final = 3_600.0


class EffectRunner:
    """A worker pool with bounded concurrency, a poll for what is due, and one committer.

    Effects that a transaction just committed come in through `submit`; the table is for delay,
    retry and recovery, and `expect` tells when to look there. The result of an effect is decided
    like any other command.
    """

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        log: EventLog,
        processor: Processor,
        journal: Journal,
        concurrency: int,
        lease_seconds: int,
        clock: Callable[[], datetime],
        logger: Logger,
        poll_seconds: float = POLL_SECONDS,
        look_up_first: bool = False,
        tracing: Tracing = UNTRACED,
    ) -> None:
        """Serve the effects of `processor` with at most `concurrency` effects under way.

        With `look_up_first`, every effect is looked up first: it may have run before the log was lost.
        """
        self._log = log
        self._checkpoints = Checkpoints(log)
        self._journal = journal
        self._effects: Mapping[str, Effect] = processor.effects
        self._pace = Pace(processor.results_wait_seconds)
        self._slots = asyncio.Semaphore(concurrency)
        self._lease_seconds = lease_seconds
        self._look_up_first = look_up_first
        self._clock = clock
        self._due = DueTimes(clock, poll_seconds)
        self._logger = logger
        self._tracing = tracing
        self._under_way: dict[tuple[int, str], tuple[RunKey, asyncio.Task[None]]] = {}
        self._leased_again: dict[tuple[int, str], LeasedEffect] = {}
        self._results: asyncio.Queue[tuple[LeasedEffect, object]] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = False
        self._recording = True
        self._held: dict[tuple[int, str], tuple[LeasedEffect, object]] = {}

    def submit(self, effects: Iterable[LeasedEffect]) -> None:
        """Run effects that are leased to this process."""
        for effect in effects:
            key = effect.run.key[:2]
            if key in self._under_way:
                # Its lease ended before it was extended, or its retry was due as soon as its result
                # was committed, and the poll gave it to us once more.
                held, task = self._under_way[key]
                if effect.run.key > held:
                    self._under_way[key] = (effect.run.key, task)
                    self._leased_again[key] = effect
            elif not self._stopping:
                self._under_way[key] = (effect.run.key, asyncio.create_task(self._run(effect)))
        self._measure_room()

    def expect(self, recorded: Recorded) -> None:
        """Look when effects are due that were just committed."""
        self._due.note(recorded)

    async def room(self) -> None:
        """Wait until the backlog is small enough to take in more: the back-pressure on intake."""
        await self._room.wait()

    async def run(self) -> None:
        """Poll, commit and keep leases until cancelled or a task fails.

        Raises:
            ExceptionGroup: what the task raised, such as a Halt.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._poll())
                group.create_task(self._commit_results())
                group.create_task(self._keep_leases())
                group.create_task(self._release_held())
        finally:
            self._recording = False

    async def stop(self, timeout_seconds: float) -> None:
        """Take nothing new; give what is under way `timeout_seconds` to finish and be recorded.

        What does not finish keeps its row, and is looked up before it is tried again.
        """
        self._stopping = True
        tasks = [task for _, task in self._under_way.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_seconds)
        for task in tasks:
            task.cancel()
        if self._recording:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._results.join(), timeout_seconds)

    async def _run(self, effect: LeasedEffect) -> None:
        try:
            async with self._slots:
                run = effect.run._replace(recovered=True) if self._look_up_first else effect.run
                with self._tracing.attempt(effect) as traced:
                    command = await self._effects[run.kind].execute(run, self._mark(effect))
        except (Halt, Park) as trouble:
            self._results.put_nowait((effect, trouble))
        except Exception as error:
            # Its row stays leased and interrupted: the poll hands it out again when the lease
            # ends, and the look-up finds what happened first.
            self._logger.error(
                "effect_attempt_failed",
                kind=effect.run.kind,
                effect_id=effect.run.effect_id,
                attempt=effect.run.attempt,
                error=type(error).__name__,
                exc_info=not isinstance(error, Transient),
            )
            self._forget(effect)
        except asyncio.CancelledError:
            self._forget(effect)
            raise
        else:
            # It stays under way, and its lease is kept, until the result is committed.
            self._results.put_nowait((traced, command))

    def _forget(self, effect: LeasedEffect) -> None:
        self._under_way.pop(effect.run.key[:2], None)
        self._leased_again.pop(effect.run.key[:2], None)
        self._measure_room()

    def _free(self) -> int:
        """Return how many more effects have room; what waits for its shard holds up nobody."""
        return BACKLOG_MAX - len(self._under_way) + len(self._held)

    def _measure_room(self) -> None:
        """Hold up the intake and the poll while too much is under way."""
        if self._free() > 0:
            self._room.set()
        else:
            self._room.clear()

    def _mark(self, effect: LeasedEffect) -> Mark:
        async def mark(checkpoint: str) -> None:
            await self._checkpoints.mark(self._key(effect), checkpoint)

        return mark

    def _key(self, effect: LeasedEffect) -> RunKey:
        """Return the key of the lease that this process holds now; it may have been given anew."""
        return self._under_way[effect.run.key[:2]][0]

    def _settled(self, effect: LeasedEffect) -> RunKey:
        """Return the key that a result is recorded under; a lease that comes later is another run."""
        self._leased_again.pop(effect.run.key[:2], None)
        return self._key(effect)

    async def _poll(self) -> None:
        while self._effects and not self._stopping:
            await self.room()
            limit = min(self._free(), LEASED_PER_POLL_MAX)
            try:
                now = self._clock()
                self._due.forget(now)
                due = await self._log.lease_due_effects(now=now, limit=limit)
            except Transient as error:
                self._logger.warning("effects_poll_failed", error=str(error))
                await asyncio.sleep(RETRY_SECONDS_FIRST)
                continue
            self.submit(due)
            if len(due) == limit:
                self._due.add(now)
            await self._due.wait()

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            try:
                await self._log.extend_leases([run for run, _ in self._under_way.values()])
            except Transient as error:
                self._logger.warning("lease_extension_failed", error=str(error))

    async def _commit_results(self) -> None:
        while True:
            results = [await self._results.get()]
            await self._pace.gather()
            while not self._results.empty() and len(results) < RESULTS_PER_COMMIT_MAX:
                results.append(self._results.get_nowait())
            for _, command in results:
                if isinstance(command, Halt):
                    raise command
            leased = await self._recorded(results)
            for effect, _ in results:
                key = effect.run.key[:2]
                if key not in self._held:
                    self._under_way.pop(key, None)
                    if again := self._leased_again.pop(key, None):
                        leased.append(again)
                self._results.task_done()
            # What follows takes the places of these: the intake is let in when both are counted.
            self.submit(leased)

    async def _recorded(self, results: list[tuple[LeasedEffect, object]]) -> list[LeasedEffect]:
        """Record results together, or one by one when one of them fails; return what is to be run.

        Raises:
            Halt: going on would be wrong for every shard.
        """
        delay = RETRY_SECONDS_FIRST
        for attempt in itertools.count(1):
            try:
                return await self._record(results)
            except Transient as error:
                if not isinstance(error, VersionConflict) or attempt < CONFLICTS_MAX:
                    self._logger.warning("effect_results_retried", error=str(error))
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, RETRY_SECONDS_MAX)
                    continue
                trouble: Exception = error
            except Halt:
                raise
            except Exception as error:  # noqa: BLE001 - the others must be recorded whatever it is
                trouble = error
            if len(results) > 1:
                return [each for one in results for each in await self._recorded([one])]
            await self._set_aside(results[0][0], trouble)
            return []
        raise AssertionError

    async def _set_aside(self, effect: LeasedEffect, trouble: Exception) -> None:
        """Leave the effect with its outcome unrecorded: it is looked up and tried again later."""
        run = effect.run
        wait = min(ASIDE_SECONDS_FIRST * 2 ** min(run.attempt, 16), ASIDE_SECONDS_MAX)
        text = str(trouble) if isinstance(trouble, PerennialError) else type(trouble).__name__
        self._logger.error(
            "effect_set_aside",
            kind=run.kind,
            effect_id=run.effect_id,
            attempt=run.attempt,
            again_in_seconds=wait,
            error=text,
            exc_info=None if isinstance(trouble, PerennialError) else trouble,
        )
        with suppress(Transient):  # else its lease ends, which comes to the same
            due_at = self._clock() + timedelta(seconds=wait)
            await self._log.set_effect_aside(self._settled(effect), due_at=due_at, trouble=text)

    async def _release_held(self) -> None:
        """Record the results of parked shards once these go on."""
        while True:
            await asyncio.sleep(RETRY_SECONDS_FIRST)
            if not self._held:
                continue
            with suppress(Transient):
                parked = {parking.shard for parking in await self._log.parkings()}
                for key in [key for key in self._held if key[0] not in parked]:
                    self._results.put_nowait(self._held.pop(key))

    async def _record(self, results: list[tuple[LeasedEffect, object]]) -> list[LeasedEffect]:
        """Decide and append the results; whoever lost the lease leaves it to the one who has it.

        Results of parked shards are held.
        """
        shards = {effect.run.shard for effect, _ in results}
        runs = (self._settled(effect) for effect, _ in results)  # as they are when it is their turn
        async with (
            self._tracing.results() as trace,
            self._journal.session(self._log.transaction(shards=shards, runs=runs)) as session,
        ):
            # The turn begins here: to have waited for others is no reason to gather for longer.
            with self._pace.turn():
                return await self._decided(session, trace, results)

    async def _decided(
        self,
        session: Session,
        trace: ResultsTrace,
        results: list[tuple[LeasedEffect, object]],
    ) -> list[LeasedEffect]:
        now = self._clock()
        for effect, command in results:
            if session.tx.heads[effect.run.shard].parked:
                self._held[effect.run.key[:2]] = (effect, command)
        results = [each for each in results if each[0].run.key[:2] not in self._held]
        for _, command in results:
            if isinstance(command, Park):
                raise command
        works = [
            result_of(effect, command)
            for effect, command in results
            if self._key(effect) in session.tx.live_runs
        ]
        await session.load(works)
        for work in works:
            await session.apply(work, now)
        trace.commits(works)
        return (await session.flush(now)).leased
