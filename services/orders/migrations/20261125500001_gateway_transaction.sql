-- migrate:up

-- Which order each transaction of a gateway serves. A cache of the log's PaymentCaptured, and of
-- what is about to be one; the primary key keeps a transaction from serving two orders.
CREATE TABLE gateway_transaction (
    gateway        text NOT NULL,
    gateway_txn_id text NOT NULL,
    stream_id      text NOT NULL,
    PRIMARY KEY (gateway, gateway_txn_id)
);

INSERT INTO gateway_transaction
SELECT DISTINCT ON (1, 2) body ->> 'gateway', body ->> 'gateway_txn_id', stream_id
FROM (
    SELECT convert_from(event.body, 'UTF8')::jsonb AS body, stream_id, recorded_at
    FROM event WHERE type = 'billing.PaymentCaptured.v1'
) AS captured
WHERE body ->> 'method' <> 'wallet'
ORDER BY 1, 2, recorded_at;

DO $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT ON gateway_transaction TO %I', 'perennial_' || current_schema()
    );
END
$$;

-- migrate:down

DROP TABLE gateway_transaction;
