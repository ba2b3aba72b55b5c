package sqlite_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// occurrences counts a text in every file of a data directory.
func occurrences(t *testing.T, dir, text string) map[string]int {
	t.Helper()
	found := map[string]int{}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b, []byte(text)); n > 0 {
			found[f.Name()] = n
		}
	}
	return found
}

// talkative fills a store with events that say a text, in payloads small and large, in attempts and in answers, so
// that pages are split, freed and used again. It returns the events that say it.
func talkative(t *testing.T, s *sqlite.Store, secret string) []patchbay.EventID {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	rnd := rand.New(rand.NewPCG(1, 2))
	var said []patchbay.EventID
	var outcomes []store.Outcome
	for i := range 1500 {
		text := fmt.Sprint("somebody", i)
		a := acceptance(s, 2, now)
		if i%3 == 0 {
			text = secret
			said = append(said, a.Event.ID)
			a.Event.Scope = "gone/x"
		}
		size := rnd.IntN(300)
		if i%10 == 0 {
			size = rnd.IntN(60_000)
		}
		a.Event.Payload = json.RawMessage(fmt.Sprintf(`{"email": %q, "more": %q}`, text, bytes.Repeat([]byte(text+" "), size/len(text))))
		a.Event.Actor = json.RawMessage(fmt.Sprintf(`{"name": %q}`, text))
		if _, err := s.Accept(ctx, a); err != nil {
			t.Fatal(err)
		}
		for _, o := range outcomesOf(a, now, request) {
			o.State = []patchbay.DeliveryState{patchbay.DeliverySucceeded, patchbay.DeliveryFailed}[rnd.IntN(2)]
			o.Attempt.Request = &patchbay.Request{Method: "POST", URL: "https://x.test/" + text}
			o.Attempt.ResponseBody, o.Attempt.Error = text, text+" is unknown"
			outcomes = append(outcomes, o)
		}
		if len(outcomes) > 200 { // not in the order of their identifiers, as retries are
			rnd.Shuffle(len(outcomes), func(i, j int) { outcomes[i], outcomes[j] = outcomes[j], outcomes[i] })
			s.Record(outcomes[:100:100], nil)
			if err := s.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			outcomes = append([]store.Outcome(nil), outcomes[100:]...)
		}
	}
	s.Record(outcomes, nil)
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	return said
}

// TestErasedTextLeavesTheFiles looks for what was erased in the bytes of the files.
func TestErasedTextLeavesTheFiles(t *testing.T) {
	const secret = "jane.roe.4711@example.com"
	for _, how := range []string{"events", "tenant"} {
		t.Run(how, func(t *testing.T) {
			ctx, dir := context.Background(), filepath.Join(t.TempDir(), "data")
			s, err := sqlite.Open(ctx, sqlite.Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			said := talkative(t, s, secret)
			if found := occurrences(t, dir, secret); len(found) == 0 {
				t.Fatal("the text is not in the files before the erasure: the test cannot fail")
			}
			if how == "events" {
				for len(said) > 0 {
					n := min(100, len(said))
					if err := s.EraseEvents(ctx, said[:n], time.Now()); err != nil {
						t.Fatal(err)
					}
					said = said[n:]
				}
			} else {
				for more := true; more; {
					if _, more, err = s.EraseTenant(ctx, "gone"); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := s.Scrub(ctx); err != nil {
				t.Fatal(err)
			}
			if found := occurrences(t, dir, secret); len(found) > 0 {
				t.Errorf("the erased text is still in %v", found)
			}
			if how == "tenant" {
				if found := occurrences(t, dir, "gone/x"); len(found) > 0 {
					t.Errorf("the tenant's scope is still in %v", found)
				}
			}
			if found := occurrences(t, dir, "somebody1"); len(found) == 0 {
				t.Error("what was not erased is gone too")
			}
			wantWhole(t, s, dir)
		})
	}
}

// wantWhole checks that every page of the database is as SQLite wants it, and that what should be there can be read.
func wantWhole(t *testing.T, s *sqlite.Store, dir string) {
	t.Helper()
	ctx := context.Background()
	kept, err := s.Events(ctx, store.EventFilter{Within: "acme", Limit: 5000})
	if err != nil || len(kept) != 1000 {
		t.Fatalf("%d events are kept, %v", len(kept), err)
	}
	for i := range kept {
		if !json.Valid(kept[i].Payload) || !bytes.Contains(kept[i].Payload, []byte("somebody")) {
			t.Fatalf("an event that is kept says %.100s", kept[i].Payload)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if answer := sqlite.IntegrityCheck(t, dir); answer != "ok" {
		t.Fatal(answer)
	}
}
