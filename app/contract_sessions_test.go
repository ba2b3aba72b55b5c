package app_test

import (
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/config"
)

// TestSessions: who has signed in is listed within the key's scope, in pages, and ended at once.
func TestSessions(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.PublicURL = "https://hooks.example.com" })
	var ids []string
	for _, body := range []string{`{"scope":"acme/teams/42","user":"ann"}`, `{"scope":"other","user":"bob"}`, `{"scope":"acme","user":"cid"}`} {
		ids = append(ids, s.call("POST", "/v1/portal-sessions", body).want(201).json().str("id"))
	}
	list := func(s *server, query string) string {
		return string(s.call("GET", "/v1/sessions"+query, "").want(200).body)
	}
	for query, want := range map[string][]bool{
		"": {true, true, true}, "?of=portals": {true, true, true}, "?of=operators": {false, false, false}, "?scope=acme": {true, false, true}, "?limit=1": {true, false, false},
	} {
		body := list(s, query)
		for i, id := range ids {
			if strings.Contains(body, id) != want[i] {
				t.Errorf("GET /v1/sessions%s: %s", query, body)
			}
		}
	}
	next := s.call("GET", "/v1/sessions?limit=2", "").want(200).json().str("next")
	if body := list(s, "?limit=2&cursor="+next); !strings.Contains(body, ids[2]) || strings.Contains(body, ids[0]) {
		t.Errorf("the second page: %s", body)
	}

	tenant := s.as(t, s.newKey("acme", "admin"))
	if body := list(tenant, ""); strings.Contains(body, ids[1]) || !strings.Contains(body, ids[0]) || !strings.Contains(body, ids[2]) {
		t.Errorf("a tenant's administrator sees %s", body)
	}
	tenant.call("GET", "/v1/sessions?scope=other", "").refused(403, "forbidden")
	tenant.call("DELETE", "/v1/sessions/"+ids[1], "").refused(404, "not_found")
	s.as(t, s.newKey("acme", "manage")).call("GET", "/v1/sessions", "").refused(403, "forbidden")
	s.as(t, s.newKey("acme", "manage")).call("DELETE", "/v1/sessions/"+ids[0], "").refused(403, "forbidden")
	s.call("GET", "/v1/sessions?of=everybody", "").refused(400, "invalid_request")
	s.call("DELETE", "/v1/sessions/key_1", "").refused(404, "not_found")

	tenant.call("DELETE", "/v1/sessions/"+ids[0], "").want(204)
	tenant.call("DELETE", "/v1/sessions/"+ids[0], "").refused(404, "not_found")
	s.call("GET", "/v1/portal-sessions/"+ids[0], "").refused(404, "not_found")
}
