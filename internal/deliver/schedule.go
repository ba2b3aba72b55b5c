package deliver

import (
	"container/heap"
	"context"
	"time"

	"github.com/patchbay/patchbay/internal/store"
)

// class says how much trust a lane has earned. Of the slots, and of those of one host, failing lanes get at most half,
// unproven ones a quarter, and both together three quarters: a lane that works always finds room, and a new one does
// not wait behind those that hang.
type class uint8

const (
	proven class = iota
	unproven
	failing
	classes = 3
)

// slots counts attempts under way against a cap.
type slots struct {
	cap int
	n   [classes]int
}

func (s *slots) allows(c class) bool {
	weak := s.n[unproven] + s.n[failing]
	switch {
	case s.n[proven]+weak >= s.cap:
		return false
	case c == proven:
		return true
	case weak >= s.cap*3/4:
		return false
	case c == failing:
		return s.n[failing] < s.cap/2
	}
	return s.n[unproven] < max(1, s.cap/4)
}

func (s *slots) total() int { return s.n[proven] + s.n[unproven] + s.n[failing] }

// host is one destination.
type host struct {
	name    string
	slots   slots
	waiting [classes]fifo[*lane]
}

// tenant has a fair share of the slots.
type tenant struct {
	lanes  fifo[*lane]
	listed bool // in Engine.runnable
}

// kick looks at a lane after anything about it changed: it arms its timer, asks for a load, or makes it runnable.
func (e *Engine) kick(l *lane) {
	if l.removed || e.stopping || l.link.holds() {
		return
	}
	now := e.now()
	if at := l.blockedUntil(); at.After(now) {
		e.arm(l, at)
		return
	}
	if !l.due.IsZero() {
		switch {
		case l.due.After(now):
			e.arm(l, l.due)
		case l.ready.n < loadBelow && !l.loading:
			l.loading = true
			e.loads.push(l)
			wake(e.wakeLoader)
		}
	}
	if l.ready.n > 0 && l.place == nowhere && l.inflight < l.limit() {
		l.place = inRunnable
		l.tenant.lanes.push(l)
		if !l.tenant.listed {
			l.tenant.listed = true
			e.runnable.push(l.tenant)
		}
	}
}

// schedule starts workers for what may be sent now.
func (e *Engine) schedule() {
	for {
		it := e.pick()
		if it == nil {
			return
		}
		e.workers++
		e.owned.Go(func() { e.work(it) })
	}
}

// pick takes the next item that may be sent, tenants and their lanes in turn; nil when there is none.
func (e *Engine) pick() *item {
	for !e.stopping && e.unrecorded < unrecordedMost {
		t, ok := e.runnable.pop()
		if !ok {
			return nil
		}
		l, _ := t.lanes.pop()
		if t.listed = t.lanes.n > 0; t.listed {
			e.runnable.push(t)
		}
		l.place = nowhere
		if it := e.take(l); it != nil {
			e.kick(l)
			return it
		}
	}
	return nil
}

// take takes the lane's next item with a slot for it, or parks the lane where it has to wait.
func (e *Engine) take(l *lane) *item {
	now := e.now()
	if l.removed || l.link.holds() || l.ready.n == 0 || l.inflight >= l.limit() {
		return nil // whoever changes that kicks the lane
	}
	if at := l.blockedUntil(); at.After(now) {
		e.arm(l, at)
		return nil
	}
	c := l.class()
	if !e.slots.allows(c) {
		l.place = inSlots
		e.parked[c].push(l)
		return nil
	}
	h := e.hostNamed(l.link.Host)
	if h != nil && !h.slots.allows(c) {
		l.place = inHost
		h.waiting[c].push(l)
		return nil
	}
	if l.limiter != nil && !l.limiter.AllowN(now, 1) {
		r := l.limiter.ReserveN(now, 1)
		l.limited = now.Add(max(r.DelayFrom(now), time.Millisecond))
		r.CancelAt(now)
		e.arm(l, l.limited)
		return nil
	}
	it, _ := l.ready.pop()
	if !it.queued {
		l.fresh--
	}
	e.readyBytes -= len(it.event.Payload)
	it.started, it.class, it.host = now, c, h
	l.inflight++
	e.slots.n[c]++
	if h != nil {
		h.slots.n[c]++
	}
	e.active.add(it)
	if e.active.n == 1 {
		wake(e.wakeClock) // the sweep begins
	}
	return it
}

