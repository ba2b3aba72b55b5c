package app_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/internal/config"
)

func signed(key, what string) header {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(what))
	return header{"X-Signature", hex.EncodeToString(mac.Sum(nil))}
}

var noKey = header{"Authorization", ""}

const testEvent = `{"event_type":"integration_test"}`

func TestSignatures(t *testing.T) {
	s, p := serve(t), newPartner(t)
	s.key = ""
	stamp := func(d time.Duration) string { return fmt.Sprint(time.Now().Add(d).Unix()) }
	at := func(ts string) header { return header{"X-Signature-Timestamp", ts} }
	inlineEvent := `{"event_type":"integration_test","integrations":[{"key":"webhook","settings":{"url":"` + p.url("/x") + `"}}]}`
	now, past, edge := stamp(0), stamp(-6*time.Minute), stamp(-4*time.Minute-50*time.Second)
	for _, c := range []struct {
		says, body string
		headers    []header
		status     int
	}{
		{"the hex HMAC-SHA256 of the raw body authenticates", testEvent, []header{signed(signingKey, testEvent)}, 201},
		{"an inline call too", inlineEvent, []header{signed(signingKey, inlineEvent)}, 201},
		{"with a timestamp <timestamp>.<body> is what is signed", testEvent, []header{signed(signingKey, now+"."+testEvent), at(now)}, 201},
		{"a timestamp may be nearly 5 minutes old", testEvent, []header{signed(signingKey, edge+"."+testEvent), at(edge)}, 201},
		{"a timestamp older than 5 minutes is refused", testEvent, []header{signed(signingKey, past+"."+testEvent), at(past)}, 401},
		{"a timestamp from the future is refused", testEvent, []header{signed(signingKey, stamp(6*time.Minute)+"."+testEvent), at(stamp(6 * time.Minute))}, 401},
		{"a timestamp that is not signed is refused", testEvent, []header{signed(signingKey, testEvent), at(now)}, 401},
		{"a timestamp that is signed and not sent is refused", testEvent, []header{signed(signingKey, now+"."+testEvent)}, 401},
		{"a timestamp that is none is refused", testEvent, []header{signed(signingKey, "x."+testEvent), at("x")}, 401},
		{"another key is refused", testEvent, []header{signed("another-signing-key", testEvent)}, 401},
		{"another body is refused", testEvent + " ", []header{signed(signingKey, testEvent)}, 401},
		{"a signature that is not hex is refused", testEvent, []header{{"X-Signature", strings.Repeat("x", 64)}}, 401},
		{"half a signature is refused", testEvent, []header{{"X-Signature", signed(signingKey, testEvent).value[:32]}}, 401},
		{"neither signature nor key: 401", testEvent, nil, 401},
		{"a wrong API key: 401", testEvent, []header{{"Authorization", "Bearer pk_nonsense"}}, 401},
		{"a wrong API key is not made up for by a signature", testEvent, []header{{"Authorization", "Bearer pk_nonsense"}, signed(signingKey, testEvent)}, 401},
		{"another scheme: 401", testEvent, []header{{"Authorization", "Basic YTpi"}}, 401},
	} {
		for _, path := range []string{"/events", "/v1/events"} {
			t.Run("POST "+path+": "+c.says, func(t *testing.T) {
				a := s.in(t).call("POST", path, c.body, c.headers...).want(c.status)
				if c.status != 401 {
					return
				}
				if a.refused(401, "unauthorized").json().str("status") != "unauthorized" {
					t.Errorf("the answer lacks status: %s", a.body)
				}
			})
		}
	}
	t.Run("a signature authenticates nothing else", func(t *testing.T) {
		s := s.in(t)
		for _, r := range routes {
			if r.open || r.path == "/events" || r.path == "/v1/events" && r.method == "POST" {
				continue
			}
			a := s.call(r.method, r.path, r.body, signed(signingKey, r.body)).refused(401, "unauthorized")
			if a.json().at("status") != nil {
				t.Errorf("%s %s: only the routes that publish say status: %s", r.method, r.path, a.body)
			}
		}
	})
	t.Run("without a signing key no signature is valid", func(t *testing.T) {
		s := serve(t, func(c *config.Config) { c.SigningKey = "" })
		s.key = ""
		for _, key := range []string{"", signingKey} {
			s.call("POST", "/events", testEvent, signed(key, testEvent)).refused(401, "unauthorized")
		}
	})
}

