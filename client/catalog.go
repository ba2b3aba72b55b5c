package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/patchbay/patchbay"
)

// EventTypes lists the catalog.
func (c *Client) EventTypes(ctx context.Context, p Paging) (*Page[patchbay.EventType], error) {
	return call[Page[patchbay.EventType]](ctx, c, http.MethodGet, "/v1/event-types", p.query(), nil)
}

// EventType returns a type by its key or an alias.
func (c *Client) EventType(ctx context.Context, key string) (*patchbay.EventType, error) {
	return call[patchbay.EventType](ctx, c, http.MethodGet, "/v1/event-types/"+url.PathEscape(key), nil, nil)
}

// PutEventType adds a type to the catalog or changes it.
func (c *Client) PutEventType(ctx context.Context, t *patchbay.EventType) (*patchbay.EventType, error) {
	return call[patchbay.EventType](ctx, c, http.MethodPut, "/v1/event-types/"+url.PathEscape(t.Key), nil, t)
}

// DeleteEventType removes a type that was added through the API.
func (c *Client) DeleteEventType(ctx context.Context, key string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/v1/event-types/" + url.PathEscape(key)}, nil)
	return err
}

// Integration describes an integration.
type Integration struct {
	Key         string `json:"key"`
	Title       string `json:"title"`
	Category    string `json:"category"`
	Description string `json:"description"`
	// Events are patterns of the types it supports; ["*"] when it takes every type.
	Events   Patterns        `json:"events"`
	Settings []Setting       `json:"settings"`
	Schema   json.RawMessage `json:"schema"`
	Supports []string        `json:"supports"`
	// Kinds are the kinds of scopes that its links are meant for, such as "team"; none is every scope.
	Kinds []string `json:"kinds"`
}

// Patterns is a list of patterns that the API spells "*" when it is everything.
type Patterns []patchbay.Pattern

// UnmarshalJSON reads a list, or one pattern.
func (p *Patterns) UnmarshalJSON(b []byte) error {
	var one patchbay.Pattern
	if json.Unmarshal(b, &one) == nil && one != "" {
		*p = Patterns{one}
		return nil
	}
	return json.Unmarshal(b, (*[]patchbay.Pattern)(p))
}

// Setting describes a setting of an integration.
type Setting struct {
	Key      string `json:"key"`
	Title    string `json:"title"`
	Required bool   `json:"required"`
	Type     string `json:"type"`
	Secret   bool   `json:"secret"`
	// UnlessConnected says that a link over a connection does without it, Dynamic that Choices knows the values.
	UnlessConnected bool      `json:"unless_connected"`
	Dynamic         bool      `json:"dynamic"`
	Default         any       `json:"default"`
	Help            string    `json:"help"`
	Example         string    `json:"example"`
	Options         []Option  `json:"options"`
	Fields          []Setting `json:"fields"`
}

// Option is one choice of a setting.
type Option struct {
	Value string `json:"value"`
	Title string `json:"title"`
}

// Integrations lists the integrations.
func (c *Client) Integrations(ctx context.Context, p Paging) (*Page[Integration], error) {
	return call[Page[Integration]](ctx, c, http.MethodGet, "/v1/integrations", p.query(), nil)
}

// Integration returns one integration.
func (c *Client) Integration(ctx context.Context, key string) (*Integration, error) {
	return call[Integration](ctx, c, http.MethodGet, "/v1/integrations/"+url.PathEscape(key), nil, nil)
}

// LinkDraft is what there is of a link before it is saved.
type LinkDraft struct {
	Settings   json.RawMessage       `json:"settings,omitempty"`
	Connection patchbay.ConnectionID `json:"connection,omitzero"`
	// Scope is, when it is nil, that of Link or of Connection, or else the caller's own.
	Scope *patchbay.Scope `json:"scope,omitempty"`
	// Link is the stored link that is being changed: masks in Settings stand for its values.
	Link patchbay.LinkID `json:"link,omitzero"`
}

// TestIntegration tries settings out before there is a link. An attempt that failed is an answer, not an error.
func (c *Client) TestIntegration(ctx context.Context, key string, d LinkDraft) (*TestResult, error) {
	return call[TestResult](ctx, c, http.MethodPost, "/v1/integrations/"+url.PathEscape(key)+"/test", nil, d)
}

// Choice is one value of a setting.
type Choice struct {
	Value string `json:"value"`
	Title string `json:"title"`
	// Help is a few more words, such as "private".
	Help string `json:"help"`
}

// Choices asks an integration's partner for the values of a setting that is Dynamic. search is what a person has typed.
func (c *Client) Choices(ctx context.Context, key, setting, search string, d LinkDraft) ([]Choice, error) {
	q := url.Values{}
	set(q, "search", search)
	set(q, "settings", string(d.Settings))
	if d.Connection != 0 {
		q.Set("connection", d.Connection.String())
	}
	if d.Scope != nil {
		q.Set("scope", string(*d.Scope))
	}
	if d.Link != 0 {
		q.Set("link", d.Link.String())
	}
	path := "/v1/integrations/" + url.PathEscape(key) + "/choices/" + url.PathEscape(setting)
	found, err := call[Page[Choice]](ctx, c, http.MethodGet, path, q, nil)
	if err != nil {
		return nil, err
	}
	return found.Data, nil
}
