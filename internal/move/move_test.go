package move_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/move"
	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
	"github.com/patchbay/patchbay/internal/store/sqlite"
	"github.com/patchbay/patchbay/internal/store/storetest"
)

const (
	links   = 20
	workers = 64
)

// installation fills a data directory with everything that a store can hold, over several days, and returns the events.
func installation(t *testing.T, dir string, events int) []*store.Acceptance {
	t.Helper()
	ctx := context.Background()
	var mu sync.Mutex
	now := time.Now().Add(-5 * 24 * time.Hour).Truncate(time.Microsecond)
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: dir, Now: clock, Sealer: keysHere})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var ids []patchbay.LinkID
	for i := range links {
		l := &patchbay.Link{
			ID: patchbay.LinkID(s.NewID(1)), Revision: 1, Integration: "webhook", Scope: "acme", Events: []patchbay.Pattern{"*"},
			Settings: json.RawMessage(fmt.Sprintf(`{"url":"https://%d.example.com","n":1e400}`, i)), Enabled: true, State: patchbay.LinkActive,
			Previous: &patchbay.PreviousSecret{Setting: "secret", Value: "whsec_old", Until: now.Add(time.Hour)}, CreatedAt: now, UpdatedAt: now,
			Hook:     &patchbay.LinkHook{Token: "token", Secret: "hook secret"},
			Attached: &patchbay.Attached{State: json.RawMessage(`{"id":7}`), At: now},
		}
		must(s.SaveLink(ctx, l))
		l.Revision, l.Name = 2, "née"
		must(s.SaveLink(ctx, l))
		if i == links-1 {
			must(s.DeleteLink(ctx, l.ID, now))
		}
		ids = append(ids, l.ID)
	}
	must(s.PutType(ctx, &patchbay.EventType{Key: "repo.push", Title: "Push", Schema: json.RawMessage(`{"type": "object"}`)}))
	for i := range 3 {
		must(s.SaveKey(ctx, &store.Key{ID: patchbay.KeyID(s.NewID(1)), Hash: [32]byte{byte(i)}, Name: "k", Scope: "acme", Permissions: []string{"read"}, CreatedAt: now}))
	}
	for i := range 40 {
		must(s.WriteAudit(ctx, &store.AuditEntry{
			Scope: "acme/x", Action: "link.updated", Object: fmt.Sprint("lnk_", i%7), Title: "née \xff\x00", Actor: "key_1", Changes: json.RawMessage(`[{"field": "name"}]`),
		}))
	}
	partners(t, s, now)
	for i := range 5 {
		must(s.CreateJob(ctx, &store.Job{ID: patchbay.JobID(s.NewID(1)), Action: "retry", Filter: json.RawMessage(`{"a": 1}`), State: store.JobSucceeded, Seen: int64(i), CreatedAt: now}))
	}
	var all []*store.Acceptance
	var owned sync.WaitGroup
	for w := range workers {
		owned.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 7))
			for i := range events / workers {
				a := randomEvent(s, r, clock(), ids)
				mu.Lock()
				if i%50 == 3 && len(all) > 0 && all[0].Event.Origin == 0 {
					a.Event.Origin, a.Event.Payload = all[0].Event.ID, all[0].Event.Payload
				}
				if i%8 == 0 {
					now = now.Add(5 * 24 * time.Hour * 8 / time.Duration(events))
				}
				mu.Unlock()
				if _, err := s.Accept(ctx, a); err != nil {
					t.Error(err)
					return
				}
				s.Record(randomOutcomes(r, a, clock()), nil)
				mu.Lock()
				all = append(all, a)
				mu.Unlock()
			}
		})
	}
	owned.Wait()
	must(s.Flush(ctx))
	must(s.EraseEvents(ctx, []patchbay.EventID{all[10].Event.ID}, now))
	must(s.SaveLane(ctx, store.Lane{Link: ids[3], DropBefore: patchbay.DeliveryID(all[len(all)/2].Event.ID), Failures: 3, FailingSince: now}))
	must(s.AddSamples(ctx, []store.Sample{{At: now, Type: "a", Scope: "acme", Accepted: 7}, {At: now, Link: ids[0], Delivered: 2, Latency: store.Latency{4: 2}}}))
	must(s.Close()) // what was only in memory has neither end nor place
	return all
}

// keysHere and keysThere are the keys of the two databases, which know nothing of each other.
var keysHere, keysThere = storetest.NewKeys(), func() *storetest.Keys {
	k := storetest.NewKeys()
	k.Rotate()
	k.Forget()
	return k
}()