// TestShortSigningKeys: Rainforest's key is what it is.
func TestShortSigningKeys(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.SigningKey = "k" })
	s.key = ""
	s.call("POST", "/events", testEvent, signed("k", testEvent)).want(201)
}

// route is a route, and what its caller must be allowed to do.
type route struct {
	method, path, body string
	needs              string // "" is any key
	open               bool
}

const (
	noLink     = "/v1/links/lnk_0000000000001"
	noDelivery = "/v1/deliveries/dlv_0000000000001"
	noEvent    = "/v1/events/evt_0000000000001"
	noAPIKey   = "/v1/keys/key_0000000000001"
	noCon      = "/v1/connections/con_0000000000001"
	noPortal   = "/v1/portal-sessions/ses_0123456789abc"
)

var routes = []route{
	{"GET", "/events", "", "", true},
	{"GET", "/integrations", "", "", true},
	{"GET", "/integrations/slack", "", "", true},
	{"GET", "/healthz", "", "", true},
	{"GET", "/readyz", "", "", true},
	{"POST", "/events", testEvent, "publish", false},
	{"POST", "/events", `{"event_type":"integration_test","integrations":[]}`, "inline", false},
	{"POST", "/v1/events", testEvent, "publish", false},
	{"GET", "/v1/events", "", "read", false},
	{"GET", noEvent, "", "read", false},
	{"POST", noEvent + "/replay", "", "manage", false},
	{"GET", "/v1/event-types", "", "", false},
	{"GET", "/v1/event-types/integration_test", "", "", false},
	{"PUT", "/v1/event-types/some.type", `{"title":"Some type"}`, "admin", false},
	{"DELETE", "/v1/event-types/some.type", "", "admin", false},
	{"GET", "/v1/integrations", "", "", false},
	{"GET", "/v1/integrations/slack", "", "", false},
	{"POST", "/v1/integrations/inbox/test", `{"settings":{}}`, "manage", false},
	{"POST", "/v1/links", `{"integration":"inbox","events":["*"]}`, "manage", false},
	{"GET", "/v1/links", "", "read", false},
	{"GET", noLink, "", "read", false},
	{"PATCH", noLink, `{"name":"x"}`, "manage", false},
	{"DELETE", noLink, "", "manage", false},
	{"POST", noLink + "/test", "", "manage", false},
	{"POST", noLink + "/pause", "", "manage", false},
	{"POST", noLink + "/resume", "", "manage", false},
	{"POST", noLink + "/secret/rotate", "", "manage", false},
	{"GET", "/v1/deliveries", "", "read", false},
	{"GET", noDelivery, "", "read", false},
	{"POST", noDelivery + "/retry", "", "manage", false},
	{"POST", noDelivery + "/cancel", "", "manage", false},
	{"POST", "/v1/keys", `{"permissions":["read"]}`, "admin", false},
	{"GET", "/v1/keys", "", "admin", false},
	{"GET", noAPIKey, "", "admin", false},
	{"DELETE", noAPIKey, "", "admin", false},
	{"POST", "/v1/connections", `{"integration":"inbox"}`, "manage", false},
	{"GET", "/v1/connections", "", "read", false},
	{"GET", noCon, "", "read", false},
	{"PATCH", noCon, `{"name":"x"}`, "manage", false},
	{"DELETE", noCon, "", "manage", false},
	{"POST", noCon + "/check", "", "manage", false},
	{"POST", "/v1/portal-sessions", `{"scope":"acme"}`, "manage", false},
	{"GET", "/v1/portal-sessions", "", "manage", false},
	{"GET", noPortal, "", "manage", false},
	{"DELETE", noPortal, "", "manage", false},
	{"GET", "/v1/audit", "", "manage", false},
	{"GET", "/v1/secrets", "", "admin", false},
	{"POST", "/v1/secrets/rotate", "", "admin", false},
	{"GET", "/metrics", "", "read", false},
	{"GET", "/openapi.json", "", "", false},
	{"GET", "/docs", "", "", false},
}

