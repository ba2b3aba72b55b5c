package app_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/internal/config"
)

func keyed(key string) header { return header{"Idempotency-Key", key} }

// again makes the same call a second time and checks that the answer is the first one's.
func (a *answer) again(s *server, method, path, body string, headers ...header) {
	a.t.Helper()
	b := s.call(method, path, body, headers...).want(201)
	if b.header.Get("Idempotent-Replayed") != "true" || !bytes.Equal(a.body, b.body) {
		a.t.Errorf("the second answer is %s (Idempotent-Replayed: %q), want %s", b.body, b.header.Get("Idempotent-Replayed"), a.body)
	}
	if got := a.header.Get("Idempotent-Replayed"); got != "" {
		a.t.Errorf("the first answer says Idempotent-Replayed: %s", got)
	}
}

func TestIdempotency(t *testing.T) {
	s, p := things(t), newPartner(t)
	s.link(hook(p, "/x", `"events":["*"],"scope":"acme"`))
	body := func(rest string) string { return `{` + made + `,"scope":"acme","payload":{}` + rest + `}` }
	key := 0
	fresh := func() string { key++; return fmt.Sprintf("key-%d", key) }
	next := func(t *testing.T, s *server) {
		t.Helper()
		p.next(t)
		p.none(t)
	}

	t.Run("the same Idempotency-Key again: the same answer, and nothing is sent twice", func(t *testing.T) {
		s, k := s.in(t), keyed(fresh())
		s.call("POST", "/events", body(""), k).want(201).again(s, "POST", "/events", body(""), k)
		next(t, s)
	})
	t.Run("the same id in the body again", func(t *testing.T) {
		s, b := s.in(t), body(`,"id":"`+fresh()+`"`)
		a := s.call("POST", "/events", b).want(201)
		a.again(s, "POST", "/v1/events", b)
		next(t, s)
		if id := a.json().str("id"); !eventID.MatchString(id) {
			t.Errorf("the caller's id has replaced evt_…: %s", id)
		}
	})
	t.Run("id and Idempotency-Key are the same memory", func(t *testing.T) {
		s, k := s.in(t), fresh()
		b := body(`,"id":"` + k + `"`)
		a := s.call("POST", "/events", b).want(201)
		a.again(s, "POST", "/events", b, keyed(k))
		s.call("POST", "/events", body(""), keyed(k)).refused(409, "conflict")
		next(t, s)
	})
	t.Run("both must be equal", func(t *testing.T) {
		s, k := s.in(t), fresh()
		s.call("POST", "/events", body(`,"id":"`+k+`"`), keyed(k+"x")).refused(400, "invalid_request")
		s.call("POST", "/events", body(`,"id":"`+k+`"`), keyed(k)).want(201)
		next(t, s)
	})
	t.Run("with other bytes: 409", func(t *testing.T) {
		s, k := s.in(t), keyed(fresh())
		s.call("POST", "/events", body(""), k).want(201)
		s.call("POST", "/events", body("")+" ", k).refused(409, "conflict")
		s.call("POST", "/events", body(`,"actor":{}`), k).refused(409, "conflict")
		next(t, s)
	})
	t.Run("only a 201 is remembered", func(t *testing.T) {
		s, k := s.in(t), keyed(fresh())
		s.call("POST", "/events", `{"event_type":"unknown","payload":{},"scope":"acme"}`, k).refused(400, "invalid_request")
		s.call("POST", "/events", `{`, k).refused(400, "invalid_request")
		s.call("POST", "/events", body(""), k).want(201)
		next(t, s)
	})
	t.Run("keys are remembered per caller", func(t *testing.T) {
		s, k := s.in(t), keyed(fresh())
		other := s.as(t, s.newKey("", "publish"))
		first := s.call("POST", "/events", body(""), k).want(201).json().str("id")
		second := other.call("POST", "/events", body(""), k).want(201)
		if second.json().str("id") == first || second.header.Get("Idempotent-Replayed") != "" {
			t.Error("another caller's key was answered from memory")
		}
		p.next(t)
		next(t, s)
	})
	t.Run("keys are remembered per tenant", func(t *testing.T) {
		s, k := s.in(t), keyed(fresh())
		first := s.call("POST", "/events", body(""), k).want(201).json().str("id")
		second := s.call("POST", "/events", strings.Replace(body(""), "acme", "other", 1), k).want(201).json().str("id")
		if first == second {
			t.Error("another tenant's key was answered from memory")
		}
		next(t, s)
	})
	t.Run("two scopes of one tenant share their keys", func(t *testing.T) {
		s, k := s.in(t), keyed(fresh())
		s.call("POST", "/events", body(""), k).want(201)
		s.call("POST", "/events", strings.Replace(body(""), "acme", "acme/x", 1), k).refused(409, "conflict")
		next(t, s)
	})
	t.Run("the same answer also when links have changed since", func(t *testing.T) {
		s, k := s.in(t), keyed(fresh())
		a := s.call("POST", "/events", body(""), k).want(201)
		next(t, s)
		id := s.link(hook(p, "/y", `"events":["*"]`))
		a.again(s, "POST", "/events", body(""), k)
		s.call("DELETE", "/v1/links/"+id, "").want(204)
		p.none(t)
	})
	t.Run("a key has 1 to 128 printable ASCII characters", func(t *testing.T) {
		s := s.in(t)
		for _, bad := range []string{strings.Repeat("x", 129), "é", "a\tb"} {
			s.call("POST", "/events", body(""), keyed(bad)).refused(400, "invalid_request")
		}
		for _, good := range []string{strings.Repeat("x", 128), `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~ a`, "0"} {
			s.call("POST", "/events", body(""), keyed(good)).want(201)
			next(t, s)
		}
	})
}

