package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/patchbay/patchbay"
)

// NewEvent is an event to be published.
type NewEvent struct {
	Type string `json:"event_type"`
	// Scope is where it happened; nil leaves it to the event type's scope_from, or the whole installation.
	Scope *patchbay.Scope  `json:"scope,omitempty"`
	Also  []patchbay.Scope `json:"also,omitempty"`
	// Payload is a JSON object; its bytes reach the receivers as they are.
	Payload json.RawMessage `json:"payload"`
	// ID is the caller's own id of the event; the same one again is answered the same and sends nothing twice.
	ID         string          `json:"id,omitempty"`
	OccurredAt time.Time       `json:"occurred_at,omitzero"`
	Actor      json.RawMessage `json:"actor,omitempty"`
	// Integrations, when not nil, makes the call an inline one: each is tried once before the answer, and links are
	// not consulted.
	Integrations *[]Inline `json:"integrations,omitempty"`
}

// Inline is an integration of an inline call.
type Inline struct {
	Key      string          `json:"key"`
	Settings json.RawMessage `json:"settings"`
}

// Published is the answer to an event.
type Published struct {
	Status string `json:"status"`
	// ID and Deliveries are of a routed event.
	ID         patchbay.EventID `json:"id"`
	Deliveries int              `json:"deliveries"`
	// Results are of an inline call.
	Results []Result `json:"results"`
	// Replayed says that the event was accepted before, and this is the answer of then.
	Replayed bool `json:"-"`
}

// Result is what came of one integration of an inline call.
type Result struct {
	Key string `json:"key"`
	// Status is "sent", "skipped" or "failed".
	Status       string              `json:"status"`
	Delivery     patchbay.DeliveryID `json:"delivery"`
	Error        string              `json:"error"`
	Type         patchbay.Code       `json:"type"`
	ResponseCode int                 `json:"failed_response_code"`
	ResponseBody string              `json:"failed_response_body"`
}

// Publish says what happened. When it returns without an error the event is durable.
func (c *Client) Publish(ctx context.Context, e *NewEvent) (*Published, error) {
	out := new(Published)
	header, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/events", body: e}, out)
	if err != nil {
		return nil, err
	}
	out.Replayed = header.Get("Idempotent-Replayed") == "true"
	return out, nil
}

// DryRun is what an event would do.
type DryRun struct {
	Event patchbay.Event `json:"event"`
	// Message is how the event reads to a person.
	Message *patchbay.Message `json:"message"`
	// Deliveries counts the links that match.
	Deliveries int          `json:"deliveries"`
	Links      []DryRunLink `json:"links"`
}

// DryRunLink says whether a link matches and why, and what it would send.
type DryRunLink struct {
	Link        patchbay.LinkID `json:"link"`
	Integration string          `json:"integration"`
	Scope       patchbay.Scope  `json:"scope"`
	Matched     bool            `json:"matched"`
	Held        bool            `json:"held"`
	Reason      string          `json:"reason"`
	Request     *Request        `json:"request"`
	Error       string          `json:"error"`
}

// Request is a request to a partner, everything secret masked.
type Request struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	// BodyNote says how Body came to be, when it was rendered again.
	BodyNote string `json:"body_note"`
}

// DryRun asks what an event would do. Nothing is stored or sent.
func (c *Client) DryRun(ctx context.Context, e *NewEvent) (*DryRun, error) {
	return call[DryRun](ctx, c, http.MethodPost, "/v1/events", url.Values{"dry_run": {"true"}}, e)
}

// EventFilter selects events. Zero fields select everything.
type EventFilter struct {
	// Type is a key, an alias or a pattern.
	Type string
	// Scope selects what lies at or below it.
	Scope        patchbay.Scope
	Since, Until time.Time
	Paging
}

// Event is a kept event. Message and Deliveries are there when one is looked at.
type Event struct {
	patchbay.Event
	Message    *patchbay.Message `json:"message"`
	Deliveries []Delivery        `json:"deliveries"`
}

// Events lists events, newest first.
func (c *Client) Events(ctx context.Context, f EventFilter) (*Page[Event], error) {
	q := f.query()
	set(q, "type", f.Type)
	set(q, "scope", string(f.Scope))
	setTime(q, "since", f.Since)
	setTime(q, "until", f.Until)
	return call[Page[Event]](ctx, c, http.MethodGet, "/v1/events", q, nil)
}

// Event returns an event with its deliveries.
func (c *Client) Event(ctx context.Context, id patchbay.EventID) (*Event, error) {
	return call[Event](ctx, c, http.MethodGet, "/v1/events/"+id.String(), nil, nil)
}

// Replay plays an event again, over the links that match it now. It returns the replay.
func (c *Client) Replay(ctx context.Context, id patchbay.EventID) (*Event, error) {
	return call[Event](ctx, c, http.MethodPost, "/v1/events/"+id.String()+"/replay", nil, nil)
}
