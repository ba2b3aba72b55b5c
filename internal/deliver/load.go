package deliver

import (
	"context"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// loadRetry is the pause before a load that failed is tried again.
const loadRetry = time.Second

// loader reads what is due from the queue into the lanes that asked for it.
func (e *Engine) loader(ctx context.Context) {
	for {
		e.mu.Lock()
		l, ok := e.loads.pop()
		more := e.loads.n > 0
		e.mu.Unlock()
		if more {
			wake(e.wakeLoader) // for the other loader
		}
		if ok {
			e.load(ctx, l)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-e.wakeLoader:
		}
	}
}

// load fills one lane. The lane's mark "loading" keeps it to one loader at a time.
func (e *Engine) load(ctx context.Context, l *lane) {
	e.mu.Lock()
	l.dirty = false
	room := min(loadBatch, 1+(readyBytes-e.readyBytes)/patchbay.MaxEventBody*8)
	skipped := make(map[patchbay.DeliveryID]struct{}, len(l.loaded))
	for id := range l.loaded {
		skipped[id] = struct{}{}
	}
	stop := l.removed || e.stopping || l.link.holds() || room <= 0
	id := l.link.ID
	e.mu.Unlock()
	if stop {
		e.loaded(l, nil, time.Time{}, stop)
		return
	}
	skip := func(d patchbay.DeliveryID) bool { _, ok := skipped[d]; return ok }
	claimed, err := e.o.Store.Due(ctx, id, e.now(), room, skip)
	var next time.Time
	if err == nil && len(claimed) < room {
		for i := range claimed {
			skipped[claimed[i].Delivery] = struct{}{}
		}
		next, _, err = e.o.Store.NextDue(ctx, id, skip)
	} else if err == nil {
		next = e.now() // there is more
	}
	if err != nil {
		if ctx.Err() == nil {
			e.log.Error("deliveries could not be read from the queue; trying again", "link", id, "error", err)
		}
		next = e.now().Add(loadRetry)
	}
	e.loaded(l, claimed, next, false)
}

// loaded puts what was read into the lane. next is when the first of the rest is due, zero when there is none.
func (e *Engine) loaded(l *lane, claimed []store.Claimed, next time.Time, stopped bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l.loading = false
	if stopped {
		return // whoever lets the lane go on sets due
	}
	now := e.now()
	dirtyDue := l.due
	l.due = next
	if l.dirty {
		e.noteDue(l, dirtyDue)
		e.noteDue(l, now)
	}
	if l.removed || e.stopping || l.link.holds() {
		return
	}
	blocked := false
	for i := range claimed {
		c := &claimed[i]
		if _, twice := l.loaded[c.Delivery]; twice {
			continue // its row was written while this load was under way
		}
		if c.Thread != "" && l.threads[c.Thread] > 0 {
			blocked = true // its predecessor is in memory, and looks for it when it is done
			continue
		}
		l.loaded[c.Delivery] = struct{}{}
		l.holdThread(c.Thread)
		event := c.Event // a copy, so that one item does not keep the whole batch in memory
		e.readyBytes += len(event.Payload)
		l.ready.push(&item{
			lane: l, delivery: c.Delivery, event: &event, revision: c.Revision, queued: true,
			attempts: c.Attempts, used: c.Used, thread: c.Thread, ready: now,
		})
	}
	if blocked && len(claimed) < loadBatch {
		// NextDue saw those that were left out as due; without this they would be read again and again.
		if !l.dirty && !l.due.After(now) {
			l.due = now.Add(loadRetry)
		}
	}
	if l.due.IsZero() && len(l.loaded) == 0 {
		l.queued = false
	}
	e.kick(l)
	e.schedule()
}
