package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestConnections are shown as a table or whole, checked, and removed; what remains at the partner is said.
func TestConnections(t *testing.T) {
	const id = "con_0123456789abc"
	view := func(state, reason string) string {
		return `{"id":"` + id + `","integration":"github","scope":"acme","owner":"u-17","owner_scope":"acme/users/17","name":"CI","visible":false,` +
			`"account":{"id":"583231","name":"octocat"},"grants":["repo","gist"],"state":"` + state + `","state_reason":` + reason + `,"expires_at":null,` +
			`"checked_at":"2026-11-22T00:00:00Z","created_at":"2026-11-22T00:00:00Z","updated_at":"2026-11-22T00:00:00Z","links":2}`
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "GET /v1/connections":
			if q := r.URL.Query(); q.Get("serving") != "acme/x" || q.Get("integration") != "github" {
				t.Errorf("it asks for %s", r.URL)
			}
			fmt.Fprint(w, `{"data":[`+view("active", "null")+`,`+view("needs_reauth", `"the grant ended"`)+`],"next":null}`)
		case "GET /v1/connections/" + id:
			fmt.Fprint(w, view("active", "null"))
		case "POST /v1/connections/" + id + "/check":
			fmt.Fprint(w, view("needs_reauth", `"the grant ended"`))
		case "DELETE /v1/connections/" + id:
			if r.URL.RawQuery != "force=true" {
				t.Errorf("it asks for %s", r.URL)
			}
			w.Header().Set("Patchbay-Notice", "remove the application at GitHub")
			w.WriteHeader(http.StatusNoContent)
		default:
			t.Errorf("it asks for %s %s", r.Method, r.URL)
		}
	}))
	t.Cleanup(s.Close)
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"--serving", "acme/x", "--integration", "github"}, exitOK, []string{"CONNECTION", id, "✓ active", "✗ needs_reauth", "octocat", "acme", "u-17", "2 links", "the grant ended"}},
		{[]string{"list", "--serving", "acme/x", "--integration", "github", "--json"}, exitOK, []string{`"next":null`}},
		{[]string{"get", id}, exitOK, []string{"octocat (583231)", "acme/users/17", "CI", "repo, gist", "checked", "2 links"}},
		{[]string{"check", id}, exitFailed, []string{"✗ needs_reauth", "the connection does not work: the grant ended"}},
		{[]string{"delete", id, "--force"}, exitOK, []string{id + " is deleted", "remove the application at GitHub"}},
		{[]string{"delete", id, "--force", "--json"}, exitOK, []string{`"notice"`, "remove the application at GitHub"}},
	} {
		out, code := run(t, append([]string{"connections", "--server", s.URL, "--key", "pk_x"}, c.args...)...)
		for _, want := range c.want {
			if code != c.code || !strings.Contains(out, want) {
				t.Errorf("%v: exit code %d, and %q is not in\n%s", c.args, code, want, out)
			}
		}
	}
}
