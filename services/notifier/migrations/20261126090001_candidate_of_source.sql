-- migrate:up

-- Two upstreams may use the same id: each one's request is one of its own.
ALTER TABLE contact_candidate DROP CONSTRAINT contact_candidate_pkey;
ALTER TABLE contact_candidate ADD PRIMARY KEY (account_id, order_id, event_id, source);

-- migrate:down

DELETE FROM contact_candidate AS later USING contact_candidate AS first
WHERE later.account_id = first.account_id AND later.order_id = first.order_id
    AND later.event_id = first.event_id AND later.source > first.source;
ALTER TABLE contact_candidate DROP CONSTRAINT contact_candidate_pkey;
ALTER TABLE contact_candidate ADD PRIMARY KEY (account_id, order_id, event_id);
