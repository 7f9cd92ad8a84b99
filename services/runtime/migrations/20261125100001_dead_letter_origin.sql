-- migrate:up

-- Letters kept before this know neither: '' is no topic's id, and no record of theirs is taken for one.
ALTER TABLE dead_letter
    ADD COLUMN topic_id   text NOT NULL DEFAULT '',
    ADD COLUMN source     text NOT NULL DEFAULT 'unknown',
    ADD COLUMN account_id text;

-- A topic that was made again counts its offsets from 0 again.
ALTER TABLE dead_letter
    ADD CONSTRAINT dead_letter_record UNIQUE (topic, topic_id, partition, record_offset),
    DROP CONSTRAINT dead_letter_topic_partition_record_offset_key;

CREATE INDEX dead_letter_account ON dead_letter (account_id) WHERE account_id IS NOT NULL;

-- migrate:down

DROP INDEX dead_letter_account;
ALTER TABLE dead_letter
    ADD UNIQUE (topic, partition, record_offset),
    DROP CONSTRAINT dead_letter_record,
    DROP COLUMN account_id,
    DROP COLUMN source,
    DROP COLUMN topic_id;
