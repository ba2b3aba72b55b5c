package web_test

import (
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/browsertest"
)

// TestLifeOfALink goes the whole way of a person in a browser: from signing in over the partner's consent and a form that
// is wrong at first to a link that is paused, resumed, changed and removed. Nothing on it needs a script.
func TestLifeOfALink(t *testing.T) {
	for name, o := range map[string]browsertest.Options{"with scripts": {}, "without scripts": {NoScript: true}, "on a phone": {Width: 390, Dark: true}} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			p := s.page(o)
			p.Expect("status of 400")
			p.Expect("status of 401")
			p.Go(s.url + "/integrations?scope=acme/teams/42")
			if got := p.Address(); !strings.HasPrefix(got, s.url+"/sign-in?return=") {
				t.Fatalf("without a session one is at %s", got)
			}
			p.Type("#key", "pb_nothing")
			p.Press("main button.primary")
			p.See("#key-error", "key")
			p.Type("#key", s.key)
			p.Press("main button.primary")
			if got := p.Address(); got != s.url+"/integrations?scope=acme/teams/42" {
				t.Fatalf("after signing in one is at %s", got)
			}

			p.Press(`a[href^="/integrations/tasks/link"]`) // nobody has connected an account
			p.See("h1", "Tasks asks")
			p.Press("#allow")
			p.See(".notice.ok", "Ann at Tasks is connected.")
			if got := p.Address(); !strings.HasPrefix(got, s.url+"/integrations/tasks/link?") {
				t.Fatalf("after the consent one is at %s", got)
			}
			if got := p.Text("#f-connection"); got != "Ann at Tasks" {
				t.Errorf("the account is %q", got)
			}

			s.wrongFirst(p)
			s.choose(p, o.NoScript)
			s.tryOut(p, o.NoScript)

			p.Press(`button[value=save]`)
			if got := p.Address(); got != s.url+"/settings/acme/teams/42" {
				t.Fatalf("after saving one is at %s: %s", got, p.Text("main"))
			}
			p.See(".notice.ok", "is linked.")
			p.See(".rows .badge", "Working")
			s.afterwards(p)
		})
	}
}

// wrongFirst sends a form with mistakes in it, and looks at how they are shown.
func (s *site) wrongFirst(p *browsertest.Page) {
	s.t.Helper()
	s.unfold(p)
	p.Type("#f-settings-days", "many")
	p.Type("#f-settings-pin", "very secret pin")
	p.Press(`button[value=save]`)
	p.See("#problems", "3 things have to be put right")
	for field, says := range map[string]string{"#f-settings-project-error": "This is required.", "#f-settings-days-error": "This must be a whole number."} {
		p.See(field, says)
	}
	for _, id := range []string{"f-settings-project", "f-settings-days"} {
		if !browsertest.Ask[bool](p, `(e => e.getAttribute("aria-invalid") === "true" && e.getAttribute("aria-describedby").includes(e.id + "-error"))(document.getElementById("`+id+`"))`) {
			s.t.Errorf("%s does not say that it is wrong", id)
		}
	}
	if got := browsertest.Ask[string](p, `document.getElementById("f-settings-days").value`); got != "many" {
		s.t.Errorf("what was typed became %q", got)
	}
	if html := browsertest.Ask[string](p, `document.documentElement.outerHTML`); strings.Contains(html, "very secret pin") {
		s.t.Error("the page shows a secret")
	}
	p.See("#f-settings-pin-kept", "What you entered before is kept")
	s.unfold(p)
	p.Type("#f-settings-days", "5")
}

// unfold opens what is folded, as a person would before writing into it.
func (s *site) unfold(p *browsertest.Page) {
	s.t.Helper()
	browsertest.Ask[int](p, `[...document.querySelectorAll("main details")].map(d => d.open = true).length`)
}

// choose looks a project up at the partner, and chooses event types.
func (s *site) choose(p *browsertest.Page, plain bool) {
	s.t.Helper()
	p.Type("#f-settings-project-search", "as")
	if plain {
		p.Press(`button[value="choices:project"]`)
	} // with scripts the search begins by itself
	p.See("#link", "Castor")
	if strings.Contains(p.Text("#link"), "Apollo") {
		s.t.Error("the search found what was not searched for")
	}
	p.Click(`input[value=castor]`)
	s.unfold(p)
	p.Click(`input[name=events][value="run_test_failure"]`)
	p.Type("#f-patterns", "repo.p*")
}

// tryOut looks at the preview and sends a test.
func (s *site) tryOut(p *browsertest.Page, plain bool) {
	s.t.Helper()
	if plain {
		p.Press(`button[value=preview]`)
	} else {
		browsertest.Ask[bool](p, `document.getElementById("f-patterns").dispatchEvent(new Event("change", {bubbles: true}))`)
	}
	p.See("aside", "The exact request")
	p.See("aside .message", "Your Rainforest Run")
	p.See("#link", "repo.push")
	until(s.t, "the preview shows the request", func() bool { // it is drawn anew whenever something was changed
		shown := browsertest.Ask[string](p, `document.querySelector("aside pre")?.textContent ?? ""`)
		return strings.Contains(shown, `"project": "castor"`)
	})
	s.tasks.set(func() bool { s.tasks.refuses = true; return true })
	s.press(p, `button[value=test]`, plain)
	p.See("#link .notice.bad", "The test failed")
	s.tasks.set(func() bool { s.tasks.refuses = false; return true })
	s.press(p, `button[value=test]`, plain)
	p.See("#link .notice.ok", "The test went through")
	if s.tasks.sent() != 2 {
		s.t.Errorf("%d tests came through", s.tasks.sent())
	}
}

