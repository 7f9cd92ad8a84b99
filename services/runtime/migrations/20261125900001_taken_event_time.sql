-- migrate:up

-- When a batch was taken: what its topic holds no longer cannot come again. Rows of before count as
-- taken now.
ALTER TABLE taken_event ADD COLUMN taken_at timestamptz NOT NULL DEFAULT now();

DO $$
BEGIN
    EXECUTE format('GRANT DELETE ON taken_event TO %I', 'perennial_' || current_schema());
END
$$;

-- migrate:down

ALTER TABLE taken_event DROP COLUMN taken_at;
