package web_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// visitor is a browser of which only the requests are looked at.
type visitor struct {
	*site
	cookies []*http.Cookie
}

type answer struct {
	status int
	header http.Header
	body   string
}

// visit begins as nobody.
func (s *site) visit() *visitor { return &visitor{site: s} }

// signedIn has an operator's session.
func (s *site) signedIn() *visitor {
	v := s.visit()
	a := v.do("POST", "/sign-in", url.Values{"key": {s.key}})
	if a.status != http.StatusSeeOther {
		s.t.Fatalf("signing in was answered %d: %s", a.status, a.body)
	}
	return v
}

func (v *visitor) do(method, path string, form url.Values, headers ...string) answer {
	v.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, body)
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	for _, c := range v.cookies {
		req.AddCookie(c)
	}
	resp, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	v.cookies = append(v.cookies, resp.Cookies()...)
	return answer{resp.StatusCode, resp.Header, string(raw)}
}

// TestPagesHoldNothingInline: the Content-Security-Policy allows none, so there must be none.
func TestPagesHoldNothingInline(t *testing.T) {
	s := open(t)
	s.populate()
	v := s.signedIn()
	for name, path := range s.addresses() {
		a := v.do("GET", path, nil)
		policy := a.header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy lacks %s: %s", name, part, policy)
			}
		}
		if strings.Contains(policy, "unsafe") || a.header.Get("X-Frame-Options") != "DENY" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: the header is %v", name, a.header)
		}
		doc, err := html.Parse(strings.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for n := range doc.Descendants() {
			for _, at := range n.Attr {
				switch {
				case at.Key == "style" || strings.HasPrefix(at.Key, "on"):
					t.Errorf("%s: <%s> has the attribute %s", name, n.Data, at.Key)
				case at.Key == "id" && ids[at.Val]:
					t.Errorf("%s: two elements have the id %s", name, at.Val)
				case at.Key == "id":
					ids[at.Val] = true
				}
			}
			if n.Type == html.ElementNode && (n.Data == "script" || n.Data == "style") && n.FirstChild != nil {
				t.Errorf("%s: a <%s> stands in the page", name, n.Data)
			}
		}
	}
}

// TestAssets are kept for ever under the address that holds their hash.
func TestAssets(t *testing.T) {
	s := open(t)
	v := s.visit()
	page := v.do("GET", "/sign-in", nil)
	found := regexp.MustCompile(`/assets/[0-9a-f]+/[a-z0-9.]+`).FindAllString(page.body, -1)
	if len(found) < 4 {
		t.Fatalf("the page refers to %v", found)
	}
	total := len(page.body)
	for _, path := range found {
		a := v.do("GET", path, nil, "Accept-Encoding", "gzip")
		if a.status != 200 || !strings.Contains(a.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s was answered %d with %v", path, a.status, a.header)
		}
		total += len(a.body)
	}
	if total > 100_000 {
		t.Errorf("a first visit takes %d bytes", total)
	}
	if a := v.do("GET", "/assets/0000000000000000/app.css", nil); strings.Contains(a.header.Get("Cache-Control"), "immutable") {
		t.Error("the address of another version is kept for ever")
	}
	for _, path := range []string{"/assets/x/../../web.go", "/assets/app.go"} {
		if a := v.do("GET", path, nil); a.status != 404 {
			t.Errorf("%s was answered %d", path, a.status)
		}
	}
}

// TestOtherSitesChangeNothing: a form on a page elsewhere is refused, with whatever cookies it comes.
func TestOtherSitesChangeNothing(t *testing.T) {
	s := open(t)
	s.populate()
	v := s.signedIn()
	links := s.api("GET", "/v1/links", nil)["data"].([]any)
	id := links[0].(map[string]any)["id"].(string)
	for path, form := range map[string]url.Values{
		"/settings/acme": {"action": {"pause"}, "link": {id}}, "/integrations/inbox/link/" + id + "/delete": {}, "/sign-out": {}, "/sign-in": {"key": {s.key}},
		"/integrations/inbox/link": {"action": {"save"}, "events": {"*"}, "scope": {"acme"}}, "/portal/exchange": {"token": {"pbt_x"}},
	} {
		for _, from := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"}} {
			if a := v.do("POST", path, form, from...); a.status != http.StatusForbidden || !strings.Contains(a.body, "another site") {
				t.Errorf("POST %s with %v was answered %d", path, from, a.status)
			}
		}
	}
	if now := s.api("GET", "/v1/links", nil)["data"].([]any); len(now) != len(links) {
		t.Errorf("there are %d links now", len(now))
	}
}

