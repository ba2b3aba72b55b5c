package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// gripPatience bounds how long a caller waits for results to become durable, which takes milliseconds unless the
// database cannot be written.
const gripPatience = 5 * time.Second

// grip takes a delivery that is not in memory into the caller's hand: no load brings it in until release is called. It
// returns the delivery as it is once everything that is known of it is durable, and nil when somebody else has it in
// hand, who is about to send it.
func (e *Engine) grip(ctx context.Context, l *lane, id patchbay.DeliveryID) (d *patchbay.Delivery, release func(), err error) {
	e.mu.Lock()
	l.loaded[id]++
	e.mu.Unlock()
	release = func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		l.letGo(id)
		if !l.removed {
			e.noteQueued(l, e.now()) // a load may have left it out, and the next one may have its turn
			e.schedule()
		}
		l.checkDrained()
	}
	ctx, cancel := context.WithTimeout(ctx, gripPatience)
	defer cancel()
	if err := e.o.Store.Flush(ctx); err != nil {
		release()
		return nil, nil, storeError("waiting for results", err)
	}
	e.mu.Lock()
	shared := l.loaded[id] > 1 || l.find(e, id) != nil
	e.mu.Unlock()
	if !shared {
		d, err = e.o.Store.Delivery(ctx, id)
	}
	if err != nil {
		release()
		return nil, nil, storeError("reading a delivery", err)
	}
	if shared || d.State == patchbay.DeliveryPending && d.NextAttemptAt == nil { // or on its way into or out of memory
		release()
		return nil, nil, nil
	}
	return d, release, nil
}

// elsewhere returns a delivery that is in the memory of another node, as far as this one can tell.
func (e *Engine) elsewhere(ctx context.Context, l *lane, id patchbay.DeliveryID) *patchbay.Delivery {
	if e.o.Cluster == nil {
		return nil
	}
	e.mu.Lock()
	mine := l.hands > 0 // perhaps: then asking again in a moment does no harm
	e.mu.Unlock()
	d, err := e.o.Store.Delivery(ctx, id)
	if mine || err != nil || d.State != patchbay.DeliveryPending || d.NextAttemptAt != nil {
		return nil
	}
	return d
}

// retry gives a delivery a place in the queue that is due now.
func (e *Engine) retry(ctx context.Context, before *patchbay.Delivery) error {
	gone := patchbay.Errorf(patchbay.CodeConflict, "the link of this delivery has been deleted")
	e.mu.Lock()
	l := e.lanes[before.Link]
	var busy bool
	var link *Link
	if l != nil {
		busy, link = l.find(e, before.ID) != nil, l.link
	}
	if busy {
		l.probe()
		e.kick(l)
		e.schedule()
	}
	e.mu.Unlock()
	switch {
	case l == nil:
		return gone
	case busy:
		return nil // it is being sent, or is about to be
	}
	d, release, err := e.grip(ctx, l, before.ID)
	if err != nil || d == nil {
		return err
	}
	defer release()
	if !before.State.Final() && d.State == patchbay.DeliverySucceeded {
		return nil // while the caller was asking
	}
	record, err := e.o.Store.Event(ctx, d.Event)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return patchbay.Errorf(patchbay.CodeConflict, "the event of this delivery is no longer kept")
	case err != nil:
		return storeError("reading an event", err)
	case !record.Erased.IsZero():
		return patchbay.Errorf(patchbay.CodeConflict, "what this event said was erased on %s, so there is nothing to send", record.Erased.Format(time.DateOnly))
	}
	row := store.Queued{Delivery: d.ID, Event: d.Event, Link: d.Link, Due: e.now(), Attempts: d.AttemptCount, Thread: e.turnByHand(link, d, &record.Event)}
	if err := e.o.Store.Enqueue(ctx, []store.Queued{row}); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return patchbay.Errorf(patchbay.CodeConflict, "the event of this delivery is no longer kept")
		}
		return storeError("putting a delivery into the queue", err)
	}
	e.mu.Lock()
	removed := l.removed
	l.probe()
	e.mu.Unlock()
	if removed {
		e.discard([]store.Queued{row}, deletedReason)
		return gone
	}
	return nil
}

// turnByHand returns the turn of a delivery that is retried by hand. In an order one that has ended, or that others have
// overtaken already, is not waited for again.
func (e *Engine) turnByHand(link *Link, d *patchbay.Delivery, event *patchbay.Event) string {
	if !link.ordered() || link.Order != nil && (d.State.Final() || overtaken(link.Order, d, e.now())) {
		return ""
	}
	turn, _ := e.turn(link, event)
	return turn
}

