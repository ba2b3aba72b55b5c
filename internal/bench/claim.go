package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// Claimed is what reading due deliveries costs.
type Claimed struct {
	// Median and Worst are of reading one batch.
	Median time.Duration `json:"median"`
	Worst  time.Duration `json:"worst"`
	// Batches is how many were read, Batch how many deliveries each had, Waiting how many waited.
	Batches int   `json:"batches"`
	Batch   int   `json:"batch"`
	Waiting int64 `json:"waiting"`
}

const (
	claimBatch   = 256
	claimBatches = 40
)

// Claim reads due deliveries from a store the way the engine does, batch by batch, each finished before the next.
func Claim(ctx context.Context, s store.Store) (*Claimed, error) {
	stats, err := s.Stats(ctx)
	if err != nil {
		return nil, err
	}
	waited, err := s.Waited(ctx)
	if err != nil {
		return nil, err
	}
	var links []patchbay.LinkID
	for id := range waited {
		links = append(links, id)
	}
	slices.Sort(links)
	if len(links) == 0 {
		return nil, fmt.Errorf("no delivery waits in the store")
	}
	out := &Claimed{Batch: claimBatch, Waiting: stats.Queued}
	var took []time.Duration
	for i := range claimBatches {
		began := time.Now()
		due, err := s.Due(ctx, links[i%len(links)], began.Add(time.Hour), claimBatch, nil)
		if err != nil {
			return nil, err
		}
		if len(due) < claimBatch {
			break
		}
		took = append(took, time.Since(began))
		outcomes := make([]store.Outcome, len(due))
		for i, c := range due {
			outcomes[i] = store.Outcome{Delivery: c.Delivery, Event: c.Queued.Event, Link: c.Link, N: c.Attempts + 1, WasQueued: true,
				State: patchbay.DeliverySucceeded, Attempt: patchbay.Attempt{At: began, Verdict: patchbay.VerdictDelivered}}
		}
		s.Record(outcomes, nil)
		if err := s.Flush(ctx); err != nil {
			return nil, err
		}
	}
	if len(took) == 0 {
		return nil, fmt.Errorf("fewer than %d deliveries wait on a link", claimBatch)
	}
	slices.Sort(took)
	out.Batches, out.Median, out.Worst = len(took), took[len(took)/2], took[len(took)-1]
	return out, nil
}