// TestNobodyIsSentElsewhere: pages to return to lie on this site.
func TestNobodyIsSentElsewhere(t *testing.T) {
	s := open(t)
	for _, to := range []string{"https://evil.example", "//evil.example", `/\evil.example`, "/\t/evil.example", "javascript:alert(1)", "evil", "/%0a/x\n", `\\evil.example`} {
		v := s.visit()
		a := v.do("POST", "/sign-in", url.Values{"key": {s.key}, "return": {to}})
		if got := a.header.Get("Location"); a.status != http.StatusSeeOther || got != "/" && got != "/%0a/x\n" {
			t.Errorf("returning to %q leads to %q", to, got)
		}
		if a := v.do("GET", "/auth/tasks?return="+url.QueryEscape(to), nil); a.status == http.StatusSeeOther && strings.Contains(a.header.Get("Location"), "evil") {
			t.Errorf("connecting leads to %s", a.header.Get("Location"))
		}
	}
}

// TestStrangersAreSentToSignIn, and what they wanted to change is not changed.
func TestStrangersAreSentToSignIn(t *testing.T) {
	s := open(t)
	v := s.visit()
	for _, path := range []string{"/", "/integrations", "/settings/acme", "/integrations/slack/link", "/auth/tasks", "/hooks", "/connections/con_0000000000001"} {
		a := v.do("GET", path, nil)
		if got := a.header.Get("Location"); a.status != http.StatusSeeOther || !strings.HasPrefix(got, "/sign-in") {
			t.Errorf("GET %s was answered %d, to %q", path, a.status, got)
		}
	}
	if a := v.do("POST", "/integrations/inbox/link", url.Values{"action": {"save"}, "events": {"*"}}); a.status != http.StatusUnauthorized {
		t.Errorf("a stranger's form was answered %d", a.status)
	}
	if a := v.do("DELETE", "/integrations/inbox/link/lnk_0000000000001", nil); a.status != http.StatusUnauthorized {
		t.Errorf("a stranger's DELETE was answered %d", a.status)
	}
	if a := v.do("GET", "/integrations", nil, "Accept", "application/json"); a.status != 200 || !strings.HasPrefix(a.body, "[") {
		t.Errorf("programs are answered %d: %.80s", a.status, a.body)
	}
}

// TestSomebodyElsesTab begins a consent for a visitor who did not want one: they are asked first.
func TestSomebodyElsesTab(t *testing.T) {
	s := open(t)
	v := s.signedIn()
	if a := v.do("GET", "/auth/tasks", nil, "Sec-Fetch-Site", "cross-site"); a.status != 200 || !strings.Contains(a.body, "Go on to Tasks") {
		t.Errorf("it was answered %d: %.300s", a.status, a.body)
	}
	if a := v.do("GET", "/auth/tasks", nil, "Sec-Fetch-Site", "same-origin"); a.status != http.StatusSeeOther {
		t.Errorf("one's own click was answered %d", a.status)
	}
	// The address of a portal can lead here too, and may have been sent by somebody who wants an account that is not theirs.
	if a := v.do("GET", "/auth/tasks?scope=acme&ask=1", nil, "Sec-Fetch-Site", "same-origin"); a.status != 200 ||
		!strings.Contains(a.body, `href="/auth/tasks?scope=acme"`) || !strings.Contains(a.body, "connected for") {
		t.Errorf("a portal that leads here was answered %d: %.300s", a.status, a.body)
	}
	for _, query := range []string{"", "?state=forged&code=x", "?state=a&state=b", "?error=access_denied"} {
		if a := v.do("GET", "/auth/tasks/callback"+query, nil); a.status != 400 || !strings.Contains(a.body, "The account was not connected") {
			t.Errorf("a forged answer %q was answered %d", query, a.status)
		}
	}
}

// TestNonsense is answered with a page that says what is wrong.
func TestNonsense(t *testing.T) {
	s := open(t)
	v := s.signedIn()
	for path, want := range map[string]int{
		"/integrations/nothing/link": 404, "/integrations/slack/link?link=x": 404, "/integrations/slack/link?link=lnk_0000000000001": 404,
		"/integrations/inbox/link?scope=a//b": 400, "/integrations?scope=..": 400, "/settings/a/../b": 404, "/settings/%20": 404, "/settings/" + strings.Repeat("a/", 40) + "a": 404,
		"/connections/x": 404, "/connections/con_0000000000001": 404, "/hooks/x": 404, "/hooks/hok_0000000000001": 404, "/hooks?state=odd": 400, "/hooks?before=x": 400,
		"/auth/nothing": 404, "/auth/inbox": 400, "/settings//x": 404, "/sign-in/x": 404, "/portal/x": 404, "/integrations/inbox/link/x/delete": 404,
	} {
		a := v.do("GET", path, nil)
		if a.status != want || !strings.Contains(a.body, "<h1>") {
			t.Errorf("GET %s was answered %d, want %d: %.200s", path, a.status, want, a.body)
		}
	}
	for path, form := range map[string]url.Values{
		"/settings/acme": {"action": {"explode"}, "link": {"lnk_0000000000001"}}, "/settings/acme/x": {"action": {"pause"}},
	} {
		if a := v.do("POST", path, form); a.status != 400 {
			t.Errorf("POST %s was answered %d", path, a.status)
		}
	}
	if a := v.do("PUT", "/settings/acme", url.Values{}); a.status != 405 || a.header.Get("Allow") == "" {
		t.Errorf("PUT was answered %d, Allow %q", a.status, a.header.Get("Allow"))
	}
	if a := v.do("POST", "/integrations/inbox/link", url.Values{"filter": {strings.Repeat("x", 1<<20)}}); a.status != 413 {
		t.Errorf("a form of a megabyte was answered %d", a.status)
	}
}