// overtaken reports whether those behind a delivery that waits have gone on without it.
func overtaken(o *patchbay.OrderPolicy, d *patchbay.Delivery, now time.Time) bool {
	for i := range d.Attempts {
		if a := &d.Attempts[i]; a.Verdict != "" {
			return o.OnFailure == patchbay.OnFailureSkip || o.LongestBlock > 0 && now.After(a.At.Add(time.Duration(o.LongestBlock)))
		}
	}
	return false
}

// probe lets an open breaker try again now: whoever tries by hand, or changes the settings, thinks that it works again.
func (l *lane) probe() { l.openUntil = time.Time{} }

// find returns the lane's item for a delivery that is in memory, or nil.
func (l *lane) find(e *Engine, id patchbay.DeliveryID) *item {
	for it := e.active.first; it != nil; it = it.next {
		if it.delivery == id {
			return it
		}
	}
	for i := range l.ready.n {
		if it := l.ready.at(i); it.delivery == id {
			return it
		}
	}
	if l.behind > 0 {
		for _, c := range l.chains {
			for i := range c.items.n {
				if it := c.items.at(i); it.delivery == id && it.behind {
					return it
				}
			}
		}
	}
	return nil
}

// cancelDelivery ends a delivery that waits.
func (e *Engine) cancelDelivery(ctx context.Context, d *patchbay.Delivery) error {
	e.mu.Lock()
	l := e.lanes[d.Link]
	if l == nil { // the link cannot be used, so nobody sends it
		e.mu.Unlock()
		return e.recordCancelled(ctx, d, nil)
	}
	it := l.find(e, d.ID)
	if it != nil && e.active.has(it) {
		it.cancelled = true
		e.mu.Unlock()
		return patchbay.Errorf(patchbay.CodeConflict, "an attempt is under way; if it fails there will be no other")
	}
	if it != nil {
		l.drop(e, it)
		if !it.queued {
			l.loaded[d.ID]++
		}
	}
	e.mu.Unlock()
	release := func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		l.letGo(d.ID)
		if !l.removed {
			e.noteQueued(l, e.now()) // the next one may have its turn
			e.schedule()
		}
		l.checkDrained()
	}
	if it == nil {
		now, let, err := e.grip(ctx, l, d.ID)
		switch {
		case err != nil:
			return err
		case now == nil && e.elsewhere(ctx, l, d.ID) != nil:
			let = nil
		case now == nil:
			return patchbay.Errorf(patchbay.CodeConflict, "the delivery is just about to be sent; try again in a moment")
		case now.State.Final():
			let()
			if now.State == patchbay.DeliveryCancelled {
				return nil
			}
			return patchbay.Errorf(patchbay.CodeConflict, "the delivery has already ended: it is %s", now.State)
		}
		release = let
	}
	if err := e.recordCancelled(ctx, d, release); err != nil || it != nil {
		return err
	}
	return e.announceCancelled(ctx, d)
}

// announceCancelled has other nodes drop a delivery from memory. An attempt of theirs that is under way can still
// succeed, and one that ends in the meantime can still ask for a retry: several nodes cancel as well as they can.
func (e *Engine) announceCancelled(ctx context.Context, d *patchbay.Delivery) error {
	if e.o.Announce == nil {
		return nil
	}
	err := e.o.Announce(ctx, []store.Change{{Kind: store.ChangedDelivery, ID: int64(d.ID), Link: int64(d.Link)}})
	if err != nil {
		return storeError("telling other nodes of a cancellation", err)
	}
	return nil
}

// recordCancelled has the store cancel a delivery, and calls release once it has. That is on the store's goroutine, so
// release must not call the store.
func (e *Engine) recordCancelled(ctx context.Context, d *patchbay.Delivery, release func()) error {
	entry, written := store.AuditOf(ctx)
	e.o.Store.Record([]store.Outcome{{
		Delivery: d.ID, Event: d.Event, Link: d.Link, State: patchbay.DeliveryCancelled, WasQueued: true,
		Attempt: patchbay.Attempt{At: e.o.Now(), Error: byHandReason}, Audit: entry,
	}}, release)
	written() // with the result, by the store's own goroutine: nobody writes it again
	ctx, stop := context.WithTimeout(ctx, gripPatience)
	defer stop()
	if err := e.o.Store.Flush(ctx); err != nil {
		return storeError("cancelling a delivery", err)
	}
	return nil
}

// byHand is what is written down about a delivery.
func byHand(action string, d *patchbay.Delivery) access.Change {
	return access.Change{Action: action, Object: d.ID.String(), Title: d.EventType, Scope: d.Scope}
}

// drop takes an item out of the lane's memory.
func (l *lane) drop(e *Engine, gone *item) {
	if !gone.behind {
		l.ready.filter(func(it *item) bool { return it != gone })
		if !gone.queued {
			l.fresh--
		}
	}
	e.unchain(gone)
	l.hands--
	e.readyBytes -= len(gone.event.Payload)
	e.kick(l)
}
