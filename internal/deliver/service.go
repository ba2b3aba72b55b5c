package deliver

import (
	"context"
	"errors"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// Service is what callers can do with deliveries: look at them, try one again, cancel one.
type Service struct {
	e *Engine
	// revision returns a link as it was, ready to send, for rendering a body again.
	revision func(ctx context.Context, id patchbay.LinkID, revision int) (*Link, error)
}

// NewService returns the Service of an engine.
func NewService(e *Engine, revision func(context.Context, patchbay.LinkID, int) (*Link, error)) *Service {
	return &Service{e: e, revision: revision}
}

// List returns deliveries, newest first, and whether there are more.
func (s *Service) List(ctx context.Context, c *access.Caller, q Query) ([]View, bool, error) {
	found, more, err := s.list(ctx, c, q)
	if err != nil {
		return nil, false, err
	}
	views := make([]View, len(found))
	for i := range found {
		views[i] = s.view(&found[i])
	}
	return views, more, nil
}

func (s *Service) list(ctx context.Context, c *access.Caller, q Query) ([]patchbay.Delivery, bool, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, false, err
	}
	within := q.Scope
	if within == "" {
		within = c.Scope
	} else if err := c.Reach(within); err != nil {
		return nil, false, err
	}
	found, err := s.e.o.Store.Deliveries(ctx, store.DeliveryFilter{
		States: q.States, Link: q.Link, Links: q.Links, Event: q.Event, Types: q.Types, Integration: q.Integration, Within: within,
		Since: q.Since, Before: q.Before, Limit: q.Limit + 1, Held: s.e.holds,
	})
	if err != nil {
		return nil, false, patchbay.Internal("listing deliveries", err)
	}
	more := len(found) > q.Limit
	if more {
		found = found[:q.Limit]
	}
	return found, more, nil
}

// Get returns one delivery with its attempts, the last one's body rendered again.
func (s *Service) Get(ctx context.Context, c *access.Caller, id patchbay.DeliveryID) (*View, error) {
	d, err := s.find(ctx, c, access.Read, id)
	if err != nil {
		return nil, err
	}
	v := s.one(ctx, c, d)
	return &v, nil
}

// one is whole with the last attempt's body rendered again, and why it was cancelled.
func (s *Service) one(ctx context.Context, c *access.Caller, d *patchbay.Delivery) View {
	v := s.whole(ctx, c, d)
	if v.Reason == "" && v.State == patchbay.DeliveryCancelled {
		v.Reason = droppedReason // one write for everything that waited, so nothing is said of each
	}
	if s.sees(ctx, c, d) {
		s.renderAgain(ctx, d, &v)
	}
	return v
}

// OfEvent returns the deliveries, with their attempts, of an event that the caller may see.
func (s *Service) OfEvent(ctx context.Context, c *access.Caller, id patchbay.EventID) ([]View, error) {
	found, err := s.e.o.Store.OfEvent(ctx, id)
	if err != nil {
		return nil, err
	}
	views := make([]View, len(found))
	for i := range found {
		views[i] = s.whole(ctx, c, &found[i])
	}
	return views, nil
}

// whole is view with attempts, also when there has been none. Of a delivery over a link that the caller does not see
// it says what came of it, but not what was sent where and answered: that is of the link's owner.
func (s *Service) whole(ctx context.Context, c *access.Caller, d *patchbay.Delivery) View {
	v := s.view(d)
	if v.Attempts == nil {
		v.Attempts = []AttemptView{}
	}
	if len(v.Attempts) > 0 && !s.sees(ctx, c, d) {
		for i := range v.Attempts {
			a := &v.Attempts[i]
			a.Request, a.ResponseBody, a.Error = nil, nil, nil
		}
	}
	return v
}

// sees reports whether the caller sees the link of a delivery. A link that is gone is looked up as it was.
func (s *Service) sees(ctx context.Context, c *access.Caller, d *patchbay.Delivery) bool {
	if d.Link == 0 {
		return !c.Portal // an inline call is the host product's own, with settings of its own
	}
	if c.Scope == "" {
		return true
	}
	if scope, ok := s.e.Scope(d.Link); ok {
		return c.Sees(scope)
	}
	link, err := s.revision(ctx, d.Link, d.Revision)
	return err == nil && c.Sees(link.Scope)
}

// Retry makes a delivery due now: one that waits, or one that has ended, whose schedule then begins afresh.
func (s *Service) Retry(ctx context.Context, c *access.Caller, id patchbay.DeliveryID) (*View, error) {
	d, err := s.find(ctx, c, access.Manage, id)
	if err != nil {
		return nil, err
	}
	switch {
	case d.Link == 0:
		return nil, patchbay.Errorf(patchbay.CodeConflict, "this was an inline call, whose settings are not kept: send the event again instead")
	case d.State == patchbay.DeliverySkipped:
		return nil, patchbay.Errorf(patchbay.CodeConflict, "the integration does not support this event's type, so there is nothing to send")
	}
	if !s.sees(ctx, c, d) {
		return nil, errNotYours
	}
	if err := s.e.retry(access.Audited(ctx, c, byHand("delivery.retried", d)), d); err != nil {
		return nil, err
	}
	return s.Get(ctx, c, id)
}

