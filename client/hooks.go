package client

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
)

// Hook is a partner's call, and what became of it.
type Hook struct {
	ID          patchbay.HookID `json:"id"`
	Integration string          `json:"integration"`
	// Link is whose address was called; nil when the integration's own was.
	Link    *patchbay.LinkID `json:"link"`
	Account string           `json:"account"`
	// Scope is nil until the call has a link.
	Scope *patchbay.Scope `json:"scope"`
	// Type is the partner's own word for what it is.
	Type       string             `json:"type"`
	State      patchbay.HookState `json:"state"`
	Reason     string             `json:"reason"`
	ReceivedAt time.Time          `json:"received_at"`
	// Links are those that it reached, Events what it became.
	Links  []patchbay.LinkID  `json:"links"`
	Events []patchbay.EventID `json:"events"`
	Reads  int                `json:"reads"`
	// What follows is not in lists. BodyBase64 takes the place of Body when that is no text.
	Headers    map[string][]string `json:"headers"`
	Query      string              `json:"query"`
	Body       string              `json:"body"`
	BodyBase64 []byte              `json:"body_base64"`
}

// HookFilter selects hooks. Zero fields select everything.
type HookFilter struct {
	States      []patchbay.HookState
	Integration string
	Link        patchbay.LinkID
	Account     string
	// Scope selects hooks of links at or below it.
	Scope patchbay.Scope
	Paging
}

// Hooks lists what partners sent, the newest first.
func (c *Client) Hooks(ctx context.Context, f HookFilter) (*Page[Hook], error) {
	states := make([]string, len(f.States))
	for i, s := range f.States {
		states[i] = string(s)
	}
	q := f.query()
	set(q, "state", strings.Join(states, ","))
	set(q, "integration", f.Integration)
	set(q, "link", f.Link.String())
	set(q, "account", f.Account)
	set(q, "scope", string(f.Scope))
	return call[Page[Hook]](ctx, c, http.MethodGet, "/v1/hooks", q, nil)
}

// Hook returns a hook with its headers and body.
func (c *Client) Hook(ctx context.Context, id patchbay.HookID) (*Hook, error) {
	return call[Hook](ctx, c, http.MethodGet, "/v1/hooks/"+id.String(), nil, nil)
}

// ReplayHook has a hook read again: one that could not be placed or read at first. The events that it became already it does
// not become again.
func (c *Client) ReplayHook(ctx context.Context, id patchbay.HookID) (*Hook, error) {
	return call[Hook](ctx, c, http.MethodPost, "/v1/hooks/"+id.String()+"/replay", nil, nil)
}
