// Package access says who is calling and what they may do: API keys with a scope and permissions, the signing key's
// X-Signature, and the operator on a development installation.
package access

import (
	"context"
	"slices"

	"github.com/patchbay/patchbay"
)

// Permission is something that a key may do. Admin includes all others; manage includes read.
type Permission string

// The permissions.
const (
	Publish Permission = "publish" // say what happened: POST /events, routed
	Inline  Permission = "inline"  // POST /events with "integrations"
	Read    Permission = "read"    // see events, links, deliveries
	Manage  Permission = "manage"  // change links, retry, cancel, replay
	Admin   Permission = "admin"   // keys, event types of the API
	Secrets Permission = "secrets" // portals only: give and rotate secrets, connect accounts; others may with Manage
)

// Role is what somebody who signs in may do, in one word.
type Role string

// The roles.
const (
	RoleViewer   Role = "viewer"   // looks
	RoleOperator Role = "operator" // and changes links, retries, replays, sends
	RoleAdmin    Role = "admin"    // and looks after keys, sessions, event types and the installation
)

// Permissions returns what the role may do; nil for a role that there is not.
func (r Role) Permissions() []Permission {
	switch r {
	case RoleViewer:
		return []Permission{Read}
	case RoleOperator:
		return []Permission{Publish, Inline, Manage}
	case RoleAdmin:
		return []Permission{Admin}
	}
	return nil
}

// Origin is where a request comes from.
type Origin struct {
	// Via is "api" or "web".
	Via string
	// Address is the caller's, of one that came through a trusted proxy the one that the proxy saw. Agent is what the program
	// calls itself, cut to 200 bytes.
	Address, Agent string
}

type originKey struct{}

// WithOrigin returns a context that says where its request comes from.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf returns where a context's request comes from; zero for what the system does by itself.
func OriginOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// Caller is who is calling. A nil Caller may do nothing.
type Caller struct {
	// Scope is the caller's own: everything that a request names must lie at or below it.
	Scope       patchbay.Scope
	Permissions []Permission
	// Key is the API key that was used; zero for the signing key and in development mode.
	Key patchbay.KeyID
	// Name tells callers apart where there is no key: "signature", "development".
	Name string
	// Known is what people know the caller by: what the key is called, or who has signed in.
	Known string
	// Session is the browser session; zero for programs. Portal says that it is a customer's: of what lies above its scope
	// it sees only what is marked visible.
	Session patchbay.SessionID
	Portal  bool
	// User is the host product's name for who this is, and OwnerScope where that user's own things are, if somewhere.
	User       string
	OwnerScope *patchbay.Scope
}

// May reports whether the caller has the permission.
func (c *Caller) May(p Permission) bool {
	if c == nil {
		return false
	}
	return slices.ContainsFunc(c.Permissions, func(has Permission) bool {
		return has == p || has == Admin || has == Manage && (p == Read || p == Secrets && !c.Portal)
	})
}

// Require returns a forbidden error unless the caller has the permission.
func (c *Caller) Require(p Permission) error {
	if !c.May(p) {
		return patchbay.Errorf(patchbay.CodeForbidden, "this %s does not have the permission %q", c.credential(), p)
	}
	return nil
}

// Reach returns a forbidden error unless the scope, which the request names, lies at or below the caller's.
func (c *Caller) Reach(s patchbay.Scope) error {
	if c == nil || !c.Scope.Contains(s) {
		return patchbay.Errorf(patchbay.CodeForbidden, "this %s reaches %q and what is below it, not %q", c.credential(), c.scope(), s)
	}
	return nil
}

// Sees reports whether something that lies in the scope exists for the caller. What it does not see is "not found".
func (c *Caller) Sees(s patchbay.Scope) bool { return c != nil && c.Scope.Contains(s) }

// credential is what the caller came with, in errors.
func (c *Caller) credential() string {
	if c != nil && c.Session != 0 {
		return "session"
	}
	return "key"
}

func (c *Caller) scope() patchbay.Scope {
	if c == nil {
		return ""
	}
	return c.Scope
}

// ID tells callers apart for remembered idempotency keys.
func (c *Caller) ID() string {
	if c.Key != 0 {
		return c.Key.String()
	}
	return c.Name
}
