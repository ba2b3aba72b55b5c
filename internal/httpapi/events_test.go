package httpapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/store"
)

const eventBody = `{"event_type":"repo.push","payload":{"n":12345678901234567890.10}}`

func signature(text string) string {
	mac := hmac.New(sha256.New, []byte(testSigningKey))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestPublish(t *testing.T) {
	f := newFixture(t)
	var got struct {
		caller, body, key string
	}
	f.ingest.accept = func(c *access.Caller, body []byte, key string) (*ingest.Answer, error) {
		got.caller, got.body, got.key = string(c.Scope)+c.Name, string(body), key
		return &ingest.Answer{Status: 201, Body: []byte(`{"status":"ok","id":"evt_1","deliveries":3}` + "\n")}, nil
	}
	for _, path := range []string{"/events", "/v1/events"} {
		w := f.call(f.key("acme", access.Publish), "POST", path, eventBody, "Idempotency-Key", "k1")
		if w.Code != 201 || w.Body.String() != `{"status":"ok","id":"evt_1","deliveries":3}`+"\n" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s %v", path, w.Code, w.Body, w.Header())
		}
		if w.Header().Get("Idempotent-Replayed") != "" {
			t.Errorf("%s: says that it is a replay", path)
		}
		if got.caller != "acme" || got.body != eventBody || got.key != "k1" {
			t.Errorf("%s: Ingest got %+v", path, got)
		}
		w = f.do(request("POST", path, eventBody, "X-Signature", signature(eventBody)))
		if w.Code != 201 || got.caller != "signature" || got.body != eventBody || got.key != "" {
			t.Errorf("%s, signed: %d %s, Ingest got %+v", path, w.Code, w.Body, got)
		}
	}
}

func TestPublishPassesAnswersOn(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Publish, access.Inline)
	f.ingest.accept = func(*access.Caller, []byte, string) (*ingest.Answer, error) {
		return &ingest.Answer{Status: 201, Body: []byte(`{}`), Replayed: true}, nil
	}
	if w := f.call(token, "POST", "/events", eventBody); w.Header().Get("Idempotent-Replayed") != "true" {
		t.Errorf("a replay's header is %q", w.Header().Get("Idempotent-Replayed"))
	}
	f.ingest.accept = func(*access.Caller, []byte, string) (*ingest.Answer, error) {
		return &ingest.Answer{Status: 400, Body: []byte(`{"error":"x","type":"service_error","results":[]}`)}, nil
	}
	if w := f.call(token, "POST", "/events", eventBody); w.Code != 400 || w.Body.String() != `{"error":"x","type":"service_error","results":[]}` {
		t.Errorf("an inline call that failed: %d %s", w.Code, w.Body)
	}
	f.ingest.accept = func(*access.Caller, []byte, string) (*ingest.Answer, error) {
		return nil, &patchbay.Error{Code: patchbay.CodeInvalidRequest, Message: "payload.run: is required",
			Details: []patchbay.Detail{{Path: "payload.run", Message: "is required"}}}
	}
	w := f.call(token, "POST", "/events", eventBody)
	if want := `{"error":"payload.run: is required","type":"invalid_request","details":[{"path":"payload.run","message":"is required"}]}` + "\n"; w.Code != 400 || w.Body.String() != want {
		t.Errorf("a refusal: %d %s", w.Code, w.Body)
	}
}

func TestUnauthorizedIsWhatRainforestKnows(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/events", "/v1/events"} {
		for says, headers := range map[string][]string{
			"nothing":         nil,
			"a wrong key":     {"Authorization", "Bearer pk_wrong"},
			"wrong signature": {"X-Signature", signature(eventBody + " ")},
			"old signature":   {"X-Signature", signature("1." + eventBody), "X-Signature-Timestamp", "1"},
		} {
			w := f.do(request("POST", path, eventBody, headers...))
			if p := wantError(t, w, 401, patchbay.CodeUnauthorized); p.Unauthorized != "unauthorized" {
				t.Errorf("%s with %s: %s", path, says, w.Body)
			}
			if !strings.HasPrefix(w.Body.String(), `{"status":"unauthorized","error":"`) || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s with %s: %s %v", path, says, w.Body, w.Header())
			}
		}
	}
	if p := wantError(t, f.do(request("GET", "/v1/links", "")), 401, patchbay.CodeUnauthorized); p.Unauthorized != "" {
		t.Error("other routes say status too")
	}
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body of a caller without credentials was read")
	return 0, io.EOF
}

