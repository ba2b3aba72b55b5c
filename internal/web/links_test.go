package web_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/browsertest"
)

// inbox makes a link that takes everything, and returns its identifier.
func (s *site) inbox(scope, name string, more ...map[string]any) string {
	s.t.Helper()
	in := map[string]any{"integration": "inbox", "scope": scope, "events": []string{"*"}, "name": name}
	for _, m := range more {
		for k, v := range m {
			in[k] = v
		}
	}
	return s.api("POST", "/v1/links", in)["id"].(string)
}

// happens has events happen.
func (s *site) happens(scope string, n int) {
	s.t.Helper()
	s.api("PUT", "/v1/event-types/order.paid", map[string]any{"title": "Order paid", "example": map[string]any{"order": 42}})
	for i := range n {
		s.api("POST", "/v1/events", map[string]any{"event_type": "order.paid", "scope": scope, "payload": map[string]any{"order": i}})
	}
}

// held counts what is held for a link.
func (s *site) held(link string) int {
	s.t.Helper()
	return len(s.api("GET", "/v1/deliveries?state=held&link="+link, nil)["data"].([]any))
}

// looks checks that a page is accessible, where that can be checked: it takes a script.
func looks(o browsertest.Options) func(*browsertest.Page) {
	return func(p *browsertest.Page) {
		if !o.NoScript {
			p.Accessible()
		}
	}
}

// TestLinkTree walks the tree by its links and by what unfolds, searches it, and looks at a scope's own and inherited links.
func TestLinkTree(t *testing.T) {
	for name, o := range map[string]browsertest.Options{"with scripts": {Width: 1440}, "without scripts, on a phone": {NoScript: true, Width: 390, Dark: true}} {
		t.Run(name, func(t *testing.T) {
			look := looks(o)
			s := open(t)
			s.populate()
			s.failing()
			for i := range 30 { // so many that they do not come with the page
				s.inbox(fmt.Sprintf("acme/shops/%02d/tills", i), fmt.Sprintf("Till %d", i))
			}
			p := s.signIn(o)
			p.Go(s.url + "/links")
			p.See("h1", "Links")
			p.See(".scopes", "acme")
			p.See(".tallies a[href*=failing]", "1")
			p.See("h2", "Below, and in need of attention")
			p.See(".links", "Nobody there")
			p.Fits()
			look(p)
			p.Press(`.scopes a[href="/links?scope=acme"]`)
			p.See(".scopes [aria-current=page]", "acme")
			p.See(".links", "Company archive")
			if !o.NoScript {
				browsertest.Ask[bool](p, `(document.querySelector('[data-branches*="shops"]').open = true)`)
				p.See(`.scopes [data-below="acme/shops"]`, "29")
				look(p)
			}
			p.Press(`.scopes a[href="/links?scope=acme%2Fteams"]`)
			p.Press(`.scopes a[href="/links?scope=acme%2Fteams%2F42"]`)
			p.See("h1", "Links of 42")
			p.See(".links", "Slack #develop")
			p.See("main", "Inherited")
			p.See("main", "Company archive")
			p.Fits()
			look(p)
			p.Press(`.tallies a[href="/links?scope=acme%2Fteams%2F42&state=paused"]`)
			p.See(".links", "example.com")
			if strings.Contains(p.Text(".links"), "Slack") {
				t.Error("what works is among what is paused")
			}
			p.Go(s.url + "/links")
			p.Type("#q", "till 29")
			p.Press(".filters .btn")
			if got := browsertest.Ask[int](p, `document.querySelectorAll(".links tbody tr").length`); got != 1 {
				t.Errorf("the search finds %d links", got)
			}
			p.Go(s.url + "/links?q=nothing+like+it")
			p.See("h2", "No link is like that")
		})
	}
}

