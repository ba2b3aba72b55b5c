package inbound

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/signature"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 5 * time.Minute

var admin = &access.Caller{Permissions: []access.Permission{access.Admin}, Name: "test"}

func callerOf(scope patchbay.Scope, p ...access.Permission) *access.Caller {
	return &access.Caller{Scope: scope, Permissions: p, Name: "test"}
}

// partner is an integration whose calls are JSON: {"id", "account", "text", "own", "hops", "actor", …}.
type partner struct {
	key    string
	scheme signature.Scheme
	app    patchbay.Secret // signs calls to the integration's own address
	shake  func(c *integration.HookCall) *integration.HookAnswer
	read   func(ctx context.Context, c *integration.HookCall) (*integration.Reading, error)

	mu    sync.Mutex
	calls []integration.HookCall // that were read
}

type message struct {
	ID      string              `json:"id,omitempty"`
	Account string              `json:"account,omitempty"`
	Text    string              `json:"text,omitempty"`
	Own     bool                `json:"own,omitempty"`
	Hops    int                 `json:"hops,omitempty"`
	Actor   *integration.Person `json:"actor,omitempty"`
	Entry   string              `json:"entry,omitempty"`
	Scope   *patchbay.Scope     `json:"scope,omitempty"`
	Done    bool                `json:"done,omitempty"`
	Panic   bool                `json:"panic,omitempty"`
}

func (p *partner) Definition() *integration.Definition {
	return &integration.Definition{Key: p.key, Title: "Partner"}
}

func (p *partner) Verification(c *integration.HookCall) integration.Verification {
	if c.Link == 0 {
		return integration.Verification{Scheme: p.scheme, Secrets: []integration.Secret{p.app}}
	}
	return integration.Verification{Scheme: p.scheme, Secrets: c.Secrets}
}

func (p *partner) Open(c *integration.HookCall) (*integration.Envelope, error) {
	var m message
	if err := json.Unmarshal(c.Body, &m); err != nil {
		return nil, errors.New("it is not JSON")
	}
	return &integration.Envelope{Key: m.ID, Type: "message", Account: m.Account, Done: m.Done,
		Answer: &integration.HookAnswer{Status: 202, Body: []byte("thanks")}}, nil
}

func (p *partner) Read(ctx context.Context, c *integration.HookCall) (*integration.Reading, error) {
	p.mu.Lock()
	p.calls = append(p.calls, *c)
	p.mu.Unlock()
	if p.read != nil {
		return p.read(ctx, c)
	}
	var m message
	if err := json.Unmarshal(c.Body, &m); err != nil {
		return nil, err
	}
	if m.Panic {
		panic("no")
	}
	in := integration.Inbound{Type: "partner.message", Payload: json.RawMessage(`{"text":"` + m.Text + `"}`), Actor: m.Actor, Own: m.Own, Hops: m.Hops, Scope: m.Scope}
	if m.Entry != "" {
		in.Entry = &integration.Entry{Text: m.Entry, ExternalID: m.ID}
	}
	return &integration.Reading{Events: []integration.Inbound{in}}, nil
}

// shaking is a partner with handshakes.
type shaking struct{ *partner }

func (p shaking) Handshake(c *integration.HookCall) *integration.HookAnswer { return p.shake(c) }

// recognizing is a partner whose accounts are shared.
type recognizing struct{ *partner }

func (recognizing) Person(data json.RawMessage) string {
	var d struct{ Person string }
	_ = json.Unmarshal(data, &d)
	return d.Person
}

// around is what is around a Service: links, connections, and where events go.
type around struct {
	mu      sync.Mutex
	links   map[patchbay.LinkID]*Target
	tokens  map[string]patchbay.LinkID
	cons    []patchbay.Connection
	events  []ingest.Brought
	byKey   map[string]patchbay.EventID
	refuse  func(e *ingest.Brought) error // of the next events
	learned patchbay.Secret
}

func (a *around) HookLink(key, token string) (*Target, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.links[a.tokens[token]]
	if !ok || t.Link.Integration != key {
		return nil, false
	}
	return t, true
}

func (a *around) HookTarget(id patchbay.LinkID) (*Target, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.links[id]
	return t, ok
}

func (a *around) Receiving(key string, con patchbay.ConnectionID) (out []*Target) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.links {
		if t.Link.Integration == key && t.Link.Connection == con {
			out = append(out, t)
		}
	}
	return out
}

func (a *around) Learn(_ context.Context, id patchbay.LinkID, secret patchbay.Secret) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.learned = secret
	return nil
}

func (a *around) Known(id patchbay.ConnectionID) (*patchbay.Connection, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.cons {
		if a.cons[i].ID == id {
			return &a.cons[i], true
		}
	}
	return nil, false
}

func (a *around) ByAccount(key, account string) (out []patchbay.Connection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.cons {
		if c.Integration == key && c.Account.ID == account {
			out = append(out, c)
		}
	}
	return out
}

func (a *around) Bring(_ context.Context, e *ingest.Brought) (ingest.Receipt, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refuse != nil {
		if err := a.refuse(e); err != nil {
			return ingest.Receipt{}, err
		}
	}
	if id, ok := a.byKey[e.Key]; ok {
		return ingest.Receipt{Event: id, Replayed: true}, nil
	}
	id := patchbay.EventID(len(a.byKey) + 1)
	a.byKey[e.Key] = id
	a.events = append(a.events, *e)
	return ingest.Receipt{Event: id}, nil
}

func (a *around) brought() []ingest.Brought {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]ingest.Brought(nil), a.events...)
}

