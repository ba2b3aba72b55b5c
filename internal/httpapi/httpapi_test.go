package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/eventtypes"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/obs"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// errUnexpected comes from services of which a test did not expect a call.
var errUnexpected = errors.New("the test did not expect this call")

type fakeIngest struct {
	accept func(c *access.Caller, body []byte, key string) (*ingest.Answer, error)
	item   func(c *access.Caller, body []byte) (ingest.Receipt, error)
	dryRun func(c *access.Caller, body []byte) (*ingest.DryRun, error)
	events func(c *access.Caller, q ingest.EventQuery) ([]patchbay.Event, bool, error)
	event  func(c *access.Caller, id patchbay.EventID) (*ingest.EventView, error)
	replay func(c *access.Caller, id patchbay.EventID) (*ingest.EventView, error)
}

func (f *fakeIngest) Accept(_ context.Context, c *access.Caller, body []byte, key string) (*ingest.Answer, error) {
	if f.accept == nil {
		return nil, errUnexpected
	}
	return f.accept(c, body, key)
}

func (f *fakeIngest) AcceptItem(_ context.Context, c *access.Caller, body []byte) (ingest.Receipt, error) {
	if f.item == nil {
		return ingest.Receipt{}, errUnexpected
	}
	return f.item(c, body)
}

func (f *fakeIngest) DryRun(_ context.Context, c *access.Caller, body []byte) (*ingest.DryRun, error) {
	if f.dryRun == nil {
		return nil, errUnexpected
	}
	return f.dryRun(c, body)
}

func (f *fakeIngest) Events(_ context.Context, c *access.Caller, q ingest.EventQuery) ([]patchbay.Event, bool, error) {
	if f.events == nil {
		return nil, false, errUnexpected
	}
	return f.events(c, q)
}

func (f *fakeIngest) Event(_ context.Context, c *access.Caller, id patchbay.EventID) (*ingest.EventView, error) {
	if f.event == nil {
		return nil, errUnexpected
	}
	return f.event(c, id)
}

func (f *fakeIngest) Replay(_ context.Context, c *access.Caller, id patchbay.EventID) (*ingest.EventView, error) {
	if f.replay == nil {
		return nil, errUnexpected
	}
	return f.replay(c, id)
}

type fakeLinks struct {
	create       func(c *access.Caller, in links.Input) (*links.View, error)
	list         func(c *access.Caller, f links.ListFilter) ([]links.View, bool, error)
	update       func(c *access.Caller, id patchbay.LinkID, in links.Input, clear []string, ifMatch int) (*links.View, error)
	remove       func(c *access.Caller, id patchbay.LinkID) error
	act          func(verb string, c *access.Caller, id patchbay.LinkID) (*links.View, error)
	test         func(c *access.Caller, id patchbay.LinkID) (*links.TestResult, error)
	choices      func(c *access.Caller, integration, setting string, in links.ChoiceInput) ([]integration.Choice, error)
	testSettings func(c *access.Caller, integration string, settings json.RawMessage) (*links.TestResult, error)
}

func (f *fakeLinks) Create(_ context.Context, c *access.Caller, in links.Input) (*links.View, error) {
	if f.create == nil {
		return nil, errUnexpected
	}
	return f.create(c, in)
}

func (f *fakeLinks) List(_ context.Context, c *access.Caller, l links.ListFilter) ([]links.View, bool, error) {
	if f.list == nil {
		return nil, false, errUnexpected
	}
	return f.list(c, l)
}

func (f *fakeLinks) Update(_ context.Context, c *access.Caller, id patchbay.LinkID, in links.Input, clear []string, ifMatch int) (*links.View, error) {
	if f.update == nil {
		return nil, errUnexpected
	}
	return f.update(c, id, in, clear, ifMatch)
}

func (f *fakeLinks) Delete(_ context.Context, c *access.Caller, id patchbay.LinkID) error {
	if f.remove == nil {
		return errUnexpected
	}
	return f.remove(c, id)
}

func (f *fakeLinks) do(verb string, c *access.Caller, id patchbay.LinkID) (*links.View, error) {
	if f.act == nil {
		return nil, errUnexpected
	}
	return f.act(verb, c, id)
}

