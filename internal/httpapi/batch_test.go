package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/ingest"
)

// numbered takes items such as {"n":7} and answers with that number as the identifier.
func numbered(_ *access.Caller, body []byte) (ingest.Receipt, error) {
	var in struct {
		N     int64
		Fails string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return ingest.Receipt{}, patchbay.Errorf(patchbay.CodeInvalidRequest, "not JSON")
	}
	switch in.Fails {
	case "rate":
		return ingest.Receipt{}, &patchbay.Error{Code: patchbay.CodeRateLimited, Message: "later", RetryAfter: 7}
	case "panic":
		panic("a bug")
	}
	return ingest.Receipt{Event: patchbay.EventID(in.N), Deliveries: 2, Replayed: in.Fails == "again"}, nil
}

func TestBatchAnswers(t *testing.T) {
	f := newFixture(t)
	f.ingest.item = numbered
	token := f.key("", access.Publish)
	id := func(n int64) string { return patchbay.EventID(n).String() }
	items := []string{`{"n":1}`, `{"fails":"rate"}`, `{"n":3,"fails":"again"}`, `{"a":"` + strings.Repeat("x", patchbay.MaxEventBody) + `"}`}
	want := []string{
		`{"status":"ok","id":"` + id(1) + `","deliveries":2}`, `{"status":"error","error":"later","type":"rate_limited","retry_after":7}`,
		`{"status":"ok","id":"` + id(3) + `","deliveries":2,"replayed":true}`,
		`{"status":"error","error":"an event may take at most 1048576 bytes","type":"payload_too_large"}`,
	}
	w := f.call(token, "POST", "/v1/events/batch", "["+strings.Join(items, ",")+"]")
	if got := `{"data":[` + strings.Join(want, ",") + "]}\n"; w.Code != 200 || w.Body.String() != got || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("an array: %d %s\nwant %s", w.Code, w.Body, got)
	}
	for _, kind := range []string{"application/x-ndjson", "application/json", "application/x-www-form-urlencoded"} {
		w = f.do(request("POST", "/v1/events/batch?ordered=true", strings.Join(items, "\n\n")+"\n", "Authorization", "Bearer "+token, "Content-Type", kind))
		if got := strings.Join(want, "\n") + "\n"; w.Code != 200 || w.Body.String() != got || w.Header().Get("Content-Type") != typeLines {
			t.Errorf("lines as %s: %d %s", kind, w.Code, w.Body)
		}
	}
	w = f.call(token, "POST", "/v1/events/batch", `[{"n":1},{"n" 2},{"n":3}]`)
	if got := `{"data":[` + want[0] + `,{"status":"error","error":"reading stopped at byte 9, in item 1: it is not JSON: `; w.Code != 200 || !strings.HasPrefix(w.Body.String(), got) ||
		!strings.HasSuffix(w.Body.String(), `nothing from there on was accepted","type":"invalid_request","stopped":true}]}`+"\n") {
		t.Errorf("a broken array: %d %s", w.Code, w.Body)
	}
	w = f.call(token, "POST", "/v1/events/batch", `[{"fails":"panic"}]`)
	if !strings.Contains(w.Body.String(), `"type":"internal"`) || strings.Contains(w.Body.String(), "a bug") || !strings.Contains(f.log.String(), "a bug") {
		t.Errorf("a panic: %s", w.Body)
	}
	if w := f.call(token, "POST", "/v1/events/batch", `[]`); w.Code != 200 || w.Body.String() != `{"data":[]}`+"\n" {
		t.Errorf("nothing: %d %s", w.Code, w.Body)
	}
	wantError(t, f.call(token, "POST", "/v1/events/batch", " "), 400, patchbay.CodeInvalidRequest)
	wantError(t, f.call(token, "POST", "/v1/events/batch?ordered=maybe", "[]"), 400, patchbay.CodeInvalidRequest)
	wantError(t, f.call(token, "POST", "/v1/events/batch?order=true", "[]"), 400, patchbay.CodeInvalidRequest)
	wantError(t, f.call(f.key("", access.Inline), "POST", "/v1/events/batch", "[]"), 403, patchbay.CodeForbidden)
	wantError(t, f.do(request("POST", "/v1/events/batch", "[]", "X-Signature", signature("[]"))), 401, patchbay.CodeUnauthorized)
	wantError(t, f.do(httptest.NewRequest("POST", "/v1/events/batch", unread{t})), 401, patchbay.CodeUnauthorized)
}

