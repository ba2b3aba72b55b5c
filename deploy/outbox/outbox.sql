-- Patchbay's outbox: run this once in your product's own PostgreSQL (13 or newer), as the role that owns its tables:
--
--     psql "$DATABASE_URL" -f outbox.sql
--
-- Your product says what happened with an INSERT in the transaction in which it happens:
--
--     INSERT INTO patchbay_outbox (event) VALUES ('{"event_type": "order.paid", "scope": "acme", "payload": {"id": 7}}');
--
-- If the transaction commits, the event reaches Patchbay, once; if it does not, there is no event. Running this again
-- changes nothing. The names can be changed throughout; then tell Patchbay with the setting "table".

BEGIN;

CREATE TABLE IF NOT EXISTS patchbay_outbox (
    -- The order in which rows are taken.
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Knows the row again when it is taken a second time, after a crash. A uuid and not the id, which a restored or
    -- promoted database may give out again.
    key        uuid        NOT NULL DEFAULT gen_random_uuid(),
    -- What POST /events takes. Not jsonb: receivers get the payload's very bytes.
    event      json        NOT NULL,
    -- Rows with the same order_key are taken one after another; others may be taken at the same time.
    order_key  text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (
    -- Rows come and go. Many deletions between two vacuums would make the way to the oldest row long.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
    autovacuum_vacuum_cost_delay = 0
);

-- Rows that Patchbay can never accept, each with the reason. Nothing is deleted here but by you. Once the reason is gone:
--     WITH again AS (DELETE FROM patchbay_outbox_failed RETURNING event, order_key, id)
--     INSERT INTO patchbay_outbox (event, order_key) SELECT event, order_key FROM again ORDER BY id;
CREATE TABLE IF NOT EXISTS patchbay_outbox_failed (
    id         bigint      NOT NULL,
    key        uuid        PRIMARY KEY,
    event      json        NOT NULL,
    order_key  text,
    created_at timestamptz NOT NULL,
    failed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason     text        NOT NULL
);

-- Wakes Patchbay at the commit. Without this trigger Patchbay looks every second; leave it out if hundreds of your
-- transactions commit at the same time, because commits that notify queue up for each other.
CREATE OR REPLACE FUNCTION patchbay_outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY patchbay_outbox;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS patchbay_outbox_notify ON patchbay_outbox;
CREATE TRIGGER patchbay_outbox_notify AFTER INSERT ON patchbay_outbox
    FOR EACH STATEMENT EXECUTE FUNCTION patchbay_outbox_notify();

-- A shorter way to say it: SELECT patchbay_say('order.paid', '{"id": 7}', scope => 'acme');
CREATE OR REPLACE FUNCTION patchbay_say(event_type text, payload json, scope text DEFAULT '', order_key text DEFAULT NULL)
RETURNS bigint LANGUAGE sql AS $$
    INSERT INTO patchbay_outbox (event, order_key)
    VALUES (json_build_object('event_type', event_type, 'scope', scope, 'payload', payload), order_key)
    RETURNING id
$$;

COMMIT;

-- Patchbay signs in as a role of its own that sees nothing else:
--     CREATE ROLE patchbay_reader LOGIN PASSWORD '…';
--     GRANT SELECT, DELETE ON patchbay_outbox TO patchbay_reader;
--     GRANT SELECT, INSERT ON patchbay_outbox_failed TO patchbay_reader;
-- and your product's roles that say something need no more than
--     GRANT INSERT ON patchbay_outbox TO product;  -- for patchbay_say also SELECT (id)
