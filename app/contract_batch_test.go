package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay/patchbay/internal/config"
)

func lines(a *answer) []object {
	a.t.Helper()
	var out []object
	for line := range strings.Lines(string(a.body)) {
		out = append(out, decode(a.t, []byte(line)))
	}
	return out
}

var ndjson = header{"Content-Type", "application/x-ndjson"}

func TestBatch(t *testing.T) {
	s, p := things(t), newPartner(t)
	s.link(hook(p, "/x", `"events":["*"],"scope":"acme"`))
	item := func(rest string) string { return `{` + made + `,"scope":"acme","payload":{}` + rest + `}` }

	t.Run("an array is answered item by item", func(t *testing.T) {
		s := s.in(t)
		o := s.call("POST", "/v1/events/batch", `[`+item("")+`,`+item(`,"scop":"x"`)+`, 7, `+item(`,"integrations":[]`)+`,`+item("")+`]`).want(200).json()
		data := o.objects("data")
		if len(data) != 5 {
			t.Fatalf("%v", o)
		}
		for i, kind := range []string{"", "invalid_request", "invalid_request", "invalid_request", ""} {
			status := "error"
			if kind == "" {
				status = "ok"
				if !eventID.MatchString(data[i].str("id")) || data[i].str("deliveries") != "1" {
					t.Errorf("item %d: %v", i, data[i])
				}
				p.next(t)
			}
			if data[i].str("status") != status || data[i].str("type") != kind {
				t.Errorf("item %d: %v", i, data[i])
			}
		}
		if data[1].str("details", 0, "path") != "scop" {
			t.Errorf("the details are %v", data[1])
		}
		p.none(t)
	})
	t.Run("lines are answered by lines, and ids are idempotency keys", func(t *testing.T) {
		s := s.in(t)
		body := item(`,"id":"batch-1"`) + "\n\n" + item(`,"id":"batch-1"`) + "\r\n" + item(`,"id":"batch-1","actor":{}`)
		out := lines(s.call("POST", "/v1/events/batch?ordered=true", body, ndjson).want(200))
		if len(out) != 3 || out[0].str("id") != out[1].str("id") || out[1].str("replayed") != "true" || out[2].str("type") != "conflict" {
			t.Fatalf("%v", out)
		}
		single := s.call("POST", "/events", item(`,"id":"batch-1"`)).want(201)
		if single.json().str("id") != out[0].str("id") || single.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("the same call alone: %s", single.body)
		}
		p.next(t)
		p.none(t)
	})
	t.Run("a key publishes within its scope only", func(t *testing.T) {
		reader := s.as(t, s.newKey("", "read"))
		s := s.as(t, s.newKey("acme/a", "publish"))
		out := s.call("POST", "/v1/events/batch", `[`+item("")+`,{`+made+`,"scope":"acme/a/b","payload":{}}]`).want(200).json().objects("data")
		if out[0].str("type") != "forbidden" || out[1].str("status") != "ok" {
			t.Errorf("%v", out)
		}
		p.next(t)
		reader.call("POST", "/v1/events/batch", `[]`).refused(403, "forbidden")
	})
	t.Run("what was answered is durable, also when the caller leaves in the middle", func(t *testing.T) {
		s := s.in(t)
		r, w := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/v1/events/batch", r)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.key)
		req.Header.Set("Content-Type", "application/x-ndjson")
		var owned sync.WaitGroup
		owned.Go(func() {
			for range 5 {
				fmt.Fprintln(w, item(""))
			}
			_, _ = io.WriteString(w, `{`+made+`,"scope":"acme","payload":{}`) // and no end
		})
		resp, err := s.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(resp.Body)
		var ids []string
		for len(ids) < 5 && in.Scan() {
			ids = append(ids, decode(t, in.Bytes()).str("id"))
		}
		owned.Wait()
		w.CloseWithError(io.ErrUnexpectedEOF)
		resp.Body.Close()
		for _, id := range ids {
			s.delivered(id)
			p.next(t)
		}
		p.none(t)
	})
}

// TestBatchInOrder proves that an ordered batch reaches its partner in order, over a link that sends one at a time.
func TestBatchInOrder(t *testing.T) {
	s, p := things(t), newPartner(t)
	s.link(hook(p, "/x", `"events":["*"],"concurrency":1`))
	var body strings.Builder
	const n = 200
	for i := range n {
		fmt.Fprintf(&body, "{%s,\"payload\":{\"n\":%d}}\n", made, i)
	}
	if out := lines(s.call("POST", "/v1/events/batch?ordered=true", body.String(), ndjson).want(200)); len(out) != n {
		t.Fatalf("%d answers", len(out))
	}
	for i := range n {
		if got := decode(t, p.next(t).body).str("payload", "n"); got != fmt.Sprint(i) {
			t.Fatalf("delivery %d is of event %s", i, got)
		}
	}
}

// TestBatchOverQuota proves that only what is over the quota is refused.
func TestBatchOverQuota(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.Quota.Default = 5 })
	s.call("PUT", "/v1/event-types/thing.made", thing).want(201)
	var items []string
	for range 20 {
		items = append(items, `{`+made+`,"scope":"acme","payload":{}}`)
	}
	data := s.call("POST", "/v1/events/batch", "["+strings.Join(items, ",")+"]").want(200).json().objects("data")
	ok := 0
	for _, o := range data {
		switch {
		case o.str("status") == "ok":
			ok++
		case o.str("type") != "rate_limited" || o.str("retry_after") == "":
			t.Errorf("%v", o)
		}
	}
	if ok < 5 || ok > 10 || len(data) != 20 {
		t.Errorf("%d of %d were accepted", ok, len(data))
	}
}
