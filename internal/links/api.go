// Package links looks after links: it checks what is to be saved against the integration's settings, stores it, and
// keeps every current link compiled (patterns, filter, decoded settings) in memory for routing and delivery. A change
// holds on this node from the moment in which the call that made it returns.
package links

import (
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
)

// Input is a link as POST and PATCH of /v1/links send it. In a PATCH absent fields keep their values.
type Input struct {
	Integration *string               `json:"integration,omitempty" doc:"The integration's key. It cannot be changed later." example:"webhook"`
	Scope       *string               `json:"scope,omitempty" doc:"Where the link belongs." example:"acme/repos/1"`
	Reach       *string               `json:"reach,omitempty" enum:"subtree,children,exact" doc:"How far below its scope the link sees. Default: subtree."`
	Events      []string              `json:"events,omitempty" doc:"Patterns of event types; * stands for any run of characters."`
	Filter      *string               `json:"filter,omitempty" doc:"A CEL expression over type, scope, payload, actor and source." example:"payload.branch == 'main'"`
	Body        *string               `json:"body,omitempty" doc:"A CEL expression whose value replaces the body that is sent."`
	Settings    json.RawMessage       `json:"settings,omitempty" doc:"What the integration needs."`
	Slot        *string               `json:"slot,omitempty" doc:"Of links with the same integration and slot, only those at the deepest scope count."`
	Connection  *string               `json:"connection,omitempty" doc:"The connection to use."`
	Enabled     *bool                 `json:"enabled,omitempty" doc:"A disabled link matches nothing."`
	Visible     *bool                 `json:"visible,omitempty" doc:"Lets portals of lower scopes see the link's title."`
	Name        *string               `json:"name,omitempty" doc:"A name for people."`
	Retry       *patchbay.RetryPolicy `json:"retry,omitempty" doc:"Overrides when deliveries are tried again."`
	Concurrency *int                  `json:"concurrency,omitempty" minimum:"0" maximum:"256" doc:"How many deliveries at most are sent at the same time. Default: 16."`
	Rate        *float64              `json:"rate,omitempty" minimum:"0" doc:"How many attempts at most a second; 0 is no limit."`
	Order       *patchbay.OrderPolicy `json:"order,omitempty" doc:"Keeps deliveries in the order in which their events were accepted. null: no order."`
	// Base is, in a preview, the stored link whose values masks in the settings stand for.
	Base patchbay.LinkID `json:"-"`
}

// View is a link as the API shows it: secrets masked.
type View struct {
	ID          patchbay.LinkID        `json:"id"`
	Integration string                 `json:"integration"`
	Scope       patchbay.Scope         `json:"scope"`
	Reach       patchbay.Reach         `json:"reach"`
	Events      []patchbay.Pattern     `json:"events"`
	Filter      *string                `json:"filter"`
	Body        *string                `json:"body"`
	Settings    json.RawMessage        `json:"settings"`
	Slot        *string                `json:"slot"`
	Connection  *patchbay.ConnectionID `json:"connection"`
	Enabled     bool                   `json:"enabled"`
	State       patchbay.LinkState     `json:"state"`
	StateReason *string                `json:"state_reason"`
	Visible     bool                   `json:"visible"`
	HookURL     *string                `json:"hook_url"`
	Name        string                 `json:"name"`
	ShortName   string                 `json:"short_name"`
	Summary     string                 `json:"summary"`
	DeletePath  string                 `json:"delete_path"`
	Retry       *patchbay.RetryPolicy  `json:"retry"`
	Concurrency int                    `json:"concurrency"`
	Rate        float64                `json:"rate"`
	Order       *patchbay.OrderPolicy  `json:"order"`
	// Health is what the link's lane looks like at the moment.
	Health    *Health   `json:"health,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// Secrets holds what was made for this link, in the answer that made it only.
	Secrets map[string]string `json:"secrets,omitempty"`
	// Condition is how the link is, in one word.
	Condition Condition `json:"-"`
	// Revision makes the ETag.
	Revision int `json:"-"`
	// InheritedFrom is, in lists of what is in effect in a scope, the scope further up that a link comes from; null for the
	// scope's own links.
	InheritedFrom *patchbay.Scope `json:"inherited_from"`
	// Overridden says that another link has taken its place in its slot.
	Overridden bool `json:"overridden,omitempty"`
	// OptOut says that the link only keeps what is in its slot further up from its scope.
	OptOut bool `json:"opt_out,omitempty"`
}

// Health is what a link's lane looks like at the moment.
type Health struct {
	// Breaker is "closed", "open" or "probing".
	Breaker string `json:"breaker"`
	// Failures counts failed attempts in a row, FailingSince is when the first was.
	Failures     int        `json:"failures"`
	FailingSince *time.Time `json:"failing_since,omitempty"`
	// LastError is what the last failed attempt said, while the link fails; it is forgotten when the node stops.
	LastError string `json:"last_error,omitempty"`
	InFlight  int    `json:"in_flight"`
	Waiting   int    `json:"waiting"`
	// FilterErrors counts events on which the filter could not be evaluated since the node started.
	FilterErrors    int64  `json:"filter_errors,omitempty"`
	LastFilterError string `json:"last_filter_error,omitempty"`
	// OrderErrors counts events on which the order's key could not be evaluated since the node started.
	OrderErrors    int64  `json:"order_errors,omitempty"`
	LastOrderError string `json:"last_order_error,omitempty"`
}

// ListFilter selects links.
type ListFilter struct {
	Scope *patchbay.Scope
	// Effective lists the links that an event of Scope could match (inherited ones included) rather than those at or
	// below it. Of inherited ones a caller who does not see their scope gets those that are visible, and their titles only.
	Effective bool
	// Overridden has inherited links that another one takes the place of marked rather than left out.
	Overridden  bool
	Integration string
	// Own leaves out what lies below Scope, Below what lies in it. Search has words that all stand in a link's name, summary, scope, integration
	// or identifier. They, and Condition, are not for Effective.
	Own       bool
	Below     bool
	Search    string
	Condition Condition
	After     patchbay.LinkID
	Limit     int
}

// TestResult is what came of a test.
type TestResult struct {
	// Status is "sent" or "failed".
	Status string        `json:"status" enum:"sent,failed"`
	Error  string        `json:"error,omitempty"`
	Type   patchbay.Code `json:"type,omitempty"`
	// ResponseCode and ResponseBody are what the partner answered.
	ResponseCode int    `json:"response_code,omitempty"`
	ResponseBody string `json:"response_body,omitempty"`
	DurationMS   int64  `json:"duration_ms"`
}
