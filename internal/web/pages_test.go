package web_test

import (
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/browsertest"
	"github.com/patchbay/patchbay/internal/config"
)

// TestPagesAreAccessible looks at every page, light and dark, on a phone and on a wide screen.
func TestPagesAreAccessible(t *testing.T) {
	s := open(t)
	s.populate()
	s.failing()
	for _, o := range []browsertest.Options{{Width: 390}, {Width: 1440, Dark: true}} {
		p := s.signIn(o)
		p.Expect("status of 404")
		p.Expect("status of 400")
		for name, path := range s.addresses() {
			p.Go(s.url + path)
			p.See("h1", "")
			p.Fits()
			p.Accessible()
			if name == "form" {
				s.unfold(p)
				p.Fits()
				p.Accessible()
				p.Press("button[value=save]") // with mistakes
				s.unfold(p)
				p.Fits()
				p.Accessible()
			}
		}
		p.Go(s.url + "/settings/acme/teams/42")
		p.Press(`a[href$="/delete"]`)
		p.Accessible()
	}
}

// TestPortal opens a customer's pages: they have the product's look, its way back, and nothing of the operator's.
func TestPortal(t *testing.T) {
	s := open(t, func(c *config.Config) { c.PortalName, c.PortalAccent = "I Done This", "#ffcc00" })
	s.populate()
	s.api("POST", "/v1/links", map[string]any{"integration": "inbox", "scope": "acme", "events": []string{"entry.created"}, "visible": true, "name": "Told by the company"})
	for _, dark := range []bool{false, true} {
		p := s.page(browsertest.Options{Dark: dark})
		p.Expect("status of 404")
		p.Go(s.portal("acme/teams/42"))
		p.See("h1", "Your links")
		if got := p.Address(); got != s.url+"/settings/acme/teams/42" {
			t.Fatalf("the portal opens at %s", got)
		}
		p.See(".rows", "Told by the company")
		p.See(".bar", "Back to I Done This")
		for _, hidden := range []string{"Hooks", "Overview", "Sign out", "Company archive"} {
			if strings.Contains(p.Text("body"), hidden) {
				t.Errorf("a customer sees %q", hidden)
			}
		}
		p.Accessible()
		p.Go(s.url + "/integrations")
		p.Accessible()
		for _, path := range []string{"/hooks", "/settings/acme", "/settings/acme/teams/7", "/settings/"} {
			p.Go(s.url + path)
			p.See("h1", "There is nothing here")
		}
		p.Go(s.url + "/")
		p.See("h1", "Your links")
	}
}

// TestPortalThatMayOnlyLook has no buttons, and its forms are refused.
func TestPortalThatMayOnlyLook(t *testing.T) {
	s := open(t)
	s.populate()
	p := s.page(browsertest.Options{})
	p.Expect("status of 403")
	p.Go(s.portal("acme/teams/42", "view"))
	p.See(".rows", "Slack #develop")
	if n := browsertest.Ask[int](p, `document.querySelectorAll("main button, main .acts a, main a.btn").length`); n != 0 {
		t.Errorf("there are %d buttons: %s", n, p.Text("main"))
	}
	p.Go(s.url + "/integrations/inbox/link")
	p.See("h1", "You may not do that")
	p.Accessible()
}

// TestPortalInAFrame: a page of the host product shows the portal, and no other page can.
func TestPortalInAFrame(t *testing.T) {
	host := newHost(t)
	s := open(t, func(c *config.Config) { c.PortalFrames = []string{host.address()} })
	p := s.page(browsertest.Options{Hosts: []string{strings.TrimPrefix(host.address(), "https://")}})
	host.frame(s.portal("acme/teams/42"))
	p.Go(host.address())
	frame := browsertest.Frame(p, s.url)
	click := func(selector string) {
		t.Helper()
		browsertest.Ask[bool](frame, `(setTimeout(() => document.querySelector(`+"`"+selector+"`"+`).click()), true)`)
	}
	frame.See("h1", "Your links")
	click("main a.primary")
	frame.See("h1", "Integrations")
	click(`a[href^="/integrations/inbox/link"]`)
	frame.See("h1", "Add Inbox")
	click(`input[name=events][value="*"]`)
	click("button[value=save]")
	frame.See(".notice.ok", "is linked.")
}

// TestConsentFromAFrame: a partner's consent cannot be framed, so it has a tab of its own, and the tab has a session.
func TestConsentFromAFrame(t *testing.T) {
	host := newHost(t)
	s := open(t, func(c *config.Config) { c.PortalFrames = []string{host.address()} })
	p := s.page(browsertest.Options{Hosts: []string{strings.TrimPrefix(host.address(), "https://")}})
	host.frame(s.portal("acme/teams/42"))
	p.Go(host.address())
	frame := browsertest.Frame(p, s.url)
	frame.See("h1", "Your links")
	browsertest.Ask[bool](frame, `(setTimeout(() => location.href = "/integrations/tasks/link"), true)`)
	frame.See("h1", "Connect Tasks")
	next := browsertest.Ask[string](frame, `document.querySelector("main a.primary").href`)
	tab := s.page(browsertest.Options{})
	tab.Go(next)
	tab.See("h1", "Connect Tasks") // whoever sent somebody this address does not get their account unasked
	tab.See("main", "acme/teams/42")
	tab.Press("main a.primary")
	tab.See("h1", "Tasks asks")
	tab.Press("#allow")
	tab.See("h1", "Add Tasks")
	tab.See(".notice.ok", "Ann at Tasks is connected.")
	browsertest.Ask[bool](frame, `(setTimeout(() => location.href = "/settings/acme/teams/42"), true)`)
	frame.See(".rows", "Ann at Tasks")
}

// TestPortalLinkWorksOnce: its token is exchanged, and of no use after that.
func TestPortalLinkWorksOnce(t *testing.T) {
	s := open(t)
	address := s.portal("acme/teams/42")
	p := s.page(browsertest.Options{})
	p.Go(address)
	p.See("h1", "Your links")
	again := s.page(browsertest.Options{})
	again.Expect("status of 401")
	again.Go(address)
	again.See("h1", "This page could not be opened")
	none := s.page(browsertest.Options{})
	none.Go(s.url + "/portal")
	none.See("main", "This address is not complete.")
	none.Accessible()
}
