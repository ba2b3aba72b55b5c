package patchbay

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// LinkState is the truth about a link.
type LinkState string

// The states of a link.
const (
	LinkActive LinkState = "active"
	// LinkPaused holds what matches and delivers it on resume.
	LinkPaused LinkState = "paused"
	// LinkDisabled matches nothing; what it missed can be recovered.
	LinkDisabled LinkState = "disabled"
	// LinkAttaching and LinkDetaching last while a partner's side is set up or taken down.
	LinkAttaching LinkState = "attaching"
	LinkDetaching LinkState = "detaching"
)

// The limits of a link.
const (
	MaxLinkName         = 200
	MaxSlotLength       = 128
	MaxFilterLength     = 8 << 10
	MaxConcurrency      = 256
	MaxRetries          = 50
	MaxSettingsBytes    = 64 << 10
	DefaultConcurrency  = 16
	DefaultHoldTime     = 7 * 24 * time.Hour
	DefaultHoldCount    = 1_000_000
	DefaultDisableAfter = 5 * 24 * time.Hour
)

// Link is "these events, in this scope, go to that integration with these settings". It is the stored form:
// Settings hold secrets. What the API shows is made from it by masking them.
type Link struct {
	ID          LinkID    `json:"id"`
	Integration string    `json:"integration"`
	Scope       Scope     `json:"scope"`
	Reach       Reach     `json:"reach"`
	Events      []Pattern `json:"events"`
	// Filter is a CEL expression over type, scope, payload, actor and source; "" always matches.
	Filter string `json:"filter,omitempty"`
	// Body is a CEL expression whose value replaces the request's body; "" leaves it to the integration.
	Body string `json:"body,omitempty"`
	// Settings is a JSON object.
	Settings   json.RawMessage `json:"settings"`
	Slot       string          `json:"slot,omitempty"`
	Connection ConnectionID    `json:"connection,omitzero"`
	Enabled    bool            `json:"enabled"`
	// State is LinkActive or LinkPaused while Enabled, or one of the two of setting up and taking down.
	State       LinkState `json:"state"`
	StateReason string    `json:"state_reason,omitempty"`
	Visible     bool      `json:"visible,omitempty"`
	Name        string    `json:"name,omitempty"`
	// Retry, Concurrency (0: DefaultConcurrency) and Rate (per second; 0: none) shape the link's lane.
	Retry       *RetryPolicy `json:"retry,omitempty"`
	Concurrency int          `json:"concurrency,omitempty"`
	Rate        float64      `json:"rate,omitempty"`
	// Order, when not nil, keeps the link's deliveries in the order in which their events were accepted.
	Order *OrderPolicy `json:"order,omitempty"`
	// Previous is the secret that a rotation replaced, and until when it signs too.
	Previous *PreviousSecret `json:"previous,omitempty"`
	// Hook is where and how the partner calls in; nil for links of integrations that receive nothing.
	Hook *LinkHook `json:"hook,omitempty"`
	// Attached is what was set up at the partner; nil when nothing was.
	Attached *Attached `json:"attached,omitempty"`
	// OptOut says that the link is only there to keep what is in its slot further up from its scope. It is not Enabled
	// and has no settings.
	OptOut    bool      `json:"opt_out,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// Revision counts changes from 1. Deliveries remember the revision that matched them.
	Revision int `json:"revision"`
}

// OrderPolicy keeps deliveries of a link in order: one is sent when the one before it has ended.
type OrderPolicy struct {
	// Key is a CEL expression over type, scope, payload, actor and source: order holds among events for which it has the
	// same value. "" is one order for the whole link.
	Key string `json:"key,omitempty" example:"payload.repo.id"`
	// OnFailure says what a delivery that failed and will be tried again means for those behind it; "" is OnFailureBlock.
	OnFailure OnFailure `json:"on_failure,omitempty" enum:"block,skip"`
	// LongestBlock is for how long a delivery may keep those behind it waiting, from its first attempt on, before they go
	// on without it; 0: until it has ended.
	LongestBlock Duration `json:"longest_block,omitempty"`
}

// OnFailure says what a failure in an order means for what is behind it.
type OnFailure string

// The values of OnFailure.
const (
	// OnFailureBlock lets those behind wait until the delivery has ended, well or not.
	OnFailureBlock OnFailure = "block"
	// OnFailureSkip lets those behind go on; the one that failed is tried again out of order.
	OnFailureSkip OnFailure = "skip"
)

// PreviousSecret is a signing secret in the time in which it and its successor are both valid.
type PreviousSecret struct {
	Setting string    `json:"setting"`
	Value   Secret    `json:"-"`
	Until   time.Time `json:"until"`
}

// LinkHook is the way in of a link. Stores keep it sealed.
type LinkHook struct {
	// Token ends the address that is the link's own: 160 random bits.
	Token Secret `json:"-"`
	// Secret signs what the partner sends; "" when the integration or the partner has none for each link.
	Secret Secret `json:"-"`
	// Previous signs too, until Until.
	Previous Secret    `json:"-"`
	Until    time.Time `json:"until,omitzero"`
}

// Attached is what an integration set up at a partner for a link. Stores keep State sealed.
type Attached struct {
	// State is the integration's own: the partner's identifiers of what it must renew and take down.
	State json.RawMessage `json:"-"`
	// Base is the public address of the installation that the partner was given, without what belongs to the link.
	Base string `json:"base,omitempty"`
	// Stale says that the link was changed since, so that the partner's side is to be brought up to date.
	Stale bool `json:"stale,omitempty"`
	// RenewAt is when it must be set up anew; zero when it does not end.
	RenewAt time.Time `json:"renew_at,omitzero"`
	At      time.Time `json:"at"`
}

// RetryPolicy overrides when a link's deliveries are tried again.
type RetryPolicy struct {
	// Schedule holds the pause before each retry; it means DefaultSchedule when it is nil, and never when it is [].
	Schedule []Duration `json:"schedule,omitzero"`
	// MaxAge fails a delivery this long after its event was accepted, whatever is left of the schedule; 0: none.
	MaxAge Duration `json:"max_age,omitempty"`
}

// DefaultSchedule is how long a delivery pauses before each retry, before jitter.
func DefaultSchedule() []Duration {
	const h = time.Hour
	return []Duration{
		Duration(5 * time.Second), Duration(30 * time.Second), Duration(5 * time.Minute), Duration(30 * time.Minute),
		Duration(2 * h), Duration(5 * h), Duration(10 * h), Duration(14 * h), Duration(20 * h), Duration(24 * h),
	}
}

// Duration is a time.Duration whose JSON is text such as "1h30m". A JSON number is read as seconds.
type Duration time.Duration

// MarshalJSON writes the shortest text, "5m" rather than "5m0s".
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// String returns the shortest text.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// UnmarshalJSON reads text or seconds.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err == nil {
		ns := math.Round(seconds * float64(time.Second))
		if math.Abs(ns) >= math.MaxInt64 { // as a float64 that is one more than fits
			return fmt.Errorf("%s seconds are too many", clip(string(b)))
		}
		*d = Duration(ns)
		return nil
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf(`a duration is text such as "30s" or "2h", or a number of seconds`)
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf(`%q is not a duration: write text such as "30s" or "2h", or a number of seconds`, clip(text))
	}
	*d = Duration(parsed)
	return nil
}
