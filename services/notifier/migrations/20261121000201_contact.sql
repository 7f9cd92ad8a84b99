-- migrate:up

-- The only table with personal data of customers. Erasing blanks the row and keeps the account and
-- the moment, so that a request from before the erasure cannot bring the data back.
CREATE TABLE contact (
    account_id text        PRIMARY KEY,
    email      text,
    phone      text,
    name       text,
    locale     text,
    time_zone  text,
    as_of      timestamptz NOT NULL,
    erased_at  timestamptz,
    CHECK (
        CASE WHEN erased_at IS NULL
        THEN email IS NOT NULL AND locale IS NOT NULL AND time_zone IS NOT NULL
        ELSE coalesce(email, phone, name, locale, time_zone) IS NULL END
    )
) WITH (fillfactor = 70);

DO $$
DECLARE
    service name := 'perennial_' || current_schema();
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON contact TO %I', service);
END
$$;

-- migrate:down

DROP TABLE contact;