// TestPermissions: what each permission opens, and that nothing but the lists, health and readiness is open.
func TestPermissions(t *testing.T) {
	s := serve(t)
	includes := map[string][]string{
		"publish": {"publish"}, "inline": {"inline"}, "read": {"read"}, "manage": {"manage", "read"},
		"admin": {"admin", "publish", "inline", "read", "manage"},
	}
	callers := map[string]*server{}
	for p := range includes {
		callers[p] = s.as(t, s.newKey("", p))
	}
	for _, r := range routes {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			anybody := s.as(t, "")
			if r.open {
				anybody.call(r.method, r.path, r.body).want(200)
				return
			}
			a := anybody.call(r.method, r.path, r.body).refused(401, "unauthorized")
			if a.header.Get("Www-Authenticate") == "" {
				t.Error("a 401 has no WWW-Authenticate")
			}
			for p, has := range includes {
				a := callers[p].in(t).call(r.method, r.path, r.body)
				if r.needs == "" || slices.Contains(has, r.needs) {
					if a.status == 401 || a.status == 403 || a.status >= 500 {
						t.Errorf("a key with %s was answered %d: %s", p, a.status, a.body)
					}
					continue
				}
				a.refused(403, "forbidden")
			}
		})
	}
	t.Run("HEAD asks for the same as GET", func(t *testing.T) {
		for _, r := range routes {
			if r.method == "GET" && !r.open {
				s.as(t, "").call("HEAD", r.path, "").want(401)
			}
		}
	})
}

