package sqlite_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// exercise does everything that a store can do, so that every table has rows and every statement was used.
func exercise(t *testing.T, s *sqlite.Store) {
	t.Helper()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	var all []*store.Acceptance
	for i := range 60 {
		a := acceptance(s, 1+i%3, now)
		a.Event.Also = []patchbay.Scope{"acme/teams/1"}
		for j := range a.Targets {
			a.Targets[j].Link = patchbay.LinkID(1 + j)
		}
		if i%4 == 0 {
			q := store.Queued{Delivery: patchbay.DeliveryAt(a.Event.ID, 1), Event: a.Event.ID, Link: 1, Due: now, Thread: fmt.Sprint("t", i%8)}
			a.Queue = append(a.Queue, q)
		}
		if i == 50 {
			a.Event.Origin = all[0].Event.ID
		}
		_, err := s.Accept(ctx, a)
		must(err)
		_, err = s.Accept(ctx, a) // remembered
		must(err)
		all = append(all, a)
	}
	states := []patchbay.DeliveryState{patchbay.DeliverySucceeded, patchbay.DeliveryFailed, patchbay.DeliveryCancelled, patchbay.DeliveryPending}
	for i, a := range all {
		for j, o := range outcomesOf(a, now, request) {
			o.State = states[(i+j)%4]
			o.WasQueued = i%4 == 0
			o.Attempt.ResponseBody = "fine"
			o.Thread = &store.ThreadUpdate{Thread: "t", Reference: "r", Event: a.Event.ID}
			if o.State == patchbay.DeliveryPending {
				o.Next = &store.Queued{Delivery: o.Delivery, Event: o.Event, Link: o.Link, Due: now, Attempts: 1, Used: 1, Thread: "t"}
			}
			again := o
			again.N, again.WasQueued = 2, true
			s.Record([]store.Outcome{o, o, again}, nil)
		}
	}
	must(s.Flush(ctx))
	last := all[len(all)-1].Event.ID
	must(s.Enqueue(ctx, []store.Queued{{Delivery: patchbay.DeliveryAt(last, 1), Event: last, Link: 1, Due: now, Thread: "x"}}))
	must(s.Enqueue(ctx, []store.Queued{{Delivery: patchbay.DeliveryAt(last, 1), Event: last, Link: 1, Due: now, Thread: "y"}}))
	must(s.SaveLane(ctx, store.Lane{Link: 2, DropBefore: patchbay.DeliveryAt(all[30].Event.ID, 1)}))
	must(s.Enqueue(ctx, []store.Queued{{Delivery: patchbay.DeliveryAt(all[1].Event.ID, 2), Event: all[1].Event.ID, Link: 2, Due: now, Thread: "y"}}))
	link := &patchbay.Link{ID: patchbay.LinkID(s.NewID(1)), Revision: 1, Settings: json.RawMessage(`{}`)}
	must(s.SaveLink(ctx, link))
	link.Revision = 2
	must(s.SaveLink(ctx, link))
	_, err := s.LinkRevision(ctx, link.ID, 1)
	must(err)
	gone := patchbay.LinkID(s.NewID(1))
	must(s.SaveLink(ctx, &patchbay.Link{ID: gone, Revision: 1, Settings: json.RawMessage(`{}`)}))
	must(s.DeleteLink(ctx, gone, now))
	must(s.SaveLane(ctx, store.Lane{Link: gone, DropBefore: patchbay.DeliveryID(s.NewID(1))}))
	must(s.PutType(ctx, &patchbay.EventType{Key: "k"}))
	must(s.PutType(ctx, &patchbay.EventType{Key: "gone"}))
	must(s.DeleteType(ctx, "gone"))
	for i := range 2 {
		k := &store.Key{ID: patchbay.KeyID(s.NewID(1))}
		binary.BigEndian.PutUint64(k.Hash[:], uint64(k.ID))
		must(s.SaveKey(ctx, k))
		if i == 1 {
			must(s.DeleteKey(ctx, k.ID))
		}
	}
	must(s.SetMeta(ctx, "a", "b"))
	_, err = s.Meta(ctx, "a")
	must(err)
	exerciseReads(t, s, all)
	exercisePartners(t, s, all[3].Event.ID)
	exerciseJobs(t, s, all[3].Event.ID)
}

