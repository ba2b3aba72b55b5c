package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/patchbay/patchbay"
)

// Connection is an account at a partner as the API shows it: without its credentials.
type Connection struct {
	ID          patchbay.ConnectionID    `json:"id"`
	Integration string                   `json:"integration"`
	Scope       patchbay.Scope           `json:"scope"`
	Owner       string                   `json:"owner"`
	OwnerScope  *patchbay.Scope          `json:"owner_scope"`
	Name        string                   `json:"name"`
	Visible     bool                     `json:"visible"`
	Account     patchbay.Account         `json:"account"`
	Grants      []string                 `json:"grants"`
	State       patchbay.ConnectionState `json:"state"`
	StateReason string                   `json:"state_reason"`
	// ExpiresAt is when the access token ends; one that can be refreshed is refreshed before.
	ExpiresAt time.Time `json:"expires_at"`
	CheckedAt time.Time `json:"checked_at"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// Links is how many links use it.
	Links int `json:"links"`
	// ETag identifies what people have changed of it, for UpdateConnection.
	ETag string `json:"-"`
}

// ConnectionInput is an account to be connected with its keys, or the change of a connection: then nil fields keep their
// values.
type ConnectionInput struct {
	Integration *string         `json:"integration,omitempty"`
	Scope       *patchbay.Scope `json:"scope,omitempty"`
	Owner       *string         `json:"owner,omitempty"`
	OwnerScope  *patchbay.Scope `json:"owner_scope,omitempty"`
	Name        *string         `json:"name,omitempty"`
	Visible     *bool           `json:"visible,omitempty"`
	// Settings are the keys that the integration asks for; in CreateConnection only.
	Settings json.RawMessage `json:"settings,omitempty"`
}

// ConnectionFilter selects connections.
type ConnectionFilter struct {
	// Scope selects what lies at or below it; Serving selects instead those that a link in a scope may use. nil selects
	// everything.
	Scope, Serving *patchbay.Scope
	Integration    string
	Paging
}

// Connections lists connections, the oldest first.
func (c *Client) Connections(ctx context.Context, f ConnectionFilter) (*Page[Connection], error) {
	q := f.query()
	if f.Scope != nil {
		set(q, "scope", string(*f.Scope))
	}
	if f.Serving != nil {
		set(q, "serving", string(*f.Serving))
	}
	set(q, "integration", f.Integration)
	return call[Page[Connection]](ctx, c, http.MethodGet, "/v1/connections", q, nil)
}

// Connection returns a connection.
func (c *Client) Connection(ctx context.Context, id patchbay.ConnectionID) (*Connection, error) {
	return c.connectionCall(ctx, request{method: http.MethodGet, path: connectionPath(id)})
}

// CreateConnection connects an account with keys that were made at the partner. Those of an account that is connected there
// by the same owner renew that connection.
func (c *Client) CreateConnection(ctx context.Context, in *ConnectionInput) (*Connection, error) {
	return c.connectionCall(ctx, request{method: http.MethodPost, path: "/v1/connections", body: in})
}

// UpdateConnection changes a connection. ifMatch, when not "", is the ETag of the connection that the change was made from.
func (c *Client) UpdateConnection(ctx context.Context, id patchbay.ConnectionID, in *ConnectionInput, ifMatch string) (*Connection, error) {
	r := request{method: http.MethodPatch, path: connectionPath(id), body: in}
	if ifMatch != "" {
		r.header = http.Header{"If-Match": {ifMatch}}
	}
	return c.connectionCall(ctx, r)
}

// DeleteConnection takes a connection back at the partner and removes it. notice says what remains there; "" when nothing
// does. While links use it, it stays, unless force is true.
func (c *Client) DeleteConnection(ctx context.Context, id patchbay.ConnectionID, force bool) (notice string, err error) {
	r := request{method: http.MethodDelete, path: connectionPath(id)}
	if force {
		r.query = url.Values{"force": {"true"}}
	}
	h, err := c.do(ctx, r, nil)
	return h.Get("Patchbay-Notice"), err
}

// CheckConnection asks the partner whose credentials a connection has; its state says what came of it.
func (c *Client) CheckConnection(ctx context.Context, id patchbay.ConnectionID) (*Connection, error) {
	return c.connectionCall(ctx, request{method: http.MethodPost, path: connectionPath(id) + "/check"})
}

func (c *Client) connectionCall(ctx context.Context, r request) (*Connection, error) {
	var con Connection
	h, err := c.do(ctx, r, &con)
	if err != nil {
		return nil, err
	}
	con.ETag = h.Get("ETag")
	return &con, nil
}

func connectionPath(id patchbay.ConnectionID) string { return "/v1/connections/" + id.String() }
