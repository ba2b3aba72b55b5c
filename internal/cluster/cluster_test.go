package cluster

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// node is a whole node over a fake database and engine.
type node struct {
	*Member
	t      *testing.T
	site   *site
	engine *motor

	mu    sync.Mutex
	links []patchbay.LinkID // read again, in order
	types [][]string
	keys  int
	cons  []patchbay.ConnectionID
	fail  map[patchbay.LinkID]bool // cannot be read
}

func (w *world) node(name string) *node {
	w.t.Helper()
	s := w.join(name)
	m, err := Join(w.t.Context(), Options{Store: s, Log: slog.New(slog.NewTextHandler(w.t.Output(), nil))})
	if err != nil {
		w.t.Fatal(err)
	}
	n := &node{Member: m, t: w.t, site: s, engine: &motor{w: w, self: s.self.Incarnation}, fail: map[patchbay.LinkID]bool{}}
	err = m.Start(w.t.Context(), Parts{
		Engine: n.engine, Report: func() store.NodeReport { return store.NodeReport{InFlight: 3} },
		Link: func(_ context.Context, id patchbay.LinkID) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.fail[id] {
				return errCut
			}
			n.links = append(n.links, id)
			return nil
		},
		Connection: func(_ context.Context, id patchbay.ConnectionID) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.fail[patchbay.LinkID(id)] {
				return errCut
			}
			n.cons = append(n.cons, id)
			return nil
		},
		Types: func(_ context.Context, keys []string) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			slices.Sort(keys)
			n.types = append(n.types, keys)
			return nil
		},
		Keys: func(context.Context) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.keys++
			return nil
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (n *node) stop() {
	n.t.Helper()
	n.engine.stop()
	if err := n.Stop(n.t.Context()); err != nil {
		n.t.Error(err)
	}
}

// crash ends the node without a word to anybody.
func (n *node) crash() {
	n.site.sever(true)
	n.cancel()
	n.stopBeats()
	n.owned.Wait()
}

// has counts the shards that the database says are the node's, and checks that the engine and Owns say the same.
func (n *node) has() int {
	n.t.Helper()
	w := n.engine.w
	w.mu.Lock()
	defer w.mu.Unlock()
	count := 0
	for i := range w.shards {
		if w.shards[i] != n.self.Incarnation {
			continue
		}
		count++
		if w.serving[i] != n.self.Incarnation || !n.Owns(ofShard[i]) {
			n.t.Errorf("shard %d of node %d is not sent from", i, n.self.Number)
		}
	}
	return count
}

func shares(nodes ...*node) []int {
	out := make([]int, len(nodes))
	for i, n := range nodes {
		out[i] = n.has()
	}
	slices.Sort(out)
	return out
}

// settle lets as much time go by as sharing may take.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestFairShares: one node has everything; those that come and go in order change that within two seconds.
func TestFairShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node("a")
		if got := a.has(); got != store.Shards {
			t.Errorf("alone it has %d at once", got)
		}
		b := w.node("b")
		settle(3 * time.Second)
		if got := shares(a, b); got[0] != 128 {
			t.Errorf("two nodes have %v", got)
		}
		c := w.node("c")
		settle(3 * time.Second)
		if got := shares(a, b, c); got[0]+got[1]+got[2] != store.Shards || got[2]-got[0] > 2 {
			t.Errorf("three nodes have %v", got)
		}
		a.stop()
		w.mu.Lock()
		w.nodes[0].Gone = true // what closing the store does
		w.mu.Unlock()
		settle(2 * time.Second)
		if got := shares(b, c); got[0] != 128 || a.has() != 0 {
			t.Errorf("the two that are left have %v", got)
		}
		b.stop()
		c.stop()
	})
}

// TestSlowRelease: a shard is another node's only when nothing of it is under way here any more.
func TestSlowRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node("a")
		a.engine.busy = 15 * time.Second
		b := w.node("b")
		settle(5 * time.Second)
		if got := b.has(); got != 0 {
			t.Errorf("the new one has %d before the old one let go", got)
		}
		if owned := slices.IndexFunc(ofShard[:], func(id patchbay.LinkID) bool { return !a.Owns(id) }); owned < 0 {
			t.Error("the old one still begins with everything")
		}
		settle(15 * time.Second)
		if got := shares(a, b); got[0] != 128 {
			t.Errorf("then they have %v", got)
		}
		a.Leave()
		settle(time.Second)
		stopping := time.Now()
		a.stop() // its engine is idle: nothing is waited for
		if d := time.Since(stopping); d > time.Second {
			t.Errorf("the stop took %s", d)
		}
		b.stop()
	})
}

