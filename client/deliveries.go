package client

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
)

// Delivery is a delivery as the API shows it.
type Delivery struct {
	patchbay.Delivery
	// Reason says why it ended without an attempt. It and Attempts are there when one delivery is looked at.
	Reason   string    `json:"reason"`
	Attempts []Attempt `json:"attempts"`
}

// Attempt is an attempt as the API shows it.
type Attempt struct {
	At           time.Time        `json:"at"`
	DurationMS   int64            `json:"duration_ms"`
	Verdict      patchbay.Verdict `json:"verdict"`
	ErrorType    patchbay.Code    `json:"error_type"`
	Error        string           `json:"error"`
	ResponseCode int              `json:"response_code"`
	Request      *Request         `json:"request"`
	ResponseBody string           `json:"response_body"`
}

// DeliveryFilter selects deliveries. Zero fields select everything.
type DeliveryFilter struct {
	States      []patchbay.DeliveryState
	Link        patchbay.LinkID
	Event       patchbay.EventID
	Integration string
	// Scope selects deliveries of events at or below it.
	Scope patchbay.Scope
	Since time.Time
	Paging
}

// Deliveries lists deliveries, newest first.
func (c *Client) Deliveries(ctx context.Context, f DeliveryFilter) (*Page[Delivery], error) {
	q := f.query()
	states := make([]string, len(f.States))
	for i, s := range f.States {
		states[i] = string(s)
	}
	set(q, "state", strings.Join(states, ","))
	set(q, "link", f.Link.String())
	set(q, "event", f.Event.String())
	set(q, "integration", f.Integration)
	set(q, "scope", string(f.Scope))
	setTime(q, "since", f.Since)
	return call[Page[Delivery]](ctx, c, http.MethodGet, "/v1/deliveries", q, nil)
}

// Delivery returns a delivery with its attempts.
func (c *Client) Delivery(ctx context.Context, id patchbay.DeliveryID) (*Delivery, error) {
	return call[Delivery](ctx, c, http.MethodGet, "/v1/deliveries/"+id.String(), nil, nil)
}

// RetryDelivery makes a delivery due at once, also one that had failed or was cancelled.
func (c *Client) RetryDelivery(ctx context.Context, id patchbay.DeliveryID) (*Delivery, error) {
	return call[Delivery](ctx, c, http.MethodPost, "/v1/deliveries/"+id.String()+"/retry", nil, nil)
}

// CancelDelivery ends a delivery that waits.
func (c *Client) CancelDelivery(ctx context.Context, id patchbay.DeliveryID) (*Delivery, error) {
	return call[Delivery](ctx, c, http.MethodPost, "/v1/deliveries/"+id.String()+"/cancel", nil, nil)
}
