package jira

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/integrationtest"
)

func resolved() integration.Message {
	m := failure()
	m.Status = patchbay.StatusResolved
	return m
}

// TestThreadOverAConnection is one matter's whole life: it comes up, again, is resolved, and comes up once more.
func TestThreadOverAConnection(t *testing.T) {
	f := newCloud(t)
	const settings = `"on_repeat": "comment", "reopen_transition": "any"`
	r := send(t, f.message(settings, failure()))
	i := f.issues[0]
	if diff := cmp.Diff([]string{"RfTest20", "nightly-run", "patchbay"}, i.Fields.Labels); diff != "" || r.Reference != "SHOP-1" {
		t.Errorf("%+v, %s", r, diff)
	}
	if diff := cmp.Diff([]string{"POST /ex/jira/c1/rest/api/3/search/jql", "POST /ex/jira/c1/rest/api/2/issue"}, f.take()); diff != "" {
		t.Error(diff)
	}
	send(t, f.message(settings, failure()))
	if len(f.issues) != 1 || len(i.Notes) != 1 || !strings.HasSuffix(i.Notes[0], "\n\n~via Patchbay~") {
		t.Fatalf("%+v", i)
	}
	stale := f.message(settings, resolved())
	stale.Stale = true
	if send(t, stale); i.Status != "To Do" {
		t.Error("an older message resolved the issue")
	}
	if send(t, f.message(settings, resolved())); i.Status != "Done" {
		t.Errorf("not resolved by whichever transition is done: %+v", i)
	}
	again := f.message(settings, failure())
	again.Reference, again.Stale = "SHOP-1", true
	if r := send(t, again); i.Status != "Done" || len(f.issues) != 1 || r.Reference != "SHOP-1" {
		t.Errorf("an older message opened it: %+v", i)
	}
	again.Stale = false
	if r := send(t, again); i.Status != "To Do" || len(f.issues) != 1 || r.Reference != "SHOP-1" || len(i.Notes) != 2 {
		t.Errorf("%+v, %+v", i, r)
	}
}

func TestWithoutReopeningThereIsANewIssue(t *testing.T) {
	for _, settings := range []string{``, `"reopen_transition": "none"`, `"reopen_transition": "Raise the dead"`} {
		f := newCloud(t)
		send(t, f.message(settings, failure()))
		f.issues[0].Status = "Done"
		d := f.message(settings, failure())
		d.Reference = "SHOP-1"
		if r := send(t, d); r.Reference != "SHOP-2" || f.issues[0].Status != "Done" {
			t.Errorf("%s: %+v", settings, r)
		}
	}
}

func TestUpdateOnRepeat(t *testing.T) {
	f := newCloud(t)
	const settings = `"on_repeat": "update", "comment_on_repeat": true`
	send(t, f.message(settings, failure()))
	newer := failure()
	newer.Title, newer.Text = "Now two tests fail", "See there"
	send(t, f.message(settings, newer))
	i := f.issues[0]
	if i.Fields.Summary != "Now two tests fail" || !strings.HasPrefix(i.Fields.Description, "See there") || len(i.Fields.Labels) != 3 || len(i.Notes) != 0 {
		t.Errorf("%+v", i)
	}
	stale := f.message(settings, failure())
	stale.Stale = true
	send(t, stale)
	if i.Fields.Summary != "Now two tests fail" || len(i.Notes) != 1 {
		t.Errorf("an older message replaces what a newer one said: %+v", i)
	}
}

func TestTransitionsByName(t *testing.T) {
	for name, done := range map[string]bool{"close THE issue": true, "Done": true, "any": true, "none": false} {
		f := newCloud(t)
		settings := `"resolve_transition": "` + name + `"`
		send(t, f.message(settings, failure()))
		send(t, f.message(settings, resolved()))
		if got := f.issues[0].Status == "Done"; got != done {
			t.Errorf("%s: %s", name, f.issues[0].Status)
		}
	}
}

