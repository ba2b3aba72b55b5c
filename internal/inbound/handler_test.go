package inbound

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/signature"
	"github.com/patchbay/patchbay/internal/store"
)

func TestACallBecomesAnEvent(t *testing.T) {
	r := newRig(t).start()
	_, path := r.link(1, "acme/teams/1", 0, "secret")
	req := r.signed(path+"?team=x&access_token=hidden", body(message{ID: "m1", Text: "hello"}), "secret")
	req.Header.Set("Authorization", "Bearer hidden")
	req.Header.Set("X-Event", "message")
	status, text := r.send(req)
	if status != 202 || text != "thanks" {
		t.Fatalf("answered %d %q, not as the integration said", status, text)
	}
	v := r.settled(1)[0]
	if v.State != patchbay.HookDone || len(v.Events) != 1 || v.Type != "message" || *v.Scope != "acme/teams/1" || *v.Link != 1 {
		t.Fatalf("%+v", v)
	}
	e := r.brought()[0]
	if e.Type != "partner.message" || e.Scope != "acme/teams/1" || string(e.Payload) != `{"text":"hello"}` || e.Hops != 1 ||
		e.Source != (patchbay.Source{Kind: patchbay.SourceHook, Link: 1, Integration: "partner", Target: "there"}) {
		t.Fatalf("%+v", e)
	}
	whole, err := r.service.Get(t.Context(), admin, v.ID)
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%+v", whole); strings.Contains(shown, "hidden") || !strings.Contains(shown, "X-Event") || whole.Query != "team=x" {
		t.Fatalf("a call is shown without credentials, and with the rest: %s", shown)
	}
	if whole.Body != body(message{ID: "m1", Text: "hello"}) {
		t.Fatalf("body %q", whole.Body)
	}
}

