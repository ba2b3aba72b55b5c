package bench

import (
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// TestClaim proves that reading due deliveries is measured on a real store, and refused where nothing waits.
func TestClaim(t *testing.T) {
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := Claim(t.Context(), s); err == nil {
		t.Error("an empty store is measured")
	}
	link := patchbay.LinkID(s.NewID(1))
	now := time.Now()
	for range claimBatch + 10 {
		e := &patchbay.Event{ID: patchbay.EventID(s.NewID(2)), Type: eventType, Scope: benchScope, Payload: []byte(`{}`), OccurredAt: now, ReceivedAt: now, Source: patchbay.Source{Kind: patchbay.SourceAPI}}
		id := patchbay.DeliveryAt(e.ID, 1)
		a := &store.Acceptance{Event: e, Targets: []store.Target{{Link: link, Revision: 1, Integration: "webhook"}},
			Queue: []store.Queued{{Delivery: id, Event: e.ID, Link: link, Due: now}}}
		if _, err := s.Accept(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Claim(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if c.Batches != 1 || c.Batch != claimBatch || c.Median <= 0 || c.Median != c.Worst || c.Waiting != claimBatch+10 {
		t.Errorf("%+v", c)
	}
}
