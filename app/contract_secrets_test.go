package app_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/internal/config"
)

// signatures splits a request's webhook-signature.
func (r *request) signatures() []string { return strings.Fields(r.header.Get("Webhook-Signature")) }

// signedText is what Standard Webhooks signs.
func (r *request) signedText() []byte {
	return fmt.Appendf(nil, "%s.%s.%s", r.header.Get("Webhook-Id"), r.header.Get("Webhook-Timestamp"), r.body)
}

// v1 is the signature of a request with a whsec_ secret.
func (r *request) v1(t *testing.T, secret string) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(r.signedText())
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// v1a reports whether one of the signatures is that of an ed25519 key.
func (r *request) v1a(public ed25519.PublicKey) bool {
	for _, s := range r.signatures() {
		text, ok := strings.CutPrefix(s, "v1a,")
		raw, err := base64.StdEncoding.DecodeString(text)
		if ok && err == nil && ed25519.Verify(public, r.signedText(), raw) {
			return true
		}
	}
	return false
}

// secretIn finds the secret that was made for a link in the answer that made it.
func secretIn(t *testing.T, a *answer) string {
	t.Helper()
	i := strings.Index(string(a.body), "whsec_")
	if i < 0 {
		t.Fatalf("the answer shows no secret: %s", a.body)
	}
	secret, _, _ := strings.Cut(string(a.body[i:]), `"`)
	return secret
}

// TestSigning: a secret is made if absent, shown once, signs every request, and both sign during a rotation.
func TestSigning(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	o := app.Options{Config: config.Config{Data: t.TempDir()}, Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }}
	s, p := start(t, o), newPartner(t)
	s.key, _ = s.app.AdminKey()
	made := s.call("POST", "/v1/links", hook(p, "/x", `"events":["*"]`)).want(201)
	first, path := secretIn(t, made), "/v1/links/"+made.json().str("id")
	send := func() request {
		t.Helper()
		s.publish(testEvent)
		return p.next(t)
	}
	for _, get := range []string{path, "/v1/links"} {
		if a := s.call("GET", get, "").want(200); strings.Contains(string(a.body), first) {
			t.Errorf("GET %s shows the secret: %s", get, a.body)
		}
	}
	r := send()
	if diff := cmp.Diff([]string{r.v1(t, first)}, r.signatures()); diff != "" {
		t.Errorf("the signatures: %s", diff)
	}
	if !eventID.MatchString(r.header.Get("Webhook-Id")) || r.header.Get("Webhook-Timestamp") != fmt.Sprint(now.Unix()) {
		t.Errorf("the headers are %v", r.header)
	}

	rotated := s.call("POST", path+"/secret/rotate", "").want(200)
	second := secretIn(t, rotated)
	if second == first || rotated.json().str("id") == "" || strings.Contains(string(s.call("GET", path, "").body), second) {
		t.Errorf("the rotation was answered %s", rotated.body)
	}
	r = send()
	if diff := cmp.Diff([]string{r.v1(t, second), r.v1(t, first)}, r.signatures()); diff != "" {
		t.Errorf("the signatures during a rotation: %s", diff)
	}
	key := s.key
	s.stop()
	s = start(t, o).as(t, key)
	r = send()
	if diff := cmp.Diff([]string{r.v1(t, second), r.v1(t, first)}, r.signatures()); diff != "" {
		t.Errorf("the signatures during a rotation, after a restart: %s", diff)
	}
	mu.Lock()
	now = now.Add(25 * time.Hour)
	mu.Unlock()
	r = send()
	if diff := cmp.Diff([]string{r.v1(t, second)}, r.signatures()); diff != "" {
		t.Errorf("the signatures after a rotation: %s", diff)
	}
}

