package web_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/patchbay/patchbay/internal/browsertest"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/nodetest"
)

// withProvider lets people in by a strict OpenID provider of their organisation.
func withProvider(t *testing.T, base *string) func(*config.Config) {
	person := func(groups ...string) map[string]any {
		return map[string]any{"email": groups[0] + "@example.com", "email_verified": true, "groups": groups}
	}
	people, err := json.Marshal(map[string]any{
		"vera": person("viewers"), "otto": person("operators"), "ada": person("viewers", "admins"), "sue": person("support"), "saul": person("acme-admins"), "nemo": person("others"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		*base = nodetest.Start(t, "signin.mjs", "patchbay", "the client's secret", c.PublicURL+"/sign-in/callback", string(people)).URL
		c.OIDCIssuer, c.OIDCClientID, c.OIDCClientSecret, c.OIDCName = *base, "patchbay", "the client's secret", "Example ID"
		for _, text := range []string{"viewers=viewer", "operators=operator", "admins=admin", "support=viewer@acme/teams/42", "acme-admins=admin@acme"} {
			if err := c.OIDCRoles.UnmarshalText([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// signOn goes to a page, and signs in on the way.
func (s *site) signOn(p *browsertest.Page, path, login string) {
	s.t.Helper()
	p.Go(s.url + path)
	p.See("h1", "Sign in to Patchbay")
	p.Press(`a[href^="/sign-in/oidc"]`)
	p.See("h1", "Who are you?")
	p.Type("#login", login)
	p.Press("#go")
}

// TestSignOn: people sign in at their organisation's provider, come back to the page that they wanted, see who they are and what
// they may do, and sign out.
func TestSignOn(t *testing.T) {
	var provider string
	s := open(t, withProvider(t, &provider))
	s.populate()
	hosts := []string{strings.TrimPrefix(provider, "http://")}
	for _, tc := range []struct{ login, name, role, see string }{
		{"vera", "viewers@example.com", "Viewer", ""}, {"otto", "operators@example.com", "Operator", ""},
		{"ada", "viewers@example.com", "Administrator", ""}, {"sue", "support@example.com", "Viewer in acme/teams/42", ""},
	} {
		for _, scripts := range []bool{true, false} {
			if !scripts && tc.login != "otto" {
				continue
			}
			p := s.page(browsertest.Options{Hosts: hosts, NoScript: !scripts, Width: 1440})
			p.Expect("status of 401")
			s.signOn(p, "/settings/acme/teams/42?x=1", tc.login)
			p.See("h1", "acme/teams/42")
			if got := p.Address(); got != s.url+"/settings/acme/teams/42?x=1" {
				t.Errorf("%s comes back to %s", tc.login, got)
			}
			p.See(".who", tc.name)
			p.See(".who", tc.role)
			if n := browsertest.Ask[int](p, `document.querySelectorAll("main form[method=post]").length`); (n == 0) != strings.HasPrefix(tc.role, "Viewer") {
				t.Errorf("%s has %d forms", tc.login, n)
			}
			if scripts {
				p.Accessible()
			}
			p.Press(".leave button")
			p.See("h1", "Sign in to Patchbay")
			p.Go(s.url + "/settings/acme/teams/42")
			p.See("h1", "Sign in to Patchbay")
		}
	}
}

// TestSignOnRefused: whoever has no role is told so and whom to ask; who says no comes back to where one signs in; and a key works
// on the same page.
func TestSignOnRefused(t *testing.T) {
	var provider string
	s := open(t, withProvider(t, &provider))
	for _, o := range []browsertest.Options{{Width: 390}, {Width: 1440, Dark: true}} {
		o.Hosts = []string{strings.TrimPrefix(provider, "http://")}
		p := s.page(o)
		p.Expect("status of 403")
		p.Expect("status of 401")
		s.signOn(p, "/", "nemo")
		p.See("h1", "You have no role here")
		p.See("main", "Example ID knows you as others@example.com, but nobody has given you a role here: ask whoever runs this installation")
		p.Accessible()
		p.Fits()
		p.Press(`main a[href^="/sign-in/oidc"]`)
		p.See("h1", "Who are you?") // also of somebody whom the provider knows
		p.Press("#cancel")
		p.See(".notice.bad", "did not let you in")
		p.Accessible()
		p.Fits()
		p.Type("#key", s.key)
		p.Press("main button")
		p.See(".side", "first administrator")
	}
}

// come signs in without a browser's pages, and returns the visitor.
func (s *site) come(login string) *visitor {
	s.t.Helper()
	v := s.visit()
	q, cookies := s.vouch(v, login)
	v.cookies = append(v.cookies, cookies...)
	if a := v.do("GET", "/sign-in/callback?"+q, nil); a.status != http.StatusSeeOther || a.header.Get("Location") != "/" {
		s.t.Fatalf("%s is answered %d, %s: %s", login, a.status, a.header.Get("Location"), a.body)
	}
	v.cookies = slices.DeleteFunc(v.cookies, func(c *http.Cookie) bool { return c.MaxAge < 0 || strings.HasSuffix(c.Name, "-sign-in") })
	return v
}

// vouch goes through the provider's pages, and returns the query that it sends back with, and the cookies of who began.
func (s *site) vouch(v *visitor, login string) (query string, cookies []*http.Cookie) {
	s.t.Helper()
	a := v.do("GET", "/sign-in/oidc", nil)
	if a.status != http.StatusSeeOther {
		s.t.Fatalf("beginning is answered %d: %s", a.status, a.body)
	}
	jar := map[string]string{}
	address, form := a.header.Get("Location"), url.Values(nil)
	for range 10 {
		method, body := http.MethodGet, ""
		if form != nil {
			method, body = http.MethodPost, form.Encode()
		}
		req, err := http.NewRequestWithContext(s.t.Context(), method, address, strings.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for name, value := range jar {
			req.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		resp, err := s.http.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		_ = resp.Body.Close()
		for _, c := range resp.Cookies() {
			jar[c.Name] = c.Value
		}
		to, err := resp.Location()
		if err != nil { // the page that asks who it is
			form = url.Values{"login": {login}, "go": {"yes"}}
			continue
		}
		if strings.HasPrefix(to.String(), s.url) {
			return to.RawQuery, v.cookies
		}
		address, form = to.String(), nil
	}
	s.t.Fatal("the provider does not lead back")
	return "", nil
}

// TestNoButtonThatIsRefused: nobody is offered what they may not do, on any page; whoever does it all the same is refused.
func TestNoButtonThatIsRefused(t *testing.T) {
	var provider string
	s := open(t, withProvider(t, &provider))
	s.populate()
	s.failing()
	for _, login := range []string{"vera", "sue", "otto", "saul"} {
		v := s.come(login)
		seen := map[string]bool{}
		for name, path := range s.addresses() {
			a := v.do("GET", path, nil)
			if a.status >= 400 { // not for them, whole
				continue
			}
			doc, err := html.Parse(strings.NewReader(a.body))
			if err != nil {
				t.Fatal(err)
			}
			for n := range doc.Descendants() {
				if n.Type != html.ElementNode || !inside(n, "main") {
					continue
				}
				switch href := attr(n, "href"); {
				case n.Data == "a" && strings.HasPrefix(href, "/") && !seen[href]:
					seen[href] = true
					if to := v.do("GET", href, nil); to.status == http.StatusForbidden {
						t.Errorf("%s, on %s: the link %s is refused", login, name, href)
					}
				case n.Data == "form" && strings.EqualFold(attr(n, "method"), "post"):
					action, values := attr(n, "action"), fields(n)
					if action == "" {
						action = path
					}
					if key := action + "?" + values.Encode(); seen[key] || login != "vera" && login != "sue" { // others would change what the pages show
						continue
					} else {
						seen[key] = true
					}
					if to := v.do("POST", action, values); to.status == http.StatusForbidden {
						t.Errorf("%s, on %s: the form to %s is refused: %v", login, name, action, values)
					}
				}
			}
		}
	}

	id := s.api("GET", "/v1/links?scope=acme/teams/42&limit=1", nil)["data"].([]any)[0].(map[string]any)["id"].(string)
	for login, want := range map[string]int{"vera": http.StatusForbidden, "sue": http.StatusForbidden, "otto": http.StatusSeeOther} {
		v := s.come(login)
		for _, action := range []string{"pause", "resume"} {
			if a := v.do("POST", "/settings/acme/teams/42", url.Values{"action": {action}, "link": {id}}); a.status != want {
				t.Errorf("%s: to %s is answered %d, not %d", login, action, a.status, want)
			}
		}
		if a := v.do("POST", "/settings/acme/teams/42", url.Values{"action": {"pause"}, "link": {id}}, "Origin", "https://evil.test", "Sec-Fetch-Site", "cross-site"); a.status != http.StatusForbidden || !strings.Contains(a.body, "another site") {
			t.Errorf("%s: from another site it is answered %d", login, a.status)
		}
	}
	// Who is limited to a scope does not see what lies elsewhere.
	v := s.come("sue")
	for path, want := range map[string]int{"/settings/acme/teams/42": http.StatusOK, "/settings/acme/teams/7": http.StatusNotFound, "/settings/": http.StatusNotFound} {
		if a := v.do("GET", path, nil); a.status != want {
			t.Errorf("sue gets %d for %s", a.status, path)
		}
	}
}

// TestSignOnAttacks: an answer of the provider is worth nothing in another browser, twice, or with another way back.
func TestSignOnAttacks(t *testing.T) {
	var provider string
	s := open(t, withProvider(t, &provider))
	victim, attacker := s.visit(), s.visit()
	q, _ := s.vouch(attacker, "ada")
	if a := victim.do("GET", "/sign-in/callback?"+q, nil); a.status != http.StatusBadRequest || !strings.Contains(a.body, "began in another browser") {
		t.Errorf("a browser that never began is answered %d", a.status)
	}
	if a := attacker.do("GET", "/sign-in/callback?"+q, nil); a.status != http.StatusSeeOther {
		t.Errorf("who began is answered %d", a.status)
	}
	if a := attacker.do("GET", "/sign-in/callback?"+q, nil); a.status < 400 {
		t.Errorf("a second time is answered %d", a.status)
	}
	for _, back := range []string{"//evil.test", "https://evil.test/", `/\evil.test`, "/\t/evil.test", "javascript:alert(1)"} {
		v := s.visit()
		a := v.do("GET", "/sign-in?return="+url.QueryEscape(back), nil)
		if strings.Contains(a.body, "evil.test") || strings.Contains(a.body, "javascript:") {
			t.Errorf("the page leads to %q", back)
		}
		a = v.do("GET", "/sign-in/oidc?return="+url.QueryEscape(back), nil)
		for _, c := range v.cookies {
			if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || !strings.HasPrefix(c.Name, "__Host-") || c.MaxAge > 600 {
				t.Errorf("the cookie is %+v", c)
			}
		}
		if to, err := url.Parse(a.header.Get("Location")); err != nil || "http://"+to.Host != provider || to.Query().Get("code_challenge_method") != "S256" || to.Query().Get("nonce") == "" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("it leads to %s", a.header.Get("Location"))
		}
	}
	without := open(t)
	for _, path := range []string{"/sign-in/oidc", "/sign-in/callback?code=x&state=y"} {
		if a := without.visit().do("GET", path, nil); a.status != http.StatusNotFound {
			t.Errorf("%s without a provider is answered %d", path, a.status)
		}
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// inside reports whether a node stands in an element.
func inside(n *html.Node, element string) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Data == element {
			return true
		}
	}
	return false
}

// fields are what a form sends when its first button is pressed.
func fields(form *html.Node) url.Values {
	out := url.Values{}
	button := false
	for n := range form.Descendants() {
		name := attr(n, "name")
		switch {
		case n.Data == "input" && name != "" && attr(n, "type") != "checkbox" && attr(n, "type") != "radio":
			out.Add(name, attr(n, "value"))
		case n.Data == "button" && !button && attr(n, "type") != "button":
			if button = true; name != "" {
				out.Set(name, attr(n, "value"))
			}
		}
	}
	return out
}
