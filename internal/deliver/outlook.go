package deliver

import (
	"context"
	"math"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// outlookMost is up to where what waits for a link is counted: as much as a link may hold by default.
	outlookMost = patchbay.DefaultHoldCount
	// outlookLatest is how many of the latest deliveries say how long an attempt takes.
	outlookLatest = 5
	// outlookFastest is how many deliveries a second are reckoned with at most, however quick the partner was.
	outlookFastest = 500
)

// Outlook is what waits for a link, and how long it will take to send it.
type Outlook struct {
	// Waiting counts what waits, on all nodes; More says that there is more than was counted.
	Waiting int
	More    bool
	// Oldest is when the event was received that is due first; zero when nothing waits in the queue.
	Oldest time.Time
	// PerSecond is how many can be sent in a second: by the link's rate, or by its concurrency and how long its latest
	// attempts took. 0 says that nobody knows, because the link has not delivered anything that is kept.
	PerSecond float64
	// ByRate says that the rate is what bounds it; otherwise AtOnce attempts of Attempt each are.
	ByRate  bool
	AtOnce  int
	Attempt time.Duration
}

// Takes is how long what waits will take; 0 when nobody knows.
func (o *Outlook) Takes() time.Duration {
	if o.PerSecond <= 0 {
		return 0
	}
	return time.Duration(math.Min(float64(o.Waiting)/o.PerSecond, 1e9) * float64(time.Second))
}

// Outlook says what waits for a link that the caller sees.
func (s *Service) Outlook(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*Outlook, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, err
	}
	e := s.e
	e.mu.Lock()
	l := e.lanes[id]
	if l == nil || !c.Sees(l.link.Scope) {
		e.mu.Unlock()
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no link %s that anything could wait for", id)
	}
	out := &Outlook{Waiting: l.fresh + l.behindFresh, AtOnce: l.most()}
	rate, inOrder := l.link.Rate, l.link.Order != nil && l.link.Order.Key == ""
	e.mu.Unlock()
	if inOrder {
		out.AtOnce = 1
	}
	queued, err := e.o.Store.Waiting(ctx, id, outlookMost)
	if err != nil {
		return nil, storeError("counting what waits", err)
	}
	out.Waiting, out.More = out.Waiting+queued, queued == outlookMost
	if queued > 0 {
		first, err := e.o.Store.Due(ctx, id, e.o.Now().AddDate(100, 0, 0), 1, nil)
		if err != nil {
			return nil, storeError("reading what waits", err)
		}
		if len(first) > 0 {
			out.Oldest = first[0].Event.ReceivedAt
		}
	}
	if out.Attempt, err = s.latestAttempts(ctx, id); err != nil {
		return nil, err
	}
	out.reckon(rate)
	return out, nil
}

// reckon finds out how many can be sent in a second.
func (o *Outlook) reckon(rate float64) {
	if o.Attempt > 0 {
		o.PerSecond = math.Min(float64(o.AtOnce)/o.Attempt.Seconds(), outlookFastest)
	}
	if rate > 0 && (o.PerSecond == 0 || rate < o.PerSecond) {
		o.PerSecond, o.ByRate = rate, true
	}
}

// latestAttempts is how long the latest attempts took that went well; 0 when there are none.
func (s *Service) latestAttempts(ctx context.Context, id patchbay.LinkID) (time.Duration, error) {
	found, err := s.e.o.Store.Deliveries(ctx, store.DeliveryFilter{
		States: []patchbay.DeliveryState{patchbay.DeliverySucceeded}, Link: id, Limit: outlookLatest,
	})
	if err != nil {
		return 0, storeError("reading a link's deliveries", err)
	}
	sum, n := time.Duration(0), 0
	for i := range found {
		d, err := s.e.o.Store.Delivery(ctx, found[i].ID)
		if err != nil {
			continue // it went meanwhile
		}
		for j := range d.Attempts {
			if a := &d.Attempts[j]; a.Verdict == patchbay.VerdictDelivered {
				sum, n = sum+time.Duration(max(a.DurationMS, 1))*time.Millisecond, n+1
			}
		}
	}
	if n == 0 {
		return 0, nil
	}
	return sum / time.Duration(n), nil
}
