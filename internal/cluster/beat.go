package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// Valid reports whether the others still count this node as alive, so that it may send: a sign of life that began less
// than the lease ago has reached the database. Both of the machine's clocks must say so: the monotonic one stands still
// while a machine is suspended, and the other one can be set. Either error ends with the next sign of life.
func (m *Member) Valid() bool {
	begun := m.begun.Load()
	if begun == nil {
		return false
	}
	now := time.Now()
	wall := now.Round(0).Sub(begun.Round(0))
	return now.Sub(*begun) < m.rhythm.lease && wall < m.rhythm.lease && wall > -m.rhythm.lease
}

// Ready returns nil when the node may send, else a sentence that says why not.
func (m *Member) Ready() error {
	switch {
	case m.isFenced():
		return patchbay.Errorf(patchbay.CodeUnavailable, "the other nodes took node %d for dead; it starts anew", m.self.Number)
	case !m.Valid():
		return patchbay.Errorf(patchbay.CodeUnavailable,
			"node %d has not reached the database for %s: it sends nothing until it does", m.self.Number, m.rhythm.lease)
	}
	return nil
}

// beats says that the node is alive until ctx is done.
func (m *Member) beats(ctx context.Context) {
	failing := false
	m.every(ctx, m.rhythm.beat, m.pokeBeat, func(ctx context.Context) {
		err := m.beat(ctx)
		switch {
		case ctx.Err() != nil || m.isFenced():
		case err != nil && !failing:
			failing = true
			m.log.Warn("the database was not told that this node is alive; trying again", "node", m.self.Number, "error", err)
		case err == nil && failing:
			failing = false
			m.log.Info("the database knows again that this node is alive", "node", m.self.Number)
		}
	})
}

// beat says once that the node is alive, and takes over who else is.
func (m *Member) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.rhythm.beatTime)
	defer cancel()
	begun, generation := time.Now(), m.shards.generation()
	report := (*m.report.Load())()
	report.Apart = !m.shares.Load()
	view, err := m.store.Beat(ctx, report)
	if m.fence(err) {
		return err
	}
	if err != nil {
		return err
	}
	if last := m.begun.Load(); last == nil || begun.Sub(*last) > m.rhythm.beat+m.rhythm.beatTime/2 {
		m.proven.Store(&begun)
	}
	m.begun.Store(&begun)
	if m.isFenced() { // since the answer
		m.begun.Store(nil)
	}
	before := m.view.Swap(&view)
	if before != nil {
		m.compare(before, &view)
	}
	m.shards.reconcile(m, &view, generation)
	poke(m.pokeShare)
	return nil
}

// compare looks for nodes that have gone: what they handed back may be this node's to send, and nobody else tells.
func (m *Member) compare(before, after *store.ClusterView) {
	alive := map[int64]bool{}
	for i := range before.Nodes {
		if !before.Nodes[i].Gone {
			alive[before.Nodes[i].Incarnation] = true
		}
	}
	gone := false
	for i := range after.Nodes {
		n := &after.Nodes[i]
		switch {
		case n.Incarnation == m.self.Incarnation:
		case n.Gone && alive[n.Incarnation]:
			gone = true
			m.log.Info("another node has gone", "node", n.Number, "address", n.Address)
		case !n.Gone && !alive[n.Incarnation]:
			m.log.Info("another node has come", "node", n.Number, "address", n.Address)
		}
		delete(alive, n.Incarnation)
	}
	delete(alive, m.self.Incarnation)
	if gone || len(alive) > 0 { // or its row has gone too
		poke(m.pokeLook)
	}
}

// takeOvers looks for dead nodes until ctx is done.
func (m *Member) takeOvers(ctx context.Context) {
	failing := false
	m.every(ctx, m.rhythm.takeOver, nil, func(ctx context.Context) {
		if !m.mayTakeOver() {
			return
		}
		dead, err := m.store.TakeOver(ctx, m.rhythm.silent)
		if m.fence(err) || ctx.Err() != nil {
			return
		}
		for i := range dead {
			m.log.Warn(fmt.Sprintf("another node was silent for longer than %s: what it had is taken over", m.rhythm.silent),
				"node", dead[i].Number, "name", dead[i].Name, "address", dead[i].Address)
		}
		if len(dead) > 0 {
			poke(m.pokeShare)
			poke(m.pokeLook)
		}
		if err != nil && !failing && !errors.Is(err, context.Canceled) {
			m.log.Warn("dead nodes could not be looked for; trying again", "error", err)
		}
		failing = err != nil
	})
}

// mayTakeOver reports whether the silence of others can be trusted. When the database was away everybody was silent,
// this node too: then all get as much time to come back as they may be silent for.
func (m *Member) mayTakeOver() bool {
	proven := m.proven.Load()
	return m.Valid() && proven != nil && time.Since(*proven) >= m.rhythm.silent
}
