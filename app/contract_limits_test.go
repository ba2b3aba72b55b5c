package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/internal/config"
)

// TestQuotas: a tenant's quota answers 429 before anything is stored, and costs the other tenants nothing.
func TestQuotas(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	o := app.Options{
		Config: config.Config{Data: t.TempDir(), Quota: config.Quota{Default: 2, Tenants: map[string]float64{"big": 100}}},
		Now:    func() time.Time { return time.Unix(0, now.Load()) },
	}
	s := start(t, o)
	s.key, _ = s.app.AdminKey()
	event := func(scope string) string { return fmt.Sprintf(`{"event":"integration_test","scope":%q}`, scope) }
	s.publish(event("acme"))
	s.publish(event("acme/x"))
	a := s.call("POST", "/events", event("acme/y")).refused(429, "rate_limited")
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
	s.publish(event("other"))
	for range 50 {
		s.publish(event("big"))
	}
	if got := s.call("GET", "/v1/events?scope=acme", "").want(200).json().objects("data"); len(got) != 2 {
		t.Errorf("%d events are stored", len(got))
	}
	now.Add(int64(time.Second))
	s.publish(event("acme"))
}

// TestUnavailable: while nothing can be stored every route that needs the store answers 503 with Retry-After.
func TestUnavailable(t *testing.T) {
	s := serve(t)
	id := s.link(`{"integration":"inbox","events":["*"]}`)
	handler := s.app.Handler()
	s.stop() // the handler outlives the database here, as it does for requests that a stop cuts short
	for _, r := range append([]route{{method: "POST", path: "/v1/links/" + id + "/pause"}, {method: "DELETE", path: "/v1/links/" + id}}, routes...) {
		switch {
		case r.open && r.path != "/readyz", r.needs == "" && !r.open, strings.HasPrefix(r.path, noLink), r.path == "/v1/links" && r.method == "GET", r.path == noAPIKey, r.path == "/v1/keys" && r.method == "GET",
			r.path == "/v1/connections", r.path == "/metrics", strings.HasSuffix(r.path, "/test"), strings.Contains(r.body, "integrations"):
			continue // these need no store, or no more than memory
		}
		req := httptest.NewRequestWithContext(t.Context(), r.method, r.path, strings.NewReader(r.body))
		req.Header.Set("Authorization", "Bearer "+s.key)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		a := &answer{t: t, what: r.method + " " + r.path, status: w.Code, header: w.Header(), body: w.Body.Bytes()}
		if a.status != http.StatusServiceUnavailable {
			t.Errorf("%s was answered %d: %s", a.what, a.status, a.body)
			continue
		}
		if n, err := strconv.Atoi(a.refused(503, "unavailable").header.Get("Retry-After")); err != nil || n < 1 {
			t.Errorf("%s: Retry-After is %q", a.what, a.header.Get("Retry-After"))
		}
	}
}

// TestRetryByHandDoesNotWaitForTheBreaker: it opens after ten failures, and whoever tries by hand has it probe at once.
func TestRetryByHandDoesNotWaitForTheBreaker(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/x", status(500, ""))
	link := s.link(hook(p, "/x", `"events":["*"],"retry":{"schedule":[]}`))
	failed, _ := s.publish(testEvent)
	for range 13 {
		s.publish(testEvent)
	}
	s.until("/v1/links/"+link, "a link whose breaker is open", func(o object) bool { return o.str("health", "breaker") == "open" })
	for range 10 {
		p.next(t)
	}
	p.on("/x", status(200, ""))
	began := time.Now()
	s.call("POST", "/v1/deliveries/"+s.delivery(failed).str("id")+"/retry", "").want(200)
	for range 5 { // it, and the four that waited
		p.next(t)
	}
	s.until("/v1/links/"+link, "a link that works", func(o object) bool { return o.str("health", "breaker") == "closed" })
	// The breaker's own probe comes after 4 s at the earliest, which a slow machine needs for all this anyway.
	if took := time.Since(began); took > 3*time.Second && !underRace {
		t.Errorf("it took %s", took)
	}
}