func (f *fakeLinks) Get(_ context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error) {
	return f.do("get", c, id)
}
func (f *fakeLinks) Pause(_ context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error) {
	return f.do("pause", c, id)
}
func (f *fakeLinks) Resume(_ context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error) {
	return f.do("resume", c, id)
}
func (f *fakeLinks) Skip(_ context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error) {
	return f.do("skip", c, id)
}
func (f *fakeLinks) RotateSecret(_ context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error) {
	return f.do("rotate", c, id)
}

func (f *fakeLinks) Test(_ context.Context, c *access.Caller, id patchbay.LinkID) (*links.TestResult, error) {
	if f.test == nil {
		return nil, errUnexpected
	}
	return f.test(c, id)
}

func (f *fakeLinks) Choices(_ context.Context, c *access.Caller, key, setting string, in links.ChoiceInput) ([]integration.Choice, error) {
	if f.choices == nil {
		return nil, errUnexpected
	}
	return f.choices(c, key, setting, in)
}

func (f *fakeLinks) TestSettings(_ context.Context, c *access.Caller, key string, d links.Draft) (*links.TestResult, error) {
	if f.testSettings == nil {
		return nil, errUnexpected
	}
	if d.Connection != nil {
		return nil, patchbay.Invalid("connection", "there is no connection %q", *d.Connection)
	}
	return f.testSettings(c, key, d.Settings)
}

type fakeDeliveries struct {
	list func(c *access.Caller, q deliver.Query) ([]deliver.View, bool, error)
	act  func(verb string, c *access.Caller, id patchbay.DeliveryID) (*deliver.View, error)
}

func (f *fakeDeliveries) List(_ context.Context, c *access.Caller, q deliver.Query) ([]deliver.View, bool, error) {
	if f.list == nil {
		return nil, false, errUnexpected
	}
	return f.list(c, q)
}

func (f *fakeDeliveries) do(verb string, c *access.Caller, id patchbay.DeliveryID) (*deliver.View, error) {
	if f.act == nil {
		return nil, errUnexpected
	}
	return f.act(verb, c, id)
}

func (f *fakeDeliveries) Get(_ context.Context, c *access.Caller, id patchbay.DeliveryID) (*deliver.View, error) {
	return f.do("get", c, id)
}
func (f *fakeDeliveries) Retry(_ context.Context, c *access.Caller, id patchbay.DeliveryID) (*deliver.View, error) {
	return f.do("retry", c, id)
}
func (f *fakeDeliveries) Cancel(_ context.Context, c *access.Caller, id patchbay.DeliveryID) (*deliver.View, error) {
	return f.do("cancel", c, id)
}

// typeStore keeps event types the way a store does.
type typeStore map[string]patchbay.EventType

func (s typeStore) PutType(_ context.Context, t *patchbay.EventType) error { s[t.Key] = *t; return nil }
func (s typeStore) DeleteType(_ context.Context, key string) error {
	if _, ok := s[key]; !ok {
		return store.ErrNotFound
	}
	delete(s, key)
	return nil
}
func (s typeStore) AllTypes(context.Context) ([]patchbay.EventType, error) {
	return slices.Collect(maps.Values(s)), nil
}

// keyStore keeps keys the way a store does.
type keyStore map[patchbay.KeyID]store.Key

func (s keyStore) SaveKey(_ context.Context, k *store.Key) error { s[k.ID] = *k; return nil }
func (s keyStore) DeleteKey(_ context.Context, id patchbay.KeyID) error {
	delete(s, id)
	return nil
}
func (s keyStore) AllKeys(context.Context) ([]store.Key, error) {
	return slices.Collect(maps.Values(s)), nil
}

// plug is an integration that only stands in lists.
type plug struct{ definition integration.Definition }

func (p *plug) Definition() *integration.Definition { return &p.definition }

const testSigningKey = "the signing key"

// fixture is an API with everything around it.
type fixture struct {
	audit       auditLog
	t           *testing.T
	handler     http.Handler
	ingest      fakeIngest
	links       fakeLinks
	deliveries  fakeDeliveries
	connections fakeConnections
	stats       fakeStats
	catalog     *catalog.Catalog
	types       typeStore
	hub         stream.Hub
	metrics     *obs.Metrics
	keys        *access.Keys
	log         logBuffer
}

