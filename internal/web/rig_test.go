package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/browsertest"
	"github.com/patchbay/patchbay/internal/config"
)

func TestMain(m *testing.M) { os.Exit(browsertest.Main(m)) }

// site is a whole installation behind TLS, as browsers meet it, and the partner Tasks beside it.
type site struct {
	t     testing.TB
	url   string
	key   string
	tasks *tasks
	http  *http.Client
	// stop ends the installation; the end of the test does too.
	stop func()
}

// open starts an installation.
func open(t testing.TB, change ...func(*config.Config)) *site { return openAt(t, nil, change...) }

// openAt is open with a clock.
func openAt(t testing.TB, now func() time.Time, change ...func(*config.Config)) *site {
	t.Helper()
	partner := newTasks(t)
	var serving sync.Map
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, ok := serving.Load("app")
		if !ok {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		h.(http.Handler).ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	o := app.Options{
		Config: config.Config{
			Data: t.TempDir(), Listen: "127.0.0.1:0", PublicURL: front.URL, EgressAllow: config.Networks{netip.MustParsePrefix("127.0.0.0/8")},
		},
		Integrations: append(all.Integrations(), partner, chimes{}), Now: now,
	}
	for _, c := range change {
		c(&o.Config)
	}
	a, err := app.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	t.Cleanup(stop)
	serving.Store("app", a.Handler())
	s := &site{t: t, url: front.URL, tasks: partner, http: front.Client(), stop: stop}
	s.key, _ = a.AdminKey()
	s.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s
}

// api calls the JSON API as the administrator.
func (s *site) api(method, path string, body any) map[string]any {
	s.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	if body == nil {
		raw = nil
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(string(raw)))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode >= 300 {
		s.t.Fatalf("%s %s was answered %d: %s", method, path, resp.StatusCode, answer)
	}
	out := map[string]any{}
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &out); err != nil {
			s.t.Fatalf("%s %s: %v: %s", method, path, err, answer)
		}
	}
	return out
}

// portal opens a portal session and returns its address.
func (s *site) portal(scope string, permissions ...string) string {
	s.t.Helper()
	in := map[string]any{"scope": scope, "user": "ann", "return": s.url + "/back"}
	if len(permissions) > 0 {
		in["permissions"] = permissions
	}
	return s.api("POST", "/v1/portal-sessions", in)["url"].(string)
}

// page opens a browser on the site.
func (s *site) page(o browsertest.Options) *browsertest.Page {
	o.Hosts = append(o.Hosts, s.host(), strings.TrimPrefix(s.tasks.server.URL, "http://"))
	return browsertest.New(s.t, o)
}

func (s *site) host() string { return strings.TrimPrefix(s.url, "https://") }

// signIn opens a browser in which the administrator has signed in.
func (s *site) signIn(o browsertest.Options) *browsertest.Page {
	s.t.Helper()
	p := s.page(o)
	p.Go(s.url + "/sign-in")
	p.Type("#key", s.key)
	p.Press("main button.primary")
	return p
}

// host is a page of the host product with a portal in a frame.
type host struct {
	*httptest.Server
	shown sync.Map
}

