package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/patchbay/patchbay"
)

// Link is a link as the API shows it: secrets are masked.
type Link struct {
	patchbay.Link
	HookURL    string `json:"hook_url"`
	ShortName  string `json:"short_name"`
	Summary    string `json:"summary"`
	DeletePath string `json:"delete_path"`
	// InheritedFrom is, in lists of what is in effect, the scope further up that the link comes from; nil for a scope's own.
	InheritedFrom *patchbay.Scope `json:"inherited_from"`
	// Overridden says that another link has taken its place in its slot.
	Overridden bool `json:"overridden"`
	// Health is what its lane looks like at the moment.
	Health *Health `json:"health"`
	// Secrets holds what was made for the link, in the answer that made it only.
	Secrets map[string]string `json:"secrets"`
	// ETag identifies this revision for UpdateLink.
	ETag string `json:"-"`
}

// Health is what a link's lane looks like at the moment.
type Health struct {
	// Breaker is "closed", "open" or "probing".
	Breaker string `json:"breaker"`
	// Failures counts failed attempts in a row, FailingSince is when the first was.
	Failures        int       `json:"failures"`
	FailingSince    time.Time `json:"failing_since"`
	LastError       string    `json:"last_error"`
	InFlight        int       `json:"in_flight"`
	Waiting         int       `json:"waiting"`
	FilterErrors    int64     `json:"filter_errors"`
	LastFilterError string    `json:"last_filter_error"`
	OrderErrors     int64     `json:"order_errors"`
	LastOrderError  string    `json:"last_order_error"`
}

// LinkInput is a link to be made, or the change of one: then nil fields keep their values.
type LinkInput struct {
	Integration *string               `json:"integration,omitempty"`
	Scope       *patchbay.Scope       `json:"scope,omitempty"`
	Reach       *patchbay.Reach       `json:"reach,omitempty"`
	Events      []patchbay.Pattern    `json:"events,omitzero"`
	Filter      *string               `json:"filter,omitempty"`
	Body        *string               `json:"body,omitempty"`
	Settings    json.RawMessage       `json:"settings,omitempty"`
	Slot        *string               `json:"slot,omitempty"`
	Connection  *string               `json:"connection,omitempty"` // "" takes it away
	Enabled     *bool                 `json:"enabled,omitempty"`
	Visible     *bool                 `json:"visible,omitempty"`
	Name        *string               `json:"name,omitempty"`
	Retry       *patchbay.RetryPolicy `json:"retry,omitempty"`
	Concurrency *int                  `json:"concurrency,omitempty"`
	Rate        *float64              `json:"rate,omitempty"`
	Order       *patchbay.OrderPolicy `json:"order,omitempty"`
}

// LinkFilter selects links.
type LinkFilter struct {
	// Scope selects what lies at or below it; nil selects everything.
	Scope *patchbay.Scope
	// Effective selects the links that an event of Scope could match, inherited ones included.
	Effective bool
	// Overridden, with Effective, has inherited links that another one takes the place of marked rather than left out.
	Overridden  bool
	Integration string
	Paging
}

// Links lists links, oldest first.
func (c *Client) Links(ctx context.Context, f LinkFilter) (*Page[Link], error) {
	q := f.query()
	if f.Scope != nil {
		q.Set("scope", string(*f.Scope))
	}
	if f.Effective {
		q.Set("effective", "true")
	}
	if f.Overridden {
		q.Set("overridden", "true")
	}
	set(q, "integration", f.Integration)
	return call[Page[Link]](ctx, c, http.MethodGet, "/v1/links", q, nil)
}

func (c *Client) link(ctx context.Context, r request) (*Link, error) {
	out := new(Link)
	header, err := c.do(ctx, r, out)
	if err != nil {
		return nil, err
	}
	out.ETag = header.Get("ETag")
	return out, nil
}

// Link returns a link.
func (c *Client) Link(ctx context.Context, id patchbay.LinkID) (*Link, error) {
	return c.link(ctx, request{method: http.MethodGet, path: linkPath(id)})
}

// CreateLink makes a link. Secrets that were made for it are in the answer, and never shown again.
func (c *Client) CreateLink(ctx context.Context, in *LinkInput) (*Link, error) {
	return c.link(ctx, request{method: http.MethodPost, path: "/v1/links", body: in})
}

// UpdateLink changes a link. With an etag it is refused with patchbay.CodeConflict when the link has changed since.
func (c *Client) UpdateLink(ctx context.Context, id patchbay.LinkID, in *LinkInput, etag string) (*Link, error) {
	r := request{method: http.MethodPatch, path: linkPath(id), body: in}
	if etag != "" {
		r.header = http.Header{"If-Match": {etag}}
	}
	return c.link(ctx, r)
}

// DeleteLink removes a link.
func (c *Client) DeleteLink(ctx context.Context, id patchbay.LinkID) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: linkPath(id)}, nil)
	return err
}

// PauseLink makes a link hold what matches.
func (c *Client) PauseLink(ctx context.Context, id patchbay.LinkID) (*Link, error) {
	return c.link(ctx, request{method: http.MethodPost, path: linkPath(id) + "/pause"})
}

// ResumeLink delivers what a link held, and enables a link that was disabled.
func (c *Client) ResumeLink(ctx context.Context, id patchbay.LinkID) (*Link, error) {
	return c.link(ctx, request{method: http.MethodPost, path: linkPath(id) + "/resume"})
}

// SkipLink is ResumeLink without what the link held: that is cancelled, and a job that recovers can bring it back.
func (c *Client) SkipLink(ctx context.Context, id patchbay.LinkID) (*Link, error) {
	return c.link(ctx, request{method: http.MethodPost, path: linkPath(id) + "/resume", body: map[string]bool{"skip": true}})
}

// RotateSecret gives a link a new signing secret, which is in the answer; the old one signs too for a while.
func (c *Client) RotateSecret(ctx context.Context, id patchbay.LinkID) (*Link, error) {
	return c.link(ctx, request{method: http.MethodPost, path: linkPath(id) + "/secret/rotate"})
}

// TestResult is what came of a test.
type TestResult struct {
	// Status is "sent" or "failed".
	Status string        `json:"status"`
	Error  string        `json:"error"`
	Type   patchbay.Code `json:"type"`
	// ResponseCode and ResponseBody are what the partner answered.
	ResponseCode int    `json:"response_code"`
	ResponseBody string `json:"response_body"`
	DurationMS   int64  `json:"duration_ms"`
}

// TestLink makes one attempt over a link. An attempt that failed is an answer, not an error.
func (c *Client) TestLink(ctx context.Context, id patchbay.LinkID) (*TestResult, error) {
	return call[TestResult](ctx, c, http.MethodPost, linkPath(id)+"/test", nil, nil)
}

func linkPath(id patchbay.LinkID) string { return "/v1/links/" + url.PathEscape(id.String()) }
