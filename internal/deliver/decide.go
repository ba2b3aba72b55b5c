package deliver

import (
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// jitter spreads retries by ±20 %, so that what failed together does not come back together.
	jitter = 0.2
	// retryAfterMost is the longest pause that a partner may ask for.
	retryAfterMost = 24 * time.Hour
	// throttleFirst is the pause after a 429 without Retry-After; it doubles up to throttleMost.
	throttleFirst = 5 * time.Second
	throttleMost  = 5 * time.Minute
	// throttledMost fails what partners have been throttling for so long: 429 uses up no attempts, so only time can.
	throttledMost = 7 * 24 * time.Hour
)

// decision is what follows from an attempt.
type decision struct {
	state patchbay.DeliveryState
	// due is when a pending delivery is tried again, used how much of the schedule is used up then.
	due  time.Time
	used int
	// why is set where the attempt itself does not say it.
	why string
	// forgiven says that the attempt was not the link's fault nor the partner's: the connection's credentials were over.
	forgiven bool
	// loose says that those behind it in an order go on without it.
	loose bool
}

// decide says what follows from an attempt. It is the only place where retries are decided.
func (e *Engine) decide(it *item, link *Link, out *Outcome) decision {
	switch out.Verdict {
	case patchbay.VerdictDelivered:
		return decision{state: patchbay.DeliverySucceeded}
	case patchbay.VerdictRejected:
		return decision{state: patchbay.DeliveryFailed}
	case patchbay.VerdictAuthExpired:
		switch {
		case link.Connection == 0: // nothing will renew what its settings hold
			return decision{state: patchbay.DeliveryFailed}
		case out.refused && e.forgive(it):
			return decision{state: patchbay.DeliveryPending, due: e.now().Add(spread(refusedPause, e.random())), used: it.used, loose: it.loose, forgiven: true}
		}
	}
	schedule := patchbay.DefaultSchedule()
	maxAge := time.Duration(0)
	if p := link.Retry; p != nil {
		if p.Schedule != nil {
			schedule = p.Schedule
		}
		maxAge = time.Duration(p.MaxAge)
	}
	used := it.used
	var pause time.Duration
	if out.Throttled {
		var since time.Time
		pause, since = e.throttling(it)
		if !since.IsZero() && e.now().Sub(since) > throttledMost {
			return decision{state: patchbay.DeliveryFailed, used: used, why: "the partner has asked to wait for seven days"}
		}
	} else {
		if used >= len(schedule) {
			return decision{state: patchbay.DeliveryFailed, used: used, why: "every retry of the schedule is used up"}
		}
		pause = spread(time.Duration(schedule[used]), 2*e.random()-1)
		used++
	}
	if out.RetryAfter > 0 {
		pause = spread(min(out.RetryAfter, retryAfterMost), e.random())
	}
	now := e.now()
	due := now.Add(pause)
	due, loose := orderly(it, link.Order, now, due, out.RetryAfter > 0)
	if maxAge > 0 && e.age(it.event, due) > maxAge {
		return decision{state: patchbay.DeliveryFailed, used: used, why: "the next retry would come after the longest age of a delivery"}
	}
	return decision{state: patchbay.DeliveryPending, due: due, used: used, loose: loose}
}

// orderly says what a failure means for those behind it in an order: whether they go on without it, and when it is tried
// again. A block that ends before the next retry ends with one more attempt, because nothing else in the store says when
// it ends; a partner that asks for more time than that gets it, and the others go on at once.
func orderly(it *item, order *patchbay.OrderPolicy, now, due time.Time, asked bool) (time.Time, bool) {
	switch {
	case it.turn == "" || it.loose:
		return due, it.loose
	case order == nil:
		return due, it.thread == "" // the order was taken away meanwhile
	case order.OnFailure == patchbay.OnFailureSkip:
		return due, true
	case order.LongestBlock <= 0:
		return due, false
	}
	end := it.firstAt.Add(time.Duration(order.LongestBlock))
	if !now.Before(end) || asked && due.After(end) {
		return due, true
	}
	if due.After(end) {
		due = end
	}
	return due, false
}

// spread moves a pause by up to jitter; by is in [-1,1].
func spread(d time.Duration, by float64) time.Duration {
	return d + time.Duration(float64(d)*jitter*by)
}

