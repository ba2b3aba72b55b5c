package client

import (
	"context"
	"net/http"
	"time"
)

// SecretKey is a key that secrets in the database are sealed with. The key itself is not shown.
type SecretKey struct {
	ID string `json:"id"`
	// MadeAt is zero when the key file does not say.
	MadeAt time.Time `json:"made_at"`
	// Current says that secrets are sealed with it, InFile that the key file of the node that answered has it.
	Current bool `json:"current"`
	InFile  bool `json:"in_file"`
	// Rows is how many rows of the database cannot be read without it.
	Rows int64 `json:"rows"`
}

// SecretKeys are the keys that secrets in the database are sealed with.
type SecretKeys struct {
	// Data has the newest last.
	Data []SecretKey `json:"data"`
	// File is the key file of the node that answered; "" when something else wraps keys.
	File string `json:"file"`
	// Unsealed counts rows that are not sealed yet, Unreadable those of which it cannot be told which key they need.
	Unsealed   int64 `json:"unsealed"`
	Unreadable int64 `json:"unreadable"`
}

// Current returns the name of the key that is in use.
func (k *SecretKeys) Current() string {
	for i := range k.Data {
		if k.Data[i].Current {
			return k.Data[i].ID
		}
	}
	return ""
}

// SecretKeys lists the keys that secrets are sealed with. The key must be an administrator's of the whole installation.
func (c *Client) SecretKeys(ctx context.Context) (*SecretKeys, error) {
	return call[SecretKeys](ctx, c, http.MethodGet, "/v1/secrets", nil, nil)
}

// RotateSecrets makes another key current and the job that seals every secret anew with it, or returns the one that is
// under way. The key must be an administrator's of the whole installation.
func (c *Client) RotateSecrets(ctx context.Context) (*Job, error) {
	return call[Job](ctx, c, http.MethodPost, "/v1/secrets/rotate", nil, nil)
}
