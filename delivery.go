package patchbay

import (
	"encoding/json"
	"time"
)

// DeliveryState is where a delivery stands.
type DeliveryState string

// The states of a delivery.
const (
	// DeliveryPending waits for its first attempt or for a retry, or is being sent.
	DeliveryPending DeliveryState = "pending"
	// DeliveryHeld waits for its link to be resumed.
	DeliveryHeld DeliveryState = "held"
	// DeliverySucceeded, DeliveryFailed, DeliveryCancelled and DeliverySkipped are final; a retry by hand makes a
	// failed or cancelled one pending again.
	DeliverySucceeded DeliveryState = "succeeded"
	DeliveryFailed    DeliveryState = "failed"
	DeliveryCancelled DeliveryState = "cancelled"
	DeliverySkipped   DeliveryState = "skipped"
)

// Valid reports whether s is one of the six states.
func (s DeliveryState) Valid() bool {
	switch s {
	case DeliveryPending, DeliveryHeld, DeliverySucceeded, DeliveryFailed, DeliveryCancelled, DeliverySkipped:
		return true
	}
	return false
}

// Final reports whether nothing more happens by itself in this state.
func (s DeliveryState) Final() bool { return s != DeliveryPending && s != DeliveryHeld }

// Verdict is what an integration says of one attempt. The engine alone decides what follows.
type Verdict string

// The verdicts.
const (
	// VerdictDelivered means that the partner has it.
	VerdictDelivered Verdict = "delivered"
	// VerdictRetry means that it may work later.
	VerdictRetry Verdict = "retry"
	// VerdictRejected means that trying again will not help.
	VerdictRejected Verdict = "rejected"
	// VerdictAuthExpired means that the connection's token is no longer valid and may be refreshed.
	VerdictAuthExpired Verdict = "auth_expired"
)

// The sizes up to which an attempt keeps what was sent and answered.
const (
	MaxResponseBodyKept = 8 << 10
	MaxErrorKept        = 1 << 10
)

// Delivery is one event on its way over one link, or to one integration of an inline call (then Link is zero).
type Delivery struct {
	ID            DeliveryID    `json:"id"`
	Event         EventID       `json:"event"`
	EventType     string        `json:"event_type"`
	Scope         Scope         `json:"scope"`
	Link          LinkID        `json:"link"`
	Integration   string        `json:"integration"`
	State         DeliveryState `json:"state"`
	AttemptCount  int           `json:"attempt_count"`
	NextAttemptAt *time.Time    `json:"next_attempt_at"`
	Attempts      []Attempt     `json:"attempts,omitempty"`
	// Used is how much of the retry schedule it has used up, while it has a place in the queue.
	Used int `json:"-"`
	// Revision is the link's revision that matched the event.
	Revision int `json:"-"`
}

// Attempt is one try at a delivery. It holds no secret.
type Attempt struct {
	At         time.Time `json:"at"`
	DurationMS int64     `json:"duration_ms"`
	Verdict    Verdict   `json:"verdict"`
	// ErrorType and Error are empty for VerdictDelivered.
	ErrorType Code   `json:"error_type,omitempty"`
	Error     string `json:"error,omitempty"`
	// ResponseCode is the HTTP status, or the reply code of SMTP; 0 when there was no answer.
	ResponseCode int      `json:"response_code,omitempty"`
	Request      *Request `json:"request,omitempty"`
	// ResponseBody is cut at MaxResponseBodyKept.
	ResponseBody string `json:"response_body,omitempty"`
}

// Request is what an attempt sent, without its body: that is rendered again when somebody looks at it.
type Request struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"`
	// Body is present in dry runs and where a delivery is looked at.
	Body json.RawMessage `json:"-"`
}
