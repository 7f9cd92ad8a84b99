-- migrate:up

-- Records that were not kept whole, because their source or account had enough open letters: counted
-- here, and whole on the dead-letter topic.
CREATE TABLE dead_letter_overflow (
    topic        text        NOT NULL,
    source       text        NOT NULL,
    reason       text        NOT NULL,
    day          date        NOT NULL,
    letters      bigint      NOT NULL CHECK (letters > 0),
    newest_at    timestamptz NOT NULL,
    partition    int         NOT NULL,
    record_offset bigint     NOT NULL,
    PRIMARY KEY (topic, source, reason, day)
);

CREATE INDEX dead_letter_open_by_source ON dead_letter (source, reason) WHERE closed_at IS NULL;

DO $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE, DELETE ON dead_letter_overflow TO %I',
        'perennial_' || current_schema()
    );
END
$$;

-- migrate:down

DROP INDEX dead_letter_open_by_source;
DROP TABLE dead_letter_overflow;
