package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// parkMost is about how many deliveries one write moves to the queue.
	parkMost = 1000
	// parkRetry is the pause before a write that failed is tried again.
	parkRetry = time.Second
)

// parking is deliveries of one lane on their way from memory to the queue. Until they are there the store counts them
// as being in memory, so a restart finds them.
type parking struct {
	l *lane
	q []store.Queued
}

// handOver gives deliveries that were taken out of memory to the parker.
func (e *Engine) handOver(l *lane, q []store.Queued) {
	if len(q) > 0 {
		e.leaving = append(e.leaving, parking{l, q})
		wake(e.wakeParker)
	}
}

// parker moves deliveries from memory to the queue, many at a time and beside everything else: a write may take long.
func (e *Engine) parker(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		again := e.wakeParker
		pause := time.Hour
		if err := e.parkAll(ctx); err != nil {
			if ctx.Err() == nil {
				e.log.Warn("deliveries could not be moved to the queue; trying again", "error", err)
			}
			again, pause = nil, parkRetry
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-again:
		}
	}
}

// parkAll gives everything that is on its way a place in the queue. What it cannot stays on its way.
func (e *Engine) parkAll(ctx context.Context) error {
	e.mu.Lock()
	rest := e.leaving
	e.leaving = nil
	e.mu.Unlock()
	most := parkMost
	var failed error
	var left []parking
	for len(rest) > 0 {
		n, rows := 1, rest[0].q
		for n < len(rest) && len(rows)+len(rest[n].q) <= most {
			rows = append(rows[:len(rows):len(rows)], rest[n].q...)
			n++
		}
		err := e.o.Store.Enqueue(ctx, rows)
		switch {
		case err == nil:
			e.inQueue(rest[:n])
		case e.lostHold(err):
			return nil // others have them
		case errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil:
			failed = err
			left = append(left, rest...)
			n = len(rest)
		case n > 1:
			most, n = 0, 0 // one of them is the reason: lane by lane from here on
		default:
			failed = err
			left = append(left, rest[0])
		}
		rest = rest[n:]
	}
	if len(left) > 0 {
		e.mu.Lock()
		e.leaving = append(left, e.leaving...)
		e.mu.Unlock()
	}
	return failed
}

// inQueue notes that deliveries got their places in the queue.
func (e *Engine) inQueue(parked []parking) {
	var gone []store.Queued
	e.mu.Lock()
	now := e.now()
	for _, p := range parked {
		p.l.hands -= len(p.q)
		for i := range p.q {
			e.arrived(p.l, p.q[i].Thread)
		}
		p.l.checkDrained()
		if p.l.removed {
			gone = append(gone, p.q...) // the write came after the drop, and so counts as put back by hand
			continue
		}
		e.noteQueued(p.l, now)
	}
	e.schedule()
	e.mu.Unlock()
	e.discard(gone, deletedReason)
}

// Why deliveries end without an attempt.
const (
	deletedReason = "the link was deleted"
	byHandReason  = "cancelled by hand"
	droppedReason = "what waited for the link was dropped"
)

// discard ends deliveries that nobody wants any more.
func (e *Engine) discard(q []store.Queued, why string) {
	if len(q) == 0 {
		return
	}
	outcomes := make([]store.Outcome, len(q))
	for i := range q {
		outcomes[i] = store.Outcome{
			Delivery: q[i].Delivery, Event: q[i].Event, Link: q[i].Link, State: patchbay.DeliveryCancelled, WasQueued: true,
			Attempt: patchbay.Attempt{At: e.o.Now(), Error: why},
		}
	}
	e.o.Store.Record(outcomes, nil)
}
