package app_test

import (
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/config"
)

// TestPortalSessions: one is made, shown without its token, and ended.
func TestPortalSessions(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.PublicURL = "https://hooks.example.com" })
	a := s.call("POST", "/v1/portal-sessions", `{"scope":"acme/teams/42","user":"ann","permissions":["view","edit"],"ttl":"2h","return":"https://app.example.com/x"}`).want(201)
	o := a.json()
	id, token := o.str("id"), o.str("token")
	if !strings.HasPrefix(id, "ses_") || o.str("url") != "https://hooks.example.com/portal#"+token || len(token) < 30 || o.str("scope") != "acme/teams/42" {
		t.Errorf("the answer is %s", a.body)
	}
	if got := a.header.Get("Location"); got != "/v1/portal-sessions/"+id {
		t.Errorf("it is at %q", got)
	}
	for _, path := range []string{"/v1/portal-sessions/" + id, "/v1/portal-sessions", "/v1/portal-sessions?scope=acme&user=ann"} {
		if body := string(s.call("GET", path, "").want(200).body); strings.Contains(body, token) || !strings.Contains(body, id) || !strings.Contains(body, `"claimed":false`) {
			t.Errorf("GET %s: %s", path, body)
		}
	}
	if body := string(s.call("GET", "/v1/portal-sessions?scope=other", "").want(200).body); strings.Contains(body, id) {
		t.Errorf("another tenant's list: %s", body)
	}
	s.call("DELETE", "/v1/portal-sessions/"+id, "").want(204)
	s.call("GET", "/v1/portal-sessions/"+id, "").refused(404, "not_found")
	s.call("DELETE", "/v1/portal-sessions/"+id, "").refused(404, "not_found")

	tenant := s.as(t, s.newKey("acme", "manage"))
	tenant.call("POST", "/v1/portal-sessions", `{"scope":"acme/teams/1"}`).want(201)
	tenant.call("POST", "/v1/portal-sessions", `{"scope":"other"}`).refused(403, "forbidden")
	for says, body := range map[string]string{
		"no body": ``, "no scope": `{}`, "the whole installation": `{"scope":""}`, "a scope that is none": `{"scope":"a//b"}`, "an unknown field": `{"scope":"acme","x":1}`,
		"an unknown permission": `{"scope":"acme","permissions":["admin"]}`, "too long": `{"scope":"acme","ttl":"25h"}`, "no time": `{"scope":"acme","ttl":"0s"}`,
		"a script": `{"scope":"acme","return":"javascript:alert(1)"}`, "somebody of another tenant": `{"scope":"acme","owner_scope":"other/users/1"}`,
	} {
		t.Run("400: "+says, func(t *testing.T) { s.in(t).call("POST", "/v1/portal-sessions", body).refused(400, "invalid_request") })
	}
}
