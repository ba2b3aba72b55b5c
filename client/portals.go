package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/patchbay/patchbay"
)

// Portal is a session of a customer's pages. URL and Token are in the answer that made it only.
type Portal struct {
	ID         patchbay.SessionID `json:"id"`
	URL        string             `json:"url"`
	Token      string             `json:"token"`
	Scope      patchbay.Scope     `json:"scope"`
	User       string             `json:"user"`
	OwnerScope *patchbay.Scope    `json:"owner_scope"`
	// Permissions are view, edit and secrets.
	Permissions []string  `json:"permissions"`
	Return      string    `json:"return"`
	Claimed     bool      `json:"claimed"`
	CreatedAt   time.Time `json:"created_at"`
	ExpiresAt   time.Time `json:"expires_at"`
}

// NewPortal is a portal session to be made.
type NewPortal struct {
	// Scope is what the customer may see: it and everything below it.
	Scope patchbay.Scope `json:"scope"`
	// User is your product's name for who will be in front of the browser, OwnerScope where that user's own things are.
	User       string          `json:"user,omitempty"`
	OwnerScope *patchbay.Scope `json:"owner_scope,omitempty"`
	// Permissions are view, edit and secrets; nil means all three.
	Permissions []string `json:"permissions,omitempty"`
	// TTL is how long the session lasts; 0 means an hour.
	TTL patchbay.Duration `json:"ttl,omitempty"`
	// Return is your page to lead back to.
	Return string `json:"return,omitempty"`
}

// CreatePortal makes a portal session. Open its URL in the customer's browser within five minutes; it works once.
func (c *Client) CreatePortal(ctx context.Context, p *NewPortal) (*Portal, error) {
	return call[Portal](ctx, c, http.MethodPost, "/v1/portal-sessions", nil, p)
}

// Portals lists the portal sessions at or below a scope that have not ended.
func (c *Client) Portals(ctx context.Context, within patchbay.Scope, p Paging) (*Page[Portal], error) {
	q := p.query()
	if within != "" {
		if q == nil {
			q = url.Values{}
		}
		q.Set("scope", string(within))
	}
	return call[Page[Portal]](ctx, c, http.MethodGet, "/v1/portal-sessions", q, nil)
}

// DeletePortal ends a portal session at once.
func (c *Client) DeletePortal(ctx context.Context, id patchbay.SessionID) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/v1/portal-sessions/" + id.String()}, nil)
	return err
}
