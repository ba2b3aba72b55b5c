-- Identifiers (event, delivery, link, …) are integers that grow with time; see patchbay.ID. Small codes and the layout of
-- bytea columns are in codec.go. Text from outside that need not be UTF-8 is bytea.
--
-- Tables that grow with events are partitioned by identifier, which is by time, a day each (partitions.go): retention
-- drops whole partitions. The default partitions are a net for what comes before its day's partition exists.

-- An event, written once and never changed, except by an erasure. Its k deliveries are not rows: they have the k
-- identifiers after it. What lists need stands before the payload, so that a large one is not read for them.
CREATE TABLE event (
	id       bigint NOT NULL PRIMARY KEY,
	received timestamptz NOT NULL,
	occurred timestamptz,          -- NULL: when it was received
	origin   bigint,               -- of a replay: the event that has the payload
	erased   timestamptz,          -- when what it says was removed; NULL: it was not
	hops     smallint NOT NULL,
	missed   boolean NOT NULL,     -- a disabled link would have matched
	type     text COLLATE "C" NOT NULL,
	scope    text COLLATE "C" NOT NULL,
	source   text NOT NULL,
	also     text COLLATE "C",     -- further scopes, one a line
	targets  bytea,                -- NULL: no deliveries
	actor    bytea,
	payload  bytea                 -- NULL: the origin has it
) PARTITION BY RANGE (id);
CREATE INDEX event_replays ON event (origin) WHERE origin IS NOT NULL;
CREATE TABLE event_default PARTITION OF event DEFAULT;

-- An event without deliveries and not missed: apart, because it is kept for a shorter time.
CREATE TABLE unmatched (LIKE event INCLUDING ALL) PARTITION BY RANGE (id);
CREATE TABLE unmatched_default PARTITION OF unmatched DEFAULT;

-- An attempt, or a decision without one (n = 0): appended, never changed. Those of one delivery are ordered by seq, which
-- goes by no node's clock. link stands only in those that ended a delivery otherwise than well.
CREATE SEQUENCE attempt_seq;
CREATE TABLE attempt (
	delivery   bigint NOT NULL,
	seq        bigint NOT NULL DEFAULT nextval('attempt_seq'),
	at         timestamptz,
	link       bigint,
	response   bigint,              -- NULL: the partner answered nothing that is kept
	duration   integer NOT NULL,    -- milliseconds
	n          integer NOT NULL,
	code       integer NOT NULL,
	state      smallint NOT NULL,   -- the delivery's state from then on
	verdict    smallint NOT NULL,
	error_type text,
	error      bytea,
	request    bytea
) PARTITION BY RANGE (delivery);
CREATE INDEX attempt_delivery ON attempt (delivery);
-- state > 1 are failed, cancelled and skipped: the lists that people look for.
CREATE INDEX attempt_ended ON attempt (state, delivery) WHERE state > 1;
CREATE INDEX attempt_ended_link ON attempt (link, state, delivery) WHERE state > 1;
CREATE TABLE attempt_default PARTITION OF attempt DEFAULT;

-- What a partner answered: apart, because it is kept for a shorter time. Its identifier is of when it came.
CREATE TABLE response (
	id   bigint NOT NULL PRIMARY KEY,
	body bytea NOT NULL
) PARTITION BY RANGE (id);
CREATE TABLE response_default PARTITION OF response DEFAULT;

-- Remembered keys of callers: key and body are hashes. Rows are in about the order of their time.
CREATE TABLE idempotency (
	key        uuid NOT NULL PRIMARY KEY,
	body       uuid NOT NULL,
	until      timestamptz NOT NULL,
	event      bigint NOT NULL,
	deliveries integer NOT NULL
);

-- A delivery that waits: for a retry, for its turn, for its link. Nothing else has a row here. Rows come and go, so
-- vacuum must come often: dead ones lie at the beginning of what is claimed.
CREATE TABLE queue (
	link     bigint NOT NULL,
	delivery bigint NOT NULL,
	event    bigint NOT NULL,
	due      timestamptz NOT NULL,
	spared   bigint,               -- the lane's drop_before that does not concern it: it was put here by hand afterwards
	attempts integer NOT NULL,
	used     integer NOT NULL,
	blocked  boolean NOT NULL,     -- an earlier one of its thread stands here, so it is not its turn
	thread   bytea,
	PRIMARY KEY (link, delivery)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
	autovacuum_analyze_scale_factor = 0.1, autovacuum_analyze_threshold = 1000);
CREATE INDEX queue_due ON queue (link, due, delivery) WHERE NOT blocked;
CREATE INDEX queue_thread ON queue (link, thread, delivery) WHERE thread IS NOT NULL;
CREATE INDEX queue_spared ON queue (link, delivery) WHERE spared IS NOT NULL;

