package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/store"
)

// never is a schedule without retries.
func never(in *links.Input) { in.Retry = &patchbay.RetryPolicy{Schedule: []patchbay.Duration{}} }

// failed publishes events that a link fails to deliver.
func (r *rig) failed(l *links.View, n int, scope string) []patchbay.EventID {
	r.t.Helper()
	r.partner.setAnswer(func(*integration.Delivery) integration.Result { return integration.UserError("no") })
	before := r.states(store.DeliveryFilter{Link: l.ID})[patchbay.DeliveryFailed]
	e := r.many(n, scope)
	r.until("they have failed", func() bool {
		return r.states(store.DeliveryFilter{Link: l.ID})[patchbay.DeliveryFailed] == before+n
	})
	r.partner.setAnswer(nil)
	return e
}

// TestRetry: a job retries what failed, and only that.
func TestRetry(t *testing.T) {
	r := newRig(t)
	l, other := r.link("x", "acme", never), r.link("y", "globex", never)
	e := r.failed(l, 600, "acme/repo") // more than two steps
	r.failed(other, 3, "globex")
	fine := r.publish("acme", `{}`)
	r.wantOnce("x", []patchbay.EventID{fine})
	filter := fmt.Sprintf(`{"link": %q}`, l.ID)
	if p := r.preview(Retry, filter); p.Total != 600 || !p.Complete {
		t.Errorf("the dry run says %+v", p)
	}
	r.run()
	v := r.ended(r.create(Retry, filter).ID, store.JobSucceeded)
	if v.Changed != 600 || v.Seen != 600 || *v.Total != 600 || v.Progress != 1 || v.Failed != 0 {
		t.Errorf("the job is %+v", v)
	}
	r.until("they have arrived", func() bool {
		return r.states(store.DeliveryFilter{Link: l.ID})[patchbay.DeliverySucceeded] == 601
	})
	for _, id := range e {
		if n := r.partner.count("x", id); n != 2 {
			t.Fatalf("%s was tried %d times, want 2", id, n)
		}
	}
	if got := r.states(store.DeliveryFilter{Link: other.ID}); got[patchbay.DeliveryFailed] != 3 {
		t.Errorf("of the other link: %v", got)
	}
	if n := r.partner.count("x", fine); n != 1 {
		t.Errorf("what had succeeded was tried %d times", n)
	}
}

// TestRetryEnds: a job over its own effects ends: what fails again is not retried again by it, also not when its step is
// repeated after a crash.
func TestRetryEnds(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Lease, o.Alone = 40*time.Millisecond, false })
	l := r.link("x", "acme", never)
	e := r.failed(l, 300, "acme")
	r.partner.setAnswer(func(*integration.Delivery) integration.Result { return integration.UserError("no") })
	crashes := atomic.Int32{}
	r.jobs.before = func(*store.Job) error {
		if crashes.Add(1) <= 2 {
			// what was retried fails again before the step is repeated
			r.until("it failed again", func() bool { return r.states(store.DeliveryFilter{Link: l.ID})[patchbay.DeliveryPending] == 0 })
			return errCrash
		}
		return nil
	}
	job := r.create(Retry, `{"state": "failed"}`)
	for range 3 {
		r.run()
	}
	r.ended(job.ID, store.JobSucceeded)
	for _, id := range e {
		if n := r.partner.count("x", id); n != 2 {
			t.Fatalf("%s was tried %d times, want 2", id, n)
		}
	}
	if crashes.Load() < 3 {
		t.Errorf("%d crashes", crashes.Load())
	}
}

// TestCancel: one write for a whole link, one by one for everything else.
func TestCancel(t *testing.T) {
	r := newRig(t)
	r.run()
	l := r.link("x", "")
	pause := func() { _, err := r.links.Pause(context.Background(), everything, l.ID); r.must(err) }
	pause()
	r.many(40, "acme")
	r.many(300, "globex")
	for _, none := range []string{"nothing.*", "thing.ended"} {
		if v := r.ended(r.create(Cancel, fmt.Sprintf(`{"link": %q, "type": %q}`, l.ID, none)).ID, store.JobSucceeded); v.Changed != 0 {
			t.Errorf("deliveries of another type than %s were cancelled: %+v", none, v)
		}
	}
	if p := r.preview(Cancel, `{"type": "thing.h*"}`); p.Total != 340 {
		t.Errorf("of the type there are %d that wait, want 340", p.Total)
	}
	v := r.ended(r.create(Cancel, `{"scope": "globex", "type": "thing.happened", "state": "held"}`).ID, store.JobSucceeded)
	if got := r.states(store.DeliveryFilter{}); v.Changed != 300 || got[patchbay.DeliveryCancelled] != 300 || got[patchbay.DeliveryHeld] != 40 {
		t.Errorf("%+v: %v", v, got)
	}
	if v := r.ended(r.create(Cancel, fmt.Sprintf(`{"link": %q, "state": "pending"}`, l.ID)).ID, store.JobSucceeded); v.Changed != 0 {
		t.Errorf("held deliveries were cancelled as pending ones: %+v", v)
	}
	v = r.ended(r.create(Cancel, fmt.Sprintf(`{"link": %q}`, l.ID)).ID, store.JobSucceeded)
	if got := r.states(store.DeliveryFilter{}); v.Changed != 40 || got[patchbay.DeliveryCancelled] != 340 {
		t.Errorf("%+v: %v", v, got)
	}
	later := r.publish("acme", `{}`)
	_, err := r.links.Resume(context.Background(), everything, l.ID)
	r.must(err)
	r.wantOnce("x", []patchbay.EventID{later})
	if n := len(r.partner.arrived()); n != 1 {
		t.Errorf("%d arrived", n)
	}
}