// TestBatchOrder proves that answers come in the items' order however long each takes, and that ordered batches take
// one at a time.
func TestBatchOrder(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Publish)
	var body strings.Builder
	const n = 3000
	for i := range n {
		fmt.Fprintf(&body, "{\"n\":%d}\n", i+1)
	}
	var under, most atomic.Int64
	var last, arrived atomic.Int64
	together := make(chan struct{})
	for _, ordered := range []bool{false, true} {
		most.Store(0)
		f.ingest.item = func(c *access.Caller, body []byte) (ingest.Receipt, error) {
			u := under.Add(1)
			defer under.Add(-1)
			for m := most.Load(); u > m && !most.CompareAndSwap(m, u); m = most.Load() {
				continue
			}
			r, err := numbered(c, body)
			if ordered {
				if !last.CompareAndSwap(int64(r.Event)-1, int64(r.Event)) {
					t.Errorf("%d was accepted out of order", r.Event)
				}
			} else if r.Event <= batchWindow { // the whole window is under way before any is done
				if arrived.Add(1) == batchWindow {
					close(together)
				}
				<-together
			}
			return r, err
		}
		w := f.call(token, "POST", "/v1/events/batch?ordered="+strconv.FormatBool(ordered), body.String())
		for i, line := range strings.Split(strings.TrimSpace(w.Body.String()), "\n") {
			if want := patchbay.EventID(i + 1).String(); !strings.Contains(line, want) {
				t.Fatalf("answer %d is %s, want %s", i, line, want)
			}
		}
		if got := strings.Count(w.Body.String(), "\n"); got != n {
			t.Errorf("%d answers, want %d", got, n)
		}
		if want := int64(batchWindow); ordered && most.Load() != 1 || !ordered && most.Load() != want {
			t.Errorf("ordered %v: up to %d at a time", ordered, most.Load())
		}
	}
}

// dialog is a batch over a real connection: the test writes items and reads answers as it likes.
type dialog struct {
	t    *testing.T
	body *io.PipeWriter
	resp chan *http.Response
	in   *bufio.Reader
}

func converse(t *testing.T, server *httptest.Server, token string) *dialog {
	r, w := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	req, err := http.NewRequestWithContext(ctx, "POST", server.URL+"/v1/events/batch", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", typeLines)
	d := &dialog{t: t, body: w, resp: make(chan *http.Response, 1)}
	var owned sync.WaitGroup
	owned.Go(func() {
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Errorf("no answer: %v", err)
		}
		d.resp <- resp
	})
	t.Cleanup(func() { w.Close(); cancel(); owned.Wait() })
	return d
}

func (d *dialog) say(item string) {
	d.t.Helper()
	if _, err := io.WriteString(d.body, item); err != nil {
		d.t.Fatal(err)
	}
}

func (d *dialog) hear() (string, error) {
	if d.in == nil {
		d.in = bufio.NewReader((<-d.resp).Body)
	}
	return d.in.ReadString('\n')
}

