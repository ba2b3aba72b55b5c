package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
)

// database makes a database on the shared server and returns its URL and its name.
func database(t *testing.T) (server *pgtest.Server, url, name string) {
	t.Helper()
	server = pgtest.Shared(t)
	url = server.Database(t)
	return server, url, databaseOf(url)
}

func number(t testing.TB, server *pgtest.Server, database, sql string) int {
	t.Helper()
	n, err := strconv.Atoi(server.SQL(t, database, sql))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTheHistoryOfSeveralNodes has three nodes accept at once while blocks of eight events are written all the time, one of
// them with identifiers that it took long before, and checks every list against the plain truth.
func TestTheHistoryOfSeveralNodes(t *testing.T) {
	ctx := context.Background()
	server, url, name := database(t)
	var nodes []*postgres.Store
	for i := range 3 {
		s, err := postgres.Open(ctx, postgres.Options{URL: url, Name: fmt.Sprint(i)}.WithIndex(8))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		nodes = append(nodes, s)
	}
	var (
		mu   sync.Mutex
		all  []*store.Acceptance
		wait sync.WaitGroup
	)
	for n, s := range nodes {
		wait.Go(func() {
			var old []*store.Acceptance // taken now, committed later
			for i := range 120 {
				a := acceptance(s, 1+i%3, time.Now())
				a.Event.Type, a.Event.Scope = fmt.Sprintf("type.%d", i%7), patchbay.Scope(fmt.Sprintf("acme/repos/%d", i%11))
				if n == 2 && i%4 == 0 && i < 100 {
					old = append(old, a)
					continue
				}
				if i >= 100 && len(old) > 0 {
					old = append(old, a)
					a, old = old[0], old[1:]
				}
				for _, a := range append(old[:0:0], a) {
					if _, err := s.Accept(ctx, a); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					all = append(all, a)
					mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
	slices.SortFunc(all, func(a, b *store.Acceptance) int { return int(min(1, max(-1, int64(b.Event.ID-a.Event.ID)))) })
	check := func() {
		t.Helper()
		checkLists(t, nodes[1], all)
	}
	check()
	for _, s := range nodes {
		if err := s.Index(ctx); err != nil {
			t.Fatal(err)
		}
	}
	check()
	if n := number(t, server, name, "SELECT count(*) FROM block"); n < 20 {
		t.Errorf("%d blocks were written", n)
	}
	// Whoever finds another node at it leaves it at that, and a slow machine takes its time to come back.
	const unplaced = "SELECT count(*) FROM late WHERE id < (SELECT frontier FROM history_mark)"
	for deadline := time.Now().Add(90 * time.Second); number(t, server, name, unplaced) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d events that came late are in no block after all", number(t, server, name, unplaced))
		}
	}
	check()
}

// TestWhatComesLateFindsABlock has events come late that lie in no block's range: before the first block, between two, at
// the end of a day, on a day without any. It checks that each is put into a block of its day, and that lists have it once.
func TestWhatComesLateFindsABlock(t *testing.T) {
	ctx := context.Background()
	server, url, name := database(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s, err := postgres.Open(ctx, postgres.Options{URL: url, Name: "a", Now: func() time.Time { return at.Add(20 * day) }}.WithIndex(4).Unindexed())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var all []*store.Acceptance
	accept := func(times ...time.Duration) {
		t.Helper()
		for _, d := range times {
			a := acceptance(s, 1, at)
			a.Event.ID = patchbay.EventID(patchbay.FirstIDAt(at.Add(d)) + int64(a.Event.ID)%patchbay.IDStep)
			a.Event.Type, a.Event.Scope = "type.2", "acme/repos/3"
			if _, err := s.Accept(ctx, a); err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
		slices.SortFunc(all, func(a, b *store.Acceptance) int { return int(min(1, max(-1, int64(b.Event.ID-a.Event.ID)))) })
	}
	index := func() {
		t.Helper()
		if err := s.Index(ctx); err != nil {
			t.Fatal(err)
		}
	}
	const s1 = time.Second
	accept(10*s1, 11*s1, 12*s1, 13*s1) // a block that is full
	index()
	accept(20*s1, 21*s1, 22*s1, 23*s1)
	index()
	accept(3*day, 3*day+s1, 3*day+2*s1, 3*day+3*s1)
	index()
	if n := number(t, server, name, "SELECT count(*) FROM block"); n != 3 {
		t.Fatalf("there are %d blocks, want 3: the test checks nothing", n)
	}
	for _, x := range []struct {
		name   string
		times  []time.Duration
		blocks int // then
	}{
		{"between two", []time.Duration{15 * s1}, 3},
		{"between two, where the lower one has grown", []time.Duration{14 * s1, 16 * s1}, 3},
		{"before the first", []time.Duration{5 * s1}, 4},
		{"before the first, once more", []time.Duration{4 * s1, 6 * s1}, 4},
		{"at the end of a day", []time.Duration{40 * s1, 11 * time.Hour}, 4},
		{"on days without events", []time.Duration{day, 2 * day, 2*day + s1}, 6},
		{"at the beginning of a day", []time.Duration{3*day - s1}, 7},
		{"in a block", []time.Duration{12*s1 + time.Millisecond, 3*day + s1 + time.Millisecond}, 7},
		{"everywhere", []time.Duration{2*day - s1, 7 * s1, 3*day - 2*s1, day - s1, 17 * s1}, 7},
	} {
		accept(x.times...)
		checkLists(t, s, all)
		if n := number(t, server, name, "SELECT count(*) FROM late"); n != len(x.times) {
			t.Errorf("%s: %d events came late, want %d", x.name, n, len(x.times))
		}
		index()
		checkLists(t, s, all)
		if n := number(t, server, name, "SELECT count(*) FROM late"); n > 0 {
			t.Errorf("%s: %d events are in no block", x.name, n)
		}
		if n := number(t, server, name, "SELECT count(*) FROM block"); n != x.blocks {
			t.Errorf("%s: there are %d blocks, want %d", x.name, n, x.blocks)
		}
		// Each within a day, none over another.
		const odd = `SELECT count(*) FROM (SELECT low, high, lead(low) OVER (ORDER BY low) AS above FROM block) AS b
			WHERE high <= low OR high > above OR (low / %[1]d) <> ((high - 1) / %[1]d)`
		oneDay := patchbay.FirstIDAt(at.Add(day)) - patchbay.FirstIDAt(at)
		if n := number(t, server, name, fmt.Sprintf(odd, oneDay)); n > 0 {
			t.Errorf("%s: the ranges of %d blocks are not right", x.name, n)
		}
	}
}

// checkLists compares lists by word with the truth, which is sorted, the newest first.
func checkLists(t *testing.T, s *postgres.Store, all []*store.Acceptance) {
	t.Helper()
	ctx := context.Background()
	for name, f := range map[string]struct {
		filter store.EventFilter
		want   func(*patchbay.Event) bool
	}{
		"all":   {store.EventFilter{}, func(*patchbay.Event) bool { return true }},
		"type":  {store.EventFilter{Types: []string{"type.2"}}, func(e *patchbay.Event) bool { return e.Type == "type.2" }},
		"types": {store.EventFilter{Types: []string{"type.2", "type.6"}}, func(e *patchbay.Event) bool { return e.Type == "type.2" || e.Type == "type.6" }},
		"scope": {store.EventFilter{Within: "acme/repos/3"}, func(e *patchbay.Event) bool { return e.Scope == "acme/repos/3" }},
		"both": {store.EventFilter{Within: "acme/repos/3", Types: []string{"type.2", "type.3"}}, func(e *patchbay.Event) bool {
			return e.Scope == "acme/repos/3" && (e.Type == "type.2" || e.Type == "type.3")
		}},
	} {
		var want, got []patchbay.EventID
		for _, a := range all {
			if f.want(a.Event) {
				want = append(want, a.Event.ID)
			}
		}
		f.filter.Limit = 13
		for {
			page, err := s.Events(ctx, f.filter)
			if err != nil {
				t.Fatal(err)
			}
			for i := range page {
				got = append(got, page[i].ID)
			}
			if len(page) < f.filter.Limit {
				break
			}
			f.filter.Before = page[len(page)-1].ID
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d events, want %d", name, len(got), len(want))
		}
	}
	for link := patchbay.LinkID(0); link < 1003; link = max(1000, link+1) {
		var want, got []patchbay.DeliveryID
		for _, a := range all {
			for i, target := range a.Targets {
				if link == 0 || target.Link == link {
					want = append(want, patchbay.DeliveryAt(a.Event.ID, i+1))
				}
			}
		}
		slices.Sort(want)
		slices.Reverse(want)
		f := store.DeliveryFilter{Link: link, Limit: 17}
		for {
			page, err := s.Deliveries(ctx, f)
			if err != nil {
				t.Fatal(err)
			}
			for i := range page {
				got = append(got, page[i].ID)
			}
			if len(page) < f.Limit {
				break
			}
			f.Before = page[len(page)-1].ID
		}
		if !slices.Equal(got, want) {
			t.Errorf("link %d: %d deliveries, want %d", link, len(got), len(want))
		}
	}
}

// databaseOf is the name of the database in a URL of pgtest.
func databaseOf(url string) string {
	rest, _, _ := strings.Cut(url, "?")
	return rest[strings.LastIndexByte(rest, '/')+1:]
}

// hold runs statements on a connection that stays open until the returned function is called.
func hold(t *testing.T, url, sql string) (release func()) {
	t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	return func() { _ = c.Close(ctx) }
}

// BenchmarkIndex measures what the history costs for an event: 50,000 of 40 types in 1,000 scopes over 200 links.
func BenchmarkIndex(b *testing.B) {
	ctx := context.Background()
	for range b.N {
		b.StopTimer()
		server := pgtest.Start(b, pgtest.Options{Settings: map[string]string{"shared_buffers": "'512MB'", "max_wal_size": "'4GB'", "autovacuum": "off"}})
		s, err := postgres.Open(ctx, postgres.Options{URL: server.Database(b), Name: "bench"}.Unindexed())
		if err != nil {
			b.Fatal(err)
		}
		var wait sync.WaitGroup
		for c := range 32 {
			wait.Go(func() {
				for i := range indexedEvents / 32 {
					a := acceptance(s, 1, time.Now())
					a.Event.Type, a.Event.Scope = fmt.Sprintf("type.%d", i%40), patchbay.Scope(fmt.Sprintf("acme/repos/%d", (i*32+c)%1000))
					a.Targets[0].Link = patchbay.LinkID(1 + (i*32+c)%200)
					if _, err := s.Accept(ctx, a); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wait.Wait()
		cpu, theirs := cpuTime(), serverTime(b, server)
		b.StartTimer()
		if err := s.Index(ctx); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/indexedEvents/1000, "µs-cpu/event")
		b.ReportMetric(float64((serverTime(b, server)-theirs).Nanoseconds())/indexedEvents/1000, "µs-server-cpu/event")
		bytes := number(b, server, "test_1", "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE relname LIKE 'history%' AND relkind = 'r'")
		b.ReportMetric(float64(bytes)/indexedEvents, "bytes/event")
		began := time.Now()
		for range 20 {
			if _, err := s.Events(ctx, store.EventFilter{Types: []string{"type.7"}, Within: "acme/repos/7", Limit: 50}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(time.Since(began).Microseconds())/20/1000, "ms/list")
		_ = s.Close()
	}
}

const indexedEvents = 49_152
