package web_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestErrorsForPrograms: an error has one form wherever it comes from, and a page is for whoever asks for pages.
func TestErrorsForPrograms(t *testing.T) {
	s := open(t)
	stranger, operator := s.visit(), s.signedIn()
	for _, c := range []struct {
		who          *visitor
		method, path string
		form         url.Values
		accept       string
		status       int
		code, word   string
	}{
		{stranger, "DELETE", "/integrations/inbox/link/lnk_0000000000001", nil, "*/*", 401, "unauthorized", "sign"},
		{stranger, "POST", "/integrations/inbox/link", url.Values{"events": {"*"}}, "", 401, "unauthorized", "sign"},
		{stranger, "GET", "/auth/github", nil, "application/json", 401, "unauthorized", "sign"},
		{stranger, "POST", "/sign-in", url.Values{"key": {"pk_wrong"}}, "application/json", 401, "unauthorized", "key"},
		{operator, "DELETE", "/integrations/inbox/link/lnk_0000000000001", nil, "*/*", 404, "not_found", "lnk_0000000000001"},
		{operator, "PUT", "/integrations/inbox/link", nil, "application/json", 405, "invalid_request", "PUT"},
		{operator, "POST", "/integrations/webhook/link", url.Values{"events": {"*"}, "action": {"save"}}, "application/json", 400,
			"misconfigured_integration", "required"},
		{operator, "GET", "/auth/nothing", nil, "application/json", 404, "not_found", "nothing"},
		{operator, "GET", "/auth/github/callback?state=x&code=y", nil, "application/json", 400, "invalid_request", ""},
	} {
		a := c.who.do(c.method, c.path, c.form, "Accept", c.accept)
		var e struct{ Error, Type string }
		if err := json.Unmarshal([]byte(a.body), &e); err != nil {
			t.Errorf("%s %s was answered %d with no JSON: %.120s", c.method, c.path, a.status, a.body)
			continue
		}
		if a.status != c.status || e.Type != c.code || e.Error == "" || !strings.Contains(strings.ToLower(e.Error), strings.ToLower(c.word)) ||
			a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s was answered %d: %s", c.method, c.path, a.status, a.body)
		}
	}
	if a := stranger.do("GET", "/auth/github", nil); a.status != http.StatusSeeOther {
		t.Errorf("a browser is answered %d instead of being led to the sign-in", a.status)
	}
	if a := operator.do("GET", "/auth/nothing", nil); !strings.HasPrefix(a.body, "<!doctype html>") {
		t.Errorf("a browser gets no page: %.80s", a.body)
	}
}