// TestReplay: every event once more, to the links that match now, once although the job's steps are repeated.
func TestReplay(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Lease, o.Alone = 40*time.Millisecond, false })
	e := r.many(400, "acme")
	r.link("x", "acme")
	r.many(5, "globex")
	n := atomic.Int32{}
	r.jobs.before = func(*store.Job) error {
		if n.Add(1)%2 == 1 {
			return errCrash
		}
		return nil
	}
	job := r.create(Replay, `{"scope": "acme", "type": "thing.*"}`)
	for range 4 {
		r.run()
	}
	r.ended(job.ID, store.JobSucceeded)
	r.wantOnce("x", e)
}

// TestScope: a job reaches what its maker reaches.
func TestScope(t *testing.T) {
	r := newRig(t)
	r.run()
	above, own, aside := r.link("above", "", never), r.link("own", "acme", never), r.link("aside", "globex", never)
	r.partner.setAnswer(func(*integration.Delivery) integration.Result { return integration.UserError("no") })
	r.many(3, "acme/x")
	r.many(2, "globex")
	r.until("all have failed", func() bool { return r.states(store.DeliveryFilter{})[patchbay.DeliveryFailed] == 10 })
	acme := &access.Caller{Scope: "acme", Permissions: []access.Permission{access.Manage}, Name: "acme"}
	v, err := r.make(acme, Retry, `{}`)
	r.must(err)
	if got := r.ended(v.ID, store.JobSucceeded); got.Changed != 3 || got.Skipped != 3 {
		t.Errorf("the job is %+v", got)
	}
	ctx := context.Background()
	if _, err := r.jobs.Get(ctx, acme, r.create(Retry, `{"scope": "globex"}`).ID); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("another's job: %v", err)
	}
	if mine, _, err := r.jobs.List(ctx, acme, Query{Limit: 10}); err != nil || len(mine) != 1 || mine[0].By != "acme" {
		t.Errorf("the list is %+v, %v", mine, err)
	}
	for _, c := range []struct {
		action, filter string
		want           patchbay.Code
	}{
		{Retry, fmt.Sprintf(`{"link": %q}`, above.ID), patchbay.CodeForbidden},
		{Retry, fmt.Sprintf(`{"link": %q}`, aside.ID), patchbay.CodeInvalidRequest},
		{Retry, `{"scope": "globex"}`, patchbay.CodeForbidden},
		{Recover, fmt.Sprintf(`{"link": %q}`, above.ID), patchbay.CodeForbidden},
		{Recover, fmt.Sprintf(`{"link": %q, "scope": "globex"}`, own.ID), patchbay.CodeForbidden},
	} {
		if _, err := r.make(acme, c.action, c.filter); patchbay.CodeOf(err) != c.want {
			t.Errorf("%s %s: %v, want %s", c.action, c.filter, err, c.want)
		}
	}
	reader := &access.Caller{Permissions: []access.Permission{access.Read}}
	if _, err := r.make(reader, Retry, `{}`); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("with read alone: %v", err)
	}
	if _, err := r.jobs.Erase(ctx, &access.Caller{Permissions: []access.Permission{access.Manage}}, Erasure{Tenant: "acme"}); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("erasing with manage: %v", err)
	}
	if _, err := r.jobs.Erase(ctx, &access.Caller{Scope: "acme", Permissions: []access.Permission{access.Admin}}, Erasure{Tenant: "globex"}); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("erasing another tenant: %v", err)
	}
}

