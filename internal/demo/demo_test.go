package demo

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newWorld(seed uint64) *world {
	return &world{random: rand.New(rand.NewPCG(seed, 1)), now: func() time.Time { return time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC) }}
}

// TestScript proves that every scene is of a type in the built-in catalogs, that what it plays satisfies the type's
// schema however it is varied, that it reads as something, and that its scopes are scopes.
func TestScript(t *testing.T) {
	c, err := catalog.Open(catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(1)
	for _, s := range script() {
		known := c.Type(s.eventType)
		if known == nil {
			t.Errorf("%s is not in the catalog", s.eventType)
			continue
		}
		titles := map[string]bool{}
		for range 50 {
			at, payload, err := w.play(&s, known.Spec().Example)
			if err != nil {
				t.Fatal(err)
			}
			if details := known.Validate(payload); len(details) > 0 {
				t.Fatalf("%s: %v in %s", s.eventType, details, payload)
			}
			if _, err := patchbay.ParseScope(string(at.scope)); err != nil || at.scope == "" {
				t.Errorf("%s happens in %q: %v", s.eventType, at.scope, err)
			}
			for _, also := range at.also {
				if _, err := patchbay.ParseAlso(at.scope, []string{string(also)}); err != nil {
					t.Error(err)
				}
			}
			message, err := known.Render(&patchbay.Event{Type: s.eventType, Scope: at.scope, Payload: payload}, catalog.Target{})
			if err != nil {
				t.Fatal(err)
			}
			titles[message.Title] = true
		}
		if len(titles) < 3 {
			t.Errorf("%s always reads %v", s.eventType, titles)
		}
	}
}

// TestSeed proves that a seed plays the same events again, and another one others.
func TestSeed(t *testing.T) {
	play := func(seed uint64) (out []string) {
		w := newWorld(seed)
		for range 20 {
			s := w.next(script())
			_, payload, err := w.play(s, json.RawMessage(`{"push": {"commits": [{}]}}`))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s.eventType+string(payload))
		}
		return out
	}
	if diff := cmp.Diff(play(5), play(5)); diff != "" {
		t.Error(diff)
	}
	if cmp.Equal(play(5), play(6)) {
		t.Error("another seed plays the same")
	}
}

// TestPut proves that values are set where they belong and that a path that does not fit changes nothing.
func TestPut(t *testing.T) {
	p := map[string]any{"a": map[string]any{"b": 1}, "list": []any{map[string]any{}, 2}, "text": "x"}
	put(p, "a.b", 3)
	put(p, "new.deep", 4)
	put(p, "list.0.c", 5)
	put(p, "list.1", 6)
	put(p, "list.9.c", 7)
	put(p, "text.c", 8)
	want := map[string]any{"a": map[string]any{"b": 3}, "new": map[string]any{"deep": 4}, "list": []any{map[string]any{"c": 5}, 6}, "text": "x"}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
}

// TestHook proves that the stand-in takes what is signed with its secret and nothing else.
func TestHook(t *testing.T) {
	s, err := newStandIns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	key := []byte("0123456789abcdef01234567")
	s.sign("/hooks/x", "whsec_"+base64.StdEncoding.EncodeToString(key))
	now := time.Now().Unix()
	signature := func(key []byte, at int64) string {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "evt_1.%d.{}", at)
		return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	for _, tc := range []struct {
		name, signature string
		at              int64
		want            int
	}{
		{"right", signature(key, now), now, 200},
		{"right, after another", "v1,AAAA " + signature(key, now), now, 200},
		{"another key", signature([]byte("x"), now), now, 401},
		{"none", "", now, 401},
		{"of another time", signature(key, now-1), now, 401},
		{"old", signature(key, now-3600), now - 3600, 401},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+"/hooks/x", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("webhook-id", "evt_1")
		req.Header.Set("webhook-timestamp", fmt.Sprint(tc.at))
		req.Header.Set("webhook-signature", tc.signature)
		if got := status(t, req); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
	if s.verified.Load() != 2 || s.forged.Load() != 4 {
		t.Errorf("%d verified, %d forged", s.verified.Load(), s.forged.Load())
	}
}

func status(t *testing.T, req *http.Request) int {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestPartners proves that the flaky stand-in fails two of three requests, and that nobody is where the dead one was.
func TestPartners(t *testing.T) {
	s, err := newStandIns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var got []int
	for range 6 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+"/flaky/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, status(t, req))
	}
	if diff := cmp.Diff([]int{503, 503, 200, 503, 503, 200}, got); diff != "" {
		t.Error(diff)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.dead, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Error("the dead partner answers")
	}
}

// TestMailbox proves that the mail server takes a mail from a client of the standard library, and ends with one still
// connected.
func TestMailbox(t *testing.T) {
	m, err := newMailbox(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mail := "Subject: hello\r\n\r\n.\r\n.. dots\r\n"
	if err := smtp.SendMail(m.addr().String(), nil, "a@example.com", []string{"b@example.com"}, []byte(mail)); err != nil {
		t.Fatal(err)
	}
	c, err := smtp.Dial(m.addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Noop(); err != nil {
		t.Error(err)
	}
	m.close()
	if m.received.Load() != 1 {
		t.Errorf("%d mails", m.received.Load())
	}
	if err := c.Noop(); err == nil {
		t.Error("the connection outlives the server")
	}
	_ = c.Close()
}

// TestAddress proves that the demo keeps away from a port that is taken.
func TestAddress(t *testing.T) {
	if got := freeAddress(t.Context(), "127.0.0.1:9"); got != "127.0.0.1:9" {
		t.Errorf("an address that was asked for became %s", got)
	}
	dir, remove, err := dataDirectory("")
	if err != nil {
		t.Fatal(err)
	}
	remove()
	if kept, _, err := dataDirectory("x"); kept != "x" || err != nil || dir == "x" {
		t.Errorf("%s, %v", kept, err)
	}
}
