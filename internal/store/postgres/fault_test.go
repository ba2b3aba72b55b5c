package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/netfault"
	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
)

// behind opens a database over a proxy, and directly as another node.
func behind(t *testing.T, write, doubt time.Duration) (s, direct *postgres.Store, proxy *netfault.Proxy) {
	t.Helper()
	address := pgtest.Database(t)
	u, err := url.Parse(address)
	must(t, err)
	proxy, err = netfault.New(u.Host)
	must(t, err)
	t.Cleanup(proxy.Close)
	direct = join(t, address, "direct")
	u.Host = proxy.Address()
	s = joinWith(t, postgres.Options{URL: u.String(), Name: "behind", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}.WithPatience(write, doubt))
	t.Cleanup(func() { proxy.Set(netfault.Faults{}); _ = proxy.Allow() }) // before s is closed
	accept(t, s, 1)                                                       // it is connected
	return s, direct, proxy
}

// stored reports whether an event is in the database.
func stored(t *testing.T, s store.Store, id patchbay.EventID) bool {
	t.Helper()
	_, err := s.Event(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// TestLostAnswer loses the answer to a commit: the caller is told that its event is stored, because it is.
func TestLostAnswer(t *testing.T) {
	for _, keyed := range []bool{true, false} {
		s, direct, proxy := behind(t, 20*time.Second, 20*time.Second)
		proxy.Set(netfault.Faults{Down: netfault.Line{Hang: true}})
		a := acceptance(s, 1, time.Now())
		if !keyed {
			a.Idempotency = nil
		}
		answer := make(chan error, 1)
		go func() {
			existing, err := s.Accept(ctx, a)
			if existing != nil {
				t.Errorf("it was taken for %s", existing.Event)
			}
			answer <- err
		}()
		eventually(t, "the event is stored", func() bool { return stored(t, direct, a.Event.ID) })
		proxy.Set(netfault.Faults{})
		proxy.Cut()
		if err := <-answer; err != nil {
			t.Errorf("of a stored event Accept said: %v", err)
		}
		if n := len(queue(t, direct)); n != 0 {
			t.Errorf("%d deliveries wait that are in the caller's memory", n)
		}
	}
}

// TestLostRequest loses a transaction on its way: it is sent once more.
func TestLostRequest(t *testing.T) {
	s, direct, proxy := behind(t, 20*time.Second, 20*time.Second)
	proxy.Set(netfault.Faults{Up: netfault.Line{Hang: true}})
	a := acceptance(s, 1, time.Now())
	answer := make(chan error, 1)
	go func() { _, err := s.Accept(ctx, a); answer <- err }()
	select {
	case err := <-answer:
		t.Fatalf("Accept came back without the server: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	proxy.Refuse()
	proxy.Cut()
	proxy.Set(netfault.Faults{})
	must(t, proxy.Allow())
	if err := <-answer; err != nil || !stored(t, direct, a.Event.ID) {
		t.Errorf("Accept: %v", err)
	}
}

// TestLostResults loses the answer to a commit of results: each is kept once.
func TestLostResults(t *testing.T) {
	s, direct, proxy := behind(t, 20*time.Second, 20*time.Second)
	a := accept(t, s, 3)
	proxy.Set(netfault.Faults{Down: netfault.Line{Hang: true}})
	var committed sync.WaitGroup
	committed.Add(1)
	s.Record(outcomesOf(a, time.Now(), nil), committed.Done)
	eventually(t, "results are stored", func() bool {
		d, err := direct.Delivery(ctx, patchbay.DeliveryAt(a.Event.ID, 3))
		must(t, err)
		return d.State == patchbay.DeliverySucceeded
	})
	proxy.Set(netfault.Faults{})
	proxy.Cut()
	committed.Wait()
	all, err := direct.OfEvent(ctx, a.Event.ID)
	must(t, err)
	for _, d := range all {
		if len(d.Attempts) != 1 {
			t.Errorf("%s has %d attempts, want 1", d.ID, len(d.Attempts))
		}
	}
}

// TestUnresolvedDoubt loses the answer to a commit, and the server for longer than a caller waits. The caller is told that
// the database is away; its event, which is stored, is delivered from the queue.
func TestUnresolvedDoubt(t *testing.T) {
	s, direct, proxy := behind(t, 200*time.Millisecond, 200*time.Millisecond)
	proxy.Set(netfault.Faults{Down: netfault.Line{Hang: true}})
	a := acceptance(s, 2, time.Now())
	for i := range a.Targets {
		a.Targets[i].Link = link
	}
	answer := make(chan error, 1)
	go func() { _, err := s.Accept(ctx, a); answer <- err }()
	if err := <-answer; !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("Accept: %v, want ErrUnavailable", err)
	}
	eventually(t, "the event is stored; else the test is not about what it should be about", func() bool { return stored(t, direct, a.Event.ID) })
	if _, err := s.Accept(ctx, acceptance(s, 1, time.Now())); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("another Accept: %v, want ErrUnavailable", err)
	}
	proxy.Set(netfault.Faults{})
	proxy.Cut()
	eventually(t, "its deliveries wait", func() bool { return len(queue(t, direct)) == 2 })
	eventually(t, "events are accepted again", func() bool {
		_, err := s.Accept(ctx, acceptance(s, 1, time.Now()))
		return err == nil
	})
	must(t, s.Healthy(ctx))
}

// TestRefused has no server for a while: nothing is accepted, reads say so, and results are kept.
func TestRefused(t *testing.T) {
	s, direct, proxy := behind(t, 5*time.Second, time.Second)
	a := accept(t, s, 1)
	proxy.Refuse()
	proxy.Cut()
	_, err := s.Accept(ctx, acceptance(s, 1, time.Now()))
	_, read := s.Event(ctx, a.Event.ID)
	for what, err := range map[string]error{
		"Accept": err, "Event": read, "Healthy": s.Healthy(ctx), "SaveLane": s.SaveLane(ctx, store.Lane{Link: link}),
	} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s without a server: %v, want ErrUnavailable", what, err)
		}
	}
	committed := make(chan struct{})
	s.Record(outcomesOf(a, time.Now(), nil), func() { close(committed) })
	must(t, proxy.Allow())
	<-committed
	d, err := direct.Delivery(ctx, patchbay.DeliveryAt(a.Event.ID, 1))
	must(t, err)
	if d.State != patchbay.DeliverySucceeded {
		t.Errorf("the delivery is %s", d.State)
	}
	accept(t, s, 1)
}