func TestTheBodyOfNobodyIsNotRead(t *testing.T) {
	f := newFixture(t)
	wantError(t, f.do(httptest.NewRequest("POST", "/events", unread{t})), 401, patchbay.CodeUnauthorized)
}

func TestBodySizes(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Publish)
	var got int
	f.ingest.accept = func(_ *access.Caller, body []byte, _ string) (*ingest.Answer, error) {
		got = len(body)
		if strings.Trim(string(body), "x") != "" {
			t.Error("the body has changed on its way")
		}
		return &ingest.Answer{Status: 201, Body: []byte(`{}`)}, nil
	}
	for _, size := range []int{0, 1, bufferStart - 1, bufferStart, bufferStart + 1, 100_000, patchbay.MaxEventBody, patchbay.MaxEventBody + 1, 3 * patchbay.MaxEventBody} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, chunked %v", size, chunked), func(t *testing.T) {
				r := request("POST", "/events", strings.Repeat("x", size), "Authorization", "Bearer "+token)
				if chunked {
					r.ContentLength = -1
				}
				got = -1
				w := f.do(r)
				if size > patchbay.MaxEventBody {
					wantError(t, w, 413, patchbay.CodePayloadTooLarge)
					if got != -1 || w.Header().Get("Connection") != "close" {
						t.Errorf("Ingest got %d bytes, Connection is %q", got, w.Header().Get("Connection"))
					}
				} else if w.Code != 201 || got != size {
					t.Errorf("the answer is %d, Ingest got %d bytes", w.Code, got)
				}
			})
		}
	}
	r := request("POST", "/events", "", "Authorization", "Bearer "+token)
	r.Body, r.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader("xx"), errReader{})), 10
	wantError(t, f.do(r), 400, patchbay.CodeInvalidRequest)
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestIdempotencyKeyHeader(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Publish)
	wantError(t, f.call(token, "POST", "/events", eventBody, "Idempotency-Key", ""), 400, patchbay.CodeInvalidRequest)
	r := request("POST", "/events", eventBody, "Authorization", "Bearer "+token)
	r.Header["Idempotency-Key"] = []string{"a", "b"}
	wantError(t, f.do(r), 400, patchbay.CodeInvalidRequest)
}

func TestQueriesOfPublishing(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Publish, access.Read)
	f.ingest.accept = func(*access.Caller, []byte, string) (*ingest.Answer, error) {
		return &ingest.Answer{Status: 201, Body: []byte(`{}`)}, nil
	}
	f.ingest.dryRun = func(_ *access.Caller, body []byte) (*ingest.DryRun, error) {
		if string(body) != eventBody {
			t.Errorf("DryRun got %s", body)
		}
		return &exampleDryRun, nil
	}
	for target, status := range map[string]int{
		"/v1/events?dry_run=true": 200, "/v1/events?dry_run=false": 201, "/v1/events?dry_run=maybe": 400, "/v1/events?dry_run=": 400,
		"/v1/events?dryrun=true": 400, "/v1/events?dry_run=true&dry_run=true": 400, "/events?dry_run=true": 400, "/events?%zz": 400,
	} {
		w := f.call(token, "POST", target, eventBody)
		if w.Code != status {
			t.Errorf("%s: %d %s, want %d", target, w.Code, w.Body, status)
		}
		if status == 400 {
			wantError(t, w, 400, patchbay.CodeInvalidRequest)
		}
	}
	got := wantJSON[ingest.DryRun](t, f.call(token, "POST", "/v1/events?dry_run=true", eventBody), 200)
	if diff := cmp.Diff(exampleDryRun, got); diff != "" {
		t.Errorf("the dry run has changed on its way: %s", diff)
	}
	wantError(t, f.call(f.key("", access.Publish), "POST", "/v1/events?dry_run=true", eventBody), 403, patchbay.CodeForbidden)
}

