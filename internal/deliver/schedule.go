package deliver

import "time"

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

// slots counts attempts under way against a cap. Where most is more than cap, attempts of failing lanes beyond half of the
// cap do not count against it: when many lanes that worked begin to hang at the same moment, those that still work have
// room beside them at once. most bounds them all the same.
type slots struct {
	cap, most int
	n         [classes]int
}

// overdraft is by how much attempts may go beyond the cap for a while.
const overdraft = 2

func (s *slots) allows(c class) bool {
	stuck := s.n[failing]
	if s.most > s.cap {
		if s.total() >= s.most {
			return false
		}
		stuck = min(stuck, s.cap/2)
	}
	weak := s.n[unproven] + stuck
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
	waiting [classes]turns
	freed   bool // in Engine.freed
}

func (h *host) waits() int { return h.waiting[proven].n + h.waiting[unproven].n + h.waiting[failing].n }

// tenant has a fair share of the slots.
type tenant struct {
	name   string
	links  int
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
	if l.owned && !l.due.IsZero() {
		switch {
		case l.due.After(now):
			e.arm(l, l.due)
		case !l.loading && l.ready.n+l.behind < min(loadBelow, 8*l.limit()):
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
	for !e.stopping && e.unrecorded < e.limits.unrecorded && e.valid() {
		t, ok := e.runnable.pop()
		if !ok {
			if !e.refill() {
				return nil
			}
			continue
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

// refill looks for a lane that waits although there is room: one that was let go on before it may not have made use of
// that. It reports false when there is none.
func (e *Engine) refill() bool {
	if e.unpark(&e.parked, &e.slots, 1) {
		return true
	}
	for {
		h, ok := e.freed.peek()
		if !ok {
			return false
		}
		if e.unpark(&h.waiting, &h.slots, 1) {
			return true
		}
		e.freed.pop()
		h.freed = false
		e.tidy(h)
	}
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
	h := e.hosts[l.link.Host]
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
	if h == nil && l.link.Host != "" {
		h = &host{name: l.link.Host, slots: slots{cap: e.limits.hostCap}}
		e.hosts[h.name] = h
	}
	it, _ := l.ready.pop()
	if !it.queued {
		l.fresh--
	}
	e.readyBytes -= len(it.event.Payload)
	it.started, it.class, it.host = now, c, h
	if it.attempts == 0 {
		it.firstAt = now
	}
	l.inflight++
	e.slots.n[c]++
	if h != nil {
		h.slots.n[c]++
	}
	e.active.add(it)
	e.sweepSoon()
	return it
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
		e.vacated(h)
		e.tidy(h)
	}
}

// vacated lets a lane of each class go on that waits for a host.
func (e *Engine) vacated(h *host) {
	if h.waits() == 0 {
		return
	}
	e.unpark(&h.waiting, &h.slots, 1)
	if !h.freed {
		h.freed = true
		e.freed.push(h)
	}
}

// tidy forgets a host that nobody uses.
func (e *Engine) tidy(h *host) {
	if h.slots.total() == 0 && h.waits() == 0 && !h.freed && e.hosts[h.name] == h {
		delete(e.hosts, h.name)
	}
}

// unpark lets up to n lanes of each class go on for which there is room, and reports whether there was one.
func (e *Engine) unpark(waiting *[classes]turns, s *slots, n int) (some bool) {
	for c := range waiting {
		for i := 0; i < n && waiting[c].n > 0 && s.allows(class(c)); i++ {
			l := waiting[c].pop()
			l.place = nowhere
			e.kick(l)
			some = true
		}
	}
	return some
}