func TestTheGatewaysRefusals(t *testing.T) {
	const search = "POST /ex/jira/c1/rest/api/3/search/jql"
	f := newCloud(t)
	f.refuse[search] = says(401, `{"code": 401, "message": "Unauthorized"}`)
	if r := New().Send(t.Context(), f.message("", failure())); r.Verdict != patchbay.VerdictAuthExpired {
		t.Errorf("%+v", r)
	}
	f.refuse[search] = says(401, `{"code": 401, "message": "Unauthorized; scope does not match"}`)
	if r := New().Send(t.Context(), f.message("", failure())); r.Verdict != patchbay.VerdictRejected || !strings.Contains(r.Error, "scopes") {
		t.Errorf("%+v", r)
	}
	f.refuse[search] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(429)
	}
	if r := New().Send(t.Context(), f.message("", failure())); !r.Throttled || r.RetryAfter != 7*time.Second {
		t.Errorf("%+v", r)
	}
	if r := New().Send(t.Context(), f.message(`"site": "gamma.atlassian.net"`, failure())); !strings.Contains(r.Error, "gamma") {
		t.Errorf("%+v", r)
	}
	f.take()
	send(t, f.message(`"site": "beta.atlassian.net"`, failure()))
	if calls := f.take(); calls[0] != "POST /ex/jira/c2/rest/api/3/search/jql" {
		t.Errorf("%v", calls)
	}
	r := New().Send(t.Context(), &integration.Delivery{Settings: over(t, ""), Env: f.env(), Message: func() (*integration.Message, error) { m := failure(); return &m, nil }})
	if r.Type != patchbay.CodeMisconfiguredIntegration {
		t.Errorf("without a connection: %+v", r)
	}
}

