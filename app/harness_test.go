package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	_ "time/tzdata" // for a machine that has no zones

	"go.uber.org/goleak"

	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/config"
)

func TestMain(m *testing.M) {
	liveFarAway()
	goleak.VerifyTestMain(m)
}

// liveFarAway puts this process far from UTC, so that a time in the zone of the machine, which must not leave it, is seen.
// The time package reads TZ once, when somebody first asks for local time. Writing time.Local would race with libraries that
// look at their clock from the start.
func liveFarAway() {
	was, set := os.LookupEnv("TZ")
	_ = os.Setenv("TZ", "Asia/Kathmandu")
	if _, offset := time.Now().Zone(); offset != 5*60*60+45*60 {
		panic("something asked for local time before the tests could move this process to Nepal")
	}
	if _ = os.Unsetenv("TZ"); set { // what the tests start lives where it did
		_ = os.Setenv("TZ", was)
	}
}

// patience is how long a test waits for what must come. It is only ever used up by a test that fails.
const patience = 90 * time.Second

const signingKey = "the-key-of-the-forest"

// server is an installation that runs in this process and is spoken to over HTTP only.
type server struct {
	t    *testing.T
	url  string
	key  string // sent as a bearer token; "" sends none
	http *http.Client
	app  *app.App
	// crashed says that it ended so that its stop has nothing to say.
	crashed bool
}

// serve starts an installation. Unless the test changes it, it is a real one (credentials are asked for) that may send
// to loopback, where the stand-ins for partners are.
func serve(t *testing.T, change ...func(*config.Config)) *server {
	t.Helper()
	s := start(t, app.Options{Config: config.Config{Data: t.TempDir()}}, change...)
	s.key, _ = s.app.AdminKey()
	return s
}

// start starts an installation with more than its configuration changed.
func start(t *testing.T, o app.Options, change ...func(*config.Config)) *server {
	t.Helper()
	o.Config.Listen = "127.0.0.1:0"
	o.Config.EgressAllow = config.Networks{netip.MustParsePrefix("127.0.0.0/8")}
	o.Config.SigningKey = signingKey
	o.Config.Database = databaseFor(t, o.Config.Data)
	for _, c := range change {
		c(&o.Config)
	}
	if o.Integrations == nil {
		o.Integrations = all.Integrations()
	}
	a, err := app.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	s := &server{t: t, url: "http://" + a.Addr(), app: a, http: &http.Client{Transport: transport, Timeout: time.Minute}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.stop()
	})
	return s
}

func dev(c *config.Config) { c.Dev, c.EgressAllow, c.SigningKey = true, nil, "" }

func (s *server) stop() {
	s.t.Helper()
	if err := s.app.Stop(context.Background()); err != nil && !s.crashed {
		s.t.Errorf("stopping: %v", err)
	}
}

// as returns the same installation spoken to with another key, for another test.
func (s *server) as(t *testing.T, key string) *server {
	c := *s
	c.t, c.key = t, key
	return &c
}

// in returns the same installation for a subtest.
func (s *server) in(t *testing.T) *server { return s.as(t, s.key) }

// answer is what came back of a request.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   []byte
}

// header is one header field of a request; an empty value takes the field out.
type header struct{ name, value string }

// call makes a request. The body is sent as it is.
func (s *server) call(method, path, body string, headers ...header) *answer {
	s.t.Helper()
	a, err := s.try(method, path, strings.NewReader(body), headers...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (s *server) try(method, path string, body io.Reader, headers ...header) (*answer, error) {
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	if err != nil {
		return nil, err
	}
	if req.ContentLength != 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	for _, h := range headers {
		switch {
		case h.name == "Host":
			req.Host = h.value
		case h.value == "":
			req.Header.Del(h.name)
		default:
			req.Header.Set(h.name, h.value)
		}
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return &answer{t: s.t, what: method + " " + path, status: resp.StatusCode, header: resp.Header, body: raw}, nil
}

// want checks the status and returns the answer.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s was answered %d, want %d: %s", a.what, a.status, status, a.body)
	}
	return a
}

// refused checks status and type of an error, and its form.
func (a *answer) refused(status int, kind string) *answer {
	a.t.Helper()
	a.want(status)
	if ct := a.header.Get("Content-Type"); ct != "application/json" {
		a.t.Errorf("%s: the error has the Content-Type %q", a.what, ct)
	}
	var e struct {
		Error, Type string
		Details     []struct{ Path, Message string }
	}
	if err := json.Unmarshal(a.body, &e); err != nil {
		a.t.Fatalf("%s: the error is not JSON: %s", a.what, a.body)
	}
	if e.Type != kind || len(e.Error) < 10 {
		a.t.Errorf("%s: the error is %s, want the type %s and a sentence", a.what, a.body, kind)
	}
	for _, d := range e.Details {
		if d.Message == "" {
			a.t.Errorf("%s: a detail says nothing: %s", a.what, a.body)
		}
	}
	return a
}

// json decodes the answer's body; numbers stay as they are spelled.
func (a *answer) json() object {
	a.t.Helper()
	return decode(a.t, a.body)
}

// list decodes an answer that is a plain list.
func (a *answer) list() []object {
	a.t.Helper()
	var out []object
	if err := json.Unmarshal(a.body, &out); err != nil {
		a.t.Fatalf("%s: not a list of objects: %v: %s", a.what, err, a.body)
	}
	return out
}

// object is decoded JSON.
type object map[string]any

func decode(t *testing.T, raw []byte) object {
	t.Helper()
	var out object
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&out); err != nil {
		t.Fatalf("not a JSON object: %v: %.500s", err, raw)
	}
	return out
}

