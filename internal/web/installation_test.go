package web_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/browsertest"
	"github.com/patchbay/patchbay/internal/config"
)

// TestInstallation looks at how the installation is and how it is set up, uses another key for secrets, and tries a colour.
func TestInstallation(t *testing.T) {
	const secret = "a-secret-that-no-page-shows"
	s := open(t, func(c *config.Config) {
		c.SigningKey, c.PortalName, c.MaxBytes = patchbay.Secret(secret), "I Done This", 64<<20
		c.Integrations = config.Integrations{"email": {"host": "127.0.0.1", "port": "1", "password": secret}}
		c.From = config.Origins{"portal-name": "PATCHBAY_PORTAL_NAME", "max-bytes": "patchbay.yaml"}
	})
	s.populate()
	for _, o := range []browsertest.Options{{Width: 390}, {Width: 1440, Dark: true}} {
		p := s.signIn(o)
		look := func() {
			t.Helper()
			p.Fits()
			p.Accessible()
			if strings.Contains(p.Text("body"), secret) {
				t.Errorf("%s shows a secret", p.Address())
			}
		}
		p.Go(s.url + "/installation")
		p.See("h1", "Settings")
		p.See(".checks", "It takes writes.")
		p.See(".facts", "SQLite")
		p.See("tbody", "This one")
		look()
		p.Press(`a[href="/installation?far=yes"]`)
		p.See(".checks", "127.0.0.1:1 cannot be reached.")
		p.See("#checks-title", "is broken")
		p.Go(s.url + "/installation/configuration")
		look()
		for _, want := range []string{"portal-name", "I Done This", "PATCHBAY_PORTAL_NAME", "64MB", "patchbay.yaml", "email.host, email.password, email.port", "default"} {
			p.See("main", want)
		}
		if got := browsertest.Ask[string](p, `[...document.querySelectorAll(".effective > div")].find(r => r.querySelector("code").textContent == "signing-key").children[1].innerText`); strings.TrimSpace(got) != "set" {
			t.Errorf("the signing key is shown as %q", got)
		}
		p.Go(s.url + "/installation/secrets")
		p.See("tbody", "In use")
		look()
		p.Press(`main a[href="/installation/secrets/rotate"]`)
		look()
		p.Press("main button.primary")
		p.See(".notice.ok", "sealed with a new key")
		p.Go(s.url + "/installation/secrets")
		p.See("tbody", "yes")
		p.Go(s.url + "/installation/look")
		look()
		p.Type("#f-accent", "#ffcc00")
		p.Press("main form button")
		p.See("main", `portal-accent: "#ffcc00"`)
		if got := browsertest.Ask[string](p, `getComputedStyle(document.querySelector(".portal-look .btn.primary")).backgroundColor`); got != "rgb(255, 204, 0)" && !strings.HasPrefix(got, "rgb(1") {
			t.Errorf("the button is %s", got)
		}
		look()
		p.Type("#f-accent", "yellow")
		p.Press("main form button")
		p.See(".error", "is not a colour")
		look()
	}
}

// TestSessionsPage: an administrator sees who is signed in, and ends it at once; one of a part only there.
func TestSessionsPage(t *testing.T) {
	var provider string
	s := open(t, withProvider(t, &provider))
	s.portal("acme/teams/42")
	vera, saul := s.come("vera"), s.come("saul")
	p := s.page(browsertest.Options{})
	p.Go(s.url + "/sign-in?return=/installation/sessions")
	p.Type("#key", s.key)
	p.Press("main button")
	for _, want := range []string{"viewers@example.com", "Viewer", "acme-admins@example.com", "in acme", "first administrator", "You", "an API key", strings.TrimPrefix(provider, "https://"), "Chrome on Linux"} {
		p.See("tbody", want)
	}
	p.Accessible()
	p.Press(`tbody tr:first-child .acts button`)
	p.See(".notice.ok", "has ended")
	if a := vera.do("GET", "/", nil); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/sign-in") {
		t.Errorf("whose session was ended is answered %d", a.status)
	}
	p.Press(`nav a[href="/installation/sessions?of=customers"]`)
	p.See("tbody", "ann")
	p.Accessible()

	// Of a part: the sessions there, and nothing else of the installation.
	if a := saul.do("GET", "/installation", nil); a.status != http.StatusSeeOther || a.header.Get("Location") != "/installation/sessions" {
		t.Errorf("an administrator of acme is answered %d", a.status)
	}
	a := saul.do("GET", "/installation/sessions", nil)
	if a.status != http.StatusOK || !strings.Contains(a.body, "acme-admins@example.com") || strings.Contains(a.body, "first administrator") || strings.Contains(a.body, "/installation/configuration") {
		t.Errorf("an administrator of acme sees %d: %s", a.status, a.body)
	}
	for _, path := range []string{"/installation/configuration", "/installation/secrets", "/installation/secrets/rotate", "/installation/look", "/installation/look.css"} {
		if a := saul.do("GET", path, nil); a.status != http.StatusForbidden {
			t.Errorf("an administrator of acme gets %d for %s", a.status, path)
		}
	}
	if a := saul.do("POST", "/installation/secrets/rotate", url.Values{}); a.status != http.StatusForbidden {
		t.Errorf("an administrator of acme rotates: %d", a.status)
	}
	of := func(name string) string {
		t.Helper()
		for _, v := range s.api("GET", "/v1/sessions", nil)["data"].([]any) {
			if x := v.(map[string]any); x["name"] == name {
				return x["id"].(string)
			}
		}
		t.Fatalf("there is no session of %s", name)
		return ""
	}
	if a := saul.do("POST", "/installation/sessions/"+of("first administrator")+"/end", url.Values{}); a.status != http.StatusNotFound {
		t.Errorf("ending a session of the whole installation is answered %d", a.status)
	}
	otto := s.come("otto")
	for path, form := range map[string]url.Values{
		"/installation": nil, "/installation/sessions": nil, "/installation/configuration": nil, "/installation/sessions/" + of("acme-admins@example.com") + "/end": {}, "/installation/secrets/rotate": {},
	} {
		method := "GET"
		if form != nil {
			method = "POST"
		}
		if a := otto.do(method, path, form); a.status != http.StatusForbidden {
			t.Errorf("an operator: %s %s is answered %d", method, path, a.status)
		}
	}
	// One's own session ends like any other, and the browser hears of it.
	if a := saul.do("POST", "/installation/sessions/"+of("acme-admins@example.com")+"/end", url.Values{"return": {"https://evil.test"}}); a.status != http.StatusSeeOther || a.header.Get("Location") != "/sign-in" {
		t.Errorf("ending one's own session is answered %d, %s", a.status, a.header.Get("Location"))
	}
	if a := saul.do("GET", "/", nil); a.status != http.StatusSeeOther {
		t.Errorf("afterwards it is answered %d", a.status)
	}
}

// TestSecretKeyFileStays: the page names the file, and never what stands in it.
func TestSecretKeyFileStays(t *testing.T) {
	dir := t.TempDir()
	s := open(t, func(c *config.Config) { c.KeyFile = filepath.Join(dir, "keys") })
	a := s.signedIn().do("GET", "/installation/secrets", nil)
	if !strings.Contains(a.body, filepath.Join(dir, "keys")) {
		t.Errorf("the key file is not named: %s", a.body)
	}
}
