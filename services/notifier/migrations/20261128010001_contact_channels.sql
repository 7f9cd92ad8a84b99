-- migrate:up

-- The channels that the customer wants, in order and with commas between them. Whoever was known
-- before gets emails, and nothing else.
ALTER TABLE contact ADD COLUMN channels text NOT NULL DEFAULT 'email' CHECK (channels <> '');
ALTER TABLE contact_candidate ADD COLUMN channels text NOT NULL DEFAULT 'email';

-- migrate:down

ALTER TABLE contact_candidate DROP COLUMN channels;
ALTER TABLE contact DROP COLUMN channels;
