package client

import (
	"context"
	"net/http"
	"time"

	"github.com/patchbay/patchbay"
)

// Key is an API key. Token is in the answer that made it only.
type Key struct {
	ID    patchbay.KeyID `json:"id"`
	Name  string         `json:"name"`
	Scope patchbay.Scope `json:"scope"`
	// Permissions are publish, inline, read, manage and admin.
	Permissions []string `json:"permissions"`
	// Hint is the end of the token.
	Hint      string    `json:"hint"`
	Token     string    `json:"token"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// NewKey is an API key to be made.
type NewKey struct {
	Name        string         `json:"name"`
	Scope       patchbay.Scope `json:"scope"`
	Permissions []string       `json:"permissions"`
	// ExpiresAt is when it stops working; zero is never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Keys lists the API keys.
func (c *Client) Keys(ctx context.Context, p Paging) (*Page[Key], error) {
	return call[Page[Key]](ctx, c, http.MethodGet, "/v1/keys", p.query(), nil)
}

// CreateKey makes an API key. Its token is in the answer, and never shown again.
func (c *Client) CreateKey(ctx context.Context, k *NewKey) (*Key, error) {
	return call[Key](ctx, c, http.MethodPost, "/v1/keys", nil, k)
}

// DeleteKey removes an API key; it stops working at once.
func (c *Client) DeleteKey(ctx context.Context, id patchbay.KeyID) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/v1/keys/" + id.String()}, nil)
	return err
}
