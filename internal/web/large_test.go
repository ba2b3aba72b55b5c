package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// A large installation: so many tenants with links, over so many days.
const (
	largeTenants = 200
	largeLinks   = 2000
	largeDays    = 29
	// largeWriters share transactions.
	largeWriters = 64
)

// grow makes an installation with many events, unless it is there, and returns its admin key. Links come through the API,
// events and what became of them straight into the database, as if they had come in over a month.
func grow(b *testing.B, dir string) string {
	b.Helper()
	done := filepath.Join(dir, "grown")
	if raw, err := os.ReadFile(done); err == nil {
		return string(raw)
	} else if !errors.Is(err, os.ErrNotExist) {
		b.Fatal(err)
	}
	var c clock
	c.behind.Store(int64((largeDays*24 + 1) * time.Hour))
	s := openAt(b, c.now, func(c *config.Config) { c.Data = dir })
	targets := s.manyLinks(b)
	examples := map[string]json.RawMessage{}
	for _, x := range s.list("/events") {
		raw, err := json.Marshal(x["example"])
		if err != nil {
			b.Fatal(err)
		}
		if key := x["key"].(string); len(raw) > 20 {
			examples[key] = raw
		}
	}
	s.stop()
	db, err := sqlite.Open(b.Context(), sqlite.Options{Dir: dir, Now: c.now})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	begun := time.Now()
	manyEvents(b, db, &c, targets, examples)
	b.Logf("%d events in %v", *largeEvents, time.Since(begun).Round(time.Second))
	manySamples(b, db, targets, examples)
	if err := os.WriteFile(done, []byte(s.key), 0o600); err != nil {
		b.Fatal(err)
	}
	return s.key
}

// largeScope is the scope of a link.
func largeScope(i int) patchbay.Scope {
	return patchbay.Scope(fmt.Sprintf("tenant-%03d/teams/%d", i%largeTenants, i/largeTenants))
}

// manyLinks makes the links, of two kinds.
func (s *site) manyLinks(b *testing.B) []store.Target {
	b.Helper()
	out := make([]store.Target, largeLinks)
	var all sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < largeLinks; i = int(next.Add(1)) - 1 {
				in := map[string]any{"integration": "inbox", "scope": largeScope(i), "events": []string{"*"}, "name": fmt.Sprintf("Everything of team %d", i)}
				if i%3 == 0 {
					in["integration"], in["settings"] = "webhook", map[string]any{"url": fmt.Sprintf("https://hooks.example.com/%d", i)}
				}
				id := patchbay.LinkID(0)
				if err := id.UnmarshalText([]byte(s.api("POST", "/v1/links", in)["id"].(string))); err != nil {
					b.Error(err)
				}
				out[i] = store.Target{Link: id, Revision: 1, Integration: in["integration"].(string)}
			}
		})
	}
	all.Wait()
	return out
}

// manyEvents stores events over the days, each with one or two deliveries. Most succeeded at once; some failed for good, and
// some of the last wait.
func manyEvents(b *testing.B, db *sqlite.Store, c *clock, targets []store.Target, examples map[string]json.RawMessage) {
	b.Helper()
	types := make([]string, 0, len(examples))
	for key := range examples {
		types = append(types, key)
	}
	from := c.behind.Load()
	var all sync.WaitGroup
	var next atomic.Int64
	for w := range largeWriters {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for i := next.Add(1) - 1; i < int64(*largeEvents); i = next.Add(1) - 1 {
				c.behind.Store(int64(float64(from) * (1 - float64(i)/float64(*largeEvents))))
				kind := types[rnd.IntN(len(types))]
				a := largeEvent(db, rnd, kind, examples[kind], targets, i > int64(*largeEvents)-20_000)
				if _, err := db.Accept(b.Context(), a); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	c.behind.Store(0)
}

func largeEvent(db *sqlite.Store, rnd *rand.Rand, kind string, payload json.RawMessage, targets []store.Target, late bool) *store.Acceptance {
	k := 1 + rnd.IntN(2)
	at := rnd.IntN(len(targets))
	id := patchbay.EventID(db.NewID(k + 1))
	when := id.Time()
	a := &store.Acceptance{Event: &patchbay.Event{
		ID: id, Type: kind, Scope: largeScope(at), Payload: payload, OccurredAt: when, ReceivedAt: when, Source: patchbay.Source{Kind: patchbay.SourceAPI},
	}}
	for j := range k {
		t := targets[(at+j*largeTenants)%len(targets)]
		a.Targets = append(a.Targets, t)
		d := patchbay.DeliveryAt(id, j+1)
		if late && rnd.IntN(4) == 0 {
			a.Queue = append(a.Queue, store.Queued{Delivery: d, Event: id, Link: t.Link, Due: time.Now().Add(time.Hour + time.Duration(rnd.IntN(3600))*time.Second), Attempts: 1, Used: 1})
			continue
		}
		o := store.Outcome{Delivery: d, Event: id, Link: t.Link, N: 1, State: patchbay.DeliverySucceeded,
			Attempt: patchbay.Attempt{At: when, DurationMS: int64(3 + rnd.IntN(90)), Verdict: patchbay.VerdictDelivered, ResponseCode: 200}}
		if rnd.IntN(100) == 0 {
			o.State = patchbay.DeliveryFailed
			o.Attempt.Verdict, o.Attempt.ResponseCode, o.Attempt.ErrorType, o.Attempt.Error = patchbay.VerdictRejected, 404, patchbay.CodeUserConfigurationError, "There is nothing at this address."
		}
		a.Outcomes = append(a.Outcomes, o)
	}
	return a
}

// manySamples stores the figures that such a month leaves: of each minute of the last day, and of each hour before.
func manySamples(b *testing.B, db *sqlite.Store, targets []store.Target, examples map[string]json.RawMessage) {
	b.Helper()
	types := make([]string, 0, len(examples))
	for key := range examples {
		types = append(types, key)
	}
	rnd := rand.New(rand.NewPCG(3, 3))
	now := time.Now().Truncate(time.Minute)
	var batch []store.Sample
	add := func(at time.Time, n int) {
		for range n {
			i := rnd.IntN(len(targets))
			x := store.Sample{At: at, Type: types[rnd.IntN(len(types))], Scope: largeScope(i), Accepted: 1}
			y := store.Sample{At: at, Link: targets[i].Link, Integration: targets[i].Integration, Type: x.Type, Scope: x.Scope,
				Delivered: 1, Attempts: 1, Latency: store.Latency{20 + rnd.IntN(30): 1}}
			batch = append(batch, x, y)
		}
		if len(batch) < 500 && at.Before(now) {
			return
		}
		if err := db.AddSamples(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		batch = batch[:0]
	}
	for at := now.Add(-largeDays * 24 * time.Hour).Truncate(time.Hour); at.Before(now.Add(-25 * time.Hour)); at = at.Add(time.Hour) {
		add(at, 300)
	}
	for more := true; more; {
		var err error
		if more, err = db.RollUpSamples(b.Context(), now.Add(-25*time.Hour).Truncate(time.Hour), 10_000); err != nil {
			b.Fatal(err)
		}
	}
	for at := now.Add(-25 * time.Hour); !at.After(now); at = at.Add(time.Minute) {
		add(at, 24)
	}
}
