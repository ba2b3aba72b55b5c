package jobs

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// TestOwnScopes: what a key sees only from one of an event's further scopes it may neither play again nor erase.
func TestOwnScopes(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	r.link("x", "acme")
	a, err := r.ingest.Accept(ctx, everything, []byte(`{"event": "thing.happened", "scope": "acme/users/7", "also": ["acme/teams/42"], "payload": {"email": "a"}}`), "")
	r.must(err)
	var answer struct{ ID patchbay.EventID }
	r.must(json.Unmarshal(a.Body, &answer))
	own := r.publish("acme/teams/42", `{"email": "a"}`)
	r.wantOnce("x", []patchbay.EventID{answer.ID, own})
	r.run()
	team := &access.Caller{Scope: "acme/teams/42", Permissions: []access.Permission{access.Admin}, Name: "team"}
	v, err := r.make(team, Replay, `{"type": "*"}`)
	r.must(err)
	if got := r.ended(v.ID, store.JobSucceeded); got.Changed != 1 || got.Skipped != 1 {
		t.Errorf("the job is %+v", got)
	}
	r.until("the own one arrived again", func() bool { return r.partner.count("x", own) == 2 })
	if n := r.partner.count("x", answer.ID); n != 1 {
		t.Errorf("the other one arrived %d times", n)
	}
	e := Erasure{Path: "payload.email", Value: json.RawMessage(`"a"`)}
	p, err := r.jobs.PreviewErasure(ctx, team, e)
	r.must(err)
	v, err = r.jobs.Erase(ctx, team, e)
	r.must(err)
	if got := r.ended(v.ID, store.JobSucceeded); got.Changed != 1 || p.Total != 1 {
		t.Errorf("the job is %+v, the dry run says %+v", got, p)
	}
	for id, want := range map[patchbay.EventID]bool{answer.ID: false, own: true} {
		if x, err := r.store.Event(ctx, id); err != nil || x.Erased.IsZero() == want {
			t.Errorf("the event %s is %+v, %v", id, x, err)
		}
	}
	// A delivery of what was erased has nothing to send any more.
	if _, err := r.deliveries.Retry(ctx, everything, patchbay.DeliveryAt(own, 1)); patchbay.CodeOf(err) != patchbay.CodeConflict {
		t.Errorf("retrying what was erased: %v", err)
	}
}

// TestEraseCutOff: a runner that ends between taking out what was to be erased and writing down how the job ended leaves
// a job that the next one can end.
func TestEraseCutOff(t *testing.T) {
	ctx := context.Background()
	for _, e := range []Erasure{{Tenant: "acme"}, {Path: "payload.email", Value: json.RawMessage(`"a"`)}} {
		r := newRig(t)
		r.publish("acme", `{"email": "b"}`)
		job := r.erase(e)
		j, err := r.store.ClaimJob(ctx, 1, time.Now(), time.Now())
		r.must(err)
		f, err := parseStored(j.Filter)
		r.must(err)
		j.Filter = f.tomb().raw()
		_, err = r.store.SaveJob(ctx, j)
		r.must(err)
		r.run()
		if v := r.ended(job.ID, store.JobFailed); v.Filter.TenantHash+v.Filter.ValueHash == "" {
			t.Errorf("the tombstone is %s", v.Filter.raw())
		}
		if _, err := r.tryPublish("acme", `{}`); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}
}

// TestRefusedWhileBusy: a node that works on a job learns what others erase.
func TestRefusedWhileBusy(t *testing.T) {
	ctx := context.Background()
	r := newRig(t, func(o *Options) { o.Alone = false })
	r.publish("other", `{}`)
	busy, end := make(chan struct{}), make(chan struct{})
	r.jobs.before = func(*store.Job) error {
		close(busy)
		<-end
		r.jobs.before = nil
		return nil
	}
	job := r.create(Replay, `{"type": "*"}`)
	r.run()
	<-busy
	elsewhere := r.jobs.o
	elsewhere.Events = deaf{}
	_, err := New(elsewhere).Erase(ctx, everything, Erasure{Tenant: "acme"})
	r.must(err)
	r.until("the tenant is refused here too", func() bool {
		_, err := r.tryPublish("acme", `{}`)
		return patchbay.CodeOf(err) == patchbay.CodeConflict
	})
	close(end)
	r.ended(job.ID, store.JobSucceeded)
}

// deaf are the events of another node.
type deaf struct{ Events }

func (deaf) Refuse(map[string]bool) {}
