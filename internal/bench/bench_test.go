package bench

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/patchbay/patchbay/internal/console"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSink(t *testing.T) (*Sink, *sinkAPI) {
	t.Helper()
	s, err := NewSink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	api := &sinkAPI{part: &part{Hello: Hello{Addr: s.Addr()}}}
	t.Cleanup(func() {
		api.http.CloseIdleConnections()
		s.Close()
	})
	return s, api
}

// TestEvent proves that the measured event is what the project says it measures: JSON of 1 KB with 20 described fields,
// the same length whatever its number, valid as the example of its type.
func TestEvent(t *testing.T) {
	tmpl := newTemplate("127.0.0.1:1", "token", "bench/shop", "run")
	request := tmpl.clone().fill(firstNumber+7, time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).UnixNano())
	_, body, _ := bytes.Cut(request, []byte("\r\n\r\n"))
	var call struct {
		Type    string          `json:"event_type"`
		Payload json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(body, &call); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if len(call.Payload) < 1000 || len(call.Payload) > 1400 {
		t.Errorf("the payload has %d bytes", len(call.Payload))
	}
	if n, ok := numberAfter(body, numberField); !ok || n != firstNumber+7 {
		t.Errorf("the number is %d", n)
	}
	if !strings.Contains(string(request), "Idempotency-Key: run-100000000007\r\n") || !strings.Contains(string(request), fmt.Sprintf("Content-Length: %d\r\n", len(body))) {
		t.Errorf("head: %s", request[:200])
	}
	var described struct {
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal(definition().Schema, &described); err != nil || len(described.Properties) != 20 {
		t.Errorf("the schema describes %d fields, %v", len(described.Properties), err)
	}
	if !json.Valid(definition().Example) {
		t.Errorf("the example is not JSON: %s", definition().Example)
	}
	if bytes.Equal(tmpl.bytes, request) {
		t.Error("a clone shares the bytes of its template")
	}
}

// TestBaseline proves that the chain that rates are compared with works: publishers, baseline and sink, with nothing
// lost and nothing twice, over one target and over several.
func TestBaseline(t *testing.T) {
	for _, targets := range []int{1, 3} {
		t.Run(fmt.Sprint(targets), func(t *testing.T) {
			_, api := newSink(t)
			if err := api.reset(t.Context(), targets, ""); err != nil {
				t.Fatal(err)
			}
			var to []string
			for i := range targets {
				to = append(to, api.hit(i))
			}
			base, err := NewBaseline(t.Context(), to, 100)
			if err != nil {
				t.Fatal(err)
			}
			defer base.Close()
			p := newPublisher([]string{base.Addr()}, newTemplate(base.Addr(), "", "bench/shop", "t"))
			if err := p.closed(t.Context(), 4, 200); err != nil {
				t.Fatal(err)
			}
			want := p.accepted.Load() * int64(targets)
			r, err := api.await(t.Context(), want)
			if err != nil || r.Distinct != want || want < 200 || r.Duplicates != 0 || r.Unreadable != 0 {
				t.Errorf("want %d: %+v, %v", want, r, err)
			}
			if r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.Max {
				t.Errorf("latencies %v %v %v", r.P50, r.P99, r.Max)
			}
		})
	}
}

// TestOpenLoop proves that the open loop keeps its rate.
func TestOpenLoop(t *testing.T) {
	_, api := newSink(t)
	base, err := NewBaseline(t.Context(), []string{api.hit(0)}, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	p := newPublisher([]string{base.Addr()}, newTemplate(base.Addr(), "", "bench/shop", "t"))
	began := time.Now()
	if err := p.open(ctx, latencyRate); err != nil {
		t.Fatal(err)
	}
	// A slow machine may fall behind. No machine may run ahead.
	took := time.Since(began)
	if n := p.accepted.Load(); n < latencyRate/20 || float64(n) > latencyRate*took.Seconds()+1 {
		t.Errorf("%d events in %s at %d/s", n, took, latencyRate)
	}
}

// TestSinkNotices proves that the sink sees what is wrong: repeated, unreadable and forged deliveries.
func TestSinkNotices(t *testing.T) {
	_, api := newSink(t)
	key := []byte("0123456789abcdef01234567")
	if err := api.reset(t.Context(), 1, "whsec_"+base64.StdEncoding.EncodeToString(key)); err != nil {
		t.Fatal(err)
	}
	post := func(body string, sign func(string) string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.hit(0), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("webhook-id", "evt_1")
		req.Header.Set("webhook-timestamp", "1700000000")
		req.Header.Set("webhook-signature", sign(body))
		resp, err := api.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	valid := func(body string) string {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "evt_1.1700000000.%s", body)
		return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	event := func(n int) string {
		return fmt.Sprintf(`{"payload":{"number":%d,"made_at":%d}}`, firstNumber+n, time.Now().UnixNano())
	}
	for i := range verifyEvery { // exactly one of these is checked
		post(event(i), valid)
	}
	post(event(3), valid)
	post(`{"payload":{}}`, valid)
	for i := range verifyEvery {
		post(event(1000+i), func(string) string { return "v1,AAAA" })
	}
	got, err := api.report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := Report{Distinct: 2 * verifyEvery, Duplicates: 1, Unreadable: 1, Verified: 1, Forged: 1}
	got.Last, got.P50, got.P90, got.P99, got.P999, got.Max = 0, 0, 0, 0, 0, 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestHanging proves that the addresses that hang take a request and never answer.
func TestHanging(t *testing.T) {
	_, api := newSink(t)
	var addresses []string
	if err := api.call(t.Context(), "/hang", map[string][]string{"count": {"3"}}, &addresses); err != nil || len(addresses) != 3 {
		t.Fatal(addresses, err)
	}
	c, err := net.Dial("tcp", addresses[2])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("it answered")
	}
}

// TestMetrics proves that Prometheus' text is read, labels included.
func TestMetrics(t *testing.T) {
	m := parseMetrics("# HELP a b\n# TYPE a counter\na 1.5e+03\na{state=\"succeeded\"} 7\nbroken\n")
	if diff := cmp.Diff(map[string]float64{"a": 1500, `a{state="succeeded"}`: 7}, m); diff != "" {
		t.Error(diff)
	}
}

// TestResult proves how medians are taken, rows judged and printed, and that a loss fails the run.
func TestResult(t *testing.T) {
	b := &bench{rows: map[string]*Row{}}
	for _, r := range rows() {
		b.rows[r.ID] = &r
	}
	for _, v := range []float64{0.9, 0.4, 0.6} {
		b.rows["rate-32"].add(v)
	}
	b.rows["cpu"].add(121)
	b.rows["claim"].Problem = "no store"
	b.note(phase{accepted: 10, report: Report{Distinct: 9, Duplicates: 2}, lost: 1})
	r := b.result(time.Minute)
	if r.Passed || len(r.Rows) != 3 || r.Rows[0].Value != 0.6 || !r.Rows[0].Passed || r.Rows[1].Passed {
		t.Errorf("%+v", r)
	}
	var out bytes.Buffer
	r.Print(console.New(&out))
	for _, want := range []string{"✓  32 publishers", "≥ 0.50", "✗  CPU", "121 µs", "no store", "1 lost, 2 came twice"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if median([]float64{4, 1, 3, 2}) != 2.5 || median(nil) != 0 {
		t.Error("median")
	}
}

// TestNames proves that every row belongs to one group, and that unknown names are refused.
func TestNames(t *testing.T) {
	in := map[string]int{}
	for _, g := range groups() {
		for _, id := range g.rows {
			in[id]++
		}
	}
	for _, r := range rows() {
		if in[r.ID] != 1 {
			t.Errorf("row %s is in %d groups", r.ID, in[r.ID])
		}
	}
	b := &bench{o: Options{Only: []string{"rate", "claim"}}}
	if err := b.check(); err != nil {
		t.Error(err)
	}
	b.o.Only = []string{"speed"}
	if err := b.check(); err == nil {
		t.Error("an unknown row is accepted")
	}
}
