package links

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/route"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

var admin = &access.Caller{Permissions: []access.Permission{access.Admin}, Name: "test"}

// pager is an integration for tests: an address, a token that goes there, and a signing key that is made.
type pager struct{ made int }

type pagerSettings struct {
	URL   string             `json:"url"`
	Token integration.Secret `json:"token"`
	Key   integration.Secret `json:"key"`
}

func (p *pager) Definition() *integration.Definition {
	return &integration.Definition{
		Key: "pager", Title: "Pager", Decode: integration.Into[pagerSettings],
		Settings: integration.Spec{
			{Key: "url", Title: "Address", Type: integration.TypeURL, Required: true, Target: true},
			{Key: "token", Title: "Token", Type: integration.TypeString, Secret: true},
			{Key: "key", Title: "Key", Type: integration.TypeString, Secret: true, Signing: true, Generate: func() (string, error) {
				p.made++
				return fmt.Sprintf("made-key-%d", p.made), nil
			}},
		},
	}
}

func (*pager) Send(context.Context, *integration.Delivery) integration.Result {
	return integration.Delivered()
}

// engine keeps what it is told.
type engine struct {
	mu      sync.Mutex
	links   map[patchbay.LinkID]*deliver.Link
	removed []patchbay.LinkID
	fails   []patchbay.LinkID
	dropped []patchbay.DeliveryID
	try     func(deliver.Call) deliver.Outcome
}

func (e *engine) SetLink(_ context.Context, l *deliver.Link) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.links[l.ID] = l
	return nil
}

func (e *engine) RemoveLink(_ context.Context, id patchbay.LinkID, _ patchbay.DeliveryID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removed = append(e.removed, id)
	delete(e.links, id)
	return nil
}

func (e *engine) Health(patchbay.LinkID) deliver.Health { return deliver.Health{Breaker: "closed"} }

func (e *engine) Failing() []patchbay.LinkID {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fails
}

func (e *engine) DropBacklog(_ context.Context, id patchbay.LinkID, before patchbay.DeliveryID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.links[id].State != patchbay.LinkPaused {
		return errors.New("it has been resumed before")
	}
	e.dropped = append(e.dropped, before)
	return nil
}

func (e *engine) Try(_ context.Context, c deliver.Call) deliver.Outcome { return e.try(c) }

// fixture is a service over a real database.
type fixture struct {
	*Service
	t      *testing.T
	db     *sqlite.Store
	engine *engine
	now    time.Time
}

func newFixture(t *testing.T, dir string, known ...integration.Integration) *fixture {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	f := &fixture{t: t, db: db, engine: &engine{links: map[patchbay.LinkID]*deliver.Link{}}, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	f.Service = New(f.options(db, known...))
	if err := f.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) options(db interface {
	store.Links
	store.Maintenance
}, known ...integration.Integration) Options {
	by := map[string]integration.Integration{}
	for _, i := range known {
		by[i.Definition().Key] = i
	}
	return Options{Store: db, Engine: f.engine, Integrations: by, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return f.now }}
}

func (f *fixture) create(c *access.Caller, body string) (*View, error) {
	f.t.Helper()
	var in Input
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		f.t.Fatal(err)
	}
	return f.Create(f.t.Context(), c, in)
}

