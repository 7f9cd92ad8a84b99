-- migrate:up

-- What mailboxes are told from each other by: a keyed hash, since these tables hold no address.
CREATE TABLE mailbox_key (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    key      bytea   NOT NULL
);

INSERT INTO mailbox_key (key)
SELECT decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');

-- How much a mailbox was sent of a kind, as the theoretical arrival time of its next message (GCRA).
CREATE TABLE mailbox_limit (
    mailbox     bytea       NOT NULL,
    template    text        NOT NULL,
    expected_at timestamptz NOT NULL,
    PRIMARY KEY (mailbox, template)
) WITH (fillfactor = 70);

CREATE INDEX mailbox_limit_expiry ON mailbox_limit (expected_at);

-- Facts that no message told of yet because their mailbox had too many: waiting, then listed in the
-- message about the fact `digest`, then told when that message was accepted.
CREATE TABLE held_mail (
    fact_key  uuid        PRIMARY KEY,
    mailbox   bytea       NOT NULL,
    template  text        NOT NULL,
    reference text        NOT NULL,
    held_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    digest    uuid,
    told      boolean     NOT NULL DEFAULT false,
    CHECK (digest IS NOT NULL OR NOT told)
) WITH (fillfactor = 70);

CREATE INDEX held_mail_waiting ON held_mail (mailbox, template, held_at) WHERE digest IS NULL;
CREATE INDEX held_mail_digest ON held_mail (digest) WHERE digest IS NOT NULL;

DO $$
DECLARE
    service name := 'perennial_' || current_schema();
BEGIN
    EXECUTE format('GRANT SELECT ON mailbox_key TO %I', service);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON mailbox_limit, held_mail TO %I', service);
END
$$;

-- migrate:down

DROP TABLE held_mail;
DROP TABLE mailbox_limit;
DROP TABLE mailbox_key;
