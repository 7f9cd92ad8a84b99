-- migrate:up

-- A balance is a sum of any number of amounts: nothing bounds it to 64 bits.
ALTER TABLE balance ALTER COLUMN amount_minor TYPE numeric(38, 0);

-- migrate:down

ALTER TABLE balance ALTER COLUMN amount_minor TYPE bigint;