// TestLeaving: what a node gives up the others go on with at once, however long that node takes to end.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.node("a"), w.node("b")
		settle(15 * time.Second)
		a.Leave()
		settle(3 * time.Second)
		if got := b.has(); got != store.Shards {
			t.Errorf("while another one leaves the node has %d", got)
		}
		a.stop()
		b.stop()
	})
}

// TestSlowStart: a node that has much to read before it starts is not taken for dead meanwhile.
func TestSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node("a")
		settle(15 * time.Second)
		s := w.join("b")
		m, err := Join(t.Context(), Options{Store: s})
		if err != nil {
			t.Fatal(err)
		}
		settle(time.Minute)
		if m.isFenced() || !m.Valid() || a.has() != store.Shards {
			t.Error("a node that is still starting was taken for dead")
		}
		if err := m.Stop(t.Context()); err != nil { // the start failed
			t.Error(err)
		}
		a.stop()
	})
}

// TestTakeOver: what a dead node had is another's within 15 s, and a node that only stood still does no harm.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.node("a"), w.node("b")
		settle(15 * time.Second)
		died := time.Now()
		a.crash()
		for b.has() < store.Shards {
			settle(100 * time.Millisecond)
			if time.Since(died) > 15*time.Second {
				t.Fatalf("after %s the other has %d", time.Since(died), b.has())
			}
		}
		if got := time.Since(died); got < 9*time.Second {
			t.Errorf("it was taken over after %s only", got)
		}
		settle(time.Second)
		b.engine.mu.Lock()
		looks := b.engine.looks
		b.engine.mu.Unlock()
		settle(6 * time.Second)
		if looks == 0 {
			t.Error("nobody looked for what the dead node left in the queue")
		}
		b.stop()
	})
}

// TestPausedNode: a node that cannot reach the database stops sending before another begins, and is told when it is back.
func TestPausedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.node("a"), w.node("b")
		settle(15 * time.Second)
		if !a.Valid() || a.Ready() != nil {
			t.Fatal("a healthy node may not send")
		}
		a.site.sever(true)
		for range 90 {
			settle(100 * time.Millisecond)
			if a.Valid() && b.has() > 128 {
				t.Fatal("two nodes may send the same")
			}
		}
		if a.Valid() || patchbay.CodeOf(a.Ready()) != patchbay.CodeUnavailable {
			t.Error("after nine seconds without a sign of life it may still send")
		}
		settle(4 * time.Second)
		if got := b.has(); got != store.Shards {
			t.Errorf("the other has %d", got)
		}
		select {
		case <-a.Fenced():
			t.Error("it was told before it could reach the database")
		default:
		}
		a.site.sever(false)
		settle(2 * time.Second)
		select {
		case <-a.Fenced():
		default:
			t.Error("it was not told")
		}
		if a.Valid() || a.Ready() == nil {
			t.Error("it may send")
		}
		a.stop()
		b.stop()
	})
}

// TestShortCut: a node that is back in time goes on as if nothing had been.
func TestShortCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.node("a"), w.node("b")
		settle(15 * time.Second)
		a.site.sever(true)
		settle(6 * time.Second)
		a.site.sever(false)
		settle(3 * time.Second)
		if got := shares(a, b); got[0] != 128 || !a.Valid() {
			t.Errorf("afterwards they have %v", got)
		}
		a.stop()
		b.stop()
	})
}

// TestDatabaseAway: when nobody could reach the database for a while, nobody takes anybody for dead.
func TestDatabaseAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		nodes := []*node{w.node("a"), w.node("b"), w.node("c")}
		settle(15 * time.Second)
		for _, n := range nodes {
			n.site.sever(true)
		}
		settle(time.Minute)
		nodes[0].site.sever(false)
		settle(5 * time.Second) // the others need longer to find it again
		nodes[1].site.sever(false)
		nodes[2].site.sever(false)
		settle(20 * time.Second)
		for _, n := range nodes {
			if !n.Valid() || n.isFenced() {
				t.Errorf("node %d was taken for dead", n.self.Number)
			}
			n.stop()
		}
	})
}

