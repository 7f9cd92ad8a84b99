-- migrate:up

-- The ids of the events taken from each source, 16 bytes each, a row for each batch: what comes again
-- under a number must be the same event. The ids need not be compressed, and a part of them is read.
CREATE TABLE taken_event (
    source         text   NOT NULL,
    shard          int    NOT NULL,
    last_sequence  bigint NOT NULL,
    first_sequence bigint NOT NULL CHECK (first_sequence <= last_sequence),
    event_ids      bytea  STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (source, shard, last_sequence)
);

DO $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT ON taken_event TO %I', 'perennial_' || current_schema()
    );
END
$$;

-- migrate:down

DROP TABLE taken_event;
