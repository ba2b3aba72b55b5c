-- Jobs, erasure and statistics.

-- Work over many deliveries or events; see store.Job. A job that has ended stays until it is pruned; erasures stay for
-- good, as tombstones.
CREATE TABLE job (
	id           INTEGER PRIMARY KEY,
	action       TEXT NOT NULL,
	filter       TEXT NOT NULL,
	scope        TEXT NOT NULL,
	made_by      TEXT NOT NULL,
	state        TEXT NOT NULL,
	cursor       TEXT NOT NULL,
	total        INTEGER NOT NULL,
	seen         INTEGER NOT NULL,
	changed      INTEGER NOT NULL,
	skipped      INTEGER NOT NULL,
	failed       INTEGER NOT NULL,
	error        TEXT NOT NULL,
	cancelling   INTEGER NOT NULL,
	runner       INTEGER NOT NULL,
	runner_until INTEGER,
	created      INTEGER,
	started      INTEGER,
	updated      INTEGER,
	finished     INTEGER
);
CREATE INDEX job_open ON job (id) WHERE state IN ('pending', 'running');

-- When what the event says was removed; NULL: it was not.
ALTER TABLE event ADD COLUMN erased INTEGER;

-- What happened in a minute, or in an hour when that is longer ago; see store.Sample. Written every few seconds, some
-- rows at a time, so the key may be long.
CREATE TABLE sample (
	span        INTEGER NOT NULL, -- minutes: 1 or 60
	at          INTEGER NOT NULL, -- when it began: minutes since 1970
	link        INTEGER NOT NULL,
	integration TEXT NOT NULL,
	type        TEXT NOT NULL,
	scope       TEXT NOT NULL,
	accepted    INTEGER NOT NULL,
	delivered   INTEGER NOT NULL,
	failed      INTEGER NOT NULL,
	attempts    INTEGER NOT NULL,
	latency     BLOB,             -- see store.Latency
	PRIMARY KEY (span, at, link, integration, type, scope)
) WITHOUT ROWID;
