package jira

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/outbound"
)

const (
	accessToken  = "eyJ-access-of-mira"
	clientSecret = "ATOA-client-secret-0123456789"
	hookSecret   = "whsec-of-the-link-0123456789"
	mira         = "712020:5f1c-mira"
)

// cloud plays Atlassian: its gateway with two sites, issues with a workflow, and webhooks that end.
type cloud struct {
	*httptest.Server
	t  *testing.T
	mu sync.Mutex
	// now is its clock.
	now   time.Time
	sites string
	// hooks are the app's webhooks of this person, url the one address that the app may have.
	hooks    map[int]dynamic
	ends     map[int]time.Time
	url      string
	nextHook int
	admins   map[int]admin
	issues   []*cloudIssue
	calls    []string
	// refuse answers a call in another way.
	refuse map[string]http.HandlerFunc
}

type cloudIssue struct {
	Key    string
	Fields issueFields
	Status string
	Notes  []string
}

const twoSites = `[{"id": "c2", "name": "Beta", "url": "https://beta.atlassian.net", "scopes": ["read:jira-work"]},
 {"id": "c1", "name": "Acme", "url": "https://acme.atlassian.net", "scopes": ["write:jira-work", "read:jira-work"]},
 {"id": "c3", "name": "Wiki", "url": "https://wiki.atlassian.net", "scopes": ["read:confluence-content.all"]}]`

func newCloud(t *testing.T) *cloud {
	f := &cloud{
		t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), sites: twoSites, hooks: map[int]dynamic{}, ends: map[int]time.Time{},
		admins: map[int]admin{}, refuse: map[string]http.HandlerFunc{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth/token/accessible-resources", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, f.sites) })
	for _, base := range []string{"/ex/jira/c1", "/ex/jira/c2", "/dc"} {
		mux.HandleFunc("GET "+base+"/rest/api/2/myself", f.myself)
		mux.HandleFunc("POST "+base+"/rest/api/3/search/jql", f.search)
		mux.HandleFunc("POST "+base+"/rest/api/2/search", f.search)
		mux.HandleFunc("POST "+base+"/rest/api/2/issue", f.create)
		mux.HandleFunc("GET "+base+"/rest/api/2/issue/{key}", f.issue)
		mux.HandleFunc("PUT "+base+"/rest/api/2/issue/{key}", f.edit)
		mux.HandleFunc("POST "+base+"/rest/api/2/issue/{key}/comment", f.comment)
		mux.HandleFunc("GET "+base+"/rest/api/2/issue/{key}/transitions", f.steps)
		mux.HandleFunc("POST "+base+"/rest/api/2/issue/{key}/transitions", f.step)
		mux.HandleFunc("GET "+base+"/rest/api/2/project/SHOP", says(200, `{"key": "SHOP", "issueTypes": [{"name": "Bug"}, {"name": "Task"}, {"name": "Sub-task", "subtask": true}]}`))
		mux.HandleFunc("GET "+base+"/rest/api/2/project/SHOP/statuses", says(200, `[{"statuses": [{"name": "To Do", "statusCategory": {"key": "new"}}, {"name": "Done", "statusCategory": {"key": "done"}}]}]`))
		mux.HandleFunc("GET "+base+"/rest/api/3/project/search", says(200, `{"values": [{"key": "SHOP", "name": "Shop"}, {"key": "OPS", "name": "Operations"}]}`))
		mux.HandleFunc("GET "+base+"/rest/api/2/project", says(200, `[{"key": "SHOP", "name": "Shop"}]`))
		mux.HandleFunc("GET "+base+"/rest/api/2/priority", says(200, `[{"name": "High"}, {"name": "Low"}]`))
		mux.HandleFunc(base+"/rest/api/3/webhook", f.webhook)
		mux.HandleFunc("PUT "+base+"/rest/api/3/webhook/refresh", f.refresh)
		mux.HandleFunc(base+"/rest/webhooks/1.0/webhook", f.adminHooks)
		mux.HandleFunc(base+"/rest/webhooks/1.0/webhook/{id}", f.adminHook)
	}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		call := r.Method + " " + r.URL.Path
		f.calls = append(f.calls, call)
		if own := f.refuse[call]; own != nil {
			own(w, r)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/ex/") && r.Header.Get("Authorization") != "Bearer "+accessToken {
			answer(w, 401, `{"code": 401, "message": "Unauthorized"}`)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, status, body) }
}

func (f *cloud) read(r *http.Request, into any) {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		f.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
	}
}

