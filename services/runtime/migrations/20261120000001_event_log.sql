-- migrate:up

CREATE TABLE shard (
    shard              int    PRIMARY KEY,
    head_position      bigint NOT NULL DEFAULT 0 CHECK (head_position >= 0),
    head_hash          bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    head_sequence      bigint NOT NULL DEFAULT 0 CHECK (head_sequence >= 0),
    published_position bigint NOT NULL DEFAULT 0 CHECK (published_position <= head_position)
) WITH (fillfactor = 50);

CREATE TABLE cursor (
    topic       text   NOT NULL,
    partition   int    NOT NULL,
    next_offset bigint NOT NULL,
    cluster_id  text,
    topic_id    text,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE source_sequence (
    source        text   NOT NULL,
    shard         int    NOT NULL,
    last_sequence bigint NOT NULL,
    last_event_id uuid   NOT NULL,
    PRIMARY KEY (source, shard)
) WITH (fillfactor = 50);

CREATE TABLE event (
    shard          int         NOT NULL,
    position       bigint      NOT NULL,
    stream_id      text        NOT NULL,
    stream_version bigint      NOT NULL,
    event_id       uuid        NOT NULL,
    source         text        NOT NULL,
    type           text        NOT NULL,
    sequence       bigint      NOT NULL,
    account_id     text        NOT NULL,
    correlation_id text        NOT NULL,
    causation_id   uuid,
    traceparent    text,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    body           bytea       NOT NULL,
    hash           bytea       NOT NULL,
    PRIMARY KEY (shard, position),
    UNIQUE (stream_id, stream_version)
);

CREATE TABLE effect (
    shard          int         NOT NULL,
    effect_id      text        NOT NULL,
    kind           text        NOT NULL,
    account_id     text        NOT NULL,
    stream_id      text        NOT NULL,
    cause_event_id uuid        NOT NULL,
    correlation_id text        NOT NULL,
    traceparent    text,
    payload        jsonb       NOT NULL,
    hold_key       text,
    due_at         timestamptz,
    checkpoint     text,
    attempt        int         NOT NULL DEFAULT 0,
    interrupted    boolean     NOT NULL DEFAULT false,
    lease_until    timestamptz,
    PRIMARY KEY (shard, effect_id),
    CHECK (due_at IS NOT NULL OR hold_key IS NOT NULL)
) WITH (fillfactor = 50);

CREATE INDEX effect_due ON effect (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX effect_hold ON effect (hold_key) WHERE hold_key IS NOT NULL;

CREATE TABLE dead_letter (
    dead_letter_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic              text        NOT NULL,
    partition          int         NOT NULL,
    record_offset      bigint      NOT NULL,
    record_key         bytea,
    record_value       bytea,
    record_headers     jsonb       NOT NULL,
    reason             text        NOT NULL,
    detail             text        NOT NULL,
    attempts           int         NOT NULL,
    dead_lettered_at   timestamptz NOT NULL,
    published_at       timestamptz,
    redrive_asked_at   timestamptz,
    closed_at          timestamptz,
    closed_as          text        CHECK (closed_as IN ('redriven', 'discarded')),
    closed_note        text,
    UNIQUE (topic, partition, record_offset)
);

CREATE INDEX dead_letter_open ON dead_letter (dead_letter_id) WHERE closed_at IS NULL;

CREATE FUNCTION refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only: % on %.% is refused; correct a fact with a new event',
        TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER event_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change();

DO $$
DECLARE
    service name := 'perennial_' || current_schema();
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON event TO %I', service);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON shard, cursor, source_sequence TO %I', service);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON effect TO %I', service);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON dead_letter TO %I', service);
END
$$;

-- migrate:down

DROP TABLE dead_letter;
DROP TABLE effect;
DROP TABLE event;
DROP FUNCTION refuse_event_change();
DROP TABLE source_sequence;
DROP TABLE cursor;
DROP TABLE shard;