// rig is a Service over a real database, served over real connections.
type rig struct {
	t *testing.T
	*around
	dir     string
	store   *sqlite.Store
	hooks   store.Hooks
	service *Service
	server  *httptest.Server
	partner *partner
	all     map[string]integration.Integration
	now     func() time.Time
}

const appSecret = "the app's secret"

func newRig(t *testing.T, configure ...func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "data"), around: &around{
		links: map[patchbay.LinkID]*Target{}, tokens: map[string]patchbay.LinkID{}, byKey: map[string]patchbay.EventID{},
	}}
	r.partner = &partner{key: "partner", scheme: signature.GitHub(), app: appSecret}
	r.all = map[string]integration.Integration{"partner": r.partner, "silent": silent{}}
	for _, c := range configure {
		c(r)
	}
	r.open()
	r.serve()
	t.Cleanup(func() { r.server.Close(); r.stop(); _ = r.store.Close() })
	return r
}

// silent is an integration that receives nothing.
type silent struct{}

func (silent) Definition() *integration.Definition { return &integration.Definition{Key: "silent"} }

func (r *rig) open() {
	r.t.Helper()
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: r.dir})
	if err != nil {
		r.t.Fatal(err)
	}
	r.store = s
	if r.hooks == nil {
		r.hooks = s
	} else if b, ok := r.hooks.(*broken); ok {
		b.hooks = s
	}
	r.service = New(Options{
		Store: r.hooks, NewID: s.NewID, Links: r.around, Connections: r.around, Events: r.around, Integrations: r.all, Now: r.now,
	})
}

// serve answers at an address. Reading begins with start.
func (r *rig) serve() {
	mux := http.NewServeMux()
	mux.Handle("/integrations/{key}/hook", r.service.Handler())
	mux.Handle("/integrations/{key}/hook/{token}", r.service.Handler())
	r.server = httptest.NewUnstartedServer(mux)
	r.server.Start()
}

func (r *rig) start() *rig {
	if err := r.service.Start(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	return r
}

func (r *rig) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.service.Stop(ctx); err != nil {
		r.t.Error(err)
	}
}

// link makes a link with an address of its own.
func (r *rig) link(id patchbay.LinkID, scope patchbay.Scope, con patchbay.ConnectionID, secrets ...patchbay.Secret) (*Target, string) {
	t := &Target{Link: &patchbay.Link{ID: id, Integration: "partner", Scope: scope, Connection: con, Enabled: true, State: patchbay.LinkActive}, Secrets: secrets, Target: "there"}
	token := fmt.Sprintf("token%d", id)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links[id], r.tokens[token] = t, id
	return t, "/integrations/partner/hook/" + token
}

func (r *rig) connection(id patchbay.ConnectionID, scope patchbay.Scope, account string) *patchbay.Connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cons = append(r.cons, patchbay.Connection{ID: id, Integration: "partner", Scope: scope, Account: patchbay.Account{ID: account}})
	return &r.cons[len(r.cons)-1]
}

func body(m message) string {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// signed makes a call, signed with a secret.
func (r *rig) signed(path, text string, secret patchbay.Secret) *http.Request {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.server.URL+path, strings.NewReader(text))
	if err != nil {
		r.t.Fatal(err)
	}
	at := time.Now()
	if r.now != nil {
		at = r.now()
	}
	if err := r.partner.scheme.Sign(req.Header, "", req.Method, []byte(text), secret, at); err != nil {
		r.t.Fatal(err)
	}
	return req
}

// send makes a call and returns its answer.
func (r *rig) send(req *http.Request) (int, string) {
	r.t.Helper()
	resp, err := r.server.Client().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (r *rig) post(path, text string, secret patchbay.Secret) int {
	r.t.Helper()
	status, _ := r.send(r.signed(path, text, secret))
	return status
}

func (r *rig) list(q Query) []View {
	r.t.Helper()
	if q.Limit == 0 {
		q.Limit = 250
	}
	views, _, err := r.service.List(context.Background(), admin, q)
	if err != nil {
		r.t.Fatal(err)
	}
	return views
}

// settled waits until nothing is pending, and returns what there is, the newest first.
func (r *rig) settled(n int) []View {
	r.t.Helper()
	eventually(r.t, func() bool {
		return len(r.list(Query{})) == n && len(r.list(Query{States: []patchbay.HookState{patchbay.HookPending}})) == 0
	}, "%d calls to be read", n)
	return r.list(Query{})
}

func eventually(t *testing.T, ok func() bool, what string, args ...any) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s for "+what, append([]any{patience}, args...)...)
		}
	}
}

// hooks has another name, because a struct cannot have a field and a method that are both called Hooks.
type hooks = store.Hooks

// broken is a store that fails when it is told to.
type broken struct {
	hooks
	mu           sync.Mutex
	save, finish error
	page         int // the most hooks that one page of pending ones had
}

func (b *broken) SaveHook(ctx context.Context, h *store.Hook) (patchbay.HookID, error) {
	b.mu.Lock()
	err := b.save
	b.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return b.hooks.SaveHook(ctx, h)
}

func (b *broken) FinishHook(ctx context.Context, h *store.Hook) error {
	b.mu.Lock()
	err := b.finish
	b.mu.Unlock()
	if err != nil {
		return err
	}
	return b.hooks.FinishHook(ctx, h)
}

func (b *broken) PendingHooks(ctx context.Context, before time.Time, after patchbay.HookID, limit int) ([]store.Hook, error) {
	page, err := b.hooks.PendingHooks(ctx, before, after, limit)
	b.mu.Lock()
	b.page = max(b.page, len(page))
	b.mu.Unlock()
	return page, err
}

func (b *broken) set(save, finish error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.save, b.finish = save, finish
}
