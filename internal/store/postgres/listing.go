package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// listing walks deliveries from the newest to the oldest. What it walks depends on the filter: the deliveries of one
// event, those in the queue or in the indexes of those that ended badly, or all of them. What the history knows (link,
// scope, integration) lets it jump.
type listing struct {
	ctx    context.Context
	tx     pgx.Tx
	f      *store.DeliveryFilter
	search *search
	before int64 // the next delivery is below
	from   int64 // events before are not wanted

	sources []*source   // what is walked, when it is not all deliveries
	all     bool        // all deliveries are walked
	below   int64       // then: the next event is below
	ended   bool        // there is no event left
	waiting []candidate // deliveries of events that were read, descending
}

const (
	// listingLeast and listingMost bound how many deliveries are looked at in one round trip.
	listingLeast = 16
	listingMost  = 1000
	// sourceStep is how many identifiers a source reads at a time.
	sourceStep = 256
)

// source yields identifiers of deliveries in descending order.
type source struct {
	// fill returns the next identifiers below before; none means that there are no more.
	fill func(before int64) ([]int64, error)
	buf  []int64
	done bool
}

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

// newListing decides what is walked.
func newListing(ctx context.Context, tx pgx.Tx, f *store.DeliveryFilter) (*listing, error) {
	l := &listing{ctx: ctx, tx: tx, f: f, before: forever, search: newSearch(false)}
	if f.Before != 0 {
		l.before = int64(f.Before)
	}
	l.below = l.before
	if !f.Since.IsZero() {
		l.from = patchbay.FirstIDAt(f.Since)
	}
	if f.Event != 0 {
		l.ended = true
		all, err := deliveriesOf(ctx, tx, int64(f.Event))
		slices.Reverse(all)
		l.waiting = slices.DeleteFunc(all, func(c candidate) bool { return c.id >= l.before })
		return l, err
	}
	l.search.over(f.Link)
	l.search.overAny(f.Links)
	l.search.anyOf(typeWord, f.Types...)
	l.search.within(f.Within)
	if f.Integration != "" {
		l.search.anyOf(integrationWord, f.Integration)
	}
	if !l.search.all() {
		if err := l.search.start(ctx, tx, l.before, l.from); err != nil {
			return nil, err
		}
	}
	l.all = len(f.States) == 0 || slices.Contains(f.States, patchbay.DeliverySucceeded)
	if l.all {
		return l, nil
	}
	return l, l.addSources()
}

// addSources chooses what to walk by the states that are wanted.
func (l *listing) addSources() error {
	waiting := slices.Contains(l.f.States, patchbay.DeliveryPending) || slices.Contains(l.f.States, patchbay.DeliveryHeld)
	for _, state := range l.f.States {
		switch state {
		case patchbay.DeliveryFailed, patchbay.DeliverySkipped, patchbay.DeliveryCancelled:
			l.addSource(l.endedIn(state))
		}
	}
	// What a lane has dropped is cancelled while it still stands in the queue, or is in memory.
	dropped := false
	if slices.Contains(l.f.States, patchbay.DeliveryCancelled) {
		if err := l.tx.QueryRow(l.ctx, "SELECT EXISTS (SELECT FROM lane WHERE drop_before > 0)").Scan(&dropped); err != nil {
			return err
		}
	}
	switch {
	case waiting && l.f.Link != 0:
		l.addSource(l.column(sqlQueueOf, int64(l.f.Link)))
	case waiting:
		l.addSource(l.column(sqlQueueAll))
	case dropped:
		l.addSource(l.column(sqlQueueDropped))
	}
	if !waiting && !dropped {
		return nil
	}
	return l.addUnsettled()
}

func (l *listing) addSource(fill func(int64) ([]int64, error)) {
	l.sources = append(l.sources, &source{fill: fill})
}

const (
	sqlEnded     = "SELECT delivery FROM attempt WHERE state = $3 AND state > 1 AND delivery < $1 ORDER BY delivery DESC LIMIT $2"
	sqlEndedLink = "SELECT delivery FROM attempt WHERE state = $3 AND state > 1 AND delivery < $1 AND link = $4 ORDER BY delivery DESC LIMIT $2"
	sqlQueueAll  = "SELECT delivery FROM queue WHERE delivery < $1 ORDER BY delivery DESC LIMIT $2"
	sqlQueueOf   = "SELECT delivery FROM queue WHERE link = $3 AND delivery < $1 ORDER BY delivery DESC LIMIT $2"
	// Few lanes have dropped something that still stands in the queue.
	sqlQueueDropped = `SELECT q.delivery FROM lane l
		CROSS JOIN LATERAL (SELECT delivery FROM queue WHERE link = l.link AND delivery < least(l.drop_before, $1)
			AND coalesce(spared, 0) < l.drop_before ORDER BY delivery DESC LIMIT $2) q
		WHERE l.drop_before > 0 ORDER BY q.delivery DESC LIMIT $2`
	sqlFloors = "SELECT n.number, coalesce(f.event, 0) FROM node n LEFT JOIN floor f USING (number) WHERE n.state <> 'gone'"
)

// column makes what fills a source from a query, whose first parameters are the identifier below which it looks and how
// many it returns.
func (l *listing) column(sql string, args ...any) func(int64) ([]int64, error) {
	return func(before int64) ([]int64, error) {
		rows, err := l.tx.Query(l.ctx, sql, append([]any{before, sourceStep}, args...)...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[int64])
	}
}

