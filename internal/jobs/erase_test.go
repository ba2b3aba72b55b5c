package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

func (r *rig) erase(e Erasure) *View {
	r.t.Helper()
	v, err := r.jobs.Erase(context.Background(), everything, e)
	r.must(err)
	return v
}

// leftIn returns the files of the database in which a text is left.
func (r *rig) leftIn(text string) []string {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "*"))
	r.must(err)
	var left []string
	for _, name := range files {
		b, err := os.ReadFile(name)
		r.must(err)
		if strings.Contains(string(b), text) {
			left = append(left, filepath.Base(name))
		}
	}
	return left
}

// TestEraseValue: every event in which a path has a value says nothing any more, nor does the job, nor do the files.
func TestEraseValue(t *testing.T) {
	const secret = "jane.roe.4711@example.com"
	r := newRig(t)
	l, paused := r.link("x", ""), r.link("held", "")
	_, err := r.links.Pause(context.Background(), everything, paused.ID)
	r.must(err)
	var hit, miss []patchbay.EventID
	for i := range 300 {
		switch i % 3 {
		case 0:
			hit = append(hit, r.publish("acme", fmt.Sprintf(`{"user": {"email": %q}, "pad": %q}`, secret, strings.Repeat("x", i))))
		case 1:
			hit = append(hit, r.publish("acme", fmt.Sprintf(`{"user": [{"email": "a"}, {"email": %q}]}`, secret)))
		default:
			miss = append(miss, r.publish("acme", fmt.Sprintf(`{"user": {"email": "somebody%d"}}`, i)))
		}
	}
	r.wantOnce("x", append(append([]patchbay.EventID{}, hit...), miss...))
	e := Erasure{Path: "payload.user.email", Value: json.RawMessage(fmt.Sprintf("%q", secret))}
	p, err := r.jobs.PreviewErasure(context.Background(), everything, e)
	r.must(err)
	if p.Total != 200 || !p.Complete {
		t.Errorf("the dry run says %+v", p)
	}
	job := r.erase(e)
	if string(job.Filter.Value) != string(e.Value) {
		t.Errorf("the job's filter is %s", job.Filter.raw())
	}
	reader, err := r.jobs.Get(context.Background(), &access.Caller{Permissions: []access.Permission{access.Read}}, job.ID)
	r.must(err)
	if strings.Contains(string(reader.Filter.raw()), secret) {
		t.Errorf("a reader sees %s", reader.Filter.raw())
	}
	r.run()
	v := r.ended(job.ID, store.JobSucceeded)
	if v.Changed != 200 || v.Filter.ValueHash == "" || len(v.Filter.Value) != 0 || v.Filter.Path != e.Path {
		t.Errorf("the tombstone is %+v of %s", v, v.Filter.raw())
	}
	ctx := context.Background()
	for _, id := range hit {
		x, err := r.store.Event(ctx, id)
		r.must(err)
		if string(x.Payload) != "{}" || x.Erased.IsZero() {
			t.Fatalf("the event is %+v", x)
		}
	}
	for _, id := range miss {
		if x, err := r.store.Event(ctx, id); err != nil || !strings.Contains(string(x.Payload), "somebody") {
			t.Fatalf("an event that says something else: %+v, %v", x, err)
		}
	}
	if got := r.states(store.DeliveryFilter{Link: paused.ID}); got[patchbay.DeliveryCancelled] != 200 || got[patchbay.DeliveryHeld] != 100 {
		t.Errorf("of the paused link: %v", got)
	}
	if left := r.leftIn(secret); len(left) > 0 {
		t.Errorf("the value is left in %v", left)
	}
	if left := r.leftIn("somebody2"); len(left) == 0 {
		t.Error("what was not erased is gone from the files too: the test shows nothing")
	}
	if _, err := r.ingest.Replay(ctx, everything, hit[0]); patchbay.CodeOf(err) != patchbay.CodeConflict {
		t.Errorf("replaying an erased event: %v", err)
	}
	_ = l
}

