-- A shop that takes orders. Run outbox.sql first, then this: the shop is made, three customers come, and two orders and
-- one payment are said. Patchbay, started with --outbox and the shop's address, delivers exactly these three events.

CREATE TABLE IF NOT EXISTS shop_order (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text   NOT NULL,
    cents    bigint NOT NULL CHECK (cents > 0),
    paid     boolean NOT NULL DEFAULT false
);

-- Ada orders. The order and what is said of it become true at the same moment.
BEGIN;
WITH placed AS (INSERT INTO shop_order (customer, cents) VALUES ('ada', 4200) RETURNING id, customer, cents)
INSERT INTO patchbay_outbox (event, order_key)
SELECT json_build_object('event_type', 'order.placed', 'scope', 'shop/' || customer,
                         'payload', json_build_object('id', id, 'cents', cents)), customer
FROM placed;
COMMIT;

-- Bob orders and thinks better of it: neither the order nor the event has ever been.
BEGIN;
INSERT INTO shop_order (customer, cents) VALUES ('bob', 999);
SELECT patchbay_say('order.placed', json_build_object('cents', 999), scope => 'shop/bob');
ROLLBACK;

-- Cleo orders, and pays in a second transaction. Both events have her name as order_key, so they are taken in this order.
BEGIN;
INSERT INTO shop_order (customer, cents) VALUES ('cleo', 1500);
SELECT patchbay_say('order.placed', json_build_object('cents', 1500), scope => 'shop/cleo', order_key => 'cleo');
COMMIT;

BEGIN;
UPDATE shop_order SET paid = true WHERE customer = 'cleo';
SELECT patchbay_say('order.paid', json_build_object('cents', 1500), scope => 'shop/cleo', order_key => 'cleo');
COMMIT;
