-- migrate:up

-- When the head was recorded: nothing later in the shard is recorded before it. A process of an
-- older version moves the head without these two; the position tells that, and the log is asked.
ALTER TABLE shard ADD COLUMN head_recorded_at timestamptz, ADD COLUMN head_recorded_position bigint;

-- migrate:down

ALTER TABLE shard DROP COLUMN head_recorded_at, DROP COLUMN head_recorded_position;
