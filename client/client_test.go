package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exchange is one call as the server saw it, and what it answers.
type exchange struct {
	method, uri, body string
	header            http.Header

	status  int
	answer  string
	headers map[string]string
}

// serve answers every call with x and remembers the call in it.
func serve(t *testing.T, x *exchange, o Options) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		x.method, x.uri, x.body, x.header = r.Method, r.RequestURI, string(body), r.Header
		for name, value := range x.headers {
			w.Header().Set(name, value)
		}
		w.WriteHeader(x.status)
		fmt.Fprint(w, x.answer)
	}))
	t.Cleanup(s.Close)
	o.Server = s.URL
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func ptr[T any](v T) *T { return &v }

const (
	linkID     = "lnk_0123456789abc"
	eventID    = "evt_0123456789abc"
	deliveryID = "dlv_0123456789abc"
	keyID      = "key_0123456789abc"
)

func id[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := P(&v).UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestCalls proves of every method which request it makes.
func TestCalls(t *testing.T) {
	link, event := id[patchbay.LinkID](t, linkID), id[patchbay.EventID](t, eventID)
	delivery, key := id[patchbay.DeliveryID](t, deliveryID), id[patchbay.KeyID](t, keyID)
	since := time.Date(2026, 11, 22, 8, 0, 0, 0, time.FixedZone("CET", 3600))
	for _, tc := range []struct {
		name              string
		call              func(context.Context, *Client) error
		method, uri, body string
	}{
		{"Ready", func(ctx context.Context, c *Client) error { return c.Ready(ctx) }, "GET", "/readyz", ""},
		{"Nodes", func(ctx context.Context, c *Client) error { _, err := c.Nodes(ctx); return err }, "GET", "/v1/nodes", ""},
		{"SecretKeys", func(ctx context.Context, c *Client) error { _, err := c.SecretKeys(ctx); return err }, "GET", "/v1/secrets", ""},
		{"RotateSecrets", func(ctx context.Context, c *Client) error { _, err := c.RotateSecrets(ctx); return err }, "POST", "/v1/secrets/rotate", ""},
		{"Publish", func(ctx context.Context, c *Client) error {
			_, err := c.Publish(ctx, &NewEvent{Type: "repo.push", Scope: ptr(patchbay.Scope("acme")), Payload: json.RawMessage(`{"n":1}`), ID: "7"})
			return err
		}, "POST", "/v1/events", `{"event_type":"repo.push","scope":"acme","payload":{"n":1},"id":"7"}`},
		{"Publish inline", func(ctx context.Context, c *Client) error {
			_, err := c.Publish(ctx, &NewEvent{Type: "x", Payload: json.RawMessage(`{}`), Integrations: &[]Inline{{"slack", json.RawMessage(`{"url":"u"}`)}}})
			return err
		}, "POST", "/v1/events", `{"event_type":"x","payload":{},"integrations":[{"key":"slack","settings":{"url":"u"}}]}`},
		{"DryRun", func(ctx context.Context, c *Client) error {
			_, err := c.DryRun(ctx, &NewEvent{Type: "x", Payload: json.RawMessage(`{}`)})
			return err
		}, "POST", "/v1/events?dry_run=true", `{"event_type":"x","payload":{}}`},
		{"Events", func(ctx context.Context, c *Client) error {
			_, err := c.Events(ctx, EventFilter{Type: "repo.*", Scope: "acme/repos", Since: since, Paging: Paging{Limit: 5, Cursor: "c&d"}})
			return err
		}, "GET", "/v1/events?cursor=c%26d&limit=5&scope=acme%2Frepos&since=2026-11-22T07%3A00%3A00Z&type=repo.%2A", ""},
		{"Event", func(ctx context.Context, c *Client) error { _, err := c.Event(ctx, event); return err }, "GET", "/v1/events/" + eventID, ""},
		{"Replay", func(ctx context.Context, c *Client) error { _, err := c.Replay(ctx, event); return err }, "POST", "/v1/events/" + eventID + "/replay", ""},
		{"EventTypes", func(ctx context.Context, c *Client) error { _, err := c.EventTypes(ctx, Paging{}); return err }, "GET", "/v1/event-types", ""},
		{"EventType", func(ctx context.Context, c *Client) error { _, err := c.EventType(ctx, "a/b c%"); return err }, "GET", "/v1/event-types/a%2Fb%20c%25", ""},
		{"PutEventType", func(ctx context.Context, c *Client) error {
			_, err := c.PutEventType(ctx, &patchbay.EventType{Key: "a.b", Title: "T"})
			return err
		}, "PUT", "/v1/event-types/a.b", `{"key":"a.b","title":"T"}`},
		{"DeleteEventType", func(ctx context.Context, c *Client) error { return c.DeleteEventType(ctx, "a.b") }, "DELETE", "/v1/event-types/a.b", ""},
		{"Integrations", func(ctx context.Context, c *Client) error { _, err := c.Integrations(ctx, Paging{}); return err }, "GET", "/v1/integrations", ""},
		{"Integration", func(ctx context.Context, c *Client) error { _, err := c.Integration(ctx, "slack"); return err }, "GET", "/v1/integrations/slack", ""},
		{"TestIntegration", func(ctx context.Context, c *Client) error {
			_, err := c.TestIntegration(ctx, "slack", LinkDraft{Settings: json.RawMessage(`{"url":"u"}`)})
			return err
		}, "POST", "/v1/integrations/slack/test", `{"settings":{"url":"u"}}`},
		{"Links", func(ctx context.Context, c *Client) error {
			_, err := c.Links(ctx, LinkFilter{Scope: ptr(patchbay.Scope("")), Effective: true, Integration: "slack"})
			return err
		}, "GET", "/v1/links?effective=true&integration=slack&scope=", ""},
		{"Link", func(ctx context.Context, c *Client) error { _, err := c.Link(ctx, link); return err }, "GET", "/v1/links/" + linkID, ""},
		{"CreateLink", func(ctx context.Context, c *Client) error {
			_, err := c.CreateLink(ctx, &LinkInput{Integration: ptr("slack"), Events: []patchbay.Pattern{"*"}, Retry: &patchbay.RetryPolicy{Schedule: []patchbay.Duration{patchbay.Duration(time.Minute)}}})
			return err
		}, "POST", "/v1/links", `{"integration":"slack","events":["*"],"retry":{"schedule":["1m"]}}`},
		{"UpdateLink", func(ctx context.Context, c *Client) error {
			_, err := c.UpdateLink(ctx, link, &LinkInput{Enabled: ptr(false)}, `"3"`)
			return err
		}, "PATCH", "/v1/links/" + linkID, `{"enabled":false}`},
		{"DeleteLink", func(ctx context.Context, c *Client) error { return c.DeleteLink(ctx, link) }, "DELETE", "/v1/links/" + linkID, ""},
		{"PauseLink", func(ctx context.Context, c *Client) error { _, err := c.PauseLink(ctx, link); return err }, "POST", "/v1/links/" + linkID + "/pause", ""},
		{"SkipLink", func(ctx context.Context, c *Client) error { _, err := c.SkipLink(ctx, link); return err }, "POST", "/v1/links/" + linkID + "/resume", `{"skip":true}`},
		{"ResumeLink", func(ctx context.Context, c *Client) error { _, err := c.ResumeLink(ctx, link); return err }, "POST", "/v1/links/" + linkID + "/resume", ""},
		{"RotateSecret", func(ctx context.Context, c *Client) error { _, err := c.RotateSecret(ctx, link); return err }, "POST", "/v1/links/" + linkID + "/secret/rotate", ""},
		{"TestLink", func(ctx context.Context, c *Client) error { _, err := c.TestLink(ctx, link); return err }, "POST", "/v1/links/" + linkID + "/test", ""},
		{"Deliveries", func(ctx context.Context, c *Client) error {
			_, err := c.Deliveries(ctx, DeliveryFilter{States: []patchbay.DeliveryState{"failed", "held"}, Link: link, Event: event, Integration: "x"})
			return err
		}, "GET", "/v1/deliveries?event=" + eventID + "&integration=x&link=" + linkID + "&state=failed%2Cheld", ""},
		{"Delivery", func(ctx context.Context, c *Client) error { _, err := c.Delivery(ctx, delivery); return err }, "GET", "/v1/deliveries/" + deliveryID, ""},
		{"RetryDelivery", func(ctx context.Context, c *Client) error { _, err := c.RetryDelivery(ctx, delivery); return err }, "POST", "/v1/deliveries/" + deliveryID + "/retry", ""},
		{"CancelDelivery", func(ctx context.Context, c *Client) error { _, err := c.CancelDelivery(ctx, delivery); return err }, "POST", "/v1/deliveries/" + deliveryID + "/cancel", ""},
		{"Keys", func(ctx context.Context, c *Client) error { _, err := c.Keys(ctx, Paging{}); return err }, "GET", "/v1/keys", ""},
		{"CreateKey", func(ctx context.Context, c *Client) error {
			_, err := c.CreateKey(ctx, &NewKey{Name: "ci", Scope: "acme", Permissions: []string{"publish"}})
			return err
		}, "POST", "/v1/keys", `{"name":"ci","scope":"acme","permissions":["publish"]}`},
		{"Connections", func(ctx context.Context, c *Client) error {
			acme := patchbay.Scope("acme")
			_, err := c.Connections(ctx, ConnectionFilter{Serving: &acme, Integration: "github", Paging: Paging{Limit: 5}})
			return err
		}, "GET", "/v1/connections?integration=github&limit=5&serving=acme", ""},
		{"Connection", func(ctx context.Context, c *Client) error {
			_, err := c.Connection(ctx, id[patchbay.ConnectionID](t, "con_0123456789abc"))
			return err
		}, "GET", "/v1/connections/con_0123456789abc", ""},
		{"CreateConnection", func(ctx context.Context, c *Client) error {
			_, err := c.CreateConnection(ctx, &ConnectionInput{Integration: new("jira"), Owner: new("ann"), Settings: json.RawMessage(`{"token":"t"}`)})
			return err
		}, "POST", "/v1/connections", `{"integration":"jira","owner":"ann","settings":{"token":"t"}}`},
		{"UpdateConnection", func(ctx context.Context, c *Client) error {
			_, err := c.UpdateConnection(ctx, id[patchbay.ConnectionID](t, "con_0123456789abc"), &ConnectionInput{Name: new("x")}, `"a"`)
			return err
		}, "PATCH", "/v1/connections/con_0123456789abc", `{"name":"x"}`},
		{"CheckConnection", func(ctx context.Context, c *Client) error {
			_, err := c.CheckConnection(ctx, id[patchbay.ConnectionID](t, "con_0123456789abc"))
			return err
		}, "POST", "/v1/connections/con_0123456789abc/check", ""},
		{"DeleteConnection", func(ctx context.Context, c *Client) error {
			_, err := c.DeleteConnection(ctx, id[patchbay.ConnectionID](t, "con_0123456789abc"), true)
			return err
		}, "DELETE", "/v1/connections/con_0123456789abc?force=true", ""},
		{"Hooks", func(ctx context.Context, c *Client) error {
			_, err := c.Hooks(ctx, HookFilter{States: []patchbay.HookState{patchbay.HookUnplaced, patchbay.HookFailed}, Integration: "github",
				Link: id[patchbay.LinkID](t, "lnk_0123456789abc"), Account: "7", Scope: "acme", Paging: Paging{Limit: 5}})
			return err
		}, "GET", "/v1/hooks?account=7&integration=github&limit=5&link=lnk_0123456789abc&scope=acme&state=unplaced%2Cfailed", ""},
		{"Hook", func(ctx context.Context, c *Client) error {
			_, err := c.Hook(ctx, id[patchbay.HookID](t, "hok_0123456789abc"))
			return err
		}, "GET", "/v1/hooks/hok_0123456789abc", ""},
		{"ReplayHook", func(ctx context.Context, c *Client) error {
			_, err := c.ReplayHook(ctx, id[patchbay.HookID](t, "hok_0123456789abc"))
			return err
		}, "POST", "/v1/hooks/hok_0123456789abc/replay", ""},
		{"CreatePortal", func(ctx context.Context, c *Client) error {
			_, err := c.CreatePortal(ctx, &NewPortal{Scope: "acme", User: "ann", TTL: patchbay.Duration(time.Hour)})
			return err
		}, "POST", "/v1/portal-sessions", `{"scope":"acme","user":"ann","ttl":"1h"}`},
		{"Portals", func(ctx context.Context, c *Client) error {
			_, err := c.Portals(ctx, "acme", Paging{Limit: 5})
			return err
		}, "GET", "/v1/portal-sessions?limit=5&scope=acme", ""},
		{"DeletePortal", func(ctx context.Context, c *Client) error {
			return c.DeletePortal(ctx, id[patchbay.SessionID](t, "ses_0123456789abc"))
		}, "DELETE", "/v1/portal-sessions/ses_0123456789abc", ""},
		{"DeleteKey", func(ctx context.Context, c *Client) error { return c.DeleteKey(ctx, key) }, "DELETE", "/v1/keys/" + keyID, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := &exchange{status: 200, answer: "{}"}
			if err := tc.call(t.Context(), serve(t, x, Options{Key: "pk_secret"})); err != nil {
				t.Fatal(err)
			}
			if x.method != tc.method || x.uri != tc.uri || x.body != tc.body {
				t.Errorf("got %s %s %s\nwant %s %s %s", x.method, x.uri, x.body, tc.method, tc.uri, tc.body)
			}
			if x.header.Get("Authorization") != "Bearer pk_secret" {
				t.Errorf("authorization %q", x.header.Get("Authorization"))
			}
			if got := x.header.Get("Content-Type"); (got == "application/json") != (tc.body != "") {
				t.Errorf("content type %q with body %q", got, tc.body)
			}
			if tc.name == "UpdateLink" && x.header.Get("If-Match") != `"3"` {
				t.Errorf("If-Match is %q", x.header.Get("If-Match"))
			}
		})
	}
}

