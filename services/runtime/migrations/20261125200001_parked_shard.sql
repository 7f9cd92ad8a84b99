-- migrate:up

-- The flag lies in the row that every transaction of a shard locks, so nobody overlooks it.
ALTER TABLE shard ADD COLUMN parked boolean NOT NULL DEFAULT false;

CREATE TABLE parked_shard (
    parking_id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard           int         NOT NULL,
    reason          text        NOT NULL,
    detail          text        NOT NULL,
    topic           text,
    partition       int,
    record_offset   bigint,
    event_id        uuid,
    event_type      text,
    source          text,
    sequence        bigint,
    parked_at       timestamptz NOT NULL DEFAULT now(),
    resume_asked_at timestamptz,
    resume_reason   text,
    set_aside       boolean     NOT NULL DEFAULT false,
    resume_answer   text,
    resumed_at      timestamptz
);

CREATE UNIQUE INDEX parked_shard_open ON parked_shard (shard) WHERE resumed_at IS NULL;

-- Why the last result could not be recorded; NULL as a rule.
ALTER TABLE effect ADD COLUMN trouble text;

-- The parked shard that a record from another partition waits for.
ALTER TABLE dead_letter ADD COLUMN parked_shard int;

DO $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE ON parked_shard TO %I', 'perennial_' || current_schema()
    );
END
$$;

-- migrate:down

ALTER TABLE effect DROP COLUMN trouble;
ALTER TABLE dead_letter DROP COLUMN parked_shard;
DROP TABLE parked_shard;
ALTER TABLE shard DROP COLUMN parked;