// TestPausedNode stops everything that a node sends, has another one take it over, and lets what it had sent arrive.
func TestPausedNode(t *testing.T) {
	s, direct, proxy := behind(t, 20*time.Second, 20*time.Second)
	x := accept(t, s, 1)
	proxy.Set(netfault.Faults{Up: netfault.Line{Hang: true}})
	late := acceptance(s, 1, time.Now())
	answer := make(chan error, 1)
	go func() { _, err := s.Accept(ctx, late); answer <- err }()
	s.Record(outcomesOf(x, time.Now(), nil), nil)
	eventually(t, "it is taken over", func() bool {
		over, err := direct.TakeOver(ctx, 100*time.Millisecond)
		must(t, err)
		return len(over) > 0
	})
	proxy.Set(netfault.Faults{})
	if err := <-answer; !errors.Is(err, store.ErrFenced) {
		t.Errorf("Accept of a node that was taken over: %v", err)
	}
	if err := s.Flush(ctx); !errors.Is(err, store.ErrFenced) {
		t.Errorf("Flush of a node that was taken over: %v", err)
	}
	if stored(t, direct, late.Event.ID) {
		t.Error("an event of a fenced node is stored")
	}
	d, err := direct.Delivery(ctx, patchbay.DeliveryAt(x.Event.ID, 1))
	must(t, err)
	if d.State != patchbay.DeliveryPending || d.AttemptCount != 0 {
		t.Errorf("a fenced node's result counts: %+v", d)
	}
}

// publishers accept events until they are stopped, and say what was answered.
type publishers struct {
	mu       sync.Mutex
	accepted []patchbay.EventID
	refused  []patchbay.EventID
	errors   []error
	stop     context.CancelFunc
	all      sync.WaitGroup
}

