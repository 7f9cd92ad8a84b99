-- migrate:up

-- Not the moment an attempt is due, which every retry moves: when the effect was first wanted.
ALTER TABLE effect ADD COLUMN started_at timestamptz NOT NULL DEFAULT now();

-- migrate:down

ALTER TABLE effect DROP COLUMN started_at;
