package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// within has somebody's session whose key is of a scope.
func (s *site) within(scope string, permissions ...string) *visitor {
	s.t.Helper()
	key, ok := s.api("POST", "/v1/keys", map[string]any{"name": "of " + scope, "scope": scope, "permissions": permissions})["token"].(string)
	if !ok {
		s.t.Fatal("the new key is not in the answer")
	}
	v := s.visit()
	if a := v.do("POST", "/sign-in", url.Values{"key": {key}}); a.status != http.StatusSeeOther {
		s.t.Fatalf("signing in was answered %d: %s", a.status, a.body)
	}
	return v
}

// TestForgedRequests: whoever makes the requests of buttons by hand that their pages do not have is refused, and changes nothing:
// somebody who may only look, those of a scope about what is beside it, and a customer.
func TestForgedRequests(t *testing.T) {
	s := open(t)
	s.populate()
	other := s.link(map[string]any{"integration": "webhook", "scope": "acme/teams/7", "events": []string{"entry.created"}, "settings": map[string]any{"url": "https://example.com/in"}})
	s.api("POST", "/v1/links/"+other+"/pause", nil)
	event := s.happened("acme/teams/7", "theirs")
	delivery := s.deliveriesOf(other, "held", 1)[0]
	s.signedIn()
	data := func(path string) []any { return s.api("GET", path, nil)["data"].([]any) }
	first := func(path string) string { return data(path)[0].(map[string]any)["id"].(string) }
	key, session := first("/v1/keys"), first("/v1/sessions")
	job := s.api("POST", "/v1/jobs", map[string]any{"action": "retry", "filter": map[string]any{"state": "failed"}})["id"].(string)
	form := func(pairs ...string) url.Values {
		f := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			f.Set(pairs[i], pairs[i+1])
		}
		return f
	}
	requests := []struct {
		path string
		form url.Values
	}{
		{"/integrations/inbox/link", form("action", "save", "events", "*", "scope", "acme/teams/7")},
		{"/integrations/webhook/link?id=" + other, form("action", "save", "events", "*", "scope", "acme/teams/7", "id", other)},
		{"/integrations/webhook/link/" + other + "/delete", nil},
		{"DELETE /integrations/webhook/link/" + other, nil},
		{"/settings/acme/teams/7", form("action", "pause", "link", other)},
		{"/links/" + other, form("action", "pause")}, {"/links/" + other, form("action", "resume")}, {"/links/" + other, form("action", "send")},
		{"/links/" + other, form("action", "skip")}, {"/links/" + other, form("action", "rotate")}, {"/links/" + other, form("action", "test")},
		{"/events/" + event + "/replay", nil},
		{"/playground", form("type", "entry.created", "scope", "acme/teams/7", "view", "json", "payload", `{"text":"forged"}`, "op", "send:1")},
		{"/deliveries/" + delivery + "/retry", nil}, {"/deliveries/" + delivery + "/cancel", nil},
		{"/jobs", form("action", "cancel", "scope", "acme/teams/7")}, {"/jobs/" + job + "/cancel", nil},
		{"/installation/secrets/rotate", nil}, {"/installation/sessions/" + session + "/end", nil},
		{"/keys", form("name", "forged", "scope", "acme/teams/7", "permission", "admin")}, {"/keys", form("name", "forged", "permission", "admin")},
		{"/keys/" + key + "/delete", nil},
	}
	done := func() int {
		n := len(data("/v1/events?limit=250"))
		for _, e := range data("/v1/audit?limit=250") {
			if !strings.HasPrefix(e.(map[string]any)["action"].(string), "session.") {
				n++
			}
		}
		return n
	}
	visitors := map[string]*visitor{
		"viewer": s.signedInAs("read"), "operator beside": s.within("acme/teams/42", "publish", "inline", "manage"),
		"administrator beside": s.within("acme/teams/42", "admin"), "customer": s.inPortal("acme/teams/42"),
	}
	before := done()
	for name, v := range visitors {
		for _, r := range requests {
			method, path, named := strings.Cut(r.path, " ")
			if !named {
				method, path = "POST", r.path
			}
			a := v.do(method, path, r.form)
			shown := a.status == http.StatusOK && path == "/playground" // the page again, without what was not allowed
			if !shown && (a.status < 400 || a.status >= 500) {
				t.Errorf("%s: %s %s %v was answered %d, to %s", name, method, path, r.form, a.status, a.header.Get("Location"))
			}
			if name != "viewer" && (strings.Contains(a.body, "example.com/in") || strings.Contains(a.body, "theirs")) {
				t.Errorf("%s: %s says what is beside: %s", name, path, a.body)
			}
		}
	}
	if after := done(); after != before {
		t.Errorf("%d things were done: %v", after-before, data("/v1/audit?limit=250")[:after-before])
	}
}
