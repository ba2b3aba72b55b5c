package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/links"
)

type (
	contextT = context.Context
	jsonT    = json.RawMessage
)

func TestCreateLink(t *testing.T) {
	f := newFixture(t)
	var got links.Input
	f.links.create = func(c *access.Caller, in links.Input) (*links.View, error) {
		if c.Scope != "acme" {
			t.Errorf("the caller is %+v", c)
		}
		got = in
		v := exampleNewLink
		v.Revision = 1
		return &v, nil
	}
	body, err := json.Marshal(exampleLinkInput)
	if err != nil {
		t.Fatal(err)
	}
	w := f.call(f.key("acme", access.Manage), "POST", "/v1/links", string(body))
	if diff := cmp.Diff(exampleNewLink, wantJSON[links.View](t, w, 201)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(exampleLinkInput, got); diff != "" {
		t.Errorf("the service got %s", diff)
	}
	if w.Header().Get("ETag") != `"1"` || w.Header().Get("Location") != "/v1/links/"+exampleLinkID.String() {
		t.Errorf("the headers are %v", w.Header())
	}
}

func TestLinkInputsAreChecked(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Manage)
	for body, path := range map[string]string{
		`{"reach":"everywhere"}`:   "reach",
		`{"concurrency":-1}`:       "concurrency",
		`{"concurrency":257}`:      "concurrency",
		`{"rate":-0.5}`:            "rate",
		`{"events":"*"}`:           "events",
		`{"retry":{"max_age":[]}}`: "retry.max_age",
		`{"retry":{"tries":3}}`:    "retry.tries",
		`{"secret":"x"}`:           "secret",
		`{"order":{"keys":"x"}}`:   "order.keys",
		`{"order":"type"}`:         "order",

		`{"order":{"on_failure":"wait"}}`: "order.on_failure",
	} {
		for method, target := range map[string]string{"POST": "/v1/links", "PATCH": "/v1/links/" + exampleLinkID.String()} {
			p := wantError(t, f.call(token, method, target, body), 400, patchbay.CodeInvalidRequest)
			if len(p.Details) != 1 || p.Details[0].Path != path {
				t.Errorf("%s %s: %+v", method, body, p)
			}
		}
	}
	p := wantError(t, f.call(token, "POST", "/v1/links", `{"retry":{"schedule":["5s","soon"]}}`), 400, patchbay.CodeInvalidRequest)
	if !strings.Contains(p.Message, `"soon" is not a duration`) {
		t.Errorf("the sentence is %q", p.Message)
	}
}

func TestUpdateLink(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Manage)
	var got struct {
		in      links.Input
		clear   []string
		ifMatch int
	}
	f.links.update = func(_ *access.Caller, id patchbay.LinkID, in links.Input, clear []string, ifMatch int) (*links.View, error) {
		if id != exampleLinkID {
			t.Errorf("the link is %s", id)
		}
		got.in, got.clear, got.ifMatch = in, clear, ifMatch
		if ifMatch == 2 {
			return nil, patchbay.Errorf(patchbay.CodeConflict, "it was changed")
		}
		v := exampleLink
		v.Revision = 4
		return &v, nil
	}
	target := "/v1/links/" + exampleLinkID.String()
	body := `{"filter":null,"name":"x","slot":null,"settings":{"url":"https://a.example","channel":null,"n":12345678901234567890},"events":["a"],"retry":{"schedule":[],"max_age":90}}`
	w := f.call(token, "PATCH", target, body, "If-Match", `"3"`)
	wantJSON[links.View](t, w, 200)
	want := links.Input{Name: new("x"), Settings: jsonT(`{"url":"https://a.example","channel":null,"n":12345678901234567890}`), Events: []string{"a"},
		Retry: &patchbay.RetryPolicy{Schedule: []patchbay.Duration{}, MaxAge: patchbay.Duration(90 * time.Second)}}
	if diff := cmp.Diff(want, got.in); diff != "" {
		t.Error(diff)
	}
	if !cmp.Equal(got.clear, []string{"filter", "slot"}) || got.ifMatch != 3 || w.Header().Get("ETag") != `"4"` {
		t.Errorf("clear %v, If-Match %d, ETag %s", got.clear, got.ifMatch, w.Header().Get("ETag"))
	}
	for header, revision := range map[string]int{"": 0, "*": 0, `"7"`: 7, `W/"7"`: 7} {
		f.call(token, "PATCH", target, `{}`, "If-Match", header)
		if got.ifMatch != revision || got.clear != nil {
			t.Errorf("If-Match %s is revision %d (clear %v), want %d", header, got.ifMatch, got.clear, revision)
		}
	}
	for header, status := range map[string]int{`"2"`: 409, `"x"`: 409, `"0"`: 409, `""`: 409, `3`: 400, `"3", "4"`: 400, `"`: 400} {
		w := f.call(token, "PATCH", target, `{}`, "If-Match", header)
		if w.Code != status {
			t.Errorf("If-Match %s: %d %s, want %d", header, w.Code, w.Body, status)
		}
	}
	wantError(t, f.call(token, "PATCH", "/v1/links/nothing", `{}`), 404, patchbay.CodeNotFound)
}

