package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay/internal/config"
)

// TestFormats: the five bodies of a webhook.
func TestFormats(t *testing.T) {
	s, p := things(t), newPartner(t)
	event := `{` + made + `,"scope":"acme/x","occurred_at":"2026-01-02T03:04:05Z","actor":{"name":"Ann"},"payload":{"b":1.0,"event":"mine","a":{"x":[]}}}`
	for _, c := range []struct{ format, contentType, want string }{
		{"envelope", "application/json", `{"id":"ID","event":"thing.made","payload":{"b":1.0,"event":"mine","a":{"x":[]}},"scope":"acme/x","occurred_at":"2026-01-02T03:04:05Z","actor":{"name":"Ann"}}`},
		{"flat", "application/json", `{"event":"thing.made","b":1.0,"a":{"x":[]}}`},
		{"standard", "application/json", `{"type":"thing.made","timestamp":"2026-01-02T03:04:05Z","data":{"b":1.0,"event":"mine","a":{"x":[]}}}`},
		{"payload", "application/json", `{"b":1.0,"event":"mine","a":{"x":[]}}`},
		{"cloudevents", "application/cloudevents+json", `{"specversion":"1.0","id":"ID","source":"urn:patchbay","type":"thing.made","subject":"acme/x","time":"2026-01-02T03:04:05Z","datacontenttype":"application/json","data":{"b":1.0,"event":"mine","a":{"x":[]}}}`},
	} {
		t.Run(c.format, func(t *testing.T) {
			s := s.in(t)
			id := s.link(fmt.Sprintf(`{"integration":"webhook","events":["*"],"settings":{"url":%q,"format":%q}}`, p.url("/x"), c.format))
			evt, _ := s.publish(event)
			r := p.next(t)
			if diff := cmp.Diff(strings.Replace(c.want, "ID", evt, 1), string(r.body)); diff != "" {
				t.Error(diff)
			}
			if got := r.header.Get("Content-Type"); got != c.contentType {
				t.Errorf("the Content-Type is %q", got)
			}
			s.call("DELETE", "/v1/links/"+id, "").want(204)
		})
	}
}

