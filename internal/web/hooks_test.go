package web_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/signature"
	"github.com/patchbay/patchbay/internal/browsertest"
)

// chimes is a partner that only calls.
type chimes struct{}

const chimesSecret = patchbay.Secret("ding dong")

// Definition has no settings and brings one type.
func (chimes) Definition() *integration.Definition {
	return &integration.Definition{
		Key: "chimes", Title: "Chimes", Category: "automation", Description: "Tells who is at the door.", Decode: integration.Into[map[string]any],
		Types: []patchbay.EventType{{Key: "chimes.rang", Title: "Somebody rang"}},
	}
}

// Verification is GitHub's way of signing.
func (chimes) Verification(c *integration.HookCall) integration.Verification {
	secrets := c.Secrets
	if c.Link == 0 {
		secrets = []integration.Secret{chimesSecret}
	}
	return integration.Verification{Scheme: signature.GitHub(), Secrets: secrets}
}

// Open knows nobody's account.
func (chimes) Open(*integration.HookCall) (*integration.Envelope, error) {
	return &integration.Envelope{Type: "ring", Account: "nobody"}, nil
}

// Read makes nothing of it.
func (chimes) Read(context.Context, *integration.HookCall) (*integration.Reading, error) {
	return &integration.Reading{Ignored: "it was the wind"}, nil
}

// ring has the partner call.
func (s *site) ring(body string) {
	s.t.Helper()
	h := http.Header{}
	if err := signature.GitHub().Sign(h, "", "POST", []byte(body), chimesSecret, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/integrations/chimes/hook", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header = h
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		s.t.Fatalf("the call was answered %d", resp.StatusCode)
	}
}

// TestHooks: what nobody could place stands first, can be looked at and read again.
func TestHooks(t *testing.T) {
	s := open(t)
	const evil = `{"door": "<script>alert(1)</script>"}`
	s.ring(evil)
	p := s.signIn(browsertest.Options{})
	for until := time.Now().Add(time.Minute); ; {
		p.Go(s.url + "/hooks")
		if strings.Contains(p.Text("main"), "They belong to no link") || time.Now().After(until) {
			break
		}
	}
	p.See("main", "They belong to no link")
	p.Accessible()
	p.Press("tbody a")
	p.See("h1", "Chimes: ring")
	p.See("pre", `"door": "<script>alert(1)</script>"`)
	p.Accessible()
	p.Press("button.primary")
	p.See(".notice", "It was read again: not placed.")

	p.Go(s.url + "/hooks?state=unplaced")
	p.See("tbody", "Chimes")
	p.Go(s.url + "/hooks?state=done")
	p.See(".empty", "Nothing here")
}

// TestReceivingLink: whoever sets up the partner's side by hand is told the address and the secret.
func TestReceivingLink(t *testing.T) {
	s := open(t)
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/integrations/chimes/link?scope=acme")
	if n := browsertest.Ask[int](p, `document.querySelectorAll("input[name=events], aside, button[value=test]").length`); n != 0 {
		t.Errorf("what only receives has %d fields for sending", n)
	}
	p.Press("button[value=save]")
	p.See(".notice.ok", "Chimes is linked.")
	p.See(".notice.ok", "Secret that Chimes signs with")
	if got := browsertest.Ask[string](p, `document.querySelector(".rows .copy input").value`); !strings.HasPrefix(got, s.url+"/integrations/chimes/hook/") {
		t.Errorf("the partner calls %q", got)
	}
	s.unfold(p)
	p.Accessible()
}