func TestLinkActions(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Manage)
	var verbs []string
	f.links.act = func(verb string, _ *access.Caller, id patchbay.LinkID) (*links.View, error) {
		if id != exampleLinkID {
			return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no link %s", id)
		}
		verbs = append(verbs, verb)
		v := exampleLink
		v.Revision = 2
		return &v, nil
	}
	f.links.remove = func(_ *access.Caller, id patchbay.LinkID) error {
		verbs = append(verbs, "delete")
		return nil
	}
	f.links.test = func(*access.Caller, patchbay.LinkID) (*links.TestResult, error) {
		verbs = append(verbs, "test")
		return &exampleTestResult, nil
	}
	target := "/v1/links/" + exampleLinkID.String()
	for _, action := range []string{"GET ", "POST /pause", "POST /resume", "POST /secret/rotate"} {
		method, path, _ := strings.Cut(action, " ")
		w := f.call(token, method, target+path, "")
		if diff := cmp.Diff(exampleLink, wantJSON[links.View](t, w, 200)); diff != "" || w.Header().Get("ETag") != `"2"` {
			t.Errorf("%s: %v %s", action, w.Header(), diff)
		}
		wantError(t, f.call(token, method, "/v1/links/lnk_0000000000001"+path, ""), 404, patchbay.CodeNotFound)
		wantError(t, f.call(token, method, "/v1/links/x"+path, ""), 404, patchbay.CodeNotFound)
	}
	wantJSON[links.View](t, f.call(token, "POST", target+"/resume", `{"skip":false}`), 200)
	wantJSON[links.View](t, f.call(token, "POST", target+"/resume", `{"skip":true}`), 200)
	wantError(t, f.call(token, "POST", target+"/resume", `{"skip":1}`), 400, patchbay.CodeInvalidRequest)
	wantError(t, f.call(token, "POST", target+"/resume", `{"jump":true}`), 400, patchbay.CodeInvalidRequest)
	if got := wantJSON[links.TestResult](t, f.call(token, "POST", target+"/test", ""), 200); got != exampleTestResult {
		t.Errorf("the test answers %+v", got)
	}
	if w := f.call(token, "DELETE", target, ""); w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("DELETE: %d %q", w.Code, w.Body)
	}
	wantError(t, f.call(token, "DELETE", "/v1/links/x", ""), 404, patchbay.CodeNotFound)
	wantError(t, f.call(token, "POST", "/v1/links/x/test", ""), 404, patchbay.CodeNotFound)
	if want := []string{"get", "pause", "resume", "rotate", "resume", "skip", "test", "delete"}; !cmp.Equal(want, verbs) {
		t.Errorf("the service did %v, want %v", verbs, want)
	}
	reader := f.key("", access.Read)
	wantJSON[links.View](t, f.call(reader, "GET", target, ""), 200)
}

