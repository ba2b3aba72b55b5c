package github

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay/patchbay/integration"
)

// fake is a GitHub with one repository, acme/web, that remembers what is done to it.
type fake struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	tokens   map[string]bool
	issues   []*fakeIssue
	hooks    map[int]hook
	nextHook int
	statuses []newStatus
	started  []string // bodies of dispatches
	perPage  int      // how many things a page holds; 0 is what was asked for
	// refuse answers calls, by "METHOD /path", in another way.
	refuse map[string]http.HandlerFunc
	calls  []string
}

type fakeIssue struct {
	Number   int      `json:"number"`
	Title    string   `json:"title"`
	Body     string   `json:"body"`
	State    string   `json:"state"`
	Labels   []string `json:"labels_given"`
	Reason   string   `json:"state_reason"`
	comments []string
	deleted  bool
}

func newFake(t testing.TB) *fake {
	f := &fake{t: t, tokens: map[string]bool{token: true}, hooks: map[int]hook{}, nextHook: 100, refuse: map[string]http.HandlerFunc{}}
	mux := http.NewServeMux()
	handle := func(pattern string, h func(w http.ResponseWriter, r *http.Request)) { mux.HandleFunc(pattern, h) }
	handle("GET /user", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-OAuth-Scopes", "repo, admin:repo_hook, read:user")
		answer(w, 200, `{"id": 81003, "login": "mira-lund", "html_url": "https://github.com/mira-lund"}`)
	})
	handle("GET /repos/acme/web", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"full_name": "acme/web", "has_issues": true, "permissions": {"admin": true, "push": true}}`)
	})
	handle("GET /repos/acme/{repo}/hooks", f.listHooks)
	handle("POST /repos/acme/{repo}/hooks", f.makeHook)
	handle("PATCH /repos/acme/{repo}/hooks/{id}", f.changeHook)
	handle("DELETE /repos/acme/{repo}/hooks/{id}", f.deleteHook)
	handle("GET /repos/acme/web/issues", f.listIssues)
	handle("POST /repos/acme/web/issues", f.makeIssue)
	handle("GET /repos/acme/web/issues/{n}", f.oneIssue)
	handle("PATCH /repos/acme/web/issues/{n}", f.oneIssue)
	handle("POST /repos/acme/web/issues/{n}/comments", f.oneIssue)
	handle("POST /repos/acme/web/statuses/{sha}", func(w http.ResponseWriter, r *http.Request) {
		var s newStatus
		f.decode(r, &s)
		f.statuses = append(f.statuses, s)
		answer(w, 201, `{}`)
	})
	start := func(w http.ResponseWriter, r *http.Request) {
		var body json.RawMessage
		f.decode(r, &body)
		f.started = append(f.started, string(body))
		w.WriteHeader(204)
	}
	handle("POST /repos/acme/web/dispatches", start)
	handle("POST /repos/acme/web/actions/workflows/deploy.yml/dispatches", start)
	handle("GET /user/repos", func(w http.ResponseWriter, r *http.Request) {
		f.page(w, r, 7, func(i int) any {
			return map[string]any{"full_name": fmt.Sprintf("acme/site-%d", i), "private": i%2 == 0, "permissions": map[string]bool{"admin": i < 5}}
		})
	})
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls = append(f.calls, r.Method+" "+r.URL.Path)
		switch h := f.refuse[r.Method+" "+r.URL.Path]; {
		case r.Header.Get("User-Agent") == "", r.Header.Get("X-GitHub-Api-Version") != apiVersion:
			t.Errorf("%s %s without the headers that GitHub wants: %v", r.Method, r.URL, r.Header)
		case !strings.HasPrefix(r.URL.Path, "/applications/") && !f.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]:
			answer(w, 401, `{"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"}`)
		case h != nil:
			h(w, r)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

// env is an environment in which this is the operator's GitHub.
func (f *fake) env() (*integration.Env, *wire) { return newEnv(f.t, `{"api_url": "`+f.URL+`"}`) }

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

// says refuses with a status, headers ("Name: value") and a message.
func says(status int, message string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Set(name, value)
		}
		answer(w, status, `{"message": "`+message+`", "documentation_url": "https://docs.github.com/rest", "status": "`+strconv.Itoa(status)+`"}`)
	}
}

func (f *fake) decode(r *http.Request, into any) {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		f.t.Errorf("%s %s: the body is no JSON: %v", r.Method, r.URL, err)
	}
}

// page answers with one page of n things, and says where the next one is.
func (f *fake) page(w http.ResponseWriter, r *http.Request, n int, thing func(i int) any) {
	size, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
	if f.perPage > 0 {
		size = f.perPage
	}
	at := max(1, toInt(r.URL.Query().Get("page")))
	out := []any{}
	for i := (at - 1) * size; i < n && i < at*size; i++ {
		out = append(out, thing(i))
	}
	if at*size < n {
		q := r.URL.Query()
		q.Set("page", strconv.Itoa(at+1))
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next", <%s/last>; rel="last"`, f.URL, r.URL.Path, q.Encode(), f.URL))
	}
	b, _ := json.Marshal(out)
	answer(w, 200, string(b))
}

