package links

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
)

const anAccount = patchbay.ConnectionID(240_000_000_000_000_000)

// accounts is a Connections with one connection of the scope acme.
type accounts struct {
	mu      sync.Mutex
	con     patchbay.Connection
	gone    bool
	useless error
	refused int
}

func newAccounts() *accounts {
	return &accounts{con: patchbay.Connection{
		ID: anAccount, Integration: "hub", Scope: "acme", State: patchbay.ConnectionActive, Account: patchbay.Account{ID: "U1"},
		Credentials: patchbay.Credentials{Access: "access-token-1", Fill: map[string]patchbay.Secret{"place": "acme/filled", "channel": "#filled"}},
	}}
}

func (a *accounts) For(_ context.Context, c *access.Caller, id patchbay.ConnectionID, integration string, scope patchbay.Scope) (*patchbay.Connection, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone || id != a.con.ID || integration != a.con.Integration || !a.con.Scope.Contains(scope) || !c.Sees(a.con.Scope) {
		return nil, noConnection(id.String())
	}
	con := a.con
	return &con, nil
}

func (a *accounts) Known(id patchbay.ConnectionID) (*patchbay.Connection, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	con := a.con
	con.Credentials = patchbay.Credentials{}
	return &con, id == a.con.ID && !a.gone
}

func (a *accounts) Use(_ context.Context, id patchbay.ConnectionID, _ patchbay.Scope) (*integration.Connected, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone || a.useless != nil {
		return nil, a.useless
	}
	return &integration.Connected{ID: id, Account: a.con.Account, Credentials: a.con.Credentials}, nil
}

func (a *accounts) Refused(context.Context, *integration.Connected) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused++
	a.con.Credentials.Access = "access-token-2"
}

