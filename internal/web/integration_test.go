package web_test

import (
	"strings"
	"testing"

	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/browsertest"
)

// TestIntegrationPages: every integration has a page of documentation, which the gallery leads to, and which is accessible.
func TestIntegrationPages(t *testing.T) {
	s := open(t)
	for _, o := range []browsertest.Options{{Width: 390}, {Width: 1440, Dark: true}} {
		p := s.signIn(o)
		p.Expect("status of 404")
		for _, i := range all.Integrations() {
			d := i.Definition()
			p.Go(s.url + "/integrations/" + d.Key)
			p.See("h1", d.Title)
			for _, setting := range d.Settings {
				p.See("main", setting.Key)
			}
			const prose = `(() => { const m = document.querySelector("main").cloneNode(true); m.querySelectorAll("pre").forEach(e => e.remove()); return m.textContent })()`
			if text := browsertest.Ask[string](p, prose); strings.Contains(text, "\n# ") || strings.Contains(text, "```") {
				t.Errorf("the documentation of %s is not drawn", d.Key)
			}
			p.Fits()
			p.Accessible()
		}
		p.Go(s.url + "/integrations")
		p.Press(`h2 a[href="/integrations/webhook"]`)
		p.See("main", "Verifying a signature")
		p.See(".abilities", "Can be tested")
		p.Press(`main a[href="/catalog"]`)
		p.See("h1", "Event types")
		p.Go(s.url + "/integrations/github")
		p.See(".abilities", "Connects accounts")
		p.Press(`main a[href="/catalog/github.push"]`)
		p.See(".from", "GitHub")
		p.Press(`.from a`)
		p.See("h1", "GitHub")
		p.Go(s.url + "/integrations/nothing_like_it")
		p.See("h1", "There is nothing here")
	}
	if answer := s.api("GET", "/v1/integrations/webhook", nil); answer["key"] != "webhook" {
		t.Errorf("programs get %v", answer)
	}
}
