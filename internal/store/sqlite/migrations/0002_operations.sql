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

-- What happened in a minute; see store.Sample. Rows of one minute with the same words add up.
CREATE TABLE sample (
	minute      INTEGER NOT NULL,
	link        INTEGER NOT NULL,
	integration TEXT NOT NULL,
	type        TEXT NOT NULL,
	scope       TEXT NOT NULL,
	accepted    INTEGER NOT NULL,
	delivered   INTEGER NOT NULL,
	failed      INTEGER NOT NULL,
	attempts    INTEGER NOT NULL,
	latency     BLOB
);
CREATE INDEX sample_minute ON sample (minute);
