package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// world is a database in memory that nodes share; time goes by the bubble's clock. It checks what must hold at every
// moment: no shard is sent from by two nodes.
type world struct {
	t  *testing.T
	mu sync.Mutex
	// nodes are all that ever joined, by incarnation.
	nodes   []*store.Node
	fenced  map[int64]bool
	shards  [store.Shards]int64 // the incarnation that owns it; 0: nobody
	changes []store.Change
	hear    map[int64]func() // by incarnation: there are changes
	wake    map[int64]func([]patchbay.LinkID)
	serving [store.Shards]int64 // whose engine takes the shard for its own
}

func newWorld(t *testing.T) *world {
	return &world{t: t, fenced: map[int64]bool{}, hear: map[int64]func(){}, wake: map[int64]func([]patchbay.LinkID){}}
}

// site is a node's store.Cluster.
type site struct {
	w    *world
	self store.Node

	mu   sync.Mutex
	cut  chan struct{} // closed: calls fail; nil: they work
	deaf bool          // Listen fails
	late time.Duration // every call takes so long
}

var errCut = errors.New("connection refused")

func (w *world) join(name string) *site {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := &store.Node{Number: len(w.nodes), Incarnation: int64(len(w.nodes) + 1), Name: name, StartedAt: time.Now(), SeenAt: time.Now()}
	w.nodes = append(w.nodes, n)
	return &site{w: w, self: *n}
}

// sever lets every call of the node fail from now on, or work again.
func (s *site) sever(cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case cut && s.cut == nil:
		s.cut = make(chan struct{})
		close(s.cut)
	case !cut:
		s.cut = nil
	}
}

func (s *site) state() (cut chan struct{}, deaf bool, late time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut, s.deaf, s.late
}

// enter begins a call. The caller unlocks the world.
func (s *site) enter(ctx context.Context, write bool) error {
	cut, _, late := s.state()
	if late > 0 {
		select {
		case <-time.After(late):
		case <-ctx.Done():
		}
	}
	s.w.mu.Lock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case cut != nil:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, errCut)
	case write && s.w.fenced[s.self.Incarnation]:
		return store.ErrFenced
	}
	return nil
}

func (s *site) Self() store.Node { return s.self }

func (s *site) Beat(ctx context.Context, r store.NodeReport) (store.ClusterView, error) {
	err := s.enter(ctx, true)
	defer s.w.mu.Unlock()
	if err != nil {
		return store.ClusterView{}, err
	}
	me := s.w.nodes[s.self.Number]
	me.SeenAt, me.Report = time.Now(), r
	view := store.ClusterView{Now: time.Now()}
	for _, n := range s.w.nodes {
		c := *n
		for shard, owner := range s.w.shards {
			if owner == c.Incarnation {
				c.Shards = append(c.Shards, shard)
			}
		}
		view.Nodes = append(view.Nodes, c)
	}
	return view, nil
}

func (s *site) TakeOver(ctx context.Context, silent time.Duration) ([]store.Node, error) {
	err := s.enter(ctx, true)
	defer s.w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var dead []store.Node
	for _, n := range s.w.nodes {
		if !n.Gone && time.Since(n.SeenAt) > silent {
			s.w.drop(n)
			dead = append(dead, *n)
		}
	}
	return dead, nil
}

// drop fences a node. The caller holds w.mu.
func (w *world) drop(n *store.Node) {
	n.Gone = true
	w.fenced[n.Incarnation] = true
	for i := range w.shards {
		if w.shards[i] == n.Incarnation {
			w.shards[i] = 0
			w.serving[i] = 0 // what it still does the store refuses
		}
	}
}

func (s *site) ClaimShards(ctx context.Context, n int) ([]int, error) {
	err := s.enter(ctx, true)
	defer s.w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var got []int
	for i := range s.w.shards {
		if len(got) < n && s.w.shards[i] == 0 {
			s.w.shards[i] = s.self.Incarnation
			got = append(got, i)
		}
	}
	return got, nil
}

func (s *site) ReleaseShards(ctx context.Context, shards []int) error {
	err := s.enter(ctx, true)
	defer s.w.mu.Unlock()
	if err != nil {
		return err
	}
	for _, i := range shards {
		if s.w.serving[i] == s.self.Incarnation {
			s.w.t.Errorf("node %d released shard %d, which its engine still has", s.self.Number, i)
		}
		if s.w.shards[i] == s.self.Incarnation {
			s.w.shards[i] = 0
		}
	}
	return nil
}

