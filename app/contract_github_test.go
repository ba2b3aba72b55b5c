package app_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/signature"
	"github.com/patchbay/patchbay/internal/config"
)

// forgeServer plays a GitHub Enterprise Server with one repository, acme/web, and one person, mira.
type forgeServer struct {
	t   *testing.T
	url string

	mu        sync.Mutex
	challenge string // of the consent that is under way
	token     string // "" when it was revoked
	hook      object // as it was registered last
	pinged    int    // how the ping was answered that came while the hook was being registered
	issues    []object
	started   []object
	calls     []string
}

func newForgeServer(t *testing.T) *forgeServer {
	f := &forgeServer{t: t}
	server := httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *forgeServer) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	call := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/api/v3")
	f.calls = append(f.calls, call)
	answer := func(status int, text string) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
	switch {
	case call == "GET /login/oauth/authorize":
		q := r.URL.Query()
		if q.Get("scope") != "repo admin:repo_hook read:user" || q.Get("code_challenge_method") != "S256" || q.Get("client_id") != "Iv1.0" {
			f.t.Errorf("the consent was asked for with %v", q)
		}
		f.challenge = q.Get("code_challenge")
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {"the-code"}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	case call == "POST /login/oauth/access_token":
		form, _ := url.ParseQuery(string(body))
		sum := sha256.Sum256([]byte(form.Get("code_verifier")))
		switch {
		case form.Get("client_secret") != "the-secret" || form.Get("code") != "the-code" || base64.RawURLEncoding.EncodeToString(sum[:]) != f.challenge:
			answer(200, `{"error":"bad_verification_code"}`)
		case r.Header.Get("Accept") != "application/json":
			w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
			_, _ = io.WriteString(w, "access_token="+f.token)
		default:
			f.token = "gho_of-mira-lund"
			answer(200, `{"access_token":"gho_of-mira-lund","token_type":"bearer","scope":"admin:repo_hook,read:user,repo"}`)
		}
	case call == "DELETE /applications/Iv1.0/token":
		f.token = ""
		w.WriteHeader(204)
	case f.token == "" || r.Header.Get("Authorization") != "Bearer "+f.token:
		answer(401, `{"message":"Bad credentials"}`)
	case call == "GET /user":
		w.Header().Set("X-OAuth-Scopes", "admin:repo_hook, read:user, repo")
		answer(200, `{"id":81003,"login":"mira-lund","html_url":"`+f.url+`/mira-lund"}`)
	case call == "GET /user/repos":
		answer(200, `[{"full_name":"acme/web","private":true,"permissions":{"admin":true}}]`)
	default:
		f.repository(call, body, answer)
	}
}

// repository is what there is below /repos/acme/web.
func (f *forgeServer) repository(call string, body []byte, answer func(int, string)) {
	switch strings.Replace(call, "/repos/acme/web", "", 1) {
	case "GET /hooks", "GET /issues":
		answer(200, "[]")
	case "POST /hooks":
		f.hook = decode(f.t, body)
		f.pinged = f.deliver("ping", `{"zen":"Anything added dilutes everything else.","hook_id":7}`).status
		answer(201, `{"id":7}`)
	case "PATCH /hooks/7":
		f.hook = decode(f.t, body)
		answer(200, `{"id":7}`)
	case "DELETE /hooks/7":
		f.hook = nil
		answer(204, "")
	case "POST /issues":
		f.issues = append(f.issues, decode(f.t, body))
		answer(201, fmt.Sprintf(`{"number":%d}`, len(f.issues)))
	case "POST /dispatches":
		f.started = append(f.started, decode(f.t, body))
		answer(204, "")
	default:
		f.t.Errorf("nobody knows %s", call)
		answer(404, `{"message":"Not Found"}`)
	}
}

// deliver calls the registered hook as GitHub does.
func (f *forgeServer) deliver(event, body string) *answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.hook.str("config", "url"), strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", event)
	req.Header.Set("X-GitHub-Delivery", fmt.Sprintf("%x", sha256.Sum256([]byte(body))))
	req.Header.Set("X-GitHub-Hook-Installation-Target-Type", "repository")
	secret := patchbay.Secret(f.hook.str("config", "secret"))
	if err := signature.GitHub().Sign(req.Header, "", req.Method, []byte(body), secret, time.Now()); err != nil {
		f.t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	return &answer{t: f.t, what: event, status: resp.StatusCode, body: raw}
}

// registered is the hook that there is.
func (f *forgeServer) registered() object {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hook
}

