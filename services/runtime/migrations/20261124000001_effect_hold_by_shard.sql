-- migrate:up

-- Effects are released by shard and key. With the key alone the planner added the primary key's
-- shard, and read every effect of the shard for each order.
CREATE INDEX effect_hold_by_shard ON effect (shard, hold_key) WHERE hold_key IS NOT NULL;
DROP INDEX effect_hold;

-- migrate:down

CREATE INDEX effect_hold ON effect (hold_key) WHERE hold_key IS NOT NULL;
DROP INDEX effect_hold_by_shard;
