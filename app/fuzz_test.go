package app_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/config"
)

// FuzzAPI throws anything at the whole installation: it never fails inside, and every error has the form of errors.
func FuzzAPI(f *testing.F) {
	a, err := app.New(app.Options{Integrations: all.Integrations(), Config: config.Config{Dev: true, Data: f.TempDir(), Listen: "127.0.0.1:0"}})
	if err != nil {
		f.Fatal(err)
	}
	if err := a.Start(f.Context()); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			f.Error(err)
		}
	})
	link := `{"integration":"webhook","scope":"a","events":["*"],"filter":"payload.n > 1","body":"{'a': payload}","slot":"s","settings":{"url":"http://127.0.0.1:1/${payload.n}","headers":{"X-A":"b"},"basic":{"username":"u"}},"retry":{"schedule":["1s",2],"max_age":"1h"},"rate":1.5,"concurrency":3}`
	kind := `{"title":"x","aliases":["y"],"schema":{"type":"object","properties":{"n":{"type":["integer","null"],"maximum":1e3}}},"example":{"n":1},"scope_from":"a/{{.payload.n}}","message":{"title":"{{.payload.n}}","fields":[{"title":"t","value":"{{.item}}","each":"payload.l"}],"overrides":{"slack":{"skip":true}}}}`
	event := `{"event":"thing","payload":{"n":12345678901234567890,"s":"\u00e9"},"scope":"a","also":["a/b"],"id":"k","occurred_at":"2026-01-01T00:00:00Z","actor":{"name":"x"}}`
	for _, r := range append([]route{
		{method: "PUT", path: "/v1/event-types/thing", body: kind}, {method: "POST", path: "/v1/links", body: link},
		{method: "POST", path: "/events", body: event}, {method: "POST", path: "/v1/events?dry_run=true", body: event},
		{method: "POST", path: "/events", body: inline("run_error", entry("slack", `[{"key":"url","value":"http://127.0.0.1:1/"}]`))},
		{method: "GET", path: "/v1/deliveries?state=pending,failed&scope=a&since=2026-01-01T00:00:00Z&limit=5&cursor=ZAAAAAAAAAAB"},
		{method: "GET", path: "/v1/links?effective=true&scope=a/b&integration=webhook"},
		{method: "GET", path: "/v1/events?type=th*&until=2027-01-01T00:00:00%2B01:00"},
	}, routes...) {
		f.Add(r.method, r.path, r.body)
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") || u.Path == "/v1/stream" {
			t.Skip() // no server is asked so, and a stream does not end
		}
		if method == "" || strings.ContainsFunc(method, func(r rune) bool { return r < 'A' || r > 'Z' }) {
			t.Skip()
		}
		req := &http.Request{Method: method, URL: u, RequestURI: target, Host: "localhost", Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody}
		if body != "" {
			req = httptest.NewRequest(method, "http://localhost/", strings.NewReader(body))
			req.URL, req.RequestURI = u, target
			req.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, req.WithContext(t.Context()))
		if w.Code >= 500 {
			t.Fatalf("%s %s was answered %d: %s", method, target, w.Code, w.Body)
		}
		if w.Code < 400 || method == http.MethodHead {
			return
		}
		var e struct {
			Error   string
			Type    patchbay.Code
			Details []patchbay.Detail
		}
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error == "" || e.Type == "" || e.Type == patchbay.CodeInternal {
			t.Errorf("%s %s was answered %d: %s", method, target, w.Code, w.Body)
		}
	})
}