// TestLostAnswers: a claim whose answer was lost, and links that could not be read at first, come right by themselves.
func TestLostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.join("a")
		for i := range 7 {
			w.shards[i] = s.self.Incarnation // claimed by a call that seemed to fail
		}
		m, err := Join(t.Context(), Options{Store: s})
		if err != nil {
			t.Fatal(err)
		}
		n := &node{Member: m, t: t, site: s, engine: &motor{w: w, self: s.self.Incarnation, fail: 2}}
		if err := m.Start(t.Context(), Parts{Engine: n.engine, Report: m.parts.Report}); err != nil {
			t.Fatal(err)
		}
		settle(4 * time.Second)
		if got := n.has(); got != store.Shards {
			t.Errorf("it has %d", got)
		}
		n.stop()
	})
}

// TestChanges reach every node within a second, with and without notifications; what fails is tried again and keeps
// nothing else from it.
func TestChanges(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			a, b := w.node("a"), w.node("b")
			b.site.mu.Lock()
			b.site.deaf = deaf
			b.site.mu.Unlock()
			if deaf { // its connection is lost
				w.mu.Lock()
				delete(w.hear, b.self.Incarnation)
				w.mu.Unlock()
			}
			settle(2 * time.Second)
			b.mu.Lock()
			b.fail[13] = true
			b.mu.Unlock()
			change := func(c ...store.Change) {
				t.Helper()
				if err := a.site.Announce(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			change(
				store.Change{Kind: store.ChangedLink, ID: 13}, store.Change{Kind: store.ChangedLink, ID: 7},
				store.Change{Kind: store.ChangedConnection, ID: 13}, store.Change{Kind: store.ChangedConnection, ID: 21},
				store.Change{Kind: store.ChangedType, Key: "x"}, store.Change{Kind: store.ChangedType, Key: "y"}, store.Change{Kind: store.ChangedType, Key: "x"},
				store.Change{Kind: store.ChangedKey, ID: 1}, store.Change{Kind: store.ChangedLane, ID: 7, At: 9}, store.Change{Kind: "of a newer version"},
				store.Change{Kind: store.ChangedDelivery, ID: 11, Link: 7}, store.Change{Kind: store.ChangedLink, ID: 8},
			)
			if deaf {
				settle(time.Second)
			} else {
				synctest.Wait()
			}
			b.mu.Lock()
			if !slices.Equal(b.links, []patchbay.LinkID{7, 8}) || !slices.Equal(b.cons, []patchbay.ConnectionID{21}) || len(b.types) == 0 || b.keys == 0 {
				t.Errorf("links %v, connections %v, types %v and keys %d times were read again", b.links, b.cons, b.types, b.keys)
			}
			b.fail[13] = false
			b.mu.Unlock()
			b.engine.mu.Lock()
			if !slices.Equal(b.engine.dropped, []patchbay.LinkID{7}) || !slices.Equal(b.engine.cancelled, []patchbay.DeliveryID{11}) {
				t.Errorf("the engine was told of %v and %v", b.engine.dropped, b.engine.cancelled)
			}
			b.engine.mu.Unlock()
			settle(2 * time.Second)
			b.mu.Lock()
			if !slices.Contains(b.links, 13) || !slices.Contains(b.cons, 13) || len(b.again) != 0 {
				t.Errorf("what failed was not tried again: %v", b.links)
			}
			b.mu.Unlock()
			a.stop()
			b.stop()
		})
	}
}

// TestWake tells owners, many links with few calls.
func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.node("a"), w.node("b")
		settle(3 * time.Second)
		for range 3 {
			a.Wake(ofShard[:])
		}
		settle(10 * time.Millisecond)
		for _, n := range []*node{a, b} {
			n.engine.mu.Lock()
			for _, id := range n.engine.woken {
				if !n.Owns(id) {
					t.Errorf("node %d was woken for a link of another's", n.self.Number)
				}
			}
			if got := len(n.engine.woken); got < 128 || got > 2*128 {
				t.Errorf("node %d was woken %d times", n.self.Number, got)
			}
			n.engine.mu.Unlock()
			n.stop()
		}
	})
}

