package web_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/browsertest"
)

// TestAuditPage reads who changed what, with and without scripts: what became of what, only what somebody wants to see, and the
// pages of what was changed.
func TestAuditPage(t *testing.T) {
	s := open(t)
	link := s.api("POST", "/v1/links", map[string]any{
		"integration": "slack", "scope": "acme/teams/42", "events": []string{"repo.push"}, "settings": map[string]any{"url": s.tasks.server.URL + "/send"}, "name": "Chat <b>of</b> team",
	})["id"].(string)
	s.api("PATCH", "/v1/links/"+link, map[string]any{"name": "Chatter", "settings": map[string]any{"url": s.tasks.server.URL + "/T0PSECRET", "channel": "#develop"}})
	s.api("POST", "/v1/links/"+link+"/pause", nil)
	s.api("POST", "/v1/keys", map[string]any{"name": "CI", "permissions": []string{"read"}})
	for _, o := range []browsertest.Options{{Width: 390}, {Width: 1440, Dark: true, NoScript: true}} {
		p := s.signIn(o)
		if p.Go(s.url + "/"); o.Width < 1000 { // the pages are in a menu
			p.Click("button.menu")
		}
		p.Press(`.side a[href="/audit"]`)
		p.See("h1", "Audit")
		for _, says := range []string{"first administrator signed in", "first administrator made the key CI", "first administrator paused the link Chatter",
			"made the link Chat <b>of</b> team", "Patchbay made the key first administrator", "in a browser from", "by the API from", "by itself"} {
			p.See(".trail", says)
		}
		if strings.Contains(p.Text(".trail"), "T0PSECRET") {
			t.Error("a secret is shown")
		}
		if !o.NoScript {
			p.Accessible()
		}
		p.Fits()
		browsertest.Ask[bool](p, `document.querySelectorAll(".trail details").forEach((d) => { d.open = true }) ?? true`)
		p.See(".trail-changes", "#develop")
		p.See(".trail", "was changed (it is secret)")
		if !o.NoScript {
			p.Accessible()
		}
		p.Fits()

		browsertest.Ask[bool](p, `(document.querySelector("#action").value = "link.") === "link."`)
		p.Press("main button.primary")
		if got := browsertest.Ask[int](p, `document.querySelectorAll(".trail li").length`); got != 3 || !strings.Contains(p.Address(), "action=link.") {
			t.Errorf("of links there are %d entries at %s", got, p.Address())
		}
		p.Press(`.trail a[href*="object=` + link + `"]`)
		p.See(".trail", "changed the link")
		p.Press(`.trail a.row-link`)
		p.See("h1", "Chatter")
		p.Go(s.url + "/audit?actor=nobody")
		p.See(".empty h2", "Nothing like that was done")
		p.Press(".empty a.btn")
		p.See(".trail", "signed in")
		p.Expect("status of 400")
		p.Go(s.url + "/audit?action=Links")
		p.See("main", "is written like")
	}
	s.auditDownloads(t)
	s.auditWithin(t, link)
}

// auditDownloads takes the same as files, as the browser would.
func (s *site) auditDownloads(t *testing.T) {
	t.Helper()
	get := func(path string, cookies ...*http.Cookie) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cookies {
			req.AddCookie(c)
		}
		return s.answerTo(t, req)
	}
	if resp, _ := get("/audit/export?format=csv"); resp.StatusCode == http.StatusOK {
		t.Error("the log is given to somebody who has not signed in")
	}
	in, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/sign-in", strings.NewReader("key="+s.key))
	if err != nil {
		t.Fatal(err)
	}
	in.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	signedIn, _ := s.answerTo(t, in)
	resp, body := get("/audit/export?format=csv&action=link.", signedIn.Cookies()...)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/csv") || strings.Count(body, "\r\n") != 4 ||
		!strings.Contains(resp.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	if resp, body = get("/audit/export?format=ndjson&action=key.", signedIn.Cookies()...); resp.StatusCode != http.StatusOK || strings.Count(body, "\n") != 2 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, _ = get("/audit/export?format=xml", signedIn.Cookies()...); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown format: %d", resp.StatusCode)
	}
}

// answerTo makes a request and reads its answer.
func (s *site) answerTo(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// auditWithin checks that a tenant's people see what was done there alone, and portals and those who only look nothing.
func (s *site) auditWithin(t *testing.T, link string) {
	t.Helper()
	enter := func(scope, permission string) *browsertest.Page {
		token := s.api("POST", "/v1/keys", map[string]any{"name": "of " + scope, "scope": scope, "permissions": []string{permission}})["token"].(string)
		p := s.page(browsertest.Options{})
		p.Go(s.url + "/sign-in")
		p.Type("#key", token)
		p.Press("main button.primary")
		return p
	}
	p := enter("acme", "manage")
	p.Go(s.url + "/audit")
	p.See(".trail", "paused the link Chatter")
	if text := p.Text(".trail"); strings.Contains(text, "made the key CI") || strings.Contains(text, "Patchbay made") {
		t.Errorf("somebody of a tenant sees %s", text)
	}
	p.Expect("status of 403")
	p.Go(s.url + "/audit?scope=other")
	p.See("h1", "You may not do that")
	p.Go(s.url + "/audit?object=" + link)
	p.See(".trail", "Chatter")
	other := enter("other", "manage")
	other.Go(s.url + "/audit?object=" + link)
	other.See(".empty h2", "Nothing like that was done")
	looks := enter("acme", "read")
	if strings.Contains(looks.Text(".side"), "Audit") {
		t.Error("somebody who may not read it is led to the audit log")
	}
	looks.Expect("status of 403")
	looks.Go(s.url + "/audit")
	looks.See("h1", "You may not do that")
	customer := s.page(browsertest.Options{})
	customer.Go(s.portal("acme/teams/42"))
	customer.See("h1", "Your links")
	customer.Expect("status of 404")
	customer.Go(s.url + "/audit")
	customer.See("main", "does not exist")
}