// TestHostileText stands on pages as text.
func TestHostileText(t *testing.T) {
	s := open(t)
	const evil = `"><script>alert(1)</script>{{.}}`
	s.api("POST", "/v1/links", map[string]any{"integration": "inbox", "scope": "acme", "events": []string{"*"}, "name": evil, "slot": evil, "filter": "type == '<script>'"})
	v := s.signedIn()
	id := s.api("GET", "/v1/links", nil)["data"].([]any)[0].(map[string]any)["id"].(string)
	for _, path := range []string{
		"/", "/settings/acme", "/settings/acme/x", "/integrations/inbox/link?link=" + id, "/integrations/inbox/link/" + id + "/delete",
		"/integrations?q=" + url.QueryEscape(evil), "/sign-in?return=" + url.QueryEscape("/"+evil),
	} {
		if a := v.do("GET", path, nil); strings.Contains(a.body, "<script>alert") {
			t.Errorf("%s runs what somebody wrote", path)
		}
	}
}

// TestAFormNeedsLittle: what is left out is the viewer's own scope and every default.
func TestAFormNeedsLittle(t *testing.T) {
	s := open(t)
	v := s.signedIn()
	a := v.do("POST", "/integrations/webhook/link", url.Values{"settings.url": {"https://example.com/hook"}, "events": {"repo.push"}})
	if got := a.header.Get("Location"); a.status != http.StatusSeeOther || got != "/settings/" {
		t.Fatalf("it was answered %d, to %q: %s", a.status, got, a.body)
	}
	link := s.api("GET", "/v1/links", nil)["data"].([]any)[0].(map[string]any)
	if link["scope"] != "" || link["reach"] != "subtree" || link["settings"].(map[string]any)["method"] != "POST" {
		t.Errorf("the link is %v", link)
	}
	id := link["id"].(string)
	if a := v.do("DELETE", "/integrations/slack/link/"+id, nil); a.status != 404 {
		t.Errorf("another integration's DELETE was answered %d", a.status)
	}
	if a := v.do("DELETE", "/integrations/webhook/link/"+id, nil); a.status != 204 {
		t.Errorf("DELETE was answered %d", a.status)
	}
}

// TestDrafts: a secret that was typed before comes back to the session that typed it, and to no other.
func TestDrafts(t *testing.T) {
	s := open(t)
	v, other := s.signedIn(), s.signedIn()
	form := url.Values{"scope": {"acme"}, "reach": {"subtree"}, "events": {"*"}, "settings.pin": {"very secret pin"}, "action": {"save"}, "connection": {""}}
	a := v.do("POST", "/integrations/tasks/link", form)
	found := regexp.MustCompile(`name="draft" value="([^"]+)"`).FindStringSubmatch(a.body)
	if a.status != 400 || found == nil || strings.Contains(a.body, "very secret") {
		t.Fatalf("the form came back with %d and the draft %v", a.status, found)
	}
	form.Set("settings.pin", "")
	form.Set("draft", found[1])
	form.Set("settings.project", "castor")
	if a := other.do("POST", "/integrations/tasks/link", form); a.status != http.StatusSeeOther {
		t.Fatalf("another session was answered %d: %s", a.status, a.body)
	}
	if a := v.do("POST", "/integrations/tasks/link", form); a.status != http.StatusSeeOther {
		t.Fatalf("the session was answered %d: %s", a.status, a.body)
	}
	var pins []any
	for _, l := range s.api("GET", "/v1/links?integration=tasks", nil)["data"].([]any) {
		pins = append(pins, l.(map[string]any)["settings"].(map[string]any)["pin"])
	}
	if len(pins) != 2 || pins[0] != nil || pins[1] != "•••• pin" {
		t.Errorf("the PINs are %v: the first link is the other session's", pins)
	}
}
