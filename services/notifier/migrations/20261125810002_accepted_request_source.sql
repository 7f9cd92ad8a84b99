-- migrate:up

-- The upstream whose request was accepted; another one's with the same id is another request.
ALTER TABLE accepted_request ADD COLUMN source text;

-- migrate:down

ALTER TABLE accepted_request DROP COLUMN source;