CREATE TABLE lane (
	link          bigint NOT NULL PRIMARY KEY,
	drop_before   bigint NOT NULL,
	failing_since timestamptz,
	failures      integer NOT NULL,
	open_until    timestamptz
) WITH (fillfactor = 50);

CREATE TABLE thread (
	link      bigint NOT NULL,
	thread    bytea NOT NULL,
	reference bytea NOT NULL,
	event     bigint NOT NULL,
	PRIMARY KEY (link, thread)
);

-- Every revision of every link. ended is the identifier that was current when it was replaced or deleted.
CREATE TABLE link (
	id       bigint NOT NULL,
	revision integer NOT NULL,
	data     text NOT NULL,
	ended    bigint,
	PRIMARY KEY (id, revision)
);
CREATE INDEX link_ended ON link (ended, id) WHERE ended IS NOT NULL;
CREATE UNIQUE INDEX link_current ON link (id) WHERE ended IS NULL;

CREATE TABLE event_type (
	key  text COLLATE "C" NOT NULL PRIMARY KEY,
	data text NOT NULL
);

CREATE TABLE api_key (
	id          bigint NOT NULL PRIMARY KEY,
	name        text NOT NULL,
	hash        bytea NOT NULL UNIQUE,
	scope       text COLLATE "C" NOT NULL,
	permissions text NOT NULL,
	hint        text NOT NULL,
	created     timestamptz,
	expires     timestamptz
);

CREATE TABLE meta (
	key   text COLLATE "C" NOT NULL PRIMARY KEY,
	value text NOT NULL
);

-- What other nodes must know of. Whoever writes here holds an advisory lock until the end of the transaction (announce in
-- cluster.go), so that the order of seq is the order of commits.
CREATE SEQUENCE change_seq;
CREATE TABLE change (
	seq  bigint NOT NULL PRIMARY KEY DEFAULT nextval('change_seq'),
	made timestamptz NOT NULL DEFAULT clock_timestamp(),
	kind text NOT NULL,
	id   bigint NOT NULL,
	link bigint NOT NULL,
	at   bigint NOT NULL,
	key  text NOT NULL
);

