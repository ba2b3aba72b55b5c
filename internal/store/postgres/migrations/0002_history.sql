-- What lists search by (history.go). One row for each word of a block: the events of the block that have it. A block is the
-- events of a range of identifiers, and its rows stand under the lowest of them.
CREATE TABLE history (
	kind smallint NOT NULL,
	key  bytea NOT NULL,
	low  bigint NOT NULL,
	ids  bytea NOT NULL,
	PRIMARY KEY (kind, key, low)
) PARTITION BY RANGE (low);
CREATE INDEX history_low ON history USING brin (low) WITH (pages_per_range = 16);
CREATE TABLE history_default PARTITION OF history DEFAULT;

CREATE TABLE block (
	low  bigint NOT NULL PRIMARY KEY,
	high bigint NOT NULL -- events are below
);

-- Events below frontier are in blocks, but for those that stand in late. Whoever writes an event below next puts it there,
-- in the same transaction.
CREATE TABLE history_mark (
	frontier bigint NOT NULL,
	next     bigint NOT NULL
) WITH (fillfactor = 20);
INSERT INTO history_mark (frontier, next) VALUES (0, 0);

CREATE TABLE late (id bigint NOT NULL PRIMARY KEY);

-- Lists of everything that waits, and the look whether something of an old event does.
CREATE INDEX queue_delivery ON queue (delivery);

-- patchbay_fence for a transaction that stores events: these, the lowest identifier first. What of them lies below next is
-- put into late.
CREATE FUNCTION patchbay_begin(my_number integer, my_incarnation bigint, events bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	below bigint;
BEGIN
	PERFORM patchbay_fence(my_number, my_incarnation);
	SELECT next INTO below FROM history_mark;
	IF events[1] < below THEN
		INSERT INTO late SELECT id FROM unnest(events) AS id WHERE id < below ON CONFLICT DO NOTHING;
	END IF;
END $$;