func (f *cloud) myself(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/dc/") {
		answer(w, 200, `{"key": "JIRAUSER10100", "name": "mira", "displayName": "Mira Lund"}`)
		return
	}
	answer(w, 200, `{"accountId": "`+mira+`", "displayName": "Mira Lund", "emailAddress": "mira@example.com"}`)
}

func (f *cloud) search(w http.ResponseWriter, r *http.Request) {
	var in struct{ JQL string }
	f.read(r, &in)
	for _, i := range f.issues {
		for _, l := range i.Fields.Labels {
			if i.Status != "Done" && strings.Contains(in.JQL, "labels = "+quote(l)) {
				answer(w, 200, `{"issues": [`+i.json()+`]}`)
				return
			}
		}
	}
	answer(w, 200, `{"issues": []}`)
}

func (i *cloudIssue) json() string {
	labels, _ := json.Marshal(i.Fields.Labels)
	category := map[string]string{"To Do": "new", "In Progress": "indeterminate", "Done": "done"}[i.Status]
	return fmt.Sprintf(`{"key": %q, "fields": {"labels": %s, "status": {"name": %q, "statusCategory": {"key": %q}}}}`, i.Key, labels, i.Status, category)
}

func (f *cloud) create(w http.ResponseWriter, r *http.Request) {
	i := &cloudIssue{Key: "SHOP-" + strconv.Itoa(len(f.issues)+1), Status: "To Do"}
	f.read(r, i)
	f.issues = append(f.issues, i)
	answer(w, 201, `{"id": "1", "key": "`+i.Key+`"}`)
}

func (f *cloud) find(w http.ResponseWriter, r *http.Request) *cloudIssue {
	for _, i := range f.issues {
		if i.Key == r.PathValue("key") {
			return i
		}
	}
	answer(w, 404, `{"errorMessages": ["Issue does not exist or you do not have permission to see it."]}`)
	return nil
}

func (f *cloud) issue(w http.ResponseWriter, r *http.Request) {
	if i := f.find(w, r); i != nil {
		answer(w, 200, i.json())
	}
}

func (f *cloud) edit(w http.ResponseWriter, r *http.Request) {
	if i := f.find(w, r); i != nil {
		f.read(r, i)
		w.WriteHeader(204)
	}
}

func (f *cloud) comment(w http.ResponseWriter, r *http.Request) {
	if i := f.find(w, r); i != nil {
		var in struct{ Body string }
		f.read(r, &in)
		i.Notes = append(i.Notes, in.Body)
		answer(w, 201, `{"id": "1"}`)
	}
}

// steps is a workflow: To Do, In Progress, Done, and back from there.
func (f *cloud) steps(w http.ResponseWriter, r *http.Request) {
	i := f.find(w, r)
	if i == nil {
		return
	}
	if i.Status == "Done" {
		answer(w, 200, `{"transitions": [{"id": "41", "name": "Reopen", "to": {"name": "To Do", "statusCategory": {"key": "new"}}}]}`)
		return
	}
	answer(w, 200, `{"transitions": [{"id": "21", "name": "Start", "to": {"name": "In Progress", "statusCategory": {"key": "indeterminate"}}},
		{"id": "31", "name": "Close the issue", "to": {"name": "Done", "statusCategory": {"key": "done"}}}]}`)
}

func (f *cloud) step(w http.ResponseWriter, r *http.Request) {
	if i := f.find(w, r); i != nil {
		var in struct{ Transition struct{ ID string } }
		f.read(r, &in)
		i.Status = map[string]string{"21": "In Progress", "31": "Done", "41": "To Do"}[in.Transition.ID]
		w.WriteHeader(204)
	}
}

// webhook keeps to the limits: five for one person, one address for the app, 30 days.
func (f *cloud) webhook(w http.ResponseWriter, r *http.Request) {
	f.expire()
	switch r.Method {
	case http.MethodGet:
		values := []dynamic{}
		for _, id := range f.ids() {
			h := f.hooks[id]
			h.ID, h.URL = json.Number(strconv.Itoa(id)), f.url
			values = append(values, h)
		}
		raw, _ := json.Marshal(map[string]any{"isLast": true, "values": values})
		answer(w, 200, string(raw))
	case http.MethodPost:
		var in struct {
			URL      string
			Webhooks []dynamic
		}
		f.read(r, &in)
		switch {
		case len(f.hooks) > 0 && f.url != in.URL:
			answer(w, 400, `{"errorMessages": ["Only a single URL per app is allowed to be registered via REST API."]}`)
		case len(f.hooks) >= 5:
			answer(w, 200, `{"webhookRegistrationResult": [{"errors": ["The maximum number of webhooks has been reached."]}]}`)
		case !strings.Contains(in.Webhooks[0].Filter, "SHOP") && !strings.Contains(in.Webhooks[0].Filter, "OPS"):
			answer(w, 200, `{"webhookRegistrationResult": [{"errors": ["The JQL is wrong: the value 'X' does not exist for the field 'project'."]}]}`)
		default:
			f.nextHook++
			id := 1000 + f.nextHook
			f.url, f.hooks[id], f.ends[id] = in.URL, in.Webhooks[0], f.now.AddDate(0, 0, 30)
			answer(w, 200, fmt.Sprintf(`{"webhookRegistrationResult": [{"createdWebhookId": %d}]}`, id))
		}
	case http.MethodDelete:
		for _, id := range f.named(r) {
			delete(f.hooks, id)
		}
		w.WriteHeader(202)
	}
}

