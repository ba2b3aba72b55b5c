package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/patchbay/patchbay"
)

// Session is somebody whom a browser shows pages to: an operator, or a customer in a portal.
type Session struct {
	ID     patchbay.SessionID `json:"id"`
	Portal bool               `json:"portal"`
	Scope  patchbay.Scope     `json:"scope"`
	// Name is who it is to people, Role what an operator may do: viewer, operator or admin.
	Name string `json:"name"`
	Role string `json:"role"`
	// Via is how an operator signed in: "key", or the issuer of OpenID Connect, and Subject who that says it is.
	Via     string `json:"via"`
	Subject string `json:"subject"`
	// Key is the API key that the session stands on; nil when it stands on none.
	Key *patchbay.KeyID `json:"key"`
	// Address is where it was begun from, Agent what the browser calls itself.
	Address   string    `json:"address"`
	Agent     string    `json:"agent"`
	Current   bool      `json:"current"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// SessionFilter selects sessions. Zero fields select everything.
type SessionFilter struct {
	Within patchbay.Scope
	// Of is "operators" or "portals".
	Of string
	Paging
}

// Sessions lists who is signed in, the oldest session first.
func (c *Client) Sessions(ctx context.Context, f SessionFilter) (*Page[Session], error) {
	q := f.query()
	if q == nil {
		q = url.Values{}
	}
	if f.Within != "" {
		q.Set("scope", string(f.Within))
	}
	if f.Of != "" {
		q.Set("of", f.Of)
	}
	return call[Page[Session]](ctx, c, http.MethodGet, "/v1/sessions", q, nil)
}

// EndSession ends a session at once.
func (c *Client) EndSession(ctx context.Context, id patchbay.SessionID) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/v1/sessions/" + id.String()}, nil)
	return err
}
