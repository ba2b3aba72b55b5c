package deliver

import (
	"context"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// boundEvery is how often the age of what is held is looked at.
const boundEvery = time.Minute

// saveRetry is the pause before lanes that could not be written down are tried again.
const saveRetry = time.Second

// chores does what must not hold up sending: it writes lanes down, tells notices, and keeps holding within bounds.
func (e *Engine) chores(ctx context.Context) {
	tick := time.NewTicker(boundEvery)
	defer tick.Stop()
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		e.mu.Lock()
		saves, notices, counts, drains := e.saves, e.notices, e.counts, e.drains
		e.saves, e.notices, e.counts, e.drains = nil, nil, nil, nil
		e.mu.Unlock()
		if e.saveLanes(ctx, latest(saves)) > 0 {
			again.Reset(saveRetry)
		}
		e.mu.Lock()
		for _, d := range drains {
			d.less()
		}
		e.mu.Unlock()
		for _, id := range counts {
			if err := e.countHeld(ctx, id); err != nil && ctx.Err() == nil {
				e.log.Warn("what is held could not be counted", "link", id, "error", err)
			}
		}
		for _, n := range notices {
			if e.o.Notify != nil && ctx.Err() == nil && e.stands(ctx, &n) {
				e.o.Notify(ctx, n.Notice)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-e.wakeChores:
		case <-again.C:
		case <-tick.C:
			e.boundHeld(ctx)
		}
	}
}

// notice is a Notice on its way. One in doubt is told only when the store knows of no success either.
type notice struct {
	Notice
	doubt bool
}

// stands reports whether a notice is to be told. Of a link that another node has delivered over the failures are
// forgotten instead.
func (e *Engine) stands(ctx context.Context, n *notice) bool {
	since := n.Since
	fine := false
	if n.doubt {
		found, err := e.o.Store.Deliveries(ctx, store.DeliveryFilter{
			States: []patchbay.DeliveryState{patchbay.DeliverySucceeded}, Link: n.Link, Since: since, Limit: 1,
		})
		if err != nil {
			e.log.Warn("whether a link has delivered anything could not be looked up; the next failure asks again", "link", n.Link, "error", err)
		}
		fine = err != nil || len(found) > 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.lanes[n.Link]; l != nil {
		l.doubted = false
		if n.doubt && fine {
			l.failingSince = e.now()
		}
	}
	return !fine
}

// saveLanes writes lanes down. What could not be written is kept for the next time; it returns how many those are.
func (e *Engine) saveLanes(ctx context.Context, saves []store.Lane) int {
	var left []store.Lane
	for _, s := range saves {
		if err := e.o.Store.SaveLane(ctx, s); err != nil {
			if e.lostHold(err) {
				return 0
			}
			if ctx.Err() == nil {
				e.log.Warn("the state of a lane could not be written down; trying again", "link", s.Link, "error", err)
			}
			left = append(left, s)
		}
	}
	if len(left) > 0 {
		e.mu.Lock()
		e.saves = append(left, e.saves...)
		e.mu.Unlock()
	}
	return len(left)
}

// latest keeps the last of several saves of one lane.
func latest(saves []store.Lane) []store.Lane {
	seen := make(map[patchbay.LinkID]int, len(saves))
	var out []store.Lane
	for _, s := range saves {
		if i, ok := seen[s.Link]; ok {
			out[i] = s
			continue
		}
		seen[s.Link] = len(out)
		out = append(out, s)
	}
	return out
}

// boundHeld drops what has been held for longer than the bound. It is one write for each link, whatever the backlog.
func (e *Engine) boundHeld(ctx context.Context) {
	now := e.now()
	oldest := now.Add(-e.o.HoldTime)
	e.mu.Lock()
	var old []store.Lane
	for id, l := range e.lanes {
		if l.owned && l.link.holds() && l.queued && !l.due.IsZero() && l.due.Before(oldest) {
			old = append(old, store.Lane{
				Link: id, DropBefore: patchbay.DeliveryID(patchbay.FirstIDAt(oldest)),
				FailingSince: l.failingSince, Failures: l.failures, OpenUntil: l.openUntil,
			})
		}
	}
	e.mu.Unlock()
	for _, s := range old {
		if err := e.o.Store.SaveLane(ctx, s); err != nil {
			e.log.Warn("what was held too long could not be dropped; trying again in a minute", "link", s.Link, "error", err)
			continue
		}
		next, _, err := e.o.Store.NextDue(ctx, s.Link, func(patchbay.DeliveryID) bool { return false })
		if err != nil {
			continue
		}
		n, err := e.o.Store.Waiting(ctx, s.Link, e.o.HoldCount)
		if err != nil {
			continue
		}
		e.mu.Lock()
		if l := e.lanes[s.Link]; l != nil && l.link.holds() { // else it has looked for itself
			l.due, l.held = next, n
		}
		e.mu.Unlock()
	}
}

// Health is what a lane looks like at the moment.
type Health struct {
	Breaker      string
	Failures     int
	FailingSince time.Time
	// LastError is what the last failed attempt said.
	LastError string
	InFlight  int
	// Waiting counts what waits in memory.
	Waiting int
}

// Health describes a link's lane; the zero Health when there is none.
func (e *Engine) Health(id patchbay.LinkID) Health {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lanes[id]
	if l == nil {
		return Health{Breaker: "closed"}
	}
	h := Health{Breaker: "closed", Failures: l.failures, FailingSince: l.failingSince, LastError: l.lastError, InFlight: l.inflight, Waiting: l.ready.n}
	switch {
	case l.openUntil.After(e.now()):
		h.Breaker = "open"
	case l.failures >= breakAfter:
		h.Breaker = "probing"
	}
	return h
}

// Load is how busy the engine is.
type Load struct {
	InFlight, Ready, Unrecorded, OpenBreakers, Lanes int
	ReadyBytes                                       int
}

// Load describes the engine for metrics.
func (e *Engine) Load() Load {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := Load{InFlight: e.active.n, Unrecorded: e.unrecorded, Lanes: len(e.lanes), ReadyBytes: e.readyBytes}
	now := e.now()
	for _, l := range e.lanes {
		out.Ready += l.ready.n
		if l.openUntil.After(now) {
			out.OpenBreakers++
		}
	}
	return out
}