func (e *Engine) hostNamed(name string) *host {
	if name == "" {
		return nil
	}
	h := e.hosts[name]
	if h == nil {
		h = &host{name: name, slots: slots{cap: hostCap}}
		e.hosts[name] = h
	}
	return h
}

// release gives an item's slot back and lets those go on that waited for one.
func (e *Engine) release(it *item) {
	e.active.remove(it)
	it.lane.inflight--
	if it.slow {
		it.lane.slow--
	}
	e.slots.n[it.class]--
	e.unpark(&e.parked, &e.slots, 1)
	if h := it.host; h != nil {
		h.slots.n[it.class]--
		e.unpark(&h.waiting, &h.slots, 1)
		if h.slots.total() == 0 && h.waiting[proven].n+h.waiting[unproven].n+h.waiting[failing].n == 0 {
			delete(e.hosts, h.name)
		}
	}
}

// unpark lets up to n lanes of each class go on for which there is room.
func (e *Engine) unpark(waiting *[classes]fifo[*lane], s *slots, n int) {
	for c := range waiting {
		for i := 0; i < n && waiting[c].n > 0 && s.allows(class(c)); i++ {
			l, _ := waiting[c].pop()
			l.place = nowhere
			e.kick(l)
		}
	}
}

// clock kicks lanes when their time comes, and sweeps while anything is in memory.
func (e *Engine) clock(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		e.mu.Lock()
		now := e.now()
		for len(e.timers) > 0 && !e.timers[0].wakeAt.After(now) {
			l := heap.Pop(&e.timers).(*lane)
			e.kick(l)
		}
		e.schedule()
		pause := time.Hour
		if len(e.timers) > 0 {
			pause = e.timers[0].wakeAt.Sub(now)
		}
		if e.active.n > 0 {
			pause = min(pause, sweepEvery)
		}
		e.mu.Unlock()
		timer.Reset(min(pause, time.Minute)) // no longer, in case the wall clock is set
		select {
		case <-ctx.Done():
			return
		case <-e.wakeClock:
		case <-timer.C:
			e.sweep(ctx)
		}
	}
}

// sweep marks lanes as slow whose attempts take long, and gives fresh deliveries that wait for long a place in the
// queue.
func (e *Engine) sweep(ctx context.Context) {
	type parking struct {
		l *lane
		q []store.Queued
	}
	e.mu.Lock()
	now := e.now()
	e.markSlow(now)
	var parkings []parking
	for _, l := range e.lanes {
		if l.fresh > 0 {
			if rows := e.takeFresh(l, now.Add(-parkAfter)); rows != nil {
				parkings = append(parkings, parking{l, rows})
			}
		}
		if len(l.orphans) > 0 {
			parkings = append(parkings, parking{l, l.orphans})
			l.orphans = nil
		}
	}
	e.mu.Unlock()
	for _, p := range parkings {
		_ = e.park(ctx, p.l, p.q) // it keeps what could not be parked
	}
}

// markSlow counts attempts that take long as those of failing lanes, and lets others have the room that this makes.
func (e *Engine) markSlow(now time.Time) {
	marked := 0
	for it := e.active.first; it != nil && now.Sub(it.started) > slowAfter; it = it.next {
		if it.slow {
			continue
		}
		it.slow = true
		it.lane.slow++
		marked++
		e.slots.n[it.class]--
		e.slots.n[failing]++
		if h := it.host; h != nil {
			h.slots.n[it.class]--
			h.slots.n[failing]++
			e.unpark(&h.waiting, &h.slots, 1)
		}
		it.class = failing
	}
	if marked > 0 {
		e.unpark(&e.parked, &e.slots, marked)
		e.schedule()
	}
}
