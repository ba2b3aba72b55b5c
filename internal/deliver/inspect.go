package deliver

import (
	"context"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
)

// Row is a delivery in a list, with how it went last.
type Row struct {
	View
	// Last is the last attempt, or decision without one (then it has no verdict); nil when there has been none. It has
	// neither request nor answer.
	Last *AttemptView

	sees bool
}

// Kept is a delivery to an integration that keeps what it is sent, with what it kept; "" where that is no longer there, or
// the caller does not see the link.
type Kept struct {
	Row
	Body string
}

// Inspection is one delivery with everything that there is to say about it.
type Inspection struct {
	View
	// Decisions are what was decided without an attempt, in order.
	Decisions []Decision
	// RetriesLeft is how many retries the link's schedule has after the next attempt; nil when there is no next attempt.
	RetriesLeft *int
}

// Decision says that a delivery was cancelled, skipped or given up without an attempt.
type Decision struct {
	At  time.Time
	Why string
	// After is how many attempts had been made.
	After int
}

// Rows is List with how each delivery went last. Of deliveries over links that the caller does not see it says that there
// was an attempt, but not what the partner said; a portal does not list them at all.
func (s *Service) Rows(ctx context.Context, c *access.Caller, q Query) ([]Row, bool, error) {
	found, more, err := s.list(ctx, c, q)
	if err != nil {
		return nil, false, err
	}
	ids := make([]patchbay.DeliveryID, len(found))
	for i := range found {
		ids[i] = found[i].ID
	}
	last, err := s.e.o.Store.LastAttempts(ctx, ids)
	if err != nil {
		return nil, false, patchbay.Internal("reading the last attempts of deliveries", err)
	}
	rows := make([]Row, 0, len(found))
	sees := map[patchbay.LinkID]bool{}
	for i := range found {
		d := &found[i]
		seen, known := sees[d.Link]
		if !known {
			seen = s.sees(ctx, c, d)
			sees[d.Link] = seen
		}
		if c.Portal && !seen {
			continue
		}
		row := Row{View: s.view(d), sees: seen}
		if a, ok := last[d.ID]; ok {
			v := ViewAttempt(&a)
			v.ResponseBody = nil
			if !seen {
				v.Error = nil
			}
			row.Last = &v
		}
		rows = append(rows, row)
	}
	return rows, more, nil
}

// Kept is Rows with what was answered to each delivery last: that is where an integration that keeps what it is sent puts it.
func (s *Service) Kept(ctx context.Context, c *access.Caller, q Query) ([]Kept, bool, error) {
	rows, more, err := s.Rows(ctx, c, q)
	if err != nil {
		return nil, false, err
	}
	var ids []patchbay.DeliveryID
	for i := range rows {
		if rows[i].sees {
			ids = append(ids, rows[i].ID)
		}
	}
	bodies, err := s.e.o.Store.Answers(ctx, ids)
	if err != nil {
		return nil, false, patchbay.Internal("reading what deliveries were answered", err)
	}
	out := make([]Kept, len(rows))
	for i := range rows {
		out[i] = Kept{Row: rows[i], Body: bodies[rows[i].ID]}
	}
	return out, more, nil
}

// Inspect returns all there is to say about one delivery.
func (s *Service) Inspect(ctx context.Context, c *access.Caller, id patchbay.DeliveryID) (*Inspection, error) {
	d, err := s.find(ctx, c, access.Read, id)
	if err != nil {
		return nil, err
	}
	out := &Inspection{View: s.one(ctx, c, d), RetriesLeft: s.e.retriesLeft(d)}
	n := 0
	for i := range d.Attempts {
		if a := &d.Attempts[i]; a.Verdict == "" {
			out.Decisions = append(out.Decisions, Decision{At: a.At, Why: a.Error, After: n})
		} else {
			n++
		}
	}
	return out, nil
}

// retriesLeft is how much of the schedule is left after the next attempt of a delivery; nil when there is none, or when
// nobody knows the link any more.
func (e *Engine) retriesLeft(d *patchbay.Delivery) *int {
	if d.State.Final() {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lanes[d.Link]
	if l == nil {
		return nil
	}
	schedule := patchbay.DefaultSchedule()
	if p := l.link.Retry; p != nil && p.Schedule != nil {
		schedule = p.Schedule
	}
	left := max(0, len(schedule)-d.Used)
	return &left
}