func toInt(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func (f *fake) listHooks(w http.ResponseWriter, r *http.Request) {
	var all []hook
	for id := 0; id <= f.nextHook; id++ {
		if h, ok := f.hooks[id]; ok {
			h.ID = json.Number(strconv.Itoa(id))
			h.Config.Secret = "********" // GitHub does not show it
			all = append(all, h)
		}
	}
	f.page(w, r, len(all), func(i int) any { return all[i] })
}

func (f *fake) makeHook(w http.ResponseWriter, r *http.Request) {
	var h hook
	f.decode(r, &h)
	for _, have := range f.hooks {
		if have.Config.URL == h.Config.URL {
			answer(w, 422, `{"message": "Validation Failed", "errors": [{"resource": "Hook", "code": "custom", "message": "Hook already exists on this repository"}]}`)
			return
		}
	}
	f.nextHook++
	f.hooks[f.nextHook] = h
	answer(w, 201, fmt.Sprintf(`{"id": %d, "config": {"url": %q}}`, f.nextHook, h.Config.URL))
}

func (f *fake) changeHook(w http.ResponseWriter, r *http.Request) {
	id := toInt(r.PathValue("id"))
	if _, ok := f.hooks[id]; !ok {
		says(404, "Not Found")(w, r)
		return
	}
	var h hook
	f.decode(r, &h)
	f.hooks[id] = h
	answer(w, 200, fmt.Sprintf(`{"id": %d}`, id))
}

func (f *fake) deleteHook(w http.ResponseWriter, r *http.Request) {
	id := toInt(r.PathValue("id"))
	if _, ok := f.hooks[id]; !ok {
		says(404, "Not Found")(w, r)
		return
	}
	delete(f.hooks, id)
	w.WriteHeader(204)
}

func (f *fake) listIssues(w http.ResponseWriter, r *http.Request) {
	var all []*fakeIssue
	for i := len(f.issues) - 1; i >= 0; i-- {
		if !f.issues[i].deleted {
			all = append(all, f.issues[i])
		}
	}
	f.page(w, r, len(all), func(i int) any { return all[i] })
}

func (f *fake) makeIssue(w http.ResponseWriter, r *http.Request) {
	var in newIssue
	f.decode(r, &in)
	i := &fakeIssue{Number: len(f.issues) + 1, Title: in.Title, Body: in.Body, State: "open", Labels: in.Labels}
	f.issues = append(f.issues, i)
	b, _ := json.Marshal(i)
	answer(w, 201, string(b))
}

func (f *fake) oneIssue(w http.ResponseWriter, r *http.Request) {
	n := toInt(r.PathValue("n"))
	if n < 1 || n > len(f.issues) || f.issues[n-1].deleted {
		says(410, "This issue was deleted")(w, r)
		return
	}
	i := f.issues[n-1]
	switch r.Method {
	case http.MethodPost:
		var c newComment
		f.decode(r, &c)
		i.comments = append(i.comments, c.Body)
		answer(w, 201, `{"id": 1}`)
		return
	case http.MethodPatch:
		var c change
		f.decode(r, &c)
		i.State, i.Reason, i.Body = c.State, c.StateReason, c.Body
	}
	b, _ := json.Marshal(i)
	answer(w, 200, string(b))
}

// take returns what was called since it was last asked.
func (f *fake) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}