// TestAsymmetricSigning: a whsk_ secret signs with ed25519, and goes on doing so when it is rotated.
func TestAsymmetricSigning(t *testing.T) {
	s, p := serve(t), newPartner(t)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := "whsk_" + base64.StdEncoding.EncodeToString(private)
	id := s.link(fmt.Sprintf(`{"integration":"webhook","events":["*"],"settings":{"url":%q,"secret":%q}}`, p.url("/x"), secret))
	s.publish(testEvent)
	if r := p.next(t); !r.v1a(public) || len(r.signatures()) != 1 {
		t.Errorf("the signature is %v", r.signatures())
	}
	rotated := s.call("POST", "/v1/links/"+id+"/secret/rotate", "").want(200)
	i := strings.Index(string(rotated.body), "whsk_")
	if i < 0 {
		t.Fatalf("the new secret is not an ed25519 key, which is all that the receiver can check: %s", rotated.body)
	}
	text, _, _ := strings.Cut(string(rotated.body[i+len("whsk_"):]), `"`)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != ed25519.PrivateKeySize {
		t.Fatalf("the new secret is %q: %v", text, err)
	}
	s.publish(testEvent)
	r := p.next(t)
	if next := ed25519.PrivateKey(raw).Public().(ed25519.PublicKey); !r.v1a(public) || !r.v1a(next) || len(r.signatures()) != 2 {
		t.Errorf("during a rotation the signatures are %v", r.signatures())
	}
}

// TestSecretsAreWriteOnly: reads show them masked, and a PATCH that sends the mask back keeps them.
func TestSecretsAreWriteOnly(t *testing.T) {
	s, p := serve(t), newPartner(t)
	id := s.link(`{"integration":"webhook","events":["*"],"settings":{"url":"` + p.url("/x") + `","bearer":"bearer-token-12345","headers":{"X-Token":"header-token-6789"}}}`)
	path := "/v1/links/" + id
	got := s.call("GET", path, "").want(200)
	if strings.Contains(string(got.body), "bearer-token") || strings.Contains(string(got.body), "header-token") {
		t.Fatalf("a secret is shown: %s", got.body)
	}
	bearer, token := got.json().str("settings", "bearer"), got.json().str("settings", "headers", "X-Token")
	if !strings.HasSuffix(bearer, "2345") || !strings.HasPrefix(bearer, "••••") {
		t.Errorf("the mask is %q", bearer)
	}
	check := func(bearer, header string) {
		t.Helper()
		s.publish(testEvent)
		if r := p.next(t); r.header.Get("Authorization") != "Bearer "+bearer || r.header.Get("X-Token") != header {
			t.Errorf("what was sent is %q and %q", r.header.Get("Authorization"), r.header.Get("X-Token"))
		}
	}
	for says, body := range map[string]string{
		"the mask sent back keeps the value": fmt.Sprintf(`{"settings":{"bearer":%q}}`, bearer),
		"all masks sent back":                fmt.Sprintf(`{"settings":{"url":%q,"bearer":%q,"headers":{"X-Token":%q},"secret":%q}}`, p.url("/x"), bearer, token, got.json().str("settings", "secret")),
		"settings as they were read":         `{"settings":` + string(rawSettings(t, got.body)) + `}`,
		"other settings leave it alone":      `{"settings":{"method":"PUT"}}`,
		"no settings":                        `{"settings":{}}`,
	} {
		t.Run(says, func(t *testing.T) {
			s.in(t).call("PATCH", path, body).want(200)
			check("bearer-token-12345", "header-token-6789")
		})
	}
	t.Run("a new value replaces", func(t *testing.T) {
		s.in(t).call("PATCH", path, `{"settings":{"bearer":"another-token-54321"}}`).want(200)
		check("another-token-54321", "header-token-6789")
	})
	t.Run("a mask of something else is refused", func(t *testing.T) {
		s.in(t).call("PATCH", path, fmt.Sprintf(`{"settings":{"bearer":%q}}`, bearer)).refused(400, "invalid_request")
		s.in(t).call("PATCH", path, `{"settings":{"bearer":"••••"}}`).refused(400, "invalid_request")
		check("another-token-54321", "header-token-6789")
	})
	t.Run("null removes", func(t *testing.T) {
		s.in(t).call("PATCH", path, `{"settings":{"bearer":null}}`).want(200)
		check2 := s.call("GET", path, "").json()
		if check2.at("settings", "bearer") != nil {
			t.Errorf("it is still there: %v", check2.at("settings"))
		}
	})
	t.Run("a required setting cannot be removed", func(t *testing.T) {
		s.in(t).call("PATCH", path, `{"settings":{"url":null}}`).refused(400, "misconfigured_integration")
	})
	t.Run("a secret of one's own is not shown, not even once", func(t *testing.T) {
		own := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
		a := s.in(t).call("POST", "/v1/links", fmt.Sprintf(`{"integration":"webhook","events":["x"],"settings":{"url":%q,"secret":%q}}`, p.url("/y"), own)).want(201)
		if strings.Contains(string(a.body), own) {
			t.Errorf("it is shown: %s", a.body)
		}
	})
	t.Run("user information in a URL is masked, and nothing else of it", func(t *testing.T) {
		s := s.in(t)
		a := s.call("POST", "/v1/links", `{"integration":"webhook","events":["integration_test"],"settings":{"url":"`+strings.Replace(p.url("/y?token=abc"), "://", "://ann:secret-word@", 1)+`"}}`).want(201)
		url := a.json().str("settings", "url")
		if strings.Contains(string(a.body), "secret-word") || !strings.Contains(url, "@"+strings.TrimPrefix(p.url("/y?token=abc"), "http://")) {
			t.Errorf("the answer is %s", a.body)
		}
		path := "/v1/links/" + a.json().str("id")
		s.call("PATCH", path, fmt.Sprintf(`{"settings":{"url":%q}}`, url)).want(200)
		s.call("PATCH", path, fmt.Sprintf(`{"settings":{"url":%q}}`, strings.Replace(url, "/y", "/z", 1))).refused(400, "invalid_request")
		s.publish(testEvent)
		for range 2 {
			if r := p.next(t); r.path == "/y" && !strings.HasPrefix(r.header.Get("Authorization"), "Basic ") {
				t.Errorf("without its user information: %v", r.header)
			}
		}
	})
}

