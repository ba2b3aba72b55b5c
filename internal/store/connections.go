package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay/patchbay"
)

// ConnectionFilter selects connections. Zero fields select everything.
type ConnectionFilter struct {
	Integration string
	// Account is the partner's identifier of the account.
	Account string
	// Within is the scope at or below which a connection lies.
	Within patchbay.Scope
	// Serving, when not nil, selects the connections whose scope is this one or lies above it: those that a link in it
	// may use.
	Serving *patchbay.Scope
	// ExpiresBefore, when not zero, selects those whose access token ends before it and that have a refresh token, but
	// not those that need their owner.
	ExpiresBefore time.Time
	// After is the cursor: only connections with a higher identifier.
	After patchbay.ConnectionID
	// Limit is how many at most; it must be positive.
	Limit int
}

// Connections keeps accounts at partners. Credentials are sealed.
type Connections interface {
	// SaveConnection stores a new revision: c.Revision must be one above the current one (1 for a new connection), else
	// ErrConflict. Only the current revision is kept. Other nodes hear of it (ChangedConnection).
	SaveConnection(ctx context.Context, c *patchbay.Connection) error
	// DeleteConnection removes a connection. ErrNotFound.
	DeleteConnection(ctx context.Context, id patchbay.ConnectionID) error
	// Connection returns a connection as it is now, read from the database. ErrNotFound.
	Connection(ctx context.Context, id patchbay.ConnectionID) (*patchbay.Connection, error)
	// Connections lists connections, the oldest first. One whose credentials cannot be opened comes without them, as
	// ConnectionNeedsReauth: it must not hold up the others.
	Connections(ctx context.Context, f ConnectionFilter) ([]patchbay.Connection, error)
	// LeaseConnection makes the caller the only one who may refresh a connection for a time, by the store's own clock. It
	// returns the connection as it is then, and a fence: a number that grows with every lease of the connection.
	// ErrConflict while somebody else's lease lasts; ErrNotFound.
	LeaseConnection(ctx context.Context, id patchbay.ConnectionID, lasts time.Duration) (fence int64, c *patchbay.Connection, err error)
	// SaveRefreshed stores what came of a refresh and ends the lease: Credentials, Grants, Data, State, StateReason and
	// CheckedAt of c replace the stored ones, whatever its revision is meanwhile; the revision grows by one. It returns
	// the connection as it is then. ErrConflict, storing nothing, unless fence is that of the connection's newest lease
	// and its credentials have not been replaced since by SaveConnection; ErrNotFound.
	SaveRefreshed(ctx context.Context, fence int64, c *patchbay.Connection) (*patchbay.Connection, error)
}

// Flow is a sign-in at a partner that has begun and not come back.
type Flow struct {
	// Hash is that of the state that the partner gives back.
	Hash [32]byte
	// Data is the flow's own; it is kept sealed.
	Data  []byte
	Until time.Time
}

// Flows keeps sign-ins at partners that have begun. Each is taken once.
type Flows interface {
	// SaveFlow adds one. ErrConflict when there is one with its hash, also to one of two calls at the same time: so what was used
	// can be written down too.
	SaveFlow(ctx context.Context, f *Flow) error
	// TakeFlow returns a flow and removes it, so that a second call, also one at the same time, gets ErrNotFound; one
	// whose time is over at now is not found either.
	TakeFlow(ctx context.Context, hash [32]byte, now time.Time) (*Flow, error)
}

// ConnectionPlace is where a connection's credentials stand.
func ConnectionPlace(id patchbay.ConnectionID) SealPlace {
	return SealPlace{Table: "connection", Row: id.String(), Column: "credentials"}
}

// FlowPlace is where a flow's data stands.
func FlowPlace(hash [32]byte) SealPlace {
	return SealPlace{Table: "flow", Row: fmt.Sprintf("%x", hash), Column: "data"}
}

// storedCredentials is patchbay.Credentials in the open, to be sealed.
type storedCredentials struct {
	Access           string            `json:"access,omitempty"`
	Refresh          string            `json:"refresh,omitempty"`
	TokenSecret      string            `json:"token_secret,omitempty"`
	Type             string            `json:"type,omitempty"`
	ExpiresAt        time.Time         `json:"expires_at,omitzero"`
	RefreshExpiresAt time.Time         `json:"refresh_expires_at,omitzero"`
	Extra            map[string]string `json:"extra,omitempty"`
	Fill             map[string]string `json:"fill,omitempty"`
}

