package postgres_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
)

var ctx = context.Background()

// join opens a database as a node with a name.
func join(t *testing.T, url, name string) *postgres.Store {
	t.Helper()
	return joinWith(t, postgres.Options{URL: url, Name: name})
}

func joinWith(t *testing.T, o postgres.Options) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const link = patchbay.LinkID(1 << 40)

// accept accepts an event with n deliveries of link, which only the node's memory knows of.
func accept(t *testing.T, s store.Store, n int) *store.Acceptance {
	t.Helper()
	a := acceptance(s, n, time.Now())
	for i := range a.Targets {
		a.Targets[i].Link = link
	}
	_, err := s.Accept(ctx, a)
	must(t, err)
	return a
}

func queue(t *testing.T, s store.Store) (out []patchbay.DeliveryID) {
	t.Helper()
	claimed, err := s.Due(ctx, link, time.Now().Add(time.Hour), 10_000, nil)
	must(t, err)
	for _, c := range claimed {
		out = append(out, c.Delivery)
	}
	slices.Sort(out)
	return out
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for until := time.Now().Add(90 * time.Second); !yes(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it does not come to pass that", what)
		}
	}
}

// TestNodesShareADatabase shows that what one node stores the other one reads, that no two make the same identifier, and
// that a key is one key for both.
func TestNodesShareADatabase(t *testing.T) {
	url := pgtest.Database(t)
	a, b := join(t, url, "a"), join(t, url, "b")
	if a.Self().Number == b.Self().Number || a.Self().Incarnation == b.Self().Incarnation {
		t.Fatalf("both nodes are %+v", a.Self())
	}
	x := accept(t, a, 1)
	if got, err := b.Event(ctx, x.Event.ID); err != nil || string(got.Payload) != string(x.Event.Payload) {
		t.Errorf("the other node reads %v, %v", got, err)
	}
	var mu sync.Mutex
	ids := map[int64]bool{}
	stored := map[[16]byte]int{}
	var all sync.WaitGroup
	for _, s := range []*postgres.Store{a, b, a, b} {
		all.Go(func() {
			for i := range 50 {
				x := acceptance(s, 1, time.Now())
				x.Idempotency.Key = [16]byte{byte(i)}
				existing, err := s.Accept(ctx, x)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if ids[int64(x.Event.ID)] {
					t.Errorf("two events are %s", x.Event.ID)
				}
				ids[int64(x.Event.ID)] = true
				if existing == nil {
					stored[x.Idempotency.Key]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for key, n := range stored {
		if n != 1 {
			t.Errorf("the key %x was accepted %d times", key[0], n)
		}
	}
	if len(stored) != 50 {
		t.Errorf("%d keys were accepted, want 50", len(stored))
	}
}

// TestTakeOver shows that a node that shows no sign of life is fenced, that its deliveries and shards are in other hands
// then, and that nothing it writes afterwards is stored.
func TestTakeOver(t *testing.T) {
	url := pgtest.Database(t)
	a, b := join(t, url, "a"), join(t, url, "b")
	shards, err := a.ClaimShards(ctx, 10)
	must(t, err)
	x, done := accept(t, a, 3), accept(t, a, 1)
	a.Record(outcomesOf(done, time.Now(), nil), nil)
	must(t, a.Flush(ctx))
	mine := accept(t, b, 1)

	over, err := b.TakeOver(ctx, time.Hour)
	must(t, err)
	if len(over) != 0 {
		t.Fatalf("a node that lives was taken over: %+v", over)
	}
	eventually(t, "the silent node is taken over", func() bool {
		over, err = b.TakeOver(ctx, 50*time.Millisecond)
		must(t, err)
		return len(over) > 0
	})
	if len(over) != 1 || over[0].Number != a.Self().Number || !slices.Equal(over[0].Shards, shards) || !over[0].Gone {
		t.Errorf("%+v was taken over, want %+v with shards %v", over, a.Self(), shards)
	}
	want := []patchbay.DeliveryID{patchbay.DeliveryAt(x.Event.ID, 1), patchbay.DeliveryAt(x.Event.ID, 2), patchbay.DeliveryAt(x.Event.ID, 3)}
	if got := queue(t, b); !slices.Equal(got, want) {
		t.Errorf("%v wait, want %v and not %s", got, want, mine.Event.ID)
	}
	if got, err := b.ClaimShards(ctx, 300); err != nil || len(got) != store.Shards {
		t.Errorf("%d shards are free, %v", len(got), err)
	}
	if over, err = b.TakeOver(ctx, 50*time.Millisecond); err != nil || len(over) != 0 {
		t.Errorf("it was taken over again: %v, %v", over, err)
	}

	late := acceptance(a, 1, time.Now())
	_, accepted := a.Accept(ctx, late)
	a.Record(outcomesOf(x, time.Now(), nil), nil)
	_, beat := a.Beat(ctx, store.NodeReport{})
	_, claimed := a.ClaimShards(ctx, 1)
	for what, err := range map[string]error{
		"Accept": accepted, "Flush": a.Flush(ctx), "Beat": beat, "ClaimShards": claimed, "ReleaseShards": a.ReleaseShards(ctx, shards),
		"SaveLane": a.SaveLane(ctx, store.Lane{Link: link}), "Enqueue": a.Enqueue(ctx, []store.Queued{{Delivery: want[0], Event: x.Event.ID, Link: link}}),
		"SetMeta": a.SetMeta(ctx, "k", "v"), "Announce": a.Announce(ctx, []store.Change{{Kind: store.ChangedLink}}),
	} {
		if !errors.Is(err, store.ErrFenced) {
			t.Errorf("%s of a fenced node: %v, want ErrFenced", what, err)
		}
	}
	if _, err := b.Event(ctx, late.Event.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a fenced node has stored an event: %v", err)
	}
	if got := queue(t, b); !slices.Equal(got, want) {
		t.Errorf("after the fenced node's results %v wait, want %v", got, want)
	}
	view, err := b.Beat(ctx, store.NodeReport{Ready: 7})
	must(t, err)
	for _, n := range view.Nodes {
		if n.Gone != (n.Number == a.Self().Number) || n.Number == b.Self().Number && (n.Report.Ready != 7 || len(n.Shards) != store.Shards) {
			t.Errorf("node %+v", n)
		}
	}
}

// TestTakeOverInSteps shows that a takeover that ends in the middle is finished by another node, nothing twice.
func TestTakeOverInSteps(t *testing.T) {
	url := pgtest.Database(t)
	o := postgres.SmallOptions()
	o.URL, o.Name = url, "a"
	a := joinWith(t, o)
	var want []patchbay.DeliveryID
	for range 20 {
		x := accept(t, a, 2)
		want = append(want, patchbay.DeliveryAt(x.Event.ID, 1), patchbay.DeliveryAt(x.Event.ID, 2))
	}
	o.Name = "b"
	b := joinWith(t, o)
	o.Name = "c"
	c := joinWith(t, o)
	must(t, b.Fence(ctx, a))
	for range 3 {
		must(t, b.FinishStep(ctx, a))
	}
	if n := len(queue(t, c)); n == 0 || n == len(want) {
		t.Fatalf("after three steps %d deliveries wait", n)
	}
	if _, err := postgres.Open(ctx, postgres.Options{URL: url, Name: "a"}); err != nil {
		t.Error(err) // it starts again meanwhile, with another number
	}
	n, err := c.Recover(ctx, time.Now())
	must(t, err)
	got := queue(t, c)
	if !slices.Equal(got, want) || n == 0 {
		t.Errorf("%d deliveries wait, %d of them by the last takeover; want %d", len(got), n, len(want))
	}
}

// TestNumbers shows that a number is free again only when nothing is left of whoever had it, and that identifiers of a
// number never go back.
func TestNumbers(t *testing.T) {
	url := pgtest.Database(t)
	clock := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	open := func(name string) *postgres.Store {
		return joinWith(t, postgres.Options{URL: url, Name: name, Now: func() time.Time { return clock }})
	}
	a := open("a")
	number := a.Self().Number
	x := accept(t, a, 300)
	last := int64(patchbay.DeliveryAt(x.Event.ID, 300))
	must(t, a.Close()) // with deliveries in memory
	clock = clock.Add(-time.Hour)
	b := open("b")
	if b.Self().Number == number {
		t.Fatalf("the number %d is taken while there are deliveries of its node", number)
	}
	if n, err := b.Recover(ctx, clock); err != nil || n != 300 {
		t.Fatalf("%d deliveries were recovered, %v", n, err)
	}
	c := open("c")
	if c.Self().Number != number {
		t.Errorf("the number %d is not free, the next one is %d", number, c.Self().Number)
	}
	if id := c.NewID(1); id <= last {
		t.Errorf("an identifier %d of the number's next node is not above %d", id, last)
	}
	must(t, c.Close()) // with nothing in memory
	d := open("d")
	if d.Self().Number != number || d.Self().Incarnation <= c.Self().Incarnation {
		t.Errorf("after an orderly end the next node is %+v", d.Self())
	}
}

// TestShards shows that a shard has one owner.
func TestShards(t *testing.T) {
	url := pgtest.Database(t)
	nodes := []*postgres.Store{join(t, url, "a"), join(t, url, "b"), join(t, url, "c")}
	var mu sync.Mutex
	owner := map[int]*postgres.Store{}
	var all sync.WaitGroup
	for _, s := range nodes {
		all.Go(func() {
			for {
				got, err := s.ClaimShards(ctx, 7)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, shard := range got {
					if owner[shard] != nil {
						t.Errorf("shard %d was given away twice", shard)
					}
					owner[shard] = s
				}
				done := len(owner) == store.Shards
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	all.Wait()
	for shard, s := range owner {
		if shard%2 == 0 {
			must(t, nodes[0].ReleaseShards(ctx, []int{shard})) // only its owner's count
			_ = s
		}
	}
	view, err := nodes[0].Beat(ctx, store.NodeReport{})
	must(t, err)
	for i, n := range view.Nodes {
		for _, shard := range n.Shards {
			if owner[shard] != nodes[i] || i == 0 && shard%2 == 0 {
				t.Errorf("shard %d belongs to node %d", shard, i)
			}
		}
	}
	must(t, nodes[1].Close())
	got, err := nodes[2].ClaimShards(ctx, store.Shards)
	must(t, err)
	if len(got) == 0 {
		t.Error("the shards of a node that left are not free")
	}
}

// TestChanges shows that whoever has read changes up to one has seen all before it, with writers on two nodes.
func TestChanges(t *testing.T) {
	url := pgtest.Database(t)
	nodes := []*postgres.Store{join(t, url, "a"), join(t, url, "b")}
	const writers, each = 6, 25
	before, err := nodes[0].LastChange(ctx)
	must(t, err)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			s := nodes[w%2]
			for i := range each {
				var err error
				if i%2 == 0 {
					err = s.Announce(ctx, []store.Change{{Kind: store.ChangedDelivery, ID: int64(w), Link: int64(i), Key: "k"}})
				} else {
					err = s.SaveLane(ctx, store.Lane{Link: patchbay.LinkID(w + 1), DropBefore: patchbay.DeliveryID(i)})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[int64]bool{}
	last := before
	read := func() {
		t.Helper()
		got, err := nodes[0].Changes(ctx, last)
		must(t, err)
		for _, c := range got {
			if c.Seq <= last {
				t.Fatalf("change %d comes after %d", c.Seq, last)
			}
			last = c.Seq
			seen[c.Seq] = true
		}
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		read()
	}
	if len(seen) != writers*each {
		t.Errorf("%d changes were seen on the way, want %d", len(seen), writers*each)
	}
	if newest, err := nodes[1].LastChange(ctx); err != nil || newest != last {
		t.Errorf("the newest change is %d (%v), want %d", newest, err, last)
	}
	must(t, nodes[0].SaveLane(ctx, store.Lane{Link: 1, DropBefore: 1})) // not raised
	must(t, nodes[0].SaveLane(ctx, store.Lane{Link: 1, Failures: 5}))
	if read(); len(seen) != writers*each {
		t.Error("a lane that dropped nothing was announced")
	}
}

// TestListen shows that wakes and changes of one node reach the other.
func TestListen(t *testing.T) {
	url := pgtest.Database(t)
	a, b := join(t, url, "a"), join(t, url, "b")
	woken, changed := make(chan []patchbay.LinkID, 100), make(chan struct{}, 100)
	listening, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- b.Listen(listening, func(l []patchbay.LinkID) { woken <- l }, func() { changed <- struct{}{} })
	}()
	<-changed // it says so once at the beginning
	must(t, b.Wake(ctx, []patchbay.LinkID{7}))
	var links, got []patchbay.LinkID
	for i := range 1200 {
		links = append(links, patchbay.LinkID(1<<62+i))
	}
	must(t, a.Wake(ctx, links))
	for len(got) < len(links) {
		got = append(got, <-woken...)
	}
	if !slices.Equal(got, links) {
		t.Error("other links were woken")
	}
	must(t, a.SaveLane(ctx, store.Lane{Link: 1, DropBefore: 1}))
	<-changed
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	must(t, b.Close())
	if err := b.Listen(ctx, nil, nil); !errors.Is(err, store.ErrClosed) {
		t.Error(err)
	}
}