func exercisePartners(t *testing.T, s *sqlite.Store, event patchbay.EventID) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c := &patchbay.Connection{
		ID: patchbay.ConnectionID(s.NewID(1)), Integration: "github", Scope: "gone", Account: patchbay.Account{ID: "1"}, Revision: 1,
		Credentials: patchbay.Credentials{Access: "a", Refresh: "r", ExpiresAt: now},
	}
	must(s.SaveConnection(ctx, c))
	fence, _, err := s.LeaseConnection(ctx, c.ID, time.Minute)
	must(err)
	_, err = s.SaveRefreshed(ctx, fence, c)
	must(err)
	serving := patchbay.Scope("gone/x")
	for _, f := range []store.ConnectionFilter{{}, {Account: "1"}, {Within: "gone"}, {Serving: &serving}, {ExpiresBefore: now.Add(time.Hour)}} {
		f.Limit = 10
		all, err := s.Connections(ctx, f)
		must(err)
		if len(all) == 0 {
			t.Errorf("%+v finds nothing", f)
		}
	}
	other := *c
	other.ID, other.Revision = patchbay.ConnectionID(s.NewID(1)), 1
	must(s.SaveConnection(ctx, &other))
	must(s.DeleteConnection(ctx, other.ID))
	for i := range byte(2) {
		var hash [32]byte
		binary.BigEndian.PutUint64(hash[:], uint64(s.NewID(1)))
		must(s.SaveFlow(ctx, &store.Flow{Hash: hash, Until: now.Add(time.Minute)}))
		x := &store.Session{ID: patchbay.SessionID(s.NewID(1)), Claim: hash, Scope: "acme", ClaimUntil: now.Add(time.Minute), ExpiresAt: now.Add(time.Hour)}
		must(s.SaveSession(ctx, x))
		_, err = s.Session(ctx, x.ID, now)
		must(err)
		if i == 0 {
			_, err := s.TakeFlow(ctx, hash, now)
			must(err)
			_, err = s.ClaimSession(ctx, hash, hash, now)
			must(err)
			_, err = s.SessionByCookie(ctx, hash, now)
			must(err)
			must(s.DeleteSession(ctx, x.ID))
		}
	}
	_, err = s.Sessions(ctx, store.SessionFilter{Limit: 10}, now)
	must(err)
	_, err = s.Sessions(ctx, store.SessionFilter{Limit: 10, Within: "acme"}, now)
	must(err)
	_, err = s.Sessions(ctx, store.SessionFilter{Limit: 10, Portal: new(bool)}, now)
	must(err)
	_, err = s.Sessions(ctx, store.SessionFilter{Limit: 10, Key: 7}, now)
	must(err)
	exerciseHooks(t, s, event)
	exerciseAudit(t, s)
	for after := "begin"; after != ""; {
		after, err = s.LookSealed(ctx, strings.TrimPrefix(after, "begin"), 100, func([]byte) {})
		must(err)
	}
}

