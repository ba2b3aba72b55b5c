package jira

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/integrationtest"
	"github.com/patchbay/patchbay/integration/markup"
	"github.com/patchbay/patchbay/internal/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const everything = `"receive": "issue_created, issue_updated, issue_deleted, comment_created, comment_updated, comment_deleted"`

func example(t testing.TB, kind string) map[string]any {
	t.Helper()
	raw, err := examples.ReadFile("examples/" + kind + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var p map[string]any
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	delete(p, "browse_url") // we make it
	return p
}

// at finds an object inside of a payload.
func at(p map[string]any, path ...string) map[string]any {
	for _, key := range path {
		p = p[key].(map[string]any)
	}
	return p
}

// called is a call to the app's address as it is read for a link.
func called(t testing.TB, settings string, p map[string]any) *integration.HookCall {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return &integration.HookCall{
		Method: http.MethodPost, Header: http.Header{headerIdentifier: {"id-1"}}, Body: raw, ReceivedAt: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		Link: 7, Scope: "acme/teams/1", Settings: over(t, settings), Connection: connected(),
		State: json.RawMessage(`{"kind":"dynamic","base":"https://api.atlassian.com/ex/jira/c1","id":1001}`),
	}
}

func read(t testing.TB, c *integration.HookCall) *integration.Reading {
	t.Helper()
	r, err := New().Read(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReceiverContract(t *testing.T) {
	app := integrationtest.ReceiverCase{
		Integration: New(), Connection: connected(), Settings: `{"project_key": "SHOP", ` + everything + `}`,
		Config: `{"client_id": "app", "client_secret": "` + clientSecret + `"}`, SigningSecret: clientSecret, Secrets: []string{clientSecret},
	}
	app.State = json.RawMessage(`{"kind": "dynamic", "id": 1001}`)
	admin := app
	admin.State = json.RawMessage(`{"kind": "admin", "id": 1}`)
	admin.Config, admin.SigningSecret, admin.HookSecret = "", "", hookSecret
	admin.Connection = &integration.Connected{Data: encode(&connectionData{BaseURL: "https://acme.atlassian.net", Person: "someone"})}
	center := admin
	center.Connection = &integration.Connected{Data: encode(&connectionData{BaseURL: "https://jira.example.com", Person: "someone"})}
	for _, kind := range eventNames() {
		raw, err := json.Marshal(example(t, kind))
		if err != nil {
			t.Fatal(err)
		}
		call := integrationtest.ReceiverCall{Name: kind, Header: map[string]string{headerIdentifier: "id-1"}, Body: string(raw)}
		admin.Calls, center.Calls = append(admin.Calls, call), append(center.Calls, call)
		call.App = true
		app.Calls = append(app.Calls, call)
	}
	center.Calls = append(center.Calls, integrationtest.ReceiverCall{Name: "sprint", Body: `{"webhookEvent": "sprint_started"}`, Ignored: true})
	t.Run("app", func(t *testing.T) { integrationtest.RunReceiver(t, app) })
	t.Run("admin", func(t *testing.T) { integrationtest.RunReceiver(t, admin) })
	t.Run("data center", func(t *testing.T) { integrationtest.RunReceiver(t, center) })
}

func TestVerification(t *testing.T) {
	c := called(t, everything, example(t, "issue_created"))
	for name, want := range map[string]struct {
		con    *integration.Connected
		base   string
		scheme string
	}{
		"oauth2":         {connected(), "", "jira"},
		"key at cloud":   {&integration.Connected{Data: encode(&connectionData{BaseURL: "https://acme.atlassian.net"})}, "", "jira"},
		"data center":    {&integration.Connected{Data: encode(&connectionData{BaseURL: "https://jira.example.com"})}, "", ""},
		"own, cloud":     {nil, "https://acme.atlassian.net", "jira"},
		"own, center":    {nil, "https://jira.example.com", ""},
		"nothing known":  {nil, "", "jira"},
		"unknown target": {&integration.Connected{}, "", "jira"},
	} {
		c.Connection, c.Settings.(*Settings).BaseURL = want.con, want.base
		if got := New().Verification(c).Scheme.Name; got != want.scheme {
			t.Errorf("%s: %q", name, got)
		}
	}
	c.Link = 0
	if v := New().Verification(c); v.Scheme.Name != "jira-oauth2" || len(v.Secrets) != 0 {
		t.Errorf("without an app everything is refused: %+v", v)
	}
}

func TestOpen(t *testing.T) {
	c := called(t, everything, example(t, "comment_created"))
	c.Link = 0
	e, err := New().Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&integration.Envelope{Key: "id-1", Type: "comment_created", Account: "acme.atlassian.net"}, e); diff != "" {
		t.Error(diff)
	}
	c.Link = 7 // signed by the link's secret, which the header is not
	if e, err = New().Open(c); err != nil || e.Key != "" || e.Account != "" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestRead(t *testing.T) {
	r := read(t, called(t, everything, example(t, "issue_created")))
	if len(r.Events) != 1 {
		t.Fatalf("%+v", r)
	}
	e := r.Events[0]
	var p struct {
		Browse string `json:"browse_url"`
		Issue  struct{ Key string }
	}
	if err := json.Unmarshal(e.Payload, &p); err != nil || p.Browse != "https://acme.atlassian.net/browse/SHOP-118" || p.Issue.Key != "SHOP-118" {
		t.Errorf("%s, %v", e.Payload, err)
	}
	want := &integration.Person{
		ID: "712020:88ab-tomasz", Name: "Tomasz Kern", Avatar: "https://avatar.example.com/88ab-tomasz/48",
		URL: "https://acme.atlassian.net/jira/people/712020:88ab-tomasz",
	}
	if diff := cmp.Diff(want, e.Actor); diff != "" {
		t.Error(diff)
	}
	if e.Type != "jira.issue_created" || e.Own || e.Entry != nil || !e.OccurredAt.Equal(time.UnixMilli(1793700185123)) {
		t.Errorf("%+v", e)
	}
}

// TestWhoseCallItIs: calls to the app's address reach all links of a site, each of which must see only its own.
func TestWhoseCallItIs(t *testing.T) {
	p := example(t, "issue_created")
	for name, change := range map[string]func(*integration.HookCall){
		"another webhook": func(c *integration.HookCall) { c.State = json.RawMessage(`{"kind":"dynamic","id":1002}`) },
		"no webhook yet":  func(c *integration.HookCall) { c.State = nil },
		"another project": func(c *integration.HookCall) { c.Settings.(*Settings).ProjectKey = "OPS" },
		"another kind":    func(c *integration.HookCall) { c.Settings.(*Settings).Receive = []string{"issue_deleted"} },
	} {
		c := called(t, everything, p)
		change(c)
		if r := read(t, c); len(r.Events) != 0 || r.Ignored == "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	delete(p, "matchedWebhookIds")
	if r := read(t, called(t, everything, p)); len(r.Events) != 0 {
		t.Errorf("a call that does not say for whom it is: %+v", r)
	}
}

func TestEntries(t *testing.T) {
	done := func(change func(p map[string]any)) *integration.Entry {
		p := example(t, "issue_updated")
		if change != nil {
			change(p)
		}
		return read(t, called(t, everything, p)).Events[0].Entry
	}
	e := done(nil)
	if e == nil || e.Text != "SHOP-118: The cart is empty after signing in again" || e.ExternalID != "SHOP-118" ||
		e.ExternalURL != "https://acme.atlassian.net/browse/SHOP-118" || e.Author.ID != mira {
		t.Fatalf("%+v", e)
	}
	for name, change := range map[string]func(p map[string]any){
		"not done":      func(p map[string]any) { at(p, "issue", "fields", "status", "statusCategory")["key"] = "new" },
		"another field": func(p map[string]any) { at(p, "changelog")["items"] = []any{map[string]any{"field": "summary"}} },
		"done before": func(p map[string]any) {
			at(p, "issue", "fields")["statuscategorychangedate"] = "2026-11-02T10:03:05.000+0000"
		},
		"by a program":    func(p map[string]any) { at(p, "user")["accountType"] = "app" },
		"by nobody":       func(p map[string]any) { delete(p, "user") },
		"without a title": func(p map[string]any) { at(p, "issue", "fields")["summary"] = " " },
		"our own":         func(p map[string]any) { at(p, "issue", "fields")["labels"] = []any{"patchbay"} },
	} {
		if e := done(change); e != nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if e := done(func(p map[string]any) { delete(at(p, "issue", "fields"), "statuscategorychangedate") }); e == nil {
		t.Error("Data Center does not say when the category changed")
	}
	if e := read(t, called(t, everything+`, "entries": "none"`, example(t, "issue_updated"))).Events[0].Entry; e != nil {
		t.Errorf("entries none: %+v", e)
	}
}

func TestOwn(t *testing.T) {
	own := func(kind string, change func(p map[string]any)) bool {
		p := example(t, kind)
		change(p)
		return read(t, called(t, everything, p)).Events[0].Own
	}
	miras := map[string]any{"accountId": mira}
	labelled := func(p map[string]any) { at(p, "issue", "fields")["labels"] = []any{"x", "patchbay"} }
	if own("issue_created", labelled) {
		t.Error("somebody else's issue")
	}
	if !own("issue_created", func(p map[string]any) { p["user"] = miras; labelled(p) }) {
		t.Error("our issue")
	}
	if own("issue_created", func(p map[string]any) { p["user"] = miras }) {
		t.Error("Mira's own issue")
	}
	signed := func(p map[string]any) { at(p, "comment")["body"] = "It fails again\r\n\r\n" + sign + "\r\n" }
	if own("comment_created", signed) || !own("comment_created", func(p map[string]any) { at(p, "comment")["author"] = miras; signed(p) }) {
		t.Error("our comment")
	}
	if own("comment_created", func(p map[string]any) { at(p, "comment")["author"] = miras }) {
		t.Error("Mira's own comment")
	}
}

// TestTypesReadWell keeps how each example reads in testdata/reads.txt; UPDATE=1 writes it.
func TestTypesReadWell(t *testing.T) {
	c, err := catalog.Open(catalog.Options{Extra: New().Definition().Types})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, spec := range New().Definition().Types {
		kind := c.Type(spec.Key)
		if details := kind.Validate(spec.Example); len(details) > 0 {
			t.Errorf("%s: %v", spec.Key, details)
		}
		m, err := kind.Render(&patchbay.Event{Type: spec.Key, Payload: spec.Example}, catalog.Target{Key: "slack", Category: "chat", Title: "Slack"})
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(spec.Key + ": " + m.Title + " | " + string(m.Severity) + " | " + markup.Plain(m.Text) + " | " + m.Thread + " " + string(m.Status))
		for _, f := range m.Fields {
			b.WriteString(" | " + f.Title + "=" + markup.Plain(f.Value))
		}
		for _, l := range m.Links {
			b.WriteString(" | " + l.URL)
		}
		b.WriteString("\n")
		bare := `{"issue": null, "comment": null}`
		if details := kind.Validate(json.RawMessage(bare)); len(details) > 0 {
			t.Errorf("%s: %v", spec.Key, details)
		}
		m, err = kind.Render(&patchbay.Event{Type: spec.Key, Payload: json.RawMessage(bare)}, catalog.Target{Key: "slack", Category: "chat", Title: "Slack"})
		if err != nil || strings.Contains(m.Title+string(m.Text), "%!") || strings.Contains(m.Title+string(m.Text), "no value") {
			t.Errorf("%s: %+v, %v", spec.Key, m, err)
		}
	}
	const file = "testdata/reads.txt"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
}

// FuzzCall proves that whatever comes in is read or refused, the same way twice, and never as another link's.
func FuzzCall(f *testing.F) {
	for _, kind := range eventNames() {
		raw, err := examples.ReadFile("examples/" + kind + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	f.Add(`{"webhookEvent": "jira:issue_updated", "issue": {"self": "http://[::1", "key": "SHOP-"}, "matchedWebhookIds": ["1001"]}`)
	f.Add(`{"webhookEvent": "comment_deleted", "issue": {"self": "https://a@b/rest/", "key": "-"}, "timestamp": 1e99, "comment": {"author": {}}}`)
	f.Fuzz(func(t *testing.T, body string) {
		c := called(t, everything, nil)
		c.Body = []byte(body)
		_, openErr := New().Open(c)
		first, err := New().Read(t.Context(), c)
		if (openErr == nil) != (err == nil) {
			t.Fatalf("%v, %v", openErr, err)
		}
		if err != nil {
			return
		}
		second, _ := New().Read(t.Context(), c)
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatal(diff)
		}
		for _, e := range first.Events {
			if !json.Valid(e.Payload) || len(first.Events) != 1 {
				t.Fatalf("%+v", first)
			}
		}
	})
}