// TestAnswers proves that answers are read: nulls, embedded parts, what is in headers.
func TestAnswers(t *testing.T) {
	x := &exchange{status: 201, headers: map[string]string{"ETag": `"2"`},
		answer: `{"id":"` + linkID + `","integration":"webhook","scope":"a","reach":"subtree","events":["*"],"filter":null,"slot":null,"connection":null,
		"enabled":true,"state":"active","state_reason":null,"hook_url":null,"short_name":"Webhook","retry":null,"health":{"breaker":"open","failures":3,"failing_since":"2026-11-22T08:00:00Z"},
		"secrets":{"secret":"whsec_x"},"created_at":"2026-11-22T08:00:00Z"}`}
	var raw string
	c := serve(t, x, Options{OnAnswer: func(b []byte) { raw = string(b) }})
	l, err := c.CreateLink(t.Context(), &LinkInput{})
	if err != nil {
		t.Fatal(err)
	}
	if l.ID.String() != linkID || l.ETag != `"2"` || l.Secrets["secret"] != "whsec_x" || l.Health.Failures != 3 || l.State != patchbay.LinkActive || l.Filter != "" {
		t.Errorf("%+v", l)
	}
	if raw != x.answer {
		t.Errorf("the answer was seen as %s", raw)
	}

	x.answer, x.headers = `{"status":"ok","id":"`+eventID+`","deliveries":2}`, map[string]string{"Idempotent-Replayed": "true"}
	p, err := c.Publish(t.Context(), &NewEvent{Type: "x", Payload: json.RawMessage("{}")})
	if err != nil || !p.Replayed || p.Deliveries != 2 || p.ID.String() != eventID {
		t.Errorf("%+v, %v", p, err)
	}

	x.answer = `{"id":"` + deliveryID + `","event":"` + eventID + `","link":null,"state":"failed","next_attempt_at":null,"attempts":[
		{"at":"2026-11-22T08:00:00Z","duration_ms":12,"verdict":"rejected","error_type":"user_configuration_error","error":"no","response_code":404,
		 "request":{"method":"POST","url":"https://x","headers":{},"body":"{}","body_note":"rendered again"},"response_body":"nope"}]}`
	d, err := c.Delivery(t.Context(), id[patchbay.DeliveryID](t, deliveryID))
	if err != nil || len(d.Attempts) != 1 || d.Attempts[0].Request.Body != "{}" || d.Attempts[0].ErrorType != patchbay.CodeUserConfigurationError || d.Link != 0 {
		t.Errorf("%+v, %v", d, err)
	}

	x.answer = `{"data":[{"key":"webhook","events":"*"},{"key":"github","events":["push","pull.*"]}],"next":"abc"}`
	page, err := c.Integrations(t.Context(), Paging{})
	if err != nil || page.Next != "abc" {
		t.Fatal(page, err)
	}
	if diff := cmp.Diff([]Patterns{{"*"}, {"push", "pull.*"}}, []Patterns{page.Data[0].Events, page.Data[1].Events}); diff != "" {
		t.Error(diff)
	}
	x.answer = "a 1\n"
	if text, err := c.Metrics(t.Context()); err != nil || text != "a 1\n" {
		t.Errorf("%q, %v", text, err)
	}
}