func TestListLinks(t *testing.T) {
	f := newFixture(t)
	token := f.key("acme", access.Read)
	var got links.ListFilter
	f.links.list = func(_ *access.Caller, filter links.ListFilter) ([]links.View, bool, error) {
		got = filter
		return []links.View{exampleLink}, filter.After == 0, nil
	}
	first := wantJSON[page[links.View]](t, f.call(token, "GET", "/v1/links?scope=acme/repos&effective=true&integration=slack&limit=1", ""), 200)
	if want := (links.ListFilter{Scope: new(patchbay.Scope("acme/repos")), Effective: true, Integration: "slack", Limit: 1}); !cmp.Equal(want, got) {
		t.Error(cmp.Diff(want, got))
	}
	second := wantJSON[page[links.View]](t, f.call(token, "GET", "/v1/links?cursor="+*first.Next, ""), 200)
	if want := (links.ListFilter{Scope: new(patchbay.Scope("acme")), After: exampleLinkID, Limit: defaultLimit}); !cmp.Equal(want, got) || second.Next != nil {
		t.Error(cmp.Diff(want, got))
	}
}

func TestDeliveries(t *testing.T) {
	f := newFixture(t)
	token := f.key("acme", access.Manage)
	var got deliver.Query
	f.deliveries.list = func(_ *access.Caller, q deliver.Query) ([]deliver.View, bool, error) {
		got = q
		return []deliver.View{exampleListedDelivery}, q.Before == 0, nil
	}
	target := fmt.Sprintf("/v1/deliveries?state=pending,failed&link=%s&event=%s&integration=slack&scope=acme/x&since=2026-11-22T00:00:00Z", exampleLinkID, exampleEventID)
	first := wantJSON[page[deliver.View]](t, f.call(token, "GET", target, ""), 200)
	want := deliver.Query{States: []patchbay.DeliveryState{"pending", "failed"}, Link: exampleLinkID, Event: exampleEventID, Integration: "slack",
		Scope: "acme/x", Since: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Limit: defaultLimit}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	second := wantJSON[page[deliver.View]](t, f.call(token, "GET", "/v1/deliveries?cursor="+*first.Next, ""), 200)
	if want := (deliver.Query{Scope: "acme", Before: exampleDeliveryID, Limit: defaultLimit}); !cmp.Equal(want, got) || second.Next != nil {
		t.Error(cmp.Diff(want, got))
	}

	var verbs []string
	f.deliveries.act = func(verb string, _ *access.Caller, id patchbay.DeliveryID) (*deliver.View, error) {
		if id != exampleDeliveryID {
			return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no delivery %s", id)
		}
		verbs = append(verbs, verb)
		return &exampleDelivery, nil
	}
	for action, method := range map[string]string{"": "GET", "/retry": "POST", "/cancel": "POST"} {
		if diff := cmp.Diff(exampleDelivery, wantJSON[deliver.View](t, f.call(token, method, "/v1/deliveries/"+exampleDeliveryID.String()+action, ""), 200)); diff != "" {
			t.Errorf("%s: %s", action, diff)
		}
		wantError(t, f.call(token, method, "/v1/deliveries/dlv_0000000000001"+action, ""), 404, patchbay.CodeNotFound)
		wantError(t, f.call(token, method, "/v1/deliveries/x"+action, ""), 404, patchbay.CodeNotFound)
	}
	if len(verbs) != 3 {
		t.Errorf("the service did %v", verbs)
	}
}

