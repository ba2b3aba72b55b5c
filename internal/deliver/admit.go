package deliver

import (
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
	var threads []string
	for i, link := range links {
		if link.Definition.Threads {
			if threads == nil {
				threads = make([]string, len(links))
			}
			threads[i] = e.o.Catalog.Thread(event, link.Definition)
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
		if threads != nil {
			it.thread = threads[i]
		}
		full := e.readyBytes+len(event.Payload) > e.share(l)
		behind := it.thread != "" && (l.queued || l.threads[it.thread] > 0)
		if full || behind || l.ready.n >= e.limits.laneReady || l.waits(now) {
			a.Queue = append(a.Queue, it.row(event.ReceivedAt))
			a.queued = append(a.queued, l)
			continue
		}
		l.holdThread(it.thread)
		e.readyBytes += len(event.Payload)
		a.items = append(a.items, it)
	}
	return a
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
		if l.link.holds() {
			l.held++
		}
		e.noteQueued(l, a.Queue[i].Due)
	}
	for _, it := range a.items {
		if it.lane.removed { // in the meantime
			e.readyBytes -= len(it.event.Payload)
			gone = append(gone, it.row(it.ready))
			continue
		}
		e.pushFresh(it)
		e.kick(it.lane)
	}
	e.schedule()
	e.mu.Unlock()
	e.discard(gone)
}

// Abort takes back what Admit planned: nothing was stored.
func (a *Admission) Abort() {
	e := a.e
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, it := range a.items {
		it.lane.releaseThread(it.thread)
		e.readyBytes -= len(it.event.Payload)
		e.followThread(it.lane, it.thread)
	}
	e.schedule()
}
