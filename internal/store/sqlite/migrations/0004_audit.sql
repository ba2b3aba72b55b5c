-- Who changed what, and what operators see of sessions.

-- An entry of the audit log; see store.AuditEntry. Written in the transaction of the change.
CREATE TABLE audit (
	id         INTEGER PRIMARY KEY,
	scope      TEXT NOT NULL,
	action     TEXT NOT NULL,
	object     TEXT NOT NULL,
	title      TEXT NOT NULL,
	actor_kind TEXT NOT NULL,
	actor      TEXT NOT NULL,
	actor_name TEXT NOT NULL,
	via        TEXT NOT NULL,
	address    TEXT NOT NULL,
	agent      TEXT NOT NULL,
	changes    TEXT -- JSON
);

-- What entries are looked up by; see AuditEntry.Words.
CREATE TABLE audit_word (
	word TEXT NOT NULL,
	id   INTEGER NOT NULL,
	PRIMARY KEY (word, id)
) WITHOUT ROWID;

ALTER TABLE session ADD COLUMN via TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN agent TEXT NOT NULL DEFAULT '';

-- A few operators among many portals, and what ends with a key.
CREATE INDEX session_portal ON session (portal, id);
CREATE INDEX session_key ON session (key, id);
