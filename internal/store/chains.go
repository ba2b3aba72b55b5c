package store

import (
	"context"
	"time"
)

// Chains reads deliveries that go one after the other many at a time. A store that does not implement it is asked for one
// at a time by Due, which costs a round trip for each.
type Chains interface {
	// Following returns what comes after a delivery in the queue, with the same link and thread and a higher identifier,
	// in the order of identifiers and up to limit. It ends before the first that is not due at now.
	Following(ctx context.Context, after *Queued, now time.Time, limit int) ([]Claimed, error)
}
