-- migrate:up

-- Up to here a shard's events are in files. It moves with a row of archived_range and in no other way.
ALTER TABLE shard
    ADD COLUMN archived_position bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT shard_archives_what_is_published CHECK (archived_position <= published_position);

-- Which file holds which positions of a shard, and what lets the chain go on behind them.
CREATE TABLE archived_range (
    shard          int         NOT NULL,
    first_position bigint      NOT NULL,
    last_position  bigint      NOT NULL CHECK (first_position <= last_position),
    previous_hash  bytea       NOT NULL,
    last_hash      bytea       NOT NULL,
    last_sequence  bigint      NOT NULL,
    file           text        NOT NULL,
    file_sha256    bytea       NOT NULL,
    archived_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (shard, last_position)
);

-- What is left of a stream whose events leave: enough to answer for it, never to begin it anew.
CREATE TABLE archived_stream (
    stream_id      text        PRIMARY KEY,
    shard          int         NOT NULL,
    stream_version bigint      NOT NULL,
    first_position bigint      NOT NULL,
    last_position  bigint      NOT NULL,
    account_id     text        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    remains        bytea       NOT NULL
);

CREATE FUNCTION move_archived() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE shard SET archived_position = NEW.last_position
    WHERE shard = NEW.shard AND archived_position = NEW.first_position - 1
        AND NEW.last_position < head_position
        AND NEW.last_hash = (
            SELECT hash FROM event WHERE event.shard = NEW.shard AND position = NEW.last_position
        )
        AND NEW.previous_hash = coalesce(
            (SELECT last_hash FROM archived_range AS known
                WHERE known.shard = NEW.shard AND known.last_position = NEW.first_position - 1),
            CASE WHEN NEW.first_position = 1 THEN decode(repeat('00', 32), 'hex') END
        );
    IF NOT FOUND THEN
        RAISE EXCEPTION 'positions % to % of shard % do not follow what is archived, or not its hashes',
            NEW.first_position, NEW.last_position, NEW.shard USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION refuse_moved_archive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'MEMBER') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a shard is archived by the owner of %.event alone', TG_TABLE_SCHEMA
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- Events leave only behind a range, whose file was read back: neither before nor one by one.
CREATE FUNCTION refuse_kept_event_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_WHEN = 'BEFORE' THEN
        IF EXISTS (SELECT FROM shard WHERE archived_position > 0) THEN
            RETURN NULL;
        END IF;
    ELSIF NOT EXISTS (
        SELECT FROM removed LEFT JOIN shard USING (shard)
        WHERE position > coalesce(archived_position, 0)
    ) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'events are append-only: % on %.% is refused; correct a fact with a new event',
        TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- The unique key of a stream and version goes on in what is left of the stream.
CREATE FUNCTION refuse_archived_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM archived_stream) AND EXISTS (
        SELECT FROM appended JOIN archived_stream AS known USING (stream_id)
        WHERE appended.stream_version <= known.stream_version
    ) THEN
        RAISE EXCEPTION 'a version of one of these streams is taken by an event that is archived'
            USING ERRCODE = 'unique_violation';
    END IF;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    each text;
BEGIN
    FOREACH each IN ARRAY ARRAY['move_archived', 'refuse_kept_event_removal',
        'refuse_archived_version', 'refuse_moved_archive']
    LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = %I, pg_temp', each, current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %I() FROM PUBLIC', each);
    END LOOP;
    -- Plans are made once, when the tables may be empty: by their indexes, whatever is in them then.
    ALTER FUNCTION refuse_archived_version() SET jit = off;
    ALTER FUNCTION refuse_archived_version() SET enable_hashjoin = off;
    ALTER FUNCTION refuse_archived_version() SET enable_mergejoin = off;
    ALTER FUNCTION refuse_archived_version() SET enable_seqscan = off;
    EXECUTE format(
        'GRANT SELECT ON archived_range, archived_stream TO %I', 'perennial_' || current_schema()
    );
END
$$;

CREATE TRIGGER archived_range_moves_archived
    BEFORE INSERT ON archived_range FOR EACH ROW EXECUTE FUNCTION move_archived();
CREATE TRIGGER shard_archive_moves_with_ranges
    BEFORE UPDATE OF archived_position ON shard FOR EACH ROW
    WHEN (OLD.archived_position IS DISTINCT FROM NEW.archived_position)
    EXECUTE FUNCTION refuse_moved_archive();
DROP TRIGGER event_is_append_only ON event;
CREATE TRIGGER event_is_append_only
    BEFORE UPDATE OR TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change();
CREATE TRIGGER event_leaves_with_its_range
    BEFORE DELETE ON event FOR EACH STATEMENT EXECUTE FUNCTION refuse_kept_event_removal();
CREATE TRIGGER event_left_with_its_range
    AFTER DELETE ON event REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_kept_event_removal();
CREATE TRIGGER event_version_is_not_archived
    AFTER INSERT ON event REFERENCING NEW TABLE AS appended
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_archived_version();

-- migrate:down

DO $$
BEGIN
    IF EXISTS (SELECT FROM archived_range) THEN
        RAISE EXCEPTION 'events are archived: the version before would begin their streams anew';
    END IF;
END
$$;
DROP TRIGGER event_version_is_not_archived ON event;
DROP TRIGGER event_left_with_its_range ON event;
DROP TRIGGER event_leaves_with_its_range ON event;
DROP TRIGGER event_is_append_only ON event;
CREATE TRIGGER event_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change();
DROP TRIGGER shard_archive_moves_with_ranges ON shard;
DROP TABLE archived_stream;
DROP TABLE archived_range;
DROP FUNCTION refuse_archived_version();
DROP FUNCTION refuse_kept_event_removal();
DROP FUNCTION refuse_moved_archive();
DROP FUNCTION move_archived();
ALTER TABLE shard DROP CONSTRAINT shard_archives_what_is_published, DROP COLUMN archived_position;