// TestAMendedLinkDoesNotWaitForTheBreaker: a change of its settings has the breaker probe at once.
func TestAMendedLinkDoesNotWaitForTheBreaker(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/typo", status(404, ""))
	link := s.link(hook(p, "/typo", `"events":["*"],"retry":{"schedule":[]}`))
	for range 14 {
		s.publish(testEvent)
	}
	s.until("/v1/links/"+link, "a link whose breaker is open", func(o object) bool { return o.str("health", "breaker") == "open" })
	for range 10 {
		p.next(t)
	}
	began := time.Now()
	s.call("PATCH", "/v1/links/"+link, `{"settings":{"url":"`+p.url("/right")+`"}}`).want(200)
	for range 4 {
		if r := p.next(t); r.path != "/right" {
			t.Errorf("%s was called", r.path)
		}
	}
	if took := time.Since(began); took > 3*time.Second && !underRace {
		t.Errorf("it took %s", took)
	}
}

// TestSystemEvents: a link that begins to fail, and one that works again, are told to links that ask for it.
func TestSystemEvents(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/x", status(500, ""))
	link := s.link(hook(p, "/x", `"events":["*","patchbay.*"],"scope":"acme/a","retry":{"schedule":["1ms","1ms","1ms","1ms","1h"]}`))
	s.link(hook(p, "/told", `"events":["patchbay.link.failing","patchbay.link.recovered"],"scope":"acme"`))
	s.link(hook(p, "/deaf", `"events":["*"]`))
	id, _ := s.publish(`{"event":"integration_test","scope":"acme/a"}`)
	told := func(want string) {
		t.Helper()
		for {
			r := p.next(t)
			if r.path == "/deaf" && decode(t, r.body).str("event") != "integration_test" {
				t.Errorf("* matches %s", r.body)
			}
			if r.path == "/x" && decode(t, r.body).str("event") != "integration_test" {
				t.Errorf("a link is told about itself: %s", r.body)
			}
			if r.path != "/told" {
				continue
			}
			if o := decode(t, r.body); o.str("event") != want || o.str("payload", "link", "id") != link {
				t.Errorf("what was told is %s", r.body)
			}
			return
		}
	}
	told("patchbay.link.failing")
	d := s.until("/v1/deliveries?event="+id+"&link="+link, "pending", func(o object) bool { return o.str("data", 0, "attempt_count") == "5" })
	p.on("/x", status(200, ""))
	// By hand one that waits for an hour is due now.
	s.call("POST", "/v1/deliveries/"+d.str("data", 0, "id")+"/retry", "").want(200)
	told("patchbay.link.recovered")
	s.until("/v1/deliveries/"+d.str("data", 0, "id"), "succeeded", func(o object) bool { return o.str("state") == "succeeded" })
	if got := s.call("GET", "/v1/links/"+link, "").want(200).json(); got.str("state") != "active" || got.str("health", "failures") != "0" {
		t.Errorf("the link is %v", got)
	}
}

// TestCells: an installation that serves some tenants refuses the events and links of others, and says whom it serves.
func TestCells(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.Serves = config.Tenants{"eu-*", "acme"} })
	event := func(scope string) string { return fmt.Sprintf(`{"event":"integration_test","scope":%q}`, scope) }
	link := func(scope string) string {
		return fmt.Sprintf(`{"integration":"inbox","scope":%q,"events":["*"],"settings":{}}`, scope)
	}
	for _, scope := range []string{"", "acme/repos/1", "eu-7"} {
		s.publish(event(scope))
		s.call("POST", "/v1/links", link(scope)).want(201)
	}
	a := s.call("POST", "/events", event("us-1/x")).refused(403, "forbidden")
	if text := a.json().str("error"); !strings.Contains(text, "eu-*, acme") {
		t.Errorf("the answer does not say who is served: %s", text)
	}
	s.call("POST", "/v1/links", link("us-1")).refused(403, "forbidden")
	batch := s.call("POST", "/v1/events/batch", "["+event("us-1")+","+event("eu-1")+"]").want(200).json().objects("data")
	if batch[0].str("type") != "forbidden" || batch[1].str("status") != "ok" {
		t.Errorf("a batch of both was answered %v", batch)
	}
}