// TestKeys goes through the real service: a key's life over HTTP.
func TestKeys(t *testing.T) {
	f := newFixture(t)
	admin := f.key("", access.Admin)
	w := f.call(admin, "POST", "/v1/keys", `{"name":"CI","scope":"acme","permissions":["publish","read"],"expires_at":"2999-01-01T00:00:00Z"}`)
	made := wantJSON[access.KeyView](t, w, 201)
	if w.Header().Get("Location") != "/v1/keys/"+made.ID.String() || made.Token == "" || made.ExpiresAt == nil {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
	f.links.list = func(c *access.Caller, _ links.ListFilter) ([]links.View, bool, error) {
		return nil, false, c.Reach("acme")
	}
	if w := f.call(made.Token, "GET", "/v1/links", ""); w.Code != 200 {
		t.Errorf("the new key: %d %s", w.Code, w.Body)
	}
	got := f.call(admin, "GET", "/v1/keys/"+made.ID.String(), "").Body.String()
	if strings.Contains(got, made.Token) || !strings.Contains(got, `"scope":"acme"`) {
		t.Errorf("a second look: %s", got)
	}
	list := wantJSON[page[access.KeyView]](t, f.call(admin, "GET", "/v1/keys?limit=1", ""), 200)
	if len(list.Data) != 1 || list.Next == nil {
		t.Fatalf("the first page is %+v", list)
	}
	list = wantJSON[page[access.KeyView]](t, f.call(admin, "GET", "/v1/keys?cursor="+*list.Next, ""), 200)
	if len(list.Data) != 1 || list.Data[0].ID != made.ID || list.Next != nil {
		t.Errorf("the second page is %+v", list)
	}
	if w := f.call(admin, "DELETE", "/v1/keys/"+made.ID.String(), ""); w.Code != 204 {
		t.Errorf("DELETE: %d %s", w.Code, w.Body)
	}
	wantError(t, f.call(made.Token, "GET", "/v1/links", ""), 401, patchbay.CodeUnauthorized)
	wantError(t, f.call(admin, "GET", "/v1/keys/"+made.ID.String(), ""), 404, patchbay.CodeNotFound)
	wantError(t, f.call(admin, "DELETE", "/v1/keys/x", ""), 404, patchbay.CodeNotFound)
	wantError(t, f.call(admin, "GET", "/v1/keys/x", ""), 404, patchbay.CodeNotFound)
	for body, path := range map[string]string{
		`{}`: "permissions", `{"permissions":[]}`: "permissions", `{"permissions":["root"]}`: "permissions[0]", `{"permissions":null}`: "permissions",
		`{"permissions":["read"],"scope":"/"}`: "scope", `{"permissions":["read"],"expires_at":"soon"}`: "expires_at", `{"permissions":["read"],"token":"x"}`: "token",
	} {
		p := wantError(t, f.call(admin, "POST", "/v1/keys", body), 400, patchbay.CodeInvalidRequest)
		if len(p.Details) != 1 || p.Details[0].Path != path {
			t.Errorf("%s: %+v", body, p)
		}
	}
	wantError(t, f.call(f.key("acme", access.Admin), "POST", "/v1/keys", `{"permissions":["read"],"scope":"umbrella"}`), 403, patchbay.CodeForbidden)
}

// TestAnswersMatchTheDocument compares what is really served with the schema that the document promises.
func TestAnswersMatchTheDocument(t *testing.T) {
	f := newFixture(t)
	schemaAt := compile(t, specification(t))
	token := f.key("", access.Admin)
	f.links.act = func(string, *access.Caller, patchbay.LinkID) (*links.View, error) {
		v := exampleLink // with everything that can be null
		v.Filter, v.Health = nil, nil
		return &v, nil
	}
	f.deliveries.act = func(string, *access.Caller, patchbay.DeliveryID) (*deliver.View, error) {
		v := exampleDelivery
		v.Link, v.NextAttemptAt = nil, nil
		v.Attempts = []deliver.AttemptView{{At: exampleTime, Verdict: patchbay.VerdictDelivered}}
		return &v, nil
	}
	f.deliveries.list = func(*access.Caller, deliver.Query) ([]deliver.View, bool, error) { return nil, false, nil }
	for target, pointer := range map[string]string{
		"/v1/links/" + exampleLinkID.String():          "/v1/links/{id}",
		"/v1/deliveries/" + exampleDeliveryID.String(): "/v1/deliveries/{id}",
		"/v1/deliveries":            "/v1/deliveries",
		"/v1/keys":                  "/v1/keys",
		"/v1/event-types":           "/v1/event-types",
		"/v1/integrations":          "/v1/integrations",
		"/v1/event-types/repo.push": "/v1/event-types/{key}",
		"/integrations":             "/integrations",
		"/integrations/slack":       "/integrations/{key}",
		"/events":                   "/events",
		"/healthz":                  "/healthz",
	} {
		got := wantJSON[any](t, f.call(token, "GET", target, ""), 200)
		if err := schemaAt("/paths/" + escape(pointer) + "/get/responses/200/content/application~1json/schema").Validate(got); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
	got := wantJSON[any](t, f.call(token, "GET", "/v1/links/x", ""), 404)
	if err := schemaAt("/components/schemas/Error").Validate(got); err != nil {
		t.Errorf("an error: %v", err)
	}
}
