package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// group is how many shards are released together: a link that hangs holds up the others of its group only.
const group = 8

// hold says what a node has of a shard.
type hold uint8

const (
	none    hold = iota
	gaining      // it is this node's, and the engine has not taken it over yet
	held
	releasing // the engine lets go of it
)

// shards is a node's share of the links.
type shards struct {
	mu    sync.Mutex
	hold  [store.Shards]hold
	gen   int // grows when a claim or a release begins or ends
	doing int // how many are under way
	// leaving says that everything is to be released; released is closed when it is.
	leaving  bool
	closed   bool
	released chan struct{}
}

func (s *shards) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
}

// generation says which state of the share a view of the cluster can be compared with; -1 when there is none.
func (s *shards) generation() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doing > 0 {
		return -1
	}
	return s.gen
}

func (s *shards) begin() {
	s.gen++
	s.doing++
}

func (s *shards) end() {
	s.gen++
	s.doing--
}

// count returns how many shards are this node's, and how many are on their way to others.
func (s *shards) count() (mine, leaving int) {
	for _, h := range s.hold {
		switch h {
		case gaining, held:
			mine++
		case releasing:
			leaving++
		}
	}
	return mine, leaving
}

// mine returns how many shards are this node's.
func (s *shards) mine() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, _ := s.count()
	return n
}

// reconcile takes over what the database says of this node's share where nothing was changed since: the answer to a
// claim or a release may have been lost.
func (s *shards) reconcile(m *Member, view *store.ClusterView, generation int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doing > 0 || s.gen != generation {
		return
	}
	i := slices.IndexFunc(view.Nodes, func(n store.Node) bool { return n.Incarnation == m.self.Incarnation })
	if i < 0 {
		return
	}
	for _, shard := range view.Nodes[i].Shards {
		if shard >= 0 && shard < store.Shards && s.hold[shard] == none {
			s.hold[shard] = gaining
			m.owns[shard].Store(true)
		}
	}
}

// sharing keeps this node's share fair until ctx is done.
func (m *Member) sharing(ctx context.Context) {
	m.every(ctx, m.rhythm.beat, m.pokeShare, m.share)
}

// share claims shards when this node has fewer than its share, and releases some when it has more.
func (m *Member) share(ctx context.Context) {
	view := m.view.Load()
	alive, taken := 0, 0
	for i := range view.Nodes {
		taken += len(view.Nodes[i].Shards)
		n := &view.Nodes[i]
		if n.Incarnation == m.self.Incarnation || !n.Gone && !n.Report.Apart { // to start and to leave may take a node its time
			alive++
		}
	}
	fair := (store.Shards + max(alive, 1) - 1) / max(alive, 1)
	s := &m.shards
	s.mu.Lock()
	if s.leaving {
		fair = 0
	}
	mine, leaving := s.count()
	if s.leaving && mine+leaving == 0 && !s.closed {
		s.closed = true
		close(s.released)
	}
	s.mu.Unlock()
	switch {
	case mine > fair:
		m.release(ctx, mine-fair)
	case mine < fair && taken < store.Shards:
		m.claim(ctx, fair-mine)
	}
	m.gain(ctx)
}

// claim takes free shards.
func (m *Member) claim(ctx context.Context, n int) {
	s := &m.shards
	s.mu.Lock()
	s.begin()
	s.mu.Unlock()
	got, err := m.store.ClaimShards(ctx, n)
	s.mu.Lock()
	for _, shard := range got {
		if s.hold[shard] == none {
			s.hold[shard] = gaining
			m.owns[shard].Store(true)
		}
	}
	s.end()
	s.mu.Unlock()
	if err != nil && !m.fence(err) && ctx.Err() == nil {
		m.log.Warn("links could not be shared with the other nodes; trying again", "error", err)
	}
}

// gain has the engine take over what is new.
func (m *Member) gain(ctx context.Context) {
	s := &m.shards
	var gained [store.Shards]bool
	some := false
	s.mu.Lock()
	for i, h := range s.hold {
		if h == gaining {
			gained[i], some = true, true
		}
	}
	s.mu.Unlock()
	if !some {
		return
	}
	if err := m.parts.Engine.Gained(ctx, func(id patchbay.LinkID) bool { return gained[store.Shard(id)] }); err != nil {
		if !m.fence(err) && ctx.Err() == nil {
			m.log.Warn("what waits for links that are this node's now could not be read; trying again", "error", err)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, h := range s.hold {
		if gained[i] && h == gaining {
			s.hold[i] = held
		}
	}
}

// release gives n shards up, in groups, without waiting for the end of it.
func (m *Member) release(ctx context.Context, n int) {
	s := &m.shards
	s.mu.Lock()
	var give []int
	for i := store.Shards - 1; i >= 0 && len(give) < n; i-- {
		if s.hold[i] == held || s.hold[i] == gaining {
			s.hold[i] = releasing
			m.owns[i].Store(false)
			give = append(give, i)
		}
	}
	groups := slices.Collect(slices.Chunk(give, group))
	for range groups {
		s.begin()
	}
	s.mu.Unlock()
	for _, some := range groups {
		var lost [store.Shards]bool
		for _, shard := range some {
			lost[shard] = true
		}
		done := m.parts.Engine.Lost(func(id patchbay.LinkID) bool { return lost[store.Shard(id)] })
		m.owned.Go(func() { m.letGo(ctx, some, done) })
	}
}

// letGo frees shards when nothing of theirs is under way here any more.
func (m *Member) letGo(ctx context.Context, some []int, done <-chan struct{}) {
	s := &m.shards
	select {
	case <-done:
	case <-m.idle:
	case <-ctx.Done():
	case <-m.fenced:
	}
	ended := m.untilDone(ctx, func() error { return m.store.ReleaseShards(ctx, some) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	if !ended {
		return // the store frees them when it is closed, or others have them already
	}
	for _, shard := range some {
		s.hold[shard] = none
	}
	poke(m.pokeShare)
}

// untilDone tries until it works, and reports false when the node stops or is fenced before.
func (m *Member) untilDone(ctx context.Context, try func() error) bool {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if ctx.Err() != nil || m.isFenced() {
			return false
		}
		err := try()
		if err == nil {
			return true
		}
		if m.fence(err) {
			return false
		}
		if ctx.Err() == nil {
			m.log.Warn("links could not be handed over to the other nodes; trying again", "error", err)
		}
		timer.Reset(m.rhythm.again)
		select {
		case <-ctx.Done():
		case <-m.fenced:
		case <-timer.C:
		}
	}
}
