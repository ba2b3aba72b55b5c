package storetest

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// modelTests compare a store with the simplest thing that keeps the contract: a map of deliveries.
var modelTests = []test{
	{"does what a map of deliveries does", func(e *env) {
		rapid.Check(e.t, func(t *rapid.T) {
			c := &clock{t: start}
			m := &model{
				env:  &env{reporter: t, t: e.t, h: e.h, s: e.h.Open(e.t, c.now, e.keys), clock: c, keys: e.keys, ctx: e.ctx},
				all:  map[patchbay.DeliveryID]*known{},
				drop: map[patchbay.LinkID]patchbay.DeliveryID{},
			}
			defer func() { _ = m.s.Close() }()
			t.Repeat(map[string]func(*rapid.T){
				"accept": m.accept, "end": m.end, "retry": m.retryAttempt, "enqueue": m.enqueue, "drop": m.dropSome,
				"crash": m.crashAndRecover, "prune": m.pruneAll, "wait": m.wait, "": m.check,
			})
		})
	}},
}

// model is the store under test and what is known of it.
type model struct {
	*env
	all  map[patchbay.DeliveryID]*known
	drop map[patchbay.LinkID]patchbay.DeliveryID
}

// known is a delivery.
type known struct {
	id       patchbay.DeliveryID
	event    patchbay.EventID
	link     patchbay.LinkID
	place    *store.Queued
	spared   patchbay.DeliveryID // the drop that does not concern its place
	last     patchbay.DeliveryState
	attempts int
}

var modelLinks = []patchbay.LinkID{linkA, linkB}

// dropped reports whether the lane has dropped the delivery's place.
func (m *model) dropped(k *known) bool {
	d := m.drop[k.link]
	return k.place != nil && k.id < d && k.spared < d
}

func (m *model) state(k *known) patchbay.DeliveryState {
	switch {
	case m.dropped(k):
		return patchbay.DeliveryCancelled
	case k.place != nil:
		return patchbay.DeliveryPending
	case k.last.Final():
		return k.last
	case k.id < m.drop[k.link]:
		return patchbay.DeliveryCancelled
	}
	return patchbay.DeliveryPending
}

// put gives a delivery a place.
func (m *model) put(k *known, q store.Queued, byHand bool) {
	if k.place == nil {
		k.spared = 0
	}
	if byHand && k.id < m.drop[k.link] {
		k.spared = m.drop[k.link]
	}
	k.place = &q
}

// place draws a place for a delivery.
func (m *model) placeFor(t *rapid.T, k *known) store.Queued {
	return store.Queued{
		Delivery: k.id, Event: k.event, Link: k.link, Attempts: k.attempts, Used: k.attempts,
		Due:    m.now().Add(time.Duration(rapid.IntRange(-3, 5).Draw(t, "due")) * time.Minute),
		Thread: rapid.SampledFrom([]string{"", "", "x", "y"}).Draw(t, "thread"),
	}
}

// some draws a delivery; the test is skipped when there is none.
func (m *model) some(t *rapid.T) *known {
	if len(m.all) == 0 {
		t.Skip("no deliveries")
	}
	return m.all[rapid.SampledFrom(slices.Sorted(maps.Keys(m.all))).Draw(t, "delivery")]
}

func (m *model) accept(t *rapid.T) {
	links := rapid.SliceOfN(rapid.SampledFrom(modelLinks), 0, 3).Draw(t, "links")
	a := m.event(links...)
	for i, link := range links {
		k := &known{id: delivery(a, i+1), event: a.Event.ID, link: link, last: patchbay.DeliveryPending}
		m.all[k.id] = k
		switch rapid.IntRange(0, 3).Draw(t, "fate") {
		case 0:
			q := m.placeFor(t, k)
			a.Queue = append(a.Queue, q)
			m.put(k, q, false)
		case 1:
			a.Outcomes = append(a.Outcomes, m.outcome(a, i+1, 1, patchbay.DeliverySucceeded))
			k.last, k.attempts = patchbay.DeliverySucceeded, 1
		}
	}
	m.env.accept(a)
}

