-- migrate:up

-- The `source` of the events that this service writes: what moves heads numbers them on.
CREATE FUNCTION own_source() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '/billing/notifier' $$;
REVOKE EXECUTE ON FUNCTION own_source() FROM PUBLIC;

-- migrate:down

DROP FUNCTION own_source();