-- A process that shares the database, or did. Its number stands in its identifiers and is free again when state is
-- 'gone'. Every transaction that writes looks here (patchbay_fence), so what changes often stands elsewhere.
CREATE SEQUENCE node_incarnation;
CREATE TABLE node (
	number      integer NOT NULL PRIMARY KEY,
	incarnation bigint NOT NULL,
	state       text NOT NULL,     -- 'alive'; 'fenced': what it had in memory is being taken over; 'gone'
	name        text NOT NULL,
	address     text NOT NULL,
	version     text NOT NULL,
	started     timestamptz NOT NULL
);
-- Sign of life and what it says of itself.
CREATE TABLE beat (
	number integer NOT NULL PRIMARY KEY,
	seen   timestamptz NOT NULL,
	report text NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
-- Below it, every delivery of events of the node's has an end or a place in the queue.
CREATE TABLE floor (
	number integer NOT NULL PRIMARY KEY,
	event  bigint NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
-- Parts of links (store.Shard) and the node that sends what waits for them.
CREATE TABLE shard (
	shard integer NOT NULL PRIMARY KEY,
	owner integer
) WITH (fillfactor = 50);
INSERT INTO shard (shard) SELECT generate_series(0, 255);

-- The first statement of every transaction in which a node writes: it holds off a takeover until the end of the
-- transaction, and fails when there has been one. 1885430382 is lockNode in lock.go, PB001 stateFenced in errors.go.
CREATE FUNCTION patchbay_fence(my_number integer, my_incarnation bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock_shared(1885430382, my_number);
	PERFORM FROM node WHERE number = my_number AND incarnation = my_incarnation AND state = 'alive';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'node % was taken for dead', my_number USING ERRCODE = 'PB001';
	END IF;
END $$;

-- Gives the first of a thread its turn, and takes it from whoever else has it. Whoever changed a thread calls this before
-- the end of the transaction; the lock (lockThread in lock.go) makes sure that the last of several sees what all have done.
CREATE FUNCTION patchbay_turn(of_link bigint, of_thread bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	head record;
BEGIN
	PERFORM pg_advisory_xact_lock(1885430388, patchbay_thread(of_link, of_thread));
	SELECT delivery, blocked INTO head FROM queue WHERE link = of_link AND thread = of_thread ORDER BY delivery LIMIT 1;
	IF head.blocked THEN
		UPDATE queue SET blocked = true WHERE link = of_link AND thread = of_thread AND delivery > head.delivery AND NOT blocked;
		UPDATE queue SET blocked = false WHERE link = of_link AND delivery = head.delivery;
	END IF;
END $$;

-- The lock of a thread, one of a thousand: a transaction may concern any number of threads.
CREATE FUNCTION patchbay_thread(of_link bigint, of_thread bytea) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
	SELECT hashtextextended(encode(of_thread, 'hex'), of_link)::bit(10)::integer
$$;

-- Removes deliveries from the queue, then gives others a place there or changes it; those that are checked only when their
-- event was stored.
CREATE FUNCTION patchbay_queue(
	gone_links bigint[], gone bigint[],
	links bigint[], deliveries bigint[], events bigint[], dues timestamptz[], spares bigint[], tries integer[], useds integer[], threads bytea[],
	checks boolean[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	touched record;
	left_links bigint[];
	left_threads bytea[];
BEGIN
	WITH removed AS (
		DELETE FROM queue q USING unnest(gone_links, gone) AS g (link, delivery)
		WHERE q.link = g.link AND q.delivery = g.delivery RETURNING q.link, q.thread
	), moved AS (
		SELECT q.link, q.thread FROM unnest(links, deliveries, threads) AS n (link, delivery, thread)
		JOIN queue q ON q.link = n.link AND q.delivery = n.delivery WHERE q.thread IS DISTINCT FROM n.thread
	)
	SELECT array_agg(link), array_agg(thread) INTO left_links, left_threads
	FROM (SELECT * FROM removed UNION ALL SELECT * FROM moved) AS x WHERE thread IS NOT NULL;
	IF links <> '{}' THEN
		INSERT INTO queue (link, delivery, event, due, spared, attempts, used, thread, blocked)
		SELECT n.link, n.delivery, n.event, n.due, n.spared, n.attempts, n.used, n.thread, n.thread IS NOT NULL
		FROM unnest(links, deliveries, events, dues, spares, tries, useds, threads, checks)
			AS n (link, delivery, event, due, spared, attempts, used, thread, checked)
		WHERE NOT n.checked OR EXISTS (SELECT FROM event WHERE id = n.event)
		ORDER BY n.link, n.delivery
		ON CONFLICT (link, delivery) DO UPDATE SET event = excluded.event, due = excluded.due,
			spared = coalesce(excluded.spared, queue.spared), attempts = excluded.attempts, used = excluded.used,
			thread = excluded.thread, blocked = excluded.blocked;
	END IF;
	FOR touched IN
		SELECT DISTINCT patchbay_thread(link, thread) AS lock, link, thread
		FROM unnest(links || left_links, threads || left_threads) AS x (link, thread) WHERE thread IS NOT NULL ORDER BY 1, 2, 3
	LOOP
		PERFORM patchbay_turn(touched.link, touched.thread);
	END LOOP;
END $$;

-- Work over many deliveries or events; see store.Job. A job that has ended stays until it is pruned; erasures stay for
-- good, as tombstones.
CREATE TABLE job (
	id           bigint NOT NULL PRIMARY KEY,
	action       text NOT NULL,
	filter       text NOT NULL,
	scope        text COLLATE "C" NOT NULL,
	made_by      text NOT NULL,
	state        text NOT NULL,
	cursor       text NOT NULL,
	total        bigint NOT NULL,
	seen         bigint NOT NULL,
	changed      bigint NOT NULL,
	skipped      bigint NOT NULL,
	failed       bigint NOT NULL,
	error        text NOT NULL,
	cancelling   boolean NOT NULL,
	runner       bigint NOT NULL,
	runner_until timestamptz,
	created      timestamptz,
	started      timestamptz,
	updated      timestamptz,
	finished     timestamptz
);
CREATE INDEX job_open ON job (id) WHERE state IN ('pending', 'running');

-- What happened in a minute, or in an hour; see store.Sample. Rows of one time with the same words add up.
CREATE TABLE sample (
	span        smallint NOT NULL DEFAULT 1, -- minutes: 1, or 60 for what is longer ago
	minute      timestamptz NOT NULL,        -- when it began
	link        bigint NOT NULL,
	integration text NOT NULL,
	type        text COLLATE "C" NOT NULL,
	scope       text COLLATE "C" NOT NULL,
	accepted    bigint NOT NULL,
	delivered   bigint NOT NULL,
	failed      bigint NOT NULL,
	attempts    bigint NOT NULL,
	latency     bytea
);
CREATE INDEX sample_minute ON sample (minute);
CREATE INDEX sample_fresh ON sample (minute) WHERE span = 1;
