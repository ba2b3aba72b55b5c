package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/eventtypes"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/store"
)

func TestUnknownRoutes(t *testing.T) {
	f := newFixture(t)
	for _, target := range []string{"/", "/v2", "/events/", "/v1/links/", "/v1//links", "/v1/./links", "/v1/links/../keys", "/v1/links/x/y", "/index.html", "/%00"} {
		p := wantError(t, f.do(request("GET", target, "")), 404, patchbay.CodeNotFound)
		if !strings.HasPrefix(p.Message, "there is nothing at /") {
			t.Errorf("%s: %s", target, p.Message)
		}
	}
	for target, allow := range map[string]string{
		"DELETE /events": "GET, HEAD, OPTIONS, POST", "PUT /v1/links": "GET, HEAD, POST", "POST /healthz": "GET, HEAD", "OPTIONS /v1/links": "GET, HEAD, POST",
		"BREW /v1/keys/key_1": "DELETE, GET, HEAD",
	} {
		method, path, _ := strings.Cut(target, " ")
		w := f.do(request(method, path, ""))
		wantError(t, w, 405, patchbay.CodeInvalidRequest)
		if got := w.Header().Get("Allow"); got != allow {
			t.Errorf("%s: Allow is %q, want %q", target, got, allow)
		}
	}
}

// TestWhoMayCall proves for every described route what happens without credentials, with a key of no use, and with
// the permission that it needs.
func TestWhoMayCall(t *testing.T) {
	f := newFixture(t)
	publisher, reader := f.key("", access.Publish), f.key("", access.Read)
	open := map[string]bool{"GET /events": true, "GET /integrations": true, "GET /integrations/{key}": true, "GET /healthz": true, "GET /readyz": true}
	anyKey := map[string]bool{"GET /v1/event-types": true, "GET /v1/event-types/{key}": true, "GET /v1/integrations": true, "GET /v1/integrations/{key}": true,
		"GET /docs": true, "GET /openapi.json": true}
	for path, item := range specification(t)["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			method := strings.ToUpper(method)
			name := method + " " + path
			target := strings.NewReplacer("{key}", "nothing", "{id}", "nothing").Replace(path)
			if open[name] {
				if w := f.do(request(method, target, "")); w.Code == 401 || w.Code == 403 {
					t.Errorf("%s, which is open, answers %d", name, w.Code)
				}
				continue
			}
			w := f.do(request(method, target, ""))
			wantError(t, w, 401, patchbay.CodeUnauthorized)
			if w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s does not say how to authenticate", name)
			}
			wantError(t, f.call("pk_wrong", method, target, ""), 401, patchbay.CodeUnauthorized)
			if strings.HasSuffix(name, "POST /events") || strings.HasSuffix(name, "POST /v1/events") {
				continue // Ingest says whether it is publish or inline
			}
			if anyKey[name] {
				if w := f.call(publisher, method, target, ""); w.Code == 401 || w.Code == 403 {
					t.Errorf("%s answers %d to a key", name, w.Code)
				}
				continue
			}
			if name != "POST /v1/events/batch" { // which is for publishers
				wantError(t, f.call(publisher, method, target, ""), 403, patchbay.CodeForbidden)
			}
			if method != "GET" || strings.HasPrefix(path, "/v1/keys") {
				wantError(t, f.call(reader, method, target, ""), 403, patchbay.CodeForbidden)
			}
		}
	}
}