// Whoever guesses learns nothing: a wrong key, a wrong token, an integration without hooks and another integration's token
// are answered alike.
func TestUnknownAddresses(t *testing.T) {
	r := newRig(t)
	r.all["other"] = &partner{key: "other", scheme: signature.GitHub(), app: appSecret}
	_, path := r.link(1, "acme", 0, "secret")
	token := path[strings.LastIndex(path, "/"):]
	var answers []string
	for _, path := range []string{
		"/integrations/nothing/hook", "/integrations/silent/hook", "/integrations/nothing/hook" + token, "/integrations/silent/hook" + token,
		"/integrations/other/hook" + token, "/integrations/partner/hook/wrong",
	} {
		for _, method := range []string{"POST", "GET", "PUT"} {
			req, err := http.NewRequest(method, r.server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			status, text := r.send(req)
			answers = append(answers, fmt.Sprint(status, text))
		}
	}
	for _, a := range answers {
		if a != answers[0] || !strings.HasPrefix(a, "404") {
			t.Fatalf("answers differ, or are no 404: %q", answers)
		}
	}
}

func TestForgedCalls(t *testing.T) {
	r := newRig(t)
	_, path := r.link(1, "acme", 0, "secret")
	text := body(message{ID: "m1"})
	unsigned := r.signed(path, text, "secret")
	unsigned.Header.Del("X-Hub-Signature-256")
	tampered := r.signed(path, text, "secret")
	tampered.Body, tampered.ContentLength = io.NopCloser(strings.NewReader(text+" ")), int64(len(text)+1)
	twice := r.signed(path, text, "secret")
	twice.Header.Add("X-Hub-Signature-256", twice.Header.Get("X-Hub-Signature-256"))
	var first string
	for name, req := range map[string]*http.Request{
		"unsigned": unsigned, "tampered": tampered, "signed twice": twice,
		"another secret":                         r.signed(path, text, "other"),
		"the app's secret":                       r.signed(path, text, appSecret),
		"the link's secret at the app's address": r.signed("/integrations/partner/hook", text, "secret"),
	} {
		status, answer := r.send(req)
		if first == "" {
			first = answer
		}
		if status != 401 || answer != first {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	if n := len(r.list(Query{})); n != 0 {
		t.Errorf("%d forged calls were stored", n)
	}
}

// The integration's own address has no token that could prove anything.
func TestUnsignedSchemes(t *testing.T) {
	r := newRig(t, func(r *rig) { r.partner.scheme = signature.Scheme{} })
	_, path := r.link(1, "acme", 0)
	send := func(path string) int {
		req, err := http.NewRequest("POST", r.server.URL+path, strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		status, _ := r.send(req)
		return status
	}
	if status := send(path); status != 202 {
		t.Errorf("with the token: %d", status)
	}
	if status := send("/integrations/partner/hook"); status != 401 {
		t.Errorf("without a token: %d", status)
	}
}

func TestTwoSecretsDuringARotation(t *testing.T) {
	r := newRig(t).start()
	_, path := r.link(1, "acme", 0, "new", "old")
	for _, secret := range []patchbay.Secret{"new", "old"} {
		if status := r.post(path, body(message{ID: string(secret)}), secret); status != 202 {
			t.Errorf("signed with the %s secret: %d", secret, status)
		}
	}
	r.settled(2)
}

// A call that was captured is worth nothing: outside of the window it is refused, inside it is the same call.
func TestReplayedCalls(t *testing.T) {
	var offset atomic.Int64
	r := newRig(t, func(r *rig) {
		r.partner.scheme = signature.Slack()
		r.now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	}).start()
	_, path := r.link(1, "acme", 0, "secret")
	for _, text := range []string{body(message{ID: "m1"}), body(message{Text: "without an identifier"})} {
		captured := r.signed(path, text, "secret")
		again := func() *http.Request {
			req := captured.Clone(t.Context())
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
			return req
		}
		before := len(r.list(Query{}))
		for _, after := range []time.Duration{0, time.Second, 4 * time.Minute} {
			offset.Add(int64(after))
			if status, _ := r.send(again()); status != 202 {
				t.Fatalf("inside of the window: %d", status)
			}
		}
		r.settled(before + 1)
		offset.Add(int64(2 * time.Minute))
		if status, _ := r.send(again()); status != 401 {
			t.Fatalf("outside of the window: %d", status)
		}
	}
	if n := len(r.brought()); n != 2 {
		t.Fatalf("two calls became %d events", n)
	}
}

// A signature without a time can be played again forever, so its body counts once; where nothing is signed, the same words
// mean something new each time.
func TestEqualBodies(t *testing.T) {
	for scheme, want := range map[string]int{"github": 1, "slack": 2, "token": 2, "": 2} {
		t.Run("scheme "+scheme, func(t *testing.T) {
			var offset atomic.Int64
			r := newRig(t, func(r *rig) {
				r.partner.scheme, _ = signature.Named(scheme)
				r.now = func() time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(offset.Load())) }
			})
			_, path := r.link(1, "acme", 0, "secret")
			_, other := r.link(2, "acme", 0, "secret")
			send := func(path string) {
				req := r.signed2(path, body(message{Text: "up"}), scheme)
				if status, _ := r.send(req); status != 202 {
					t.Fatal(status)
				}
			}
			for range 2 {
				send(path)
				send(other)
				offset.Add(int64(time.Minute))
			}
			if n := len(r.list(Query{Link: 1})); n != 1 || len(r.list(Query{})) != 2 {
				t.Fatalf("within a minute: %d", n)
			}
			if scheme == "github" || scheme == "slack" { // what is not signed does not make it another call
				send(path + "?again=1")
				if n := len(r.list(Query{Link: 1})); n != 1 {
					t.Fatalf("with another query: %d", n)
				}
			}
			offset.Add(int64(24 * time.Hour))
			send(path)
			if n := len(r.list(Query{Link: 1})); n != want {
				t.Fatalf("a day later there are %d calls, want %d", n, want)
			}
		})
	}
}

func (r *rig) signed2(path, text, scheme string) *http.Request {
	if scheme != "" {
		return r.signed(path, text, "secret")
	}
	req, err := http.NewRequest("POST", r.server.URL+path, strings.NewReader(text))
	if err != nil {
		r.t.Fatal(err)
	}
	return req
}

func TestConcurrentDuplicates(t *testing.T) {
	r := newRig(t).start()
	_, path := r.link(1, "acme", 0, "secret")
	var wait sync.WaitGroup
	for range 24 {
		wait.Go(func() {
			if status := r.post(path, body(message{ID: "same", Text: "x"}), "secret"); status != 202 {
				t.Errorf("answered %d", status)
			}
		})
	}
	wait.Wait()
	if v := r.settled(1); len(r.brought()) != 1 || v[0].Reads != 1 {
		t.Fatalf("%+v", r.brought())
	}
}

// A body without an end is read no further than to the limit, and what it has brought is forgotten.
func TestHugeBodies(t *testing.T) {
	r := newRig(t)
	_, path := r.link(1, "acme", 0, "secret")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	announced, err := http.NewRequest("POST", r.server.URL+path, io.LimitReader(zeros{}, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	announced.ContentLength = 1 << 30
	streamed, err := http.NewRequest("POST", r.server.URL+path, io.LimitReader(zeros{}, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range []*http.Request{announced, streamed} {
		resp, err := r.server.Client().Do(req)
		if err != nil { // the connection was closed while the client was still writing
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 413 {
			t.Errorf("answered %d", resp.StatusCode)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 64<<20 {
		t.Errorf("1 GiB of body took %d MiB of memory", grown>>20)
	}
	if status := r.post(path, body(message{Text: strings.Repeat("x", MaxBody-100)}), "secret"); status != 202 {
		t.Errorf("a body that is just small enough: %d", status)
	}
	// Read by hand, so that the answer is seen whatever the client makes of the closing connection.
	conn := r.dial()
	_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path, 1<<30)
	if line := firstLine(t, conn); !strings.Contains(line, "413") {
		t.Errorf("answered %q", line)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func (r *rig) dial() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func firstLine(t *testing.T, conn net.Conn) string {
	t.Helper()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// Bodies that trickle in keep nobody out for long, and only those who call the same address.
func TestSlowBodies(t *testing.T) {
	r := newRig(t)
	r.service.bodyTime = 2 * time.Second
	_, path := r.link(1, "acme", 0, "secret")
	_, other := r.link(2, "acme", 0, "secret")
	slow := make([]net.Conn, callsPlace)
	for i := range slow {
		slow[i] = r.dial()
		_, _ = fmt.Fprintf(slow[i], "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{", path)
	}
	eventually(t, func() bool {
		r.service.places.mu.Lock()
		defer r.service.places.mu.Unlock()
		return r.service.places.all == callsPlace
	}, "the slow calls to be taken in")
	req := r.signed(path, body(message{ID: "x"}), "secret")
	resp, err := r.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %d %v", resp.StatusCode, resp.Header)
	}
	if status := r.post(other, body(message{ID: "x"}), "secret"); status != 202 {
		t.Errorf("at another address: %d", status)
	}
	for _, conn := range slow {
		if line := firstLine(t, conn); !strings.Contains(line, "408") {
			t.Fatalf("answered %q", line)
		}
	}
	if status := r.post(path, body(message{ID: "y"}), "secret"); status != 202 {
		t.Errorf("after they were sent away: %d", status)
	}
}

// What could not be stored was not taken in, and the partner is told so.
func TestStoreDown(t *testing.T) {
	b := &broken{}
	r := newRig(t, func(r *rig) { r.hooks = b }).start()
	_, path := r.link(1, "acme", 0, "secret")
	b.set(store.ErrUnavailable, nil)
	resp, err := r.server.Client().Do(r.signed(path, body(message{ID: "m1"}), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Fatalf("answered %d %v, so the partner does not send it again", resp.StatusCode, resp.Header)
	}
	b.set(nil, nil)
	if status := r.post(path, body(message{ID: "m1"}), "secret"); status != 202 {
		t.Fatal(status)
	}
	r.settled(1)
}

func TestHandshakes(t *testing.T) {
	r := newRig(t, func(r *rig) {
		r.partner.shake = func(c *integration.HookCall) *integration.HookAnswer {
			switch {
			case c.Method == "GET" && c.Query.Get("challenge") != "":
				return &integration.HookAnswer{Body: []byte(c.Query.Get("challenge"))}
			case c.Header.Get("X-Hook-Secret") != "":
				return &integration.HookAnswer{Secret: patchbay.Secret(c.Header.Get("X-Hook-Secret"))}
			}
			return nil
		}
		r.all["partner"] = shaking{r.partner}
	})
	target, path := r.link(1, "acme", 0, "secret")
	do := func(method, path string, header ...string) (int, string) {
		req, err := http.NewRequest(method, r.server.URL+path, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		return r.send(req)
	}
	if status, text := do("GET", path+"?challenge=%3Cb%3E"); status != 200 || text != "<b>" {
		t.Errorf("a challenge: %d %q", status, text)
	}
	if status, _ := do("GET", path); status != 405 {
		t.Errorf("a GET that is no handshake: %d", status)
	}
	if status, _ := do("POST", path, "X-Hook-Secret", "stolen"); status != 401 || r.learned != "" {
		t.Errorf("a secret for a link that is not being set up: %d", status)
	}
	if status, _ := do("POST", "/integrations/partner/hook", "X-Hook-Secret", "stolen"); status != 401 {
		t.Errorf("a secret for no link: %d", status)
	}
	target.Attaching = true
	if status, _ := do("POST", path, "X-Hook-Secret", "theirs"); status != 200 || r.learned != "theirs" {
		t.Errorf("a secret while attaching: %d, learned %q", status, r.learned.Reveal())
	}
	if n := len(r.list(Query{})); n != 0 {
		t.Errorf("%d handshakes were stored", n)
	}
	if status := r.post(path, body(message{Done: true}), "secret"); status != 202 || len(r.list(Query{})) != 0 {
		t.Errorf("a ping is answered (%d) and not kept", status)
	}
}

func TestPlainIntegrationsTakePostOnly(t *testing.T) {
	r := newRig(t)
	_, path := r.link(1, "acme", 0, "secret")
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		req, err := http.NewRequest(method, r.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if status, _ := r.send(req); status != 405 {
			t.Errorf("%s: %d", method, status)
		}
	}
}