// logBuffer collects the log of a server, which several goroutines write.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newFixture(t *testing.T, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, metrics: obs.NewMetrics(obs.MetricsOptions{}), types: typeStore{}}
	ids := patchbay.NewSequence(0, 0, nil)
	var err error
	if f.keys, err = access.NewKeys(t.Context(), keyStore{}, ids.Take, nil); err != nil {
		t.Fatal(err)
	}
	keyclic, err := catalog.Open(catalog.Options{Files: []string{"builtin:keyclic"}, Stored: []patchbay.EventType{exampleType}})
	if err != nil {
		t.Fatal(err)
	}
	f.catalog = keyclic
	o := Options{Ingest: &f.ingest, Links: &f.links, Deliveries: &f.deliveries, Catalog: f.catalog, EventTypes: eventtypes.New(f.catalog, f.types), Keys: f.keys, Connections: &f.connections,
		Access: access.NewAuthenticator(access.AuthenticatorOptions{Keys: f.keys, SigningKey: testSigningKey}),
		Stream: &f.hub, Stats: &f.stats, Nodes: theNodes(), Sealing: theKeys{}, Audit: &f.audit, Metrics: f.metrics, Log: slog.New(slog.NewJSONHandler(&f.log, nil)), Version: "1.2.3",
		Integrations: []integration.Integration{
			&plug{integration.Definition{Key: "slack", Title: "Slack", Category: "chat", Description: "Messages in a channel.",
				Settings: integration.Spec{
					{Key: "url", Title: "Webhook URL", Type: integration.TypeURL, Required: true, Secret: true, Help: "From Slack."},
					{Key: "channel", Title: "Channel", Type: integration.TypeString},
					{Key: "style", Title: "Style", Type: integration.TypeSelect, Default: "long", Options: []integration.Option{{Value: "long", Title: "Long"}}},
				}}},
			&plug{integration.Definition{Key: "jira", Title: "Jira", Category: "tracker", Events: []patchbay.Pattern{"run_*"}}},
		}}
	for _, c := range change {
		c(&o)
	}
	if f.handler, err = New(o); err != nil {
		t.Fatal(err)
	}
	return f
}

// development makes a fixture's options those of development mode.
func development(o *Options) {
	o.Development = true
	o.Access = access.NewAuthenticator(access.AuthenticatorOptions{Keys: o.Keys.(*access.Keys), Development: true})
}

// key makes an API key and returns its token.
func (f *fixture) key(scope string, permissions ...access.Permission) string {
	f.t.Helper()
	in := access.KeyInput{Scope: scope}
	for _, p := range permissions {
		in.Permissions = append(in.Permissions, string(p))
	}
	v, err := f.keys.Create(context.Background(), &access.Caller{Permissions: []access.Permission{access.Admin}}, in)
	if err != nil {
		f.t.Fatal(err)
	}
	return v.Token
}

// request makes a request; headers come in pairs.
func request(method, target, body string, headers ...string) *http.Request {
	var b io.Reader = http.NoBody
	if body != "" {
		b = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, b)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// do answers a request.
func (f *fixture) do(r *http.Request) *httptest.ResponseRecorder {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return w
}

// call makes a request with a key and answers it.
func (f *fixture) call(token, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	return f.do(request(method, target, body, append(headers, "Authorization", "Bearer "+token)...))
}

// wantError checks that the answer is an error in the API's form, and returns it.
func wantError(t *testing.T, w *httptest.ResponseRecorder, status int, code patchbay.Code) problem {
	t.Helper()
	var p problem
	dec := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("%d %q is no error of the API: %v", w.Code, w.Body, err)
	}
	if w.Code != status || p.Type != code || p.Message == "" {
		t.Errorf("the answer is %d %s, want %d %s", w.Code, w.Body, status, code)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("the error's Content-Type is %q", got)
	}
	return p
}

// wantJSON checks the status and decodes the answer.
func wantJSON[T any](t *testing.T, w *httptest.ResponseRecorder, status int) T {
	t.Helper()
	var v T
	if w.Code != status {
		t.Fatalf("the answer is %d %s, want %d", w.Code, w.Body, status)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("the answer %q is not JSON: %v", w.Body, err)
	}
	return v
}
