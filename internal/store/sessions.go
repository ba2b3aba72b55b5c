package store

import (
	"context"
	"time"

	"github.com/patchbay/patchbay"
)

// Session lets a browser in. Neither its cookie nor its one-time token is stored, only their hashes.
type Session struct {
	ID patchbay.SessionID
	// Portal says that it is a customer's; otherwise it is an operator's.
	Portal bool
	// Claim is the hash of the one-time token that the cookie is given for, Cookie that of the cookie. Of a session that
	// was not claimed yet Cookie is zero, of one that was Claim is.
	Claim, Cookie [32]byte
	Scope         patchbay.Scope
	// User is the host product's name for who this is; OwnerScope is where that user's own things are, if somewhere.
	User        string
	OwnerScope  *patchbay.Scope
	Permissions []string
	// Key is the API key that made a portal session or that an operator signed in with: without it the session ends.
	Key patchbay.KeyID
	// Return is the host product's page to go back to; "" when there is none.
	Return    string
	CreatedAt time.Time
	// Via is how an operator signed in: "key", or the issuer of OpenID Connect; Subject is who that said it is (the claim sub).
	Via, Subject string
	// Address is where the session was begun from, Agent the browser's own name for itself, cut to 200 bytes.
	Address, Agent string
	// ClaimUntil is until when the token can be exchanged, ExpiresAt when the session ends.
	ClaimUntil, ExpiresAt time.Time
}

// SessionFilter selects sessions. Zero fields select everything.
type SessionFilter struct {
	Portal *bool
	Within patchbay.Scope
	User   string
	// Key is the API key that a session stands on.
	Key   patchbay.KeyID
	After patchbay.SessionID
	Limit int
}

// Sessions keeps sessions. Sessions that have ended are not found, and are removed by Prune.
type Sessions interface {
	// SaveSession adds a session. ErrConflict when there is one with one of its hashes.
	SaveSession(ctx context.Context, s *Session) error
	// ClaimSession gives the session with a one-time token its cookie, once: the token is no longer known after it, also
	// to a call at the same time. ErrNotFound, also after ClaimUntil.
	ClaimSession(ctx context.Context, claim, cookie [32]byte, now time.Time) (*Session, error)
	// SessionByCookie returns the session of a cookie. ErrNotFound.
	SessionByCookie(ctx context.Context, cookie [32]byte, now time.Time) (*Session, error)
	// Session returns a session by its identifier. ErrNotFound.
	Session(ctx context.Context, id patchbay.SessionID, now time.Time) (*Session, error)
	// DeleteSession ends a session. ErrNotFound.
	DeleteSession(ctx context.Context, id patchbay.SessionID) error
	// Sessions lists sessions that have not ended, the oldest first.
	Sessions(ctx context.Context, f SessionFilter, now time.Time) ([]Session, error)
}
