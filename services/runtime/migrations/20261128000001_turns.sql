-- migrate:up

-- A turn of a service takes two calls: `lock_turn` before it decides, `record_turn` after. Each replaces
-- up to eight statements, every one of which cost a round trip and half a millisecond. They may do no
-- more than who calls them may do.

-- Locks cursors, then shards, then effects, each in the order that is given, which every turn sorts in
-- the same way: so two cannot deadlock. What is returned of a kind comes as arrays side by side; NULL
-- where there is nothing. LATERAL and OFFSET have each row looked up by its key: the plan is made once,
-- when a table may be empty, and would read all of it when it no longer is. A run that gave up its lease
-- has recorded its result: it is not live, though no other has begun. Its worker tries to record it
-- again when the answer to the commit was lost.
CREATE FUNCTION lock_turn(
    wanted_topics text[], wanted_partitions int[], wanted_shards int[],
    wanted_sources text[], wanted_source_shards int[],
    run_shards int[], run_effect_ids text[], run_attempts int[],
    OUT topics text[], OUT partitions int[], OUT next_offsets bigint[],
    OUT shards int[], OUT positions bigint[], OUT hashes bytea[], OUT sequences bigint[],
    OUT parked boolean[], OUT archived_positions bigint[], OUT recorded_ats timestamptz[],
    OUT sources text[], OUT source_shards int[], OUT last_sequences bigint[], OUT last_event_ids uuid[],
    OUT live_shards int[], OUT live_effect_ids text[], OUT live_attempts int[],
    OUT read_at timestamptz
) LANGUAGE plpgsql AS $$
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