// partners adds connections, hooks, and what is left behind: sessions and sign-ins that have begun.
func partners(t *testing.T, s *sqlite.Store, now time.Time) {
	t.Helper()
	ctx := context.Background()
	for i := range 30 {
		c := &patchbay.Connection{
			ID: patchbay.ConnectionID(s.NewID(1)), Revision: 1, Integration: "github", Scope: "acme", Account: patchbay.Account{ID: fmt.Sprint(i)}, CreatedAt: now,
			Data: json.RawMessage(`{"site":"x"}`), State: patchbay.ConnectionActive,
			Credentials: patchbay.Credentials{Access: "access", Refresh: "refresh", ExpiresAt: now.Add(time.Hour), Extra: map[string]patchbay.Secret{"a": "b"}},
		}
		h := &store.Hook{
			ID: patchbay.HookID(s.NewID(1)), Integration: "github", Account: "\xff", Key: [16]byte{byte(i)}, ReceivedAt: now, Body: []byte{0, 255, byte(i)},
			Header: map[string][]string{"X-Event": {"push"}}, State: patchbay.HookPending, Query: "a=\x00",
		}
		_, saved := s.SaveHook(ctx, h)
		h.State = []patchbay.HookState{patchbay.HookPending, patchbay.HookUnplaced, patchbay.HookDone}[i%3]
		h.Events = []patchbay.EventID{patchbay.EventID(i + 1)}
		if err := errors.Join(s.SaveConnection(ctx, c), saved, s.FinishHook(ctx, h)); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(s.SaveFlow(ctx, &store.Flow{Hash: [32]byte{1}, Until: now.Add(time.Hour)}),
		s.SaveSession(ctx, &store.Session{ID: patchbay.SessionID(s.NewID(1)), Cookie: [32]byte{1}, ExpiresAt: time.Now().Add(time.Hour)}))
	if err != nil {
		t.Fatal(err)
	}
}

func randomEvent(s *sqlite.Store, r *rand.Rand, now time.Time, ids []patchbay.LinkID) *store.Acceptance {
	n := r.IntN(4)
	id := patchbay.EventID(s.NewID(1 + n))
	a := &store.Acceptance{Missed: r.IntN(10) == 0, Event: &patchbay.Event{
		ID: id, Type: []string{"repo.push", "run_completion"}[r.IntN(2)], Scope: patchbay.Scope(fmt.Sprint("acme/repos/", r.IntN(9))),
		Payload: json.RawMessage(fmt.Sprintf(`{"n": 1.50, "text": %q}`, strings.Repeat("é", r.IntN(200)))), ReceivedAt: now, OccurredAt: now,
		Source: patchbay.Source{Kind: patchbay.SourceAPI, Key: 7},
	}}
	if r.IntN(3) == 0 {
		a.Event.OccurredAt = now.Add(-time.Hour)
		a.Event.Actor = json.RawMessage(`{"name": "Ann"}`)
		a.Event.Also = []patchbay.Scope{"acme/teams/1"}
	}
	if r.IntN(4) == 0 {
		a.Idempotency = &store.Idempotency{Until: time.Now().Add(time.Hour).Truncate(time.Microsecond)}
		for i := range a.Idempotency.Key {
			a.Idempotency.Key[i], a.Idempotency.Body[i] = byte(r.Uint32()), byte(r.Uint32())
		}
	}
	for i := range n {
		t := store.Target{Link: ids[r.IntN(len(ids))], Revision: 1 + r.IntN(2), Integration: "webhook"}
		a.Targets = append(a.Targets, t)
		if r.IntN(5) == 0 {
			q := store.Queued{Delivery: patchbay.DeliveryAt(id, i+1), Event: id, Link: t.Link, Due: now.Add(time.Duration(r.IntN(100)) * time.Hour)}
			if r.IntN(2) == 0 {
				q.Thread = fmt.Sprint("run/", r.IntN(5))
			}
			a.Queue = append(a.Queue, q)
		}
	}
	return a
}

func randomOutcomes(r *rand.Rand, a *store.Acceptance, now time.Time) (out []store.Outcome) {
	for i := range a.Targets {
		id := patchbay.DeliveryAt(a.Event.ID, i+1)
		o := store.Outcome{Delivery: id, Event: a.Event.ID, Link: a.Targets[i].Link, N: 1, WasQueued: true, Attempt: patchbay.Attempt{
			At: now, DurationMS: int64(r.IntN(1000)), Verdict: patchbay.VerdictDelivered, ResponseCode: 200, ResponseBody: "fine",
			Request: &patchbay.Request{Method: "POST", URL: "https://example.com", Headers: map[string]string{"webhook-id": "x", "a": "b"}},
		}}
		again := func(state patchbay.DeliveryState) {
			o.State, o.Attempt.Verdict, o.Attempt.Error, o.Attempt.ErrorType = state, patchbay.VerdictRetry, "no \xff such", patchbay.CodeServiceError
		}
		switch r.IntN(6) {
		case 0: // in memory
			continue
		case 1:
			again(patchbay.DeliveryPending)
			o.Next = &store.Queued{Delivery: id, Event: a.Event.ID, Link: o.Link, Due: now.Add(time.Hour), Attempts: 1, Used: 1}
		case 2:
			again(patchbay.DeliveryPending)
			out = append(out, o)
			o.N = 2
			again(patchbay.DeliveryFailed)
		case 3:
			o = store.Outcome{Delivery: id, Event: a.Event.ID, Link: o.Link, State: patchbay.DeliveryCancelled, WasQueued: true, Attempt: patchbay.Attempt{At: now, Error: "by hand"}}
		default:
			o.State = patchbay.DeliverySucceeded
			o.Thread = &store.ThreadUpdate{Thread: fmt.Sprint("run/", r.IntN(5)), Reference: "ref", Event: a.Event.ID}
		}
		out = append(out, o)
	}
	return out
}

// unreliable is a target that is killed now and then: before a piece is written, or after it and before anybody hears.
type unreliable struct {
	store.Importer
	r     *rand.Rand
	every int
}

var errKilled = errors.New("killed")

func (u *unreliable) Import(ctx context.Context, c *store.Chunk, cursor string) error {
	switch u.r.IntN(u.every) {
	case 0:
		return errKilled
	case 1:
		if err := u.Importer.Import(ctx, c, cursor); err != nil {
			return err
		}
		return errKilled
	}
	return u.Importer.Import(ctx, c, cursor)
}

func (u *unreliable) FinishImport(ctx context.Context, name string) error {
	if u.r.IntN(2) == 0 {
		return errKilled
	}
	err := u.Importer.FinishImport(ctx, name)
	if u.r.IntN(2) == 0 {
		return errKilled
	}
	return err
}

// TestMove moves an installation to PostgreSQL while both processes die again and again, and compares everything that can
// be asked for.
func TestMove(t *testing.T) {
	events := 50_000
	if testing.Short() {
		events = 4000
	}
	ctx := context.Background()
	dir, url := t.TempDir(), pgtest.Database(t)
	began := time.Now()
	all := installation(t, dir, events)
	t.Logf("filled with %d events in %s", len(all), time.Since(began))
	r := rand.New(rand.NewPCG(1, 1))
	var report *move.Report
	runs, pieces := 0, 0
	began = time.Now()
	for report == nil {
		if runs++; runs > 200 {
			t.Fatal("it does not come to an end")
		}
		from, to := open(t, dir, url)
		var last move.Progress
		got, err := move.Run(ctx, move.Options{From: from, To: &unreliable{to, r, 25}, Name: "postgres://there", Piece: 700, Progress: func(p move.Progress) {
			last = p
			pieces++
		}})
		switch {
		case err == nil:
			report = got
			if last.Total != 0 && last.Done != last.Total {
				t.Errorf("at the end the progress is %+v", last)
			}
		case !errors.Is(err, errKilled):
			t.Fatal(err)
		default:
			if err := move.Refusal(ctx, from); err == nil || !strings.Contains(err.Error(), "is being moved") {
				t.Errorf("half way the source may be served: %v", err)
			}
		}
		if err := errors.Join(from.Close(), to.Close()); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	t.Logf("moved in %s (%.0f events/s), %d runs, %d pieces: %v", took, float64(len(all))/took.Seconds(), runs, pieces, report.Totals)
	if runs < 3 {
		t.Errorf("nothing was interrupted: %d runs", runs)
	}
	from, to := open(t, dir, url)
	defer func() { _, _ = from.Close(), to.Close() }()
	if err := move.Refusal(ctx, from); err == nil || !strings.Contains(err.Error(), "was moved to postgres://there") {
		t.Errorf("what was moved may be served: %v", err)
	}
	if err := move.Refusal(ctx, to); err != nil {
		t.Errorf("what was moved there may not be served: %v", err)
	}
	if _, err := move.Run(ctx, move.Options{From: from, To: to, Name: "postgres://there"}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("it can be moved twice: %v", err)
	}
	compare(t, from, to, all)
}

func open(t *testing.T, dir, url string) (*sqlite.Store, *postgres.Store) {
	t.Helper()
	from, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir, Sealer: keysHere})
	if err != nil {
		t.Fatal(err)
	}
	to, err := postgres.Open(context.Background(), postgres.Options{URL: url, Name: "mover", Sealer: keysThere})
	if err != nil {
		t.Fatal(err)
	}
	return from, to
}