// TestRefused: what makes no sense is refused with what is wrong and where.
func TestRefused(t *testing.T) {
	r := newRig(t)
	l := r.link("x", "acme")
	off := r.link("y", "acme")
	r.enable(off.ID, false)
	for _, c := range []struct{ action, filter, path string }{
		{"erase", `{}`, "action"},
		{"explode", `{}`, "action"},
		{Retry, `[]`, "filter"},
		{Retry, `{"tenant": "x"}`, "filter.tenant"},
		{Retry, `{"stat": "failed"}`, "filter.stat"},
		{Retry, `{"state": "broken"}`, "filter.state"},
		{Retry, `{"state": []}`, "filter.state"},
		{Retry, `{"state": "succeeded"}`, "filter.state"},
		{Retry, `{"state": "held"}`, "filter.state"},
		{Cancel, `{"state": "failed"}`, "filter.state"},
		{Cancel, `{}`, "filter"},
		{Retry, `{"link": "lnk_1"}`, "filter.link"},
		{Retry, `{"link": "evt_01h2xcejqtf2n"}`, "filter.link"},
		{Retry, `{"link": 7}`, "filter.link"},
		{Retry, `{"link": "lnk_00000000000zz"}`, "filter.link"},
		{Retry, `{"event": "no"}`, "filter.event"},
		{Retry, fmt.Sprintf(`{"link": %q, "integration": "slack"}`, l.ID), "filter.integration"},
		{Retry, fmt.Sprintf(`{"link": %q, "scope": "globex"}`, l.ID), "filter.scope"},
		{Retry, `{"scope": "a//b"}`, "filter.scope"},
		{Retry, `{"since": "yesterday"}`, "filter.since"},
		{Retry, `{"since": "2026-01-02T00:00:00Z", "until": "2026-01-02T00:00:00Z"}`, "filter.until"},
		{Replay, `{}`, "filter"},
		{Replay, `{"link": "lnk_00000000000zz"}`, "filter.link"},
		{Replay, `{"type": ""}`, "filter.type"},
		{Recover, `{}`, "filter.since"},
		{Recover, `{"scope": "acme"}`, "filter.since"},
		{Recover, fmt.Sprintf(`{"link": %q, "until": "2026-01-02T00:00:00Z"}`, l.ID), "filter.until"},
	} {
		_, err := r.make(everything, c.action, c.filter)
		var e *patchbay.Error
		ok := errors.As(err, &e)
		if !ok || e.Code != patchbay.CodeInvalidRequest || len(e.Details) != 1 || e.Details[0].Path != c.path {
			t.Errorf("%s %s: %v, want a detail about %s", c.action, c.filter, err, c.path)
		}
	}
	if _, err := r.make(everything, Recover, fmt.Sprintf(`{"link": %q}`, off.ID)); patchbay.CodeOf(err) != patchbay.CodeConflict {
		t.Errorf("recovering a disabled link: %v", err)
	}
	if _, err := r.make(everything, Retry, `{"a": 1, "b": 2, "state": 3}`); len(details(err)) != 3 {
		t.Errorf("several mistakes: %v", err)
	}
	if all, _, err := r.jobs.List(context.Background(), everything, Query{Limit: 10}); err != nil || len(all) != 0 {
		t.Errorf("jobs were made: %+v, %v", all, err)
	}
}

// TestCancelJob: a job that waits ends at once, one that runs after its step, one that has ended not at all.
func TestCancelJob(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	l := r.link("x", "acme", never)
	r.failed(l, 600, "acme")
	waiting := r.create(Retry, `{}`)
	v, err := r.jobs.Cancel(ctx, everything, waiting.ID)
	r.must(err)
	if v.State != store.JobCancelled || v.FinishedAt == nil {
		t.Errorf("the job is %+v", v)
	}
	running := r.create(Retry, `{}`)
	step := make(chan struct{})
	begun := make(chan struct{}, 10)
	r.jobs.before = func(*store.Job) error {
		begun <- struct{}{}
		<-step
		return nil
	}
	r.run()
	<-begun
	v, err = r.jobs.Cancel(ctx, everything, running.ID)
	r.must(err)
	if v.State != store.JobRunning || !v.Cancelling {
		t.Errorf("the job is %+v", v)
	}
	close(step)
	if v := r.ended(running.ID, store.JobCancelled); v.Seen != stepSize {
		t.Errorf("it looked at %d", v.Seen)
	}
	if _, err := r.jobs.Cancel(ctx, everything, running.ID); err != nil {
		t.Errorf("cancelling it again: %v", err)
	}
	over := r.ended(r.create(Retry, `{"scope": "nowhere"}`).ID, store.JobSucceeded)
	if _, err := r.jobs.Cancel(ctx, everything, over.ID); patchbay.CodeOf(err) != patchbay.CodeConflict {
		t.Errorf("cancelling what has ended: %v", err)
	}
}