// TestScopesOfKeys: every scope in a request must lie below the key's (403), look-ups outside answer 404.
func TestScopesOfKeys(t *testing.T) {
	s := things(t)
	inside := s.as(t, s.newKey("acme/a", "admin"))
	link := func(scope string) string {
		return s.link(fmt.Sprintf(`{"integration":"inbox","events":["*"],"scope":%q}`, scope))
	}
	event := func(scope string) string {
		return fmt.Sprintf(`{%s,"scope":%q,"payload":{}}`, made, scope)
	}
	own, foreign := link("acme/a/x"), link("acme/b")
	ownEvent, _ := s.publish(event("acme/a/x"))
	foreignEvent, _ := s.publish(event("acme/b"))
	delivery := func(id string) string { return s.delivered(id).objects("deliveries")[0].str("id") }
	ownDelivery, foreignDelivery := delivery(ownEvent), delivery(foreignEvent)

	forbidden := []route{
		{method: "POST", path: "/events", body: event("acme/b")},
		{method: "POST", path: "/events", body: event("acme")},
		{method: "POST", path: "/events", body: event("acme/ab")},
		{method: "POST", path: "/events", body: `{` + made + `,"payload":{}}`},
		{method: "POST", path: "/events", body: `{` + made + `,"payload":{},"scope":"acme/a","also":["acme/b"]}`},
		{method: "POST", path: "/events", body: `{` + made + `,"payload":{},"scope":"acme/b","integrations":[]}`},
		{method: "POST", path: "/v1/events?dry_run=true", body: event("acme/b")},
		{method: "GET", path: "/v1/events?scope=acme"},
		{method: "GET", path: "/v1/events?scope=acme/b"},
		{method: "POST", path: "/v1/links", body: `{"integration":"inbox","events":["*"],"scope":"acme"}`},
		{method: "POST", path: "/v1/links", body: `{"integration":"inbox","events":["*"],"scope":""}`},
		{method: "PATCH", path: "/v1/links/" + own, body: `{"scope":"acme/b"}`},
		{method: "GET", path: "/v1/links?scope=acme/b"},
		{method: "GET", path: "/v1/links?scope=acme&effective=true"},
		{method: "GET", path: "/v1/deliveries?scope=acme"},
		{method: "GET", path: "/v1/stream?scope=acme"},
		{method: "POST", path: "/v1/keys", body: `{"scope":"acme","permissions":["read"]}`},
		{method: "POST", path: "/v1/keys", body: `{"permissions":["read"]}`},
		{method: "PUT", path: "/v1/event-types/x", body: `{"title":"x"}`},
		{method: "DELETE", path: "/v1/event-types/thing.made"},
		{method: "GET", path: "/metrics"},
	}
	for _, r := range forbidden {
		t.Run("403: "+r.method+" "+r.path+" "+r.body, func(t *testing.T) {
			inside.in(t).call(r.method, r.path, r.body).refused(403, "forbidden")
		})
	}
	missing := []route{
		{method: "GET", path: "/v1/events/" + foreignEvent}, {method: "POST", path: "/v1/events/" + foreignEvent + "/replay"},
		{method: "GET", path: "/v1/links/" + foreign}, {method: "PATCH", path: "/v1/links/" + foreign, body: `{"name":"x"}`},
		{method: "DELETE", path: "/v1/links/" + foreign}, {method: "POST", path: "/v1/links/" + foreign + "/pause"},
		{method: "POST", path: "/v1/links/" + foreign + "/resume"}, {method: "POST", path: "/v1/links/" + foreign + "/test"},
		{method: "POST", path: "/v1/links/" + foreign + "/secret/rotate"},
		{method: "GET", path: "/v1/deliveries/" + foreignDelivery}, {method: "POST", path: "/v1/deliveries/" + foreignDelivery + "/retry"},
		{method: "POST", path: "/v1/deliveries/" + foreignDelivery + "/cancel"},
		{method: "GET", path: "/v1/keys/" + s.call("GET", "/v1/keys", "").json().str("data", 0, "id")},
	}
	for _, r := range missing {
		t.Run("404: "+r.method+" "+r.path, func(t *testing.T) {
			inside.in(t).call(r.method, r.path, r.body).refused(404, "not_found")
		})
	}
	t.Run("lists show what lies below the key's scope", func(t *testing.T) {
		inside := inside.in(t)
		for path, want := range map[string]string{"/v1/events": ownEvent, "/v1/links": own, "/v1/deliveries": ownDelivery} {
			got := inside.call("GET", path, "").want(200).json().objects("data")
			if len(got) != 1 || got[0].str("id") != want {
				t.Errorf("%s lists %v, want %s alone", path, got, want)
			}
		}
		if got := inside.call("GET", "/v1/keys", "").want(200).json().objects("data"); len(got) != 1 || got[0].str("scope") != "acme/a" {
			t.Errorf("/v1/keys lists %v", got)
		}
	})
	t.Run("at and below its scope a key may do everything", func(t *testing.T) {
		inside := inside.in(t)
		inside.publish(event("acme/a"))
		inside.publish(event("acme/a/x/y"))
		inside.call("GET", "/v1/events/"+ownEvent, "").want(200)
		inside.call("GET", "/v1/deliveries/"+ownDelivery, "").want(200)
		inside.call("PATCH", "/v1/links/"+own, `{"name":"mine"}`).want(200)
		id := inside.link(`{"integration":"inbox","events":["*"],"scope":"acme/a"}`)
		inside.call("DELETE", "/v1/links/"+id, "").want(204)
		inside.newKey("acme/a/x", "read")
	})
	t.Run("an event is seen from each of its scopes", func(t *testing.T) {
		id, _ := s.in(t).publish(`{` + made + `,"scope":"acme/b","also":["acme/a/y"],"payload":{}}`)
		inside := inside.in(t)
		if got := inside.call("GET", "/v1/events?scope=acme/a/y", "").want(200).json().objects("data"); len(got) != 1 || got[0].str("id") != id {
			t.Errorf("the list of acme/a/y has %v", got)
		}
		inside.call("GET", "/v1/events/"+id, "").want(200)
	})
}

