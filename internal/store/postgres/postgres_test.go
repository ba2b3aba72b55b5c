package postgres_test

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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
		Open: func(t *testing.T, now func() time.Time, with store.Sealer) store.Store {
			o := h.o
			o.URL, o.Now, o.Name, o.Sealer = copied(t, now), now, "a", with
			return h.open(t, o)
		},
		Reopen: func(t *testing.T, s store.Store, with store.Sealer) store.Store {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			o := h.opened(s).o
			o.Sealer = with
			return h.open(t, o)
		},
		Crash: func(t *testing.T, s store.Store) store.Store {
			t.Helper()
			x := h.opened(s)
			s.(*postgres.Store).Abandon(x.wires)
			return h.open(t, x.o)
		},
		Stored: func(t *testing.T, s store.Store) []byte { return everything(t, h.opened(s).o.URL) },
		Exec: func(t *testing.T, s store.Store, sql string) {
			t.Helper()
			connected(t, h.opened(s).o.URL, func(c *pgx.Conn) {
				if _, err := c.Exec(context.Background(), sql); err != nil {
					t.Fatal(err)
				}
			})
		},
	}
}

// connected runs f with a connection of its own.
func connected(t *testing.T, url string, f func(*pgx.Conn)) {
	t.Helper()
	c, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	f(c)
}

// everything returns every row of every table, as text, and texts in bytea as they are.
func everything(t *testing.T, url string) (all []byte) {
	t.Helper()
	ctx := context.Background()
	connected(t, url, func(c *pgx.Conn) {
		rows, err := c.Query(ctx, "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace")
		if err != nil {
			t.Fatal(err)
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(tables) < 10 {
			t.Fatal(tables, err)
		}
		if _, err := c.Exec(ctx, "SET bytea_output = 'escape'"); err != nil {
			t.Fatal(err)
		}
		for _, table := range tables {
			var text string
			if err := c.QueryRow(ctx, "SELECT coalesce(string_agg(x::text, ''), '') FROM "+pgx.Identifier{table}.Sanitize()+" x").Scan(&text); err != nil {
				t.Fatal(err)
			}
			all = append(all, text...)
		}
	})
	return all
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
