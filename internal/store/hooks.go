package store

import (
	"context"
	"time"

	"github.com/patchbay/patchbay"
)

// Hook is a partner's call: verified, and as it came in.
type Hook struct {
	ID          patchbay.HookID
	Integration string
	// Link is whose address was called; zero when the integration's own address was.
	Link patchbay.LinkID
	// Account is the partner's account that was signed for, where the partner says so.
	Account string
	// Scope is that of the link, once there is one; Placed says so.
	Scope  patchbay.Scope
	Placed bool
	// Type is the partner's own word for what it is, to be shown.
	Type       string
	ReceivedAt time.Time
	// Header holds the fields that the integration needs for reading it, none of them a credential.
	Header map[string][]string
	Query  string
	Body   []byte
	// Key tells calls that are the same one apart from others; see SaveHook.
	Key [16]byte

	State  patchbay.HookState
	Reason string
	// Links are those that it reached, Events what it became.
	Links  []patchbay.LinkID
	Events []patchbay.EventID
	// Reads counts how often it was read.
	Reads int
}

// HookFilter selects hooks. Zero fields select everything.
type HookFilter struct {
	States      []patchbay.HookState
	Integration string
	Link        patchbay.LinkID
	Account     string
	// Within is the scope at or below which a hook's lies. A hook without one lies in no scope but "".
	Within patchbay.Scope
	// Before is the cursor: only hooks with a lower identifier.
	Before patchbay.HookID
	Limit  int
}

// Hooks keeps partners' calls for as long as unmatched events (Retention.Unmatched), those that are pending or unplaced
// for as long as matched ones, whatever Retention.Tenants says. Prune removes them.
type Hooks interface {
	// SaveHook stores a call as pending. It is durable when SaveHook returns. When a hook with the same Integration and
	// Key is kept already, nothing is stored and its identifier comes back; concurrent calls with one key store one.
	SaveHook(ctx context.Context, h *Hook) (existing patchbay.HookID, err error)
	// FinishHook stores what reading it came to: State, Reason, Account, Scope, Placed, Type, Links, Events, Reads. ErrNotFound.
	FinishHook(ctx context.Context, h *Hook) error
	// Hook returns a hook. ErrNotFound.
	Hook(ctx context.Context, id patchbay.HookID) (*Hook, error)
	// Hooks lists hooks, the newest first, without their bodies.
	Hooks(ctx context.Context, f HookFilter) ([]Hook, error)
	// PendingHooks returns hooks that are pending, were received before a time and have a higher identifier than after, the
	// lowest first and with their bodies: those of a node that died, or of an earlier run, and those that must be read again.
	PendingHooks(ctx context.Context, before time.Time, after patchbay.HookID, limit int) ([]Hook, error)
}

// The changes that connections and sessions make known.
const (
	ChangedConnection = "connection" // ID is the connection's; it was saved or deleted
	ChangedSession    = "session"    // ID is the session's; it was deleted
)