// TestLinksAboveAKey: of a delivery over a link that a key does not see it sees what came of it, and no more.
func TestLinksAboveAKey(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/operator", status(500, "operator-answer"))
	s.link(hook(p, "/operator", `"events":["*"],"retry":{"schedule":["1h"]}`))
	tenant := s.as(t, s.newKey("acme", "admin"))
	items := tenant.watch(nil)
	id, _ := tenant.publish(`{"event":"integration_test","scope":"acme/x"}`)
	p.next(t)
	d := tenant.becomes(id, "pending", 1)
	path := "/v1/deliveries/" + d.str("id")
	for _, text := range []string{
		string(tenant.call("GET", "/v1/events/"+id, "").want(200).body), string(tenant.call("GET", path, "").want(200).body),
		string(tenant.call("POST", "/v1/events?dry_run=true", `{"event":"integration_test","scope":"acme/x"}`).want(200).body),
	} {
		if strings.Contains(text, "/operator") || strings.Contains(text, "operator-answer") || strings.Contains(text, p.URL) {
			t.Errorf("a tenant's key sees %s", text)
		}
	}
	if a := d.objects("attempts"); a[0].str("verdict") != "retry" || a[0].str("response_code") != "500" {
		t.Errorf("a tenant's key sees of the attempt %v", a)
	}
	for _, verb := range []string{"/retry", "/cancel"} {
		tenant.call("POST", path+verb, "").refused(403, "forbidden")
	}
	s.call("POST", path+"/cancel", "").want(200)
	p.on("/tenant", status(200, "tenant-answer"))
	tenant.link(hook(p, "/tenant", `"events":["*"],"scope":"acme"`))
	id, _ = tenant.publish(`{"event":"integration_test","scope":"acme/x"}`)
	for {
		i := nextItem(t, items)
		if strings.Contains(i.data, "operator-answer") {
			t.Errorf("a tenant's key is streamed %s", i.data)
		}
		if i.kind == "attempt" && strings.Contains(i.data, "tenant-answer") {
			break // and its own
		}
	}
	tenant.until("/v1/events/"+id, "an event that shows its own link's attempts", func(o object) bool {
		return slices.ContainsFunc(o.objects("deliveries"), func(d object) bool { return d.str("attempts", 0, "request", "url") == p.url("/tenant") })
	})
}

func TestKeys(t *testing.T) {
	s := serve(t)
	t.Run("a key's token is shown once, in the answer that made it", func(t *testing.T) {
		s := s.in(t)
		a := s.call("POST", "/v1/keys", `{"name":"CI","scope":"acme","permissions":["read","publish"]}`).want(201)
		got := a.json()
		id, token := got.str("id"), got.str("token")
		if !strings.HasPrefix(id, "key_") || len(token) < 32 || got.str("scope") != "acme" || got.str("name") != "CI" {
			t.Errorf("the answer is %v", got)
		}
		for _, path := range []string{"/v1/keys", "/v1/keys/" + id} {
			if body := string(s.call("GET", path, "").want(200).body); strings.Contains(body, token) || !strings.Contains(body, id) {
				t.Errorf("GET %s: %s", path, body)
			}
		}
	})
	t.Run("DELETE answers 204, and the key is no key from then on", func(t *testing.T) {
		s := s.in(t)
		got := s.call("POST", "/v1/keys", `{"permissions":["read"]}`).want(201).json()
		other := s.as(t, got.str("token"))
		other.call("GET", "/v1/links", "").want(200)
		if a := s.call("DELETE", "/v1/keys/"+got.str("id"), "").want(204); len(a.body) != 0 {
			t.Errorf("a 204 has a body: %q", a.body)
		}
		other.call("GET", "/v1/links", "").refused(401, "unauthorized")
		s.call("DELETE", "/v1/keys/"+got.str("id"), "").refused(404, "not_found")
	})
	t.Run("a key that has expired is no key", func(t *testing.T) {
		s := s.in(t)
		s.call("POST", "/v1/keys", `{"permissions":["read"],"expires_at":"2020-01-01T00:00:00Z"}`).refused(400, "invalid_request")
		s.call("POST", "/v1/keys", `{"permissions":["read"],"expires_at":"2999-01-01T00:00:00+02:00"}`).want(201)
	})
	for says, body := range map[string]string{
		"no permissions": `{}`, "an empty list": `{"permissions":[]}`, "an unknown permission": `{"permissions":["root"]}`,
		"a scope that is none": `{"permissions":["read"],"scope":"a//b"}`, "an unknown field": `{"permissions":["read"],"x":1}`,
		"no JSON": `{`, "no body": ``, "a list": `[]`, "a key twice": `{"permissions":["read"],"permissions":["admin"]}`,
	} {
		t.Run("400: "+says, func(t *testing.T) { s.in(t).call("POST", "/v1/keys", body).refused(400, "invalid_request") })
	}
}