// endedIn yields what ended in a state other than success.
func (l *listing) endedIn(state patchbay.DeliveryState) func(int64) ([]int64, error) {
	if l.f.Link != 0 {
		return l.column(sqlEndedLink, stateCode(state), int64(l.f.Link))
	}
	return l.column(sqlEnded, stateCode(state))
}

// addUnsettled walks the deliveries of events that are above the floor of the node that accepted them: some of them are
// nowhere but in that node's memory.
func (l *listing) addUnsettled() error {
	rows, err := l.tx.Query(l.ctx, sqlFloors)
	if err != nil {
		return err
	}
	// Nodes with about the same floor are walked together, the others each alone: one that has slept for long must not
	// have all the others' events walked.
	floors := make(map[int64][]int32)
	var (
		number int32
		floor  int64
	)
	_, err = pgx.ForEachRow(rows, []any{&number, &floor}, func() error {
		minute := floorMinute(floor)
		floors[minute] = append(floors[minute], number)
		return nil
	})
	for floor, numbers := range floors {
		l.addSource(l.fresh(floor, numbers))
	}
	return err
}

// floorMinute rounds an identifier down to the minute.
func floorMinute(id int64) int64 {
	return patchbay.FirstIDAt(patchbay.EventID(id).Time().Truncate(time.Minute))
}

// fresh yields all deliveries of some nodes' events from a floor on.
func (l *listing) fresh(floor int64, numbers []int32) func(int64) ([]int64, error) {
	var (
		below   = int64(forever)
		waiting []candidate
		ended   bool
	)
	return func(before int64) ([]int64, error) {
		below = min(below, before)
		for {
			var ready []candidate
			ready, waiting = ripe(waiting, below, before, ended)
			if len(ready) > 0 || ended {
				ids := make([]int64, len(ready))
				for i, c := range ready {
					ids[i] = c.id
				}
				return ids, nil
			}
			rows, err := l.tx.Query(l.ctx, sqlFreshBefore, below, floor, sourceStep, numbers)
			if err != nil {
				return nil, err
			}
			page, err := pgx.CollectRows(rows, scanBrief)
			if err != nil {
				return nil, err
			}
			waiting, below = expand(waiting, page, below)
			ended = len(page) < sourceStep
		}
	}
}

// expand adds the deliveries of events, which descend, and returns below which the next events are.
func expand(waiting []candidate, events []brief, below int64) ([]candidate, int64) {
	for i := range events {
		below = events[i].id
		for j := range events[i].targets {
			waiting = append(waiting, events[i].candidate(j))
		}
	}
	slices.SortFunc(waiting, func(a, b candidate) int { return descending(a.id, b.id) })
	return waiting, below
}

// ripe divides deliveries into those that no delivery of an event below can overtake, and the others. Those at or above
// before are left out.
func ripe(waiting []candidate, below, before int64, ended bool) (ready, rest []candidate) {
	for len(waiting) > 0 && waiting[0].id >= before {
		waiting = waiting[1:]
	}
	if ended {
		return waiting, nil
	}
	n, _ := slices.BinarySearchFunc(waiting, below+fanSpan, func(c candidate, bound int64) int { return descending(c.id, bound) })
	return waiting[:n], waiting[n:]
}

// next returns some more deliveries that may be wanted; none at the end.
func (l *listing) next(want int) ([]candidate, error) {
	if l.sources != nil {
		return l.nextOfSources(want)
	}
	for {
		ready, rest := ripe(l.waiting, l.below, l.before, l.ended)
		if len(ready) >= want || len(ready) > 0 && l.ended {
			n := min(want, len(ready))
			l.before = ready[n-1].id
			l.waiting = slices.Concat(ready[n:], rest)
			return ready[:n], nil
		}
		if l.ended {
			return nil, nil
		}
		page, err := l.nextEvents(want)
		if err != nil {
			return nil, err
		}
		l.waiting, l.below = expand(l.waiting, page, l.below)
	}
}

// nextEvents reads the next events with deliveries.
func (l *listing) nextEvents(want int) ([]brief, error) {
	if l.search.all() {
		rows, err := l.tx.Query(l.ctx, sqlBriefsBefore, l.below, l.from, want)
		if err != nil {
			return nil, err
		}
		page, err := pgx.CollectRows(rows, scanBrief)
		l.ended = len(page) < want
		return page, err
	}
	var ids []int64
	for at := l.below - 1; len(ids) < want; {
		id, ok, err := l.search.le(at)
		if err != nil {
			return nil, err
		}
		if l.ended = !ok || id < l.from; l.ended {
			break
		}
		ids, at, l.below = append(ids, id), id-1, id
	}
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := l.tx.Query(l.ctx, sqlBriefs, ids)
	if err != nil {
		return nil, err
	}
	page, err := pgx.CollectRows(rows, scanBrief)
	slices.SortFunc(page, func(a, b brief) int { return descending(a.id, b.id) })
	return page, err
}

// nextOfSources takes the highest of what the sources have, and jumps to what the search allows.
func (l *listing) nextOfSources(want int) ([]candidate, error) {
	for !l.ended {
		var ids []int64
		for len(ids) < want {
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
			if l.ended = highest <= l.from; l.ended {
				break
			}
			if !l.search.all() {
				event, ok, err := l.search.le(highest - 1)
				if err != nil {
					return nil, err
				}
				if l.ended = !ok; l.ended {
					break
				}
				if event+fanSpan < highest {
					l.before = event + fanSpan + 1
					continue
				}
			}
			l.before = highest
			ids = append(ids, highest)
		}
		if found, err := ownersOf(l.ctx, l.tx, ids); err != nil || len(found) > 0 {
			return found, err
		}
	}
	return nil, nil
}