// TestConcurrentDuplicates: one is committed, the others wait for it and get its answer.
func TestConcurrentDuplicates(t *testing.T) {
	s, p := things(t), newPartner(t)
	s.link(hook(p, "/x", `"events":["*"]`))
	p.on("/slow", func(http.ResponseWriter, *http.Request) { // slow enough for other calls to come in
		for range 5 {
			s.call("GET", "/healthz", "").want(200)
		}
	})
	const callers = 16
	for says, body := range map[string]string{
		"routed": `{` + made + `,"payload":{}}`,
		"inline": `{` + made + `,"payload":{},"integrations":[{"key":"webhook","settings":{"url":"` + p.url("/slow") + `"}}]}`,
	} {
		t.Run(says, func(t *testing.T) {
			s := s.in(t)
			for round := range 10 {
				answers := make([]*answer, callers)
				var wg sync.WaitGroup
				for i := range callers {
					wg.Go(func() {
						a, err := s.try("POST", "/events", strings.NewReader(body), keyed(fmt.Sprint(says, round)))
						if err != nil {
							t.Error(err)
							return
						}
						answers[i] = a
					})
				}
				wg.Wait()
				first := 0
				for _, a := range answers {
					if a == nil || a.status != 201 || !bytes.Equal(a.body, answers[0].body) {
						t.Fatalf("one of the answers is %+v", a)
					}
					if a.header.Get("Idempotent-Replayed") == "" {
						first++
					}
				}
				if first != 1 {
					t.Errorf("%d of %d calls were told that theirs is the first", first, callers)
				}
				p.next(t)
				p.none(t)
			}
		})
	}
}

// TestKeysOutliveARestart and are forgotten after 24 hours.
func TestKeysOutliveARestart(t *testing.T) {
	dir, p := t.TempDir(), newPartner(t)
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	o := app.Options{Config: config.Config{Data: dir, Catalog: []string{"builtin:rainforest"}}, Now: clock}
	routed := `{"event":"integration_test"}`
	inline := `{"event":"integration_test","integrations":[{"key":"webhook","settings":{"url":"` + p.url("/x") + `"}}]}`

	s := start(t, o)
	key, _ := s.app.AdminKey()
	s = s.as(t, key)
	first, second := s.call("POST", "/events", routed, keyed("r")).want(201), s.call("POST", "/events", inline, keyed("i")).want(201)
	p.next(t)
	s.stop()

	s = start(t, o).as(t, key)
	first.again(s, "POST", "/events", routed, keyed("r"))
	second.again(s, "POST", "/events", inline, keyed("i"))
	p.none(t)

	mu.Lock()
	now = now.Add(23*time.Hour + 59*time.Minute)
	mu.Unlock()
	first.again(s, "POST", "/events", routed, keyed("r"))
	mu.Lock()
	now = now.Add(2 * time.Minute)
	mu.Unlock()
	if b := s.call("POST", "/events", routed, keyed("r")).want(201); b.header.Get("Idempotent-Replayed") != "" || bytes.Equal(b.body, first.body) {
		t.Error("a key is remembered for longer than 24 hours")
	}
	s.call("POST", "/events", inline, keyed("i")).want(201)
	p.next(t)
}