// result draws the result of an attempt, or of a decision.
func (m *model) result(t *rapid.T, k *known, state patchbay.DeliveryState) store.Outcome {
	o := store.Outcome{
		Delivery: k.id, Event: k.event, Link: k.link, State: state,
		WasQueued: k.place != nil || rapid.Bool().Draw(t, "maybe queued"),
		Attempt:   patchbay.Attempt{At: m.now(), Verdict: patchbay.VerdictRetry},
	}
	if rapid.IntRange(0, 3).Draw(t, "attempt") > 0 {
		k.attempts++
		o.N = k.attempts
	}
	return o
}

func (m *model) end(t *rapid.T) {
	k := m.some(t)
	state := rapid.SampledFrom([]patchbay.DeliveryState{
		patchbay.DeliverySucceeded, patchbay.DeliveryFailed, patchbay.DeliveryCancelled, patchbay.DeliverySkipped,
	}).Draw(t, "state")
	m.s.Record([]store.Outcome{m.result(t, k, state)}, nil)
	k.last, k.place = state, nil
}

func (m *model) retryAttempt(t *rapid.T) {
	k := m.some(t)
	o := m.result(t, k, patchbay.DeliveryPending)
	q := m.placeFor(t, k)
	o.Next = &q
	m.s.Record([]store.Outcome{o}, nil)
	k.last = patchbay.DeliveryPending
	m.put(k, q, false)
}

func (m *model) enqueue(t *rapid.T) {
	var all []store.Queued
	for range rapid.IntRange(1, 3).Draw(t, "n") {
		k := m.some(t)
		q := m.placeFor(t, k)
		all = append(all, q)
		m.put(k, q, true)
	}
	m.must(m.s.Enqueue(m.ctx, all))
}

func (m *model) dropSome(t *rapid.T) {
	link := rapid.SampledFrom(modelLinks).Draw(t, "link")
	before := m.some(t).id + patchbay.DeliveryID(rapid.IntRange(0, 1).Draw(t, "with it"))
	m.must(m.s.SaveLane(m.ctx, store.Lane{Link: link, DropBefore: before}))
	m.drop[link] = max(m.drop[link], before)
}

func (m *model) crashAndRecover(*rapid.T) {
	m.must(m.s.Flush(m.ctx))
	m.crash()
	lost := 0
	for _, k := range m.all {
		if m.state(k) == patchbay.DeliveryPending && k.place == nil {
			lost++
			k.spared = 0
			k.place = &store.Queued{Delivery: k.id, Event: k.event, Link: k.link, Due: m.now(), Attempts: k.attempts}
		}
	}
	m.wantRecovered(lost)
}

func (m *model) pruneAll(*rapid.T) {
	m.must(m.s.Flush(m.ctx))
	m.prune(store.Retention{})
	for _, k := range m.all {
		if m.dropped(k) {
			k.place, k.last = nil, patchbay.DeliveryCancelled
		}
	}
}

func (m *model) wait(t *rapid.T) {
	m.clock.forward(time.Duration(rapid.IntRange(-1, 90).Draw(t, "minutes")) * time.Minute)
}

// check compares everything.
func (m *model) check(t *rapid.T) {
	m.must(m.s.Flush(m.ctx))
	queued := 0
	waited := map[patchbay.LinkID]time.Time{}
	for _, link := range modelLinks {
		queued += m.checkLink(t, link, waited)
	}
	got, err := m.s.Waited(m.ctx)
	m.must(err)
	m.same("waited", got, waited)
	stats, err := m.s.Stats(m.ctx)
	m.must(err)
	m.same("queued", stats.Queued, int64(queued))
	m.checkLists(t)
	if len(m.all) == 0 {
		return
	}
	k := m.some(t)
	d := m.delivery(k.id)
	m.same("state of "+k.id.String(), d.State, m.state(k))
	m.same("attempts of "+k.id.String(), d.AttemptCount, k.attempts)
	if waits := k.place != nil && !m.dropped(k); waits != (d.NextAttemptAt != nil) || waits && !d.NextAttemptAt.Equal(k.place.Due) {
		m.Errorf("%s is due at %v, want %+v", k.id, d.NextAttemptAt, k.place)
	}
}

