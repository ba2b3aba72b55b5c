-- Identifiers (event, delivery, attempt, link, …) are integers that grow with time; see patchbay.ID. Times are
-- microseconds since 1970, UTC. Small codes and the layout of blobs are in codec.go.

-- An event, written once and never changed. Its k deliveries are not rows: they have the k identifiers after it.
-- What lists need stands before the payload, so that a large one is not read for them.
CREATE TABLE event (
	id       INTEGER PRIMARY KEY,
	type     TEXT NOT NULL,
	scope    TEXT NOT NULL,
	also     TEXT,             -- further scopes, one a line
	source   BLOB NOT NULL,
	hops     INTEGER NOT NULL,
	received INTEGER NOT NULL,
	occurred INTEGER,          -- NULL: when it was received
	origin   INTEGER,          -- of a replay: the event that has the payload
	missed   INTEGER NOT NULL, -- 1: a disabled link would have matched
	targets  BLOB,             -- NULL: no deliveries
	key      BLOB,             -- idempotency: hash of the key, hash of the body
	until    INTEGER,          -- when that key is forgotten
	actor    BLOB,
	payload  BLOB
);
CREATE INDEX event_replays ON event (origin) WHERE origin IS NOT NULL;

-- An attempt, or a decision without one (n = 0). The first one of a delivery has the delivery's identifier and
-- delivery NULL, so that it needs no index; later ones, and a first one that comes late, have one of their own.
-- link stands only in those that ended a delivery otherwise than well.
CREATE TABLE attempt (
	id         INTEGER PRIMARY KEY,
	delivery   INTEGER,
	link       INTEGER,
	n          INTEGER NOT NULL,
	state      INTEGER NOT NULL, -- the delivery's state from then on
	verdict    INTEGER NOT NULL,
	at         INTEGER,
	duration   INTEGER NOT NULL, -- milliseconds
	error_type TEXT,
	error      TEXT,
	code       INTEGER NOT NULL,
	request    BLOB
);
CREATE INDEX attempt_later ON attempt (delivery) WHERE delivery IS NOT NULL;
-- state > 1 are failed, cancelled and skipped: the lists that people look for.
CREATE INDEX attempt_ended ON attempt (state, delivery) WHERE state > 1;
CREATE INDEX attempt_ended_link ON attempt (link, state, delivery) WHERE state > 1;

-- What a partner answered, by attempt: apart, because it is kept for a shorter time.
CREATE TABLE response (
	attempt INTEGER PRIMARY KEY,
	body    TEXT NOT NULL
);

-- A delivery that waits: for a retry, for its turn, for its link. Nothing else has a row here.
CREATE TABLE queue (
	delivery INTEGER PRIMARY KEY,
	event    INTEGER NOT NULL,
	link     INTEGER NOT NULL,
	due      INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	used     INTEGER NOT NULL,
	thread   TEXT,
	blocked  INTEGER NOT NULL, -- 1: an earlier one of its thread stands here, so it is not its turn
	spared   INTEGER           -- the lane's drop_before that does not concern it: it was put here by hand afterwards
);
CREATE INDEX queue_due ON queue (link, blocked, due);
CREATE INDEX queue_thread ON queue (link, thread) WHERE thread IS NOT NULL;
CREATE INDEX queue_spared ON queue (link) WHERE spared IS NOT NULL;

CREATE TABLE lane (
	link          INTEGER PRIMARY KEY,
	drop_before   INTEGER NOT NULL,
	failing_since INTEGER,
	failures      INTEGER NOT NULL,
	open_until    INTEGER
);

CREATE TABLE thread (
	link      INTEGER NOT NULL,
	thread    TEXT NOT NULL,
	reference TEXT NOT NULL,
	event     INTEGER NOT NULL,
	PRIMARY KEY (link, thread)
) WITHOUT ROWID;

-- Every revision of every link. ended is the identifier that was current when it was replaced or deleted.
CREATE TABLE link (
	id       INTEGER NOT NULL,
	revision INTEGER NOT NULL,
	data     TEXT NOT NULL,
	ended    INTEGER,
	PRIMARY KEY (id, revision)
) WITHOUT ROWID;
CREATE INDEX link_ended ON link (ended, id);

CREATE TABLE event_type (
	key  TEXT PRIMARY KEY,
	data TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE api_key (
	id          INTEGER PRIMARY KEY,
	name        TEXT NOT NULL,
	hash        BLOB NOT NULL UNIQUE,
	scope       TEXT NOT NULL,
	permissions TEXT NOT NULL,
	hint        TEXT NOT NULL,
	created     INTEGER,
	expires     INTEGER
);

-- Remembered keys: the first 63 bits of the key's hash, and the event that has the rest. Filled sorted, behind.
CREATE TABLE idempotency (
	hash  INTEGER PRIMARY KEY,
	event INTEGER NOT NULL
);

-- Which events have a type, a scope, a link or an integration: for each block of some thousand events in the order
-- in which they were committed, a list of identifiers for each of those words. Filled a block at a time, behind.
CREATE TABLE block (
	id   INTEGER PRIMARY KEY,
	low  INTEGER NOT NULL, -- the lowest and the highest event in it; blocks may overlap a little
	high INTEGER NOT NULL
);
CREATE TABLE history (
	part INTEGER NOT NULL, -- block × 8 + 4 for events with deliveries (or missed ones) + what key is
	key  BLOB NOT NULL,
	ids  BLOB NOT NULL,
	PRIMARY KEY (part, key)
) WITHOUT ROWID;

-- Below these, everything of a node's is settled: each delivery has an attempt or a place in the queue (floor), each
-- event is in a block (history), each key is in idempotency (keys).
CREATE TABLE node (
	node    INTEGER PRIMARY KEY,
	floor   INTEGER NOT NULL,
	history INTEGER NOT NULL,
	keys    INTEGER NOT NULL
);

CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;