// TestEraseTenant: all of a tenant goes, nothing of it is accepted meanwhile, and others are not touched.
func TestEraseTenant(t *testing.T) {
	ctx := context.Background()
	r := newRig(t, func(o *Options) { o.Lease, o.Alone = 50*time.Millisecond, false })
	own, global := r.link("own", "acme-gone"), r.link("global", "")
	_, err := r.links.Pause(ctx, everything, global.ID)
	r.must(err)
	key, err := r.keys.Create(ctx, everything, access.KeyInput{Name: "k", Scope: "acme-gone/x", Permissions: []string{"publish"}})
	r.must(err)
	gone := r.many(700, "acme-gone/x")
	stay := r.many(20, "globex")
	r.wantOnce("own", gone)
	job := r.erase(Erasure{Tenant: "acme-gone"})
	if _, err := r.tryPublish("acme-gone/x", `{}`); patchbay.CodeOf(err) != patchbay.CodeConflict {
		t.Errorf("an event of the tenant while it is erased: %v", err)
	}
	stay = append(stay, r.publish("globex", `{}`))
	died := make(chan struct{}, 1)
	steps := 0 // used by one runner after the other
	r.jobs.before = func(*store.Job) error {
		if steps++; steps%2 == 1 {
			died <- struct{}{}
			return errCrash
		}
		return nil
	}
	for v := job; !v.State.Final(); {
		x := NewRunner(r.jobs)
		r.must(x.Start(ctx))
		r.until("the runner died or has done it", func() bool {
			v, err = r.jobs.Get(ctx, everything, job.ID)
			r.must(err)
			select {
			case <-died:
				return true
			default:
				return v.State.Final()
			}
		})
		r.must(x.Stop(ctx))
	}
	r.jobs.before = nil
	v := r.ended(job.ID, store.JobSucceeded)
	if v.Filter.Tenant != "" || v.Filter.TenantHash == "" {
		t.Errorf("the tombstone is %s", v.Filter.raw())
	}
	if found, err := r.store.Events(ctx, store.EventFilter{Within: "acme-gone", Limit: 10}); err != nil || len(found) > 0 {
		t.Errorf("events are left: %v, %v", found, err)
	}
	if _, _, ok := r.links.Describe(own.ID); ok {
		t.Error("the tenant's link is left")
	}
	if _, err := r.keys.Lookup(key.Token); err == nil {
		t.Error("the tenant's key is left")
	}
	if left := r.leftIn("acme-gone"); len(left) > 0 {
		t.Errorf("the tenant is left in %v", left)
	}
	_, err = r.links.Resume(ctx, everything, global.ID)
	r.must(err)
	r.wantOnce("global", stay)
	for _, id := range gone {
		if n := r.partner.count("global", id); n > 0 {
			t.Fatal("an event of the tenant was still sent")
		}
	}
	r.until("the tenant may begin anew", func() bool { _, err := r.tryPublish("acme-gone", `{}`); return err == nil || !r.tick() })
}

// tick has what a runner does now and then happen now.
func (r *rig) tick() bool {
	r.must(r.jobs.refuse(context.Background()))
	return true
}

// TestEraseWaits: what is being sent is waited for, so that what comes of it does not bring the value back.
func TestEraseWaits(t *testing.T) {
	const secret = "jane.roe.4711@example.com"
	r := newRig(t)
	begun, finish := make(chan struct{}, 8), make(chan struct{})
	r.partner.setAnswer(nil)
	r.link("x", "acme")
	slow := &slowPartner{partner: r.partner, begun: begun, finish: finish}
	r.partner.setAnswer(slow.answer)
	id := r.publish("acme", fmt.Sprintf(`{"email": %q}`, secret))
	<-begun
	r.run()
	job := r.erase(Erasure{Path: "payload.email", Value: json.RawMessage(fmt.Sprintf("%q", secret))})
	r.until("it says what it waits for", func() bool {
		v, err := r.jobs.Get(context.Background(), everything, job.ID)
		r.must(err)
		return v.Error != nil && strings.Contains(*v.Error, "attempts that are under way")
	})
	close(finish)
	r.ended(job.ID, store.JobSucceeded)
	d, err := r.store.Delivery(context.Background(), patchbay.DeliveryAt(id, 1))
	r.must(err)
	text, err := json.Marshal(d)
	r.must(err)
	if !d.State.Final() || strings.Contains(string(text), secret) {
		t.Errorf("the delivery is %s", text)
	}
	if left := r.leftIn(secret); len(left) > 0 {
		t.Errorf("the value is left in %v", left)
	}
}

type slowPartner struct {
	*partner
	begun, finish chan struct{}
}

// answer repeats what it was sent, late and as a failure.
func (p *slowPartner) answer(d *integration.Delivery) integration.Result {
	p.begun <- struct{}{}
	<-p.finish
	return integration.Retry("I do not know %s", d.Event.Payload)
}

// TestEraseCancelled: an erasure that is cancelled does not keep what it was about either.
func TestEraseCancelled(t *testing.T) {
	r := newRig(t)
	job := r.erase(Erasure{Path: "payload.email", Value: json.RawMessage(`"jane.roe.4711@example.com"`)})
	_, err := r.jobs.Cancel(context.Background(), everything, job.ID)
	r.must(err)
	r.run()
	v := r.ended(job.ID, store.JobCancelled)
	if len(v.Filter.Value) > 0 || v.Filter.ValueHash == "" {
		t.Errorf("the tombstone is %s", v.Filter.raw())
	}
	if left := r.leftIn("jane.roe.4711"); len(left) > 0 {
		t.Errorf("the value is left in %v", left)
	}
}

