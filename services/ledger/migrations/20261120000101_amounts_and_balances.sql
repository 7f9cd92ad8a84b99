-- migrate:up

CREATE INDEX event_account ON event (account_id, shard, position);

-- One row for each amount of money that an event states, so that replay reads typed columns and
-- not JSON. `kind` is what posting rules are looked up by: EventName[.purpose][.method].amount.
CREATE TABLE amount (
    shard        int         NOT NULL,
    position     bigint      NOT NULL,
    ordinal      int         NOT NULL,
    kind         text        NOT NULL,
    account_id   text        NOT NULL,
    jurisdiction text,
    currency     text        NOT NULL,
    amount_minor bigint      NOT NULL CHECK (amount_minor > 0),
    occurred_at  timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (shard, position, ordinal)
);

CREATE INDEX amount_account ON amount (account_id);

CREATE TRIGGER amount_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON amount
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change();

-- A cache: everything in it can be derived from `event` again, and `perennial ledger verify` does.
CREATE TABLE balance (
    shard        int    NOT NULL,
    account      text   NOT NULL,
    currency     text   NOT NULL,
    amount_minor bigint NOT NULL,
    PRIMARY KEY (shard, account, currency)
) WITH (fillfactor = 50);

DO $$
DECLARE
    service name := 'perennial_' || current_schema();
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON amount TO %I', service);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON balance TO %I', service);
END
$$;

-- migrate:down

DROP TABLE balance;
DROP TABLE amount;
DROP INDEX event_account;
