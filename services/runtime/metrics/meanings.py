"""Every metric that all services have: name, type, labels, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

PREFIX: Final = "perennial_"
OTHER: Final = "other"
"""The label value of what is outside of a closed set."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One metric; `name` is without prefix and `_total`, and ends with a unit where it has one."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name that a scraper sees; a histogram adds `_bucket`, `_sum` and `_count` to it."""
        return f"{PREFIX}{self.name}{'_total' if self.type == 'counter' else ''}"


_PARTITION: Final = ("topic", "partition")

BUILD: Final = Meaning("build_info", "gauge", "Always 1; what runs.", ("service", "version"))
RULES: Final = Meaning(
    "rules_info",
    "gauge",
    "Always 1; the file that this process decides by, and the beginning of its SHA-256.",
    ("service", "file", "sha256"),
)
BATCHES: Final = Meaning(
    "batches",
    "counter",
    "Batches taken from Kafka: `committed`, `retried` (rolled back, come again) or `failed` (rolled "
    "back, the process ends).",
    ("result",),
)
RECORDS: Final = Meaning(
    "records",
    "counter",
    "Records handled: `applied`, `ignored` or `dead_lettered`, the latter two with a reason.",
    ("outcome", "reason"),
)
SEEKS: Final = Meaning(
    "consumer_seeks", "counter", "Times a partition's consumer was sent to the cursor."
)
BATCH_RECORDS: Final = Meaning("batch_records", "histogram", "Records in a committed batch.")
BATCH_SECONDS: Final = Meaning(
    "batch_duration_seconds", "histogram", "From taking a batch in hand to its commit."
)
ATTEMPTS: Final = Meaning(
    "effect_attempts",
    "counter",
    "Attempts at effects: `finished`, `failed` (no outcome is known: it comes again) or "
    "`cancelled` (the process stops).",
    ("kind", "result"),
)
EFFECT_SECONDS: Final = Meaning(
    "effect_duration_seconds", "histogram", "One attempt at an effect.", ("kind",)
)
UNDER_WAY: Final = Meaning(
    "effects_under_way", "gauge", "Effects that this process is doing now.", ("kind",)
)
EVENTS: Final = Meaning("events_recorded", "counter", "Events committed to the log.", ("type",))
COUNTED: Final = (
    *(BUILD, RULES, BATCHES, RECORDS, SEEKS, BATCH_RECORDS, BATCH_SECONDS),
    *(ATTEMPTS, EFFECT_SECONDS, UNDER_WAY, EVENTS),
)

PUBLISHED: Final = Meaning(
    "relay_published_messages",
    "counter",
    "Messages that the broker acknowledged: `event` or `dead_letter`.",
    ("content",),
)
FAILURES: Final = Meaning(
    "relay_failures", "counter", "Times publishing failed and was begun again."
)
RELAY: Final = (PUBLISHED, FAILURES)

CLOCK_JUMPS: Final = Meaning(
    "clock_jumps", "counter", "Times the database's clock was no more where it should have been."
)
ALWAYS: Final = (
    CLOCK_JUMPS,
    Meaning(
        "clock_disputed",
        "gauge",
        "1 while it is not known what time it is: nothing is taken in, begun or recorded.",
    ),
    Meaning(
        "clock_difference_seconds",
        "gauge",
        "How far a clock is ahead of the time that counts: `database`, or `process` (the machine's).",
        ("clock",),
    ),
    Meaning(
        "database_up", "gauge", "1 when Postgres answered in time; 0: what it knows is absent."
    ),
    Meaning("kafka_up", "gauge", "1 when Kafka answered in time, or no partition is held."),
    Meaning("partitions_assigned", "gauge", "Partitions that this process holds.", ("topic",)),
    Meaning("shards", "gauge", "Shards of the log: as many as each topic has partitions."),
    Meaning(
        "dead_letters_limit",
        "gauge",
        "Open dead letters on topics of our own services that are too many.",
    ),
)
OF_HEADS: Final = (
    Meaning(
        "heads_kept_timestamp_seconds",
        "gauge",
        "When this process last wrote the heads of the log to `ANCHOR_FOLDER`, in seconds of the "
        "epoch; 0 before the first time, absent without the folder.",
    ),
    Meaning("heads_kept_interval_seconds", "gauge", "How often that is due."),
)
OF_DATABASE: Final = (
    Meaning("log_head_position", "gauge", "Position of the last event in the log.", ("shard",)),
    Meaning("log_published_position", "gauge", "Up to where the log is on its topic.", ("shard",)),
    Meaning(
        "log_unpublished_age_seconds",
        "gauge",
        "Age of the oldest event that is not on its topic yet; 0 when none waits.",
        ("shard",),
    ),
    Meaning(
        "effects",
        "gauge",
        "Effects wanted and not done: `running`, `due` (should run now), `held` (until something "
        "happens), `retrying` (tried, due again later) or `scheduled` (due later).",
        ("kind", "state"),
    ),
    Meaning(
        "effects_oldest_age_seconds",
        "gauge",
        "Time since the oldest of these effects was first wanted; 0 when there is none.",
        ("kind", "state"),
    ),
    Meaning(
        "effects_overdue_seconds",
        "gauge",
        "For how long the most overdue effect should have been running; 0 when none is due.",
        ("kind",),
    ),
    Meaning(
        "effects_set_aside",
        "gauge",
        "Effects whose last result could not be recorded: they are looked up and tried again.",
        ("kind",),
    ),
    Meaning(
        "shard_parked",
        "gauge",
        "1 for each shard that waits for a person: why, and the type of the event it waits for.",
        ("shard", "reason", "event"),
    ),
    Meaning("dead_letters_open", "gauge", "Dead letters that nobody has settled.", ("reason",)),
    Meaning(
        "dead_letters_oldest_age_seconds", "gauge", "Age of the oldest open dead letter, or 0."
    ),
    Meaning(
        "dead_letters_overflow",
        "gauge",
        "Dead letters that are on their topic alone: their source or account had no room left. They "
        "count until they are discarded.",
    ),
    Meaning("dead_letters_unpublished", "gauge", "Open dead letters not on their topic yet."),
    Meaning(
        "consumer_cursor_offset", "gauge", "Offset that is handled next; what counts.", _PARTITION
    ),
)
OF_BROKER: Final = (
    Meaning("topic_start_offset", "gauge", "Oldest offset that the topic still holds.", _PARTITION),
    Meaning(
        "topic_end_offset",
        "gauge",
        "Up to where the topic may be read: the offset that the next record will get, or that of "
        "the oldest open transaction.",
        _PARTITION,
    ),
    Meaning(
        "topic_held_back_records",
        "gauge",
        "Records behind the stable offset: an open transaction of a writer holds them back, and "
        "they do not count as lag.",
        _PARTITION,
    ),
    Meaning(
        "topic_held_back_seconds",
        "gauge",
        "How long the oldest record behind the stable offset was seen to wait, though the offset may "
        "move; 0 when none waits.",
        _PARTITION,
    ),
    Meaning(
        "consumer_group_lag_records",
        "gauge",
        "Records behind what the group committed to Kafka; absent before its first commit.",
        _PARTITION,
    ),
)
OF_BOTH: Final = (
    Meaning(
        "consumer_lag_records", "gauge", "Records behind the cursor: not handled yet.", _PARTITION
    ),
)
OBSERVED: Final = (*ALWAYS, *OF_HEADS, *OF_DATABASE, *OF_BROKER, *OF_BOTH)