func TestMatcher(t *testing.T) {
	for _, c := range []struct {
		path, value, payload string
		want                 bool
	}{
		{"payload.a", `"x"`, `{"a": "x"}`, true},
		{"payload.a", `"x"`, `{"a": "\u0078"}`, true},
		{"payload.a", `"x"`, `{"a": "xx"}`, false},
		{"payload.a", `"x"`, `{"b": "x"}`, false},
		{"payload.a.b", `"x"`, `{"a": {"b": "x"}}`, true},
		{"payload.a.b", `"x"`, `{"a": [{"b": "y"}, {"b": ["z", ["x"]]}]}`, true},
		{"payload.a.b", `"x"`, `{"a": "x"}`, false},
		{"payload.a", `"x"`, `{"a": {"a": "x"}}`, false},
		{`payload.a\.b`, `"x"`, `{"a.b": "x"}`, true},
		{`payload.a\\`, `"x"`, `{"a\\": "x"}`, true},
		{"payload.a", `1`, `{"a": 1.0}`, true},
		{"payload.a", `100`, `{"a": 1e2}`, true},
		{"payload.a", `0.1`, `{"a": 10E-2}`, true},
		{"payload.a", `0`, `{"a": -0.0e7}`, true},
		{"payload.a", `-1`, `{"a": 1}`, false},
		{"payload.a", `12345678901234567890`, `{"a": 12345678901234567891}`, false},
		{"payload.a", `1e400`, `{"a": 10e399}`, true},
		{"payload.a", `1`, `{"a": "1"}`, false},
		{"payload.a", `null`, `{"a": null}`, true},
		{"payload.a", `null`, `{}`, false},
		{"payload.a", `true`, `{"a": true}`, true},
		{"payload.a", `true`, `{"a": "true"}`, false},
		{"actor.name", `"x"`, `{"name": "x"}`, false},
	} {
		m, err := newMatcher(c.path, json.RawMessage(c.value))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.matches(&patchbay.Event{Payload: json.RawMessage(c.payload)}); got != c.want {
			t.Errorf("%s = %s in %s: %v", c.path, c.value, c.payload, got)
		}
	}
	m, err := newMatcher("actor.name", json.RawMessage(`"x"`))
	if err != nil || !m.matches(&patchbay.Event{Actor: json.RawMessage(`{"name": "x"}`)}) {
		t.Errorf("the actor is not looked at: %v", err)
	}
	for _, c := range []struct{ path, value, wrong string }{
		{"", `1`, "path"}, {"payload", `1`, "path"}, {"payload.", `1`, "path"}, {"scope.x", `1`, "path"}, {".payload", `1`, "path"},
		{"payload." + strings.Repeat("x", 600), `1`, "path"}, {"payload" + strings.Repeat(".x", 40), `1`, "path"},
		{"payload.a", ``, "value"}, {"payload.a", `{}`, "value"}, {"payload.a", `[1]`, "value"}, {"payload.a", `nope`, "value"},
		{"payload.a", `"` + strings.Repeat("x", 5000) + `"`, "value"},
	} {
		_, err := newMatcher(c.path, json.RawMessage(c.value))
		var e *patchbay.Error
		ok := errors.As(err, &e)
		if !ok || e.Code != patchbay.CodeInvalidRequest || e.Details[0].Path != c.wrong {
			t.Errorf("%q = %q: %v", c.path, c.value, err)
		}
	}
}

// TestErasureRefused: what makes no sense as an erasure.
func TestErasureRefused(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		in   Erasure
		path string
	}{
		{Erasure{}, "tenant"},
		{Erasure{Tenant: "a", Path: "payload.a"}, "tenant"},
		{Erasure{Tenant: "a/b"}, "tenant"},
		{Erasure{Tenant: "a b"}, "tenant"},
		{Erasure{Path: "payload.a"}, "value"},
		{Erasure{Value: json.RawMessage(`1`)}, "path"},
		{Erasure{Path: "payload.a", Value: json.RawMessage(`1`), Scope: "//"}, "scope"},
		{Erasure{Path: "payload.a", Value: json.RawMessage(`1`), Type: "a b\n"}, "type"},
	} {
		_, err := r.jobs.Erase(context.Background(), everything, c.in)
		var e *patchbay.Error
		ok := errors.As(err, &e)
		if !ok || e.Code != patchbay.CodeInvalidRequest || len(e.Details) == 0 || e.Details[0].Path != c.path {
			t.Errorf("%+v: %v, want a detail about %s", c.in, err, c.path)
		}
	}
}

// FuzzMatcher: no path, value or payload makes a panic, and a value matches where it stands.
func FuzzMatcher(f *testing.F) {
	f.Add("a", `1.50`, `{"a": [15e-1]}`)
	f.Add(`a\.b.c`, `"x"`, `{"a.b": {"c": "x"}}`)
	f.Add("a", `-0e99999999999999999999999999999999999`, `{"a": 1e-99999999999999999999999999999999}`)
	f.Fuzz(func(t *testing.T, path, value, payload string) {
		m, err := newMatcher("payload."+path, json.RawMessage(value))
		if err != nil {
			if patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		m.matches(&patchbay.Event{Payload: json.RawMessage(payload)})
		name, err := json.Marshal(path)
		if err != nil || strings.ContainsAny(path, `.\`) || !json.Valid([]byte(value)) || strings.ContainsRune(path, '\uFFFD') || string(name) != fmt.Sprintf(`"%s"`, path) {
			return
		}
		if !m.matches(&patchbay.Event{Payload: json.RawMessage(fmt.Sprintf(`{%s: %s}`, name, value))}) {
			t.Errorf("%q = %s is not found where it stands", path, value)
		}
	})
}