func (f *cloud) named(r *http.Request) []int {
	var in struct {
		IDs []int `json:"webhookIds"`
	}
	f.read(r, &in)
	return in.IDs
}

func (f *cloud) refresh(w http.ResponseWriter, r *http.Request) {
	f.expire()
	for _, id := range f.named(r) {
		if _, ok := f.hooks[id]; ok {
			f.ends[id] = f.now.AddDate(0, 0, 30)
		}
	}
	answer(w, 200, `{"expirationDate": "2026-12-22T12:00:00.000+0000"}`)
}

func (f *cloud) expire() {
	for id, at := range f.ends {
		if f.now.After(at) {
			delete(f.hooks, id)
		}
	}
}

func (f *cloud) ids() []int {
	out := []int{}
	for id := range f.hooks {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func (f *cloud) adminHooks(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		all := []admin{}
		for id, h := range f.admins {
			h.Self = f.URL + "/dc/rest/webhooks/1.0/webhook/" + strconv.Itoa(id)
			all = append(all, h)
		}
		raw, _ := json.Marshal(all)
		answer(w, 200, string(raw))
		return
	}
	var in admin
	f.read(r, &in)
	f.nextHook++
	f.admins[f.nextHook] = in
	answer(w, 201, fmt.Sprintf(`{"self": "%s/dc/rest/webhooks/1.0/webhook/%d"}`, f.URL, f.nextHook))
}

func (f *cloud) adminHook(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	if _, ok := f.admins[id]; !ok {
		answer(w, 404, `{}`)
		return
	}
	if r.Method == http.MethodDelete {
		delete(f.admins, id)
		w.WriteHeader(204)
		return
	}
	var in admin
	f.read(r, &in)
	f.admins[id] = in
	answer(w, 200, `{}`)
}

// take returns what was called since it was last asked.
func (f *cloud) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *cloud) config() string {
	return `{"client_id": "app", "client_secret": "` + clientSecret + `", "auth_url": "` + f.URL + `", "api_url": "` + f.URL + `"}`
}

func (f *cloud) env() *integration.Env {
	client := outbound.New(outbound.Options{Guard: outbound.Guard{AllowLoopback: true}})
	f.t.Cleanup(func() { _ = client.Close() })
	return &integration.Env{
		HTTP: client, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return f.now },
		PublicURL: "https://patchbay.example.test", Config: json.RawMessage(f.config()),
	}
}

// connected is Mira's connection to acme.atlassian.net.
func connected() *integration.Connected {
	return &integration.Connected{
		ID: 5, Account: patchbay.Account{ID: "acme.atlassian.net", Name: "Mira Lund on acme.atlassian.net"},
		Credentials: patchbay.Credentials{Access: accessToken, Refresh: "refresh-1", Type: "Bearer"},
		Data: encode(&connectionData{
			Sites: []site{{"c1", "Acme", "https://acme.atlassian.net"}, {"c2", "Beta", "https://beta.atlassian.net"}}, Site: "acme.atlassian.net", Person: mira,
		}),
	}
}

// over decodes the settings of a link over a connection.
func over(t testing.TB, more string) *Settings {
	t.Helper()
	def := New().Definition()
	raw := `{"project_key": "SHOP"}`
	if more != "" {
		raw = `{"project_key": "SHOP", ` + more + `}`
	}
	checked, err := def.Settings.Check(json.RawMessage(raw), integration.CheckOptions{Connected: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := def.Decode(checked)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Settings)
}

// message is a delivery over Mira's connection.
func (f *cloud) message(more string, msg integration.Message) *integration.Delivery {
	return &integration.Delivery{
		Settings: over(f.t, more), Connection: connected(), Env: f.env(), Message: func() (*integration.Message, error) { return &msg, nil },
	}
}
