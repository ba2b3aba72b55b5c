package stats

import (
	"context"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// oldestFor is how long a look at the queue is good for, so that many who ask cost one look.
	oldestFor = 5 * time.Second
	// oldestShare is how many times as long as it took a look is good for: many long backlogs take seconds to count.
	oldestShare = 20
	// oldestMost is how many links are looked at, oldestShown how many an answer has.
	oldestMost  = 100_000
	oldestShown = 50
)

// Lanes counts links by what their lanes are doing.
type Lanes struct {
	// Idle have nothing to send, Working do and nothing is wrong. Failing had a failure last; Open wait for their
	// breaker, Probing try whether it may close; Throttled wait because the partner or their rate says so; Held are
	// paused or disabled.
	Idle      int `json:"idle"`
	Working   int `json:"working"`
	Failing   int `json:"failing"`
	Open      int `json:"open"`
	Probing   int `json:"probing"`
	Throttled int `json:"throttled"`
	Held      int `json:"held"`
}

// Live is what goes on in this process and its database.
type Live struct {
	// InFlight counts attempts under way, Ready deliveries that wait in memory, Queued those that wait in the store.
	InFlight, Ready int
	Queued          int64
	Lanes           Lanes
	Database        Database
}

// Database describes the store.
type Database struct {
	Engine string `json:"engine"`
	Bytes  int64  `json:"bytes"`
	// Commits counts transactions since the start, Committed what they held.
	Commits   int64 `json:"commits"`
	Committed int64 `json:"committed"`
	// CommitMS are quantiles of how long transactions took since the start, in milliseconds; nil before the first. The
	// service fills it in.
	CommitMS *Quantiles `json:"commit_ms"`
}

// Backlog is what waits for one link.
type Backlog struct {
	Link   patchbay.LinkID  `json:"link"`
	Oldest patchbay.EventID `json:"oldest_event"`
	At     time.Time        `json:"oldest_at"`
	// Waiting is counted up to 10,000.
	Waiting int `json:"waiting"`
}

// Queue is what waits, and what is being sent.
type Queue struct {
	Waiting  int64 `json:"waiting"`
	Ready    int   `json:"ready"`
	InFlight int   `json:"in_flight"`
}

// Now is what is going on.
type Now struct {
	At time.Time `json:"at"`
	// Queue, Lanes and Store are of the whole installation: they are nil for callers who see a part of it.
	Queue *Queue    `json:"queue,omitempty"`
	Lanes *Lanes    `json:"lanes,omitempty"`
	Store *Database `json:"store,omitempty"`
	// Oldest are the links that the caller sees for which something waits, that which has waited longest first.
	Oldest []Backlog `json:"oldest"`
}

// oldest remembers a look at the queue.
type oldest struct {
	mu   sync.Mutex
	at   time.Time
	good time.Duration
	list []store.Backlog
}

// commits counts the database's transactions by how long they took.
type commits struct {
	mu     sync.Mutex
	counts [store.Buckets]int64
}

// Committed counts a transaction of the database. It is quick, as its caller is.
func (s *Service) Committed(took time.Duration) {
	s.commits.mu.Lock()
	s.commits.counts[store.Bucket(took)]++
	s.commits.mu.Unlock()
}

// quantiles returns how long transactions took; nil before the first.
func (c *commits) quantiles() *Quantiles {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := store.Latency{}
	for bucket, n := range c.counts {
		if n > 0 {
			l[bucket] = n
		}
	}
	return quantiles(l)
}

// Now says what is going on, as far as the caller sees it.
func (s *Service) Now(ctx context.Context, c *access.Caller) (*Now, error) {
	out := &Now{At: s.o.Now(), Oldest: []Backlog{}}
	list, err := s.backlogs(ctx)
	if err != nil {
		return nil, patchbay.Internal("looking at the queue", err)
	}
	for _, b := range list {
		if len(out.Oldest) == oldestShown {
			break
		}
		if s.sees(c, b.Link) {
			out.Oldest = append(out.Oldest, Backlog{Link: b.Link, Oldest: b.Oldest, At: b.Oldest.Time(), Waiting: b.Count})
		}
	}
	if !c.Sees("") || s.o.Live == nil {
		return out, nil
	}
	live, err := s.o.Live(ctx)
	if err != nil {
		return nil, patchbay.Internal("asking how the database is", err)
	}
	out.Queue = &Queue{Waiting: live.Queued, Ready: live.Ready, InFlight: live.InFlight}
	live.Database.CommitMS = s.commits.quantiles()
	out.Lanes, out.Store = &live.Lanes, &live.Database
	return out, nil
}

// OldestWaiting returns when the event was received that has waited longest; false when nothing waits in the queue.
func (s *Service) OldestWaiting(ctx context.Context) (time.Time, bool, error) {
	list, err := s.backlogs(ctx)
	if err != nil || len(list) == 0 {
		return time.Time{}, false, err
	}
	return list[0].Oldest.Time(), true, nil
}

// sees reports whether a link exists for the caller. Of one that was just deleted only those are told who see everything.
func (s *Service) sees(c *access.Caller, link patchbay.LinkID) bool {
	if c.Sees("") || s.o.ScopeOf == nil {
		return c.Sees("")
	}
	scope, ok := s.o.ScopeOf(link)
	return ok && c.Sees(scope)
}

// backlogs looks at the queue, at most once in a while.
func (s *Service) backlogs(ctx context.Context) ([]store.Backlog, error) {
	s.oldest.mu.Lock()
	defer s.oldest.mu.Unlock()
	now := s.o.Now()
	if age := now.Sub(s.oldest.at); s.oldest.list != nil && age >= 0 && age < s.oldest.good {
		return s.oldest.list, nil
	}
	began := time.Now()
	list, err := s.o.Store.OldestWaiting(ctx, oldestMost)
	if err != nil {
		return nil, err
	}
	if list == nil {
		list = []store.Backlog{}
	}
	s.oldest.at, s.oldest.good, s.oldest.list = now, max(oldestFor, oldestShare*time.Since(began)), list
	return list, nil
}