func publish(s store.Store, n int) *publishers {
	p := &publishers{}
	running, stop := context.WithCancel(ctx)
	p.stop = stop
	for range n {
		p.all.Go(func() {
			for running.Err() == nil {
				a := acceptance(s, 1, time.Now())
				a.Targets[0].Link = link
				_, err := s.Accept(ctx, a)
				p.mu.Lock()
				if err == nil {
					p.accepted = append(p.accepted, a.Event.ID)
				} else {
					p.refused = append(p.refused, a.Event.ID)
					p.errors = append(p.errors, err)
				}
				p.mu.Unlock()
				if err == nil {
					s.Record(outcomesOf(a, time.Now(), nil), nil)
				}
			}
		})
	}
	return p
}

func (p *publishers) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.accepted)
}

// check ends the publishers, and shows that what was accepted is stored, and that what was refused is not, or is delivered.
func (p *publishers) check(t *testing.T, s store.Store) {
	t.Helper()
	p.stop()
	p.all.Wait()
	must(t, s.Flush(ctx))
	waits := map[patchbay.DeliveryID]bool{}
	for _, d := range queue(t, s) {
		waits[d] = true
	}
	for _, id := range p.accepted {
		all, err := s.OfEvent(ctx, id)
		if err != nil {
			t.Fatalf("an accepted event: %v", err)
		}
		if all[0].State != patchbay.DeliverySucceeded || len(all[0].Attempts) != 1 {
			t.Errorf("%s is %s, with %d attempts", id, all[0].State, len(all[0].Attempts))
		}
	}
	for _, id := range p.refused {
		if stored(t, s, id) && !waits[patchbay.DeliveryAt(id, 1)] {
			t.Errorf("%s was refused; it is stored, and its delivery does not wait", id)
		}
	}
	for _, err := range p.errors {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a refusal: %v", err)
			break
		}
	}
	t.Logf("%d accepted, %d refused", len(p.accepted), len(p.refused))
}

// TestKilledServer kills the server in the middle of traffic, several times.
func TestKilledServer(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	s := join(t, server.Database(t), "a")
	p := publish(s, 8)
	for range 3 {
		n := p.count()
		eventually(t, "events are accepted", func() bool { return p.count() > n+100 })
		server.Kill(t)
		server.Restart(t)
	}
	n := p.count()
	eventually(t, "events are accepted", func() bool { return p.count() > n+100 })
	p.check(t, s)
}

// TestFailover loses the primary in the middle of traffic; a standby that had everything takes its place.
func TestFailover(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	address := primary.Database(t)
	database := address[strings.LastIndexByte(address, '/')+1 : strings.IndexByte(address, '?')]
	standby := primary.Standby(t)
	s := join(t, pgtest.URLs(database, primary, standby), "a")
	p := publish(s, 8)
	eventually(t, "events are accepted", func() bool { return p.count() > 100 })
	primary.Kill(t)
	standby.Promote(t)
	n := p.count()
	eventually(t, "events are accepted", func() bool { return p.count() > n+100 })
	p.check(t, s)
}

// TestReadOnlyServer has a server that takes no writes for a while.
func TestReadOnlyServer(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{NoSync: true})
	s := join(t, server.Database(t), "a")
	accept(t, s, 1)
	server.SQL(t, "postgres", "ALTER SYSTEM SET default_transaction_read_only = on")
	server.SQL(t, "postgres", "SELECT pg_reload_conf()")
	eventually(t, "nothing is accepted", func() bool {
		a := acceptance(s, 1, time.Now())
		_, err := s.Accept(ctx, a)
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		return err != nil
	})
	server.SQL(t, "postgres", "ALTER SYSTEM RESET default_transaction_read_only")
	server.SQL(t, "postgres", "SELECT pg_reload_conf()")
	eventually(t, "events are accepted again", func() bool {
		_, err := s.Accept(ctx, acceptance(s, 1, time.Now()))
		return err == nil
	})
}

// TestFullDisk fills the disk of the server in the middle of traffic.
func TestFullDisk(t *testing.T) {
	dir := pgtest.SmallDisk(t, 160<<20)
	server := pgtest.Start(t, pgtest.Options{Dir: dir, Settings: map[string]string{"max_wal_size": "'32MB'", "min_wal_size": "'32MB'"}})
	s := join(t, server.Database(t), "a")
	p := publish(s, 8)
	eventually(t, "events are accepted", func() bool { return p.count() > 100 })
	free := pgtest.FillDisk(t, dir)
	eventually(t, "events are refused", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.refused) > 0
	})
	free()
	n := p.count()
	eventually(t, "events are accepted", func() bool { return p.count() > n+100 })
	p.check(t, s)
}
