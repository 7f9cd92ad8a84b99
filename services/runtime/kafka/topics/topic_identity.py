"""Which topic on which cluster a cursor counts in: its offsets mean nothing in any other."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.runtime.errors import Halt, Transient
from services.runtime.kafka.client import Assignment, BatchConsumer, client_options
from services.runtime.kafka.patches.topic_ids import TopicIdsRequest
from services.runtime.kafka.topics.reach import check_reach, first_offsets_now
from services.runtime.log.event_log import EventLog, TopicPartition
from services.runtime.log.tables import cursors
from services.runtime.postgres.errors import transient_when_unwell
from services.runtime.settings import KafkaSettings, RuntimeSettings

CHECK_SECONDS: Final = 5
_ANSWER_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """What tells a topic from another one of the same name."""

    cluster_id: str
    topic_id: str


async def identities(settings: KafkaSettings, topics: Sequence[str]) -> dict[str, TopicIdentity]:
    """Return the identity of each of `topics` that exists now.

    Raises:
        Transient: Kafka does not answer.
        Halt: the broker is too old to have topic ids.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await admin.start()
            answer: Any = await admin._send_request(TopicIdsRequest(topics))  # noqa: SLF001
    except (KafkaError, TimeoutError, OSError) as error:
        message = f"Kafka does not say which topics it has ({type(error).__name__})"
        raise Transient(message) from error
    except NotImplementedError:
        message = "the broker has no topic ids: use Kafka 2.8 or newer"
        raise Halt(message) from None
    finally:
        await admin.close()
    found = answer.to_object()
    return {
        topic["topic"]: TopicIdentity(found["cluster_id"] or "", str(topic["topic_id"]))
        for topic in found["topics"]
        if topic["error_code"] == 0
    }


class KnownTopics:
    """The identities kept with the cursors of one service."""

    def __init__(
        self,
        pool: asyncpg.Pool | asyncpg.Connection,
        settings: RuntimeSettings,
        topics: Sequence[str],
    ) -> None:
        """Compare `topics` with the cursors in `pool`, whose search_path begins with the schema."""
        self._pool = pool
        self._settings = settings
        self._topics = topics

    async def meet(self, log: EventLog) -> None:
        """Create the cursors of partitions that have none, at their first offset, before any is read.

        Records that were fetched from one topic must not become known as those of the next.

        Raises:
            Halt: a topic is another one by now.
            Transient: Kafka or Postgres does not answer.
        """
        shards = range(self._settings.shard_count)
        partitions = {(topic, shard) for topic in self._topics for shard in shards}
        if new := partitions - (await log.cursors()).keys():
            # Before the offsets: those of a topic that is made again meanwhile are not its own.
            met = await identities(self._settings, self._topics)
            await log.ensure_cursors(await first_offsets_now(self._settings, new))
            await self._keep(met)
        await self.check()

    async def know(self, log: EventLog, held: Collection[TopicPartition]) -> None:
        """See that the topics are those that were met, and hold what the cursors of `held` expect.

        Raises:
            Halt: a topic is another one by now, or no longer holds what a cursor expects.
            Transient: Kafka or Postgres does not answer.
        """
        await self.check()
        cursors = await log.cursors()
        await self.check_reach({partition: cursors[partition] for partition in held})

    async def check_reach(self, cursors: Mapping[TopicPartition, int]) -> None:
        """See that each topic can still be read from its cursor on.

        Raises:
            Halt: a topic ends before its cursor or begins behind it: records were lost.
            Transient: Kafka does not answer.
        """
        await check_reach(self._settings, cursors)

    async def check(self) -> None:
        """Keep the identity of topics met for the first time, and compare all others.

        Raises:
            Halt: a cursor counts in another topic than the one that has its name now.
            Transient: Kafka or Postgres does not answer.
        """
        now = await identities(self._settings, self._topics)
        await self._keep(now)
        with transient_when_unwell():
            rows = await self._pool.fetch(
                cursors.IDENTITIES,
                list(now),
            )
        known = [(row["topic"], TopicIdentity(row["cluster_id"], row["topic_id"])) for row in rows]
        refuse_others(known, now)

    async def _keep(self, met: Mapping[str, TopicIdentity]) -> None:
        """Keep with each cursor that has none the identity of its topic."""
        with transient_when_unwell():
            await self._pool.execute(
                cursors.IDENTIFY,
                list(met),
                [each.cluster_id for each in met.values()],
                [each.topic_id for each in met.values()],
            )

    async def watch(self, log: EventLog, consumer: BatchConsumer, assignment: Assignment) -> None:
        """Place the consumer, and check again and again, until cancelled.

        A topic may be made again under a running reader. And where nothing new arrives, no record
        shows that the group's offset is ahead of a cursor that was restored or moved back.

        Raises:
            Halt: as `check`.
        """
        placed: frozenset[TopicPartition] = frozenset()
        while True:
            with suppress(Transient):  # whoever reads or publishes says so
                await self.check()
            for _ in range(CHECK_SECONDS):
                held = assignment.partitions
                with suppress(Transient):
                    if fresh := held - placed:
                        cursors = await log.cursors()
                        for partition in fresh & cursors.keys():
                            consumer.seek(*partition, cursors[partition])
                    placed = held
                await asyncio.sleep(1)


def refuse_others(
    known: Sequence[tuple[str, TopicIdentity]], now: Mapping[str, TopicIdentity]
) -> None:
    """Compare what the cursors know with what the broker has.

    Raises:
        Halt: they differ.
    """
    for topic, then in known:
        if (there := now.get(topic, then)) == then:
            continue
        if there.cluster_id != then.cluster_id:
            message = (
                f"{topic} is on cluster {there.cluster_id} and the cursors count on "
                f"{then.cluster_id}: point BOOTSTRAP_SERVERS back at that one, or, if the broker was "
                "moved, see `perennial recover --help` and docs/OPERATIONS.md"
            )
            raise Halt(message)
        message = (
            f"{topic} was made again: its id is {there.topic_id} and the cursors know "
            f"{then.topic_id}. Their offsets mean nothing in the new one: see "
            "`perennial recover --help` and docs/OPERATIONS.md"
        )
        raise Halt(message)
