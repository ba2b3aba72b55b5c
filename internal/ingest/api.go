// Package ingest takes events in: it authenticates nothing itself, but checks what came against the catalog, finds
// the links that match, commits the event with its deliveries and hands those to the engine. Its Service is the one
// way in for the API, for hooks, for brokers and for Patchbay's own events.
package ingest

import (
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/deliver"
)

// Answer is the answer to an accepted (or refused) event, ready to be written.
type Answer struct {
	// Status is the HTTP status: 201, or 400 for an inline call that failed.
	Status int
	// Body is JSON.
	Body []byte
	// Replayed says that a remembered key answered; the HTTP layer sets Idempotent-Replayed.
	Replayed bool
}

// Result is what came of one integration of an inline call.
type Result struct {
	Key    string `json:"key"`
	Status string `json:"status"` // sent, skipped, failed
	// Delivery identifies what is kept of it.
	Delivery patchbay.DeliveryID `json:"delivery,omitzero"`
	Error    string              `json:"error,omitempty"`
	Type     patchbay.Code       `json:"type,omitempty"`
	// ResponseCode and ResponseBody are what the partner answered when it refused.
	ResponseCode int    `json:"failed_response_code,omitempty"`
	ResponseBody string `json:"failed_response_body,omitempty"`
}

// DryRun is the answer to POST /v1/events?dry_run=true.
type DryRun struct {
	Event patchbay.Event `json:"event"`
	// Message is how the event reads to a person.
	Message *patchbay.Message `json:"message,omitempty"`
	// Deliveries counts the links that matched.
	Deliveries int          `json:"deliveries"`
	Links      []DryRunLink `json:"links"`
}

// DryRunLink says of one link whether it matches and why, and what it would send.
type DryRunLink struct {
	Link        patchbay.LinkID `json:"link"`
	Integration string          `json:"integration"`
	Scope       patchbay.Scope  `json:"scope"`
	Matched     bool            `json:"matched"`
	// Held says that the delivery would wait, because the link is paused.
	Held   bool   `json:"held,omitempty"`
	Reason string `json:"reason"`
	// Request is what would be sent first, with everything secret masked.
	Request *DryRunRequest `json:"request,omitempty"`
	Error   string         `json:"error,omitempty"`
}

// DryRunRequest is a request that was not sent.
type DryRunRequest struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	// Body is the request's body as text, BodyJSON the same when it is JSON.
	Body     string          `json:"body"`
	BodyJSON json.RawMessage `json:"body_json,omitempty"`
}

// EventQuery selects events for a list.
type EventQuery struct {
	// Type is a key, an alias or a pattern; "" is every type.
	Type string
	// Scope selects events at or below it.
	Scope        patchbay.Scope
	Since, Until time.Time
	// Before is the decoded cursor.
	Before patchbay.EventID
	Limit  int
}

// EventView is one event with its deliveries.
type EventView struct {
	patchbay.Event
	// Message is how the event reads to a person.
	Message    *patchbay.Message `json:"message,omitempty"`
	Deliveries []deliver.View    `json:"deliveries"`
}
