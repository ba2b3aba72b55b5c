-- Who changed what, and what operators see of sessions. Nodes of the version before go on beside it: they know neither the
-- tables nor the columns, which have defaults; what is changed through them until they are replaced has no entry.

-- An entry of the audit log; see store.AuditEntry. Written in the transaction of the change.
CREATE TABLE audit (
	id         bigint NOT NULL PRIMARY KEY,
	scope      text COLLATE "C" NOT NULL,
	action     text COLLATE "C" NOT NULL,
	object     bytea NOT NULL,
	title      bytea NOT NULL,
	actor_kind text COLLATE "C" NOT NULL,
	actor      bytea NOT NULL,
	actor_name bytea NOT NULL,
	via        bytea NOT NULL,
	address    bytea NOT NULL,
	agent      bytea NOT NULL,
	changes    text -- JSON
);

-- What entries are looked up by; see AuditEntry.Words.
CREATE TABLE audit_word (
	word bytea NOT NULL,
	id   bigint NOT NULL,
	PRIMARY KEY (word, id)
);

ALTER TABLE session
	ADD COLUMN via bytea NOT NULL DEFAULT '',
	ADD COLUMN subject bytea NOT NULL DEFAULT '',
	ADD COLUMN address bytea NOT NULL DEFAULT '',
	ADD COLUMN agent bytea NOT NULL DEFAULT '';

-- A few operators among many portals, and what ends with a key.
CREATE INDEX session_portal ON session (portal, id);
CREATE INDEX session_key ON session (key, id);