func rawSettings(t *testing.T, link []byte) []byte {
	t.Helper()
	_, rest, ok := strings.Cut(string(link), `"settings":`)
	if !ok {
		t.Fatalf("there are no settings in %s", link)
	}
	end := strings.Index(rest, `,"slot"`)
	return []byte(rest[:end])
}

// TestANewAddressNeedsTheCredentialsAgain that would be sent to it; a signing key stays.
func TestANewAddressNeedsTheCredentialsAgain(t *testing.T) {
	s, p, elsewhere := serve(t), newPartner(t), newPartner(t)
	for _, c := range []struct {
		says, integration, settings, change string
		status                              int
	}{
		{"a bearer token", "webhook", `"url":"%s/a","bearer":"token-1234567"`, `"url":"%s/a"`, 400},
		{"a password", "webhook", `"url":"%s/a","basic":{"username":"ann","password":"word-1234567"}`, `"url":"%s/a"`, 400},
		{"a header", "webhook", `"url":"%s/a","headers":{"X-Token":"token-1234567"}`, `"url":"%s/a"`, 400},
		{"one of two headers", "webhook", `"url":"%s/a","headers":{"X-A":"token-1234567","X-B":"token-7654321"}`, `"url":"%s/a","headers":{"X-A":"token-new-1234","X-B":"••••4321"}`, 400},
		{"a mask is not the token", "webhook", `"url":"%s/a","bearer":"token-1234567"`, `"url":"%s/a","bearer":"••••4567"`, 400},
		{"a room's token", "hip_chat", `"base_url":"%s","room_id":"1","room_token":"token-1234567"`, `"base_url":"%s"`, 400},
		{"a tracker's token", "pivotal_tracker", `"base_url":"%s","project_id":"1","api_token":"token-1234567"`, `"base_url":"%s"`, 400},
		{"the default address is an address too", "pivotal_tracker", `"base_url":"%s","project_id":"1","api_token":"token-1234567"`, `"base_url":null`, 400},
		{"Jira's token", "jira", `"jira_base_url":"%s","project_key":"P","token":"token-1234567"`, `"jira_base_url":"%s"`, 400},
		{"given again", "webhook", `"url":"%s/a","bearer":"token-1234567"`, `"url":"%s/a","bearer":"token-1234567"`, 200},
		{"another one given", "webhook", `"url":"%s/a","bearer":"token-1234567"`, `"url":"%s/a","bearer":"token-of-theirs"`, 200},
		{"taken away", "webhook", `"url":"%s/a","bearer":"token-1234567"`, `"url":"%s/a","bearer":null`, 200},
		{"a signing key stays", "webhook", `"url":"%s/a"`, `"url":"%s/a"`, 200},
	} {
		t.Run(c.says, func(t *testing.T) {
			s := s.in(t)
			fill := func(settings, url string) string { return strings.Replace(settings, "%s", url, 1) }
			path := "/v1/links/" + s.link(fmt.Sprintf(`{"integration":%q,"events":["integration_test"],"settings":{%s}}`, c.integration, fill(c.settings, p.URL)))
			a := s.call("PATCH", path, `{"settings":{`+fill(c.change, elsewhere.URL)+`}}`).want(c.status)
			if c.status == 400 {
				a.refused(400, "invalid_request")
			}
			s.call("DELETE", path, "").want(204)
		})
	}
	elsewhere.none(t)
}

