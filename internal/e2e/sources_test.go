package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	deployed "github.com/patchbay/patchbay/deploy/outbox"
	"github.com/patchbay/patchbay/internal/pgtest"
)

// TestOutboxKillNine kills the program again and again while it takes rows from an outbox and a stream of lines, and
// looks afterwards that each row is one event, and that each answered line is there.
func TestOutboxKillNine(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	product, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer product.Close(context.Background())
	if _, err := product.PgConn().Exec(t.Context(), deployed.SQL).ReadAll(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := start(t, dir, "--dev", "--outbox", address)
	if status, answer := s.call("PUT", "/v1/event-types/order.paid", `{"title": "An order"}`); status != 201 {
		t.Fatalf("%d %v", status, answer)
	}
	const rounds, rows = 4, 2500
	answered := map[string]bool{}
	for round := range rounds {
		if _, err := product.Exec(t.Context(), `INSERT INTO patchbay_outbox (event) SELECT json_build_object('event_type', 'order.paid', 'scope', 'shop',
			'payload', json_build_object('n', i)) FROM generate_series($1::int, $2::int) i`, round*rows, (round+1)*rows-1); err != nil {
			t.Fatal(err)
		}
		var owned sync.WaitGroup
		owned.Go(func() { s.stream(round*1_000_000, answered) })
		<-time.After(time.Duration(30+rand.IntN(250)) * time.Millisecond) // the moment of the kill is the point
		s.kill()
		owned.Wait()
		s = start(t, dir, "--dev", "--outbox", address)
	}
	deadline := time.Now().Add(patience)
	for left := -1; left != 0; {
		if err := product.QueryRow(t.Context(), "SELECT count(*) FROM patchbay_outbox").Scan(&left); err != nil || time.Now().After(deadline) {
			t.Fatalf("%d rows are left, %v\n%s", left, err, s.logs)
		}
		<-time.After(20 * time.Millisecond)
	}
	seen := s.payloads("shop")
	for n := range rounds * rows {
		if seen[fmt.Sprint(n)] != 1 {
			t.Fatalf("row %d became %d events", n, seen[fmt.Sprint(n)])
		}
	}
	lines := s.payloads("lines")
	for n := range answered {
		if lines[n] != 1 {
			t.Errorf("line %s was answered, and is %d events", n, lines[n])
		}
	}
	if len(answered) == 0 {
		t.Error("no line was answered")
	}
	t.Logf("%d rows, %d answered lines", len(seen), len(answered))
}

// stream sends numbered lines as fast as they are answered until the connection breaks, and notes which were answered. No
// number is sent twice, by another call neither: a line may have become an event although its answer was lost.
func (s *server) stream(base int, answered map[string]bool) {
	r, w := io.Pipe()
	var owned sync.WaitGroup
	owned.Go(func() {
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, `{"event_type":"order.paid","scope":"lines","payload":{"n":%d}}`+"\n", base+i); err != nil {
				return
			}
		}
	})
	defer owned.Wait()
	defer r.Close()
	req, err := http.NewRequestWithContext(s.t.Context(), "POST", s.url+"/v1/events/batch", r)
	if err != nil {
		s.t.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return // killed before
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	for i := 0; in.Scan(); i++ {
		if !strings.HasSuffix(in.Text(), "}") {
			return // the program was killed while it wrote this: it is no answer
		}
		if !strings.HasPrefix(in.Text(), `{"status":"ok"`) {
			s.t.Errorf("line %d: %s", i, in.Text())
			return
		}
		answered[fmt.Sprint(base+i)] = true
	}
}

// payloads counts events of a scope by the number in their payload.
func (s *server) payloads(scope string) map[string]int {
	s.t.Helper()
	seen := map[string]int{}
	for cursor := ""; ; {
		status, page := s.call("GET", "/v1/events?limit=250&scope="+scope+cursor, "")
		if status != 200 {
			s.t.Fatalf("%d %v", status, page)
		}
		for _, e := range page["data"].([]any) {
			payload := e.(map[string]any)["payload"].(map[string]any)
			number, err := json.Marshal(payload["n"])
			if err != nil {
				s.t.Fatal(err)
			}
			seen[string(number)]++
		}
		next, more := page["next"].(string)
		if !more {
			return seen
		}
		cursor = "&cursor=" + url.QueryEscape(next)
	}
}
