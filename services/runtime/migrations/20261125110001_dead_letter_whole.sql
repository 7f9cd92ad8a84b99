-- migrate:up

-- Set where only the beginning of a record is kept: how large it was, and what its value was.
ALTER TABLE dead_letter
    ADD COLUMN record_bytes bigint,
    ADD COLUMN value_sha256 bytea;

-- migrate:down

ALTER TABLE dead_letter
    DROP COLUMN value_sha256,
    DROP COLUMN record_bytes;