func TestErrorsOfTheStore(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Publish)
	for _, test := range []struct {
		says   string
		err    error
		status int
		code   patchbay.Code
		retry  string
		leak   string
	}{
		{"a full disk", patchbay.Internal("storing the event", fmt.Errorf("writing /var/lib/x: %w", store.ErrUnavailable)), 503, patchbay.CodeUnavailable, "1", "/var/lib"},
		{"closed", store.ErrClosed, 503, patchbay.CodeUnavailable, "1", "closed"},
		{"a quota", &patchbay.Error{Code: patchbay.CodeRateLimited, Message: "too much", RetryAfter: 17}, 429, patchbay.CodeRateLimited, "17", ""},
		{"any error", errors.New("hunter2"), 500, patchbay.CodeInternal, "", "hunter2"},
		{"an internal one", patchbay.Internal("storing the event", errors.New("hunter2")), 500, patchbay.CodeInternal, "", "hunter2"},
		{"an unknown code", &patchbay.Error{Code: "teapot", Message: "short and stout"}, 500, patchbay.CodeInternal, "", "teapot"},
		{"a conflict", patchbay.Errorf(patchbay.CodeConflict, "used"), 409, patchbay.CodeConflict, "", ""},
	} {
		t.Run(test.says, func(t *testing.T) {
			f.ingest.accept = func(*access.Caller, []byte, string) (*ingest.Answer, error) { return nil, test.err }
			w := f.call(token, "POST", "/events", eventBody)
			wantError(t, w, test.status, test.code)
			if got := w.Header().Get("Retry-After"); got != test.retry {
				t.Errorf("Retry-After is %q, want %q", got, test.retry)
			}
			if test.leak != "" && strings.Contains(w.Body.String(), test.leak) {
				t.Errorf("the answer leaks: %s", w.Body)
			}
		})
	}
}

func TestWhatIsHiddenIsLoggedOnce(t *testing.T) {
	f := newFixture(t)
	f.ingest.accept = func(*access.Caller, []byte, string) (*ingest.Answer, error) {
		return nil, patchbay.Internal("storing the event", errors.New("hunter2"))
	}
	w := f.call(f.key("", access.Publish), "POST", "/events", eventBody)
	_, id, _ := strings.Cut(wantError(t, w, 500, patchbay.CodeInternal).Message, "under ")
	if len(id) != len("err_")+16 {
		t.Fatalf("the answer %s names no id", w.Body)
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(f.log.String()), &line); err != nil {
		t.Fatalf("the log is not one line: %q", f.log.String())
	}
	if line["id"] != id || line["path"] != "/events" || !strings.Contains(fmt.Sprint(line["error"]), "hunter2") {
		t.Errorf("the log says %v", line)
	}
}

func TestPanics(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Publish, access.Read)
	f.ingest.accept = func(*access.Caller, []byte, string) (*ingest.Answer, error) { panic("hunter2") }
	f.ingest.events = func(*access.Caller, ingest.EventQuery) ([]patchbay.Event, bool, error) { panic("hunter2") }
	for method, target := range map[string]string{"POST": "/events", "GET": "/v1/events"} {
		w := f.call(token, method, target, eventBody)
		p := wantError(t, w, 500, patchbay.CodeInternal)
		_, id, _ := strings.Cut(p.Message, "under ")
		if strings.Contains(w.Body.String(), "hunter2") || !strings.Contains(f.log.String(), id) || !strings.Contains(f.log.String(), "hunter2") {
			t.Errorf("%s %s: the answer is %s, the log %s", method, target, w.Body, f.log.String())
		}
	}
}