func TestOpenLists(t *testing.T) {
	f := newFixture(t)
	w := f.do(request("GET", "/events", ""))
	want := `{"key":"repo.push","title":"Push","description":"Somebody pushed to a repository.","payload":{"repo":["id","name"],"branch":[]},` +
		`"schema":` + string(exampleSchema) + `,"example":` + string(examplePayload) + `}` + "]\n"
	if w.Code != 200 || !strings.HasPrefix(w.Body.String(), `[{"key":"`) || !strings.HasSuffix(w.Body.String(), want) {
		t.Errorf("GET /events: %d\n%s\nwant at its end\n%s", w.Code, w.Body, want)
	}
	slack := `{"key":"slack","title":"Slack","category":"chat","description":"Messages in a channel.","events":"*","settings":[` +
		`{"key":"url","title":"Webhook URL","required":true,"type":"url","secret":true,"default":null,"help":"From Slack.","options":[]},` +
		`{"key":"channel","title":"Channel","required":false,"type":"string","secret":false,"default":null,"help":"","options":[]},` +
		`{"key":"style","title":"Style","required":false,"type":"select","secret":false,"default":"long","help":"","options":[{"value":"long","title":"Long"}]}],` +
		`"schema":{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"properties":{"channel":{"title":"Channel","type":"string"},` +
		`"style":{"default":"long","enum":["long"],"title":"Style","type":"string"},"url":{"description":"From Slack.","format":"uri","title":"Webhook URL","type":"string","writeOnly":true}},` +
		`"required":["url"],"type":"object"},"supports":[],"kinds":[]}`
	jira := `{"key":"jira","title":"Jira","category":"tracker","description":"","events":["run_*"],"settings":[],"schema":` +
		`{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"properties":{},"required":[],"type":"object"},"supports":[],"kinds":[]}`
	if w := f.do(request("GET", "/integrations", "")); w.Code != 200 || w.Body.String() != "["+slack+","+jira+"]\n" {
		t.Errorf("GET /integrations: %d\n%s", w.Code, w.Body)
	}
	if w := f.do(request("GET", "/integrations/slack", "")); w.Code != 200 || w.Body.String() != slack+"\n" {
		t.Errorf("GET /integrations/slack: %d\n%s", w.Code, w.Body)
	}
	wantError(t, f.do(request("GET", "/integrations/fax", "")), 404, patchbay.CodeNotFound)
}

func TestCORS(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.CORSOrigins = []string{"https://app.example.com"} })
	token := f.key("", access.Read)
	f.links.list = func(*access.Caller, links.ListFilter) ([]links.View, bool, error) { return nil, false, nil }
	for _, path := range []string{"/events", "/integrations", "/integrations/slack"} {
		for _, method := range []string{"GET", "OPTIONS"} {
			w := f.do(request(method, path, "", "Origin", "https://app.example.com"))
			if w.Code/100 != 2 || w.Header().Get("Access-Control-Allow-Origin") != "https://app.example.com" || w.Header().Get("Vary") != "Origin" {
				t.Errorf("%s %s from a configured origin: %d %v", method, path, w.Code, w.Header())
			}
			if got := w.Header().Get("Access-Control-Allow-Methods"); method == "OPTIONS" && got != "GET, OPTIONS" {
				t.Errorf("%s %s allows %q", method, path, got)
			}
			w = f.do(request(method, path, "", "Origin", "https://evil.example.com"))
			if w.Code/100 != 2 || w.Header().Get("Access-Control-Allow-Origin") != "" || w.Header().Get("Vary") != "Origin" {
				t.Errorf("%s %s from another origin: %d %v", method, path, w.Code, w.Header())
			}
		}
	}
	if w := f.call(token, "GET", "/v1/links", "", "Origin", "https://app.example.com"); w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another route is shared: %d %v", w.Code, w.Header())
	}
	all := newFixture(t, func(o *Options) { o.CORSOrigins = []string{"*"} })
	if got := all.do(request("GET", "/events", "", "Origin", "null")).Header().Get("Access-Control-Allow-Origin"); got != "null" {
		t.Errorf("everybody: %q", got)
	}
	for _, bad := range []string{"app.example.com", "https://app.example.com/x", "", "https://"} {
		o := Options{Ingest: &f.ingest, Links: &f.links, Deliveries: &f.deliveries, Catalog: f.catalog, EventTypes: eventtypes.New(f.catalog, f.types), Keys: f.keys,
			Access: access.NewAuthenticator(access.AuthenticatorOptions{}), Stream: &f.hub, CORSOrigins: []string{bad}}
		if _, err := New(o); err == nil {
			t.Errorf("the origin %q is accepted", bad)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("an API without services is made")
	}
}