func (a *accounts) change(change func(*accounts)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

func (a *accounts) option(o *Options) { o.Connections = a }

// TestConnection makes links over connections: what a connection gives need not be said, and only who may use it does.
func TestConnection(t *testing.T) {
	a := newAccounts()
	f := newHub(t, t.TempDir(), &hub{}, a.option)
	over := func(scope, settings string) string {
		return `{"integration":"hub","scope":"` + scope + `","connection":"` + anAccount.String() + `","settings":` + settings + `}`
	}
	v := f.must(f.create(admin, over("acme/teams/1", `{}`)))
	if v.Connection == nil || *v.Connection != anAccount || !strings.Contains(string(v.Settings), "acme/filled") || !strings.Contains(string(v.Settings), "#filled") {
		t.Errorf("it is %+v with %s", v.Connection, v.Settings)
	}
	if v := f.must(f.create(admin, over("acme/teams/1", `{"place":"acme/own"}`))); strings.Contains(string(v.Settings), "#filled") {
		t.Errorf("a link that says its place got a channel with it: %s", v.Settings)
	}
	portal := &access.Caller{Scope: "acme/teams/1", Portal: true, Permissions: []access.Permission{access.Manage, access.Secrets}}
	for name, test := range map[string]struct {
		c    *access.Caller
		body string
		code patchbay.Code
	}{
		"another tenant's":    {admin, over("other", `{}`), patchbay.CodeInvalidRequest},
		"not seen":            {portal, over("acme/teams/1", `{}`), patchbay.CodeInvalidRequest},
		"none there":          {admin, strings.Replace(over("acme", `{}`), anAccount.String(), "con_0000000000001", 1), patchbay.CodeInvalidRequest},
		"no identifier":       {admin, strings.Replace(over("acme", `{}`), anAccount.String(), "x", 1), patchbay.CodeInvalidRequest},
		"another integration": {admin, strings.Replace(over("acme", `{}`), "hub", "pager", 1), patchbay.CodeUnsupportedIntegration},
	} {
		if _, err := f.create(test.c, test.body); patchbay.CodeOf(err) != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Update(t.Context(), admin, v.ID, Input{Scope: new("other")}, nil, 0); patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
		t.Errorf("moved to another tenant with its connection: %v", err)
	}
	if _, err := f.Update(t.Context(), admin, v.ID, Input{}, []string{"connection"}, 0); patchbay.CodeOf(err) != patchbay.CodeMisconfiguredIntegration {
		t.Errorf("without the connection it lacks a token: %v", err)
	}
	got := f.Receiving("hub", anAccount)
	if len(got) != 2 || got[0].Link.ID != v.ID || len(f.Receiving("pager", anAccount)) != 0 || len(f.Receiving("hub", anAccount+1)) != 0 {
		t.Errorf("the account reaches %d links", len(got))
	}
	f.must(f.Update(t.Context(), admin, v.ID, Input{Enabled: new(false)}, nil, 0))
	if got := f.Receiving("hub", anAccount); len(got) != 1 {
		t.Errorf("with one disabled the account reaches %d links", len(got))
	}
}

// TestConnectionTrouble shows on a link what is wrong with its connection.
func TestConnectionTrouble(t *testing.T) {
	a := newAccounts()
	f := newHub(t, t.TempDir(), &hub{}, a.option)
	v := f.must(f.create(admin, `{"integration":"hub","scope":"acme","connection":"`+anAccount.String()+`","settings":{}}`))
	if got := f.reason(v.ID); got != "" {
		t.Errorf("it says %q", got)
	}
	a.change(func(a *accounts) {
		a.con.State, a.con.StateReason = patchbay.ConnectionNeedsReauth, "the consent was withdrawn"
	})
	if got := f.reason(v.ID); !strings.Contains(got, "the consent was withdrawn") {
		t.Errorf("it says %q", got)
	}
	a.change(func(a *accounts) { a.gone = true })
	if got := f.reason(v.ID); !strings.Contains(got, "does not exist any more") {
		t.Errorf("it says %q", got)
	}
	if got := f.state(v.ID); got != patchbay.LinkActive {
		t.Errorf("it is %s", got)
	}
}

// TestAttachOverAConnection renews a token that the partner does not take, and waits for a connection that needs its owner.
func TestAttachOverAConnection(t *testing.T) {
	a := newAccounts()
	h := &hub{attach: func(ctx context.Context, at *integration.Attachment) (*integration.Attached, integration.Result) {
		if at.Connection.Credentials.Access != "access-token-2" {
			return nil, integration.Expired("the hub does not take access-token-1")
		}
		return works(ctx, at)
	}}
	var told raised
	f := newHub(t, t.TempDir(), h, a.option, told.option)
	in := `{"integration":"hub","scope":"acme","connection":"` + anAccount.String() + `","settings":{}}`
	v := f.must(f.create(admin, in))
	if v.State != patchbay.LinkActive || a.refused != 1 {
		t.Errorf("it is %s after %d refusals", v.State, a.refused)
	}
	a.change(func(a *accounts) {
		a.useless = patchbay.Errorf(patchbay.CodeUserConfigurationError, "Ann must connect again")
	})
	if _, err := f.create(admin, in); patchbay.CodeOf(err) != patchbay.CodeUserConfigurationError || !strings.Contains(err.Error(), "Ann must") {
		t.Errorf("over a connection that does not work: %v", err)
	}
	if err := f.Delete(t.Context(), admin, v.ID); err != nil {
		t.Fatal(err)
	}
	f.until("it is gone", func() bool { return f.state(v.ID) == "" })
	if n := told.all(); len(n) != 1 || !strings.Contains(n[0].Why, "Ann must connect again") {
		t.Errorf("told was %+v", n)
	}
}

// TestChoices asks the partner for values, as the caller may.
func TestChoices(t *testing.T) {
	a := newAccounts()
	var asked *integration.ChoiceQuery
	h := &hub{choices: func(_ context.Context, q *integration.ChoiceQuery) ([]integration.Choice, integration.Result) {
		asked = q
		return []integration.Choice{{Value: "acme/web", Title: "web"}}, integration.Delivered()
	}}
	f := newHub(t, t.TempDir(), h, a.option)
	got, err := f.Choices(t.Context(), admin, "hub", "place", ChoiceInput{Connection: new(anAccount.String()), Scope: new("acme/teams/1"), Search: "we", Settings: json.RawMessage(`{"channel":"x"}`)})
	if err != nil || len(got) != 1 || asked.Connection == nil || asked.Search != "we" || asked.Limit == 0 || !strings.Contains(string(asked.Settings), `"x"`) {
		t.Fatalf("the choices are %v, %v, asked was %+v", got, err, asked)
	}
	v := f.must(f.create(admin, aHub))
	if _, err := f.Choices(t.Context(), admin, "hub", "place", ChoiceInput{Link: &v.ID, Settings: v.Settings}); err != nil || !strings.Contains(string(asked.Settings), "token-123456") {
		t.Errorf("of a stored link: %v, asked was %s", err, asked.Settings)
	}
	// A key that differs in its case only is no setting, and so never a target that was not seen to change.
	if _, err := f.Choices(t.Context(), admin, "hub", "place", ChoiceInput{Link: &v.ID, Settings: json.RawMessage(`{"PLACE":"evil","Address":"x"}`)}); err != nil {
		t.Error(err)
	} else if text := strings.ToLower(string(asked.Settings)); strings.Contains(text, "evil") || strings.Contains(text, "address") {
		t.Errorf("unknown settings came through beside stored secrets: %s", asked.Settings)
	}
	reader := &access.Caller{Permissions: []access.Permission{access.Read}}
	portal := &access.Caller{Scope: "other", Portal: true, Permissions: []access.Permission{access.Manage}}
	asked = nil
	for name, test := range map[string]struct {
		c       *access.Caller
		setting string
		in      ChoiceInput
		code    patchbay.Code
	}{
		"a reader":                  {reader, "place", ChoiceInput{}, patchbay.CodeForbidden},
		"another's connection":      {portal, "place", ChoiceInput{Connection: new(anAccount.String())}, patchbay.CodeInvalidRequest},
		"another's scope":           {portal, "place", ChoiceInput{Scope: new("acme")}, patchbay.CodeForbidden},
		"another's link":            {portal, "place", ChoiceInput{Link: &v.ID}, patchbay.CodeNotFound},
		"a setting that has none":   {admin, "channel", ChoiceInput{}, patchbay.CodeNotFound},
		"no such setting":           {admin, "nope", ChoiceInput{}, patchbay.CodeNotFound},
		"settings that are no JSON": {admin, "place", ChoiceInput{Settings: json.RawMessage(`[`)}, patchbay.CodeInvalidRequest},
		"a long search":             {admin, "place", ChoiceInput{Search: strings.Repeat("x", 201)}, patchbay.CodeInvalidRequest},
	} {
		if _, err := f.Choices(t.Context(), test.c, "hub", test.setting, test.in); patchbay.CodeOf(err) != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if asked != nil {
		t.Error("the partner was asked all the same")
	}
	h.choices = func(context.Context, *integration.ChoiceQuery) ([]integration.Choice, integration.Result) {
		return nil, integration.UserError("no, says access-token-1")
	}
	if _, err := f.Choices(t.Context(), admin, "hub", "place", ChoiceInput{Connection: new(anAccount.String())}); patchbay.CodeOf(err) != patchbay.CodeUserConfigurationError || strings.Contains(err.Error(), "access-token") {
		t.Errorf("a refusal: %v", err)
	}
	h.choices = func(context.Context, *integration.ChoiceQuery) ([]integration.Choice, integration.Result) {
		panic("a bug")
	}
	if _, err := f.Choices(t.Context(), admin, "hub", "place", ChoiceInput{}); patchbay.CodeOf(err) != patchbay.CodeServiceError {
		t.Errorf("a bug: %v", err)
	}
}

// TestSomebodyElsesConnection serves what its owner has set a link up for. Whoever may change the link, but does not see the
// connection, cannot have it look at or receive from another place.
func TestSomebodyElsesConnection(t *testing.T) {
	a, asked := newAccounts(), 0
	h := &hub{choices: func(context.Context, *integration.ChoiceQuery) ([]integration.Choice, integration.Result) {
		asked++
		return nil, integration.Delivered()
	}}
	f := newHub(t, t.TempDir(), h, a.option)
	v := f.must(f.create(admin, `{"integration":"hub","scope":"acme/teams/1","connection":"`+anAccount.String()+`","settings":{"place":"acme/web"}}`))
	portal := &access.Caller{Scope: "acme/teams/1", Portal: true, Permissions: []access.Permission{access.Manage, access.Secrets}}
	elsewhere := json.RawMessage(`{"place":"acme/payroll"}`)
	if _, err := f.Update(t.Context(), portal, v.ID, Input{Settings: elsewhere}, nil, 0); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("it was turned elsewhere: %v", err)
	}
	if _, err := f.Choices(t.Context(), portal, "hub", "place", ChoiceInput{Link: &v.ID}); patchbay.CodeOf(err) != patchbay.CodeForbidden || asked != 0 {
		t.Errorf("what it sees was shown: %v", err)
	}
	if _, err := f.TestSettings(t.Context(), portal, "hub", Draft{Link: &v.ID, Settings: elsewhere}); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("it was tried elsewhere: %v", err)
	}
	v = f.must(f.Update(t.Context(), portal, v.ID, Input{Settings: v.Settings, Name: new("ours")}, nil, 0))
	if v.Name != "ours" || !strings.Contains(string(v.Settings), "acme/web") {
		t.Errorf("a form that changes no setting made it %+v", v)
	}
	a.change(func(a *accounts) { a.con.Visible = true })
	f.must(f.Update(t.Context(), portal, v.ID, Input{Settings: elsewhere}, nil, 0))
}

