package store

import (
	"context"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
)

// Sample is what happened in one minute (or, when it is older, one hour) with one combination of link, type and scope.
// Samples of several nodes, or of one node twice, add up.
type Sample struct {
	// At is when the minute began; AddSamples cuts off what is below a minute.
	At time.Time
	// Link and Integration are of deliveries; of accepted events they are zero.
	Link        patchbay.LinkID
	Integration string
	Type        string
	Scope       patchbay.Scope
	// Accepted counts events; Delivered, Failed and Attempts count what came of deliveries.
	Accepted, Delivered, Failed, Attempts int64
	// Latency has the deliveries that succeeded, by the time from acceptance to success.
	Latency Latency
}

// Add adds what another sample counts.
func (s *Sample) Add(other *Sample) {
	s.Accepted += other.Accepted
	s.Delivered += other.Delivered
	s.Failed += other.Failed
	s.Attempts += other.Attempts
	if s.Latency == nil && len(other.Latency) > 0 {
		s.Latency = make(Latency, len(other.Latency))
	}
	for bucket, n := range other.Latency {
		s.Latency[bucket] += n
	}
}

// What samples can be told apart by.
const (
	ByNothing     = ""
	ByLink        = "link"
	ByType        = "type"
	ByScope       = "scope"
	ByIntegration = "integration"
)

// StatFilter selects samples. Zero fields select everything.
type StatFilter struct {
	// Since and Until bound At: Since ≤ At < Until.
	Since, Until time.Time
	Link         patchbay.LinkID
	// Links selects samples of any of some links; nil means of all.
	Links       []patchbay.LinkID
	Integration string
	Type        string
	// Within is the scope at or below which the sample's lies.
	Within patchbay.Scope
}

// Matches reports whether a sample is selected.
func (f *StatFilter) Matches(s *Sample) bool {
	return (f.Since.IsZero() || !s.At.Before(f.Since)) && (f.Until.IsZero() || s.At.Before(f.Until)) &&
		(f.Link == 0 || s.Link == f.Link) && (f.Links == nil || slices.Contains(f.Links, s.Link)) && (f.Integration == "" || s.Integration == f.Integration) &&
		(f.Type == "" || s.Type == f.Type) && f.Within.Contains(s.Scope)
}

// Of returns the links that samples must be of to be selected; nil when they may be of any, and of none.
func (f *StatFilter) Of() []patchbay.LinkID {
	switch {
	case f.Link == 0:
		return f.Links
	case f.Links == nil || slices.Contains(f.Links, f.Link):
		return []patchbay.LinkID{f.Link}
	}
	return []patchbay.LinkID{}
}

// Key returns what Samples adds a sample up under: when its step began, and of its other fields the one that by names.
// Steps are counted from 1970, UTC.
func (s *Sample) Key(step time.Duration, by string) Sample {
	seconds := max(60, int64(step/time.Second))
	at := s.At.Unix()
	k := Sample{At: time.Unix(at-((at%seconds)+seconds)%seconds, 0).UTC()}
	switch by {
	case ByLink:
		k.Link = s.Link
	case ByType:
		k.Type = s.Type
	case ByScope:
		k.Scope = s.Scope
	case ByIntegration:
		k.Integration = s.Integration
	}
	return k
}

// Statistics keeps samples.
type Statistics interface {
	// AddSamples adds samples to what is kept. All or nothing; durable on return. It is called with up to some hundred at
	// a time, and must not hold up acceptances for long.
	AddSamples(ctx context.Context, s []Sample) error
	// Samples returns the sums of the selected samples for each step, a whole number of minutes, and each value of what
	// by names (see Sample.Key), by time; within a step in no particular order. A step in which nothing was is left out.
	Samples(ctx context.Context, f StatFilter, step time.Duration, by string) ([]Sample, error)
	// RollUpSamples turns samples of minutes from before a time (a whole hour) into samples of hours, a step of about
	// limit of them at once. What Samples returns for steps of whole hours stays the same throughout.
	RollUpSamples(ctx context.Context, before time.Time, limit int) (more bool, err error)
	// PruneSamples forgets samples from before a time (a whole hour), about limit of them at once.
	PruneSamples(ctx context.Context, before time.Time, limit int) (more bool, err error)
	// OldestWaiting returns, for up to limit links, the oldest event of which a delivery waits in the queue, and how many
	// wait (counted up to BacklogCounted); the links with the oldest first. Where more wait than are counted, the event is
	// the oldest of those that are due first.
	OldestWaiting(ctx context.Context, limit int) ([]Backlog, error)
}

// BacklogCounted is how far OldestWaiting counts what waits for a link.
const BacklogCounted = 10_000

// Backlog is what waits for one link.
type Backlog struct {
	Link   patchbay.LinkID
	Oldest patchbay.EventID
	Count  int
}
