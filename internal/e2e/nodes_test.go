package e2e

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/netfault"
	"github.com/patchbay/patchbay/internal/pgtest"
)

// inFlight bounds what may arrive twice for each death: the attempts under way (a link's concurrency at every node that
// sends) and the results of the last moments, which are written down 256 at a time.
const inFlight = 16 + 256

// patience is how long a test waits for what must come. It is only ever used up by a test that fails.
const patience = 3 * time.Minute

// webhook makes the one link that everything goes over.
func (f *fleet) webhook(k *sink) {
	f.t.Helper()
	f.node(0).link(`{"integration":"webhook","scope":"acme","events":["*"],"settings":{"url":"` + k.URL + `"}}`)
	// The others learn of it within a second; events that they accept before would match nothing.
	for i := range f.nodes {
		deadline := time.After(time.Minute)
		for {
			if _, list := f.node(i).call("GET", "/v1/links", ""); len(list["data"].([]any)) > 0 {
				break
			}
			select {
			case <-deadline:
				f.t.Fatalf("node %d has not learnt of the link\n%s", i, f.logs())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// TestKillNineOnPostgreSQL kills nodes in the middle of traffic: the only one, and one of three.
func TestKillNineOnPostgreSQL(t *testing.T) {
	for _, c := range []struct {
		name         string
		nodes, kills int
	}{{"one node", 1, 8}, {"three nodes", 3, 6}} {
		t.Run(c.name, func(t *testing.T) {
			k := newSink(t)
			f := newFleet(t, c.nodes, pgtest.Database(t))
			f.webhook(k)
			tr := f.publish(8)
			for kill := range c.kills {
				tr.until(30+37*kill%200, patience) // die after a different number of answers each time
				victim := kill % c.nodes
				f.kill(victim)
				if c.nodes > 1 {
					tr.until(20, patience) // the others go on
				}
				f.start(victim)
			}
			tr.until(50, patience)
			tr.settle(k, patience, c.name)
			if n := k.duplicates(); n > c.kills*inFlight {
				t.Errorf("%d events arrived twice; only what was in flight may", n)
			}
		})
	}
}

// TestTakeOver kills a node that never comes back, under load, with a partner that is slow enough for it to have much in
// memory: the others send what it had.
func TestTakeOver(t *testing.T) {
	k := newSink(t)
	k.slow(20 * time.Millisecond)
	f := newFleet(t, 3, pgtest.Database(t))
	f.webhook(k)
	tr := f.publish(12)
	tr.until(300, patience)
	f.kill(1)
	tr.until(100, patience)
	tr.settle(k, patience, "a node that never comes back")
	if late := tr.late(k); late > 2*time.Minute { // 15 s when the machine is quiet
		t.Errorf("what the dead node had was sent only after %s", late)
	}
	if n := k.duplicates(); n > inFlight {
		t.Errorf("%d events arrived twice; only what was in flight may", n)
	}
}

// living returns the nodes that a node counts as alive.
func living(s *server) (alive []map[string]any) {
	_, list := s.call("GET", "/v1/nodes", "")
	data, _ := list["data"].([]any)
	for _, n := range data {
		if node := n.(map[string]any); node["state"] == "alive" {
			alive = append(alive, node)
		}
	}
	return alive
}

func waitUntil(t *testing.T, patience time.Duration, failing string, yes func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !yes() {
		select {
		case <-deadline:
			t.Fatalf("after %s: %s", patience, failing)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestPostgreSQLKilled kills the database under load, twice, and starts it again: nodes refuse meanwhile, go on by
// themselves, and lose nothing that they answered 201.
func TestPostgreSQLKilled(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{})
	k := newSink(t)
	f := newFleet(t, 2, pg.Database(t))
	f.webhook(k)
	tr := f.publish(8)
	for range 2 {
		tr.until(150, patience)
		pg.Kill(t)
		before := tr.refused.Load()
		waitUntil(t, patience, "nothing is refused although there is no database", func() bool { return tr.refused.Load() > before+8 })
		pg.Restart(t)
	}
	tr.until(150, patience)
	tr.settle(k, patience, "PostgreSQL killed twice")
	if n := k.duplicates(); n > 2*2*inFlight {
		t.Errorf("%d events arrived twice; only what was in flight may", n)
	}
}

// TestFailover loses the primary and promotes its synchronous standby: nothing that was answered 201 is lost.
func TestFailover(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	standby := primary.Standby(t)
	database := "patchbay_failover"
	primary.SQL(t, "postgres", "CREATE DATABASE "+database+" OWNER "+pgtest.Role)
	k := newSink(t)
	f := newFleet(t, 2, pgtest.URLs(database, primary, standby))
	f.webhook(k)
	tr := f.publish(8)
	tr.until(300, patience)
	primary.Kill(t)
	standby.Promote(t)
	tr.until(300, patience)
	tr.settle(k, patience, "the standby promoted")
	if n := k.duplicates(); n > 2*inFlight {
		t.Errorf("%d events arrived twice; only what was in flight may", n)
	}
}

// TestBadNetworkToTheDatabase cuts, hangs and slows the network between one of two nodes and the database.
func TestBadNetworkToTheDatabase(t *testing.T) {
	url := pgtest.Database(t)
	proxy, err := netfault.New(pgtest.Shared(t).Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	k := newSink(t)
	f := newFleet(t, 1, url)
	f.args[2] = strings.Replace(url, pgtest.Shared(t).Address(), proxy.Address(), 1)
	f.data, f.nodes = append(f.data, t.TempDir()), append(f.nodes, nil)
	f.start(1)
	f.webhook(k)
	tr := f.publish(8)
	tr.until(100, patience)
	waitUntil(t, patience, "the nodes do not know of each other", func() bool { return len(living(f.node(0))) == 2 })

	for range 3 {
		proxy.Cut()
		tr.until(50, patience)
	}
	proxy.Set(netfault.Faults{Up: netfault.Line{Delay: 20 * time.Millisecond}, Down: netfault.Line{Delay: 20 * time.Millisecond}})
	tr.until(100, patience)
	proxy.Set(netfault.Faults{Up: netfault.Line{Hang: true}, Down: netfault.Line{Hang: true}})
	waitUntil(t, patience, "the other node has not taken over", func() bool { return len(living(f.node(0))) == 1 })
	tr.until(50, patience)
	proxy.Set(netfault.Faults{})
	proxy.Cut()
	waitUntil(t, patience, "the node that was cut off has not come back", func() bool { return len(living(f.node(0))) == 2 })
	tr.until(100, patience)
	tr.settle(k, patience, "a bad network")
	if n := k.duplicates(); n > 5*inFlight {
		t.Errorf("%d events arrived twice; only what was in flight may", n)
	}
}

// TestFullDiskOfPostgreSQL fills the database's disk under load and makes room again.
func TestFullDiskOfPostgreSQL(t *testing.T) {
	dir := pgtest.SmallDisk(t, 400<<20)
	pg := pgtest.Start(t, pgtest.Options{Dir: dir, NoSync: true, Settings: map[string]string{"max_wal_size": "'64MB'", "min_wal_size": "'32MB'"}})
	k := newSink(t)
	f := newFleet(t, 1, pg.Database(t))
	f.webhook(k)
	tr := f.publish(4)
	tr.until(200, patience)
	free := pgtest.FillDisk(t, dir)
	before := tr.refused.Load()
	waitUntil(t, patience, "nothing is refused although the disk is full", func() bool { return tr.refused.Load() > before+20 })
	free()
	pg.Restart(t) // it may have ended by itself: a log that cannot be written is a reason for it to stop
	tr.until(200, patience)
	tr.settle(k, patience, "the database's disk full")
	if n := k.duplicates(); n > 4*inFlight {
		t.Errorf("%d events arrived twice; only what was in flight may", n)
	}
}

// TestRollingStop stops and starts three nodes one after the other, as an upgrade does: nothing is lost, nothing arrives
// twice, and no caller that goes to another node is refused for long.
func TestRollingStop(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no interrupt signal to send on Windows")
	}
	k := newSink(t)
	f := newFleet(t, 3, pgtest.Database(t))
	f.webhook(k)
	tr := f.publish(6)
	for i := range f.nodes {
		tr.until(100, patience)
		s := f.node(i)
		f.mu.Lock()
		f.nodes[i] = nil
		f.mu.Unlock()
		s.interrupt()
		tr.until(50, patience)
		f.start(i)
	}
	tr.settle(k, patience, "a rolling stop")
	if n := k.duplicates(); n > 0 {
		t.Errorf("%d events arrived twice although every stop was a graceful one", n)
	}
}