// TestFirstKey: the first start makes one admin key, and writes it where only its owner can read it.
func TestFirstKey(t *testing.T) {
	dir := t.TempDir()
	o := app.Options{Config: config.Config{Data: dir}}
	s := start(t, o)
	token, created := s.app.AdminKey()
	name := filepath.Join(dir, "admin.key")
	info, err := os.Stat(name)
	if err != nil || !created || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file of the first key: %v %v, created %v", info, err, created)
	}
	if raw, err := os.ReadFile(name); err != nil || strings.TrimSpace(string(raw)) != token {
		t.Errorf("the file holds %q, %v", raw, err)
	}
	s.as(t, token).call("GET", "/v1/keys", "").want(200)
	s.stop()
	s = start(t, o)
	if again, created := s.app.AdminKey(); created || again != "" {
		t.Error("the second start made another key")
	}
	s.as(t, token).call("GET", "/v1/keys", "").want(200)
}

// TestDevelopmentMode needs no credentials, and refuses what a web page elsewhere could send.
func TestDevelopmentMode(t *testing.T) {
	s := serve(t, dev, func(c *config.Config) { c.CORSOrigin = []string{"https://app.example.com"} })
	for _, r := range routes {
		if a := s.call(r.method, r.path, r.body); a.status == 401 || a.status == 403 || a.status >= 500 {
			t.Errorf("%s %s was answered %d: %s", r.method, r.path, a.status, a.body)
		}
	}
	p := newPartner(t)
	s.call("POST", "/events", `{"event":"integration_test","integrations":[{"key":"webhook","settings":{"url":"`+p.url("/x")+`"}}]}`).want(201)
	p.next(t)

	port := s.url[strings.LastIndex(s.url, ":"):]
	for _, c := range []struct {
		says, method, path string
		headers            []header
		status             int
	}{
		{"a foreign Origin", "POST", "/events", []header{{"Origin", "https://evil.example"}}, 403},
		{"a foreign Origin that only reads", "GET", "/v1/links", []header{{"Origin", "https://evil.example"}}, 403},
		{"the Origin of a file or a sandbox", "POST", "/events", []header{{"Origin", "null"}}, 403},
		{"another port of this machine", "POST", "/events", []header{{"Origin", "http://127.0.0.1:1"}}, 403},
		{"a configured Origin that writes", "POST", "/events", []header{{"Origin", "https://app.example.com"}}, 403},
		{"a Host that is not loopback", "POST", "/events", []header{{"Host", "evil.example" + port}}, 403},
		{"a Host that is not loopback, reading", "GET", "/events", []header{{"Host", "evil.example" + port}}, 403},
		{"a Host that only begins like loopback", "GET", "/events", []header{{"Host", "127.0.0.1.evil.example"}}, 403},
		{"a form", "POST", "/events", []header{{"Content-Type", "application/x-www-form-urlencoded"}}, 400},
		{"text", "POST", "/events", []header{{"Content-Type", "text/plain"}}, 400},
		{"text that says JSON", "POST", "/events", []header{{"Content-Type", "text/plain; application/json"}}, 400},
		{"a body without a type", "POST", "/events", []header{{"Content-Type", ""}}, 400},
		{"a cross-site fetch", "POST", "/v1/links", []header{{"Sec-Fetch-Site", "cross-site"}}, 403},
		{"its own page", "POST", "/events", []header{{"Origin", s.url}}, 201},
		{"localhost", "POST", "/events", []header{{"Host", "localhost" + port}, {"Origin", "http://localhost" + port}}, 201},
		{"IPv6's loopback", "POST", "/events", []header{{"Host", "[::1]" + port}}, 201},
		{"JSON with a charset", "POST", "/events", []header{{"Content-Type", "application/json; charset=utf-8"}}, 201},
		{"a configured Origin that reads the open lists", "GET", "/events", []header{{"Origin", "https://app.example.com"}}, 200},
	} {
		t.Run(c.says, func(t *testing.T) {
			body := ""
			if c.method == "POST" {
				body = testEvent
			}
			a := s.in(t).call(c.method, c.path, body, c.headers...).want(c.status)
			if c.status == 403 {
				a.refused(403, "forbidden")
			}
		})
	}
	t.Run("a key is checked all the same, so that it can be tried out", func(t *testing.T) {
		s := s.in(t)
		reader := s.as(t, s.newKey("acme", "read"))
		reader.call("GET", "/v1/links", "").want(200)
		reader.call("POST", "/events", testEvent).refused(403, "forbidden")
		s.as(t, "pk_wrong").call("GET", "/v1/links", "").refused(401, "unauthorized")
	})
	if _, err := app.New(app.Options{Config: config.Config{Dev: true, Listen: "0.0.0.0:0", Data: t.TempDir()}}); err == nil {
		t.Error("development mode may listen to the whole network")
	}
}

