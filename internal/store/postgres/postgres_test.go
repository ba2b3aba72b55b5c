package postgres_test

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
	"github.com/patchbay/patchbay/internal/store/storetest"
)

// TestStore runs the suite twice: as the store is, and with limits so small that everything that happens now and then
// happens all the time.
func TestStore(t *testing.T) {
	t.Run("as it is", func(t *testing.T) { storetest.Run(t, newHarness(postgres.Options{}).harness()) })
	t.Run("small", func(t *testing.T) { storetest.Run(t, newHarness(postgres.SmallOptions()).harness()) })
}

// harness makes databases as copies of one that has its tables already, which is much faster than making these.
type harness struct {
	o  postgres.Options
	mu sync.Mutex
	of map[store.Store]opened
}

type opened struct {
	o     postgres.Options
	wires *postgres.Wires
}

func newHarness(o postgres.Options) *harness { return &harness{o: o, of: make(map[store.Store]opened)} }

func (h *harness) open(t *testing.T, o postgres.Options) store.Store {
	t.Helper()
	wires := &postgres.Wires{}
	s, err := postgres.Open(context.Background(), o.WithDial(wires.Dial))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of[s] = opened{o, wires}
	return s
}

func (h *harness) opened(s store.Store) opened {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of[s]
}

func (h *harness) harness() storetest.Harness {
	return storetest.Harness{
		Whole: 24 * time.Hour,
		Open: func(t *testing.T, now func() time.Time) store.Store {
			o := h.o
			o.URL, o.Now, o.Name = copied(t, now), now, "a"
			return h.open(t, o)
		},
		Reopen: func(t *testing.T, s store.Store) store.Store {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return h.open(t, h.opened(s).o)
		},
		Crash: func(t *testing.T, s store.Store) store.Store {
			t.Helper()
			x := h.opened(s)
			s.(*postgres.Store).Abandon(x.wires)
			return h.open(t, x.o)
		},
	}
}

var (
	templateOnce sync.Once
	copies       atomic.Int64
)

// copied makes a database with tables and returns its URL.
func copied(t *testing.T, now func() time.Time) string {
	t.Helper()
	server := pgtest.Shared(t)
	templateOnce.Do(func() {
		server.SQL(t, "postgres", "CREATE DATABASE template_patchbay OWNER "+pgtest.Role+" TEMPLATE template0")
		s, err := postgres.Open(context.Background(), postgres.Options{URL: server.URL("template_patchbay"), Now: now, Name: "template"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		server.SQL(t, "template_patchbay", "DELETE FROM node; DELETE FROM beat; DELETE FROM floor")
	})
	name := fmt.Sprintf("copy_%d", copies.Add(1))
	server.SQL(t, "postgres", "CREATE DATABASE "+name+" OWNER "+pgtest.Role+" TEMPLATE template_patchbay STRATEGY wal_log")
	t.Cleanup(func() { server.SQL(t, "postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	return server.URL(name)
}

// TestMain has random tests run fewer times: each opens a database, several times.
func TestMain(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "rapid.checks" })
	if !set {
		_ = flag.Set("rapid.checks", "15")
	}
	m.Run()
}
