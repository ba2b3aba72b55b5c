package web_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/patchbay/patchbay/internal/browsertest"
	"github.com/patchbay/patchbay/internal/config"
)

// shots is where TestShots writes pictures of every page, to be looked at: go test -run TestShots -args -shots DIR.
var shots = flag.String("shots", "", "directory for pictures of the pages")

func TestShots(t *testing.T) {
	if *shots == "" {
		t.Skip("pictures are made for people: give a directory, go test ./internal/web -run TestShots -args -shots DIR")
	}
	if err := os.MkdirAll(*shots, 0o750); err != nil {
		t.Fatal(err)
	}
	s := open(t, func(c *config.Config) { c.PortalName, c.PortalAccent = "I Done This", "#e8590c" })
	empty := s.signIn(browsertest.Options{})
	empty.Shot(filepath.Join(*shots, "overview-empty.png"))
	empty.Go(s.url + "/settings/acme/teams/42")
	empty.Shot(filepath.Join(*shots, "settings-empty.png"))
	s.populate()
	s.failing()
	for _, dark := range []bool{false, true} {
		for _, width := range []int{390, 1440} {
			p := s.signIn(browsertest.Options{Dark: dark, Width: width})
			for name, path := range s.addresses() {
				p.Go(s.url + path)
				look := "light"
				if dark {
					look = "dark"
				}
				p.Shot(filepath.Join(*shots, fmt.Sprintf("%s-%s-%d.png", name, look, width)))
			}
			s.shootForms(p, width, dark)
		}
	}
}

// shootForms makes pictures of what is only there after something was done.
func (s *site) shootForms(p *browsertest.Page, width int, dark bool) {
	shoot := func(name string) {
		look := "light"
		if dark {
			look = "dark"
		}
		p.Shot(filepath.Join(*shots, fmt.Sprintf("%s-%s-%d.png", name, look, width)))
	}
	p.Expect("status of 400")
	p.Go(s.url + "/integrations/tasks/link?scope=acme/teams/42")
	if browsertest.Ask[bool](p, `!!document.querySelector("#allow")`) {
		p.Press("#allow")
	}
	s.unfold(p)
	p.Type("#f-settings-days", "many")
	p.Press("button[value=save]")
	shoot("form-wrong")
	p.Type("#f-settings-project-search", "o")
	p.See("#link", "Borealis")
	p.Click("input[value=borealis]")
	s.unfold(p)
	p.Type("#f-settings-days", "3")
	p.Click(`input[name=events][value="repo.*"]`)
	p.Click("button[value=test]")
	p.See("#link .notice.ok", "The test went through")
	shoot("form-tested")
	p.Press("button[value=save]")
	shoot("saved")
	p.Press(`a[href^="/connections/"]`)
	shoot("connection")
	p.Go(s.url + "/settings/acme/teams/42")
	p.Press(`a[href$="/delete"]`)
	shoot("delete")
	p.Go(s.portal("acme/teams/42"))
	p.See("h1", "Your links")
	shoot("portal")
	p.Go(s.url + "/integrations?q=nothing+like+it")
	shoot("gallery-empty")
}

// addresses are the pages that there are, by a name.
func (s *site) addresses() map[string]string {
	out := s.deliveryAddresses()
	maps.Copy(out, s.plainAddresses())
	return out
}

// plainAddresses are those that need nothing to be there.
func (s *site) plainAddresses() map[string]string {
	return map[string]string{
		"overview": "/", "integration": "/integrations/webhook", "overview-hour": "/?window=1h", "gallery": "/integrations?scope=acme/teams/42", "settings": "/settings/acme/teams/42", "root": "/settings/",
		"form": "/integrations/tasks/link?scope=acme/teams/42&connection=none", "slack": "/integrations/slack/link?scope=acme/teams/42&connection=none", "webhook": "/integrations/webhook/link?scope=acme/teams/42", "missing": "/settings/nothing/../here", "hooks": "/hooks", "sign-in": "/sign-in", "keys": "/keys", "key-new": "/keys/new",
		"installation": "/installation?far=yes", "configuration": "/installation/configuration", "secrets": "/installation/secrets", "secrets-rotate": "/installation/secrets/rotate", "sessions": "/installation/sessions", "sessions-none": "/installation/sessions?of=customers", "look": "/installation/look?accent=%23e8590c",
		"playground": "/playground", "playground-none": "/playground?q=nothing+like+it", "playground-form": "/playground?type=repo.push&scope=acme/teams/42", "playground-json": "/playground?type=run_completion&view=json", "catalog": "/catalog", "catalog-none": "/catalog?q=nothing+like+it", "type": "/catalog/repo.push", "type-small": "/catalog/integration_test", "type-brought": "/catalog/github.push",
		"links": "/links", "links-scope": "/links?scope=acme/teams/42", "links-found": "/links?state=any", "connections": "/connections",
		"audit": "/audit", "audit-none": "/audit?actor=nobody",
		"inbox": "/inbox", "inbox-none": "/inbox?name=nobody",
		"events": "/events", "events-none": "/events?scope=nobody",
	}
}

// populate makes links of several kinds.
func (s *site) populate() {
	link := func(in map[string]any) string { return s.api("POST", "/v1/links", in)["id"].(string) }
	link(map[string]any{"integration": "inbox", "scope": "acme", "events": []string{"*"}, "slot": "archive", "name": "Company archive"})
	link(map[string]any{"integration": "slack", "scope": "acme/teams/42", "events": []string{"repo.push", "pullrequest.*"}, "settings": map[string]any{"url": s.tasks.server.URL + "/send", "channel": "#develop"}})
	paused := link(map[string]any{"integration": "webhook", "scope": "acme/teams/42", "events": []string{"*"}, "settings": map[string]any{"url": "https://example.com/hooks/patchbay"}})
	s.api("POST", "/v1/links/"+paused+"/pause", nil)
	off := link(map[string]any{"integration": "email", "scope": "acme/teams/42", "events": []string{"run_*"}, "settings": map[string]any{"to": []string{"ops@example.com"}, "host": "smtp.example.com", "from": "p@example.com"}})
	s.api("PATCH", "/v1/links/"+off, map[string]any{"enabled": false})
	link(map[string]any{"integration": "inbox", "scope": "acme/teams/7", "events": []string{"entry.created"}})
}
