package links

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/signature"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/outbound"
)

// hub is an integration for tests that can do everything: its links hear of a place at the partner when "receive" is not
// false, and what happens at the partner is up to the test.
type hub struct {
	attach  func(context.Context, *integration.Attachment) (*integration.Attached, integration.Result)
	detach  func(context.Context, *integration.Attachment) integration.Result
	choices func(context.Context, *integration.ChoiceQuery) ([]integration.Choice, integration.Result)
	kinds   []string

	mu       sync.Mutex
	attached []integration.Attachment
	detached []integration.Attachment
}

type hubSettings struct {
	Place   string             `json:"place"`
	Receive bool               `json:"receive"`
	Token   integration.Secret `json:"token"`
	Channel string             `json:"channel"`
}

func (h *hub) Definition() *integration.Definition {
	return &integration.Definition{
		Key: "hub", Title: "Hub", Decode: integration.Into[hubSettings], Kinds: h.kinds,
		Types: []patchbay.EventType{{Key: "hub.push", Title: "Push"}},
		Settings: integration.Spec{
			{Key: "place", Title: "Place", Type: integration.TypeString, Required: true, Dynamic: true},
			{Key: "receive", Title: "Receive", Type: integration.TypeBoolean, Default: true},
			{Key: "token", Title: "Token", Type: integration.TypeString, Required: true, UnlessConnected: true, Secret: true},
			{Key: "channel", Title: "Channel", Type: integration.TypeString},
		},
		Hooked: func(settings any) bool { return settings.(*hubSettings).Receive },
	}
}

func (h *hub) Send(context.Context, *integration.Delivery) integration.Result {
	return integration.Delivered()
}

func (h *hub) Target(settings any) string { return settings.(*hubSettings).Place }

func (h *hub) ShortName(settings any) string { return "Hub " + settings.(*hubSettings).Place }

func (h *hub) Destination(settings any) string { return settings.(*hubSettings).Place }

func (h *hub) Verification(c *integration.HookCall) integration.Verification {
	return integration.Verification{Scheme: signature.Scheme{}, Secrets: c.Secrets}
}

func (h *hub) Open(*integration.HookCall) (*integration.Envelope, error) {
	return &integration.Envelope{}, nil
}

func (h *hub) Read(context.Context, *integration.HookCall) (*integration.Reading, error) {
	return &integration.Reading{}, nil
}

func (h *hub) Attaches(settings any) bool { return settings.(*hubSettings).Receive && h.attach != nil }

func (h *hub) Attach(ctx context.Context, a *integration.Attachment) (*integration.Attached, integration.Result) {
	h.mu.Lock()
	h.attached = append(h.attached, *a)
	h.mu.Unlock()
	return h.attach(ctx, a)
}

func (h *hub) Detach(ctx context.Context, a *integration.Attachment) integration.Result {
	h.mu.Lock()
	h.detached = append(h.detached, *a)
	h.mu.Unlock()
	if h.detach == nil {
		return integration.Delivered()
	}
	return h.detach(ctx, a)
}

func (h *hub) Choices(ctx context.Context, q *integration.ChoiceQuery) ([]integration.Choice, integration.Result) {
	return h.choices(ctx, q)
}

func (h *hub) attachments() []integration.Attachment {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.attached)
}

func (h *hub) detachments() []integration.Attachment {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.detached)
}

// works answers every Attach.
func works(context.Context, *integration.Attachment) (*integration.Attached, integration.Result) {
	return &integration.Attached{State: json.RawMessage(`{"hook":1}`)}, integration.Delivered()
}

// hasty is a rhythm in which nothing takes long.
var hasty = rhythm{
	answer: 30 * time.Second, call: 30 * time.Second, grace: 20 * time.Millisecond,
	pauses: []time.Duration{10 * time.Millisecond, 20 * time.Millisecond}, waiting: 10 * time.Millisecond,
	patience: time.Hour, life: 20 * time.Millisecond, look: 10 * time.Millisecond,
}

// newHub is a service with a hub and a keeper in a hurry, by the real clock.
func newHub(t *testing.T, dir string, h *hub, change ...func(*Options)) *fixture {
	t.Helper()
	f := newFixture(t, dir, h)
	o := f.options(f.db, h)
	o.Now, o.PublicURL = time.Now, "https://patchbay.example"
	o.Client = outbound.New(outbound.Options{})
	t.Cleanup(func() { _ = o.Client.Close() })
	for _, c := range change {
		c(&o)
	}
	f.Service = New(o)
	f.rhythm = hasty
	if err := f.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Stop(context.Background()) })
	return f
}

const aHub = `{"integration":"hub","scope":"acme/teams/1","settings":{"place":"acme/web","token":"token-123456"}}`

// until waits for something that another goroutine brings about.
func (f *fixture) until(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); {
		if time.Now().After(end) {
			f.t.Fatalf("%s: it does not come about", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (f *fixture) state(id patchbay.LinkID) patchbay.LinkState {
	v, err := f.Get(f.t.Context(), admin, id)
	if err != nil {
		return ""
	}
	return v.State
}

func (f *fixture) reason(id patchbay.LinkID) string {
	v, err := f.Get(f.t.Context(), admin, id)
	if err != nil || v.StateReason == nil {
		return ""
	}
	return *v.StateReason
}

// raised collects notices.
type raised struct {
	mu      sync.Mutex
	notices []deliver.Notice
}

func (r *raised) option(o *Options) {
	o.Raise = func(_ context.Context, n deliver.Notice, _ *patchbay.Link, _ string) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.notices = append(r.notices, n)
		return nil
	}
}

func (r *raised) all() []deliver.Notice {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.notices)
}