// TestSlowDatabase: a database that answers late, but answers, costs nobody the lease.
func TestSlowDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.node("a"), w.node("b")
		for _, n := range []*node{a, b} {
			n.site.mu.Lock()
			n.site.late = 2 * time.Second
			n.site.mu.Unlock()
		}
		for range 60 {
			settle(time.Second)
			if !a.Valid() || !b.Valid() {
				t.Fatal("the lease was lost")
			}
		}
		if got := shares(a, b); got[0] != 128 {
			t.Errorf("they have %v", got)
		}
		a.stop()
		b.stop()
	})
}

// TestClock: a machine whose clock is set sends nothing for a second at most, and never wrongly.
func TestClock(t *testing.T) {
	m := &Member{rhythm: usual, fenced: make(chan struct{})}
	for _, c := range []struct {
		what  string
		begun time.Time
		valid bool
	}{
		{"just now", time.Now(), true},
		{"seven seconds ago", time.Now().Add(-7 * time.Second), true},
		{"nine seconds ago", time.Now().Add(-9 * time.Second), false},
		{"an hour ahead by the clock on the wall", time.Now().Round(0).Add(time.Hour), false},
		{"an hour back by the clock on the wall", time.Now().Round(0).Add(-time.Hour), false},
	} {
		m.begun.Store(&c.begun)
		if m.Valid() != c.valid {
			t.Errorf("%s: valid is %v", c.what, !c.valid)
		}
	}
}

// TestOverview shows who is there, to whom may see it.
func TestOverview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.node("a"), w.node("b")
		settle(15 * time.Second)
		b.site.sever(true)
		settle(5 * time.Second)
		s := NewService(a.Member, func(context.Context) (int64, error) { return 42, nil })
		admin := &access.Caller{Permissions: []access.Permission{access.Admin}}
		states := func() []string {
			t.Helper()
			o, err := s.Overview(t.Context(), admin)
			if err != nil {
				t.Fatal(err)
			}
			if o.Waiting != 42 || !o.Nodes[0].Self || o.Nodes[0].InFlight != 3 || o.Nodes[1].Self {
				t.Errorf("it shows %+v", o)
			}
			var out []string
			for _, n := range o.Nodes {
				out = append(out, n.State)
			}
			return out
		}
		if got := states(); !slices.Equal(got, []string{StateAlive, StateSilent}) {
			t.Errorf("the states are %v", got)
		}
		settle(10 * time.Second)
		if got := states(); !slices.Equal(got, []string{StateAlive, StateGone}) {
			t.Errorf("then they are %v", got)
		}
		for _, c := range []*access.Caller{{Permissions: []access.Permission{access.Read}}, {Scope: "acme", Permissions: admin.Permissions}} {
			if _, err := s.Overview(t.Context(), c); patchbay.CodeOf(err) != patchbay.CodeForbidden {
				t.Errorf("%+v: %v", c, err)
			}
		}
		a.stop()
		b.stop()
	})
}

// TestJoinFails with the reason when the database cannot be reached.
func TestJoinFails(t *testing.T) {
	w := newWorld(t)
	s := w.join("a")
	s.sever(true)
	if _, err := Join(t.Context(), Options{Store: s}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	s.sever(false)
	w.drop(w.nodes[0])
	if _, err := Join(t.Context(), Options{Store: s}); !errors.Is(err, store.ErrFenced) {
		t.Errorf("got %v", err)
	}
}

// TestLog proves that what operators are told names the node and says why.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var b bytes.Buffer
		s := w.join("a")
		m, err := Join(t.Context(), Options{Store: s, Log: slog.New(slog.NewTextHandler(&b, nil))})
		if err != nil {
			t.Fatal(err)
		}
		n := &node{Member: m, t: t, engine: &motor{w: w, self: 1}}
		if err := m.Start(t.Context(), Parts{Engine: n.engine, Report: m.parts.Report}); err != nil {
			t.Fatal(err)
		}
		s.sever(true)
		settle(20 * time.Second)
		s.sever(false)
		settle(3 * time.Second)
		w.mu.Lock()
		w.drop(w.nodes[0])
		w.mu.Unlock()
		settle(3 * time.Second)
		n.stop()
		for _, want := range []string{"was not told that this node is alive", "knows again", "took this one for dead"} {
			if got := strings.Count(b.String(), want); got != 1 {
				t.Errorf("%q is in the log %d times:\n%s", want, got, &b)
			}
		}
	})
}
