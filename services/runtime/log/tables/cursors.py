"""The table `cursor`: the offset that comes next in each partition, and the id of its topic."""

from __future__ import annotations

from typing import Final

ALL: Final = "SELECT topic, partition, next_offset FROM cursor ORDER BY topic, partition"
OF_TOPIC: Final = "SELECT partition, next_offset FROM cursor WHERE topic = $1"
ONE: Final = "SELECT next_offset FROM cursor WHERE topic = $1 AND partition = $2"
TOPIC_ID: Final = "SELECT topic_id FROM cursor WHERE cursor.topic = $1 AND cursor.partition = $2"
IDENTITIES: Final = (
    "SELECT DISTINCT topic, cluster_id, topic_id FROM cursor"
    " WHERE topic = ANY($1::text[]) AND topic_id IS NOT NULL"
)
BEGIN: Final = (
    "INSERT INTO cursor (topic, partition, next_offset)"
    " SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[]) ON CONFLICT DO NOTHING"
)
IDENTIFY: Final = (
    "UPDATE cursor SET cluster_id = met.cluster_id, topic_id = met.topic_id"
    " FROM unnest($1::text[], $2::text[], $3::text[]) AS met(topic, cluster_id, topic_id)"
    " WHERE cursor.topic = met.topic AND cursor.topic_id IS NULL"
)
LOCK: Final = "LOCK TABLE cursor IN EXCLUSIVE MODE"
MOVE: Final = (
    "INSERT INTO cursor (topic, partition, next_offset, cluster_id, topic_id)"
    " SELECT $1, partition, next_offset, $4, $5"
    " FROM unnest($2::int[], $3::bigint[]) AS moved(partition, next_offset)"
    " ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset,"
    " cluster_id = excluded.cluster_id, topic_id = excluded.topic_id"
)