// TestCrossOrigin: the three open lists answer pages of the configured origins.
func TestCrossOrigin(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.CORSOrigin = []string{"https://app.example.com", "http://localhost:3000"} })
	s.key = ""
	allow := func(a *answer) string { return a.header.Get("Access-Control-Allow-Origin") }
	for _, path := range []string{"/events", "/integrations", "/integrations/slack"} {
		for _, origin := range []string{"https://app.example.com", "http://localhost:3000"} {
			a := s.call("GET", path, "", header{"Origin", origin}).want(200)
			if allow(a) != origin || !strings.Contains(a.header.Get("Vary"), "Origin") || a.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("GET %s from %s: %v", path, origin, a.header)
			}
			a = s.call("OPTIONS", path, "", header{"Origin", origin}, header{"Access-Control-Request-Method", "GET"})
			if a.status/100 != 2 || allow(a) != origin || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "GET") {
				t.Errorf("OPTIONS %s from %s: %d %v", path, origin, a.status, a.header)
			}
		}
		for _, origin := range []string{"https://evil.example", "https://app.example.com.evil.example", "http://app.example.com", "null", ""} {
			if a := s.call("GET", path, "", header{"Origin", origin}).want(200); allow(a) != "" {
				t.Errorf("GET %s shares with %q", path, origin)
			}
		}
	}
	for _, r := range routes {
		if r.open && !strings.HasSuffix(r.path, "z") {
			continue
		}
		if a := s.call(r.method, r.path, r.body, header{"Origin", "https://app.example.com"}); allow(a) != "" {
			t.Errorf("%s %s is shared with pages", r.method, r.path)
		}
	}
	if a := serve(t).call("GET", "/events", "", header{"Origin", "https://app.example.com"}).want(http.StatusOK); allow(a) != "" {
		t.Error("without configured origins a page may read")
	}
	if a := serve(t, func(c *config.Config) { c.CORSOrigin = []string{"*"} }).call("GET", "/events", "", header{"Origin", "https://x.example"}); allow(a) == "" {
		t.Error("with * nobody may read")
	}
}
