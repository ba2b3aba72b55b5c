package store

import (
	"context"
	"time"

	"github.com/patchbay/patchbay"
)

// Sample is what happened in one minute with one combination of link, type and scope, at one node. Samples of several
// nodes, or of one node twice, add up.
type Sample struct {
	// Minute is when it began.
	Minute time.Time
	// Link and Integration are of deliveries; of accepted events they are zero.
	Link        patchbay.LinkID
	Integration string
	Type        string
	Scope       patchbay.Scope
	// Accepted counts events; Delivered, Failed and Attempts count what came of deliveries.
	Accepted, Delivered, Failed, Attempts int64
	// Latency counts, by Bucket, the deliveries that succeeded by the time from acceptance to success.
	Latency map[int]int64
}

// StatFilter selects samples. Zero fields select everything.
type StatFilter struct {
	Since, Until time.Time
	Link         patchbay.LinkID
	Type         string
	// Within is the scope at or below which the sample's lies.
	Within patchbay.Scope
}

// Statistics keeps samples.
type Statistics interface {
	// AddSamples adds samples to what is kept. Durable on return.
	AddSamples(ctx context.Context, s []Sample) error
	// Samples returns the sums for each step (a whole number of minutes) of the selected samples by time: of each step
	// one Sample for each value of what by names ("", "link", "type", "scope", "integration"), with the other fields zero.
	Samples(ctx context.Context, f StatFilter, step time.Duration, by string) ([]Sample, error)
	// PruneSamples forgets samples from before a time, a small step at once.
	PruneSamples(ctx context.Context, before time.Time, limit int) (more bool, err error)
	// OldestWaiting returns, for up to limit links, the event that the delivery that has waited longest in the queue
	// belongs to, and how many wait (counted up to 10,000); the links that wait longest first.
	OldestWaiting(ctx context.Context, limit int) ([]Backlog, error)
}

// Backlog is what waits for one link.
type Backlog struct {
	Link   patchbay.LinkID
	Oldest patchbay.EventID
	Count  int
}