// TestBatchStreams proves that an answer comes before the next item is sent, that a stop ends a stream with a word, and
// that a half item is never accepted.
func TestBatchStreams(t *testing.T) {
	stopping := make(chan struct{})
	f := newFixture(t, func(o *Options) { o.Stopping = stopping })
	var taken atomic.Int64
	f.ingest.item = func(c *access.Caller, body []byte) (ingest.Receipt, error) {
		taken.Add(1)
		return numbered(c, body)
	}
	token := f.key("", access.Publish)
	server := httptest.NewServer(f.handler)
	defer server.Close()
	server.Client().Transport.(*http.Transport).MaxConnsPerHost = 0
	d := converse(t, server, token)
	for i := range 100 {
		d.say(fmt.Sprintf("{\"n\":%d}\n", i+1))
		if line, err := d.hear(); err != nil || !strings.Contains(line, patchbay.EventID(i+1).String()) {
			t.Fatalf("answer %d is %q, %v", i, line, err)
		}
	}
	d.say(`{"n":101}`) // no end of the line: this may be half of an item
	close(stopping)
	line, err := d.hear()
	if err != nil || !strings.Contains(line, `"type":"unavailable"`) || !strings.Contains(line, `"stopped":true`) {
		t.Errorf("a stop: %q, %v", line, err)
	}
	if line, err := d.hear(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %q, %v", line, err)
	}
	if got := taken.Load(); got != 100 {
		t.Errorf("%d items were taken in, want 100", got)
	}
}

// TestBatchThatNeverBegins proves that a caller that sends nothing does not hold up a stop.
func TestBatchThatNeverBegins(t *testing.T) {
	stopping := make(chan struct{})
	f := newFixture(t, func(o *Options) { o.Stopping = stopping })
	token := f.key("", access.Publish)
	server := httptest.NewServer(f.handler)
	defer server.Close()
	body, silent := io.Pipe()
	defer silent.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/events/batch", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	time.AfterFunc(50*time.Millisecond, func() { close(stopping) })
	client := http.Client{Transport: server.Client().Transport, Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), `"type":"unavailable"`) {
		t.Errorf("the answer is %s: %s, %v", resp.Status, text, err)
	}
}

// TestBatchThatIsNotRead proves that a caller that sends and never reads is held back, and let go when it leaves.
func TestBatchThatIsNotRead(t *testing.T) {
	f := newFixture(t)
	var taken atomic.Int64
	f.ingest.item = func(c *access.Caller, body []byte) (ingest.Receipt, error) {
		taken.Add(1)
		return ingest.Receipt{Event: 1}, nil
	}
	token := f.key("", access.Publish)
	server := httptest.NewServer(f.handler)
	defer server.Close()
	d := converse(t, server, token)
	chunk := strings.Repeat(`{"n":1}`+"\n", 4096)
	stuck := make(chan struct{})
	var owned sync.WaitGroup
	owned.Go(func() {
		defer close(stuck)
		for range 1 << 14 { // some 500 MB
			if _, err := io.WriteString(d.body, chunk); err != nil {
				return
			}
		}
		t.Error("everything was taken from a caller that reads nothing")
	})
	before := int64(-1)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for now := taken.Load(); now != before || now == 0; now = taken.Load() { // until it stands still
		before = now
		<-tick.C
	}
	(<-d.resp).Body.Close() // the caller leaves
	d.body.CloseWithError(io.ErrClosedPipe)
	<-stuck
	owned.Wait()
}

func BenchmarkBatch(b *testing.B) {
	item := []byte(`{"event_type":"repo.push","scope":"acme","payload":{"text":"` + strings.Repeat("x", 900) + `"}}` + "\n")
	b.SetBytes(int64(len(item)))
	b.ReportAllocs()
	split := ingest.NewSplitter(&repeated{text: item, n: b.N}, true)
	var buf []byte
	for range b.N {
		var err error
		if buf, err = split.Next(buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

// repeated is a text n times.
type repeated struct {
	text  []byte
	n, at int
}

func (r *repeated) Read(p []byte) (int, error) {
	total := 0
	for r.n > 0 && total < len(p) {
		k := copy(p[total:], r.text[r.at:])
		total, r.at = total+k, r.at+k
		if r.at == len(r.text) {
			r.at, r.n = 0, r.n-1
		}
	}
	if total == 0 {
		return 0, io.EOF
	}
	return total, nil
}
