package stats

import (
	"context"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// DayStep is how long a part of a Day is.
	DayStep = 30 * time.Minute
	// DayParts is how many parts a Day has.
	DayParts = 48
	// daysMost is how many links can be asked about at once.
	daysMost = 500
)

// Day is how the deliveries of a link went in the last 24 hours.
type Day struct {
	// Since is when its first part began. The last one is under way.
	Since time.Time
	Parts [DayParts]struct{ Delivered, Failed int64 }
	// Delivered and Failed add the parts up.
	Delivered, Failed int64
	// LastSuccess is the beginning of the minute in which something was delivered last; zero where nothing was.
	LastSuccess time.Time
}

// Days says how links did, those of them that the caller sees, with one look at the store. Of a link with which nothing
// happened it has a day of nothing.
func (s *Service) Days(ctx context.Context, c *access.Caller, links []patchbay.LinkID) (map[patchbay.LinkID]*Day, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, err
	}
	now := s.o.Now().UTC()
	since := now.Truncate(DayStep).Add(DayStep - DayParts*DayStep)
	out := make(map[patchbay.LinkID]*Day, len(links))
	var seen []patchbay.LinkID
	for _, id := range links[:min(len(links), daysMost)] {
		if s.sees(c, id) {
			seen = append(seen, id)
			out[id] = &Day{Since: since}
		}
	}
	if len(seen) == 0 {
		return out, nil
	}
	samples, err := s.samples(ctx, store.StatFilter{Since: since, Links: seen}, time.Minute, store.ByLink)
	if err != nil {
		return nil, patchbay.Internal("reading figures of links", err)
	}
	for i := range samples {
		x := &samples[i]
		part := int(x.At.Sub(since) / DayStep)
		d := out[x.Link]
		if d == nil || part < 0 {
			continue
		}
		part = min(part, DayParts-1) // another node's clock may be ahead
		d.Parts[part].Delivered += x.Delivered
		d.Parts[part].Failed += x.Failed
		d.Delivered += x.Delivered
		d.Failed += x.Failed
		if x.Delivered > 0 && x.At.After(d.LastSuccess) {
			d.LastSuccess = x.At
		}
	}
	return out, nil
}

// Waiting says what waits for links, those of them that the caller sees and for which something does: counted up to 10,000, and
// as of a few seconds ago.
func (s *Service) Waiting(ctx context.Context, c *access.Caller, links []patchbay.LinkID) (map[patchbay.LinkID]Backlog, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, err
	}
	list, err := s.backlogs(ctx)
	if err != nil {
		return nil, patchbay.Internal("looking at the queue", err)
	}
	wanted := make(map[patchbay.LinkID]bool, len(links))
	for _, id := range links {
		wanted[id] = s.sees(c, id)
	}
	out := map[patchbay.LinkID]Backlog{}
	for _, b := range list {
		if wanted[b.Link] {
			out[b.Link] = Backlog{Link: b.Link, Oldest: b.Oldest, At: b.Oldest.Time(), Waiting: b.Count}
		}
	}
	return out, nil
}