// TestLinkTreeOfAPart: whoever looks after a part sees that part, and a portal has no tree.
func TestLinkTreeOfAPart(t *testing.T) {
	s := open(t)
	s.populate()
	s.inbox("other", "Of somebody else")
	key := s.api("POST", "/v1/keys", map[string]any{"scope": "acme/teams", "permissions": []string{"read"}})["token"].(string)
	p := s.page(browsertest.Options{})
	p.Expect("status of 404")
	p.Expect("status of 403")
	p.Go(s.url + "/sign-in?return=/links")
	p.Type("#key", key)
	p.Press("main button.primary")
	p.See(".scopes", "42")
	for _, path := range []string{"/links", "/links?state=any", "/links?q=e"} {
		p.Go(s.url + path)
		for _, hidden := range []string{"Of somebody else", "other", "Company archive"} {
			if strings.Contains(p.Text("main"), hidden) {
				t.Errorf("%s shows %q", path, hidden)
			}
		}
	}
	if n := browsertest.Ask[int](p, `document.querySelectorAll("main form[method=post], main a.primary").length`); n > 0 {
		t.Errorf("who may look has %d things to do", n)
	}
	for _, path := range []string{"/links?scope=other", "/links?scope=acme"} {
		p.Go(s.url + path)
		p.See("h1", "You may not do that")
	}
	portal := s.page(browsertest.Options{})
	portal.Expect("status of 404")
	portal.Go(s.portal("acme/teams/42"))
	portal.See("h1", "Your links")
	portal.Go(s.url + "/links")
	portal.See("h1", "There is nothing here")
}

// TestOneLink: a link is paused, holds, is asked about when it is resumed, skips to now or sends; its secret is made anew.
func TestOneLink(t *testing.T) {
	for name, o := range map[string]browsertest.Options{"with scripts": {Width: 1440}, "without scripts, on a phone": {NoScript: true, Width: 390}} {
		t.Run(name, func(t *testing.T) {
			look := looks(o)
			s := open(t)
			id := s.inbox("acme/teams/42", "Team's inbox")
			p := s.signIn(o)
			p.Go(s.url + "/links/" + id)
			p.See("h1", "Team's inbox")
			p.See(".notice", "Working")
			p.See(".empty", "Nothing went over it yet")
			look(p)
			p.Press("button[value=test]")
			p.See(".notice.ok", "The test went through")
			p.Press("button[value=pause]")
			p.See(".notice", "is paused.")
			s.happens("acme/teams/42", 3)
			until(t, "three are held", func() bool { return s.held(id) == 3 })
			p.Go(s.url + "/links/" + id)
			p.See(".notice.warn", "3 deliveries are held")
			p.See("main .table-wrap", "Held")
			p.Press("button[value=resume]")
			p.See("h1", "Resume Team's inbox?")
			p.See("main", "3 deliveries are held")
			p.Fits()
			look(p)
			p.Press("button[value=skip]")
			p.See(".notice.ok", "goes on from now.")
			if n := s.held(id); n != 0 {
				t.Errorf("%d are held after skipping", n)
			}
			p.Press("button[value=pause]")
			s.happens("acme/teams/42", 2)
			until(t, "two are held", func() bool { return s.held(id) == 2 })
			p.Press("button[value=resume]")
			p.See("main", "2 deliveries are held")
			p.Press("button[value=send]")
			p.See(".notice.ok", "works again.")
			until(t, "they are delivered", func() bool {
				return len(s.api("GET", "/v1/deliveries?state=succeeded&link="+id, nil)["data"].([]any)) == 2
			})
			if n := len(s.api("GET", "/v1/deliveries?state=cancelled&link="+id, nil)["data"].([]any)); n != 3 {
				t.Errorf("%d are cancelled, want those that were skipped", n)
			}
			p.Go(s.url + "/links/" + id + "?window=1h")
			p.See(".nav [aria-current=true]", "Last hour")
			p.See(".figures", "Delivered")
			p.See("main .table-wrap", "Order paid")
			p.Fits()
			look(p)
			p.Go(s.url + "/links?scope=acme/teams/42")
			if got := browsertest.Ask[string](p, `document.querySelector(".links .spark").getAttribute("aria-label")`); got != "2 delivered in the last 24 hours" {
				t.Errorf("the sparkline says %q", got)
			}
			s.rotateBySight(p, look)
		})
	}
}

// rotateBySight makes a webhook's secret anew on its page.
func (s *site) rotateBySight(p *browsertest.Page, look func(*browsertest.Page)) {
	s.t.Helper()
	hook := s.api("POST", "/v1/links", map[string]any{"integration": "webhook", "scope": "acme", "events": []string{"repo.*"}, "settings": map[string]any{"url": "https://example.com/hook"}})["id"].(string)
	p.Go(s.url + "/links/" + hook)
	p.See("aside", "https://example.com/hook")
	if html := browsertest.Ask[string](p, `document.documentElement.outerHTML`); strings.Contains(html, "whsec_") {
		s.t.Error("the page shows a secret")
	}
	p.Press(`a[href$="/rotate"]`)
	p.See("h1", "Make a new secret")
	look(p)
	p.Press("button[value=rotate]")
	if got := browsertest.Ask[string](p, `document.getElementById("made-0").value`); !strings.HasPrefix(got, "whsec_") {
		s.t.Errorf("the secret is %q", got)
	}
	p.Go(s.url + "/links/" + hook)
	if html := browsertest.Ask[string](p, `document.documentElement.outerHTML`); strings.Contains(html, "whsec_") {
		s.t.Error("the secret is shown again")
	}
}

