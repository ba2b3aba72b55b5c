package sqlite_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// TestAFullDisk fills the disk in two ways and checks that nothing accepted is lost, that what cannot be accepted is
// told, and that everything goes on by itself when there is room again.
func TestAFullDisk(t *testing.T) {
	t.Run("page limit", func(t *testing.T) {
		s, err := openIn(t, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		fullDisk(t, s,
			func() { run(t, s, "PRAGMA max_page_count = 40") },
			func() { run(t, s, "PRAGMA max_page_count = 4294967294") })
	})
	t.Run("real disk", func(t *testing.T) {
		dir := mount(t, "size=6m")
		s, err := openIn(t, dir)
		if err != nil {
			t.Fatal(err)
		}
		ballast := filepath.Join(dir, "ballast")
		fullDisk(t, s,
			func() { fill(t, ballast) },
			func() {
				if err := os.Remove(ballast); err != nil {
					t.Fatal(err)
				}
			})
	})
}

func run(t *testing.T, s *sqlite.Store, sql string) {
	t.Helper()
	if err := s.Run(sql); err != nil {
		t.Fatal(err)
	}
}

// fill makes a file that takes all the room but a little.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// big makes an event of 50 KB with one delivery.
func big(s *sqlite.Store) *store.Acceptance {
	a := acceptance(s, 1, time.Now())
	a.Event.Payload = json.RawMessage(`{"x": "` + strings.Repeat("x", 50_000) + `"}`)
	return a
}

func fullDisk(t *testing.T, s *sqlite.Store, full, room func()) {
	t.Helper()
	ctx := context.Background()
	before := big(s)
	if _, err := s.Accept(ctx, before); err != nil {
		t.Fatal(err)
	}
	if err := s.Healthy(ctx); err != nil {
		t.Fatal(err)
	}
	full()
	accepted := []*store.Acceptance{before}
	refused := untilFull(t, s, &accepted)

	// What was sent meanwhile is recorded later; nobody who records waits.
	told := make(chan struct{})
	sent := slices.Clone(accepted)
	var outcomes []store.Outcome
	for n := range 100 { // with more text than can possibly fit
		for _, a := range accepted {
			o := outcomesOf(a, time.Now(), request)
			o[0].N = n + 1
			o[0].Attempt.ResponseBody = strings.Repeat("y", 8000)
			outcomes = append(outcomes, o...)
		}
	}
	s.Record(outcomes, func() { close(told) })
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := s.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Flush on a full disk: %v", err)
	}
	if err := s.Healthy(ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Healthy says %v", err)
	}
	if err := s.SetMeta(ctx, "k", strings.Repeat("z", 100_000)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("SetMeta says %v", err)
	}
	check := func() {
		t.Helper()
		for _, a := range accepted {
			r, err := s.Event(ctx, a.Event.ID)
			if err != nil || string(r.Payload) != string(a.Event.Payload) {
				t.Errorf("an accepted event: %v", err)
			}
		}
		for _, a := range refused {
			if _, err := s.Event(ctx, a.Event.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a refused event: %v", err)
			}
		}
	}
	check()

	room()
	select {
	case <-told:
	case <-time.After(90 * time.Second):
		t.Fatal("results are not committed although there is room")
	}
	for _, a := range refused {
		if existing, err := s.Accept(ctx, a); err != nil || existing != nil {
			t.Errorf("a refused event, again: %v, %v", existing, err)
		}
	}
	accepted, refused = append(accepted, refused...), nil
	check()
	if err := s.Healthy(ctx); err != nil {
		t.Error(err)
	}
	for _, a := range sent {
		o := outcomesOf(a, time.Now(), request)[0]
		if d, err := s.Delivery(ctx, o.Delivery); err != nil || d.State != patchbay.DeliverySucceeded {
			t.Errorf("%s is %+v (%v)", o.Delivery, d, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// untilFull accepts from several callers until nothing more fits, and returns what was refused.
func untilFull(t *testing.T, s *sqlite.Store, accepted *[]*store.Acceptance) (refused []*store.Acceptance) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				a := big(s)
				_, err := s.Accept(context.Background(), a)
				mu.Lock()
				if err == nil {
					*accepted = append(*accepted, a)
				} else {
					refused = append(refused, a)
				}
				mu.Unlock()
				if err == nil {
					continue
				}
				if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "disk") {
					t.Errorf("on a full disk Accept says: %v", err)
				}
				return
			}
			t.Error("the disk is never full")
		})
	}
	all.Wait()
	return refused
}

// TestClosingOnAFullDisk loses results but no delivery: they are sent again after the next start.
func TestClosingOnAFullDisk(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, err := openIn(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	first := big(s)
	if _, err := s.Accept(ctx, first); err != nil { // alone: a commit of four may already be more than there is room for
		t.Fatal(err)
	}
	run(t, s, "PRAGMA max_page_count = 60")
	accepted := []*store.Acceptance{first}
	untilFull(t, s, &accepted)
	var o []store.Outcome
	for n := range 100 {
		o = append(o, outcomesOf(accepted[0], time.Now(), request)...)
		o[n].N, o[n].Attempt.ResponseBody = n+1, strings.Repeat("y", 8000)
	}
	told := false
	s.Record(o, func() { told = true })
	flushed := make(chan error)
	go func() { flushed <- s.Flush(ctx) }()
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := s.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Flush on a full disk: %v", err)
	}
	if err := s.Close(); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "sent again") {
		t.Errorf("Close says %v", err)
	}
	if err := <-flushed; !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Flush says %v", err)
	}
	if told {
		t.Error("a result that was lost is said to be committed")
	}
	if s, err = openIn(t, dir); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if n, err := s.Recover(ctx, time.Now()); err != nil || n != len(accepted) {
		t.Errorf("%d deliveries were recovered (%v), want %d", n, err, len(accepted))
	}
}

// TestOneBadOperation checks that what cannot be written does not fail what shares its transaction.
func TestOneBadOperation(t *testing.T) {
	ctx := context.Background()
	s := openBench(t)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if i%10 == 0 {
				if err := s.Run("INSERT INTO nothing VALUES (1)"); err == nil || errors.Is(err, store.ErrUnavailable) {
					t.Errorf("a bad operation: %v", err)
				}
				return
			}
			a := acceptance(s, 1, time.Now())
			if _, err := s.Accept(ctx, a); err != nil {
				t.Error(err)
			}
			s.Record(outcomesOf(a, time.Now(), request), nil)
		})
	}
	all.Wait()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := s.Deliveries(ctx, store.DeliveryFilter{States: []patchbay.DeliveryState{patchbay.DeliverySucceeded}, Limit: 200})
	if err != nil || len(got) != 90 {
		t.Errorf("%d of 90 deliveries have succeeded (%v)", len(got), err)
	}
}