// A person connects at GitHub, makes a link to a repository, and from then on what is pushed there is told as entries of the team
// and of the person, and what goes wrong in the product becomes an issue there.
func TestGitHubBothWays(t *testing.T) {
	f := newForgeServer(t)
	s := serve(t, dev, func(c *config.Config) {
		c.Integrations = config.Integrations{"github": {"client_id": "Iv1.0", "client_secret": "the-secret", "url": f.url}}
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.http.Jar = jar
	s.call("GET", "/auth/github?scope=acme&return="+url.QueryEscape("/settings/acme"), "").want(200)
	all := s.call("GET", "/v1/connections", "").want(200)
	cons := all.json().objects("data")
	host := strings.TrimPrefix(f.url, "http://")
	if len(cons) != 1 || cons[0].str("account", "id") != host+":81003" || cons[0].str("account", "name") != "mira-lund" || cons[0].str("state") != "active" ||
		strings.Contains(string(all.body), "gho_") {
		t.Fatalf("the connections are %s", all.body)
	}
	con := cons[0].str("id")
	s.call("PATCH", "/v1/connections/"+con, `{"owner":"u-17","owner_scope":"acme/users/17"}`).want(200)
	choices := s.call("GET", "/v1/integrations/github/choices/repository?scope=acme/teams/1&connection="+con, "").want(200).json()
	if got := choices.objects("data"); len(got) != 1 || got[0].str("value") != "acme/web" {
		t.Errorf("the choices are %v", choices)
	}

	for settings, says := range map[string]string{ // every link has something to do, and does it
		`"settings":{"repository":"acme/web"},"events":["*"]`:                  "sends nothing",
		`"settings":{"repository":"acme/web","receive":"none"}`:                "neither sends nor receives",
		`"settings":{"repository":"acme/web","receive":"none"},"events":[]`:    "neither sends nor receives",
		`"settings":{"repository":"acme/web","receive":"none","mode":"issue"}`: "at least one pattern",
	} {
		no := s.call("POST", "/v1/links", fmt.Sprintf(`{"integration":"github","scope":"acme/teams/1","connection":%q,%s}`, con, settings))
		if no.refused(400, "invalid_request"); !strings.Contains(string(no.body), says) {
			t.Errorf("%s: %s", settings, no.body)
		}
	}
	link := s.call("POST", "/v1/links", fmt.Sprintf(`{"integration":"github","scope":"acme/teams/1","events":["*"],"connection":%q,
		"settings":{"repository":"acme/web","receive":"push,issues","mode":"issue"}}`, con)).want(201).json()
	if link.str("state") != "active" || link.str("short_name") != "GitHub acme/web" || f.pinged != 200 {
		t.Errorf("the link is %v, the ping was answered %d", link, f.pinged)
	}
	if h := f.registered(); h.str("config", "url") != link.str("hook_url") || fmt.Sprint(h["events"]) != "[push issues]" || len(h.str("config", "secret")) < 32 {
		t.Errorf("the hook is %v", h)
	}

	t.Run("in", func(t *testing.T) { githubIn(t, s.in(t), f) })
	t.Run("out", func(t *testing.T) { githubOut(t, s.in(t), f) })

	path := "/v1/links/" + link.str("id")
	s.call("PATCH", path, `{"settings":{"receive":"release"}}`).want(200)
	eventually(t, func() bool { return fmt.Sprint(f.registered()["events"]) == "[release]" }, func() string { return "the hook stays as it was" })
	s.call("DELETE", path, "").want(204)
	s.until("/v1/links", "empty", func(o object) bool { return len(o.objects("data")) == 0 })
	if h := f.registered(); h != nil {
		t.Errorf("the hook stays: %v", h)
	}
	s.call("DELETE", "/v1/connections/"+con, "").want(204)
	eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.token == ""
	}, func() string { return "the token stays valid" })
}

