-- migrate:up

-- `move_heads` asks `own_source()`, which each service's own migrations define, and names no service.
DO $$
DECLARE
    before text := pg_get_functiondef('move_heads()'::regprocedure);
    after  text := replace(before, '''/billing/'' || TG_TABLE_SCHEMA', 'own_source()');
BEGIN
    IF after = before THEN
        RAISE EXCEPTION 'move_heads() is not the function that an earlier migration made';
    END IF;
    EXECUTE after;
END
$$;

-- migrate:down

DO $$
BEGIN
    EXECUTE replace(
        pg_get_functiondef('move_heads()'::regprocedure), 'own_source()', '''/billing/'' || TG_TABLE_SCHEMA'
    );
END
$$;