-- Writes what a turn decided, in this order: events, which move the heads; effects that ended, come
-- again, begin, are freed and are dropped; cursors; sequences. Returns the effects that were freed.
-- Row by row where rows are changed: no join, so no plan that goes wrong.
CREATE FUNCTION record_turn(
    event_shards int[], event_positions bigint[], event_stream_ids text[],
    event_stream_versions bigint[], event_ids uuid[], event_sources text[], event_types text[],
    event_sequences bigint[], event_account_ids text[], event_correlation_ids text[],
    event_causation_ids uuid[], event_traceparents text[], event_occurred_ats timestamptz[],
    event_recorded_ats timestamptz[], event_bodies bytea[], event_hashes bytea[],
    ended_shards int[], ended_ids text[],
    again_shards int[], again_ids text[], again_due_ats timestamptz[], again_payloads text[],
    again_hold_keys text[],
    begun_shards int[], begun_ids text[], begun_kinds text[], begun_account_ids text[],
    begun_stream_ids text[], begun_cause_event_ids uuid[], begun_correlation_ids text[],
    begun_traceparents text[], begun_payloads text[], begun_hold_keys text[],
    begun_due_ats timestamptz[], begun_leased boolean[],
    freed_shards int[], freed_hold_keys text[], freed_at timestamptz,
    dropped_shards int[], dropped_hold_keys text[],
    moved_topics text[], moved_partitions int[], moved_offsets bigint[],
    taken_sources text[], taken_shards int[], taken_last_sequences bigint[],
    taken_last_event_ids uuid[], taken_first_sequences bigint[], taken_event_ids bytea[],
    lease_seconds double precision
) RETURNS SETOF effect LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF event_shards <> '{}' THEN
        INSERT INTO event (shard, position, stream_id, stream_version, event_id, source, type,
            sequence, account_id, correlation_id, causation_id, traceparent, occurred_at, recorded_at,
            body, hash)
        SELECT * FROM unnest(event_shards, event_positions, event_stream_ids, event_stream_versions,
            event_ids, event_sources, event_types, event_sequences, event_account_ids,
            event_correlation_ids, event_causation_ids, event_traceparents, event_occurred_ats,
            event_recorded_ats, event_bodies, event_hashes);
    END IF;
    FOR i IN 1 .. cardinality(ended_shards) LOOP
        DELETE FROM effect WHERE shard = ended_shards[i] AND effect_id = ended_ids[i];
    END LOOP;
    FOR i IN 1 .. cardinality(again_shards) LOOP
        UPDATE effect SET due_at = again_due_ats[i], hold_key = again_hold_keys[i],
            payload = coalesce(again_payloads[i]::jsonb, payload), lease_until = NULL,
            interrupted = false, checkpoint = NULL, trouble = NULL
        WHERE shard = again_shards[i] AND effect_id = again_ids[i];
    END LOOP;
    IF begun_shards <> '{}' THEN
        INSERT INTO effect (shard, effect_id, kind, account_id, stream_id, cause_event_id,
            correlation_id, traceparent, payload, hold_key, due_at, attempt, interrupted, lease_until)
        SELECT shard, effect_id, kind, account_id, stream_id, cause_event_id, correlation_id,
            traceparent, payload::jsonb, hold_key, due_at, leased::int, leased,
            CASE WHEN leased THEN clock_timestamp() + make_interval(secs => lease_seconds) END
        FROM unnest(begun_shards, begun_ids, begun_kinds, begun_account_ids, begun_stream_ids,
            begun_cause_event_ids, begun_correlation_ids, begun_traceparents, begun_payloads,
            begun_hold_keys, begun_due_ats, begun_leased)
            AS begun(shard, effect_id, kind, account_id, stream_id, cause_event_id, correlation_id,
                traceparent, payload, hold_key, due_at, leased);
    END IF;
    FOR i IN 1 .. cardinality(freed_shards) LOOP
        RETURN QUERY UPDATE effect SET hold_key = NULL, due_at = freed_at, attempt = attempt + 1,
            interrupted = true, lease_until = clock_timestamp() + make_interval(secs => lease_seconds)
        WHERE shard = freed_shards[i] AND hold_key = freed_hold_keys[i]
        RETURNING effect.*;
    END LOOP;
    FOR i IN 1 .. cardinality(dropped_shards) LOOP
        DELETE FROM effect WHERE shard = dropped_shards[i] AND hold_key = dropped_hold_keys[i];
    END LOOP;
    FOR i IN 1 .. cardinality(moved_topics) LOOP
        UPDATE cursor SET next_offset = moved_offsets[i]
        WHERE topic = moved_topics[i] AND partition = moved_partitions[i];
    END LOOP;
    IF taken_sources <> '{}' THEN
        INSERT INTO taken_event (source, shard, last_sequence, first_sequence, event_ids)
        SELECT * FROM unnest(taken_sources, taken_shards, taken_last_sequences, taken_first_sequences,
            taken_event_ids);
        INSERT INTO source_sequence (source, shard, last_sequence, last_event_id)
        SELECT * FROM unnest(taken_sources, taken_shards, taken_last_sequences, taken_last_event_ids)
        ON CONFLICT (source, shard) DO UPDATE SET
            last_sequence = excluded.last_sequence, last_event_id = excluded.last_event_id;
    END IF;
END
$$;

DO $$
DECLARE
    service name := 'perennial_' || current_schema();
    turn    regprocedure;
BEGIN
    FOREACH turn IN ARRAY ARRAY['lock_turn'::regproc::regprocedure, 'record_turn'::regproc::regprocedure]
    LOOP
        -- Compiling a statement costs more than it takes. A row is looked up in an index, also by a
        -- plan that was made for an empty table.
        EXECUTE format('ALTER FUNCTION %s SET jit = off', turn);
        EXECUTE format('ALTER FUNCTION %s SET enable_seqscan = off', turn);
        -- The connections of a service plan each statement anew. What is done here row by row, by the
        -- key, keeps one plan: it cannot go wrong, and planning would cost more than the row.
        EXECUTE format('ALTER FUNCTION %s SET plan_cache_mode = force_generic_plan', turn);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', turn);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', turn, service);
    END LOOP;
END
$$;

-- migrate:down

DO $$
DECLARE
    turn regprocedure;
BEGIN
    FOREACH turn IN ARRAY ARRAY['lock_turn'::regproc::regprocedure, 'record_turn'::regproc::regprocedure]
    LOOP
        EXECUTE format('DROP FUNCTION %s', turn);
    END LOOP;
END
$$;
