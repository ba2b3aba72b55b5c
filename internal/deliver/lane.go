package deliver

import (
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// The breaker opens after breakAfter failures in a row, lets a probe through after breakFirst, and doubles the pause
// with every failed probe up to breakMost.
const (
	breakAfter = 10
	breakFirst = 5 * time.Second
	breakMost  = 5 * time.Minute
	// failingAfter failures in a row are told as patchbay.link.failing.
	failingAfter = 5
	// firstWindow is how many attempts a lane that has not succeeded yet may have under way. Every success doubles
	// it up to the link's concurrency, every failure halves it: a thousand hanging links take a thousand of the slots,
	// not sixteen thousand.
	firstWindow = 1
)

// item is one delivery in memory.
type item struct {
	lane     *lane
	delivery patchbay.DeliveryID
	event    *patchbay.Event
	revision int
	// queued says that the delivery has a row in the queue; otherwise it is fresh.
	queued         bool
	attempts, used int
	// turn orders the deliveries of a lane: those with the same one go one after the other. "" has no order, and one that
	// is loose has lost its place in it. thread is what the message belongs to at the partner.
	turn, thread string
	chain        *chain
	behind       bool      // waits for its turn in memory
	committed    bool      // its event is durable
	loose        bool      // those behind it have gone on without it
	firstAt      time.Time // when its first attempt began, as far as that is known
	ready        time.Time // when it came into memory

	// While an attempt is under way:
	started   time.Time
	class     class
	host      *host
	slow      bool
	cancelled bool
	prev      *item
	next      *item
}

// place says which list a lane is in.
type place uint8

const (
	nowhere    place = iota
	inRunnable       // its tenant's lanes
	inSlots          // parked for a slot
	inHost           // parked for its host
)

// lane is a link's part of the engine. The engine's mutex guards it.
type lane struct {
	link   *Link
	tenant *tenant

	ready  fifo[*item]
	fresh  int  // how many of ready have no row in the queue
	listed bool // in Engine.fresh
	// loaded counts, by delivery, who has it in hand: rows of the queue that are in memory until their result is
	// durable, and those that are being changed by hand. No load brings them in.
	loaded map[patchbay.DeliveryID]int
	// chains holds, by turn, what is in memory and goes one after the other. moved holds the turns of those that ended
	// while a load is under way: what it read of them is out of date. behind counts what waits for its turn in memory,
	// behindFresh what of that has no row in the queue.
	chains              map[string]*chain
	moved               map[string]struct{}
	behind, behindFresh int
	// planned counts deliveries that will have a row when their acceptance is committed.
	planned int
	// hands counts deliveries in memory whose result or place in the queue is not durable.
	hands int
	// sorted says that everything in the queue has its turn; it is not after a crash or a change of the order.
	sorted bool
	// owned says that this node reads the link's queue, told that its owner is about to hear of it otherwise.
	owned, told bool
	drain       *drain // somebody waits for the lane to be let go

	inflight, window, slow int
	proven                 bool // has succeeded, and not failed since
	failures               int
	failingSince           time.Time
	lastError              string                           // of the last failed attempt; empty while the link succeeds
	openedAt, openUntil    time.Time                        // when the breaker opened, and its next probe
	throttled              time.Time                        // the partner wants us to wait until then
	throttles              int                              // periods of it in a row
	throttledAt            time.Time                        // when the period began that throttled ends
	throttledSince         time.Time                        // when the first of them began
	refused                map[patchbay.DeliveryID]struct{} // whose last attempt the partner did not take the credentials of
	limiter                *rate.Limiter
	limited                time.Time // the rate allows the next one then
	stalled                time.Time // the store could not say what is needed to send; again then

	queued         bool      // there may be rows in the queue
	due            time.Time // when the first of those not in memory may be due; zero: none
	loading, dirty bool
	size           int  // the largest payload of the last load
	held           int  // how many deliveries are held, about
	doubted        bool // whether it must be disabled is being found out
	reordered      bool // the order was changed, and what it blocked is to be let go
	removed        bool

	place  place
	timer  int // 1 + index in timers
	wakeAt time.Time
}

func (e *Engine) newLane(link *Link) *lane {
	l := &lane{window: firstWindow, loaded: map[patchbay.DeliveryID]int{}, chains: map[string]*chain{}, owned: e.owns(link.ID)}
	e.configure(l, link)
	return l
}

// configure takes over a link's tenant and limits.
func (e *Engine) configure(l *lane, link *Link) {
	if name := link.Scope.Tenant(); l.tenant == nil || l.tenant.name != name {
		e.leaveTenant(l)
		t := e.tenants[name]
		if t == nil {
			t = &tenant{name: name}
			e.tenants[name] = t
		}
		t.links++
		l.tenant = t
	}
	if l.link == nil || l.link.Rate != link.Rate {
		l.limiter, l.limited = nil, time.Time{}
		if link.Rate > 0 {
			l.limiter = rate.NewLimiter(rate.Limit(link.Rate), max(1, int(math.Min(link.Rate/10, 1000))))
		}
	}
	if l.link != nil && !sameOrder(l.link.Order, link.Order) {
		l.sorted, l.reordered = false, true
		if !l.due.IsZero() || l.queued {
			e.noteDue(l, e.now())
		}
	}
	l.link = link
}

// sameOrder reports whether two orders are the same.
func sameOrder(a, b *patchbay.OrderPolicy) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// limitFrom has the rate begin without a burst: another node may have used it up just now.
func (l *lane) limitFrom(now time.Time) {
	if l.limiter != nil {
		l.limiter.AllowN(now, l.limiter.Burst())
	}
}

// leaveTenant forgets the lane's tenant when it was its last lane.
func (e *Engine) leaveTenant(l *lane) {
	if l.tenant == nil {
		return
	}
	if l.tenant.links--; l.tenant.links == 0 {
		delete(e.tenants, l.tenant.name)
	}
}

func (l *lane) restore(s store.Lane, now time.Time) {
	l.failures, l.failingSince, l.openUntil = s.Failures, s.FailingSince, s.OpenUntil
	if most := now.Add(spread(breakMost, 1)); l.openUntil.After(most) {
		l.openUntil = most // the clock has been set back
	}
	if l.failures > 0 {
		l.window = 1
	}
}

// heal forgets failures.
func (l *lane) heal() {
	l.failures, l.failingSince, l.openUntil, l.lastError = 0, time.Time{}, time.Time{}, ""
	l.throttled, l.throttles, l.throttledSince = time.Time{}, 0, time.Time{}
	l.window = max(l.window, firstWindow)
}

// limit is how many attempts may be under way.
func (l *lane) limit() int {
	if l.failures >= breakAfter {
		return 1 // a probe
	}
	return min(l.window, l.most())
}

// most is how many attempts may be under way when all goes well.
func (l *lane) most() int {
	if l.link.Concurrency == 0 {
		return patchbay.DefaultConcurrency
	}
	return l.link.Concurrency
}

// share is how far memory may be filled for the lane to add to it.
func (e *Engine) share(l *lane) int {
	if l.class() == proven {
		return e.limits.readyBytes
	}
	return e.limits.readyBytes / 2
}

// blockedUntil returns until when nothing may be sent; a time that is not after now blocks nothing.
func (l *lane) blockedUntil() time.Time {
	at := l.throttled
	if l.openUntil.After(at) {
		at = l.openUntil
	}
	if l.limited.After(at) {
		at = l.limited
	}
	if l.stalled.After(at) {
		at = l.stalled
	}
	return at
}

// waits reports whether a fresh delivery must go to the queue rather than into memory although there is room for it: the
// lane holds, is blocked, or has a backlog there that comes first.
func (l *lane) waits(now time.Time) bool {
	return l.link.holds() || l.blockedUntil().After(now) || (l.queued && !l.due.IsZero() && !l.due.After(now))
}

func (l *lane) class() class {
	switch {
	case l.failures > 0 || l.slow > 0:
		return failing
	case l.proven:
		return proven
	}
	return unproven
}

// letGo gives a delivery of the queue out of one hand.
func (l *lane) letGo(id patchbay.DeliveryID) {
	if l.loaded[id]--; l.loaded[id] <= 0 {
		delete(l.loaded, id)
	}
}

// pushFresh puts a delivery that has no place in the queue among those that are ready, or behind those before it.
func (e *Engine) pushFresh(it *item) {
	l := it.lane
	it.committed = true
	if c := it.chain; c != nil && c.parked { // something that comes before it has gone to the queue, so it goes too
		c.items.filter(func(other *item) bool { return other != it })
		e.handOver(l, []store.Queued{e.depart(c, it)})
		return
	}
	if it.first() {
		l.ready.push(it)
		l.fresh++
	} else {
		l.stand(it)
	}
	if !l.listed {
		l.listed = true
		e.fresh = append(e.fresh, l)
		e.sweepSoon()
	}
}

// takeFresh takes the fresh deliveries out of memory that became ready before the given time (zero: all of them), so
// that they can be given a place in the queue.
func (e *Engine) takeFresh(l *lane, before time.Time) []store.Queued {
	var out []store.Queued
	first, _ := l.ready.peek()
	// In order of readiness, so when the first is not older none is.
	if l.fresh > 0 && (before.IsZero() || first == nil || first.queued || first.ready.Before(before)) {
		l.ready.filter(func(it *item) bool {
			if it.queued || (!before.IsZero() && !it.ready.Before(before)) {
				return true
			}
			if c := it.chain; c != nil {
				c.items.pop() // it was its turn
				out = append(out, e.depart(c, it))
				return false
			}
			out = append(out, it.row(it.event.ReceivedAt))
			e.readyBytes -= len(it.event.Payload)
			return false
		})
		l.fresh -= len(out)
	}
	return e.takeChained(l, before, out)
}

// forgetLoaded drops what was loaded from the queue and not begun; the rows are still there.
func (e *Engine) forgetLoaded(l *lane) {
	if l.ready.n == l.fresh && l.behind == l.behindFresh {
		return
	}
	forget := func(it *item) {
		l.letGo(it.delivery)
		l.hands--
		e.readyBytes -= len(it.event.Payload)
		e.noteDue(l, it.event.ReceivedAt)
	}
	l.ready.filter(func(it *item) bool {
		if !it.queued {
			return true
		}
		if c := it.chain; c != nil {
			c.items.pop()
			it.chain = nil
		}
		forget(it)
		return false
	})
	for _, c := range l.chains {
		c.items.filter(func(it *item) bool {
			if !it.behind || !it.queued {
				return true
			}
			l.unstand(it)
			it.chain = nil
			forget(it)
			return false
		})
		e.goOn(l, c)
	}
}

// row is the delivery's place in the queue.
func (it *item) row(due time.Time) store.Queued {
	return store.Queued{
		Delivery: it.delivery, Event: it.event.ID, Link: it.lane.link.ID, Due: due,
		Attempts: it.attempts, Used: it.used, Thread: it.placed(),
	}
}

// placed is the turn that the delivery's place in the queue has.
func (it *item) placed() string {
	if it.loose {
		return ""
	}
	return it.turn
}

// noteQueued notes that a delivery got a place in the queue; the queue's owner hears of it.
func (e *Engine) noteQueued(l *lane, due time.Time) {
	if !l.owned {
		if !l.link.holds() { // else the owner looks when it is resumed
			e.tell(l)
		}
		return
	}
	l.queued = true
	e.noteDue(l, due)
	e.kick(l)
}

// noteDue notes that a delivery of the queue may be due then.
func (e *Engine) noteDue(l *lane, due time.Time) {
	if l.loading {
		l.dirty = true
	}
	if l.due.IsZero() || due.Before(l.due) {
		l.due = due
	}
}

// saveLane has what must survive a restart written down by the chores.
func (e *Engine) saveLane(l *lane) {
	if l.removed || !l.owned {
		return
	}
	e.saves = append(e.saves, store.Lane{
		Link: l.link.ID, FailingSince: l.failingSince, Failures: l.failures, OpenUntil: l.openUntil,
	})
	wake(e.wakeChores)
}