// TestAddresses: methods, placeholders in path and query, headers and credentials.
func TestAddresses(t *testing.T) {
	s, p := things(t), newPartner(t)
	payload := `{"name":"a/b c","dots":"..","n":12345678901234567890,"t":true,"deep":{"x":"ü?&#%"},"obj":{},"nil":null}`
	for _, c := range []struct{ says, settings, method, target, header, value string }{
		{"POST is the default", `"url":"%s/x"`, "POST", "/x", "Content-Type", "application/json"},
		{"PUT", `"url":"%s/x","method":"PUT"`, "PUT", "/x", "", ""},
		{"PATCH", `"url":"%s/x","method":"PATCH"`, "PATCH", "/x", "", ""},
		{"a placeholder is percent-encoded whole, slashes too", `"url":"%s/r/${payload.name}/hook"`, "POST", "/r/a%2Fb%20c/hook", "", ""},
		{"and dots", `"url":"%s/r/${payload.dots}/x"`, "POST", "/r/%2E%2E/x", "", ""},
		{"numbers as they are spelled", `"url":"%s/${payload.n}/${payload.t}"`, "POST", "/12345678901234567890/true", "", ""},
		{"in the query", `"url":"%s/x?a=${payload.deep.x}&s=${scope}&t=${type}&tenant=${tenant}"`, "POST", "/x?a=%C3%BC%3F%26%23%25&s=acme%2Frepo&t=thing%2Emade&tenant=acme", "", ""},
		{"a bearer token", `"url":"%s/x","bearer":"token-123"`, "POST", "/x", "Authorization", "Bearer token-123"},
		{"a name and a password", `"url":"%s/x","basic":{"username":"ann","password":"pw"}`, "POST", "/x", "Authorization", "Basic YW5uOnB3"},
		{"headers of one's own", `"url":"%s/x","headers":{"X-Api-Key":"k-123"}`, "POST", "/x", "X-Api-Key", "k-123"},
		{"an Authorization header of one's own", `"url":"%s/x","headers":{"Authorization":"Token abc"}`, "POST", "/x", "Authorization", "Token abc"},
	} {
		t.Run(c.says, func(t *testing.T) {
			s := s.in(t)
			raw := make(chan string, 1)
			catch := func(_ http.ResponseWriter, r *http.Request) { raw <- r.RequestURI }
			for _, path := range []string{"/x", "/r/a/b c/hook", "/r/../x", "/12345678901234567890/true"} {
				p.on(path, catch)
			}
			id := s.link(`{"integration":"webhook","events":["*"],"settings":{` + strings.Replace(c.settings, "%s", p.URL, 1) + `}}`)
			s.publish(`{` + made + `,"scope":"acme/repo","payload":` + payload + `}`)
			r := p.next(t)
			if r.method != c.method {
				t.Errorf("the method is %s", r.method)
			}
			select {
			case got := <-raw:
				if got != c.target {
					t.Errorf("the target is %s, want %s", got, c.target)
				}
			case <-time.After(patience):
				t.Errorf("%s was not expected", r.path)
			}
			if c.header != "" && r.header.Get(c.header) != c.value {
				t.Errorf("%s is %q", c.header, r.header.Get(c.header))
			}
			s.call("DELETE", "/v1/links/"+id, "").want(204)
		})
	}
	for says, url := range map[string]string{"a value that is absent": "${payload.missing}", "a value that is an object": "${payload.obj}", "a value that is null": "${payload.nil}"} {
		t.Run(says+" fails the delivery", func(t *testing.T) {
			s := s.in(t)
			link := s.link(hook(p, "/x/"+url, `"events":["*"]`))
			id, _ := s.publish(`{` + made + `,"payload":` + payload + `}`)
			d := s.becomes(id, "failed", 1)
			if d.str("attempts", 0, "verdict") != "rejected" || d.str("attempts", 0, "error_type") != "misconfigured_integration" {
				t.Errorf("the delivery is %v", d)
			}
			s.call("DELETE", "/v1/links/"+link, "").want(204)
		})
	}
}

// TestOwnBodies: a link may replace the body by its own CEL expression.
func TestOwnBodies(t *testing.T) {
	s, p := things(t), newPartner(t)
	event := `{` + made + `,"scope":"acme","actor":{"name":"Ann"},"payload":{"n":1.50,"big":12345678901234567890123,"list":[3,1],"text":"a<b"}}`
	for _, c := range []struct{ body, want string }{
		{`payload`, `{"n":1.50,"big":12345678901234567890123,"list":[3,1],"text":"a<b"}`},
		{`{'what': type, 'where': scope, 'who': actor.name, 'list': payload.list}`, `{"list":[3,1],"what":"thing.made","where":"acme","who":"Ann"}`},
		{`[payload.text, payload.list[0] + 1]`, `["a<b",4]`},
		{`'text ' + payload.text`, `"text a<b"`},
		{`null`, `null`},
	} {
		t.Run(c.body, func(t *testing.T) {
			s := s.in(t)
			id := s.link(hook(p, "/x", fmt.Sprintf(`"events":["*"],"body":%q`, c.body)))
			if got := s.call("GET", "/v1/links/"+id, "").json().str("body"); got != c.body {
				t.Errorf("the link's body is %q", got)
			}
			s.publish(event)
			if got := string(p.next(t).body); got != c.want {
				t.Errorf("the body is %s, want %s", got, c.want)
			}
			s.call("DELETE", "/v1/links/"+id, "").want(204)
		})
	}
	t.Run("one that cannot be evaluated fails the delivery", func(t *testing.T) {
		s := s.in(t)
		s.link(hook(p, "/x", `"events":["*"],"body":"payload.missing.deeper"`))
		id, _ := s.publish(event)
		if d := s.becomes(id, "failed", 1); d.str("attempts", 0, "verdict") != "rejected" || d.str("attempts", 0, "error") == "" {
			t.Errorf("the delivery is %v", d)
		}
		p.none(t)
	})
}