// TestErrors proves that an error of the API keeps its status, code, details and hint, and that everything else says
// what happened.
func TestErrors(t *testing.T) {
	x := &exchange{status: 400, headers: map[string]string{"Retry-After": "7"},
		answer: `{"error":"Slack refused","type":"user_configuration_error","details":[{"path":"a","message":"b"}],"failed_response_code":403,"failed_response_body":"invalid_token","results":[{"key":"slack","status":"failed"}]}`}
	c := serve(t, x, Options{})
	_, err := c.Publish(t.Context(), &NewEvent{Payload: json.RawMessage("{}")})
	var answer *Error
	if !errors.As(err, &answer) {
		t.Fatalf("%T %v", err, err)
	}
	want := &Error{Status: 400, Code: patchbay.CodeUserConfigurationError, Message: "Slack refused", Details: []patchbay.Detail{{Path: "a", Message: "b"}},
		RetryAfter: 7, Results: []Result{{Key: "slack", Status: "failed"}}, ResponseCode: 403, ResponseBody: "invalid_token"}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Error(diff)
	}
	if err.Error() != "Slack refused" || patchbay.CodeOf(err) != patchbay.CodeUserConfigurationError {
		t.Errorf("%v has code %s", err, patchbay.CodeOf(err))
	}

	x.status, x.answer = 502, "<html>bad gateway</html>"
	if err := c.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "502 Bad Gateway without saying why") {
		t.Error(err)
	}
	x.status, x.answer = 200, "<html>hello</html>"
	if _, err := c.Keys(t.Context(), Paging{}); err == nil || !strings.Contains(err.Error(), "is it Patchbay") {
		t.Error(err)
	}
	x.status, x.headers = 302, map[string]string{"Location": "http://192.0.2.1/"}
	if _, err := c.Keys(t.Context(), Paging{}); !errors.As(err, &answer) || answer.Status != 302 {
		t.Errorf("a redirect came to %v", err)
	}

	gone := httptest.NewServer(nil)
	gone.Close()
	c, err = New(Options{Server: gone.URL})
	if err != nil {
		t.Fatal(err)
	}
	var unreachable *UnreachableError
	if err := c.Ready(t.Context()); !errors.As(err, &unreachable) || !strings.Contains(err.Error(), gone.URL+" does not answer: ") || strings.Contains(err.Error(), "readyz") {
		t.Errorf("%T %v", err, err)
	}
	for _, server := range []string{"localhost:8080", "ftp://x", "http://", "http://x?y=z", "://"} {
		if _, err := New(Options{Server: server}); patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
			t.Errorf("%q: %v", server, err)
		}
	}
	if c, err := New(Options{}); err != nil || c.Server() != DefaultServer {
		t.Errorf("%v, %v", c, err)
	}
}

