package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// partner is an integration whose answers a test decides.
type partner struct {
	def integration.Definition
	// answer is called for every attempt.
	answer func(ctx context.Context, d *integration.Delivery) integration.Result

	mu    sync.Mutex
	calls []sent
}

// sent is an attempt as the partner saw it.
type sent struct {
	at        time.Time
	link      string
	event     patchbay.EventID
	attempt   int
	reference string
	stale     bool
}

func (p *partner) Definition() *integration.Definition { return &p.def }

func (p *partner) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	p.mu.Lock()
	name, _ := d.Settings.(string)
	p.calls = append(p.calls, sent{time.Now(), name, d.Event.Subject(), d.Attempt, d.Reference, d.Stale})
	p.mu.Unlock()
	return p.answer(ctx, d)
}

func (p *partner) sent() []sent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]sent(nil), p.calls...)
}

func delivered(context.Context, *integration.Delivery) integration.Result {
	return integration.Delivered()
}

func failing503(context.Context, *integration.Delivery) integration.Result {
	return integration.Retry("the stand-in answered 503")
}

// plain is a catalog in which the thread of an event is its payload's "thread".
type plain struct{}

func (plain) Title(e *patchbay.Event) string { return e.Type }

func (plain) Render(e *patchbay.Event, _ *integration.Definition) (*integration.Message, error) {
	return &integration.Message{Title: e.Type}, nil
}

func (plain) Thread(e *patchbay.Event, _ *integration.Definition) string {
	var p struct{ Thread string }
	_ = json.Unmarshal(e.Payload, &p)
	return p.Thread
}

// rig is an engine on a real SQLite store with a partner that the test plays.
type rig struct {
	t       *testing.T
	dir     string
	store   store.Store
	engine  *Engine
	partner *partner
	client  *outbound.Client
	service *Service
	links   map[patchbay.LinkID]*Link

	mu      sync.Mutex
	notices []Notice
}

func newRig(t *testing.T, p *partner, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), partner: p, links: map[patchbay.LinkID]*Link{}}
	r.open(change...)
	t.Cleanup(r.close)
	return r
}

func (r *rig) open(change ...func(*Options)) {
	r.t.Helper()
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: r.dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := s.Recover(context.Background(), time.Now()); err != nil {
		r.t.Fatal(err)
	}
	r.attach(s, change...)
}

// attach starts an engine on a store.
func (r *rig) attach(s store.Store, change ...func(*Options)) {
	r.t.Helper()
	r.store = s
	r.client = outbound.New(outbound.Options{Guard: outbound.Guard{AllowLoopback: true}})
	o := Options{
		Store: s, Client: r.client, Catalog: plain{}, Random: func() float64 { return 0.5 }, // no jitter
		Notify: func(_ context.Context, n Notice) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.notices = append(r.notices, n)
		},
	}
	for _, c := range change {
		c(&o)
	}
	r.engine = New(o)
	r.service = NewService(r.engine, func(_ context.Context, id patchbay.LinkID, _ int) (*Link, error) {
		if l := r.links[id]; l != nil {
			return l, nil
		}
		return nil, errors.New("no such link")
	})
	for _, l := range r.links {
		r.set(l)
	}
	if err := r.engine.Start(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := r.engine.Stop(ctx); err != nil {
		r.t.Errorf("stopping: %v", err)
	}
	if err := r.store.Close(); err != nil {
		r.t.Errorf("closing: %v", err)
	}
	if err := r.client.Close(); err != nil {
		r.t.Errorf("closing: %v", err)
	}
}

// link makes a link and puts it into the engine.
func (r *rig) link(name string, change ...func(*patchbay.Link)) *Link {
	r.t.Helper()
	l := &patchbay.Link{
		ID: patchbay.LinkID(r.store.NewID(1)), Integration: r.partner.def.Key, Events: []patchbay.Pattern{"*"},
		Scope: patchbay.Scope(name), Reach: patchbay.ReachSubtree, Enabled: true, State: patchbay.LinkActive, Name: name,
		Settings: json.RawMessage(`{}`), Revision: 1,
	}
	for _, c := range change {
		c(l)
	}
	if err := r.store.SaveLink(context.Background(), l); err != nil {
		r.t.Fatal(err)
	}
	out := &Link{Link: l, Definition: &r.partner.def, Sender: r.partner, Settings: name, OrderKey: orderKey(l)}
	r.set(out)
	return out
}

// orderKey is the key of a link with an order by key: the payload's "thread".
func orderKey(l *patchbay.Link) func(*patchbay.Event) string {
	if l.Order == nil || l.Order.Key == "" {
		return nil
	}
	return func(e *patchbay.Event) string { return plain{}.Thread(e, nil) }
}

// set puts a link, or its change, into the engine.
func (r *rig) set(l *Link) {
	r.t.Helper()
	r.links[l.ID] = l
	if err := r.engine.SetLink(context.Background(), l); err != nil {
		r.t.Fatal(err)
	}
}

// edit changes a link.
func (r *rig) edit(l *Link, change func(*patchbay.Link)) *Link {
	r.t.Helper()
	next := *l.Link
	next.Revision++
	change(&next)
	if err := r.store.SaveLink(context.Background(), &next); err != nil {
		r.t.Fatal(err)
	}
	out := *l
	out.Link, out.OrderKey = &next, orderKey(&next)
	r.set(&out)
	return &out
}

// accept takes an event in for some links, as ingest does.
func (r *rig) accept(payload string, links ...*Link) *patchbay.Event {
	r.t.Helper()
	now := time.Now().UTC()
	e := &patchbay.Event{Type: "thing.happened", Scope: "acme", Payload: json.RawMessage(payload), OccurredAt: now, ReceivedAt: now}
	a := r.engine.Admit(e, links, r.store.NewID)
	if _, err := r.store.Accept(context.Background(), &a.Acceptance); err != nil {
		a.Abort()
		r.t.Fatal(err)
	}
	a.Commit()
	return e
}

var everything = &access.Caller{Permissions: []access.Permission{access.Admin}}

// delivery returns an event's first delivery.
func (r *rig) delivery(e *patchbay.Event) *View {
	r.t.Helper()
	if err := r.store.Flush(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	v, err := r.service.Get(context.Background(), everything, patchbay.DeliveryAt(e.ID, 1))
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

func (r *rig) told(kind string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, notice := range r.notices {
		if notice.Type == kind {
			n++
		}
	}
	return n
}
