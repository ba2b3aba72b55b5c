package deliver

import (
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// Admission is an event on its way in: what will be committed, and what happens after that. It ends with exactly one
// call of Commit or Abort.
type Admission struct {
	store.Acceptance
	e      *Engine
	items  []*item // those that go into memory
	queued []*lane // lanes of those that go to the queue
}

// Admit plans the deliveries of an event over the links that match it: which are ready in memory after the commit, and
// which wait in the queue from the start. It gives the event its identifier. Nothing is sent before Commit.
func (e *Engine) Admit(event *patchbay.Event, links []*Link, newID func(int) int64) *Admission {
	a := &Admission{e: e}
	a.Event = event
	type place struct{ turn, thread string }
	var turns []place
	for i, link := range links {
		if link.ordered() {
			if turns == nil {
				turns = make([]place, len(links))
			}
			turns[i].turn, turns[i].thread = e.turn(link, event)
		}
	}
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	lanes := make([]*lane, 0, len(links))
	for _, link := range links {
		l := e.lanes[link.ID]
		if l == nil || (l.link.holds() && l.held >= e.o.HoldCount) {
			a.Missed = true // deleted a moment ago, or its backlog is full: recovery rebuilds it from kept events
			l = nil
		}
		lanes = append(lanes, l)
	}
	k := 0
	for _, l := range lanes {
		if l != nil {
			k++
		}
	}
	event.ID = patchbay.EventID(newID(k + 1))
	if k == 0 {
		return a
	}
	a.Targets = make([]store.Target, 0, k)
	block := make([]item, k)
	for i, l := range lanes {
		if l == nil {
			continue
		}
		it := &block[len(a.Targets)]
		a.Targets = append(a.Targets, store.Target{Link: links[i].ID, Revision: links[i].Revision, Integration: links[i].Integration})
		*it = item{lane: l, delivery: patchbay.DeliveryAt(event.ID, len(a.Targets)), event: event, revision: links[i].Revision, ready: now}
		if turns != nil {
			it.turn, it.thread = turns[i].turn, turns[i].thread
		}
		if e.mustQueue(l, it, now) {
			a.Queue = append(a.Queue, it.row(event.ReceivedAt))
			a.queued = append(a.queued, l)
			l.planned++
			if c := l.chains[it.turn]; c != nil {
				c.closed = true
			}
			continue
		}
		if it.turn != "" {
			l.append(it)
		}
		l.hands++
		e.readyBytes += len(event.Payload)
		a.items = append(a.items, it)
	}
	return a
}

// mustQueue reports whether a new delivery must wait in the queue rather than in memory.
func (e *Engine) mustQueue(l *lane, it *item, now time.Time) bool {
	if e.readyBytes+len(it.event.Payload) > e.share(l) || l.ready.n+l.behind >= e.limits.laneReady || l.waits(now) {
		return true
	}
	if !l.owned && l.link.exclusive() {
		return true
	}
	if it.turn == "" {
		return false
	}
	if e.o.Cluster != nil {
		return true // other nodes may have put into the queue what comes before it
	}
	if c := l.chains[it.turn]; c != nil {
		return c.closed
	}
	return l.queued || l.planned > 0 // what is there may be of the same turn
}

// Commit begins to send: the event is durable.
func (a *Admission) Commit() {
	if len(a.items)+len(a.queued) == 0 {
		return
	}
	e := a.e
	var gone []store.Queued
	e.mu.Lock()
	for i, l := range a.queued {
		l.planned--
		if l.link.holds() {
			l.held++
		}
		e.noteQueued(l, a.Queue[i].Due)
	}
	for _, it := range a.items {
		if it.lane.removed { // in the meantime
			e.readyBytes -= len(it.event.Payload)
			it.lane.hands--
			it.lane.checkDrained()
			gone = append(gone, it.row(it.ready))
			continue
		}
		e.pushFresh(it)
		e.giveBack(it.lane) // lost in the meantime
		e.kick(it.lane)
	}
	e.schedule()
	e.mu.Unlock()
	e.discard(gone, deletedReason)
}

// Abort takes back what Admit planned: nothing was stored.
func (a *Admission) Abort() {
	e := a.e
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range a.queued {
		l.planned--
	}
	for _, it := range a.items {
		it.lane.hands--
		e.readyBytes -= len(it.event.Payload)
		e.unchain(it)
		it.lane.checkDrained()
		e.kick(it.lane)
	}
	e.schedule()
}