func TestMetricsOfPublishing(t *testing.T) {
	f := newFixture(t)
	f.do(request("POST", "/events", eventBody))
	f.ingest.accept = func(*access.Caller, []byte, string) (*ingest.Answer, error) {
		return &ingest.Answer{Status: 201, Body: []byte(`{}`)}, nil
	}
	f.call(f.key("", access.Publish), "POST", "/events", eventBody)
	w := f.call(f.key("", access.Read), "GET", "/metrics", "")
	for _, line := range []string{`patchbay_events_refused_total{code="unauthorized"} 1`, `patchbay_accept_seconds_count 1`} {
		if !strings.Contains(w.Body.String(), line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

func TestListEvents(t *testing.T) {
	f := newFixture(t)
	token := f.key("acme", access.Read)
	var got ingest.EventQuery
	more := true
	f.ingest.events = func(_ *access.Caller, q ingest.EventQuery) ([]patchbay.Event, bool, error) {
		got = q
		return []patchbay.Event{exampleEvent}, more, nil
	}
	first := wantJSON[page[patchbay.Event]](t, f.call(token, "GET", "/v1/events?type=repo.*&scope=acme/repos&since=2026-11-22T10:00:00%2B01:00&until=2026-11-23T00:00:00Z&limit=7", ""), 200)
	want := ingest.EventQuery{Type: "repo.*", Scope: "acme/repos", Since: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC),
		Until: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Limit: 7}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]patchbay.Event{exampleEvent}, first.Data); diff != "" || first.Next == nil {
		t.Fatalf("the page is %+v: %s", first, diff)
	}
	more = false
	w := f.call(token, "GET", "/v1/events?cursor="+*first.Next, "")
	if want := (ingest.EventQuery{Scope: "acme", Before: exampleEvent.ID, Limit: defaultLimit}); !cmp.Equal(want, got) {
		t.Errorf("the second page asks for %+v, want %+v: without a scope it is the key's", got, want)
	}
	if !strings.HasSuffix(w.Body.String(), `"next":null}`+"\n") {
		t.Errorf("the last page is %s", w.Body)
	}
	f.ingest.events = func(*access.Caller, ingest.EventQuery) ([]patchbay.Event, bool, error) { return nil, false, nil }
	if w := f.call(token, "GET", "/v1/events", ""); w.Body.String() != `{"data":[],"next":null}`+"\n" {
		t.Errorf("an empty page is %s", w.Body)
	}
}

func TestListsRefuse(t *testing.T) {
	f := newFixture(t)
	token := f.key("acme", access.Read)
	for _, test := range []struct {
		target string
		status int
		code   patchbay.Code
		path   string
	}{
		{"/v1/events?limit=0", 400, patchbay.CodeInvalidRequest, "limit"},
		{"/v1/events?limit=251", 400, patchbay.CodeInvalidRequest, "limit"},
		{"/v1/events?limit=many", 400, patchbay.CodeInvalidRequest, "limit"},
		{"/v1/events?limit=1&limit=2", 400, patchbay.CodeInvalidRequest, "limit"},
		{"/v1/events?size=10", 400, patchbay.CodeInvalidRequest, "size"},
		{"/v1/events?cursor=x", 400, patchbay.CodeInvalidRequest, "cursor"},
		{"/v1/events?cursor=" + idCursor(cursorLinks, 5), 400, patchbay.CodeInvalidRequest, "cursor"},
		{"/v1/events?since=yesterday", 400, patchbay.CodeInvalidRequest, "since"},
		{"/v1/events?until=2026-11-22", 400, patchbay.CodeInvalidRequest, "until"},
		{"/v1/events?scope=acme//x", 400, patchbay.CodeInvalidRequest, "scope"},
		{"/v1/events?scope=umbrella", 403, patchbay.CodeForbidden, ""},
		{"/v1/links?scope=umbrella", 403, patchbay.CodeForbidden, ""},
		{"/v1/deliveries?scope=umbrella", 403, patchbay.CodeForbidden, ""},
		{"/v1/stream?scope=umbrella", 403, patchbay.CodeForbidden, ""},
		{"/v1/links?effective=perhaps", 400, patchbay.CodeInvalidRequest, "effective"},
		{"/v1/deliveries?state=lost", 400, patchbay.CodeInvalidRequest, "state[0]"},
		{"/v1/deliveries?link=evt_06hjzrqsbr001", 400, patchbay.CodeInvalidRequest, "link"},
		{"/v1/deliveries?event=7", 400, patchbay.CodeInvalidRequest, "event"},
		{"/v1/deliveries?since=x", 400, patchbay.CodeInvalidRequest, "since"},
		{"/v1/deliveries?cursor=AAAA", 400, patchbay.CodeInvalidRequest, "cursor"},
		{"/v1/links?cursor=AAAA", 400, patchbay.CodeInvalidRequest, "cursor"},
		{"/v1/event-types?cursor=AAAA", 400, patchbay.CodeInvalidRequest, "cursor"},
		{"/v1/event-types?cursor=" + keyCursor(cursorTypes, "gone"), 400, patchbay.CodeInvalidRequest, "cursor"},
		{"/v1/integrations?cursor=" + keyCursor(cursorTypes, "slack"), 400, patchbay.CodeInvalidRequest, "cursor"},
		{"/v1/integrations?q=slack", 400, patchbay.CodeInvalidRequest, "q"},
		{"/integrations?q=slack", 400, patchbay.CodeInvalidRequest, "q"},
		{"/v1/events?a=%zz", 400, patchbay.CodeInvalidRequest, ""},
		{"/v1/events?a=1;b=2", 400, patchbay.CodeInvalidRequest, ""},
		{"/v1/stream?kind=x", 400, patchbay.CodeInvalidRequest, "kind"},
		{"/v1/stream?state=x", 400, patchbay.CodeInvalidRequest, "state"},
		{"/v1/stream?type=a,,b", 400, patchbay.CodeInvalidRequest, "type"},
		{"/v1/stream?link=x", 400, patchbay.CodeInvalidRequest, "link"},
		{"/v1/stream?since=now", 400, patchbay.CodeInvalidRequest, "since"},
	} {
		t.Run(test.target, func(t *testing.T) {
			p := wantError(t, f.call(token, "GET", test.target, ""), test.status, test.code)
			if test.path == "" {
				return
			}
			if len(p.Details) != 1 || p.Details[0].Path != test.path || !strings.Contains(p.Message, test.path) {
				t.Errorf("the error is %+v, want one about %s", p, test.path)
			}
		})
	}
}

