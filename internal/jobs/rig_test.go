package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come. It is only ever used up by a test that fails.
const patience = 3 * time.Minute

var everything = &access.Caller{Permissions: []access.Permission{access.Admin}, Name: "test"}

// partner is an integration that a test plays: it counts what arrives.
type partner struct {
	mu     sync.Mutex
	answer func(d *integration.Delivery) integration.Result
	got    map[string]int // link's name / event → attempts
	order  []patchbay.EventID
}

func (p *partner) Definition() *integration.Definition {
	return &integration.Definition{
		Key: "fake", Title: "Fake", Category: "automation", Settings: integration.Spec{{Key: "name", Title: "Name", Type: integration.TypeText}},
		Decode: func(raw json.RawMessage) (any, error) {
			var s struct{ Name string }
			err := json.Unmarshal(raw, &s)
			return s.Name, err
		},
	}
}

func (p *partner) Send(_ context.Context, d *integration.Delivery) integration.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got[fmt.Sprint(d.Settings, "/", d.Event.Subject())]++
	p.order = append(p.order, d.Event.Subject())
	if p.answer != nil {
		return p.answer(d)
	}
	return integration.Delivered()
}

func (p *partner) setAnswer(f func(d *integration.Delivery) integration.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

func (p *partner) count(name string, e patchbay.EventID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got[fmt.Sprint(name, "/", e)]
}

func (p *partner) arrived() []patchbay.EventID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]patchbay.EventID(nil), p.order...)
}

// rig is all that jobs work with, real, in a temporary directory.
type rig struct {
	t          testing.TB
	dir        string
	store      *sqlite.Store
	client     *outbound.Client
	engine     *deliver.Engine
	links      *links.Service
	deliveries *deliver.Service
	ingest     *ingest.Service
	keys       *access.Keys
	jobs       *Service
	partner    *partner
	runners    []*Runner
	change     func(*Options)
}

func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), partner: &partner{got: map[string]int{}}}
	if len(change) > 0 {
		r.change = change[0]
	}
	r.open()
	t.Cleanup(r.close)
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) open() {
	r.t.Helper()
	ctx := context.Background()
	var err error
	r.store, err = sqlite.Open(ctx, sqlite.Options{Dir: r.dir})
	r.must(err)
	_, err = r.store.Recover(ctx, time.Now())
	r.must(err)
	types, err := catalog.Open(catalog.Options{Stored: []patchbay.EventType{{Key: "thing.happened", Title: "Thing"}, {Key: "thing.ended", Title: "End"}}})
	r.must(err)
	r.client = outbound.New(outbound.Options{})
	r.engine = deliver.New(deliver.Options{
		Store: r.store, Client: r.client, Catalog: noCatalog{}, Random: func() float64 { return 0.5 },
		Notify: func(context.Context, deliver.Notice) {},
	})
	integrations := map[string]integration.Integration{"fake": r.partner}
	r.links = links.New(links.Options{Store: r.store, Engine: r.engine, Integrations: integrations})
	r.deliveries = deliver.NewService(r.engine, r.links.Revision)
	r.ingest = ingest.New(ingest.Options{Store: r.store, Catalog: types, Links: r.links, Engine: r.engine, Deliveries: r.deliveries, Integrations: integrations})
	r.keys, err = access.NewKeys(ctx, r.store, r.store.NewID, nil)
	r.must(err)
	o := Options{
		Store: r.store, Events: r.ingest, Deliveries: r.deliveries, Links: r.links, Keys: r.keys, Types: types.Match,
		Pace: -1, Settle: -1, Alone: true,
	}
	if r.change != nil {
		r.change(&o)
	}
	r.jobs = New(o)
	r.must(r.links.Load(ctx))
	r.must(r.engine.Start(ctx))
}

func (r *rig) close() {
	ctx := context.Background()
	for _, x := range r.runners {
		r.must(x.Stop(ctx))
	}
	r.runners = nil
	r.must(r.engine.Stop(ctx))
	r.must(r.store.Close())
	r.must(r.client.Close())
}

// reopen ends everything and starts it anew, as a restart does.
func (r *rig) reopen() {
	r.t.Helper()
	r.close()
	r.open()
}

// run starts a runner.
func (r *rig) run() *Runner {
	r.t.Helper()
	x := NewRunner(r.jobs)
	r.must(x.Start(context.Background()))
	r.runners = append(r.runners, x)
	return x
}

type noCatalog struct{}

