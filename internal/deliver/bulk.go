package deliver

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// This file is for jobs: what a person does with one delivery, done with many.

// Find returns the deliveries that a query selects as they are stored, newest first, without their attempts.
func (s *Service) Find(ctx context.Context, q Query) ([]patchbay.Delivery, error) {
	found, err := s.e.o.Store.Deliveries(ctx, store.DeliveryFilter{
		States: q.States, Link: q.Link, Links: q.Links, Event: q.Event, Types: q.Types, Integration: q.Integration, Within: q.Scope,
		Since: q.Since, Before: q.Before, Limit: q.Limit, Held: s.e.holds,
	})
	if err != nil {
		return nil, storeError("listing deliveries", err)
	}
	return found, nil
}

// RetryFound is Retry for a delivery that Find returned, on behalf of a job that was made at a time. It reports whether
// the delivery is due now. It leaves alone what the caller may not touch, what cannot be sent again, and what was tried
// or ended well since the job was made: whoever repeats a step of the job sends nothing twice.
func (s *Service) RetryFound(ctx context.Context, c *access.Caller, d *patchbay.Delivery, made time.Time) (bool, error) {
	if d.Link == 0 || !s.sees(ctx, c, d) {
		return false, nil
	}
	now, err := s.e.o.Store.Delivery(ctx, d.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil // no longer kept
	case err != nil:
		return false, storeError("reading a delivery", err)
	}
	waited := !d.State.Final()
	if now.State != d.State && waited == now.State.Final() || !waited && now.State == patchbay.DeliveryPending {
		return false, nil // somebody was faster
	}
	if n := len(now.Attempts); n > 0 && now.Attempts[n-1].At.After(made) {
		return false, nil
	}
	return settled(s.e.retry(ctx, now))
}

// CancelFound is Cancel for a delivery that Find returned. It reports whether it was cancelled.
func (s *Service) CancelFound(ctx context.Context, c *access.Caller, d *patchbay.Delivery) (bool, error) {
	if d.State.Final() || !s.sees(ctx, c, d) {
		return false, nil
	}
	return settled(s.e.cancelDelivery(ctx, d))
}

// settled turns "not in this state" into "not done".
func settled(err error) (bool, error) {
	switch patchbay.CodeOf(err) {
	case patchbay.CodeConflict, patchbay.CodeNotFound:
		return false, nil
	}
	return err == nil, err
}

// CancelBacklog cancels everything of a link that waits and has a lower identifier, with one write. It returns how many
// that were, counted up to a bound.
func (s *Service) CancelBacklog(ctx context.Context, id patchbay.LinkID, before patchbay.DeliveryID, bound int) (int, error) {
	e := s.e
	n, err := e.o.Store.Waiting(ctx, id, bound)
	if err != nil {
		return 0, storeError("counting what waits", err)
	}
	return n, e.DropBacklog(ctx, id, before)
}

// DropBacklog cancels everything of a link that waits and has a lower identifier, with one write.
func (e *Engine) DropBacklog(ctx context.Context, id patchbay.LinkID, before patchbay.DeliveryID) error {
	lanes, err := e.o.Store.Lanes(ctx)
	if err != nil {
		return storeError("reading the lanes", err)
	}
	lane := store.Lane{Link: id}
	if i := slices.IndexFunc(lanes, func(l store.Lane) bool { return l.Link == id }); i >= 0 {
		lane = lanes[i]
	}
	lane.DropBefore = max(lane.DropBefore, before)
	if err := e.o.Store.SaveLane(ctx, lane); err != nil {
		return storeError("cancelling what waits for a link", err)
	}
	e.LaneDropped(id, before)
	left, err := e.o.Store.Waiting(ctx, id, e.o.HoldCount)
	if err != nil {
		return storeError("counting what waits", err)
	}
	e.mu.Lock()
	if l := e.lanes[id]; l != nil && l.link.holds() {
		l.held = left
	}
	e.mu.Unlock()
	return nil
}

// Quiet ends what of an event has not ended, for an erasure. It reports false while an attempt is still under way: that
// one is not tried again, but what comes of it is not recorded yet.
func (s *Service) Quiet(ctx context.Context, id patchbay.EventID) (bool, error) {
	found, err := s.e.o.Store.OfEvent(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return true, nil
	case err != nil:
		return false, storeError("reading an event's deliveries", err)
	}
	quiet := true
	for i := range found {
		if found[i].State.Final() {
			continue
		}
		done, err := settled(s.e.cancelDelivery(ctx, &found[i]))
		if err != nil {
			return false, err
		}
		quiet = quiet && done
	}
	return quiet, nil
}

// Holds reports whether the deliveries of a link wait for it to be resumed.
func (s *Service) Holds(id patchbay.LinkID) bool { return s.e.holds(id) }

// CancelledByHand reports whether somebody cancelled this very delivery, rather than everything that waited for its
// link.
func CancelledByHand(d *patchbay.Delivery) bool {
	if n := len(d.Attempts); d.State == patchbay.DeliveryCancelled && n > 0 {
		return d.Attempts[n-1].Verdict == "" && d.Attempts[n-1].Error == byHandReason
	}
	return false
}
