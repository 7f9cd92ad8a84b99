-- migrate:up

CREATE TABLE operator_request (
    request_id  uuid        PRIMARY KEY,
    shard       int         NOT NULL,
    effect_id   text        NOT NULL,
    content     jsonb       NOT NULL,
    asked_at    timestamptz NOT NULL DEFAULT now(),
    closed_at   timestamptz,
    closed_as   text        CHECK (closed_as IN ('applied', 'ignored', 'refused')),
    closed_note text,
    CHECK ((closed_at IS NULL) = (closed_as IS NULL))
);

CREATE INDEX operator_request_open ON operator_request (asked_at) WHERE closed_at IS NULL;

DO $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE ON operator_request TO %I', 'perennial_' || current_schema()
    );
END
$$;

-- migrate:down

DROP TABLE operator_request;