// Cancel ends a delivery that waits. One whose attempt is under way is not tried again after it.
func (s *Service) Cancel(ctx context.Context, c *access.Caller, id patchbay.DeliveryID) (*View, error) {
	d, err := s.find(ctx, c, access.Manage, id)
	if err != nil {
		return nil, err
	}
	if !s.sees(ctx, c, d) {
		return nil, errNotYours
	}
	if d.State.Final() && d.State != patchbay.DeliveryCancelled {
		return nil, patchbay.Errorf(patchbay.CodeConflict, "the delivery has already ended: it is %s", d.State)
	}
	if d.State != patchbay.DeliveryCancelled {
		if err := s.e.cancelDelivery(access.Audited(ctx, c, byHand("delivery.cancelled", d)), d); err != nil {
			return nil, err
		}
	}
	return s.Get(ctx, c, id)
}

var errNotYours = &patchbay.Error{Code: patchbay.CodeForbidden, Message: "the delivery goes over a link above this key's scope, so it is for those who look after that link"}

// find returns a delivery that the caller may see. In a portal that is one over a link of its own: what goes over links
// above is not the customer's.
func (s *Service) find(ctx context.Context, c *access.Caller, p access.Permission, id patchbay.DeliveryID) (*patchbay.Delivery, error) {
	if err := c.Require(p); err != nil {
		return nil, err
	}
	d, err := s.e.o.Store.Delivery(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && (!c.Sees(d.Scope) || c.Portal && !s.sees(ctx, c, d)):
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no delivery %s", id)
	case err != nil:
		return nil, patchbay.Internal("reading a delivery", err)
	}
	if d.State == patchbay.DeliveryPending && s.e.holds(d.Link) {
		d.State = patchbay.DeliveryHeld
	}
	return d, nil
}

// Scope returns the scope of a link that can be used.
func (e *Engine) Scope(id patchbay.LinkID) (patchbay.Scope, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lanes[id]
	if l == nil {
		return "", false
	}
	return l.link.Scope, true
}

// holds reports whether the deliveries of a link wait for it to be resumed.
func (e *Engine) holds(id patchbay.LinkID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lanes[id]
	return l != nil && l.link.holds()
}

// storeError turns a store's error into one for callers.
func storeError(doing string, err error) error {
	if errors.Is(err, store.ErrFenced) {
		return &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "this node starts anew at the moment; try again in a few seconds", RetryAfter: 5, Err: err}
	}
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		return &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "the database cannot take writes at the moment; try again in a few seconds", RetryAfter: 5, Err: err}
	}
	return patchbay.Internal(doing, err)
}

// view turns a delivery into what the API shows.
func (s *Service) view(d *patchbay.Delivery) View {
	v := View{
		ID: d.ID, Event: d.Event, EventType: d.EventType, Scope: d.Scope, Integration: d.Integration, State: d.State,
		AttemptCount: d.AttemptCount, NextAttemptAt: d.NextAttemptAt,
	}
	if d.Link != 0 {
		link := d.Link
		v.Link = &link
	}
	if v.State == patchbay.DeliveryPending && s.e.holds(d.Link) {
		v.State = patchbay.DeliveryHeld
	}
	if v.State.Final() || v.State == patchbay.DeliveryHeld {
		v.NextAttemptAt = nil
	}
	for i := range d.Attempts {
		if d.Attempts[i].Verdict != "" { // a decision without an attempt shows in the state and its reason
			v.Attempts = append(v.Attempts, ViewAttempt(&d.Attempts[i]))
		}
	}
	v.Reason = reason(d)
	return v
}

// reason says why a delivery ended without an attempt. An attempt that was under way when a delivery was cancelled comes
// after that decision.
func reason(d *patchbay.Delivery) string {
	if !d.State.Final() || d.State == patchbay.DeliverySucceeded {
		return ""
	}
	for i := len(d.Attempts) - 1; i >= 0; i-- {
		if a := &d.Attempts[i]; a.Verdict == "" {
			return a.Error
		}
		if d.State != patchbay.DeliveryCancelled {
			return ""
		}
	}
	return ""
}

// ViewAttempt turns an attempt into what the API shows.
func ViewAttempt(a *patchbay.Attempt) AttemptView {
	v := AttemptView{At: a.At, DurationMS: a.DurationMS, Verdict: a.Verdict}
	if a.ErrorType != "" {
		v.ErrorType = &a.ErrorType
	}
	if a.Error != "" {
		v.Error = &a.Error
	}
	if a.ResponseCode != 0 {
		v.ResponseCode, v.ResponseBody = &a.ResponseCode, &a.ResponseBody
	}
	if r := a.Request; r != nil {
		v.Request = &RequestView{Method: r.Method, URL: r.URL, Headers: r.Headers}
		if r.Headers == nil {
			v.Request.Headers = map[string]string{}
		}
	}
	return v
}

// renderAgain adds the request's body to the last attempt, from the event and the link as it was.
func (s *Service) renderAgain(ctx context.Context, d *patchbay.Delivery, v *View) {
	if len(v.Attempts) == 0 || v.Attempts[len(v.Attempts)-1].Request == nil || d.Link == 0 {
		return
	}
	record, err := s.e.o.Store.Event(ctx, d.Event)
	if err != nil {
		return // the event is no longer kept
	}
	link, err := s.revision(ctx, d.Link, d.Revision)
	if err != nil {
		return
	}
	out := s.e.Try(ctx, Call{Link: link, Event: &record.Event, Delivery: d.ID, Attempt: d.AttemptCount, Preview: true})
	if out.Body == nil {
		return
	}
	body := string(out.Body)
	r := v.Attempts[len(v.Attempts)-1].Request
	r.Body, r.BodyJSON = &body, jsonOrNil(out.Body)
	r.BodyNote = "rendered again from the event and the link as it was when it matched; bodies are not kept"
}
