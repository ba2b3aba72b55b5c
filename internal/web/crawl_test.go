package web_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// Bounds of a crawl: pages that differ in what they are about only are alike, and a few of them will do.
const (
	crawlAlike = 2
	crawlMost  = 400
)

var identifier = regexp.MustCompile(`[a-z]{3}_[0-9a-z]{13}`)

// alike names the page that an address is of, whatever it is about.
func alike(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	path := identifier.ReplaceAllString(u.Path, "{id}")
	for _, list := range []string{"/settings/", "/catalog/", "/integrations/", "/links/scope/"} {
		if rest, ok := strings.CutPrefix(path, list); ok && rest != "" && !strings.HasPrefix(rest, "{id}") {
			_, deeper, _ := strings.Cut(rest, "/")
			if list == "/settings/" {
				deeper = ""
			}
			path = list + "…" + deeper
		}
	}
	if keys := slices.Sorted(maps.Keys(u.Query())); len(keys) > 0 {
		path += "?" + strings.Join(keys, "&")
	}
	return path
}

// crawled is a page as it was answered.
type crawled struct {
	answer
	address string
	doc     *html.Node
}

// crawl follows the links of pages, from an address on, and returns the pages that it saw.
func (v *visitor) crawl(from string) []crawled {
	v.t.Helper()
	var out []crawled
	seen, times := map[string]bool{from: true}, map[string]int{}
	for next := []string{from}; len(next) > 0 && len(out) < crawlMost; next = next[1:] {
		address := next[0]
		kind := alike(address)
		if times[kind]++; times[kind] > crawlAlike {
			continue
		}
		p := crawled{answer: v.do("GET", address, nil), address: address}
		if !strings.HasPrefix(p.header.Get("Content-Type"), "text/html") && p.status != http.StatusSeeOther && p.status != http.StatusFound {
			if p.status >= http.StatusBadRequest {
				v.t.Errorf("%s was answered %d: %s", address, p.status, p.body)
			}
			continue // a download
		}
		p.doc = parsed(v.t, p.body)
		out = append(out, p)
		for n := range p.doc.Descendants() {
			to := attribute(n, "href")
			if n.Data != "a" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") {
				continue
			}
			to, _, _ = strings.Cut(to, "#")
			if !seen[to] && !elsewhere(to) {
				seen[to] = true
				next = append(next, to)
			}
		}
	}
	return out
}

// elsewhere reports whether an address is no page of ours: it is the API's, or leads to a partner.
func elsewhere(to string) bool {
	for _, prefix := range []string{"/docs", "/v1/", "/openapi", "/auth/", "/assets/", "/healthz", "/metrics", "/back"} {
		if strings.HasPrefix(to, prefix) {
			return true
		}
	}
	return false
}

func parsed(t testing.TB, page string) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// TestEveryPageThatCanBeReached follows every link, as everybody who looks: nothing is missing, refused or loaded from
// elsewhere, titles tell pages apart, and forms can be sent without a script.
func TestEveryPageThatCanBeReached(t *testing.T) {
	var c clock
	c.behind.Store(int64(24 * time.Hour))
	s := openAt(t, c.now)
	s.populate()
	s.liveIn(&c, 60, true)
	visitors := map[string]func() (*visitor, string){
		"admin":    func() (*visitor, string) { return s.signedIn(), "/" },
		"operator": func() (*visitor, string) { return s.signedInAs("publish", "inline", "manage"), "/" },
		"viewer":   func() (*visitor, string) { return s.signedInAs("read"), "/" },
		"portal":   func() (*visitor, string) { return s.inPortal("acme/teams/42"), "/settings/acme/teams/42" },
	}
	for name, begin := range visitors {
		t.Run(name, func(t *testing.T) {
			v, from := begin()
			pages := v.crawl(from)
			titles := map[string]string{}
			kinds := map[string]bool{}
			for i := range pages {
				p := &pages[i]
				kinds[alike(p.address)] = true
				checkPage(t, p)
				title := titleOf(p.doc)
				if other, taken := titles[title]; taken && alike(other) != alike(p.address) && strings.Split(other, "?")[0] != strings.Split(p.address, "?")[0] {
					t.Errorf("%s and %s have one title, %q", other, p.address, title)
				}
				titles[title] = p.address
			}
			t.Logf("%d pages of %d kinds: %s", len(pages), len(kinds), strings.Join(slices.Sorted(maps.Keys(kinds)), " "))
			if least := map[string]int{"admin": 40, "operator": 36, "viewer": 25, "portal": 9}[name]; len(kinds) < least {
				t.Errorf("only %d kinds of pages were reached", len(kinds))
			}
		})
	}
}

