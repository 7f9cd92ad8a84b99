-- migrate:up

-- Heads move with appended events and in no other way: the role of the service may add what follows a
-- head, and can set none. The functions belong to the owner of the tables.

-- As `chain_hash` of services/runtime/log/event_log.py.
CREATE FUNCTION event_hash(previous bytea, stored event) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(
        previous || convert_to(
            stored.shard || ' ' || stored.position || ' ' || stored.stream_version || ' '
            || stored.sequence || E'\n' || stored.stream_id || E'\n'
            || stored.event_id || ' ' || stored.source || ' ' || stored.type || E'\n'
            || stored.account_id || E'\n' || stored.correlation_id || E'\n'
            || coalesce(stored.causation_id::text, '') || ' ' || coalesce(stored.traceparent, '')
            || E'\n' || to_char(stored.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z "')
            || to_char(stored.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || E'\n',
            'UTF8'
        ) || stored.body
    )
$$;

-- Each shard's rows lie directly behind its head, without a gap, and the service's own are numbered on.
-- The first is hashed with the hash of the head, the last, which becomes the head, with the one before:
-- all would cost a third of an append, and `perennial verify` recomputes those between.
CREATE FUNCTION move_heads() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    own_source text := '/billing/' || TG_TABLE_SCHEMA;
    refused    bigint;
BEGIN
    WITH placed AS (
        SELECT shard, position, position - row_number() OVER in_order AS before,
            CASE WHEN source = own_source THEN
                sequence - count(*) FILTER (WHERE source = own_source) OVER in_order
            END AS numbered_before
        FROM appended
        WINDOW in_order AS (PARTITION BY shard ORDER BY position ROWS UNBOUNDED PRECEDING)
    ), found AS (
        SELECT shard, min(position) AS first_position, max(position) AS last_position,
            min(before) AS before_min, max(before) AS before_max, count(numbered_before) AS own,
            min(numbered_before) AS numbered_min, max(numbered_before) AS numbered_max
        FROM placed GROUP BY shard
    ), moved AS (
        UPDATE shard SET head_position = last_position, head_hash = newest.hash,
            head_sequence = head_sequence + own, head_recorded_at = newest.recorded_at,
            head_recorded_position = last_position
        FROM found
        -- OFFSET keeps the planner from reading a whole shard for each of the two.
        CROSS JOIN LATERAL (SELECT * FROM event WHERE event.shard = found.shard
            AND position = first_position OFFSET 0) AS oldest
        CROSS JOIN LATERAL (SELECT * FROM event WHERE event.shard = found.shard
            AND position = last_position OFFSET 0) AS newest
        WHERE shard.shard = found.shard AND before_min = head_position AND before_max = head_position
            AND (own = 0 OR numbered_min = head_sequence AND numbered_max = head_sequence)
            AND oldest.hash = event_hash(shard.head_hash, oldest)
            AND (first_position = last_position OR newest.hash = event_hash((SELECT hash FROM event
                WHERE event.shard = found.shard AND position = last_position - 1), newest))
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM found) - (SELECT count(*) FROM moved) INTO refused;
    IF refused > 0 THEN
        RAISE EXCEPTION 'these events do not follow the head of their shard: position, sequence or hash'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION refuse_moved_head() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'MEMBER') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a head moves only with events that are appended to %.event', TG_TABLE_SCHEMA
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE FUNCTION refuse_lower_sequence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the last sequence of a source only grows: % in shard % is at %',
        OLD.source, OLD.shard, OLD.last_sequence USING ERRCODE = 'check_violation';
END
$$;

DO $$
DECLARE
    service name := 'perennial_' || current_schema();
BEGIN
    -- Not a table of a session's own with the name of ours.
    EXECUTE format('ALTER FUNCTION move_heads() SET search_path = %I, pg_temp', current_schema());
    -- Compiling the statement costs more than it takes. Its plan is made once, when the log may be
    -- empty, and would read all of it when it no longer is.
    ALTER FUNCTION move_heads() SET jit = off;
    ALTER FUNCTION move_heads() SET enable_seqscan = off;
    -- Nobody hangs them on a table of his own.
    REVOKE EXECUTE ON FUNCTION move_heads(), refuse_moved_head(), refuse_lower_sequence(),
        event_hash(bytea, event) FROM PUBLIC;
    EXECUTE format('REVOKE INSERT ON shard FROM %I', service);
END
$$;

CREATE TRIGGER event_moves_head AFTER INSERT ON event
    REFERENCING NEW TABLE AS appended
    FOR EACH STATEMENT EXECUTE FUNCTION move_heads();

-- A process of the version before moves a head itself, to where it stands already.
CREATE TRIGGER shard_head_moves_with_events
    BEFORE UPDATE OF head_position, head_hash, head_sequence, head_recorded_at, head_recorded_position
    ON shard FOR EACH ROW WHEN (
        (OLD.head_position, OLD.head_hash, OLD.head_sequence, OLD.head_recorded_at)
        IS DISTINCT FROM (NEW.head_position, NEW.head_hash, NEW.head_sequence, NEW.head_recorded_at)
        OR OLD.head_recorded_position IS DISTINCT FROM NEW.head_recorded_position
    ) EXECUTE FUNCTION refuse_moved_head();

CREATE TRIGGER source_sequence_only_grows
    BEFORE UPDATE OF last_sequence, last_event_id ON source_sequence
    FOR EACH ROW WHEN (
        NEW.last_sequence <= OLD.last_sequence
        AND (NEW.last_sequence, NEW.last_event_id) IS DISTINCT FROM (OLD.last_sequence, OLD.last_event_id)
    ) EXECUTE FUNCTION refuse_lower_sequence();

-- migrate:down

DROP TRIGGER source_sequence_only_grows ON source_sequence;
DROP TRIGGER shard_head_moves_with_events ON shard;
DROP TRIGGER event_moves_head ON event;
DROP FUNCTION refuse_lower_sequence();
DROP FUNCTION refuse_moved_head();
DROP FUNCTION move_heads();
DROP FUNCTION event_hash(bytea, event);