// TestTakeover: a job whose runner is gone is taken over from where it was, and a runner that was away too long does not
// spoil it.
func TestTakeover(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Lease, o.Alone = 300*time.Millisecond, false })
	l := r.link("x", "acme", never)
	r.failed(l, 600, "acme")
	steps := atomic.Int32{}
	r.jobs.before = func(*store.Job) error {
		if steps.Add(1) == 2 {
			return errCrash // the second step is not saved
		}
		return nil
	}
	job := r.create(Retry, `{}`)
	dead := r.run()
	dead.owned.Wait()
	v, err := r.jobs.Get(context.Background(), everything, job.ID)
	r.must(err)
	if v.State != store.JobRunning || v.Seen != stepSize {
		t.Fatalf("the job is %+v", v)
	}
	r.run()
	v = r.ended(job.ID, store.JobSucceeded)
	// What the step that was not saved had retried is no longer failed, so it is not counted.
	if v.Seen < 600-stepSize || v.Changed+v.Skipped != v.Seen {
		t.Errorf("the job is %+v", v)
	}
	r.until("all have arrived", func() bool { return r.states(store.DeliveryFilter{})[patchbay.DeliverySucceeded] == 600 })
	stale, err := r.store.Job(context.Background(), job.ID)
	r.must(err)
	stale.Runner = dead.id
	if _, err := r.store.SaveJob(context.Background(), stale); err == nil {
		t.Error("the dead runner could still save")
	}
}

// TestRestart: a restart goes on at once where the process that had the job is the only one.
func TestRestart(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Lease = time.Hour })
	l := r.link("x", "acme", never)
	r.failed(l, 300, "acme")
	r.jobs.before = func(*store.Job) error { return errCrash }
	job := r.create(Retry, `{}`)
	r.run().owned.Wait()
	r.reopen()
	r.run()
	if v := r.ended(job.ID, store.JobSucceeded); v.StartedAt.After(time.Now()) || v.Seen < 300-stepSize {
		t.Errorf("the job is %+v", v)
	}
}

// TestStop: a job is given back in order, and goes on with the next runner.
func TestStop(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Lease, o.Alone, o.Settle = time.Hour, false, 50*time.Millisecond })
	r.many(10, "acme")
	r.link("x", "acme")
	job := r.create(Replay, `{"scope": "acme"}`)
	first := r.run()
	r.until("it runs", func() bool {
		v, err := r.jobs.Get(context.Background(), everything, job.ID)
		r.must(err)
		return v.State != store.JobPending
	})
	for range 2 {
		r.must(first.Stop(context.Background()))
	}
	r.run()
	r.ended(job.ID, store.JobSucceeded)
}

// TestPruneAndList: pages of jobs.
func TestListPages(t *testing.T) {
	r := newRig(t)
	var ids []patchbay.JobID
	for range 5 {
		ids = append(ids, r.create(Retry, `{}`).ID)
	}
	slices.Reverse(ids)
	var got []patchbay.JobID
	q := Query{Limit: 2, States: []store.JobState{store.JobPending}, Action: Retry}
	for more := true; more; {
		var page []View
		var err error
		page, more, err = r.jobs.List(context.Background(), everything, q)
		r.must(err)
		for i := range page {
			got = append(got, page[i].ID)
		}
		q.Before = got[len(got)-1]
	}
	if !slices.Equal(got, ids) {
		t.Errorf("listed %v, want %v", got, ids)
	}
}

// FuzzFilter: no filter makes a panic, and whatever is taken comes back the same from the database.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, ``, `{"state": "failed,pending"}`, `{"state": ["failed"]}`, `{"link": "lnk_01h2xcejqtf2n"}`, `{"since": "2026-01-02T00:00:00+05:45"}`,
		`{"scope": ""}`, `{"scope": "a/b", "type": "x.*"}`, `{"until": null}`, `[1]`, `{"event": "evt_"}`, `{"state": "failed", "state": 3}`,
	} {
		for action := range keysOf {
			f.Add(action, s)
		}
	}
	f.Fuzz(func(t *testing.T, action, raw string) {
		in, err := ParseInput(action, json.RawMessage(raw))
		if err != nil {
			var e *patchbay.Error
			ok := errors.As(err, &e)
			if !ok || e.Code != patchbay.CodeInvalidRequest || len(e.Details) == 0 || strings.TrimSpace(e.Details[0].Message) == "" {
				t.Fatalf("%s: refused with %#v", raw, err)
			}
			return
		}
		again, err := parseStored(in.Filter.raw())
		if err != nil || string(again.raw()) != string(in.Filter.raw()) {
			t.Fatalf("%s: stored as %s, read as %s: %v", raw, in.Filter.raw(), again.raw(), err)
		}
	})
}

// details returns what an error says is wrong.
func details(err error) []patchbay.Detail {
	var e *patchbay.Error
	if !errors.As(err, &e) {
		return nil
	}
	return e.Details
}
