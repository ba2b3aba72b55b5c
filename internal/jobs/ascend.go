package jobs

import (
	"context"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// Events are listed newest first, but should be sent again oldest first. So they are looked through in spans of time
// that hold about a step of them each; how long such a span is, is learnt on the way.

const (
	// spanFirst is the first guess, spanLeast what identifiers can tell apart.
	spanFirst = time.Minute
	spanLeast = time.Millisecond
	spanMost  = 10 * 365 * 24 * time.Hour
)

// ascend returns the next events, oldest first and at most a step of them, and moves the cursor past them. done says
// that there are no more.
func (s *Service) ascend(ctx context.Context, w *work) (events []store.EventRecord, done bool, err error) {
	if w.span == 0 {
		w.span = spanFirst
	}
	filter, some := s.eventFilter(w)
	if !some {
		w.cursor.At = w.cursor.Upper
		return nil, true, nil
	}
	for w.cursor.At < w.cursor.Upper {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		from := patchbay.EventID(w.cursor.At).Time()
		filter.Since, filter.Until, filter.Limit = from, from.Add(w.span), stepSize+1
		found, err := s.o.Store.Events(ctx, filter)
		if err != nil {
			return nil, false, storeError("looking for events", err)
		}
		if len(found) > stepSize && w.span > spanLeast {
			// They are too many: so long did the newest of them take.
			took := found[0].ID.Time().Sub(found[len(found)-1].ID.Time())
			w.span = max(spanLeast, min(w.span/2, took))
			continue
		}
		end := patchbay.FirstIDAt(filter.Until)
		if len(found) > stepSize {
			if found, end, err = s.moment(ctx, w, filter, end); err != nil {
				return nil, false, err
			}
		}
		at := w.cursor.At
		w.cursor.At = min(end, w.cursor.Upper)
		if len(found) < stepSize/4 {
			w.span = min(4*w.span, spanMost)
		}
		found = slices.DeleteFunc(found, func(r store.EventRecord) bool { return int64(r.ID) < at })
		if len(found) > 0 {
			slices.Reverse(found)
			return found, w.cursor.At >= w.cursor.Upper, nil
		}
	}
	return nil, true, nil
}

// moment returns the first step of the events of one millisecond, in which there are more, and where to go on.
func (s *Service) moment(ctx context.Context, w *work, filter store.EventFilter, end int64) ([]store.EventRecord, int64, error) {
	var all []store.EventRecord
	for {
		found, err := s.o.Store.Events(ctx, filter)
		if err != nil {
			return nil, 0, storeError("looking for events", err)
		}
		for i := range found {
			if int64(found[i].ID) >= w.cursor.At {
				all = append(all, found[i])
			}
		}
		if len(all) > stepSize {
			all = all[len(all)-stepSize:] // the oldest; of the others nothing is kept meanwhile
			end = int64(all[0].ID) + 1
		}
		if len(found) < filter.Limit {
			return all, end, nil
		}
		filter.Before = found[len(found)-1].ID
	}
}

// eventFilter is the work's filter for events; false when no type is selected.
func (s *Service) eventFilter(w *work) (store.EventFilter, bool) {
	f := store.EventFilter{Within: w.within(), Before: patchbay.EventID(w.cursor.Upper)}
	if w.action == Recover && w.filter.Link != 0 && w.filter.Scope == "" {
		if l, _, ok := s.o.Links.Describe(w.filter.Link); ok && f.Within.Contains(l.Scope) {
			f.Within = l.Scope // it sees nothing else
		}
	}
	var ok bool
	f.Types, ok = s.typesOf(w.filter.Type)
	return f, ok
}

// typesOf returns the types that a filter's pattern selects, nil for all; false when it selects none.
func (s *Service) typesOf(pattern string) ([]string, bool) {
	if pattern == "" {
		return nil, true
	}
	p := patchbay.Pattern(pattern)
	if types := s.o.Types(p); len(types) > 0 {
		return types, true
	}
	return []string{pattern}, p.Literal() // a type that has left the catalog may still have events
}