func newHost(t *testing.T) *host {
	h := &host{}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		address, _ := h.shown.Load("frame")
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Host</title><iframe title="Integrations" src="%s" width="900" height="700"></iframe>`, address)
	}))
	t.Cleanup(h.Close)
	return h
}

// address is of another site than 127.0.0.1, where the installation is.
func (h *host) address() string { return strings.Replace(h.URL, "127.0.0.1", "localhost", 1) }

func (h *host) frame(address string) { h.shown.Store("frame", address) }

// tasks is a partner with everything that an integration can have: accounts, projects to choose from, and a setting of
// every type.
type tasks struct {
	server *httptest.Server

	mu      sync.Mutex
	got     []string // bodies that were sent
	refuses bool     // what is sent
	denies  bool     // consent
	revoked int
}

func newTasks(t testing.TB) *tasks {
	p := &tasks{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		back, err := url.Parse(q.Get("redirect_uri"))
		if err != nil || q.Get("code_challenge_method") != "S256" {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		answer := url.Values{"state": {q.Get("state")}, "code": {"the-code"}}
		if p.set(func() bool { return p.denies }) {
			answer = url.Values{"state": {q.Get("state")}, "error": {"access_denied"}}
		}
		back.RawQuery = answer.Encode()
		fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Consent</title><h1>Tasks asks</h1><a id="allow" href="%s">Allow</a>`, strings.ReplaceAll(back.String(), "&", "&amp;"))
	})
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"the-token","token_type":"Bearer","expires_in":3600,"refresh_token":"the-refresh"}`)
	})
	mux.HandleFunc("POST /revoke", func(http.ResponseWriter, *http.Request) { p.set(func() bool { p.revoked++; return true }) })
	mux.HandleFunc("POST /send", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if p.set(func() bool { p.got = append(p.got, string(body)); return p.refuses }) {
			http.Error(w, "the list is full", http.StatusBadRequest)
		}
	})
	p.server = httptest.NewServer(mux)
	t.Cleanup(p.server.Close)
	return p
}

// set looks at what the partner knows, or changes it.
func (p *tasks) set(f func() bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return f()
}

func (p *tasks) sent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

// Definition declares every type of setting.
func (p *tasks) Definition() *integration.Definition {
	return &integration.Definition{
		Key: "tasks", Title: "Tasks", Category: "tracker", Description: "Makes a task of each event.",
		Settings: integration.Spec{
			{Key: "project", Title: "Project", Type: integration.TypeString, Required: true, Dynamic: true, Help: "Where the tasks go."},
			{Key: "watchers", Title: "Watchers", Type: integration.TypeList, Dynamic: true, Help: "Who hears of them."},
			{Key: "address", Title: "Address", Type: integration.TypeURL, Example: "https://tasks.example.com", Help: "Where your Tasks is."},
			{Key: "note", Title: "Note", Type: integration.TypeText, Help: "Stands under each task."},
			{Key: "days", Title: "Days", Type: integration.TypeInteger, Default: 3, Help: "Until a task is due."},
			{Key: "urgent", Title: "Urgent", Type: integration.TypeBoolean, Default: false, Help: "Marks each task."},
			{Key: "size", Title: "Size", Type: integration.TypeSelect, Default: "small", Options: []integration.Option{{Value: "small", Title: "Small"}, {Value: "large", Title: "Large"}}},
			{Key: "pin", Title: "PIN", Type: integration.TypeString, Secret: true, Help: "Opens the list."},
			{Key: "labels", Title: "Labels", Type: integration.TypeMap, Help: "Names and values."},
			{Key: "login", Title: "Login", Type: integration.TypeObject, Help: "Of an old Tasks.", Fields: integration.Spec{
				{Key: "user", Title: "User", Type: integration.TypeString, Required: true}, {Key: "word", Title: "Word", Type: integration.TypeString, Secret: true, Required: true},
			}},
		},
		Decode: integration.Into[map[string]any],
	}
}

// Connect is OAuth 2 at the stand-in.
func (p *tasks) Connect(json.RawMessage) (*integration.Connect, error) {
	return &integration.Connect{OAuth2: &integration.OAuth2{
		ClientID: "patchbay", ClientSecret: "shh", AuthURL: p.server.URL + "/authorize", TokenURL: p.server.URL + "/token",
		RevokeURL: p.server.URL + "/revoke", Scopes: []string{"tasks:write"},
	}}, nil
}

// Identify knows one person.
func (p *tasks) Identify(context.Context, *integration.Grant) (*integration.Identity, integration.Result) {
	return &integration.Identity{Account: patchbay.Account{ID: "u1", Name: "Ann at Tasks"}}, integration.Delivered()
}

// Choices has projects and people.
func (p *tasks) Choices(_ context.Context, q *integration.ChoiceQuery) ([]integration.Choice, integration.Result) {
	if q.Connection == nil {
		return nil, integration.UserError("connect an account first")
	}
	var out []integration.Choice
	for _, name := range []string{"Apollo", "Borealis", "Castor", "Draco"} {
		if strings.Contains(strings.ToLower(name), strings.ToLower(q.Search)) {
			out = append(out, integration.Choice{Value: strings.ToLower(name), Title: name, Help: q.Setting})
		}
	}
	return out, integration.Delivered()
}

// Send makes a task.
func (p *tasks) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	m, err := d.Message()
	if err != nil {
		return integration.Unrenderable(err)
	}
	body, err := json.Marshal(map[string]any{"title": m.Title, "project": (*d.Settings.(*map[string]any))["project"]})
	if err != nil {
		return integration.Unrenderable(err)
	}
	var h integration.Header
	h.Add("Content-Type", "application/json")
	resp, err := d.Env.HTTP.Do(ctx, &integration.Request{Method: "POST", URL: p.server.URL + "/send", Header: h, Body: body})
	if err != nil {
		return integration.Unreachable("Tasks", err)
	}
	return integration.Classify("Tasks", resp)
}
