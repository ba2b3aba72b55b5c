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
	if l.removed || e.stopping || link.holds() || !l.owned {
		l.loading = false // whoever lets the lane go on sets due
		l.checkDrained()
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
	in, err := e.read(ctx, l, link, room, skip)
	if err == nil && len(in.claimed) < room && in.next.IsZero() {
		for i := range in.claimed {
			skipped[in.claimed[i].Delivery] = struct{}{}
		}
		in.next, _, err = e.o.Store.NextDue(ctx, link.ID, skip)
	}
	if err != nil {
		if ctx.Err() == nil && !e.lostHold(err) {
			e.log.Error("deliveries could not be read from the queue; trying again", "link", link.ID, "error", err)
		}
		in = intake{next: e.now().Add(loadRetry)}
	}
	e.loaded(l, in)
}

// intake is what a load has read of a lane.
type intake struct {
	claimed []store.Claimed
	// behind holds what follows deliveries of claimed in their turns, in order.
	behind map[patchbay.DeliveryID][]store.Claimed
	// next is when the first of the rest is due, zero when there is none.
	next time.Time
}

// read reads what is due, and of what goes one after the other what comes next as far as there is room.
func (e *Engine) read(ctx context.Context, l *lane, link *Link, room int, skip func(patchbay.DeliveryID) bool) (in intake, err error) {
	if link.ordered() || l.wasReordered(e) {
		if err := e.sort(ctx, l, link); err != nil {
			return in, err
		}
	}
	if in.claimed, err = e.o.Store.Due(ctx, link.ID, e.now(), room, skip); err != nil {
		return in, err
	}
	if len(in.claimed) >= room {
		in.next = e.now() // there is more
	}
	if !link.ordered() {
		return in, nil
	}
	if in.claimed, err = e.rethread(ctx, l, link, in.claimed); err != nil {
		return in, err
	}
	chains, ok := e.o.Store.(store.Chains)
	each := 0
	if n := len(in.claimed); n > 0 && link.Order != nil {
		each = (room - n) / n
	}
	if !ok || each < 4 { // many turns: their first ones are enough to do
		return in, nil
	}
	in.behind = map[patchbay.DeliveryID][]store.Claimed{}
	for i := range in.claimed {
		c := &in.claimed[i]
		if c.Thread == "" {
			continue
		}
		if in.behind[c.Delivery], err = chains.Following(ctx, &c.Queued, e.now(), each); err != nil {
			return in, err
		}
	}
	return in, nil
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

// loaded puts what was read into the lane.
func (e *Engine) loaded(l *lane, in intake) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	l.loading = false
	defer l.checkDrained()
	lowered := l.due
	l.due = in.next
	if l.dirty {
		e.noteDue(l, lowered)
		e.noteDue(l, now)
	}
	if !l.owned {
		l.due = time.Time{}
		return
	}
	if l.removed || e.stopping || l.link.holds() {
		return
	}
	pushed, behind := 0, false
	for i := range in.claimed {
		c := &in.claimed[i]
		if l.loaded[c.Delivery] > 0 {
			continue // it came into somebody's hand while this load was under way, who looks again afterwards
		}
		if c.Thread != "" {
			if _, moved := l.moved[c.Thread]; moved {
				e.noteDue(l, now) // its predecessor may have got a place in the queue since this was read
				continue
			}
			if l.chains[c.Thread] != nil {
				behind = true // its predecessor is in memory, and looks for it when it is done
				continue
			}
		}
		if pushed == 0 {
			l.size = 0
		}
		pushed++
		e.pushLoaded(l, c, now)
		for j := range in.behind[c.Delivery] {
			e.pushLoaded(l, &in.behind[c.Delivery][j], now)
		}
	}
	// What was left out counts as due in the store, or was not looked at by NextDue. Without a pause it would be read
	// again and again, without a time never.
	again := now.Add(loadRetry)
	switch {
	case l.dirty || len(l.moved) > 0:
	case behind && l.due.IsZero(), pushed == 0 && !l.due.IsZero() && !l.due.After(now):
		l.due = again
	case behind && l.due.After(again):
		l.due = again
	}
	if l.due.IsZero() && len(l.loaded) == 0 && l.planned == 0 {
		l.queued = false
	}
	e.kick(l)
	e.schedule()
}

// pushLoaded puts a delivery of the queue among those that are ready, or behind those before it.
func (e *Engine) pushLoaded(l *lane, c *store.Claimed, now time.Time) {
	if l.loaded[c.Delivery] > 0 {
		return
	}
	l.loaded[c.Delivery]++
	l.hands++
	event := c.Event // a copy, so that one item does not keep the whole batch in memory
	l.size = max(l.size, len(event.Payload))
	e.readyBytes += len(event.Payload)
	it := &item{
		lane: l, delivery: c.Delivery, event: &event, revision: c.Revision, queued: true, committed: true,
		attempts: c.Attempts, used: c.Used, turn: c.Thread, ready: now,
	}
	if l.link.threads() {
		if it.thread = c.Thread; l.link.Order != nil {
			it.thread = e.o.Catalog.Thread(&event, l.link.Definition)
		}
	}
	if it.turn != "" {
		l.append(it).closed = true
	}
	if it.first() {
		l.ready.push(it)
	} else {
		l.stand(it)
	}
}
