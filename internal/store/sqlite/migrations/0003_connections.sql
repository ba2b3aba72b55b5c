-- Connections, sign-ins, sessions and hooks.

-- An identity at a partner; only its current revision. data is the rest of it as JSON, without anything secret.
CREATE TABLE connection (
	id          INTEGER PRIMARY KEY,
	revision    INTEGER NOT NULL,
	integration TEXT NOT NULL,
	account     TEXT NOT NULL,
	scope       TEXT NOT NULL,
	expires     INTEGER,          -- when its access token ends, if it can be refreshed; otherwise NULL
	fence       INTEGER NOT NULL, -- grows with every lease, and whenever the credentials are replaced
	leased      INTEGER,          -- until when somebody refreshes it
	data        TEXT NOT NULL,
	credentials BLOB NOT NULL     -- sealed; see store.SealColumn
);
CREATE INDEX connection_account ON connection (account, integration, id);
CREATE INDEX connection_scope ON connection (scope, id);
CREATE INDEX connection_expires ON connection (expires) WHERE expires IS NOT NULL;

-- A sign-in at a partner that has begun.
CREATE TABLE flow (
	hash  BLOB PRIMARY KEY,
	until INTEGER NOT NULL,
	data  BLOB NOT NULL -- sealed
) WITHOUT ROWID;
CREATE INDEX flow_until ON flow (until);

-- A browser's session. claim is NULL once it was exchanged, cookie before.
CREATE TABLE session (
	id          INTEGER PRIMARY KEY,
	portal      INTEGER NOT NULL,
	claim       BLOB,
	cookie      BLOB,
	scope       TEXT NOT NULL,
	user        TEXT NOT NULL,
	owner_scope TEXT,
	permissions TEXT NOT NULL,
	key         INTEGER NOT NULL,
	back        TEXT NOT NULL,    -- the host product's page to go back to
	created     INTEGER,
	claim_until INTEGER,
	expires     INTEGER NOT NULL
);
CREATE UNIQUE INDEX session_claim ON session (claim) WHERE claim IS NOT NULL;
CREATE UNIQUE INDEX session_cookie ON session (cookie) WHERE cookie IS NOT NULL;
CREATE INDEX session_scope ON session (scope, id);
CREATE INDEX session_expires ON session (expires);

-- A partner's call. The body stands last, so that a large one is not read for lists.
CREATE TABLE hook (
	id          INTEGER PRIMARY KEY,
	integration TEXT NOT NULL,
	link        INTEGER NOT NULL, -- whose address was called; 0: the integration's own
	account     TEXT NOT NULL,
	placed      INTEGER NOT NULL,
	tenant      TEXT,             -- of scope; NULL: it is not placed
	scope       TEXT NOT NULL,
	type        TEXT NOT NULL,
	received    INTEGER,
	state       TEXT NOT NULL,
	reason      TEXT NOT NULL,
	links       TEXT,
	events      TEXT,
	reads       INTEGER NOT NULL,
	key         BLOB NOT NULL,
	header      TEXT,
	query       TEXT NOT NULL,
	body        BLOB
);
CREATE UNIQUE INDEX hook_key ON hook (key, integration);
CREATE INDEX hook_state ON hook (state, id);
CREATE INDEX hook_link ON hook (link, id) WHERE link <> 0;
CREATE INDEX hook_account ON hook (account, id) WHERE account <> '';
CREATE INDEX hook_tenant ON hook (tenant, id) WHERE tenant IS NOT NULL;

-- Which hooks an event was made from, so that an erasure of the event finds them.
CREATE TABLE hook_event (
	event INTEGER NOT NULL,
	hook  INTEGER NOT NULL,
	PRIMARY KEY (event, hook)
) WITHOUT ROWID;