// TestRedirectsAreNeverFollowed, and one's own network is not reachable unless it is allowed.
func TestRedirectsAreNeverFollowed(t *testing.T) {
	s, p, elsewhere := serve(t), newPartner(t), newPartner(t)
	for _, code := range []int{301, 302, 303, 307, 308} {
		p.on(fmt.Sprint("/", code), func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.url("/x"), code) })
		s.link(hook(p, fmt.Sprint("/", code), `"events":["*"],"retry":{"schedule":[]}`))
	}
	id, _ := s.publish(testEvent)
	s.delivered(id)
	elsewhere.none(t)

	closed := serve(t, func(c *config.Config) { c.EgressAllow = nil })
	for _, url := range []string{p.URL, "http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost:1/", "http://169.254.169.254/", "http://10.0.0.1/", "http://[::ffff:127.0.0.1]:1/", "http://0.0.0.0:1/", "http://2130706433:1/", "http://127.1:1/"} {
		a := closed.call("POST", "/events", `{"event":"integration_test","integrations":[{"key":"webhook","settings":{"url":"`+url+`"}}]}`).want(400)
		if kind := a.json().str("type"); kind != "user_configuration_error" && kind != "service_error" && kind != "invalid_request" {
			t.Errorf("%s was answered %s", url, a.body)
		}
	}
	for range 5 {
		p.next(t)
	}
	p.none(t)
}

// TestLinkTests: POST /test sends integration_test once, and says what came of it.
func TestLinkTests(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/no", status(403, "no entry"))
	good := s.link(hook(p, "/x", `"events":["nothing"],"scope":"acme"`))
	bad := s.link(hook(p, "/no", `"events":["nothing"]`))
	if got := s.call("POST", "/v1/links/"+good+"/test", "").want(200).json(); got.str("status") != "sent" || got.str("response_code") != "200" {
		t.Errorf("the test was answered %v", got)
	}
	if o := decode(t, p.next(t).body); o.str("event") != "integration_test" || o.str("scope") != "acme" {
		t.Errorf("the partner got %v", o)
	}
	if got := s.call("POST", "/v1/links/"+bad+"/test", "").want(200).json(); got.str("status") != "failed" || got.str("type") != "user_configuration_error" || got.str("response_code") != "403" || !strings.Contains(got.str("response_body"), "no entry") || got.str("error") == "" {
		t.Errorf("the test was answered %v", got)
	}
	p.next(t)
	for _, state := range []string{"pause", "resume"} {
		s.call("POST", "/v1/links/"+good+"/"+state, "").want(200)
		s.call("POST", "/v1/links/"+good+"/test", "").want(200)
		p.next(t)
	}
	test := func(key, settings string) *answer {
		return s.call("POST", "/v1/integrations/"+key+"/test", `{"settings":`+settings+`}`)
	}
	if got := test("webhook", `{"url":"`+p.url("/y")+`"}`).want(200).json(); got.str("status") != "sent" {
		t.Errorf("the test was answered %v", got)
	}
	p.next(t)
	test("slack", `{}`).refused(400, "misconfigured_integration")
	test("slack", `{"url":"`+p.URL+`","colour":1}`).refused(400, "invalid_request")
	test("pigeon", `{}`).refused(404, "not_found")
	s.call("POST", "/v1/integrations/slack/test", ``).refused(400, "invalid_request")
	if got := s.call("GET", "/v1/events", "").want(200).json().objects("data"); len(got) != 0 {
		t.Errorf("tests are kept as events: %v", got)
	}
	p.none(t)
}