func TestDevelopmentGuard(t *testing.T) {
	f := newFixture(t, development, func(o *Options) { o.CORSOrigins = []string{"https://app.example.com"} })
	f.ingest.accept = func(c *access.Caller, _ []byte, _ string) (*ingest.Answer, error) {
		return &ingest.Answer{Status: 201, Body: []byte(`{"by":"` + c.Name + `"}`)}, nil
	}
	f.links.act = func(string, *access.Caller, patchbay.LinkID) (*links.View, error) { return &exampleLink, nil }
	const asJSON = "application/json; charset=utf-8"
	pause := "/v1/links/" + exampleLinkID.String() + "/pause"
	for _, test := range []struct {
		says, method, target, host, contentType, body string
		headers                                       []string
		want                                          int
	}{
		{"curl", "POST", "/events", "localhost:8080", asJSON, eventBody, nil, 201},
		{"by address", "POST", "/events", "127.0.0.1:8080", asJSON, eventBody, nil, 201},
		{"by another loopback address", "POST", "/events", "127.9.9.9", asJSON, eventBody, nil, 201},
		{"by IPv6", "POST", "/events", "[::1]:8080", asJSON, eventBody, nil, 201},
		{"by a name below localhost", "POST", "/events", "patchbay.localhost:8080", asJSON, eventBody, nil, 201},
		{"a JSON dialect", "POST", "/events", "localhost", "application/cloudevents+json", eventBody, nil, 201},
		{"its own pages", "POST", "/events", "localhost:8080", asJSON, eventBody, []string{"Origin", "http://localhost:8080"}, 201},
		{"DNS rebinding", "GET", "/v1/links/x", "evil.example.com", "", "", nil, 403},
		{"a host that looks like one", "GET", "/healthz", "localhost.evil.example.com", "", "", nil, 403},
		{"an address that is not loopback", "GET", "/healthz", "10.0.0.1:8080", "", "", nil, 403},
		{"no host", "GET", "/healthz", "", "", "", nil, 403},
		{"a page of another origin", "POST", "/events", "localhost:8080", asJSON, eventBody, []string{"Origin", "https://evil.example.com"}, 403},
		{"a page of another port", "POST", "/events", "localhost:8080", asJSON, eventBody, []string{"Origin", "http://localhost:3000"}, 403},
		{"a sandboxed page", "POST", "/events", "localhost:8080", asJSON, eventBody, []string{"Origin", "null"}, 403},
		{"a page that reads", "GET", "/v1/links", "localhost:8080", "", "", []string{"Origin", "https://evil.example.com"}, 403},
		{"a configured origin reads a list", "GET", "/events", "localhost:8080", "", "", []string{"Origin", "https://app.example.com"}, 200},
		{"a configured origin asks", "OPTIONS", "/integrations/slack", "localhost:8080", "", "", []string{"Origin", "https://app.example.com"}, 204},
		{"a configured origin posts", "POST", "/events", "localhost:8080", asJSON, eventBody, []string{"Origin", "https://app.example.com"}, 403},
		{"a configured origin reads more", "GET", "/v1/links", "localhost:8080", "", "", []string{"Origin", "https://app.example.com"}, 403},
		{"another site without an Origin", "POST", pause, "localhost:8080", "", "", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a link on another site", "GET", "/healthz", "localhost:8080", "", "", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		{"a form", "POST", "/events", "localhost:8080", "application/x-www-form-urlencoded", eventBody, nil, 400},
		{"text", "POST", "/events", "localhost:8080", "text/plain", eventBody, nil, 400},
		{"no type", "PUT", "/v1/event-types/x", "localhost:8080", "", "{}", nil, 400},
		{"a broken type", "PATCH", "/v1/links/x", "localhost:8080", "application/json; =", "{}", nil, 400},
		{"an action without a body", "POST", pause, "localhost:8080", "", "", nil, 200},
	} {
		t.Run(test.says, func(t *testing.T) {
			r := request(test.method, test.target, test.body, test.headers...)
			r.Host = test.host
			if test.contentType != "" {
				r.Header.Set("Content-Type", test.contentType)
			}
			w := f.do(r)
			if w.Code != test.want {
				t.Fatalf("the answer is %d %s, want %d", w.Code, w.Body, test.want)
			}
			switch test.want {
			case 403:
				wantError(t, w, 403, patchbay.CodeForbidden)
			case 400:
				wantError(t, w, 400, patchbay.CodeInvalidRequest)
			case 201:
				if w.Body.String() != `{"by":"development"}` {
					t.Errorf("the caller is %s", w.Body)
				}
			}
		})
	}
	r := request("POST", "/events", eventBody, "Content-Type", "text/plain")
	r.Host, r.ContentLength = "localhost", -1
	wantError(t, f.do(r), 400, patchbay.CodeInvalidRequest)
}

func TestProductionIsNotGuarded(t *testing.T) {
	f := newFixture(t)
	f.ingest.accept = func(*access.Caller, []byte, string) (*ingest.Answer, error) {
		return &ingest.Answer{Status: 201, Body: []byte(`{}`)}, nil
	}
	f.links.create = func(*access.Caller, links.Input) (*links.View, error) { return &exampleLink, nil }
	token := f.key("", access.Publish, access.Manage)
	for target, body := range map[string]string{"/events": eventBody, "/v1/links": `{}`} { // as curl -d sends it
		r := request("POST", target, body, "Authorization", "Bearer "+token, "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html")
		r.Host = "patchbay.example.com"
		if w := f.do(r); w.Code != 201 || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestHealth(t *testing.T) {
	var ready error
	f := newFixture(t, func(o *Options) { o.Ready = func(contextT) error { return ready } })
	for _, path := range []string{"/healthz", "/readyz"} {
		if w := f.do(request("GET", path, "")); w.Code != 200 || w.Body.String() != `{"status":"ok"}`+"\n" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("writing /var/lib/patchbay: %w", store.ErrUnavailable), "not ready: " + store.ErrUnavailable.Error()},
		{patchbay.Errorf(patchbay.CodeUnavailable, "it is shutting down"), "not ready: it is shutting down"},
		{store.ErrClosed, "not ready: the store is closed"},
		{errors.New("hunter2"), "not ready: something is wrong; the log says what"},
	} {
		ready = test.err
		w := f.do(request("GET", "/readyz", ""))
		if p := wantError(t, w, 503, patchbay.CodeUnavailable); p.Message != test.want || w.Header().Get("Retry-After") == "" {
			t.Errorf("%v: %s %v", test.err, w.Body, w.Header())
		}
		f.do(request("GET", "/readyz", ""))
		if strings.Count(f.log.String(), test.err.Error()) != 1 {
			t.Errorf("the log should say %v once, but is %s", test.err, f.log.String())
		}
	}
	if w := f.do(request("GET", "/healthz", "")); w.Code != 200 {
		t.Errorf("the process is alive all the same: %d", w.Code)
	}
}

func TestMetricsAreForTheWholeInstallation(t *testing.T) {
	f := newFixture(t)
	wantError(t, f.call(f.key("acme", access.Read), "GET", "/metrics", ""), 403, patchbay.CodeForbidden)
	if w := f.call(f.key("", access.Read), "GET", "/metrics", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "patchbay_events_accepted_total 0") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	dev := newFixture(t, development)
	r := request("GET", "/metrics", "")
	r.Host = "localhost"
	if w := dev.do(r); w.Code != 200 {
		t.Errorf("in development: %d", w.Code)
	}
}

// TestEventTypes goes through the real service and catalog.
func TestEventTypes(t *testing.T) {
	f := newFixture(t)
	reader, admin := f.key("", access.Publish), f.key("", access.Admin)
	var keys []string
	for next := ""; ; {
		p := wantJSON[page[patchbay.EventType]](t, f.call(reader, "GET", "/v1/event-types?limit=3"+next, ""), 200)
		for _, e := range p.Data {
			keys = append(keys, e.Key)
		}
		if p.Next == nil {
			break
		}
		next = "&cursor=" + *p.Next
	}
	var want []string
	for _, e := range f.catalog.Types() {
		want = append(want, e.Key())
	}
	if diff := cmp.Diff(want, keys); diff != "" || len(want) < 5 {
		t.Errorf("the pages together: %s", diff)
	}
	body := `{"title":"Big","aliases":["huge"],"example":{"n":1e999},"schema":{"type":"object"},"message":{"title":"x","overrides":{"slack":{"skip":true}}}}`
	got := wantJSON[patchbay.EventType](t, f.call(admin, "PUT", "/v1/event-types/a.b", body), 201)
	if got.Key != "a.b" || string(got.Example) != `{"n":1e999}` || got.Origin != "api" || !got.Message.Overrides["slack"].Skip {
		t.Errorf("made %+v", got)
	}
	for _, name := range []string{"a.b", "huge"} {
		if diff := cmp.Diff(got, wantJSON[patchbay.EventType](t, f.call(reader, "GET", "/v1/event-types/"+name, ""), 200)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	wantError(t, f.call(reader, "GET", "/v1/event-types/none", ""), 404, patchbay.CodeNotFound)
	wantJSON[patchbay.EventType](t, f.call(admin, "PUT", "/v1/event-types/a.b", `{"key":"a.b","title":"Bigger","schema":null,"origin":"api"}`), 200)
	wantError(t, f.call(admin, "PUT", "/v1/event-types/x", `{"key":"y","title":"Y"}`), 400, patchbay.CodeInvalidRequest)
	wantError(t, f.call(admin, "PUT", "/v1/event-types/x%2Fy%20z", `{"title":"Y"}`), 400, patchbay.CodeInvalidRequest)
	wantError(t, f.call(admin, "PUT", "/v1/event-types/"+want[0], `{"title":"Y"}`), 409, patchbay.CodeConflict)
	wantError(t, f.call(f.key("acme", access.Admin), "PUT", "/v1/event-types/x", `{"title":"Y"}`), 403, patchbay.CodeForbidden)
	if w := f.call(admin, "DELETE", "/v1/event-types/a.b", ""); w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("DELETE: %d %q", w.Code, w.Body)
	}
	wantError(t, f.call(admin, "DELETE", "/v1/event-types/a.b", ""), 404, patchbay.CodeNotFound)
	wantError(t, f.call(admin, "DELETE", "/v1/event-types/"+want[0], ""), 409, patchbay.CodeConflict)
	if len(f.types) != 0 {
		t.Errorf("the store has %v", f.types)
	}
}

func TestBodiesAreStrict(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Admin)
	for _, test := range []struct{ says, body, path, message string }{
		{"nothing", ``, "", "request body is required"},
		{"not JSON", `{"title":`, "body", ""},
		{"not an object", `[]`, "body", "must be an object"},
		{"null", `null`, "body", "must be an object"},
		{"an unknown field", `{"title":"x","titel":"y"}`, "titel", "is not a field that is known here"},
		{"an unknown field deep inside", `{"title":"x","message":{"fields":[{"title":"a","value":"b","colour":"red"}]}}`, "message.fields[0].colour", "is not a field that is known here"},
		{"a missing field", `{}`, "title", "is required"},
		{"a missing field deep inside", `{"title":"x","message":{"fields":[{"title":"a"}]}}`, "message.fields[0].value", "is required"},
		{"a wrong type", `{"title":7}`, "title", "must be text"},
		{"a wrong element", `{"title":"x","aliases":["a",{}]}`, "aliases[1]", "must be text"},
		{"a duplicate key", `{"title":"x","title":"y"}`, "body", ""},
		{"invalid UTF-8", "{\"title\":\"\xff\"}", "body", ""},
		{"deep nesting", `{"title":"x","example":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, "body", ""},
		{"two documents", `{"title":"x"} {}`, "body", ""},
	} {
		t.Run(test.says, func(t *testing.T) {
			p := wantError(t, f.call(token, "PUT", "/v1/event-types/x", test.body), 400, patchbay.CodeInvalidRequest)
			if test.path == "" {
				if p.Message != test.message {
					t.Errorf("the sentence is %q, want %q", p.Message, test.message)
				}
				return
			}
			if len(p.Details) != 1 || p.Details[0].Path != test.path || test.message != "" && p.Details[0].Message != test.message || !strings.Contains(p.Message, test.path) {
				t.Errorf("the error is %+v, want %s: %s", p, test.path, test.message)
			}
		})
	}
	wantError(t, f.call(token, "PUT", "/v1/event-types/x", `{"title":"`+strings.Repeat("x", maxBody)+`"}`), 413, patchbay.CodePayloadTooLarge)
	if len(f.types) != 0 {
		t.Error("something was stored")
	}
	full := `{"title":"x"` + strings.Repeat(" ", maxBody-len(`{"title":"x"}`)) + `}`
	if w := f.call(token, "PUT", "/v1/event-types/x", full); w.Code != 201 {
		t.Errorf("a body of just the limit: %d", w.Code)
	}
	wantError(t, f.call(f.key("", access.Manage), "PUT", "/v1/event-types/x", `{`), 403, patchbay.CodeForbidden)
}

func TestIntegrations(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Manage)
	first := wantJSON[page[map[string]any]](t, f.call(token, "GET", "/v1/integrations?limit=1", ""), 200)
	if len(first.Data) != 1 || first.Data[0]["key"] != "slack" || first.Next == nil {
		t.Fatalf("the first page is %+v", first)
	}
	second := wantJSON[page[map[string]any]](t, f.call(token, "GET", "/v1/integrations?limit=1&cursor="+*first.Next, ""), 200)
	if len(second.Data) != 1 || second.Data[0]["key"] != "jira" || second.Next != nil {
		t.Errorf("the second page is %+v", second)
	}
	if got, want := f.call(token, "GET", "/v1/integrations/slack", "").Body.String(), f.do(request("GET", "/integrations/slack", "")).Body.String(); got != want {
		t.Errorf("the two forms differ:\n%s\n%s", got, want)
	}
	wantError(t, f.call(token, "GET", "/v1/integrations/fax", ""), 404, patchbay.CodeNotFound)

	f.links.testSettings = func(_ *access.Caller, key string, settings jsonT) (*links.TestResult, error) {
		if key != "slack" || string(settings) != `{"url": 1e999}` {
			t.Errorf("the test got %s %s", key, settings)
		}
		return &exampleTestResult, nil
	}
	got := wantJSON[links.TestResult](t, f.call(token, "POST", "/v1/integrations/slack/test", `{"settings":{"url": 1e999},"connection":null}`), 200)
	if diff := cmp.Diff(exampleTestResult, got); diff != "" {
		t.Error(diff)
	}
	wantError(t, f.call(token, "POST", "/v1/integrations/fax/test", `{}`), 404, patchbay.CodeNotFound)
	wantError(t, f.call(token, "POST", "/v1/integrations/slack/test", `{"connection":"con_1"}`), 400, patchbay.CodeInvalidRequest)
	_, err := New(Options{Ingest: &f.ingest, Links: &f.links, Deliveries: &f.deliveries, Catalog: f.catalog, EventTypes: eventtypes.New(f.catalog, f.types), Keys: f.keys,
		Access: access.NewAuthenticator(access.AuthenticatorOptions{}), Stream: &f.hub,
		Integrations: []integration.Integration{&plug{integration.Definition{Key: "x"}}, &plug{integration.Definition{Key: "x"}}}})
	if err == nil {
		t.Error("two integrations with one key are accepted")
	}
}

func TestDocs(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Publish)
	for _, path := range []string{"/docs", "/docs/rapidoc.js", "/openapi.json"} {
		w := f.do(request("GET", path, ""))
		wantError(t, w, 401, patchbay.CodeUnauthorized)
		if !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s does not make a browser ask: %v", path, w.Header())
		}
		r := request("GET", path, "")
		r.SetBasicAuth("anyone", token)
		if w := f.do(r); w.Code != 200 || w.Body.Len() == 0 {
			t.Errorf("%s with the key as password: %d", path, w.Code)
		}
	}
	w := f.call(token, "GET", "/docs", "")
	if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, "script-src 'self';") || !strings.Contains(got, "default-src 'none'") {
		t.Errorf("the policy is %q", got)
	}
	if !strings.Contains(w.Body.String(), `src="/docs/rapidoc.js"`) || strings.Contains(w.Body.String(), "//unpkg") {
		t.Errorf("the page is %s", w.Body)
	}
	dev := newFixture(t, development)
	for _, path := range []string{"/docs", "/openapi.json"} {
		r := request("GET", path, "")
		r.Host = "localhost"
		if w := dev.do(r); w.Code != 200 {
			t.Errorf("%s in development: %d", path, w.Code)
		}
	}
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	f := newFixture(t)
	for _, target := range []string{"/events", "/nothing", "/v1/links", "/healthz", "/docs"} {
		w := f.do(request("GET", target, ""))
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", target, w.Header())
		}
	}
	if w := f.do(request(http.MethodHead, "/healthz", "")); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
}
