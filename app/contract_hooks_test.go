package app_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/integration/signature"
	"github.com/patchbay/patchbay/internal/config"
)

const publicURL = "https://hooks.example.test"

func public(c *config.Config) { c.PublicURL = publicURL }

// receive makes a link that receives, and returns its id, the path of its address and its hook secret.
func (s *server) receive(body string) (id, path, secret string) {
	s.t.Helper()
	o := s.call("POST", "/v1/links", body).want(201).json()
	u, err := url.Parse(o.str("hook_url"))
	if err != nil || !strings.HasPrefix(o.str("hook_url"), publicURL+"/integrations/") {
		s.t.Fatalf("the link's address is %q", o.str("hook_url"))
	}
	return o.str("id"), u.Path, o.str("secrets", "hook_secret")
}

// signedCall makes a partner's call.
func (s *server) signedCall(scheme signature.Scheme, path, body, secret string, headers ...header) *answer {
	s.t.Helper()
	h := http.Header{}
	for _, x := range headers {
		h.Set(x.name, x.value)
	}
	if err := scheme.Sign(h, "", "POST", []byte(body), patchbay.Secret(secret), time.Now()); err != nil {
		s.t.Fatal(err)
	}
	for name := range h {
		headers = append(headers, header{name, h.Get(name)})
	}
	return s.as(s.t, "").call("POST", path, body, headers...)
}

// hook waits until the newest hook of a link has been read.
func (s *server) hookOf(link string, n int) object {
	s.t.Helper()
	var newest object
	s.until("/v1/hooks?link="+link, "read", func(o object) bool {
		all := o.objects("data")
		if len(all) != n || all[0].str("state") == "pending" {
			return false
		}
		newest = all[0]
		return true
	})
	return newest
}

// A service's webhook comes in, becomes an event and an entry, and goes out again; what went out and came back counts its
// hops, and the third time around is the last.
func TestAWebhookComesInAndGoesOut(t *testing.T) {
	s := serve(t, public)
	p := newPartner(t)
	link, path, secret := s.receive(`{"integration":"incoming","scope":"acme/teams/1","events":[],"settings":{"scheme":"github","id":"body.?id",
		"actor":"{'id':'7','name':'Ann'}","entry":"body.?done"}}`)
	if secret == "" {
		t.Fatal("the link's secret is not shown in the answer that made it")
	}
	s.link(fmt.Sprintf(`{"integration":"webhook","scope":"acme","events":["incoming.received","entry.created"],"settings":{"url":%q}}`, p.url("/out")))
	github, _ := signature.Named("github")
	body := `{"id":"a","done":"Shipped it", "exact":1.50}`
	a := s.signedCall(github, path, body, secret).want(200)
	if got := a.json().str("status"); got != "ok" {
		t.Errorf("answered %s", a.body)
	}
	seen := map[string]object{}
	for range 2 {
		r := p.next(t)
		if r.header.Get("Patchbay-Hops") != "1" {
			t.Errorf("hops %q", r.header.Get("Patchbay-Hops"))
		}
		seen[decode(t, r.body).str("event")] = decode(t, r.body)
	}
	if got := seen["incoming.received"]; got.str("payload", "exact") != "1.50" || got.str("scope") != "acme/teams/1" || got.str("actor", "name") != "Ann" {
		t.Errorf("%v", got)
	}
	if got := seen["entry.created"]; got.str("payload", "text") != "Shipped it" || got.str("payload", "source") != "incoming" || got.str("payload", "author", "external_id") != "7" {
		t.Errorf("%v", got)
	}
	h := s.hookOf(link, 1)
	if h.str("state") != "done" || len(h.at("events").([]any)) != 2 {
		t.Errorf("%v", h)
	}

	s.signedCall(github, path, body, secret).want(200)
	s.signedCall(github, path, `{"id":"b","round":2}`, secret, header{"patchbay-hops", "1"}).want(200)
	if r := p.next(t); r.header.Get("patchbay-hops") != "2" {
		t.Errorf("the second time around: %q %s", r.header.Get("patchbay-hops"), r.body)
	}
	s.signedCall(github, path, `{"id":"c","round":3}`, secret, header{"patchbay-hops", "2"}).want(200)
	if h := s.hookOf(link, 3); h.str("state") != "done" {
		t.Errorf("the third time around is kept: %v", h)
	}
	s.signedCall(github, path, `{"id":"d","round":4}`, secret, header{"patchbay-hops", "3"}).want(200)
	if h := s.hookOf(link, 4); h.str("state") != "ignored" {
		t.Errorf("the fourth: %v", h)
	}
	p.none(t)

	// A new secret signs, and the old one still does.
	again := s.call("POST", "/v1/links/"+link+"/secret/rotate", "").want(200).json().str("secrets", "hook_secret")
	if again == "" || again == secret {
		t.Fatalf("the secret was rotated to %q", again)
	}
	s.signedCall(github, path, `{"id":"e"}`, again).want(200)
	s.signedCall(github, path, `{"id":"f"}`, secret).want(200)
	s.signedCall(github, path, `{"id":"g"}`, "neither").refused(401, "unauthorized")
}