// githubIn pushes two commits, one by somebody who is connected.
func githubIn(t *testing.T, s *server, f *forgeServer) {
	push := decode(t, []byte(s.example("github.push")))
	raw, err := json.Marshal(push)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // GitHub sends again what it thinks was not taken
		f.deliver("push", string(raw)).want(200)
	}
	found := map[string][]object{}
	eventually(t, func() bool {
		for _, kind := range []string{"github.push", "entry.created"} {
			found[kind] = s.call("GET", "/v1/events?type="+kind, "").want(200).json().objects("data")
		}
		return len(found["github.push"]) > 0 && len(found["entry.created"]) > 1
	}, func() string { return fmt.Sprintf("nothing came of the push: %v", found) })
	if len(found["github.push"]) != 1 || len(found["entry.created"]) != 2 {
		t.Fatalf("it came to %v", found)
	}
	e := s.delivered(found["github.push"][0].str("id"))
	if e.str("scope") != "acme/teams/1" || e.str("actor", "name") != "mira-lund" || len(e.objects("deliveries")) != 0 || e.str("source", "kind") != "hook" {
		t.Errorf("the push is %v", e)
	}
	texts := ""
	for _, one := range found["entry.created"] {
		e := s.delivered(one.str("id"))
		also, _ := e.at("also").([]any)
		texts += fmt.Sprintln(e.str("payload", "text"), e.str("payload", "occurred_on"), e.str("payload", "author", "name"), also, len(e.objects("deliveries")))
	}
	for _, want := range []string{
		"Keep the cart when a session ends 2026-11-03 mira-lund [acme/users/17] 0", "Ship the cart's new totals 2026-11-03 tomaszk [] 0",
	} {
		if !strings.Contains(texts, want) {
			t.Errorf("the entries are\n%s, want among them %s", texts, want)
		}
	}
	path := strings.TrimPrefix(f.registered().str("config", "url"), s.url)
	s.call("POST", path, string(raw), header{"X-GitHub-Event", "push"}).want(401)
	s.call("POST", path, string(raw), header{"X-GitHub-Event", "push"}, header{"X-Hub-Signature-256", "sha256=" + strings.Repeat("0", 64)}).want(401)
	s.call("POST", "/integrations/github/hook", string(raw), header{"X-GitHub-Event", "push"}).want(401)
}

// githubOut makes an issue, of which GitHub tells us in turn.
func githubOut(t *testing.T, s *server, f *forgeServer) {
	id, _ := s.publish(`{"event":"run_test_failure","scope":"acme/teams/1","payload":` + s.example("run_test_failure") + `}`)
	if d := s.delivered(id).objects("deliveries"); len(d) != 1 || d[0].str("state") != "succeeded" {
		t.Fatalf("%v", d)
	}
	f.mu.Lock()
	issue := f.issues[0]
	f.mu.Unlock()
	if !strings.HasPrefix(issue.str("title"), "Rainforest found a bug") {
		t.Errorf("the issue is %v", issue)
	}
	body, err := json.Marshal(object{
		"action": "opened", "issue": object{"number": 1, "title": issue.str("title"), "body": issue.str("body"), "state": "open"},
		"repository": object{"full_name": "acme/web"}, "sender": object{"id": 81003, "login": "mira-lund"},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.deliver("issues", string(body)).want(200)
	eventually(t, func() bool {
		for _, h := range s.call("GET", "/v1/hooks?integration=github", "").want(200).json().objects("data") {
			if h.str("type") == "issues" && h.str("state") == "ignored" && strings.Contains(h.str("reason"), "ourselves") {
				return true
			}
		}
		return false
	}, func() string { return "our own issue is not known as ours" })
}

// Without an app people connect with tokens that they made themselves, and a link can do with one of its own.
func TestGitHubTokens(t *testing.T) {
	f := newForgeServer(t)
	f.token = "ghp_of-mira-lund"
	s := serve(t)
	con := s.call("POST", "/v1/connections", fmt.Sprintf(
		`{"integration":"github","scope":"acme","settings":{"token":"ghp_of-mira-lund","api_url":%q}}`, f.url+"/api/v3")).want(201)
	if strings.Contains(string(con.body), "ghp_") || con.json().str("account", "name") != "mira-lund" {
		t.Errorf("the connection is %s", con.body)
	}
	id := con.json().str("id")
	const mode = `"repository":"acme/web","receive":"none","mode":"repository_dispatch"`
	s.link(fmt.Sprintf(`{"integration":"github","scope":"acme/1","events":["run_test_failure"],"connection":%q,"settings":{%s,"event_type":"connected"}}`, id, mode))
	own := s.call("POST", "/v1/links", fmt.Sprintf(`{"integration":"github","scope":"acme/1","events":["run_test_failure"],
		"settings":{%s,"event_type":"own","token":"ghp_of-mira-lund","api_url":%q}}`, mode, f.url+"/api/v3")).want(201)
	if strings.Contains(string(own.body), "ghp_") {
		t.Errorf("the link shows its token: %s", own.body)
	}
	event := `{"event":"run_test_failure","scope":"acme/1","payload":` + s.example("run_test_failure") + `}`
	first, _ := s.publish(event)
	for _, d := range s.delivered(first).objects("deliveries") {
		if d.str("state") != "succeeded" {
			t.Errorf("%v", d)
		}
	}
	f.mu.Lock()
	got := map[string]string{}
	for _, d := range f.started {
		got[d.str("event_type")] = d.str("client_payload", "event")
	}
	f.token = "ghp_another" // mira has deleted the old one
	f.mu.Unlock()
	if fmt.Sprint(got) != "map[connected:run_test_failure own:run_test_failure]" {
		t.Errorf("it started %v", got)
	}
	s.publish(event)
	s.until("/v1/connections/"+id, "in need of another token", func(o object) bool { return o.str("state") == "needs_reauth" })
}