// throttling returns the pause after a 429 that names none, and since when the partner has been answering so.
func (e *Engine) throttling(it *item) (time.Duration, time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return throttlePause(it.lane, it.started), it.lane.throttledSince
}

// throttlePause doubles with every period of throttling. Attempts that were under way together make one.
func throttlePause(l *lane, started time.Time) time.Duration {
	periods := l.throttles
	if periods > 0 && started.Before(l.throttledAt) {
		periods--
	}
	return min(throttleFirst<<min(periods, 10), throttleMost)
}

// overAge decides about a delivery that became too old while it waited, before it is sent.
func (e *Engine) overAge(it *item, link *Link) *decision {
	if p := link.Retry; p != nil && p.MaxAge > 0 && e.age(it.event, e.now()) > time.Duration(p.MaxAge) {
		return &decision{state: patchbay.DeliveryFailed, used: it.used, why: "it is older than the link's max_age"}
	}
	return nil
}

// finish records a decision, draws its consequences for the lane, and returns the worker's next item. out is nil when
// nothing was sent.
func (e *Engine) finish(it *item, link *Link, d decision, out *Outcome) *item {
	o := store.Outcome{
		Delivery: it.delivery, Event: it.event.ID, Link: link.ID, State: d.state, WasQueued: it.queued,
	}
	if out != nil {
		it.attempts++
		o.N, o.Attempt = it.attempts, out.Attempt
		if out.Verdict == patchbay.VerdictDelivered && it.thread != "" {
			o.Thread = &store.ThreadUpdate{Thread: it.thread, Reference: out.Reference, Event: it.event.Subject()}
		}
	} else {
		o.Attempt = patchbay.Attempt{At: e.o.Now(), Error: d.why}
	}
	if d.why != "" && out != nil {
		o.Attempt.Error = clipTo(o.Attempt.Error+" ("+d.why+")", patchbay.MaxErrorKept)
	}
	it.used = d.used

	e.mu.Lock()
	l := it.lane
	if it.cancelled && d.state == patchbay.DeliveryPending {
		d.state, o.State = patchbay.DeliveryCancelled, patchbay.DeliveryCancelled
	}
	it.loose = d.loose
	if d.state == patchbay.DeliveryPending {
		row := it.row(d.due)
		o.Next = &row
	}
	if out != nil {
		if l.link.Host == "" && out.Host != "" && l.link.Revision == link.Revision {
			learned := *l.link
			learned.Host = out.Host
			l.link = &learned
		}
		if !d.forgiven {
			delete(l.refused, it.delivery)
			e.consequences(l, it.started, out)
		}
	}
	e.release(it)
	e.ended(it, d.state == patchbay.DeliveryPending)
	e.unrecorded++
	e.kick(l)
	next := e.pick()
	if next == nil {
		e.leave()
	} else {
		e.schedule()
	}
	e.mu.Unlock()

	e.o.Store.Record([]store.Outcome{o}, func() { e.recorded(it, d) })
	if e.o.Observer != nil {
		e.observe(it, link, &o)
	}
	return next
}

// ended lets those go on that wait for an item's turn to be over. Where messages refer to the one before, the result must
// be durable first: they look it up.
func (e *Engine) ended(it *item, pending bool) {
	switch {
	case it.chain == nil:
	case pending && !it.loose:
		e.scatter(it)
	case it.thread == "":
		e.unchain(it)
	}
}

// leave ends a worker.
func (e *Engine) leave() {
	if e.workers--; e.workers == 0 && e.stopping {
		close(e.idle)
	}
}

// abandon puts back an item whose attempt was cut short.
func (e *Engine) abandon(it *item) *item {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.release(it)
	if !it.queued { // Stop gives it a place in the queue
		e.pushFresh(it)
		e.readyBytes += len(it.event.Payload)
	}
	e.leave()
	return nil
}

// recorded is called when a result is durable.
func (e *Engine) recorded(it *item, d decision) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := it.lane
	e.unrecorded--
	l.hands--
	if it.queued {
		l.letGo(it.delivery)
	}
	if it.chain != nil {
		e.unchain(it)
		e.kick(l)
	}
	if d.state == patchbay.DeliveryPending {
		e.noteQueued(l, d.due)
	}
	switch {
	case it.turn != "" && l.queued:
		e.follow(l)
	case d.state != patchbay.DeliveryPending && l.queued && len(l.loaded) == 0 && l.due.IsZero() && !l.loading && l.planned == 0:
		l.queued = false
	}
	l.checkDrained()
	e.schedule()
}

