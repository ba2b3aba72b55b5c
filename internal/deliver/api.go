package deliver

import (
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
)

// View is a delivery as the API shows it.
type View struct {
	ID            patchbay.DeliveryID    `json:"id"`
	Event         patchbay.EventID       `json:"event"`
	EventType     string                 `json:"event_type"`
	Scope         patchbay.Scope         `json:"scope"`
	Link          *patchbay.LinkID       `json:"link"`
	Integration   string                 `json:"integration"`
	State         patchbay.DeliveryState `json:"state"`
	AttemptCount  int                    `json:"attempt_count"`
	NextAttemptAt *time.Time             `json:"next_attempt_at"`
	// Reason says why the delivery ended without an attempt; absent in lists.
	Reason string `json:"reason,omitempty"`
	// Attempts is absent in lists, and [] where there has been none.
	Attempts []AttemptView `json:"attempts,omitzero"`
}

// AttemptView is an attempt as the API shows it.
type AttemptView struct {
	At           time.Time        `json:"at"`
	DurationMS   int64            `json:"duration_ms"`
	Verdict      patchbay.Verdict `json:"verdict"`
	ErrorType    *patchbay.Code   `json:"error_type"`
	Error        *string          `json:"error"`
	ResponseCode *int             `json:"response_code"`
	Request      *RequestView     `json:"request"`
	ResponseBody *string          `json:"response_body"`
}

// RequestView is what an attempt sent.
type RequestView struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	// Body is rendered again from the event and the link as it was, when one delivery is looked at; BodyNote says so.
	Body     *string         `json:"body,omitempty"`
	BodyJSON json.RawMessage `json:"body_json,omitempty"`
	BodyNote string          `json:"body_note,omitempty"`
}

// Query selects deliveries for a list.
type Query struct {
	States []patchbay.DeliveryState
	Link   patchbay.LinkID
	// Links selects deliveries over one of them, Types those of events of one of these types; nil means any.
	Links       []patchbay.LinkID
	Types       []string
	Event       patchbay.EventID
	Integration string
	// Scope selects deliveries of events at or below it.
	Scope patchbay.Scope
	Since time.Time
	// Before is the decoded cursor.
	Before patchbay.DeliveryID
	Limit  int
}
