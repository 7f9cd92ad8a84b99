-- migrate:up

-- What a request says of a contact, until orders says what became of that request.
CREATE TABLE contact_candidate (
    account_id text        NOT NULL,
    order_id   text        NOT NULL,
    event_id   uuid        NOT NULL,
    source     text        NOT NULL,
    email      text        NOT NULL,
    phone      text,
    name       text,
    locale     text        NOT NULL,
    time_zone  text        NOT NULL,
    as_of      timestamptz NOT NULL,
    contested  boolean     NOT NULL,
    kept_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, order_id, event_id)
);

CREATE INDEX contact_candidate_expiry ON contact_candidate (expires_at);

-- Requests that orders accepted before they were read here. No personal data.
CREATE TABLE accepted_request (
    account_id text        NOT NULL,
    order_id   text        NOT NULL,
    event_id   uuid        NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, order_id, event_id)
);

CREATE INDEX accepted_request_expiry ON accepted_request (expires_at);

DO $$
DECLARE
    service name := 'perennial_' || current_schema();
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE, DELETE ON contact_candidate, accepted_request TO %I', service
    );
END
$$;

-- migrate:down

DROP TABLE accepted_request;
DROP TABLE contact_candidate;
