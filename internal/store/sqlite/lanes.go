package sqlite

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// lanes holds what is saved of every lane, because the state of any delivery depends on what its lane has dropped.
type lanes struct {
	mu sync.RWMutex
	m  map[patchbay.LinkID]*lane
}

type lane struct {
	store.Lane
	// dropping says that the queue may hold rows that are dropped; Prune removes them.
	dropping bool
	// from is a due time before which every row of this link is dropped, so that a claim does not walk over a
	// million of them again and again. generation counts what may have lowered it.
	from       int64
	generation int
}

func (l *lanes) load(c *conn) error {
	l.m = make(map[patchbay.LinkID]*lane)
	st, err := c.prepare("SELECT link, drop_before, failing_since, failures, open_until FROM lane")
	if err != nil {
		return err
	}
	defer st.reset()
	for {
		row, err := st.step()
		if err != nil || !row {
			return err
		}
		x := &lane{Lane: store.Lane{
			Link: patchbay.LinkID(st.int(0)), DropBefore: patchbay.DeliveryID(st.int(1)),
			FailingSince: st.time(2), Failures: int(st.int(3)), OpenUntil: st.time(4),
		}, from: math.MinInt64}
		x.dropping = x.DropBefore != 0
		l.m[x.Link] = x
	}
}

// dropped returns the identifier below which a link's waiting deliveries are cancelled, 0 when nothing is.
func (l *lanes) dropped(link patchbay.LinkID) patchbay.DeliveryID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if x := l.m[link]; x != nil {
		return x.DropBefore
	}
	return 0
}

// drop is what a claim must know of what a lane has dropped.
type drop struct {
	before     patchbay.DeliveryID
	from       int64
	generation int
}

func (l *lanes) drop(link patchbay.LinkID) drop {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if x := l.m[link]; x != nil && x.dropping {
		return drop{x.DropBefore, x.from, x.generation}
	}
	return drop{from: math.MinInt64}
}

// learn notes that a claim found nothing before a due time, unless something has come meanwhile.
func (l *lanes) learn(link patchbay.LinkID, d drop, from int64) {
	if d.before == 0 || from <= d.from {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.m[link]; x != nil && x.generation == d.generation {
		x.from = from
	}
}

// added notes that a row is put in the queue, and reports whether that matters. It is called before the row is
// committed and, when it matters, after: a claim in between may learn what is no longer true.
func (l *lanes) added(link patchbay.LinkID, delivery patchbay.DeliveryID, due time.Time) bool {
	l.mu.RLock()
	x := l.m[link]
	matters := x != nil && (x.dropping || delivery < x.DropBefore)
	l.mu.RUnlock()
	if !matters {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	x.generation++
	x.from = min(x.from, due.UnixMicro())
	x.dropping = true // it may be one that is dropped as it comes
	return true
}

// settled notes that no dropped row of a link is left.
func (l *lanes) settled(link patchbay.LinkID, generation int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.m[link]; x != nil && x.generation == generation {
		x.dropping = false
		x.from = math.MinInt64
	}
}

// dropping returns the lanes whose dropped rows may not all be removed.
func (l *lanes) dropping() []lane {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []lane
	for _, x := range l.m {
		if x.dropping {
			out = append(out, *x)
		}
	}
	return out
}

// highestDrop returns the highest identifier below which any lane has dropped anything.
func (l *lanes) highestDrop() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	highest := int64(0)
	for _, x := range l.m {
		highest = max(highest, int64(x.DropBefore))
	}
	return highest
}

// forget removes lanes.
func (l *lanes) forget(links []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range links {
		delete(l.m, patchbay.LinkID(id))
	}
}

// SaveLane keeps a lane; see store.Queue.
func (s *Store) SaveLane(ctx context.Context, l store.Lane) error {
	l.FailingSince, l.OpenUntil = micro(l.FailingSince), micro(l.OpenUntil)
	return s.do(ctx, func(c *conn) error {
		l.DropBefore = max(l.DropBefore, s.lanes.dropped(l.Link))
		st, err := c.prepare(`INSERT OR REPLACE INTO lane (link, drop_before, failing_since, failures, open_until)
			VALUES (?, ?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		st.bind(1, int64(l.Link)).bind(2, int64(l.DropBefore)).bindTime(3, l.FailingSince)
		return st.bind(4, int64(l.Failures)).bindTime(5, l.OpenUntil).run()
	}, func() {
		s.lanes.mu.Lock()
		defer s.lanes.mu.Unlock()
		x := s.lanes.m[l.Link]
		if x == nil {
			x = &lane{}
			s.lanes.m[l.Link] = x
		}
		if l.DropBefore > x.DropBefore {
			x.dropping, x.from = true, math.MinInt64
			x.generation++
		}
		x.Lane = l
	})
}

// micro rounds a time to what the database keeps.
func micro(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}

// Lanes returns every lane; see store.Queue.
func (s *Store) Lanes(context.Context) ([]store.Lane, error) {
	if s.isClosed() {
		return nil, store.ErrClosed
	}
	s.lanes.mu.RLock()
	defer s.lanes.mu.RUnlock()
	out := make([]store.Lane, 0, len(s.lanes.m))
	for _, x := range s.lanes.m {
		out = append(out, x.Lane)
	}
	return out, nil
}
