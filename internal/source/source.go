// Package source is what the sources of events beside the API have in common: a broker's stream (internal/source/nats)
// and the product's outbox (internal/source/outbox). A source takes messages from elsewhere, hands each to ingest, and
// lets go of it there only when its event is durable here. What comes twice makes one event.
package source

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/ingest"
)

// Ingest takes events in.
type Ingest interface {
	Take(ctx context.Context, c *access.Caller, m *ingest.Message) (ingest.Receipt, error)
}

// Caller is who a source is to ingest: it may publish at and below a scope. The parts of its name tell its remembered
// keys from those of others, so they must stay the same from one start to the next.
func Caller(within patchbay.Scope, name ...string) *access.Caller {
	return &access.Caller{Scope: within, Permissions: []access.Permission{access.Publish}, Name: strings.Join(name, "/")}
}

// Meter counts what a source does. Its methods may be called at the same time.
type Meter struct {
	accepted, duplicates, refused, postponed atomic.Int64
	pending, lag                             atomic.Int64
	connected                                atomic.Bool
}

// Figures are what a Meter has counted.
type Figures struct {
	// Accepted counts events, Duplicates messages that came again, Refused those that can never be accepted, Postponed
	// how often one had to be left for later.
	Accepted, Duplicates, Refused, Postponed int64
	// Pending is how many messages wait there, as far as is known; Lag how old the oldest of them is.
	Pending int64
	Lag     time.Duration
	// Connected says whether the source reaches what it reads from. A node that leaves the work to another one is.
	Connected bool
}

// Figures returns the figures of this moment.
func (m *Meter) Figures() Figures {
	return Figures{
		Accepted: m.accepted.Load(), Duplicates: m.duplicates.Load(), Refused: m.refused.Load(), Postponed: m.postponed.Load(),
		Pending: m.pending.Load(), Lag: time.Duration(m.lag.Load()), Connected: m.connected.Load(),
	}
}

// Took counts a message that is an event now.
func (m *Meter) Took(r ingest.Receipt) {
	if r.Replayed {
		m.duplicates.Add(1)
		return
	}
	m.accepted.Add(1)
}

// Refused counts a message that can never be accepted.
func (m *Meter) Refused() { m.refused.Add(1) }

// Postponed counts a message that was left for later.
func (m *Meter) Postponed() { m.postponed.Add(1) }

// Waits notes what waits there.
func (m *Meter) Waits(pending int64, lag time.Duration) {
	m.pending.Store(pending)
	m.lag.Store(int64(max(0, lag)))
}

// Connected notes whether the source reaches what it reads from.
func (m *Meter) Connected(yes bool) { m.connected.Store(yes) }

// Backoff is the pause before a try, after n that failed in a row.
func Backoff(n int) time.Duration {
	const first, most = 500 * time.Millisecond, 15 * time.Second
	return min(most, first<<min(n, 6))
}

// Wait waits, and reports false when ctx ended first.
func Wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