func (f *fixture) must(v *View, err error) *View {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

func (f *fixture) matched(kind string, scope patchbay.Scope) []patchbay.LinkID {
	f.t.Helper()
	r := f.Match(&route.Event{Event: &patchbay.Event{Type: kind, Scope: scope, Payload: json.RawMessage("{}")}}, nil)
	var ids []patchbay.LinkID
	for _, l := range r.Matched {
		ids = append(ids, l.ID)
	}
	return ids
}

const aPager = `{"integration":"pager","events":["a.*"],"scope":"acme","settings":{"url":"https://pager.example","token":"token-123456"}}`

// TestLife of a link: what it is made of goes to the engine and to routing at once, and comes back after a restart.
func TestLife(t *testing.T) {
	dir, p := t.TempDir(), &pager{}
	f := newFixture(t, dir, p)
	v := f.must(f.create(admin, aPager))
	if diff := cmp.Diff(map[string]string{"key": "made-key-1"}, v.Secrets); diff != "" {
		t.Error(diff)
	}
	if got := f.matched("a.b", "acme/x"); len(got) != 1 || got[0] != v.ID {
		t.Errorf("it matches %v", got)
	}
	l := f.engine.links[v.ID]
	if s := l.Settings.(*pagerSettings); s.Token != "token-123456" || s.Key != "made-key-1" || l.Host != "pager.example:443" || len(l.Secrets) != 2 {
		t.Errorf("the engine has %+v", l)
	}
	f.must(f.Update(t.Context(), admin, v.ID, Input{Events: []string{"b"}}, nil, 0))
	if got := f.matched("a.b", "acme"); got != nil {
		t.Errorf("after the change it matches %v", got)
	}
	f.must(f.RotateSecret(t.Context(), admin, v.ID))
	if l := f.engine.links[v.ID]; l.Previous == nil || l.Previous.Value != "made-key-1" || len(l.Secrets) != 3 {
		t.Errorf("after the rotation the engine has %+v", l)
	}
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	f = newFixture(t, dir, p)
	again := f.must(f.Get(t.Context(), admin, v.ID))
	if again.Revision != 3 || again.Secrets != nil || f.engine.links[v.ID] == nil || len(f.matched("b", "acme")) != 1 {
		t.Errorf("after a restart it is %+v", again)
	}
	old, err := f.Service.Revision(t.Context(), v.ID, 1)
	if err != nil || old.Events[0] != "a.*" {
		t.Errorf("its first revision is %v, %v", old, err)
	}
	if err := f.Delete(t.Context(), admin, v.ID); err != nil {
		t.Fatal(err)
	}
	if len(f.engine.removed) != 1 || f.matched("b", "acme") != nil {
		t.Error("it is still there")
	}
	if _, _, ok := f.Describe(v.ID); ok {
		t.Error("it is still described")
	}
}

// TestALinkWhoseIntegrationIsGone is shown as disabled with the reason, keeps nobody from working, and can be deleted.
func TestALinkWhoseIntegrationIsGone(t *testing.T) {
	dir, p := t.TempDir(), &pager{}
	f := newFixture(t, dir, p)
	v := f.must(f.create(admin, aPager))
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	f = newFixture(t, dir)
	got := f.must(f.Get(t.Context(), admin, v.ID))
	if got.State != patchbay.LinkDisabled || got.StateReason == nil || !strings.Contains(*got.StateReason, "pager") || string(got.Settings) != "{}" || got.Health != nil {
		t.Errorf("it is shown as %+v", got)
	}
	if f.matched("a.b", "acme") != nil || f.engine.links[v.ID] != nil {
		t.Error("it is in use")
	}
	if _, err := f.Test(t.Context(), admin, v.ID); patchbay.CodeOf(err) != patchbay.CodeMisconfiguredIntegration {
		t.Errorf("testing it: %v", err)
	}
	if _, err := f.Pause(t.Context(), admin, v.ID); patchbay.CodeOf(err) != patchbay.CodeUnsupportedIntegration {
		t.Errorf("pausing it: %v", err)
	}
	if views, _, err := f.List(t.Context(), admin, ListFilter{Limit: 10}); err != nil || len(views) != 1 {
		t.Errorf("it is listed as %v, %v", views, err)
	}
	if err := f.Delete(t.Context(), admin, v.ID); err != nil {
		t.Error(err)
	}
}

// failing is a store whose writes fail.
type failing struct {
	*sqlite.Store
	err error
}

func (f failing) SaveLink(context.Context, *patchbay.Link) error { return f.err }

func (f failing) DeleteLink(context.Context, patchbay.LinkID, time.Time) error { return f.err }

// TestAStoreThatFailsChangesNothing: neither what is shown, nor what routes, nor what sends.
func TestAStoreThatFailsChangesNothing(t *testing.T) {
	p := &pager{}
	f := newFixture(t, t.TempDir(), p)
	v := f.must(f.create(admin, aPager))
	for _, c := range []struct {
		err  error
		code patchbay.Code
	}{{fmt.Errorf("disk: %w", store.ErrUnavailable), patchbay.CodeUnavailable}, {store.ErrConflict, patchbay.CodeConflict}, {errors.New("on fire"), patchbay.CodeInternal}} {
		s := New(f.options(failing{f.db, c.err}, p))
		if err := s.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := *f.engine.links[v.ID]
		name := "other"
		for says, err := range map[string]error{
			"creating": func() error { _, err := (&fixture{Service: s, t: t}).create(admin, aPager); return err }(),
			"changing": func() error {
				_, err := s.Update(t.Context(), admin, v.ID, Input{Name: &name, Events: []string{"z"}}, nil, 0)
				return err
			}(),
			"pausing": func() error { _, err := s.Pause(t.Context(), admin, v.ID); return err }(),
		} {
			if patchbay.CodeOf(err) != c.code {
				t.Errorf("%s: %v, want %s", says, err, c.code)
			}
		}
		if err := s.Delete(t.Context(), admin, v.ID); err == nil {
			t.Error("deleting did not fail")
		}
		got := f.must(s.Get(t.Context(), admin, v.ID))
		if got.Revision != 1 || got.Name != "" || got.State != patchbay.LinkActive || len(f.engine.links) != 1 || f.engine.links[v.ID].Revision != before.Revision {
			t.Errorf("it is %+v", got)
		}
	}
}

// TestChangesComeOneAfterTheOther: however many change a link at the same time, no change is lost.
func TestChangesComeOneAfterTheOther(t *testing.T) {
	f := newFixture(t, t.TempDir(), &pager{})
	v := f.must(f.create(admin, aPager))
	var wg sync.WaitGroup
	const changes = 32
	won := make(chan int, changes)
	for i := range changes {
		wg.Go(func() {
			name := fmt.Sprint(i)
			if _, err := f.Update(t.Context(), admin, v.ID, Input{Name: &name}, nil, 0); err != nil {
				t.Error(err)
			}
			if _, err := f.Update(t.Context(), admin, v.ID, Input{Name: &name}, nil, changes+1); err == nil {
				won <- i
			} else if patchbay.CodeOf(err) != patchbay.CodeConflict {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(won)
	if n := len(won); n > 1 {
		t.Errorf("%d changes of one revision were accepted", n)
	}
	if got := f.must(f.Get(t.Context(), admin, v.ID)); got.Revision < changes+1 {
		t.Errorf("its revision is %d", got.Revision)
	}
	if got := f.engine.links[v.ID].Revision; got != f.must(f.Get(t.Context(), admin, v.ID)).Revision {
		t.Errorf("the engine has revision %d", got)
	}
}

// TestDisable is what the engine does: it says why, and resuming clears it.
func TestDisable(t *testing.T) {
	f := newFixture(t, t.TempDir(), &pager{})
	v := f.must(f.create(admin, aPager))
	if err := f.Disable(t.Context(), v.ID, "gone for good"); err != nil {
		t.Fatal(err)
	}
	got := f.must(f.Get(t.Context(), admin, v.ID))
	if got.Enabled || got.State != patchbay.LinkDisabled || *got.StateReason != "gone for good" || f.matched("a.b", "acme") != nil {
		t.Errorf("it is %+v", got)
	}
	if r := f.Match(&route.Event{Event: &patchbay.Event{Type: "a.b", Scope: "acme", Payload: json.RawMessage("{}")}}, nil); !r.Missed {
		t.Error("what it misses is not noted")
	}
	if got := f.must(f.Resume(t.Context(), admin, v.ID)); !got.Enabled || got.StateReason != nil || len(f.matched("a.b", "acme")) != 1 {
		t.Errorf("it is %+v", got)
	}
}

// TestSkipping: what waits is dropped before the link goes on, by whom may resume it, and nothing of another link is.
func TestSkipping(t *testing.T) {
	f := newFixture(t, t.TempDir(), &pager{})
	v := f.must(f.create(admin, aPager))
	f.must(f.Pause(t.Context(), admin, v.ID))
	reader := &access.Caller{Scope: "acme", Permissions: []access.Permission{access.Read}}
	foreign := &access.Caller{Scope: "other", Permissions: []access.Permission{access.Admin}}
	if _, err := f.Skip(t.Context(), reader, v.ID); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("a reader skips: %v", err)
	}
	if _, err := f.Skip(t.Context(), foreign, v.ID); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("a stranger skips: %v", err)
	}
	if len(f.engine.dropped) > 0 {
		t.Fatal("what waits was dropped for somebody who may not")
	}
	before := patchbay.DeliveryID(f.db.NewID(1))
	if got := f.must(f.Skip(t.Context(), admin, v.ID)); got.State != patchbay.LinkActive {
		t.Errorf("it is %+v", got)
	}
	if d := f.engine.dropped; len(d) != 1 || d[0] <= before || d[0] >= patchbay.DeliveryID(f.db.NewID(1)) {
		t.Errorf("dropped was what is before %v, want what is before now", d)
	}
}

func TestPermissionsAndScopes(t *testing.T) {
	f := newFixture(t, t.TempDir(), &pager{})
	v := f.must(f.create(admin, aPager))
	reader := &access.Caller{Scope: "acme", Permissions: []access.Permission{access.Read}}
	foreign := &access.Caller{Scope: "other", Permissions: []access.Permission{access.Admin}}
	for says, c := range map[string]struct {
		err  error
		code patchbay.Code
	}{
		"reading":              {second(f.Get(t.Context(), reader, v.ID)), ""},
		"reading from outside": {second(f.Get(t.Context(), foreign, v.ID)), patchbay.CodeNotFound},
		"changing with read":   {second(f.Pause(t.Context(), reader, v.ID)), patchbay.CodeForbidden},
		"changing outside":     {second(f.Pause(t.Context(), foreign, v.ID)), patchbay.CodeNotFound},
		"rotating outside":     {second(f.RotateSecret(t.Context(), foreign, v.ID)), patchbay.CodeNotFound},
		"creating outside":     {second(f.create(foreign, aPager)), patchbay.CodeForbidden},
		"deleting with read":   {f.Delete(t.Context(), reader, v.ID), patchbay.CodeForbidden},
		"deleting outside":     {f.Delete(t.Context(), foreign, v.ID), patchbay.CodeNotFound},
		"nobody":               {second(f.Get(t.Context(), nil, v.ID)), patchbay.CodeForbidden},
	} {
		if patchbay.CodeOf(c.err) != c.code {
			t.Errorf("%s: %v, want %q", says, c.err, c.code)
		}
	}
	own := f.must(f.create(&access.Caller{Scope: "acme/x", Permissions: []access.Permission{access.Manage}}, strings.Replace(aPager, `"scope":"acme",`, "", 1)))
	if own.Scope != "acme/x" {
		t.Errorf("without a scope a link belongs to %q, want its caller's", own.Scope)
	}
}

func second[T any](_ T, err error) error { return err }

// TestTests: a test goes out once, and says what came of it.
func TestTests(t *testing.T) {
	f := newFixture(t, t.TempDir(), &pager{})
	v := f.must(f.create(admin, aPager))
	var got deliver.Call
	f.engine.try = func(c deliver.Call) deliver.Outcome {
		got = c
		return deliver.Outcome{Result: integration.UserError("no")}
	}
	r, err := f.Test(t.Context(), admin, v.ID)
	if err != nil || r.Status != "failed" || r.Error != "no" || r.Type != patchbay.CodeUserConfigurationError {
		t.Errorf("the test is %+v, %v", r, err)
	}
	if got.Event.Type != "integration_test" || got.Event.Scope != "acme" || !got.Test || got.Link.ID != v.ID {
		t.Errorf("what was tried is %+v", got)
	}
	if _, err := f.TestSettings(t.Context(), admin, "pager", Draft{Settings: json.RawMessage(`{"url":"https://a.example"}`)}); err != nil || got.Link.ID != 0 {
		t.Errorf("settings alone: %+v, %v", got.Link, err)
	}
	if _, err := f.TestSettings(t.Context(), admin, "pager", Draft{Settings: json.RawMessage(`{}`)}); patchbay.CodeOf(err) != patchbay.CodeMisconfiguredIntegration {
		t.Errorf("settings that lack something: %v", err)
	}
}