// checkLink compares what waits of a link, and returns how many do.
func (m *model) checkLink(t *rapid.T, link patchbay.LinkID, waited map[patchbay.LinkID]time.Time) int {
	waiting := 0
	var turn []*store.Queued
	for _, k := range m.all {
		if k.link != link || k.place == nil || m.dropped(k) {
			continue
		}
		waiting++
		behind := func(o *known) bool {
			return o.link == link && o.place != nil && !m.dropped(o) && o.id < k.id && o.place.Thread == k.place.Thread
		}
		if k.place.Thread == "" || !slices.ContainsFunc(slices.Collect(maps.Values(m.all)), behind) {
			turn = append(turn, k.place)
		}
	}
	slices.SortFunc(turn, func(a, b *store.Queued) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Delivery, b.Delivery)) })
	if len(turn) > 0 {
		waited[link] = turn[0].Due
	}
	n, err := m.s.Waiting(m.ctx, link, 1000)
	m.must(err)
	m.same("waiting", n, waiting)

	var skip []patchbay.DeliveryID
	for _, q := range turn {
		if rapid.IntRange(0, 4).Draw(t, "skip") == 0 {
			skip = append(skip, q.Delivery)
		}
	}
	limit := rapid.SampledFrom([]int{1, 2, 1000}).Draw(t, "limit")
	var want, got []store.Queued
	next := time.Time{}
	for _, q := range turn {
		if slices.Contains(skip, q.Delivery) {
			continue
		}
		if next.IsZero() {
			next = q.Due
		}
		if !q.Due.After(m.now()) && len(want) < limit {
			want = append(want, *q)
		}
	}
	for _, c := range m.due(link, limit, skip...) {
		if c.Event.ID != c.Queued.Event || c.Revision != 1 {
			m.Errorf("%s was claimed with %s, revision %d", c.Delivery, c.Event.ID, c.Revision)
		}
		c.Used = c.Attempts // what Recover puts there is the store's to guess
		got = append(got, c.Queued)
	}
	for i := range want {
		want[i].Used = want[i].Attempts
	}
	m.same("due", got, want)
	at, ok, err := m.s.NextDue(m.ctx, link, skipping(skip))
	m.must(err)
	if ok == next.IsZero() || ok && !at.Equal(next) {
		m.Errorf("the next delivery is due at %s (%t), want %s", at, ok, next)
	}
	return waiting
}

// checkLists compares a list.
func (m *model) checkLists(t *rapid.T) {
	states := rapid.SliceOfNDistinct(rapid.SampledFrom([]patchbay.DeliveryState{
		patchbay.DeliveryPending, patchbay.DeliverySucceeded, patchbay.DeliveryFailed, patchbay.DeliveryCancelled, patchbay.DeliverySkipped,
	}), 0, 3, rapid.ID[patchbay.DeliveryState]).Draw(t, "states")
	link := rapid.SampledFrom([]patchbay.LinkID{0, linkA, linkB}).Draw(t, "of link")
	var want []patchbay.DeliveryID
	for _, id := range slices.Sorted(maps.Keys(m.all)) {
		k := m.all[id]
		if (link == 0 || k.link == link) && (len(states) == 0 || slices.Contains(states, m.state(k))) {
			want = append(want, id)
		}
	}
	slices.Reverse(want)
	f := store.DeliveryFilter{States: states, Link: link, Limit: rapid.SampledFrom([]int{2, 100}).Draw(t, "page")}
	m.same("list", deliveryIDs(m.deliveryPages(f)), want)
}
