package httpapi

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/stream"
)

// watcher reads /v1/stream of a real server.
type watcher struct {
	t     *testing.T
	lines *bufio.Scanner
}

// watch opens the stream and returns once the server listens to the hub.
func watch(t *testing.T, f *fixture, token, query string) *watcher {
	t.Helper()
	server := httptest.NewServer(f.handler)
	t.Cleanup(server.Close)
	t.Cleanup(f.hub.Close) // before the server waits for its requests to end
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/stream"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("the stream answers %d %v", resp.StatusCode, resp.Header)
	}
	w := &watcher{t: t, lines: bufio.NewScanner(resp.Body)}
	w.lines.Buffer(nil, 1<<20)
	if got := w.next(); !strings.HasPrefix(got, ": ") {
		t.Fatalf("the stream begins with %q", got)
	}
	return w
}

// next returns the next block, "" at the end.
func (w *watcher) next() string {
	var lines []string
	for w.lines.Scan() {
		if w.lines.Text() == "" {
			break
		}
		lines = append(lines, w.lines.Text())
	}
	return strings.Join(lines, "\n")
}

func TestStream(t *testing.T) {
	f := newFixture(t)
	w := watch(t, f, f.key("acme", access.Read), "?type=repo.*&kind=event,attempt")
	for _, i := range []stream.Item{
		{Kind: stream.KindEvent, Type: "repo.push", Scope: "acme/x", Data: map[string]any{"n": 1}},
		{Kind: stream.KindEvent, Type: "user.create", Scope: "acme", Data: 2},
		{Kind: stream.KindEvent, Type: "repo.push", Scope: "umbrella", Data: "another tenant's"},
		{Kind: stream.KindDelivery, Type: "repo.push", Scope: "acme", Data: 4},
		{Kind: stream.KindAttempt, Type: "repo.pull", Scope: "acme", Owner: "acme", State: "retry", Data: "two\nlines"},
		{Kind: stream.KindAttempt, Type: "repo.pull", Scope: "acme", Owner: "", State: "retry", Data: "of a link above"},
		{Kind: stream.KindEvent, Type: "repo.x", Scope: "acme", Data: func() {}},
		{Kind: stream.KindEvent, Type: "repo.end", Scope: "acme", Data: nil},
	} {
		f.hub.Publish(i)
	}
	for _, want := range []string{
		"event: event\nid: 1\ndata: {\"n\":1}",
		"event: attempt\nid: 5\ndata: \"two\\nlines\"",
		"event: event\nid: 8\ndata: null",
	} {
		if got := w.next(); got != want {
			t.Errorf("the stream says %q, want %q", got, want)
		}
	}
	f.hub.Close()
	if got := w.next(); got != ": the server ends the stream" {
		t.Errorf("at its end the stream says %q", got)
	}
	if got := w.next(); got != "" {
		t.Errorf("after its end the stream says %q", got)
	}
}

func TestStreamShowsThatItLives(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Heartbeat = time.Millisecond })
	w := watch(t, f, f.key("", access.Read), "")
	for range 3 {
		if got := w.next(); got != ": alive" {
			t.Errorf("the stream says %q", got)
		}
	}
}

func TestStreamEndsWithItsKey(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Heartbeat = time.Millisecond })
	token := f.key("", access.Read)
	w := watch(t, f, token, "")
	c, err := f.keys.Lookup(token)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.keys.Delete(t.Context(), &access.Caller{Permissions: []access.Permission{access.Admin}}, c.Key); err != nil {
		t.Fatal(err)
	}
	for w.next() != "" {
	}
	if err := w.lines.Err(); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Read)
	a := f.handler.(*api)
	for range maxStreams {
		a.streams <- struct{}{}
	}
	w := f.call(token, "GET", "/v1/stream", "")
	wantError(t, w, 429, patchbay.CodeRateLimited)
	if w.Header().Get("Retry-After") != "30" {
		t.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
	}
	<-a.streams
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a caller who leaves at once gives the place back
	f.do(request("GET", "/v1/stream", "", "Authorization", "Bearer "+token).WithContext(ctx))
	if len(a.streams) != maxStreams-1 || f.hub.Active() {
		t.Errorf("%d places are taken, active %v", len(a.streams), f.hub.Active())
	}
}

// TestLagged: a reader that was too slow is told how many it missed, behind what it got.
func TestLagged(t *testing.T) {
	f := newFixture(t)
	a := f.handler.(*api)
	sub := f.hub.Subscribe(stream.Filter{})
	for range stream.Buffer + 3 {
		f.hub.Publish(stream.Item{Kind: stream.KindEvent, Data: 1})
	}
	f.hub.Close()
	w := httptest.NewRecorder()
	a.relay(request("GET", "/v1/stream", "", "Authorization", "Bearer "+f.key("", access.Read)), sub, &eventWriter{w: w, conn: http.NewResponseController(w)})
	got := w.Body.String()
	if n := strings.Count(got, "event: event\n"); n != stream.Buffer {
		t.Errorf("%d events came, want %d", n, stream.Buffer)
	}
	if !strings.Contains(got, "event: lagged\ndata: {\"dropped\":3}\n\n") || strings.Count(got, "lagged") != 1 {
		t.Errorf("the stream ends with %q", got[max(0, len(got)-200):])
	}
}

func TestStreamFilter(t *testing.T) {
	c := &access.Caller{Scope: "acme"}
	got, err := streamFilter(c, request("GET", "/v1/stream?kind=delivery&type=a,b*&scope=acme/x&event="+exampleEvent.ID.String()+"&link="+exampleLinkID.String()+"&state=failed,retry&integration=slack", ""))
	want := stream.Filter{Kinds: []string{"delivery"}, Types: []patchbay.Pattern{"a", "b*"}, Scope: "acme/x", Within: "acme", Event: exampleEvent.ID, Link: exampleLinkID,
		Integration: "slack", States: []string{"failed", "retry"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if got, err = streamFilter(c, request("GET", "/v1/stream", "")); err != nil || !cmp.Equal(got, stream.Filter{Scope: "acme", Within: "acme"}) {
		t.Errorf("without a query: %+v, %v", got, err)
	}
}