// EncodeCredentials writes credentials in the open, equal ones equally. What it returns is to be sealed.
func EncodeCredentials(c *patchbay.Credentials) ([]byte, error) {
	return json.Marshal(storedCredentials{
		Access: c.Access.Reveal(), Refresh: c.Refresh.Reveal(), TokenSecret: c.TokenSecret.Reveal(), Type: c.Type,
		ExpiresAt: c.ExpiresAt.UTC(), RefreshExpiresAt: c.RefreshExpiresAt.UTC(), Extra: revealed(c.Extra), Fill: revealed(c.Fill),
	})
}

// DecodeCredentials reads what EncodeCredentials wrote.
func DecodeCredentials(raw []byte) (patchbay.Credentials, error) {
	var x storedCredentials
	if err := json.Unmarshal(raw, &x); err != nil {
		return patchbay.Credentials{}, fmt.Errorf("credentials in the database cannot be read: %w", err)
	}
	return patchbay.Credentials{
		Access: patchbay.Secret(x.Access), Refresh: patchbay.Secret(x.Refresh), TokenSecret: patchbay.Secret(x.TokenSecret), Type: x.Type,
		ExpiresAt: x.ExpiresAt, RefreshExpiresAt: x.RefreshExpiresAt, Extra: hidden(x.Extra), Fill: hidden(x.Fill),
	}, nil
}

func revealed(in map[string]patchbay.Secret) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, len(in))
	for k, v := range in {
		out[k] = v.Reveal()
	}
	return out
}

func hidden(in map[string]string) map[string]patchbay.Secret {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]patchbay.Secret, len(in))
	for k, v := range in {
		out[k] = patchbay.Secret(v)
	}
	return out
}

// SealCredentials writes credentials as stores keep them. s may be nil.
func SealCredentials(ctx context.Context, s Sealer, id patchbay.ConnectionID, c *patchbay.Credentials) ([]byte, error) {
	plain, err := EncodeCredentials(c)
	if err != nil {
		return nil, err
	}
	return SealColumn(ctx, s, ConnectionPlace(id), plain)
}

// OpenCredentials reads what SealCredentials wrote. s may be nil when it was nil then.
func OpenCredentials(ctx context.Context, s Sealer, id patchbay.ConnectionID, stored []byte) (patchbay.Credentials, error) {
	plain, err := OpenColumn(ctx, s, ConnectionPlace(id), stored)
	if err != nil {
		return patchbay.Credentials{}, err
	}
	return DecodeCredentials(plain)
}

// SameCredentials reports whether stored credentials are these. Those that cannot be opened are not.
func SameCredentials(ctx context.Context, s Sealer, id patchbay.ConnectionID, stored []byte, c *patchbay.Credentials) (bool, error) {
	plain, err := OpenColumn(ctx, s, ConnectionPlace(id), stored)
	if errors.Is(err, ErrSealed) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	given, err := EncodeCredentials(c)
	return bytes.Equal(plain, given), err
}

// RefreshBy returns when a connection's access token ends, if a new one can be had without its owner; otherwise zero. See
// ConnectionFilter.ExpiresBefore.
func RefreshBy(c *patchbay.Connection) time.Time {
	if c.Credentials.Refresh == "" || c.State == patchbay.ConnectionNeedsReauth {
		return time.Time{}
	}
	return c.Credentials.ExpiresAt
}

// Unopened makes of a connection whose credentials cannot be opened what lists show of it.
func Unopened(c *patchbay.Connection) {
	c.Credentials = patchbay.Credentials{}
	c.State, c.StateReason = patchbay.ConnectionNeedsReauth, "its credentials cannot be opened with this installation's keys: connect it again"
}

// TakeRefreshed takes over into a stored connection what SaveRefreshed replaces.
func TakeRefreshed(stored, c *patchbay.Connection) {
	stored.Credentials, stored.Grants, stored.Data = c.Credentials, c.Grants, c.Data
	stored.State, stored.StateReason, stored.CheckedAt = c.State, c.StateReason, c.CheckedAt
	stored.Revision++
}

// Ancestors returns a scope and every one above it, "" included.
func Ancestors(s patchbay.Scope) []string {
	out := []string{string(s)}
	for up, ok := s.Parent(); ok; up, ok = up.Parent() {
		out = append(out, string(up))
	}
	return out
}