// at returns what lies at a path of keys and, for lists, numbers; nil when nothing does.
func (o object) at(path ...any) any {
	var v any = map[string]any(o)
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[s]
		case int:
			l, _ := v.([]any)
			if s >= len(l) {
				return nil
			}
			v = l[s]
		}
	}
	return v
}

// str is at as text; numbers are as they are spelled.
func (o object) str(path ...any) string {
	switch v := o.at(path...).(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}

// objects is at as a list of objects.
func (o object) objects(path ...any) []object {
	l, _ := o.at(path...).([]any)
	out := make([]object, len(l))
	for i := range l {
		m, _ := l[i].(map[string]any)
		out[i] = m
	}
	return out
}

// link makes a link and returns its id.
func (s *server) link(body string) string {
	s.t.Helper()
	return s.call("POST", "/v1/links", body).want(201).json().str("id")
}

// hook is a link to a stand-in's path, for the table tests of matching.
func hook(p *partner, path, rest string) string {
	if rest != "" {
		rest = "," + rest
	}
	return fmt.Sprintf(`{"integration":"webhook","settings":{"url":%q}%s}`, p.url(path), rest)
}

// publish publishes a routed event and returns its id and how many deliveries it has.
func (s *server) publish(body string, headers ...header) (id string, deliveries string) {
	s.t.Helper()
	o := s.call("POST", "/events", body, headers...).want(201).json()
	return o.str("id"), o.str("deliveries")
}

// newKey makes an API key and returns its token.
func (s *server) newKey(scope string, permissions ...string) string {
	s.t.Helper()
	p, err := json.Marshal(permissions)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.call("POST", "/v1/keys", fmt.Sprintf(`{"scope":%q,"permissions":%s}`, scope, p)).want(201).json().str("token")
}

// until asks for a resource again and again until it is as the test wants it.
func (s *server) until(path, what string, is func(object) bool) object {
	s.t.Helper()
	var o object
	eventually(s.t, func() bool {
		o = s.call("GET", path, "").want(200).json()
		return is(o)
	}, func() string { return fmt.Sprintf("%s does not become %s: %v", path, what, o) })
	return o
}

// eventually polls. Where a signal can be waited for, tests do that.
func eventually(t *testing.T, done func() bool, otherwise func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatal(otherwise())
		}
		<-tick.C
	}
}

// delivered waits until every delivery of an event has ended and returns the event.
func (s *server) delivered(id string) object {
	s.t.Helper()
	return s.until("/v1/events/"+id, "delivered", func(o object) bool {
		for _, d := range o.objects("deliveries") {
			if st := d.str("state"); st == "pending" || st == "held" {
				return false
			}
		}
		return true
	})
}

// request is what a stand-in was sent.
type request struct {
	method, path, query string
	header              http.Header
	body                []byte
}

// partner is a stand-in for a partner: it hands what it is sent to the test, and answers as the test says.
type partner struct {
	*httptest.Server
	t    *testing.T
	sent chan request

	mu     sync.Mutex
	answer map[string]http.HandlerFunc
}

func newPartner(t *testing.T) *partner {
	p := &partner{t: t, sent: make(chan request, 4096), answer: map[string]http.HandlerFunc{}}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *partner) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller has gone
	}
	p.mu.Lock()
	answer := p.answer[r.URL.Path]
	p.mu.Unlock()
	p.sent <- request{r.Method, r.URL.Path, r.URL.RawQuery, r.Header, body}
	if answer == nil {
		fmt.Fprint(w, "ok") // what Slack says
		return
	}
	answer(w, r)
}

func (p *partner) url(path string) string { return p.URL + path }

// on says how a path answers from now on.
func (p *partner) on(path string, answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer[path] = answer
}

// status answers with a status and a body.
func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// next returns the next request.
func (p *partner) next(t *testing.T) request {
	t.Helper()
	select {
	case r := <-p.sent:
		return r
	case <-time.After(patience):
		t.Fatal("nothing came to the partner")
		return request{}
	}
}

// none checks that nothing has come. What could come late must have been waited for otherwise.
func (p *partner) none(t *testing.T) {
	t.Helper()
	select {
	case r := <-p.sent:
		t.Errorf("%s %s came to the partner, and nothing should: %s", r.method, r.path, r.body)
	default:
	}
}

// example returns a type's example from the open catalog.
func (s *server) example(key string) string {
	s.t.Helper()
	var types []struct {
		Key     string
		Example json.RawMessage
	}
	a := s.call("GET", "/events", "").want(200)
	if err := json.Unmarshal(a.body, &types); err != nil {
		s.t.Fatal(err)
	}
	for _, e := range types {
		if e.Key == key {
			return string(e.Example)
		}
	}
	s.t.Fatalf("the catalog has no %s", key)
	return ""
}