func exerciseAudit(t *testing.T, s *sqlite.Store) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	for _, scope := range []patchbay.Scope{"acme", "gone"} {
		if err := s.WriteAudit(ctx, &store.AuditEntry{Scope: scope, Action: "link.created", Object: "lnk_1", Actor: "key_1"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []store.AuditFilter{
		{}, {Since: now.Add(-time.Hour), Until: now.Add(time.Hour)}, {Within: "acme"}, {Within: "acme", Action: "link."}, {Within: "acme", Action: "link.", Actor: "key_1"},
		{Within: "acme", Action: "link.created", Actor: "key_1", Object: "lnk_1"},
	} {
		f.Limit = 10
		found, err := s.AuditEntries(ctx, f)
		if err != nil || len(found) == 0 {
			t.Errorf("%+v finds %v, %v", f, found, err)
		}
	}
	if _, err := s.PruneAudit(ctx, now.Add(time.Hour), 1); err != nil {
		t.Fatal(err)
	}
}

func exerciseHooks(t *testing.T, s *sqlite.Store, event patchbay.EventID) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, state := range []patchbay.HookState{patchbay.HookPending, patchbay.HookDone, patchbay.HookIgnored, patchbay.HookUnplaced, patchbay.HookFailed} {
		h := &store.Hook{ID: patchbay.HookID(s.NewID(1)), Integration: "github", Account: "1", Link: 1, Body: []byte("{}")}
		binary.BigEndian.PutUint64(h.Key[:], uint64(h.ID))
		for range 2 {
			_, err := s.SaveHook(ctx, h)
			must(err)
		}
		h.State, h.Events = state, []patchbay.EventID{event}
		h.Placed, h.Scope = state == patchbay.HookDone, "acme"
		must(s.FinishHook(ctx, h))
		_, err := s.Hook(ctx, h.ID)
		must(err)
		_, err = s.PendingHooks(ctx, now.Add(time.Hour), 0, 10)
		must(err)
		for _, f := range []store.HookFilter{{}, {Link: 1}, {Account: "1"}, {Within: "acme"}, {States: []patchbay.HookState{state}}} {
			f.Limit = 10
			if f.Within != "" && state == patchbay.HookPending {
				continue
			}
			all, err := s.Hooks(ctx, f)
			must(err)
			if len(all) == 0 {
				t.Errorf("%+v finds nothing", f)
			}
		}
	}
}

func exerciseJobs(t *testing.T, s *sqlite.Store, event patchbay.EventID) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		must(s.CreateJob(ctx, &store.Job{ID: patchbay.JobID(s.NewID(1)), Action: "retry", State: store.JobPending, CreatedAt: now}))
	}
	j, err := s.ClaimJob(ctx, 1, now, now.Add(time.Minute))
	must(err)
	j.Filter = json.RawMessage(`{"changed": true}`)
	_, err = s.SaveJob(ctx, j)
	must(err)
	jobs, err := s.Jobs(ctx, store.JobFilter{Limit: 10})
	must(err)
	must(s.CancelJob(ctx, jobs[0].ID, now))
	_, err = s.PruneJobs(ctx, now.Add(time.Hour), 10)
	must(err)
	must(s.EraseEvents(ctx, []patchbay.EventID{event}, now))
	must(s.SaveLink(ctx, &patchbay.Link{ID: patchbay.LinkID(s.NewID(1)), Scope: "gone", Revision: 1, Settings: json.RawMessage(`{}`)}))
	for range 2 {
		a := acceptance(s, 2, now)
		a.Event.Scope = "gone"
		_, err = s.Accept(ctx, a)
		must(err)
		_, _, err = s.EraseTenant(ctx, "gone")
		must(err)
	}
	must(s.Scrub(ctx))
}

func exerciseReads(t *testing.T, s *sqlite.Store, all []*store.Acceptance) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	look(s)
	_, _ = s.Remembered(ctx, [16]byte{1}, now)
	_, _ = s.Replays(ctx, all[0].Event.ID)
	_, _ = s.Thread(ctx, 1, "t")
	_, _ = s.AllTypes(ctx)
	_, _ = s.AllKeys(ctx)
	_, _ = s.Lanes(ctx)
	for link := range patchbay.LinkID(4) {
		_, _ = s.Due(ctx, link, now, 10, nil)
		_, _, _ = s.NextDue(ctx, link, nil)
		_, _ = s.Following(ctx, &store.Queued{Link: link, Thread: "t"}, now, 10)
		_, _ = s.Waiting(ctx, link, 10)
		for _, state := range []patchbay.DeliveryState{"", patchbay.DeliveryFailed, patchbay.DeliveryCancelled, patchbay.DeliverySkipped, patchbay.DeliveryPending} {
			f := store.DeliveryFilter{Link: link, Limit: 10}
			if state != "" {
				f.States = []patchbay.DeliveryState{state}
			}
			found, err := s.Deliveries(ctx, f)
			if err == nil && len(found) > 0 {
				_, err = s.LastAttempts(ctx, []patchbay.DeliveryID{found[0].ID})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _ = s.Delivery(ctx, patchbay.DeliveryAt(all[2].Event.ID, 1))
	_, _ = s.Deliveries(ctx, store.DeliveryFilter{Event: all[2].Event.ID, Limit: 10})
	_, _ = s.Stats(ctx)
	if err := s.Healthy(ctx); err != nil {
		t.Fatal(err)
	}
}