func (noCatalog) Title(e *patchbay.Event) string { return e.Type }
func (noCatalog) Render(e *patchbay.Event, _ *integration.Definition) (*integration.Message, error) {
	return &integration.Message{Title: e.Type}, nil
}
func (noCatalog) Thread(*patchbay.Event, *integration.Definition) string { return "" }

// link makes a link; more is further JSON of it.
func (r *rig) link(name, scope string, change ...func(*links.Input)) *links.View {
	r.t.Helper()
	kind := "fake"
	in := links.Input{Integration: &kind, Scope: &scope, Events: []string{"*"}, Settings: json.RawMessage(fmt.Sprintf(`{"name": %q}`, name))}
	for _, c := range change {
		c(&in)
	}
	v, err := r.links.Create(context.Background(), everything, in)
	r.must(err)
	return v
}

func (r *rig) enable(id patchbay.LinkID, enabled bool) {
	r.t.Helper()
	_, err := r.links.Update(context.Background(), everything, id, links.Input{Enabled: &enabled}, nil, 0)
	r.must(err)
}

// publish accepts an event and returns its identifier.
func (r *rig) publish(scope, payload string) patchbay.EventID {
	r.t.Helper()
	id, err := r.tryPublish(scope, payload)
	r.must(err)
	return id
}

func (r *rig) tryPublish(scope, payload string) (patchbay.EventID, error) {
	a, err := r.ingest.Accept(context.Background(), everything, fmt.Appendf(nil, `{"event": "thing.happened", "scope": %q, "payload": %s}`, scope, payload), "")
	if err != nil {
		return 0, err
	}
	var out struct{ ID patchbay.EventID }
	return out.ID, json.Unmarshal(a.Body, &out)
}

// many publishes events, many at a time.
func (r *rig) many(n int, scope string) []patchbay.EventID {
	r.t.Helper()
	ids := make([]patchbay.EventID, n)
	var wg sync.WaitGroup
	room := make(chan struct{}, 64)
	for i := range ids {
		room <- struct{}{}
		wg.Go(func() {
			var err error
			if ids[i], err = r.tryPublish(scope, fmt.Sprintf(`{"n": %d}`, i)); err != nil {
				r.t.Error(err)
			}
			<-room
		})
	}
	wg.Wait()
	return ids
}

// create makes a job of an action and a filter.
func (r *rig) create(action, filter string) *View {
	r.t.Helper()
	v, err := r.make(everything, action, filter)
	r.must(err)
	return v
}

func (r *rig) make(c *access.Caller, action, filter string) (*View, error) {
	in, err := ParseInput(action, json.RawMessage(filter))
	if err != nil {
		return nil, err
	}
	return r.jobs.Create(context.Background(), c, in)
}

func (r *rig) preview(action, filter string) *Preview {
	r.t.Helper()
	in, err := ParseInput(action, json.RawMessage(filter))
	r.must(err)
	p, err := r.jobs.Preview(context.Background(), everything, in)
	r.must(err)
	return p
}

// until waits for a condition.
func (r *rig) until(what string, f func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// ended waits for a job's end and checks its state.
func (r *rig) ended(id patchbay.JobID, want store.JobState) *View {
	r.t.Helper()
	var v *View
	r.until(fmt.Sprint("the job ", id, " has ended"), func() bool {
		var err error
		v, err = r.jobs.Get(context.Background(), everything, id)
		r.must(err)
		return v.State.Final()
	})
	if v.State != want {
		text := ""
		if v.Error != nil {
			text = *v.Error
		}
		r.t.Fatalf("the job is %s (%s), want %s: %+v", v.State, text, want, v)
	}
	return v
}

// wantOnce checks that each event arrived at a link exactly once, and waits for it.
func (r *rig) wantOnce(name string, events []patchbay.EventID) {
	r.t.Helper()
	r.until("everything has arrived at "+name, func() bool {
		for _, id := range events {
			if r.partner.count(name, id) == 0 {
				return false
			}
		}
		return true
	})
	for _, id := range events {
		if n := r.partner.count(name, id); n != 1 {
			r.t.Fatalf("%s arrived %d times", id, n)
		}
	}
}

func (r *rig) states(f store.DeliveryFilter) map[patchbay.DeliveryState]int {
	r.t.Helper()
	r.must(r.store.Flush(context.Background()))
	f.Limit, f.Held = 100_000, r.deliveries.Holds
	all, err := r.store.Deliveries(context.Background(), f)
	r.must(err)
	out := map[patchbay.DeliveryState]int{}
	for i := range all {
		out[all[i].State]++
	}
	return out
}

var errCrash = errors.New("crash")
