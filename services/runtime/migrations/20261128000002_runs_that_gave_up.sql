-- migrate:up

-- A run that gave up its lease has recorded its result: it is not live, though no other has begun. Its
-- worker tries to record it again when the answer to the commit was lost. All else is as before.
CREATE OR REPLACE FUNCTION lock_turn(
    wanted_topics text[], wanted_partitions int[], wanted_shards int[],
    wanted_sources text[], wanted_source_shards int[],
    run_shards int[], run_effect_ids text[], run_attempts int[],
    OUT topics text[], OUT partitions int[], OUT next_offsets bigint[],
    OUT shards int[], OUT positions bigint[], OUT hashes bytea[], OUT sequences bigint[],
    OUT parked boolean[], OUT archived_positions bigint[], OUT recorded_ats timestamptz[],
    OUT sources text[], OUT source_shards int[], OUT last_sequences bigint[], OUT last_event_ids uuid[],
    OUT live_shards int[], OUT live_effect_ids text[], OUT live_attempts int[],
    OUT read_at timestamptz
) LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    IF wanted_topics <> '{}' THEN
        SELECT array_agg(locked.topic), array_agg(locked.partition), array_agg(locked.next_offset)
        INTO topics, partitions, next_offsets
        FROM unnest(wanted_topics, wanted_partitions) AS wanted(topic, partition)
        CROSS JOIN LATERAL (SELECT * FROM cursor WHERE cursor.topic = wanted.topic
            AND cursor.partition = wanted.partition OFFSET 0 FOR UPDATE) AS locked;
    END IF;
    IF wanted_shards <> '{}' THEN
        SELECT array_agg(locked.shard), array_agg(head_position), array_agg(head_hash),
            array_agg(head_sequence), array_agg(locked.parked), array_agg(archived_position),
            array_agg(CASE WHEN head_recorded_position = head_position THEN head_recorded_at END)
        INTO shards, positions, hashes, sequences, parked, archived_positions, recorded_ats
        FROM (SELECT * FROM shard WHERE shard = ANY(wanted_shards) ORDER BY shard FOR UPDATE) AS locked;
    END IF;
    IF wanted_sources <> '{}' THEN
        SELECT array_agg(known.source), array_agg(known.shard), array_agg(last_sequence),
            array_agg(last_event_id)
        INTO sources, source_shards, last_sequences, last_event_ids
        FROM unnest(wanted_sources, wanted_source_shards) AS wanted(source, shard)
        CROSS JOIN LATERAL (SELECT * FROM source_sequence AS known WHERE known.source = wanted.source
            AND known.shard = wanted.shard OFFSET 0) AS known;
    END IF;
    IF run_shards <> '{}' THEN
        SELECT array_agg(live.shard), array_agg(live.effect_id), array_agg(live.attempt)
        INTO live_shards, live_effect_ids, live_attempts
        FROM unnest(run_shards, run_effect_ids, run_attempts) AS run(shard, effect_id, attempt)
        CROSS JOIN LATERAL (SELECT * FROM effect WHERE effect.shard = run.shard
            AND effect.effect_id = run.effect_id AND effect.attempt = run.attempt
            AND effect.lease_until IS NOT NULL OFFSET 0 FOR UPDATE) AS live;
    END IF;
    read_at := clock_timestamp();
END
$$;

-- migrate:down

-- The version before works with this one.
SELECT 1;
