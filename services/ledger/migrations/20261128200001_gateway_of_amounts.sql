-- migrate:up

-- The gateway that an amount came in or went out by. Rows of a version before name none.
ALTER TABLE amount ADD COLUMN gateway text;

-- migrate:down

ALTER TABLE amount DROP COLUMN gateway;