// press presses a button that leads to another page only without scripts.
func (s *site) press(p *browsertest.Page, selector string, plain bool) {
	if plain {
		p.Press(selector)
	} else {
		p.Click(selector)
	}
}

// afterwards pauses, resumes, tests, changes and removes the link.
func (s *site) afterwards(p *browsertest.Page) {
	s.t.Helper()
	p.Press(`button[value=pause]`)
	p.See(".rows .badge", "Paused")
	p.Press(`button[value=resume]`)
	p.See(".rows .badge", "Working")
	p.Press(`button[value=test]`)
	p.See(".rows .notice.ok", "The test went through")

	p.Press(`.rows a[href^="/integrations/tasks/link?link="]`)
	s.unfold(p)
	p.See("#f-settings-pin-kept", "••••")
	if got := browsertest.Ask[string](p, `document.getElementById("f-settings-days").value`); got != "5" {
		s.t.Errorf("the form says %q days", got)
	}
	p.Type("#f-name", "Our tasks")
	p.Press(`button[value=save]`)
	p.See(".rows h3", "Our tasks")
	var settings map[string]any
	for _, l := range s.api("GET", "/v1/links?integration=tasks", nil)["data"].([]any) {
		settings = l.(map[string]any)["settings"].(map[string]any)
	}
	if settings["project"] != "castor" || settings["days"] != 5.0 || settings["pin"] != "•••• pin" {
		s.t.Errorf("the settings are %v", settings)
	}

	p.Press(`a[href$="/delete"]`)
	p.See("h1", "Remove Our tasks?")
	p.Press("button.danger")
	p.See(".notice.ok", "Our tasks was removed.")
	p.See(".empty", "Nothing is linked here yet")
}

// TestConsentRefused: whoever says no at the partner is told, and can go on without an account.
func TestConsentRefused(t *testing.T) {
	s := open(t)
	s.tasks.denies = true
	p := s.signIn(browsertest.Options{})
	p.Expect("status of 400")
	p.Go(s.url + "/integrations/tasks/link?scope=acme/teams/42")
	p.Press("#allow")
	p.See("h1", "The account was not connected")
	p.Press("main a.primary")
	p.See("h1", "Add Tasks")
}

// TestConnections: an account is looked at, renamed, checked, handed over and removed.
func TestConnections(t *testing.T) {
	s := open(t)
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/auth/tasks?scope=acme&return=/settings/acme")
	p.Press("#allow")
	if got := p.Address(); got != s.url+"/settings/acme" {
		t.Fatalf("after the consent one is at %s", got)
	}
	p.Press(`a[href^="/connections/"]`)
	p.Type("#f-name", "Company account")
	p.Type("#f-owner", "bob")
	p.Press("button[value=save]")
	p.See(".rows", "belongs to bob")
	p.Press(`a[href^="/connections/"]`)
	p.Press("button[value=check]")
	p.See(".notice.ok", "Tasks accepts it.")
	p.Accessible()
	p.Press("button[value=remove]")
	p.See("h1", "Remove Company account?")
	p.Press("button[value=delete]")
	p.See(".notice", "Company account was removed.")
	if !s.tasks.set(func() bool { return s.tasks.revoked > 0 }) {
		t.Error("the partner was not told")
	}
}

// TestOptingOut: a scope goes without what it inherits, and takes part again.
func TestOptingOut(t *testing.T) {
	s := open(t)
	s.api("POST", "/v1/links", map[string]any{"integration": "inbox", "scope": "acme", "events": []string{"*"}, "slot": "archive", "name": "Company archive"})
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/settings/acme/teams/42")
	p.See(".rows", "From acme")
	p.Press("button[value=optout]")
	p.See(".rows .badge", "Opted out")
	p.See(".rows .badge", "Replaced here")
	p.Press("button[value=optin]")
	p.See(".notice.ok", "takes part again")
	if strings.Contains(p.Text(".rows"), "Replaced") {
		t.Error("it does not take part")
	}
}

// TestGeneratedSecretIsShownOnce: what was made for a link stands on the next page, and on no other.
func TestGeneratedSecretIsShownOnce(t *testing.T) {
	s := open(t)
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/integrations/webhook/link?scope=acme")
	p.Type("#f-settings-url", "https://example.com/hook")
	p.Click(`input[name=events][value="*"]`)
	p.Press("button[value=save]")
	if got := browsertest.Ask[string](p, `document.getElementById("made-0").value`); !strings.HasPrefix(got, "whsec_") {
		t.Errorf("the secret is %q", got)
	}
	p.Go(s.url + "/settings/acme")
	if html := browsertest.Ask[string](p, `document.documentElement.outerHTML`); strings.Contains(html, "whsec_") {
		t.Error("the secret is shown again")
	}
}

// TestKeyboard adds a link without a pointer.
func TestKeyboard(t *testing.T) {
	s := open(t)
	p := s.page(browsertest.Options{})
	p.Go(s.url + "/sign-in?return=/integrations/inbox/link?scope=acme")
	p.Tab("#key")
	p.Keys(s.key + "\r")
	p.See("h1", "Add Inbox")
	p.Tab(`input[name=events][value="*"]`)
	p.Keys(" ")
	p.Tab("button[value=save]")
	p.Keys("\r")
	p.See(".notice.ok", "is linked.")
	p.Tab(`button[value=pause]`)
	p.Keys("\r")
	p.See(".rows .badge", "Paused")
}