// readable is what both stores are asked.
type readable interface {
	store.Events
	store.Deliveries
	store.Queue
	store.Links
	store.Types
	store.Keys
	store.Connections
	store.Hooks
	store.Jobs
	store.Audit
	store.Statistics
}

// compare asks both stores the same.
func compare(t *testing.T, from, to readable, all []*store.Acceptance) {
	t.Helper()
	ctx := context.Background()
	same := func(what string, ask func(readable) (any, error)) {
		t.Helper()
		want, err := ask(from)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got, err := ask(to)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s (-from +to):\n%s", what, d)
		}
	}
	same("links", func(s readable) (any, error) { return s.AllLinks(ctx) })
	same("types", func(s readable) (any, error) { return s.AllTypes(ctx) })
	same("keys", func(s readable) (any, error) { return s.AllKeys(ctx) })
	same("connections", func(s readable) (any, error) {
		out, err := s.Connections(ctx, store.ConnectionFilter{Limit: 100})
		if len(out) != 30 {
			return nil, fmt.Errorf("there are %d connections (%w)", len(out), err)
		}
		return out, err
	})
	same("hooks", func(s readable) (any, error) {
		out, err := s.Hooks(ctx, store.HookFilter{States: []patchbay.HookState{patchbay.HookPending, patchbay.HookUnplaced}, Limit: 100})
		if len(out) != 20 {
			return nil, fmt.Errorf("there are %d hooks (%w)", len(out), err)
		}
		for i := range out {
			h, err := s.Hook(ctx, out[i].ID)
			if err != nil {
				return nil, err
			}
			out[i] = *h
		}
		return out, err
	})
	if left, err := to.Hooks(ctx, store.HookFilter{States: []patchbay.HookState{patchbay.HookDone}, Limit: 1}); err != nil || len(left) > 0 {
		t.Errorf("what was read was moved too: %v, %v", left, err)
	}
	for _, f := range []store.AuditFilter{{Limit: 100}, {Limit: 100, Within: "acme", Object: "lnk_3"}} {
		same("who changed what", func(s readable) (any, error) {
			out, err := s.AuditEntries(ctx, f)
			if len(out) < 5 {
				return nil, fmt.Errorf("there are %d entries (%w)", len(out), err)
			}
			return out, err
		})
	}
	same("what waits", func(s readable) (any, error) { return s.Waited(ctx) })
	waited, err := from.Waited(ctx)
	if err != nil || len(waited) < links/2 {
		t.Fatalf("%d links have a queue (%v)", len(waited), err)
	}
	for link := range waited {
		same("a link", func(s readable) (any, error) { return s.LinkRevision(ctx, link, 1) })
		same("what is due", func(s readable) (any, error) { return s.Due(ctx, link, time.Now().Add(500*time.Hour), 200, nil) })
		same("how much waits", func(s readable) (any, error) { return s.Waiting(ctx, link, 1<<30) })
		for i := range 5 {
			same("a thread", func(s readable) (any, error) { return s.Thread(ctx, link, fmt.Sprint("run/", i)) })
		}
	}
	for i, a := range all {
		if i%97 != 0 && i > 200 {
			continue
		}
		same("an event", func(s readable) (any, error) { return s.Event(ctx, a.Event.ID) })
		same("its deliveries", func(s readable) (any, error) { return s.OfEvent(ctx, a.Event.ID) })
		if a.Idempotency != nil {
			same("a key", func(s readable) (any, error) { return s.Remembered(ctx, a.Idempotency.Key, time.Now()) })
		}
	}
	same("the replays", func(s readable) (any, error) { return s.Replays(ctx, all[0].Event.ID) })
	same("a list", func(s readable) (any, error) {
		return s.Events(ctx, store.EventFilter{Types: []string{"run_completion"}, Within: "acme/repos/3", Limit: 2000})
	})
	same("failed deliveries", func(s readable) (any, error) {
		return s.Deliveries(ctx, store.DeliveryFilter{States: []patchbay.DeliveryState{patchbay.DeliveryFailed}, Limit: 2000})
	})
	same("jobs", func(s readable) (any, error) { return s.Jobs(ctx, store.JobFilter{Limit: 100}) })
	for _, by := range []string{store.ByNothing, store.ByType, store.ByLink} {
		same("figures", func(s readable) (any, error) { return s.Samples(ctx, store.StatFilter{}, time.Hour, by) })
	}
}