// consequences is what an attempt, begun at a time, means for its lane.
func (e *Engine) consequences(l *lane, started time.Time, out *Outcome) {
	now := e.now()
	switch {
	case out.Verdict == patchbay.VerdictDelivered:
		l.throttles, l.throttledSince = 0, time.Time{}
		if !l.failingSince.IsZero() {
			if l.failures >= failingAfter && l.owned {
				e.notice(l, NoticeRecovered, "a delivery succeeded")
			}
			l.heal()
			e.saveLane(l)
		}
		l.proven = true
		l.window = min(2*l.window, l.most())
		return
	case out.Throttled:
		pause := max(out.RetryAfter, 0)
		if pause == 0 {
			pause = throttlePause(l, started)
		}
		if l.throttles == 0 {
			l.throttledSince = now
		}
		if l.throttles == 0 || !started.Before(l.throttledAt) {
			l.throttles++
			l.throttledAt = now
		}
		if at := now.Add(min(pause, retryAfterMost)); at.After(l.throttled) {
			l.throttled = at
		}
		return
	}
	l.proven, l.lastError = false, out.Error
	l.window = max(1, min(l.window, l.most())/2)
	first := l.failingSince.IsZero()
	if first {
		l.failingSince = now
	}
	if out.Verdict == patchbay.VerdictRetry { // a partner that answers "no" is alive: the breaker is not for it
		e.failed(l, started, out)
	}
	e.slimDown(l)
	if first || l.failures == failingAfter || l.failures >= breakAfter {
		e.saveLane(l)
	}
	switch {
	case out.Disable:
		e.notice(l, NoticeDisabled, out.Error)
	case now.Sub(l.failingSince) >= e.o.DisableAfter:
		e.noticeUnless(l, "no delivery has succeeded since "+l.failingSince.UTC().Format(time.RFC3339))
	}
}

// failed counts a failure, and opens the breaker after many. What was under way together when it opened is one failed
// probe and not many.
func (e *Engine) failed(l *lane, started time.Time, out *Outcome) {
	if !l.openedAt.IsZero() && l.failures >= breakAfter && started.Before(l.openedAt) {
		return
	}
	l.failures++
	if l.failures >= breakAfter {
		doublings := min(l.failures-breakAfter, 10)
		l.openedAt = e.now()
		l.openUntil = l.openedAt.Add(spread(min(breakFirst<<doublings, breakMost), e.random()))
	}
	if l.failures == failingAfter && l.owned {
		e.notice(l, NoticeFailing, out.Error)
	}
}

// slimDown gives memory back that a lane took while it worked, when it does not any more.
func (e *Engine) slimDown(l *lane) {
	if l.ready.n-l.fresh+l.behind-l.behindFresh > loadBelow {
		e.forgetLoaded(l)
	}
}

// notice has something told by the chores.
func (e *Engine) notice(l *lane, kind, why string) {
	e.notices = append(e.notices, notice{Notice: Notice{
		Type: kind, Link: l.link.ID, Why: why, Since: l.failingSince, Failures: max(l.failures, 1),
	}})
	wake(e.wakeChores)
}

// noticeUnless has a link disabled that has had no success for long, unless another node has had one.
func (e *Engine) noticeUnless(l *lane, why string) {
	if !l.doubted {
		l.doubted = true
		e.notice(l, NoticeDisabled, why)
		e.notices[len(e.notices)-1].doubt = e.o.Cluster != nil
	}
}

// observe tells the observer of a result.
func (e *Engine) observe(it *item, link *Link, o *store.Outcome) {
	d := &patchbay.Delivery{
		ID: it.delivery, Event: it.event.ID, EventType: it.event.Type, Scope: it.event.Scope, Link: link.ID,
		Integration: link.Integration, State: o.State, AttemptCount: it.attempts, Revision: it.revision,
	}
	if o.Next != nil {
		d.NextAttemptAt = &o.Next.Due
	}
	if o.N > 0 {
		e.o.Observer.Attempted(d, it.event, &o.Attempt)
	}
	if o.State.Final() {
		e.o.Observer.Decided(d, it.event)
	}
}
