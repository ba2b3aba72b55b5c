package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/browsertest"
)

// link makes a link and returns its identifier.
func (s *site) link(in map[string]any) string {
	s.t.Helper()
	return s.api("POST", "/v1/links", in)["id"].(string)
}

// TestInbox: what links to inboxes were sent stands there, by inbox, newest first, as it arrives, and no more than one may see.
func TestInbox(t *testing.T) {
	s := open(t)
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/inbox")
	p.See(".empty", "There is no inbox yet")
	p.Accessible()
	p.Press(".empty a.primary")
	p.See("h1", "Add Inbox")
	s.link(map[string]any{"integration": "inbox", "scope": "acme", "events": []string{"*"}, "settings": map[string]any{"name": "company"}})
	s.link(map[string]any{"integration": "inbox", "scope": "acme/teams/42", "events": []string{"*"}, "settings": map[string]any{"name": "team"}})
	s.link(map[string]any{"integration": "inbox", "scope": "other", "events": []string{"*"}, "body": `{"own": payload.text, "n": 1}`})
	p.Go(s.url + "/inbox")
	p.See(".empty", "Nothing has arrived yet")
	for until := time.Now().Add(time.Minute); !browsertest.Ask[bool](p, `!document.querySelector(".arrived").hidden`) && time.Now().Before(until); {
		s.happened("acme/teams/42", `<b>hello</b> from the "team"`)
	}
	p.See(".arrived", "new message")
	p.Press(".arrived a")
	p.See(".letters", `<b>hello</b> from the "team"`)
	p.Accessible()
	p.Press(`.inboxes a[href*="name=team"]`)
	p.See(".inboxes [aria-current]", "team")
	p.See(".letters", "hello")
	if text := p.Text(".letters"); strings.Contains(text, "company") {
		t.Errorf("the inbox of the team has messages of another: %s", text)
	}
	s.happened("other", "as it likes")
	for until := time.Now().Add(time.Minute); !strings.Contains(p.Text("main"), "as it likes") && time.Now().Before(until); {
		p.Go(s.url + "/inbox?scope=other")
	}
	p.See(".letters .json", `"own": "as it likes"`)
	p.Accessible()
	for range 25 {
		s.happened("acme/teams/7", "many")
	}
	for until := time.Now().Add(time.Minute); !strings.Contains(p.Text("main"), "Older ones") && time.Now().Before(until); {
		p.Go(s.url + "/inbox?scope=acme/teams/7")
	}
	p.Press(`main a.btn[href*="before="]`)
	p.See("main", "Back to the newest")
	p.Press(".letters li:last-child .from a")
	p.See("main", "How it reads")

	phone := s.page(browsertest.Options{Width: 390, Dark: true})
	phone.Go(s.portal("acme/teams/42"))
	phone.See("h1", "Your links")
	phone.Press(`.bar a[href="/inbox"]`)
	phone.See(".letters", "hello")
	if text := phone.Text("main"); strings.Contains(text, "company") || strings.Contains(text, "many") || strings.Contains(text, "as it likes") {
		t.Errorf("a customer sees what others got: %s", text)
	}
	phone.Fits()
	phone.Accessible()
	other := s.page(browsertest.Options{})
	other.Go(s.portal("acme/teams/7"))
	other.See("h1", "Your links")
	other.Go(s.url + "/inbox")
	other.See(".empty", "There is no inbox yet")
}
