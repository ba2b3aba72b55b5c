-- Connections, sign-ins, sessions and hooks. Links are sealed from here on where the nodes have keys; the first node that
-- has some says in schema_version that older ones must not serve any more (sealing in migrate.go).

-- An identity at a partner; only its current revision. data is the rest of it as JSON, without anything secret.
CREATE TABLE connection (
	id          bigint NOT NULL PRIMARY KEY,
	revision    integer NOT NULL,
	integration text COLLATE "C" NOT NULL,
	account     bytea NOT NULL,
	scope       text COLLATE "C" NOT NULL,
	expires     timestamptz,     -- when its access token ends, if it can be refreshed; otherwise NULL
	fence       bigint NOT NULL, -- grows with every lease, and whenever the credentials are replaced
	leased      timestamptz,     -- until when somebody refreshes it
	data        text NOT NULL,
	credentials bytea NOT NULL   -- sealed; see store.SealColumn
);
CREATE INDEX connection_account ON connection (account, integration, id);
CREATE INDEX connection_scope ON connection (scope, id);
CREATE INDEX connection_expires ON connection (expires) WHERE expires IS NOT NULL;

-- A sign-in at a partner that has begun.
CREATE TABLE flow (
	hash  bytea NOT NULL PRIMARY KEY,
	until timestamptz NOT NULL,
	data  bytea NOT NULL -- sealed
);
CREATE INDEX flow_until ON flow (until);

-- A browser's session. claim is NULL once it was exchanged, cookie before.
CREATE TABLE session (
	id          bigint NOT NULL PRIMARY KEY,
	portal      boolean NOT NULL,
	claim       bytea,
	cookie      bytea,
	scope       text COLLATE "C" NOT NULL,
	user_name   bytea NOT NULL,
	owner_scope text COLLATE "C",
	permissions text NOT NULL,
	key         bigint NOT NULL,
	back        bytea NOT NULL, -- the host product's page to go back to
	created     timestamptz,
	claim_until timestamptz,
	expires     timestamptz NOT NULL
);
CREATE UNIQUE INDEX session_claim ON session (claim) WHERE claim IS NOT NULL;
CREATE UNIQUE INDEX session_cookie ON session (cookie) WHERE cookie IS NOT NULL;
CREATE INDEX session_scope ON session (scope, id);
CREATE INDEX session_expires ON session (expires);

-- A partner's call.
CREATE TABLE hook (
	id          bigint NOT NULL PRIMARY KEY,
	link        bigint NOT NULL, -- whose address was called; 0: the integration's own
	received    timestamptz,
	reads       integer NOT NULL,
	placed      boolean NOT NULL,
	integration text COLLATE "C" NOT NULL,
	state       text COLLATE "C" NOT NULL,
	account     bytea NOT NULL,
	tenant      text COLLATE "C", -- of scope; NULL: it is not placed
	scope       text COLLATE "C" NOT NULL,
	type        bytea NOT NULL,
	reason      bytea NOT NULL,
	links       bigint[],
	events      bigint[],
	key         bytea NOT NULL,
	header      text,
	query       bytea NOT NULL,
	body        bytea
);
CREATE UNIQUE INDEX hook_key ON hook (key, integration);
CREATE INDEX hook_state ON hook (state, id);
CREATE INDEX hook_link ON hook (link, id) WHERE link <> 0;
CREATE INDEX hook_account ON hook (account, id) WHERE account <> '';
CREATE INDEX hook_tenant ON hook (tenant, id) WHERE tenant IS NOT NULL;

-- Which hooks an event was made from, so that an erasure of the event finds them.
CREATE TABLE hook_event (
	event bigint NOT NULL,
	hook  bigint NOT NULL,
	PRIMARY KEY (event, hook)
);