// TestOneLinkInAPortal: customers have the page of their own links, and of no others; whoever may only look has nothing to do there.
func TestOneLinkInAPortal(t *testing.T) {
	s := open(t)
	own := s.inbox("acme/teams/42/web", "Ours")
	above := s.inbox("acme", "The company's", map[string]any{"visible": true, "slot": "archive"})
	beside := s.inbox("acme/teams/7", "Theirs")
	s.happens("acme/teams/42/web", 1)
	p := s.page(browsertest.Options{Width: 390})
	p.Expect("status of 404")
	p.Go(s.portal("acme/teams/42"))
	p.Press(`.scopes a`)
	p.Press(`.rows h3 a[href="/links/` + own + `"]`)
	p.See("h1", "Ours")
	p.See("main", "Order paid")
	p.Fits()
	p.Accessible()
	p.Press("button[value=pause]")
	p.See(".notice", "is paused.")
	s.happens("acme/teams/42/web", 1)
	until(t, "it is held", func() bool { return s.held(own) == 1 })
	p.Press("button[value=resume]")
	p.See("h1", "Resume Ours?")
	p.Press("button[value=send]")
	p.See(".notice.ok", "works again.")
	for _, path := range []string{above, beside, above + "/resume", beside + "/rotate"} {
		p.Go(s.url + "/links/" + path)
		p.See("h1", "There is nothing here")
	}
	look := s.page(browsertest.Options{})
	look.Expect("status of 403")
	look.Go(s.portal("acme/teams/42", "view"))
	look.See("h1", "Your links")
	look.Go(s.url + "/links/" + own)
	look.See("h1", "Ours")
	if n := browsertest.Ask[int](look, `document.querySelectorAll("main button:not([data-copy]), main a.btn").length`); n != 0 {
		t.Errorf("there are %d things to do: %s", n, look.Text("main"))
	}
	look.Go(s.url + "/links/" + own + "/resume")
	look.See("h1", "You may not do that")
	operator := s.signIn(browsertest.Options{})
	operator.Go(s.url + "/settings/acme/teams/42")
	operator.Press("button[value=optout]")
	operator.Go(s.url + "/links/" + above)
	operator.See("aside", "opted out")
	operator.Accessible()
}

// TestConnectionList: accounts are found, and those that need somebody stand first.
func TestConnectionList(t *testing.T) {
	s := open(t)
	p := s.signIn(browsertest.Options{Width: 390})
	p.Go(s.url + "/connections")
	p.See(".empty", "No account is connected yet")
	p.Accessible()
	p.Go(s.url + "/auth/tasks?scope=acme&return=/connections")
	p.Press("#allow")
	p.See("tbody", "Ann at Tasks")
	con := s.api("GET", "/v1/connections", nil)["data"].([]any)[0].(map[string]any)["id"].(string)
	link := s.api("POST", "/v1/links", map[string]any{"integration": "tasks", "scope": "acme/teams/42", "events": []string{"*"}, "connection": con, "settings": map[string]any{"project": "apollo"}})["id"].(string)
	p.Type("#q", "ann acme")
	p.Press(".filters .btn")
	p.See("tbody", "Ann at Tasks")
	p.Fits()
	p.Accessible()
	p.Go(s.url + "/connections?state=attention")
	p.See(".empty", "No connection is like that")
	p.Go(s.url + "/connections/" + con)
	p.Press(`a[href="/links/` + link + `"]`)
	p.See("aside", "Ann at Tasks")
	portal := s.page(browsertest.Options{})
	portal.Go(s.portal("acme/teams/42"))
	portal.See("h1", "Your links")
	portal.Go(s.url + "/connections")
	portal.See(".empty", "No account is connected yet")
	if strings.Contains(portal.Text("main"), "Ann") {
		t.Error("a customer sees an account above")
	}
}