func (s *site) LastChange(ctx context.Context) (int64, error) {
	err := s.enter(ctx, false)
	defer s.w.mu.Unlock()
	return int64(len(s.w.changes)), err
}

func (s *site) Changes(ctx context.Context, after int64) ([]store.Change, error) {
	err := s.enter(ctx, false)
	defer s.w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	rest := s.w.changes[after:]
	return slices.Clone(rest[:min(len(rest), 3)]), nil
}

func (s *site) Announce(ctx context.Context, changes []store.Change) error {
	err := s.enter(ctx, true)
	if err != nil {
		s.w.mu.Unlock()
		return err
	}
	for _, c := range changes {
		c.Seq = int64(len(s.w.changes) + 1)
		s.w.changes = append(s.w.changes, c)
	}
	hear := slices.Collect(maps.Values(s.w.hear))
	s.w.mu.Unlock()
	for _, h := range hear {
		h()
	}
	return nil
}

func (s *site) Wake(ctx context.Context, links []patchbay.LinkID) error {
	err := s.enter(ctx, false)
	if err != nil {
		s.w.mu.Unlock()
		return err
	}
	wake := slices.Collect(maps.Values(s.w.wake))
	s.w.mu.Unlock()
	for _, w := range wake {
		w(links)
	}
	return nil
}

func (s *site) Listen(ctx context.Context, woken func([]patchbay.LinkID), changed func()) error {
	err := s.enter(ctx, false)
	if _, deaf, _ := s.state(); deaf && err == nil {
		err = errCut
	}
	if err != nil {
		s.w.mu.Unlock()
		return err
	}
	s.w.hear[s.self.Incarnation], s.w.wake[s.self.Incarnation] = changed, woken
	s.w.mu.Unlock()
	<-ctx.Done()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	delete(s.w.hear, s.self.Incarnation)
	delete(s.w.wake, s.self.Incarnation)
	return ctx.Err()
}

// motor is an engine that knows its links only.
type motor struct {
	w    *world
	self int64

	mu        sync.Mutex
	fail      int           // so many calls of Gained fail
	busy      time.Duration // how long Lost takes
	woken     []patchbay.LinkID
	looks     int
	dropped   []patchbay.LinkID
	cancelled []patchbay.DeliveryID
}

// ofShard has a link of every shard.
var ofShard = func() (out [store.Shards]patchbay.LinkID) {
	for found, id := 0, patchbay.LinkID(1); found < store.Shards; id++ {
		if s := store.Shard(id); out[s] == 0 {
			out[s] = id
			found++
		}
	}
	return out
}()

func (e *motor) Gained(_ context.Context, owns func(patchbay.LinkID) bool) error {
	e.mu.Lock()
	fails := e.fail > 0
	e.fail = max(0, e.fail-1)
	e.mu.Unlock()
	if fails {
		return errCut
	}
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	for shard, link := range ofShard {
		if !owns(link) {
			continue
		}
		if other := e.w.serving[shard]; other != 0 && other != e.self {
			e.w.t.Errorf("shard %d is sent from by %d and %d", shard, other, e.self)
		}
		e.w.serving[shard] = e.self
	}
	return nil
}

func (e *motor) Lost(owns func(patchbay.LinkID) bool) <-chan struct{} {
	done := make(chan struct{})
	e.mu.Lock()
	busy := e.busy
	e.mu.Unlock()
	end := func() {
		e.w.mu.Lock()
		defer e.w.mu.Unlock()
		for shard, link := range ofShard {
			if owns(link) && e.w.serving[shard] == e.self {
				e.w.serving[shard] = 0
			}
		}
		close(done)
	}
	if busy == 0 {
		end()
	} else {
		time.AfterFunc(busy, end)
	}
	return done
}

func (e *motor) Woken(links []patchbay.LinkID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.woken = append(e.woken, links...)
}

func (e *motor) LookAgain(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looks++
	return nil
}

func (e *motor) LaneDropped(link patchbay.LinkID, _ patchbay.DeliveryID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropped = append(e.dropped, link)
}

func (e *motor) Cancelled(delivery patchbay.DeliveryID, _ patchbay.LinkID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancelled = append(e.cancelled, delivery)
}

// stop lets go of everything, as an engine does that was stopped.
func (e *motor) stop() {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	for i := range e.w.serving {
		if e.w.serving[i] == e.self {
			e.w.serving[i] = 0
		}
	}
}
