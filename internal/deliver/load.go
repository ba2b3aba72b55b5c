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
	l.dirty, l.moved = false, nil
	link := l.link
	if l.removed || e.stopping || link.holds() {
		l.loading = false // whoever lets the lane go on sets due
		e.mu.Unlock()
		return
	}
	room := e.room(l)
	if room < 1 { // memory is full: others make room
		l.loading = false
		l.due = e.now().Add(loadRetry)
		e.arm(l, l.due)
		e.mu.Unlock()
		return
	}
	skipped := make(map[patchbay.DeliveryID]struct{}, len(l.loaded)+room)
	for id := range l.loaded {
		skipped[id] = struct{}{}
	}
	e.mu.Unlock()
	skip := func(d patchbay.DeliveryID) bool { _, ok := skipped[d]; return ok }
	claimed, err := e.o.Store.Due(ctx, link.ID, e.now(), room, skip)
	var next time.Time
	if err == nil && len(claimed) < room {
		for i := range claimed {
			skipped[claimed[i].Delivery] = struct{}{}
		}
		next, _, err = e.o.Store.NextDue(ctx, link.ID, skip)
	} else if err == nil {
		next = e.now() // there is more
	}
	if err == nil && link.Definition.Threads {
		claimed, err = e.rethread(ctx, l, link, claimed)
	}
	if err != nil {
		if ctx.Err() == nil {
			e.log.Error("deliveries could not be read from the queue; trying again", "link", link.ID, "error", err)
		}
		claimed, next = nil, e.now().Add(loadRetry)
	}
	e.loaded(l, claimed, next)
}

// room is how many deliveries may be loaded into a lane: as many as it sends in a short while, as far as there is
// memory for them. A lane that has nothing in memory may nearly always have one, so that no lane waits for good.
func (e *Engine) room(l *lane) int {
	n := min(loadBatch, 16*l.limit())
	if l.link.Rate > 0 {
		n = min(n, max(1, int(10*l.link.Rate)))
	}
	size := l.size
	if size == 0 {
		size = patchbay.MaxEventBody // before the first load anything is possible
	}
	n = min(n, (e.share(l)-e.readyBytes)/max(size, 1024))
	if n < 1 && l.ready.n == 0 && l.inflight == 0 && e.readyBytes < 2*e.limits.readyBytes {
		return 1
	}
	return n
}

// rethread puts deliveries into their threads that were in memory when a process died: recovery does not know threads.
// It returns the others; those that it moved are found by the next load, in their order.
func (e *Engine) rethread(ctx context.Context, l *lane, link *Link, claimed []store.Claimed) ([]store.Claimed, error) {
	var moved []store.Queued
	kept := claimed[:0]
	for i := range claimed {
		if c := &claimed[i]; c.Thread == "" {
			if c.Thread = e.o.Catalog.Thread(&c.Event, link.Definition); c.Thread != "" {
				moved = append(moved, c.Queued)
				continue
			}
		}
		kept = append(kept, claimed[i])
	}
	if len(moved) == 0 {
		return kept, nil
	}
	e.mu.Lock()
	mine := moved[:0]
	for _, q := range moved {
		if l.loaded[q.Delivery] == 0 && !l.removed { // else somebody has it in hand
			l.loaded[q.Delivery]++
			mine = append(mine, q)
		}
	}
	e.mu.Unlock()
	err := e.o.Store.Enqueue(ctx, mine)
	e.mu.Lock()
	for i := range mine {
		l.letGo(mine[i].Delivery)
	}
	l.dirty = true
	var gone []store.Queued
	if l.removed && err == nil {
		gone = mine
	}
	e.mu.Unlock()
	e.discard(gone)
	return kept, err
}

// loaded puts what was read into the lane. next is when the first of the rest is due, zero when there is none.
func (e *Engine) loaded(l *lane, claimed []store.Claimed, next time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	l.loading = false
	lowered := l.due
	l.due = next
	if l.dirty {
		e.noteDue(l, lowered)
		e.noteDue(l, now)
	}
	if l.removed || e.stopping || l.link.holds() {
		return
	}
	pushed, behind := 0, false
	for i := range claimed {
		c := &claimed[i]
		if l.loaded[c.Delivery] > 0 {
			continue // it came into somebody's hand while this load was under way, who looks again afterwards
		}
		if c.Thread != "" {
			if _, moved := l.moved[c.Thread]; moved {
				e.noteDue(l, now) // its predecessor may have got a place in the queue since this was read
				continue
			}
			if l.threads[c.Thread] > 0 {
				behind = true // its predecessor is in memory, and looks for it when it is done
				continue
			}
		}
		if pushed == 0 {
			l.size = 0
		}
		pushed++
		e.pushLoaded(l, c, now)
	}
	// What was left out counts as due in the store, or was not looked at by NextDue. Without a pause it would be read
	// again and again, without a time never.
	later := now.Add(loadRetry)
	switch {
	case l.dirty || len(l.moved) > 0:
	case behind && l.due.IsZero(), pushed == 0 && !l.due.IsZero() && !l.due.After(now):
		l.due = later
	case behind && l.due.After(later):
		l.due = later
	}
	if l.due.IsZero() && len(l.loaded) == 0 {
		l.queued = false
	}
	e.kick(l)
	e.schedule()
}

// pushLoaded puts a delivery of the queue among those that are ready.
func (e *Engine) pushLoaded(l *lane, c *store.Claimed, now time.Time) {
	l.loaded[c.Delivery]++
	l.holdThread(c.Thread)
	event := c.Event // a copy, so that one item does not keep the whole batch in memory
	l.size = max(l.size, len(event.Payload))
	e.readyBytes += len(event.Payload)
	l.ready.push(&item{
		lane: l, delivery: c.Delivery, event: &event, revision: c.Revision, queued: true,
		attempts: c.Attempts, used: c.Used, thread: c.Thread, ready: now,
	})
}
