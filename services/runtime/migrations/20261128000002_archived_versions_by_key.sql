-- migrate:up

-- Looks each stream up by its key: a join was planned to read all that is archived, for each append.
CREATE OR REPLACE FUNCTION refuse_archived_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM archived_stream) AND EXISTS (
        SELECT FROM appended CROSS JOIN LATERAL (SELECT * FROM archived_stream AS known
            WHERE known.stream_id = appended.stream_id OFFSET 0) AS known
        WHERE appended.stream_version <= known.stream_version
    ) THEN
        RAISE EXCEPTION 'a version of one of these streams is taken by an event that is archived'
            USING ERRCODE = 'unique_violation';
    END IF;
    RETURN NULL;
END
$$;

DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION refuse_archived_version() SET search_path = %I, pg_temp', current_schema()
    );
    ALTER FUNCTION refuse_archived_version() SET jit = off;
    ALTER FUNCTION refuse_archived_version() SET enable_seqscan = off;
END
$$;

-- migrate:down

-- The version before works with this one.
SELECT 1;
