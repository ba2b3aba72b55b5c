package patchbay

import (
	"encoding/json"
	"time"
)

// ConnectionState says whether a connection can be used.
type ConnectionState string

// The states of a connection.
const (
	// ConnectionActive works as far as is known.
	ConnectionActive ConnectionState = "active"
	// ConnectionDegraded could not be refreshed or used the last time, for a reason that may pass.
	ConnectionDegraded ConnectionState = "degraded"
	// ConnectionNeedsReauth works again only after its owner has gone through the partner's consent once more.
	ConnectionNeedsReauth ConnectionState = "needs_reauth"
)

// The limits of a connection.
const (
	MaxConnectionName = 200
	MaxOwnerLength    = 255
	// MaxCredentialBytes bounds everything secret of a connection, as JSON.
	MaxCredentialBytes = 64 << 10
)

// Connection is an account at a partner: of a scope, and of a user of the host product. Links at or below its scope may
// use it. It is the stored form: the API shows it without Credentials.
type Connection struct {
	ID          ConnectionID `json:"id"`
	Integration string       `json:"integration"`
	Scope       Scope        `json:"scope"`
	// Owner is the host product's name for the user who connected; "" when nobody in particular did.
	Owner string `json:"owner,omitempty"`
	// OwnerScope, when not nil, is where the owner's own things are: what the account does at the partner is told there
	// too. It lies in the same tenant.
	OwnerScope *Scope `json:"owner_scope,omitempty"`
	Name       string `json:"name,omitempty"`
	// Visible lets whoever lives in a lower scope see it and use it for links there.
	Visible bool `json:"visible,omitempty"`
	// Account is who the partner says this is.
	Account Account `json:"account"`
	// Grants are what the partner lets the account do (OAuth scopes), as the partner spells them.
	Grants []string `json:"grants,omitempty"`
	// Data is what the integration must know of the account and is no secret, such as a site's address.
	Data json.RawMessage `json:"data,omitempty"`
	// Credentials are never shown. Stores keep them sealed.
	Credentials Credentials     `json:"-"`
	State       ConnectionState `json:"state"`
	StateReason string          `json:"state_reason,omitempty"`
	CreatedAt   time.Time       `json:"created_at"`
	UpdatedAt   time.Time       `json:"updated_at"`
	// CheckedAt is when credentials were last refreshed or checked at the partner.
	CheckedAt time.Time `json:"checked_at,omitzero"`
	// Revision counts changes from 1.
	Revision int `json:"revision"`
}

// Account is somebody at a partner.
type Account struct {
	// ID is the partner's own, which does not change when the account is renamed. It is unique within one integration.
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	URL  string `json:"url,omitempty"`
}

// Credentials are what a connection authenticates with.
type Credentials struct {
	// Access is an access token; Refresh gets a new one; TokenSecret belongs to an OAuth 1.0a token.
	Access, Refresh, TokenSecret Secret
	// Type is the token's type as the partner spells it, mostly "Bearer".
	Type string
	// ExpiresAt is when Access ends; zero when it does not, or nobody said so. RefreshExpiresAt is the same for Refresh.
	ExpiresAt, RefreshExpiresAt time.Time
	// Extra holds what else is secret: the values of a key-based connection by their settings' keys, and what an
	// integration keeps from the partner's answer.
	Extra map[string]Secret
	// Fill holds settings that a new link over this connection gets when it leaves them out, such as the address of the
	// incoming webhook that was made at the last consent. They belong together: a link that gives one of them itself gets
	// none, because a webhook's address means nothing beside another channel.
	Fill map[string]Secret
}

// Secrets returns every secret text in c.
func (c *Credentials) Secrets() []string {
	var out []string
	add := func(s Secret) {
		if s != "" {
			out = append(out, s.Reveal())
		}
	}
	add(c.Access)
	add(c.Refresh)
	add(c.TokenSecret)
	for _, s := range c.Extra {
		add(s)
	}
	for _, s := range c.Fill {
		add(s)
	}
	return out
}

// HookState says what became of a partner's call.
type HookState string

// The states of a hook.
const (
	// HookPending is stored and answered, and not read yet.
	HookPending HookState = "pending"
	// HookDone became events.
	HookDone HookState = "done"
	// HookIgnored said nothing worth an event: a type nobody asked for, or what our own application did.
	HookIgnored HookState = "ignored"
	// HookUnplaced belongs to no link; it can be replayed once it does.
	HookUnplaced HookState = "unplaced"
	// HookFailed could not be read; the reason says why.
	HookFailed HookState = "failed"
)

// Valid reports whether s is one of the five states.
func (s HookState) Valid() bool {
	switch s {
	case HookPending, HookDone, HookIgnored, HookUnplaced, HookFailed:
		return true
	}
	return false
}

// The kinds of scopes that an integration's links may be meant for.
const (
	KindTeam = "team"
	KindUser = "user"
)