// catalog is a Catalog with one type.
type catalog struct{}

func (catalog) Example(name string) (string, json.RawMessage, bool) {
	return "a.happened", json.RawMessage(`{"n":1}`), name == "a.happened" || name == "alias"
}

func (catalog) Render(e *patchbay.Event, _ *integration.Definition) (*patchbay.Message, error) {
	return &patchbay.Message{Title: e.Type + " " + string(e.Payload)}, nil
}

// TestPreview shows what a link that is not saved would send.
func TestPreview(t *testing.T) {
	a := newAccounts()
	f := newHub(t, t.TempDir(), &hub{}, a.option, func(o *Options) { o.Catalog = catalog{} })
	var tried deliver.Call
	f.engine.try = func(c deliver.Call) deliver.Outcome {
		tried = c
		return deliver.Outcome{Body: []byte("body"), Attempt: patchbay.Attempt{Request: &patchbay.Request{Method: "POST", URL: "https://hub.example"}}}
	}
	in := Input{Integration: new("hub"), Settings: json.RawMessage(`{"place":"x"}`), Connection: new(anAccount.String()), Scope: new("acme/teams/1")}
	p, err := f.Preview(t.Context(), admin, in, "alias")
	if err != nil {
		t.Fatal(err)
	}
	want := &Preview{Message: &patchbay.Message{Title: `a.happened {"n":1}`}, Request: &PreviewRequest{Method: "POST", URL: "https://hub.example", Body: "body"}}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
	if !tried.Preview || tried.Link.Connection != anAccount || tried.Event.Scope != "acme/teams/1" || tried.Link.ID != 0 {
		t.Errorf("tried was %+v", tried)
	}
	v := f.must(f.create(admin, aHub))
	if _, err := f.Preview(t.Context(), admin, Input{Integration: new("hub"), Settings: v.Settings, Base: v.ID}, "a.happened"); err != nil || tried.Link.Settings.(*hubSettings).Token != "token-123456" {
		t.Errorf("of a stored link: %v", err)
	}
	in.Body = new("1 +")
	for name, err := range map[string]error{
		"a body that does not compile": second(f.Preview(t.Context(), admin, in, "alias")),
		"an unknown type":              second(f.Preview(t.Context(), admin, Input{Integration: new("hub"), Settings: v.Settings, Base: v.ID}, "nope")),
		"no integration":               second(f.Preview(t.Context(), admin, Input{}, "alias")),
	} {
		if patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHookSecrets shows a hook's secret once to whoever needs it, and its address to those who may manage only.
func TestHookSecrets(t *testing.T) {
	f := newHub(t, t.TempDir(), &hub{})
	v := f.must(f.create(admin, aHub))
	target, _ := f.HookTarget(v.ID)
	if v.Secrets[hookSecret] != target.Link.Hook.Secret.Reveal() || len(v.Secrets[hookSecret]) < 50 {
		t.Errorf("shown was %v", v.Secrets)
	}
	again := f.must(f.Get(t.Context(), admin, v.ID))
	if again.Secrets != nil || again.HookURL == nil {
		t.Errorf("later it is %v, %v", again.Secrets, again.HookURL)
	}
	reader := &access.Caller{Permissions: []access.Permission{access.Read}}
	if got := f.must(f.Get(t.Context(), reader, v.ID)); got.HookURL != nil {
		t.Error("a reader sees where the partner calls")
	}
	if _, ok := f.HookLink("hub", target.Link.Hook.Token.Reveal()+"x"); ok {
		t.Error("another token leads to the link")
	}
	if _, ok := f.HookLink("pager", target.Link.Hook.Token.Reveal()); ok {
		t.Error("another integration's address leads to the link")
	}
	r := f.must(f.RotateSecret(t.Context(), admin, v.ID))
	if r.Secrets[hookSecret] == "" || r.Secrets[hookSecret] == v.Secrets[hookSecret] {
		t.Errorf("rotated was %v", r.Secrets)
	}
	text, err := json.Marshal(target.Link)
	if err != nil || strings.Contains(string(text), target.Link.Hook.Token.Reveal()) {
		t.Errorf("the link's JSON is %s, %v", text, err)
	}
	if got := target.Secrets(time.Now()); len(got) != 1 {
		t.Errorf("an old copy has %d secrets", len(got))
	}
}