func TestSettingsOfBothWays(t *testing.T) {
	def := New().Definition()
	for raw, says := range map[string]string{
		`{"project_key": "SHOP", "receive": "issue_created,none"}`: "none",
		`{"project_key": "SHOP", "receive": "sprint_started"}`:     "issue_created",
		`{"project_key": "SHOP", "token": "t"}`:                    "jira_base_url",
		`{"project_key": "SHOP", "on_repeat": "shout"}`:            "on_repeat",
	} {
		checked, err := def.Settings.Check(json.RawMessage(raw), integration.CheckOptions{Connected: true})
		if err == nil {
			_, err = def.Decode(checked)
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", raw, err)
		}
	}
	// Links that only send have the settings that they had, receive nothing and set nothing up.
	checked, err := def.Settings.Check(json.RawMessage(`{"jira_base_url": "https://acme.atlassian.net", "project_key": "ABC", "token": "t"}`), integration.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"comment_on_repeat":false,"issue_type":"Bug","jira_base_url":"https://acme.atlassian.net","project_key":"ABC","token":"t"}`
	if diff := cmp.Diff(want, string(checked)); diff != "" {
		t.Error(diff)
	}
	s, err := def.Decode(checked)
	if err != nil || def.Hooked(s) || New().Attaches(s) {
		t.Errorf("%+v, %v", s, err)
	}
}

func attachment(f *cloud, s *Settings) *integration.Attachment {
	return &integration.Attachment{
		Link: 7, Scope: "acme/teams/1", Settings: s, Connection: connected(), Env: f.env(), HookSecret: hookSecret,
		HookURL: "https://patchbay.example.test/integrations/jira/hook/k4jh2k3j4h2k3j4h",
	}
}

func attach(t *testing.T, at *integration.Attachment) *integration.Attached {
	t.Helper()
	a, r := New().Attach(t.Context(), at)
	if r.Verdict != patchbay.VerdictDelivered {
		t.Fatalf("%+v", r)
	}
	return a
}

func TestDynamicWebhooks(t *testing.T) {
	f := newCloud(t)
	at := attachment(f, over(t, `"receive": "issue_updated, comment_created"`))
	a := attach(t, at)
	at.State = a.State
	want := dynamic{Events: []string{"comment_created", "jira:issue_updated"}, Filter: `project = "SHOP"`}
	if diff := cmp.Diff(want, f.hooks[1001]); diff != "" || f.url != "https://patchbay.example.test/integrations/jira/hook" {
		t.Error(f.url, diff)
	}
	if got := a.RenewAt.Sub(f.now); got != 15*24*time.Hour {
		t.Errorf("renewed after %s", got)
	}
	// Renewed in time it stays the same one, for months.
	for range 5 {
		f.now = a.RenewAt
		a = attach(t, at)
	}
	if got := f.ids(); len(got) != 1 || got[0] != 1001 {
		t.Fatalf("%v", got)
	}
	// Renewed too late there is another one.
	f.now = f.now.AddDate(0, 0, 31)
	at.State = attach(t, at).State
	if got := f.ids(); len(got) != 1 || got[0] != 1002 {
		t.Fatalf("%v", got)
	}
	// Other settings need another one.
	at.Settings = over(t, `"receive": "issue_created"`)
	at.State = attach(t, at).State
	if got := f.ids(); len(got) != 1 || got[0] != 1003 || f.hooks[1003].Events[0] != "jira:issue_created" {
		t.Fatalf("%v", got)
	}
	for range 2 {
		if r := New().Detach(t.Context(), at); r.Verdict != patchbay.VerdictDelivered || len(f.hooks) != 0 {
			t.Fatalf("%+v, %v", r, f.ids())
		}
	}
}

func TestWhatWebhooksAreRefused(t *testing.T) {
	f := newCloud(t)
	try := func(change func(*integration.Attachment), says string, verdict patchbay.Verdict) {
		t.Helper()
		at := attachment(f, over(t, `"receive": "issue_updated"`))
		change(at)
		if _, r := New().Attach(t.Context(), at); r.Verdict != verdict || !strings.Contains(r.Error, says) {
			t.Errorf("%q: %+v", says, r)
		}
	}
	try(func(at *integration.Attachment) { at.Env.PublicURL = "" }, "public-url", patchbay.VerdictRejected)
	try(func(at *integration.Attachment) { at.Settings.(*Settings).Site = "beta.atlassian.net" }, "acme.atlassian.net", patchbay.VerdictRejected)
	try(func(at *integration.Attachment) { at.Settings.(*Settings).ProjectKey = "NONE" }, "project_key", patchbay.VerdictRejected)
	try(func(at *integration.Attachment) { at.Connection.Credentials.Access = "old" }, "credentials", patchbay.VerdictAuthExpired)
	for range 5 {
		attach(t, attachment(f, over(t, `"receive": "issue_updated"`)))
	}
	try(func(*integration.Attachment) {}, "five", patchbay.VerdictRejected)
	try(func(at *integration.Attachment) { at.Env.PublicURL = "https://elsewhere.example.test" }, "another address", patchbay.VerdictRetry)
	f.refuse["POST /ex/jira/c1/rest/api/3/webhook"] = says(403, `{}`)
	try(func(*integration.Attachment) {}, "manage:jira-webhook", patchbay.VerdictRejected)
	f.refuse["POST /ex/jira/c1/rest/api/3/webhook"] = says(503, ``)
	try(func(*integration.Attachment) {}, "503", patchbay.VerdictRetry)
}

func TestAdminWebhooks(t *testing.T) {
	f := newCloud(t)
	at := attachment(f, over(t, `"receive": "issue_created"`))
	at.Connection = &integration.Connected{
		Account: patchbay.Account{ID: hostOf(f.URL)}, Data: encode(&connectionData{BaseURL: f.URL + "/dc", Person: "JIRAUSER10100"}),
		Credentials: patchbay.Credentials{Extra: map[string]integration.Secret{keyToken: "pat"}},
	}
	a := attach(t, at)
	h := f.admins[1]
	if h.URL != at.HookURL || h.Events[0] != "jira:issue_created" || h.Filters["issue-related-events-section"] != `project = "SHOP"` || h.Secret != "" {
		t.Errorf("%+v", h)
	}
	if !a.RenewAt.IsZero() {
		t.Errorf("it does not end, but is renewed at %s", a.RenewAt)
	}
	attach(t, at) // what nobody remembers is found by its address
	at.State = a.State
	attach(t, at)
	if len(f.admins) != 1 {
		t.Fatalf("%+v", f.admins)
	}
	delete(f.admins, 1)
	at.State = attach(t, at).State
	if len(f.admins) != 1 {
		t.Fatalf("%+v", f.admins)
	}
	if r := New().Detach(t.Context(), at); r.Verdict != patchbay.VerdictDelivered || len(f.admins) != 0 {
		t.Errorf("%+v", r)
	}
	f.refuse["GET /dc/rest/webhooks/1.0/webhook"], at.State = says(403, `{}`), nil
	if _, r := New().Attach(t.Context(), at); !strings.Contains(r.Error, "manual") {
		t.Errorf("%+v", r)
	}
}

func TestSenderContractOverAConnection(t *testing.T) {
	f := newCloud(t)
	_ = f
	con := connected()
	con.Data = encode(&connectionData{BaseURL: "{{URL}}", Person: mira})
	integrationtest.Run(t, integrationtest.Case{
		Integration: New(), Connection: &integration.Connected{
			ID: 5, Account: con.Account, Credentials: con.Credentials, Data: connected().Data,
		},
		Config:   `{"client_id": "app", "client_secret": "` + clientSecret + `", "api_url": "{{URL}}"}`,
		Settings: `{"project_key": "ABC", "on_repeat": "comment", "reopen_transition": "any"}`,
		Partner: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/search/jql") {
				_, _ = io.WriteString(w, `{"issues": []}`)
				return
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"id": "1", "key": "ABC-1"}`)
		}),
		EveryStatus: func(r *http.Request, status int) integrationtest.Want {
			switch {
			case status == 401:
				return integrationtest.Want{Verdict: patchbay.VerdictAuthExpired, Type: patchbay.CodeUserConfigurationError}
			case strings.HasSuffix(r.URL.Path, "/search/jql") && (status == 400 || status == 410):
				return integrationtest.UserError
			}
			result := integration.Classify(partner, &integration.Response{Status: status})
			return integrationtest.Want{Verdict: result.Verdict, Type: result.Type, Throttled: result.Throttled, Disable: result.Disable}
		},
		MaxBody: 512 << 10,
	})
}
