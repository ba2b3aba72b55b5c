package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
)

const day = 24 * time.Hour

// years opens a database whose clock a test moves.
func years(t *testing.T, url string) (s *postgres.Store, now func() time.Time, forward func(time.Duration)) {
	t.Helper()
	var mu sync.Mutex
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return at
	}
	s, err := postgres.Open(context.Background(), postgres.Options{URL: url, Name: "a", Now: now}.WithIndex(20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, now, func(d time.Duration) {
		mu.Lock()
		at = at.Add(d)
		mu.Unlock()
		pruneAll(t, s, store.Retention{}, now()) // which makes the day's partitions
	}
}

func pruneAll(t *testing.T, s *postgres.Store, r store.Retention, now time.Time) (steps int) {
	t.Helper()
	for more := true; more; steps++ {
		var err error
		if more, err = s.Prune(context.Background(), r, now); err != nil {
			t.Fatal(err)
		}
		if steps > 10_000 {
			t.Fatal("Prune always has more")
		}
	}
	return steps
}

// partitionsOf returns the days of which a table has a partition.
func partitionsOf(t *testing.T, server *pgtest.Server, database, table string) []string {
	t.Helper()
	return strings.Fields(server.SQL(t, database, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = '`+table+`'::regclass AND c.relname LIKE '%_p2%' ORDER BY 1`))
}

// TestWholeDaysAreDropped lets ten days go by, checks that retention drops tables and deletes no row, and that what must
// stay has moved.
func TestWholeDaysAreDropped(t *testing.T) {
	ctx := context.Background()
	server, url, name := database(t)
	s, now, forward := years(t, url)
	var all, stay []*store.Acceptance
	for i := range 10 {
		for range 50 {
			a := acceptance(s, 1, now())
			if _, err := s.Accept(ctx, a); err != nil {
				t.Fatal(err)
			}
			s.Record(outcomesOf(a, now(), request), nil)
			all = append(all, a)
		}
		waits, memory, replayed := acceptance(s, 2, now()), acceptance(s, 1, now()), acceptance(s, 1, now())
		waits.Queue = []store.Queued{{Delivery: patchbay.DeliveryAt(waits.Event.ID, 2), Event: waits.Event.ID, Link: 1001, Due: now()}}
		done := outcomesOf(waits, now(), request)[:1]
		for _, a := range []*store.Acceptance{waits, memory, replayed} {
			if _, err := s.Accept(ctx, a); err != nil {
				t.Fatal(err)
			}
		}
		s.Record(append(done, outcomesOf(replayed, now(), request)...), nil)
		if i == 0 {
			stay = append(stay, waits, memory, replayed)
		} else {
			s.Record(append(outcomesOf(memory, now(), request), store.Outcome{
				Delivery: waits.Queue[0].Delivery, Event: waits.Event.ID, Link: 1001, State: patchbay.DeliveryCancelled, WasQueued: true, Attempt: patchbay.Attempt{At: now()},
			}), nil)
		}
		if err := s.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		forward(day)
	}
	replay := acceptance(s, 1, now())
	replay.Event.Origin, replay.Event.Payload = stay[2].Event.ID, nil
	if _, err := s.Accept(ctx, replay); err != nil {
		t.Fatal(err)
	}
	if err := s.Index(ctx); err != nil {
		t.Fatal(err)
	}
	if got := len(partitionsOf(t, server, name, "event")); got != 13 {
		t.Fatalf("there are %d days, want 13", got)
	}
	dead := number(t, server, name, "SELECT coalesce(sum(n_tup_del), 0) FROM pg_stat_user_tables WHERE relname LIKE 'event_%'")
	pruneAll(t, s, store.Retention{Matched: 5 * day, Unmatched: day, Bodies: day}, now())
	for _, table := range []string{"event", "attempt", "history"} {
		if got := partitionsOf(t, server, name, table); len(got) != 8 || got[0] != table+"_p20260306" {
			t.Errorf("of %s these are left: %v", table, got)
		}
	}
	if n := number(t, server, name, "SELECT count(*) FROM event_default"); n != 3 {
		t.Errorf("%d events have moved, want 3", n)
	}
	if n := number(t, server, name, "SELECT coalesce(sum(n_tup_del), 0) FROM pg_stat_user_tables WHERE relname LIKE 'event_%'"); n != dead {
		t.Errorf("%d events were deleted one by one", n-dead)
	}
	for i, a := range all {
		if _, err := s.Event(ctx, a.Event.ID); (err == nil) != (i >= 250) || err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	checkSurvivors(t, s, stay)
	if n := pruneAll(t, s, store.Retention{Matched: 5 * day, Unmatched: day, Bodies: day}, now()); n > 2 {
		t.Errorf("once more takes %d steps", n)
	}
}

// checkSurvivors checks that events which moved are whole, and stand in lists.
func checkSurvivors(t *testing.T, s *postgres.Store, stay []*store.Acceptance) {
	t.Helper()
	ctx := context.Background()
	for _, a := range stay {
		if r, err := s.Event(ctx, a.Event.ID); err != nil || string(r.Payload) != string(a.Event.Payload) {
			t.Errorf("%s: %v", a.Event.ID, err)
		}
	}
	d, err := s.OfEvent(ctx, stay[0].Event.ID)
	if err != nil || len(d) != 2 || len(d[0].Attempts) != 1 || d[1].State != patchbay.DeliveryPending {
		t.Errorf("the deliveries of one that waits: %+v, %v", d, err)
	}
	page, err := s.Events(ctx, store.EventFilter{Types: []string{"repo.push"}, Until: stay[2].Event.ID.Time().Add(time.Hour), Limit: 10})
	if err != nil || len(page) != 3 {
		t.Errorf("the list has %d of those that moved: %v", len(page), err)
	}
	claimed, err := s.Due(ctx, 1001, time.Now().Add(100*365*day), 10, nil)
	if err != nil || len(claimed) == 0 || claimed[0].Queued.Event != stay[0].Event.ID {
		t.Errorf("claimed %+v, %v", claimed, err)
	}
}

// TestACrowdedDayIsDeletedEventByEvent has more deliveries of a day wait than may move.
func TestACrowdedDayIsDeletedEventByEvent(t *testing.T) {
	ctx := context.Background()
	server, url, name := database(t)
	s, now, forward := years(t, url)
	var wait sync.WaitGroup
	for c := range 8 {
		wait.Go(func() {
			for i := range 90 {
				a := acceptance(s, 1, now())
				if a.Event.Scope = "long"; c%2 == 0 {
					a.Event.Scope = "acme"
				}
				if c > 0 {
					a.Queue = []store.Queued{{Delivery: patchbay.DeliveryAt(a.Event.ID, 1), Event: a.Event.ID, Link: patchbay.LinkID(i), Due: now()}}
				}
				if _, err := s.Accept(ctx, a); err != nil {
					t.Error(err)
				}
				if c == 0 {
					s.Record(outcomesOf(a, now(), request), nil)
				}
			}
		})
	}
	wait.Wait()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	forward(10 * day)
	r := store.Retention{Matched: 5 * day, Tenants: map[string]time.Duration{"long": 0}}
	pruneAll(t, s, r, now())
	if got := partitionsOf(t, server, name, "event"); !slices.Contains(got, "event_p20260301") {
		t.Errorf("the day was dropped: %v", got)
	}
	if n := number(t, server, name, "SELECT count(*) FROM event"); n != 630 {
		t.Errorf("%d events are left, want those that wait: 630", n)
	}
}

// TestAByteBudgetDropsTheOldestDays fills six days and allows for the bytes of about three.
func TestAByteBudgetDropsTheOldestDays(t *testing.T) {
	ctx := context.Background()
	server, url, name := database(t)
	s, now, forward := years(t, url)
	var waits *store.Acceptance
	for range 6 {
		for range 60 {
			a := acceptance(s, 1, now())
			a.Event.Payload = []byte(fmt.Sprintf(`{"x":%q}`, strings.Repeat(fmt.Sprint(a.Event.ID), 2000))) // some 36 KB, compressed much less
			if waits == nil {
				waits = a
				a.Queue = []store.Queued{{Delivery: patchbay.DeliveryAt(a.Event.ID, 1), Event: a.Event.ID, Link: 1000, Due: now()}}
			}
			if _, err := s.Accept(ctx, a); err != nil {
				t.Fatal(err)
			}
			s.Record(outcomesOf(a, now(), request)[:1], nil)
		}
		if err := s.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		forward(day)
	}
	bytes := func() int64 {
		t.Helper()
		x, err := s.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return x.Bytes
	}
	days := len(partitionsOf(t, server, name, "event"))
	pruneAll(t, s, store.Retention{MaxBytes: bytes() + 20<<20}, now())
	if got := len(partitionsOf(t, server, name, "event")); got != days {
		t.Errorf("%d of %d days are left although there is room", got, days)
	}
	one := number(t, server, name, "SELECT pg_total_relation_size('event_p20260301') + pg_total_relation_size('attempt_p20260301')")
	pruneAll(t, s, store.Retention{MaxBytes: bytes() - int64(2*one)}, now())
	left := partitionsOf(t, server, name, "event")
	if n := days - len(left); n < 1 || n > 4 || slices.Contains(left, "event_p20260301") {
		t.Errorf("these days are left of %d: %v", days, left)
	}
	pruneAll(t, s, store.Retention{MaxBytes: 1}, now()) // cannot be reached
	if left = partitionsOf(t, server, name, "event"); len(left) != 3 || left[0] != "event_p20260307" {
		t.Errorf("these days are left: %v", left)
	}
	if _, err := s.Event(ctx, waits.Event.ID); err != nil {
		t.Errorf("what waits: %v", err)
	}
}

// TestDroppingStallsNobody drops days while others write and somebody holds a table for long, and measures how long
// acceptances take meanwhile.
func TestDroppingStallsNobody(t *testing.T) {
	ctx := context.Background()
	_, url, _ := database(t)
	s, now, forward := years(t, url)
	for range 4 {
		for range 20 {
			a := acceptance(s, 1, now())
			if _, err := s.Accept(ctx, a); err != nil {
				t.Fatal(err)
			}
			s.Record(outcomesOf(a, now(), request), nil)
		}
		if err := s.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		forward(day)
	}
	reader := hold(t, url, "BEGIN; SELECT count(*) FROM event; SELECT count(*) FROM attempt")
	stop := make(chan struct{})
	worst := make(chan time.Duration, 1)
	go func() {
		slowest := time.Duration(0)
		for {
			select {
			case <-stop:
				worst <- slowest
				return
			default:
			}
			began := time.Now()
			a := acceptance(s, 1, now())
			if _, err := s.Accept(ctx, a); err != nil {
				t.Error(err)
			}
			s.Record(outcomesOf(a, now(), request), nil)
			slowest = max(slowest, time.Since(began))
		}
	}()
	r := store.Retention{Matched: day, Unmatched: 10 * day}
	for range 20 { // the reader is in the way
		if more, err := s.Prune(ctx, r, now()); err != nil || more {
			t.Fatalf("Prune behind a reader: %t, %v", more, err)
		}
	}
	if n, err := s.Events(ctx, store.EventFilter{Types: []string{"repo.push"}, Until: now().Add(-3 * day), Limit: 100}); err != nil || len(n) == 0 {
		t.Errorf("what somebody reads was dropped: %d, %v", len(n), err)
	}
	reader()
	pruneAll(t, s, r, now())
	close(stop)
	// Behind the reader an acceptance would have waited for as long as that stays. A second is a quiet machine's.
	if took := <-worst; took > 20*time.Second {
		t.Errorf("an acceptance took %s", took)
	} else {
		t.Logf("the slowest acceptance took %s", took)
	}
}

// TestAnIdleNodeRaisesItsFloor has a node that accepts nothing show signs of life for hours.
func TestAnIdleNodeRaisesItsFloor(t *testing.T) {
	server, url, name := database(t)
	s, now, forward := years(t, url)
	forward(3 * time.Hour)
	if _, err := s.Beat(context.Background(), store.NodeReport{}); err != nil {
		t.Fatal(err)
	}
	want := patchbay.FirstIDAt(now().Add(-time.Minute))
	for deadline := time.Now().Add(90 * time.Second); int64(number(t, server, name, "SELECT event FROM floor")) < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the floor stays where it was")
		}
	}
}