// TestTimeout proves that a call ends when its time is over.
func TestTimeout(t *testing.T) {
	held := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-held }))
	defer s.Close()
	defer close(held)
	c, err := New(Options{Server: s.URL, Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ready(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestStream proves that items are read as they come, comments and unnamed lines left out, that a refusal is an error at
// once, and that the end of the connection is one too.
func TestStream(t *testing.T) {
	next := make(chan string)
	var query string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		if r.URL.Query().Get("link") != "" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"error":"no","type":"forbidden"}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for text := range next {
			fmt.Fprint(w, text)
			w.(http.Flusher).Flush()
		}
	}))
	defer s.Close()
	c, err := New(Options{Server: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Stream(t.Context(), StreamFilter{Link: id[patchbay.LinkID](t, linkID)}); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("got %v", err)
	}

	feed := make(chan struct{})
	go func() {
		defer close(feed)
		for _, text := range []string{": hello\n\n", "event: event\nid: 1\ndata: {\"a\":1}\n\n", ": alive\n\nevent: attempt\nda", "ta: {\"b\":\ndata: 2}\n\n"} {
			next <- text
		}
		close(next)
	}()
	stream, err := c.Stream(t.Context(), StreamFilter{Kinds: []string{"event", "attempt"}, Types: []patchbay.Pattern{"a", "b*"}, Scope: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var got []string
	for {
		item, err := stream.Next()
		if err != nil {
			var unreachable *UnreachableError
			if !errors.As(err, &unreachable) {
				t.Errorf("the end is %T %v", err, err)
			}
			break
		}
		got = append(got, item.Kind+" "+string(item.Data))
	}
	<-feed
	if diff := cmp.Diff([]string{"event {\"a\":1}", "attempt {\"b\":\n2}"}, got); diff != "" {
		t.Error(diff)
	}
	if want := "kind=event%2Cattempt&scope=acme&type=a%2Cb%2A"; query != want {
		t.Errorf("query %s, want %s", query, want)
	}
}

// FuzzStream proves that no stream makes the reader panic or loop, and that an item always has data.
func FuzzStream(f *testing.F) {
	for _, seed := range []string{"event: a\ndata: {}\n\n", "data\n\n", "data:\n\n", ":\n\n\n", "event:x\r\ndata: y\r\n\r\n", "data: a\ndata: b\n\nevent: c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := &Stream{body: io.NopCloser(strings.NewReader("")), lines: lines(strings.NewReader(text))}
		for range len(text) + 1 {
			item, err := s.Next()
			if err != nil {
				return
			}
			if item.Data == nil {
				t.Error("an item without data")
			}
		}
		t.Error("there are more items than bytes")
	})
}
