package e2e

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// forge is a stand-in for GitHub: people consent at once, tokens are checked, and a webhook that is registered is called
// before the call that registers it is answered, as GitHub does.
type forge struct {
	*httptest.Server
	t     *testing.T
	world *http.Client // how the installation is reached from outside

	mu        sync.Mutex
	challenge map[string]string // by code
	redirect  string
	token     string
	hooks     map[string]forgeHook
	pinged    int // what the first call to a new hook was answered
	deleted   []string
	revoked   bool
}

type forgeHook struct {
	URL, Secret string
	Events      []string
}

const forgeClient, forgeSecret = "Iv1.patchbay", "forge-client-secret"

func newForge(t *testing.T) *forge {
	f := &forge{t: t, challenge: map[string]string{}, hooks: map[string]forgeHook{}, token: "gho_" + rand.Text()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/oauth/authorize", f.authorize)
	mux.HandleFunc("POST /login/oauth/access_token", f.exchange)
	mux.HandleFunc("DELETE /api/v3/applications/{client}/token", func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		var in struct {
			Token string `json:"access_token"`
		}
		err := json.NewDecoder(r.Body).Decode(&in)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.revoked = err == nil && id == forgeClient && secret == forgeSecret && in.Token == f.token
		w.WriteHeader(http.StatusNoContent)
	})
	api := func(pattern string, serve func(w http.ResponseWriter, r *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+f.token {
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"message":"Bad credentials"}`)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			serve(w, r)
		})
	}
	api("GET /api/v3/user", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-OAuth-Scopes", "repo, admin:repo_hook, read:user")
		fmt.Fprint(w, `{"id":583231,"login":"ann-codes","html_url":"https://github.example/ann-codes"}`)
	})
	api("GET /api/v3/user/repos", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `[{"full_name":"acme/web","private":true,"permissions":{"admin":true}},{"full_name":"acme/api","private":false,"permissions":{"admin":true}}]`)
	})
	api("GET /api/v3/repos/acme/web/hooks", f.listHooks)
	api("POST /api/v3/repos/acme/web/hooks", f.addHook)
	api("DELETE /api/v3/repos/acme/web/hooks/{id}", f.removeHook)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("GitHub was asked for %s %s", r.Method, r.URL.Path)
		http.NotFound(w, r)
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// authorize is the page on which a person consents; this one does so at once.
func (f *forge) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != forgeClient || q.Get("redirect_uri") != f.redirect || q.Get("code_challenge_method") != "S256" || len(q.Get("state")) < 32 {
		f.t.Errorf("a consent was asked for with %v", q)
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	f.mu.Lock()
	f.challenge[code] = q.Get("code_challenge")
	f.mu.Unlock()
	back := url.Values{"code": {code}, "state": {q.Get("state")}}
	http.Redirect(w, r, f.redirect+"?"+back.Encode(), http.StatusFound)
}

func (f *forge) exchange(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	code := r.PostFormValue("code")
	want := f.challenge[code]
	delete(f.challenge, code)
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	w.Header().Set("Content-Type", "application/json")
	if want == "" || base64.RawURLEncoding.EncodeToString(sum[:]) != want || r.PostFormValue("client_secret") != forgeSecret || r.PostFormValue("redirect_uri") != f.redirect {
		fmt.Fprint(w, `{"error":"bad_verification_code","error_description":"The code passed is incorrect or expired."}`)
		return
	}
	fmt.Fprintf(w, `{"access_token":%q,"token_type":"bearer","scope":"repo,admin:repo_hook,read:user"}`, f.token)
}

func (f *forge) listHooks(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []map[string]any{}
	for id, h := range f.hooks {
		list = append(list, map[string]any{"id": json.Number(id), "config": map[string]any{"url": h.URL}})
	}
	_ = json.NewEncoder(w).Encode(list)
}

func (f *forge) addHook(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Config struct {
			URL, Secret string
			ContentType string `json:"content_type"`
		}
		Events []string
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Config.ContentType != "json" || in.Config.Secret == "" {
		f.t.Errorf("a webhook was asked for with %+v, %v", in, err)
	}
	h := forgeHook{in.Config.URL, in.Config.Secret, in.Events}
	status := f.call(h, "ping", rand.Text(), []byte(`{"zen":"Design for failure.","hook_id":7}`))
	f.mu.Lock()
	f.hooks["7"], f.pinged = h, status
	f.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, `{"id":7,"active":true}`)
}

func (f *forge) removeHook(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.PathValue("id")
	delete(f.hooks, id)
	f.deleted = append(f.deleted, id)
	w.WriteHeader(http.StatusNoContent)
}

// call calls a webhook, signed, and returns what it was answered.
func (f *forge) call(h forgeHook, event, delivery string, body []byte) int {
	f.t.Helper()
	mac := hmac.New(sha256.New, []byte(h.Secret))
	mac.Write(body)
	req, err := http.NewRequest("POST", h.URL, strings.NewReader(string(body)))
	if err != nil {
		f.t.Error(err)
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", event)
	req.Header.Set("X-GitHub-Delivery", delivery)
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := f.world.Do(req)
	if err != nil {
		f.t.Error(err)
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// pushBody is what GitHub calls a webhook with when somebody pushes two commits.
const pushBody = `{"ref":"refs/heads/main","before":"6113728f27ae82c7b1a177c8d03f9e96e0adf246","after":"0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c","created":false,"deleted":false,"forced":false,
"compare":"https://github.example/acme/web/compare/6113728f27ae...0d1a26e67d8f",
"repository":{"id":186853002,"name":"web","full_name":"acme/web","html_url":"https://github.example/acme/web","default_branch":"main","private":true},
"pusher":{"name":"ann-codes","email":"ann@example.com"},"sender":{"login":"ann-codes","id":583231,"html_url":"https://github.example/ann-codes","type":"User"},
"head_commit":{"id":"0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c","message":"Let people sign in with a passkey"},
"commits":[
{"id":"9c2a11d67d8f5eaf1f6ba5c57fc3c7d91ac0f001","message":"Fix the login form\n\nIt lost the password.","timestamp":"2026-11-20T23:10:00-05:00","url":"https://github.example/acme/web/commit/9c2a11d","distinct":true,"author":{"name":"Ann","email":"ann@example.com","username":"ann-codes"},"committer":{"name":"Ann","email":"ann@example.com","username":"ann-codes"},"added":[],"removed":[],"modified":["login.go"]},
{"id":"0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c","message":"Let people sign in with a passkey","timestamp":"2026-11-21T09:00:00+01:00","url":"https://github.example/acme/web/commit/0d1a26e","distinct":true,"author":{"name":"Ann","email":"ann@example.com","username":"ann-codes"},"committer":{"name":"Ann","email":"ann@example.com","username":"ann-codes"},"added":["passkey.go"],"removed":[],"modified":[]}]}`

// TestIDoneThis is the whole life of an integration as I Done This describes it, in a browser without scripts, with the
// real program: somebody connects an account, sets up a link in the form, lands on the team's settings page, what happens
// at the partner becomes entries of the team and of the user and goes out again, and removing takes all of it down.
func TestIDoneThis(t *testing.T) {
	github, slack := newForge(t), newMailbox(t, nil)
	port := freePort(t)
	world := newFront(t, port)
	github.redirect, github.world = world.URL+"/auth/github/callback", &http.Client{Transport: world.Transport}
	data := filepath.Join(t.TempDir(), "data")
	s := startAt(t, port, data, "--public-url", world.URL, "--catalog", "builtin:idonethis", "--egress-allow", "127.0.0.0/8", "--integrations", "github.client_id="+forgeClient, "--integrations", "github.client_secret="+forgeSecret,
		"--integrations", "github.url="+github.URL)
	key, err := os.ReadFile(filepath.Join(data, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	s.key = strings.TrimSpace(string(key))

	// The host product sends Ann to her team's pages.
	status, portal := s.call("POST", "/v1/portal-sessions", `{"scope":"acme/teams/42","user":"ann","owner_scope":"acme/users/ann","return":"https://app.example.com/teams/42"}`)
	if status != 201 {
		t.Fatalf("a portal session: %d %v", status, portal)
	}
	ann := newPerson(t, s, world)
	if status := ann.do("GET", "/settings/acme/teams/42", nil); status == 200 && !strings.Contains(ann.at.Path, "sign-in") {
		t.Fatalf("somebody without a session sees %s", ann.at)
	}
	ann.open("/portal")
	if status := ann.do("POST", "/portal/exchange", url.Values{"token": {portal["token"].(string)}}); status != 200 {
		t.Fatalf("the token was answered %d:\n%s", status, text(ann.page))
	}
	ann.arrives("/settings/acme/teams/42")

	// "The first step is to go to the /integrations page and click the Add button", which leads to the partner's consent and
	// back into the form.
	ann.open("/integrations").reads("GitHub", "Slack")
	ann.open(ann.link("Add GitHub"))
	ann.arrives("/integrations/github/link")
	if strings.Contains(ann.page, github.token) {
		t.Error("the form shows the token")
	}
	// "… the specific details and configurations", with what the partner offers.
	to, form := ann.fields("/integrations/github/link")
	form.Set("action", "choices:repository")
	ann.do("POST", to, form)
	ann.reads("acme/web", "acme/api")
	to, form = ann.fields("/integrations/github/link")
	form.Set("settings.repository", "not a repository")
	form.Set("action", "save")
	if status := ann.do("POST", to, form); status != 400 {
		t.Errorf("a wrong form was answered %d", status)
	}
	to, form = ann.fields("/integrations/github/link")
	form.Set("settings.repository", "acme/web")
	form.Set("action", "save")
	ann.do("POST", to, form)
	// "… they should be directed to the settings page for their team".
	ann.arrives("/settings/acme/teams/42")
	ann.reads("GitHub acme/web", "ann-codes")

	github.mu.Lock()
	hook, pinged := github.hooks["7"], github.pinged
	github.mu.Unlock()
	if pinged != 200 || !slices.Contains(hook.Events, "push") || !strings.HasPrefix(hook.URL, world.URL+"/integrations/github/hook/") {
		t.Fatalf("the webhook is %+v; its ping was answered %d", hook, pinged)
	}

	// "Does the integration need to send out data?": the team's entries go to Slack, all of Ann's to her own webhook.
	for _, body := range []string{
		`{"integration":"slack","scope":"acme/teams/42","events":["entry.created"],"settings":{"url":"` + slack.URL + `/team"}}`,
		`{"integration":"webhook","scope":"acme/users/ann","events":["entry.created"],"settings":{"url":"` + slack.URL + `/ann"}}`,
	} {
		if status, out := s.call("POST", "/v1/links", body); status != 201 {
			t.Fatalf("a link: %d %v", status, out)
		}
	}
	delivery := rand.Text()
	for range 2 { // GitHub sends again what it thinks was lost
		if status := github.call(hook, "push", delivery, []byte(pushBody)); status != 200 {
			t.Fatalf("the push was answered %d\n%s", status, s.logs)
		}
	}
	if status := github.call(forgeHook{URL: hook.URL, Secret: "forged"}, "push", rand.Text(), []byte(pushBody)); status != 401 {
		t.Errorf("a forged push was answered %d", status)
	}
	got := slack.take(t, 4)
	team, own := 0, []string{}
	for _, l := range got {
		switch l.path {
		case "/team":
			team++
		case "/ann":
			var e struct {
				Scope   string
				Payload struct {
					Text, Source string
					OccurredOn   string `json:"occurred_on"`
					Author       struct{ Name, Email string }
				}
			}
			if err := json.Unmarshal(l.body, &e); err != nil || e.Scope != "acme/teams/42" || e.Payload.Source != "github" || e.Payload.Author.Email != "ann@example.com" {
				t.Errorf("Ann's webhook got %s", l.body)
			}
			own = append(own, e.Payload.OccurredOn+" "+e.Payload.Text)
		}
	}
	slices.Sort(own)
	if team != 2 || len(own) != 2 || !strings.HasPrefix(own[0], "2026-11-20 Fix the login form") || !strings.HasPrefix(own[1], "2026-11-21 Let people sign in") {
		t.Errorf("the team got %d entries, Ann %q", team, own)
	}
	_, events := s.call("GET", "/v1/events?type=github.push", "")
	if list := events["data"].([]any); len(list) != 1 {
		t.Errorf("there are %d events of one push", len(list))
	}

	// "… along with a remove button. It's responsible for removing the link along with anything we did at the partner's end".
	ann.open("/settings/acme/teams/42")
	ann.open(ann.link("Remove GitHub"))
	to, form = ann.fields("/integrations/github/link/")
	ann.do("POST", to, form)
	ann.arrives("/settings/acme/teams/42")
	await(t, "the webhook is taken down", func() bool {
		github.mu.Lock()
		defer github.mu.Unlock()
		return len(github.hooks) == 0 && slices.Equal(github.deleted, []string{"7"})
	})
	await(t, "the link is gone", func() bool {
		_, out := s.call("GET", "/v1/links?integration=github", "")
		return len(out["data"].([]any)) == 0
	})
	if status := github.call(hook, "push", rand.Text(), []byte(pushBody)); status != 404 {
		t.Errorf("a call of the removed webhook was answered %d", status)
	}
	// And the account.
	_, out := s.call("GET", "/v1/connections", "")
	con := out["data"].([]any)[0].(map[string]any)
	if con["owner"] != "ann" || con["owner_scope"] != "acme/users/ann" || con["scope"] != "acme/teams/42" {
		t.Errorf("the connection is %v", con)
	}
	if status, out := s.call("DELETE", "/v1/connections/"+con["id"].(string), ""); status != 204 {
		t.Fatalf("the connection could not be removed: %d %v", status, out)
	}
	github.mu.Lock()
	defer github.mu.Unlock()
	if !github.revoked {
		t.Error("the token was not taken back at the partner")
	}
}