// What cannot become an event is kept with the reason, shown to whom it concerns, and replayed when it can.
func TestHooksAreShownAndReplayed(t *testing.T) {
	s := serve(t, public)
	link, path, _ := s.receive(`{"integration":"incoming","scope":"acme/teams/1","events":[],"settings":{"type":"shop.order"}}`)
	nobody := s.as(t, "")
	nobody.call("POST", path+"?team=1&token=hidden", `{"order":7}`, header{"X-Secret-Thing", "hidden"}, header{"X-Shop", "web"}).want(200)
	h := s.hookOf(link, 1)
	if h.str("state") != "failed" || !strings.Contains(h.str("reason"), "shop.order") || h.str("scope") != "acme/teams/1" {
		t.Fatalf("%v", h)
	}
	id := h.str("id")
	whole := s.call("GET", "/v1/hooks/"+id, "").want(200)
	if strings.Contains(string(whole.body), "hidden") {
		t.Errorf("credentials are shown: %s", whole.body)
	}
	if o := whole.json(); o.str("body") != `{"order":7}` || o.str("headers", "X-Shop", 0) != "web" || o.str("query") != "team=1" {
		t.Errorf("%s", whole.body)
	}
	reader, other := s.as(t, s.newKey("acme", "read")), s.as(t, s.newKey("globex", "manage"))
	reader.call("GET", "/v1/hooks/"+id, "").want(200)
	reader.call("POST", "/v1/hooks/"+id+"/replay", "").refused(403, "forbidden")
	other.call("GET", "/v1/hooks/"+id, "").refused(404, "not_found")
	other.call("POST", "/v1/hooks/"+id+"/replay", "").refused(404, "not_found")
	if n := len(other.call("GET", "/v1/hooks", "").want(200).json().objects("data")); n != 0 {
		t.Errorf("another tenant lists %d hooks", n)
	}
	reader.call("GET", "/v1/hooks?scope=globex", "").refused(403, "forbidden")
	s.call("GET", "/v1/hooks?state=lost", "").refused(400, "invalid_request")
	s.call("GET", "/v1/hooks/hok_0000000000000", "").refused(404, "not_found")

	if o := s.call("POST", "/v1/hooks/"+id+"/replay", "").want(200).json(); o.str("state") != "failed" {
		t.Errorf("nothing was put right, and it is %v", o)
	}
	s.call("PUT", "/v1/event-types/shop.order", `{"title":"Order","schema":{"type":"object","required":["order"]},"example":{"order":1}}`).want(201)
	o := s.call("POST", "/v1/hooks/"+id+"/replay", "").want(200).json()
	if o.str("state") != "done" || o.str("reason") != "" {
		t.Fatalf("%v", o)
	}
	e := s.call("GET", "/v1/events/"+o.str("events", 0), "").want(200).json()
	if e.str("type") != "shop.order" || e.str("source", "kind") != "hook" || e.str("source", "link") != link || e.str("hops") != "1" {
		t.Errorf("%v", e)
	}
	if again := s.call("POST", "/v1/hooks/"+id+"/replay", "").want(200).json(); again.str("events", 0) != o.str("events", 0) || len(again.at("events").([]any)) != 1 {
		t.Errorf("it became another event: %v", again)
	}
	nobody.call("POST", path, `{"price":7}`).want(200)
	if h := s.hookOf(link, 2); h.str("state") != "failed" || !strings.Contains(h.str("reason"), "payload.order") {
		t.Errorf("what the schema refuses: %v", h)
	}
	metrics := string(s.call("GET", "/metrics", "").want(200).body)
	for _, want := range []string{
		`patchbay_hooks_received_total{integration="incoming",outcome="stored"} 2`, `patchbay_hooks_read_total{integration="incoming",state="failed"}`,
		"patchbay_hook_seconds_count", "patchbay_hooks_pending",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// The token in a link's address is a secret: neither the log nor another method or key shows or proves anything of it.
func TestTokensStaySecret(t *testing.T) {
	var log safeBuffer
	o := app.Options{Config: config.Config{Data: t.TempDir(), PublicURL: publicURL}, Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	s := start(t, o)
	s.key, _ = s.app.AdminKey()
	_, path, secret := s.receive(`{"integration":"incoming","scope":"acme","events":[],"settings":{"scheme":"token"}}`)
	nobody := s.as(t, "")
	nobody.call("POST", path, `{}`, header{"X-Token", "wrong"}).refused(401, "unauthorized")
	nobody.call("POST", path, `{}`, header{"X-Token", secret}).want(200)
	nobody.call("GET", path, "").want(405)
	first := nobody.call("POST", path+"x", `{}`).refused(404, "not_found")
	for _, other := range []string{"/integrations/nothing/hook/x", "/integrations/email/hook", strings.Replace(path, "incoming", "slack", 1)} {
		if a := nobody.call("POST", other, `{}`).refused(404, "not_found"); string(a.body) != string(first.body) {
			t.Errorf("%s is answered %s", other, a.body)
		}
	}
	token := path[strings.LastIndexByte(path, '/')+1:]
	if shown := log.String(); strings.Contains(shown, token) || strings.Contains(shown, secret) {
		t.Error("the log shows the token or the secret")
	}
	if !strings.Contains(log.String(), "refused") {
		t.Error("the log does not tell of refused calls")
	}
}

// safeBuffer is a buffer that several goroutines write to.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// On a developer's machine partners come in over a tunnel, under the public name, with whatever they send.
func TestHooksInDevelopment(t *testing.T) {
	s := serve(t, dev, public)
	_, path, _ := s.receive(`{"integration":"incoming","scope":"acme","events":[],"settings":{}}`)
	form := header{"Content-Type", "application/x-www-form-urlencoded"}
	s.call("POST", path, "text=x", form, header{"Host", "hooks.example.test"}).want(200)
	s.call("POST", path, "text=y", form).want(200)
	s.call("POST", path, "text=z", form, header{"Host", "evil.example.test"}).refused(403, "forbidden")
	s.call("GET", "/v1/hooks", "", header{"Host", "hooks.example.test"}).refused(403, "forbidden")
}

// What was answered becomes events, each once, whenever the process ends.
func TestHooksSurviveRestarts(t *testing.T) {
	o := app.Options{Config: config.Config{Data: t.TempDir(), PublicURL: publicURL}}
	s := start(t, o)
	key, _ := s.app.AdminKey()
	s.key = key
	link, path, _ := s.receive(`{"integration":"incoming","scope":"acme","events":[],"settings":{"id":"body.id"}}`)
	const calls = 40
	for i := range calls {
		s.as(t, "").call("POST", path, fmt.Sprintf(`{"id":%d}`, i)).want(200)
		if i == calls/2 {
			s.stop()
			s = start(t, o)
			s.key = key
		}
	}
	s.stop()
	s = start(t, o)
	s.key = key
	events := map[string]bool{}
	s.until("/v1/hooks?limit=250&link="+link, "read", func(o object) bool {
		clear(events)
		all := o.objects("data")
		for _, h := range all {
			if h.str("state") == "done" {
				events[h.str("events", 0)] = true
			}
		}
		return len(all) == calls && len(events) == calls
	})
	if n := len(s.call("GET", "/v1/events?limit=250&type=incoming.received", "").want(200).json().objects("data")); n != calls {
		t.Errorf("%d calls became %d events", calls, n)
	}
}

// A quota holds back what partners bring, and nothing of it is lost.
func TestHooksAndQuotas(t *testing.T) {
	s := serve(t, public, func(c *config.Config) { c.Quota.Default = 2 })
	link, path, _ := s.receive(`{"integration":"incoming","scope":"acme","events":[],"settings":{"id":"body.id"}}`)
	const calls = 6
	for i := range calls {
		s.as(t, "").call("POST", path, fmt.Sprintf(`{"id":%d}`, i)).want(200)
	}
	waited := false
	s.until("/v1/hooks?link="+link, "read", func(o object) bool {
		done := 0
		for _, h := range o.objects("data") {
			if h.str("state") == "done" {
				done++
			}
			waited = waited || h.str("state") == "pending" && strings.Contains(h.str("reason"), "quota")
		}
		return done == calls
	})
	if !waited {
		t.Error("nothing said that it waits for the quota")
	}
	if n := len(s.call("GET", "/v1/events?type=incoming.received", "").want(200).json().objects("data")); n != calls {
		t.Errorf("%d calls became %d events", calls, n)
	}
}