// TestNothingSecretLeaks into what is kept and shown of attempts, nor into previews.
func TestNothingSecretLeaks(t *testing.T) {
	s, p := serve(t), newPartner(t)
	const secret = "hush-hush-4711"
	p.on("/x", status(400, `{"you said":"`+secret+`"}`))
	url := strings.Replace(p.url("/x"), "://", "://ann:"+secret+"@", 1)
	s.link(`{"integration":"webhook","events":["*"],"retry":{"schedule":[]},"settings":{"url":"` + p.url("/x") + `","headers":{"X-Token":"` + secret + `"}}}`)
	s.link(`{"integration":"webhook","events":["*"],"retry":{"schedule":[]},"settings":{"url":"` + p.url("/x") + `","bearer":"` + secret + `"}}`)
	s.link(`{"integration":"webhook","events":["*"],"retry":{"schedule":[]},"settings":{"url":"` + url + `"}}`)
	s.link(`{"integration":"slack","events":["*"],"settings":{"url":"` + p.url("/"+secret) + `"}}`)
	items := s.watch(nil)
	id, n := s.publish(testEvent)
	if n != "4" {
		t.Fatalf("%s deliveries", n)
	}
	seen := []string{string(s.call("POST", "/v1/events?dry_run=true", testEvent).want(200).body)}
	for _, d := range s.delivered(id).objects("deliveries") {
		seen = append(seen, string(s.call("GET", "/v1/deliveries/"+d.str("id"), "").want(200).body))
	}
	seen = append(seen, string(s.call("GET", "/v1/events/"+id, "").body), string(s.call("GET", "/v1/links", "").body),
		string(s.call("GET", "/v1/deliveries", "").body), string(s.call("GET", "/metrics", "").body),
		string(s.call("POST", "/events", inline("run_error", entry("webhook", `{"url":"`+url+`","secret":"whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}`))).want(400).body))
	for range 9 { // one event, and an attempt and a state for each delivery
		seen = append(seen, nextItem(t, items).data)
	}
	for _, text := range seen {
		if strings.Contains(text, secret) || strings.Contains(text, "aHVzaC1odXNo") {
			t.Errorf("a secret is shown: %s", text)
		}
		if strings.Contains(text, "whsec_c2Vj") {
			t.Errorf("a signing secret is shown: %s", text)
		}
	}
}