func titleOf(doc *html.Node) string {
	for n := range doc.Descendants() {
		if n.Data == "title" && n.FirstChild != nil && n.Parent.Data == "head" {
			return n.FirstChild.Data
		}
	}
	return ""
}

func checkPage(t *testing.T, p *crawled) {
	t.Helper()
	switch p.status {
	case http.StatusOK:
	case http.StatusSeeOther, http.StatusFound:
		return
	default:
		t.Errorf("%s was answered %d: %s", p.address, p.status, mainText(p.doc))
		return
	}
	policy := p.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self';") || strings.Contains(policy, "unsafe") {
		t.Errorf("%s: the policy is %q", p.address, policy)
	}
	for n := range p.doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				t.Errorf("%s: <%s> has the attribute %s", p.address, n.Data, a.Key)
			}
			loads := a.Key == "src" || a.Key == "href" && n.Data == "link" || a.Key == "action"
			if loads && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "data:") && a.Val != "" || strings.HasPrefix(a.Val, "//") {
				t.Errorf("%s: <%s %s=%q> is of another host", p.address, n.Data, a.Key, a.Val)
			}
		}
		if (n.Data == "script" || n.Data == "style") && n.FirstChild != nil {
			t.Errorf("%s: a <%s> stands in the page", p.address, n.Data)
		}
		if n.Data == "form" && !canBeSent(n) {
			t.Errorf("%s: the form to %q has no button that sends it without a script", p.address, attribute(n, "action"))
		}
	}
}

// canBeSent reports whether a form has a button that is there without scripts.
func canBeSent(form *html.Node) bool {
	for n := range form.Descendants() {
		if n.Data != "button" && n.Data != "input" || strings.Contains(attribute(n, "class"), "js-only") {
			continue
		}
		if kind := attribute(n, "type"); kind == "submit" || n.Data == "button" && kind == "" {
			return true
		}
	}
	return false
}

func mainText(doc *html.Node) string {
	var b strings.Builder
	for n := range doc.Descendants() {
		if n.Data == "main" {
			for x := range n.Descendants() {
				if x.Type == html.TextNode {
					b.WriteString(strings.TrimSpace(x.Data) + " ")
				}
			}
		}
	}
	return b.String()
}

// signedInAs has the session of somebody whose key may do that.
func (s *site) signedInAs(permissions ...string) *visitor {
	s.t.Helper()
	key, ok := s.api("POST", "/v1/keys", map[string]any{"name": fmt.Sprint(permissions), "permissions": permissions})["token"].(string)
	if !ok {
		s.t.Fatal("the new key is not in the answer")
	}
	v := s.visit()
	if a := v.do("POST", "/sign-in", url.Values{"key": {key}}); a.status != http.StatusSeeOther {
		s.t.Fatalf("signing in was answered %d: %s", a.status, a.body)
	}
	return v
}

// inPortal has a customer's session.
func (s *site) inPortal(scope string) *visitor {
	s.t.Helper()
	_, token, _ := strings.Cut(s.portal(scope), "#")
	v := s.visit()
	if a := v.do("POST", "/portal/exchange", url.Values{"token": {strings.TrimPrefix(token, "token=")}}); a.status != http.StatusSeeOther {
		s.t.Fatalf("the exchange was answered %d: %s", a.status, a.body)
	}
	return v
}

// firstVisit is how much a browser that has been here never before loads of a page, its assets with it.
func (v *visitor) firstVisit(address string) (total int, parts map[string]int) {
	v.t.Helper()
	parts = map[string]int{}
	load := func(what string) answer {
		a := v.do("GET", what, nil, "Accept-Encoding", "gzip")
		parts[what] = len(a.body)
		total += len(a.body)
		return a
	}
	load(address)
	for n := range parsed(v.t, v.do("GET", address, nil).body).Descendants() {
		if n.Data == "script" || n.Data == "link" {
			if to := attribute(n, "src") + attribute(n, "href"); to != "" && parts[to] == 0 {
				load(to)
			}
		}
	}
	return total, parts
}

// TestFirstVisit: a page with its stylesheet, scripts and font is less than 100 KB on the line.
func TestFirstVisit(t *testing.T) {
	var c clock
	c.behind.Store(int64(24 * time.Hour))
	s := openAt(t, c.now)
	s.populate()
	s.liveIn(&c, 120, true)
	v := s.signedIn()
	heaviest := 0
	for _, p := range v.crawl("/") {
		if p.status != http.StatusOK {
			continue
		}
		total, parts := v.firstVisit(p.address)
		if heaviest = max(heaviest, total); total > 100_000 {
			t.Errorf("a first visit of %s takes %d bytes: %v", p.address, total, parts)
		}
	}
	t.Logf("the heaviest first visit takes %d bytes", heaviest)
}
