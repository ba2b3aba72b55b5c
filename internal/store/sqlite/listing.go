package sqlite

import (
	"slices"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// listing walks deliveries from the newest to the oldest. What it walks depends on the filter: the deliveries of one
// event, those in the queue or in the indexes of those that ended badly, or all of them. What the history knows
// (link, scope, integration) lets it jump.
type listing struct {
	s      *Store
	f      *store.DeliveryFilter
	c      *conn
	search *search
	before int64 // the next delivery is below
	from   int64 // events before are not wanted

	sources []*source // nil: all deliveries are walked
	event   *store.EventRecord
	left    int   // deliveries of event that are not walked yet
	events  *stmt // all events, when there is nothing to search by
}

// source yields identifiers of deliveries in descending order.
type source struct {
	// fill returns the next identifiers below before; none means that there are no more.
	fill func(before int64) ([]int64, error)
	buf  []int64
	done bool
}

// sourceStep is how many identifiers a source reads at a time.
const sourceStep = 64

// next returns the highest identifier below before.
func (x *source) next(before int64) (int64, bool, error) {
	for {
		for len(x.buf) > 0 && x.buf[0] >= before {
			x.buf = x.buf[1:]
		}
		if len(x.buf) > 0 {
			return x.buf[0], true, nil
		}
		if x.done {
			return 0, false, nil
		}
		var err error
		if x.buf, err = x.fill(before); err != nil {
			return 0, false, err
		}
		x.done = len(x.buf) == 0
	}
}

func (s *Store) newListing(f *store.DeliveryFilter) *listing {
	l := &listing{s: s, f: f, before: forever, search: newSearch(&s.history, false)}
	if f.Before != 0 {
		l.before = int64(f.Before)
	}
	if !f.Since.IsZero() {
		l.from = patchbay.FirstIDAt(f.Since)
	}
	l.search.over(f.Link)
	l.search.overAny(f.Links)
	l.search.anyOf(typeWord, f.Types...)
	l.search.within(f.Within)
	if f.Integration != "" {
		l.search.anyOf(integrationWord, f.Integration)
	}
	return l
}

// start decides what is walked. The search must begin before anything is read.
func (l *listing) start(c *conn) (err error) {
	l.c = c
	if l.f.Event != 0 {
		l.event, err = readBrief(c, l.f.Event)
		if l.event != nil {
			l.left = l.countBelow(l.event)
		}
		return err
	}
	unsettled := l.s.unsettledFrom() // before anything is read, too: later it may have moved past what this read sees
	if !l.search.all() {
		l.search.start(c)
	}
	states := l.f.States
	if len(states) == 0 || slices.Contains(states, patchbay.DeliverySucceeded) {
		if l.search.all() {
			l.events, err = c.prepare(briefsBefore)
			if err == nil {
				l.events.bind(1, l.before).bind(2, l.from)
			}
		}
		return err
	}
	waiting := slices.Contains(states, patchbay.DeliveryPending) || slices.Contains(states, patchbay.DeliveryHeld)
	for _, state := range states {
		switch state {
		case patchbay.DeliveryFailed, patchbay.DeliverySkipped, patchbay.DeliveryCancelled:
			l.sources = append(l.sources, &source{fill: l.ended(state)})
		}
	}
	// What a lane has dropped is cancelled while it still stands in the queue, or is in memory.
	cancelled := slices.Contains(states, patchbay.DeliveryCancelled)
	if waiting || cancelled && len(l.s.lanes.dropping()) > 0 {
		queue, err := l.queue()
		if err != nil {
			return err
		}
		l.sources = append(l.sources, queue)
	}
	if waiting || cancelled && l.s.lanes.highestDrop() > unsettled {
		l.sources = append(l.sources, &source{fill: l.unsettled(unsettled)})
	}
	return nil
}

func (l *listing) end() {
	l.search.end()
	if l.events != nil {
		l.events.reset()
	}
}

// next returns the next delivery that may be wanted; nil at the end.
func (l *listing) next() (*patchbay.Delivery, error) {
	if l.sources != nil {
		return l.nextOfSources()
	}
	for l.left == 0 {
		e, err := l.nextEvent()
		if err != nil || e == nil {
			return nil, err
		}
		l.event, l.left = e, l.countBelow(e)
	}
	l.left--
	return l.s.delivery(l.c, l.event, l.left)
}

// countBelow is how many deliveries of an event lie below before.
func (l *listing) countBelow(e *store.EventRecord) int {
	n := (l.before - 1 - int64(e.ID)) / patchbay.IDStep
	return int(max(0, min(n, int64(len(e.Targets)))))
}

// nextEvent returns the next event with deliveries; nil at the end.
func (l *listing) nextEvent() (*store.EventRecord, error) {
	if l.f.Event != 0 {
		return nil, nil
	}
	if l.events != nil {
		row, err := l.events.step()
		if err != nil || !row {
			return nil, err
		}
		return scanBrief(l.events)
	}
	for {
		at := l.before - 1
		if l.event != nil {
			at = int64(l.event.ID) - 1
		}
		id, ok, err := l.search.le(at)
		if err != nil || !ok || id < l.from {
			return nil, err
		}
		e, err := readBrief(l.c, patchbay.EventID(id))
		if err != nil || e != nil {
			return e, err
		}
		l.event = &store.EventRecord{Event: patchbay.Event{ID: patchbay.EventID(id)}} // it was deleted
	}
}

// nextOfSources takes the highest of what the sources have, and jumps to what the search allows.
func (l *listing) nextOfSources() (*patchbay.Delivery, error) {
	for {
		highest := int64(0)
		for _, x := range l.sources {
			id, ok, err := x.next(l.before)
			if err != nil {
				return nil, err
			}
			if ok {
				highest = max(highest, id)
			}
		}
		if highest <= l.from {
			return nil, nil
		}
		if !l.search.all() {
			event, ok, err := l.search.le(highest - 1)
			if err != nil || !ok {
				return nil, err
			}
			last, err := l.lastOf(event)
			if err != nil {
				return nil, err
			}
			if highest > last {
				l.before = last + 1
				continue
			}
		}
		l.before = highest
		e, err := eventOf(l.c, patchbay.DeliveryID(highest))
		if err != nil {
			return nil, err
		}
		if e != nil {
			return l.s.delivery(l.c, e, int(highest-int64(e.ID))/patchbay.IDStep-1)
		}
	}
}

// lastOf returns the highest delivery of an event.
func (l *listing) lastOf(event int64) (int64, error) {
	st, err := l.c.prepare("SELECT targets FROM event WHERE id = ?")
	if err != nil {
		return 0, err
	}
	defer st.reset()
	row, err := st.bind(1, event).step()
	if err != nil || !row {
		return event, err
	}
	return int64(patchbay.DeliveryAt(patchbay.EventID(event), countTargets(st.raw(0)))), nil
}

const (
	endedAll  = "SELECT delivery FROM attempt INDEXED BY attempt_ended WHERE state = ? AND state > 1 AND delivery < ? ORDER BY delivery DESC LIMIT ?"
	endedLink = "SELECT delivery FROM attempt INDEXED BY attempt_ended_link WHERE state = ? AND state > 1 AND delivery < ? AND link = ? ORDER BY delivery DESC LIMIT ?"
	queueAll  = "SELECT delivery FROM queue NOT INDEXED WHERE delivery < ? ORDER BY delivery DESC LIMIT ?"
	queueLink = "SELECT delivery FROM queue INDEXED BY queue_due WHERE link = ? LIMIT ?"
	freshAll  = "SELECT id, targets FROM event WHERE id < ? AND id >= ? ORDER BY id DESC LIMIT ?"
)

// ended yields what ended in a state other than success.
func (l *listing) ended(state patchbay.DeliveryState) func(int64) ([]int64, error) {
	return func(before int64) ([]int64, error) {
		sql := endedAll
		if l.f.Link != 0 {
			sql = endedLink
		}
		st, err := l.c.prepare(sql)
		if err != nil {
			return nil, err
		}
		st.bind(1, stateCode(state)).bind(2, before).bind(3, sourceStep)
		if l.f.Link != 0 {
			st.bind(3, int64(l.f.Link)).bind(4, sourceStep)
		}
		return columnOf(st)
	}
}

// queue yields what stands in the queue.
func (l *listing) queue() (*source, error) {
	if l.f.Link != 0 {
		st, err := l.c.prepare(queueLink)
		if err != nil {
			return nil, err
		}
		most := l.s.o.limits.queueSorted
		ids, err := columnOf(st.bind(1, int64(l.f.Link)).bind(2, int64(most)))
		if err != nil {
			return nil, err
		}
		if len(ids) < most {
			slices.SortFunc(ids, descending)
			return &source{buf: ids, done: true}, nil
		}
	}
	return &source{fill: func(before int64) ([]int64, error) {
		st, err := l.c.prepare(queueAll)
		if err != nil {
			return nil, err
		}
		return columnOf(st.bind(1, before).bind(2, sourceStep))
	}}, nil
}

// unsettled yields all deliveries of the events from a floor on: some of them are in memory only.
func (l *listing) unsettled(floor int64) func(int64) ([]int64, error) {
	return func(before int64) ([]int64, error) {
		for top := before; ; {
			st, err := l.c.prepare(freshAll)
			if err != nil {
				return nil, err
			}
			st.bind(1, top).bind(2, floor).bind(3, sourceStep)
			var out []int64
			rows := 0
			for {
				row, err := st.step()
				if err != nil {
					st.reset()
					return nil, err
				}
				if !row {
					break
				}
				rows++
				top = st.int(0)
				for i := countTargets(st.raw(1)); i > 0; i-- {
					if d := int64(patchbay.DeliveryAt(patchbay.EventID(top), i)); d < before {
						out = append(out, d)
					}
				}
			}
			st.reset()
			if len(out) > 0 || rows == 0 {
				return out, nil
			}
		}
	}
}

// columnOf returns the first column of all rows.
func columnOf(st *stmt) ([]int64, error) {
	defer st.reset()
	var out []int64
	for {
		row, err := st.step()
		if err != nil || !row {
			return out, err
		}
		out = append(out, st.int(0))
	}
}