func TestEventByID(t *testing.T) {
	f := newFixture(t)
	view := func(_ *access.Caller, id patchbay.EventID) (*ingest.EventView, error) {
		if id != exampleEvent.ID {
			return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no event %s", id)
		}
		return &exampleEventView, nil
	}
	f.ingest.event, f.ingest.replay = view, view
	token := f.key("", access.Read, access.Manage)
	for method, path := range map[string]string{"GET": "", "POST": "/replay"} {
		got := wantJSON[ingest.EventView](t, f.call(token, method, "/v1/events/"+exampleEvent.ID.String()+path, ""), 200)
		if diff := cmp.Diff(exampleEventView, got); diff != "" {
			t.Errorf("%s%s: %s", method, path, diff)
		}
		for _, id := range []string{"evt_0000000000001", "dlv_06hjzrqsbr001", "x", "%2e%2e"} {
			wantError(t, f.call(token, method, "/v1/events/"+id+path, ""), 404, patchbay.CodeNotFound)
		}
	}
	reader := f.key("", access.Read)
	wantError(t, f.call(reader, "POST", "/v1/events/"+exampleEvent.ID.String()+"/replay", ""), 403, patchbay.CodeForbidden)
}

// discard is a response that goes nowhere and allocates nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// rewinder is a body that can be read again.
type rewinder struct{ *strings.Reader }

func (rewinder) Close() error { return nil }

func BenchmarkPublish(b *testing.B) {
	f := newFixture(&testing.T{}, func(o *Options) { o.Log = slog.New(slog.DiscardHandler) })
	answer := &ingest.Answer{Status: 201, Body: []byte(`{"status":"ok","id":"evt_06hjzrqsbr001","deliveries":1}` + "\n")}
	f.ingest.accept = func(*access.Caller, []byte, string) (*ingest.Answer, error) { return answer, nil }
	text := `{"event_type":"repo.push","payload":{"text":"` + strings.Repeat("x", 1000) + `"}}`
	for name, headers := range map[string][]string{
		"key":       {"Authorization", "Bearer " + f.key("", access.Publish), "Idempotency-Key", "k"},
		"signature": {"X-Signature", signature(text)},
	} {
		b.Run(name, func(b *testing.B) {
			r := request("POST", "/events", text, headers...)
			body := rewinder{strings.NewReader(text)}
			r.Body = body
			w := &discard{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(text)
				f.handler.ServeHTTP(w, r)
			}
		})
	}
}
