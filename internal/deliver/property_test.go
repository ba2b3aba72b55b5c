package deliver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// step is one thing that happens in a schedule. Numbers choose among what there is at that moment.
type step struct {
	do            string
	link, which   int
	answer        string
	thread        string
	pause         time.Duration
	size, targets int
}

func (s step) String() string {
	switch s.do {
	case "accept":
		return fmt.Sprintf("accept(link %d and %d more, thread %q, %d bytes)", s.link, s.targets-1, s.thread, s.size)
	case "answer":
		return fmt.Sprintf("link %d answers %s", s.link, s.answer)
	case "wait":
		return fmt.Sprintf("wait %s", s.pause)
	case "cancel", "retry":
		return fmt.Sprintf("%s delivery %d", s.do, s.which)
	case "restart":
		return "restart"
	}
	if s.do == "crash" || s.do == "suspend" {
		return fmt.Sprintf("%s (%s)", s.do, s.pause)
	}
	return fmt.Sprintf("%s link %d", s.do, s.link)
}

const propertyLinks = 5

var schedules = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
	return step{
		do: rapid.SampledFrom([]string{
			"accept", "accept", "accept", "accept", "accept", "accept", "answer", "answer", "answer", "wait", "wait", "wait",
			"pause", "resume", "disable", "delete", "edit", "reorder", "cancel", "cancel", "retry", "retry", "restart",
		}).Draw(t, "do"),
		link:    rapid.IntRange(0, propertyLinks-1).Draw(t, "link"),
		which:   rapid.IntRange(0, 1000).Draw(t, "which"),
		answer:  rapid.SampledFrom([]string{"ok", "ok", "retry", "reject", "429", "hang", "slow"}).Draw(t, "answer"),
		thread:  rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "thread"),
		pause:   rapid.SampledFrom([]time.Duration{0, time.Millisecond, 50 * time.Millisecond, time.Second, 6 * time.Second, time.Minute, time.Hour}).Draw(t, "pause"),
		size:    rapid.SampledFrom([]int{0, 10, 2000}).Draw(t, "size"),
		targets: rapid.IntRange(1, propertyLinks).Draw(t, "targets"),
	}
}), 1, 60)

// TestAnySchedule runs random schedules against a real store and looks at what is promised whatever happens.
func TestAnySchedule(t *testing.T) {
	most := 100
	if underRace {
		most = 30
	}
	atMost(t, most, func(rt *rapid.T) {
		steps := schedules.Draw(rt, "steps")
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = runSchedule(t, steps) })
		if len(wrong) > 0 {
			rt.Fatalf("after %v:\n%v", steps, wrong)
		}
	})
}

// atMost checks a property so many times, or as often as -rapid.checks says.
func atMost(t *testing.T, most int, check func(*rapid.T)) {
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() != f.DefValue {
		most, _ = strconv.Atoi(f.Value.String())
	}
	n, failed := 0, false
	rapid.Check(t, func(rt *rapid.T) {
		if n++; n > most && !failed {
			return
		}
		passed := false
		defer func() { failed = failed || !passed }() // shrinking runs it again
		check(rt)
		passed = true
	})
}

// bubbleLock is a mutex whose waiters let the bubble's time go on: it is held while an event is accepted.
type bubbleLock chan struct{}

func (l bubbleLock) Lock()   { l <- struct{}{} }
func (l bubbleLock) Unlock() { <-l }

// world is what a schedule knows of its deliveries, from the partner's side.
type world struct {
	*rig
	mu      bubbleLock
	links   []*Link
	deleted map[patchbay.LinkID]bool
	answers map[patchbay.LinkID]string
	holds   map[patchbay.LinkID]time.Time // since when a link is paused or disabled
	known   map[patchbay.DeliveryID]*fate
	order   []patchbay.DeliveryID
	orders  map[patchbay.LinkID]*patchbay.OrderPolicy
	nodes   bool // there are several
	wrong   []string
	story   []string // what happened, told when something is wrong
}

// fate is one delivery as the partner and its callers know it.
type fate struct {
	link      patchbay.LinkID
	thread    string
	sent      int  // attempts that were answered
	retries   int  // answers since the last retry by hand that used up a place in the schedule
	busy      bool // an attempt is under way
	final     bool
	delivered bool
	cancelled bool // has been asked for
	byHand    bool // a retry by hand has been asked for
	loose     bool // its link's order was changed after it was accepted
	firstAt   time.Time
	by        int  // the node that sent it last
	threads   bool // its link's integration has threads
}

func (w *world) complain(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
	w.tell("WRONG: "+format, args...)
}

var propertySchedule = []patchbay.Duration{0, patchbay.Duration(time.Second), patchbay.Duration(20 * time.Second)}

func newWorld() *world {
	return &world{
		mu:      make(bubbleLock, 1),
		deleted: map[patchbay.LinkID]bool{}, answers: map[patchbay.LinkID]string{}, holds: map[patchbay.LinkID]time.Time{},
		known: map[patchbay.DeliveryID]*fate{}, orders: map[patchbay.LinkID]*patchbay.OrderPolicy{},
	}
}

func runSchedule(t *testing.T, steps []step) []string {
	w := newWorld()
	p := &partner{def: integration.Definition{Threads: true}}
	p.answer = w.answer
	w.rig = newRig(t, p, w.small)
	w.lower()
	w.makeLinks()
	for _, s := range steps {
		w.mu.Lock()
		w.tell("%s", s)
		w.mu.Unlock()
		w.do(s)
	}
	w.end()
	if len(w.wrong) > 0 {
		t.Log(strings.Join(w.story, "\n"))
	}
	return w.wrong
}

// The orders that links of a schedule can have; the others have the order of their threads.
var propertyOrders = []*patchbay.OrderPolicy{
	nil, {Key: "payload.thread", OnFailure: patchbay.OnFailureBlock}, {Key: "payload.thread", OnFailure: patchbay.OnFailureSkip},
	{Key: "payload.thread", LongestBlock: patchbay.Duration(10 * time.Second)}, {},
}

// makeLinks makes links of every kind: with threads, with orders, with a rate, with a host in common.
func (w *world) makeLinks() {
	for i := range propertyLinks {
		l := w.link(fmt.Sprintf("t%d/l%d", i%2, i), func(l *patchbay.Link) {
			l.Concurrency = 1 + i
			l.Retry = &patchbay.RetryPolicy{Schedule: propertySchedule}
			if i == 3 {
				l.Rate = 5
			}
			if i > 2 {
				l.Order = propertyOrders[i-2]
			}
		})
		if i > 2 {
			l.Definition = &integration.Definition{}
		}
		if i > 1 {
			l.Host = "shared:443"
		}
		w.orders[l.ID] = l.Order
		w.links = append(w.links, l)
	}
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// small makes everything scarce.
func (w *world) small(o *Options) { o.InFlight = 4 }

func (w *world) lower() {
	w.engine.mu.Lock()
	defer w.engine.mu.Unlock()
	w.engine.limits = scarce
}

var scarce = limits{laneReady: 4, readyBytes: 9000, hostCap: 2, unrecorded: 8}

func (w *world) do(s step) {
	l := w.links[s.link]
	gone := w.deleted[l.ID]
	switch {
	case s.do == "wait":
		time.Sleep(s.pause)
	case s.do == "restart":
		w.close()
		w.open(w.small)
		w.lower()
	case s.do == "cancel" || s.do == "retry":
		if len(w.order) > 0 {
			w.byHand(s.do, w.order[s.which%len(w.order)])
		}
	case s.do == "accept":
		w.acceptFor(s)
	case gone:
	case s.do == "answer":
		w.mu.Lock()
		w.answers[l.ID] = s.answer
		w.mu.Unlock()
	case s.do == "delete":
		w.remove(l)
	default:
		w.change(s, l)
	}
}

func (w *world) change(s step, l *Link) {
	next := w.edit(l, func(l *patchbay.Link) {
		switch s.do {
		case "pause":
			l.State = patchbay.LinkPaused
		case "disable":
			l.Enabled = false
		case "resume":
			l.State, l.Enabled = patchbay.LinkActive, true
		case "reorder":
			l.Order = propertyOrders[s.which%len(propertyOrders)]
			w.reordered(l)
		}
	})
	w.links[s.link] = next
	w.mu.Lock()
	defer w.mu.Unlock()
	if !next.holds() {
		delete(w.holds, l.ID)
	} else if w.holds[l.ID].IsZero() {
		w.holds[l.ID] = time.Now()
	}
}

// reordered notes that a link has another order: it says nothing of what is there already.
func (w *world) reordered(l *patchbay.Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.orders[l.ID] = l.Order
	for _, f := range w.known {
		if f.link == l.ID {
			f.loose = true
		}
	}
}

func (w *world) remove(l *Link) {
	ctx := context.Background()
	if err := w.store.DeleteLink(ctx, l.ID, time.Now()); err != nil {
		w.t.Fatal(err)
	}
	delete(w.rig.links, l.ID)
	w.deleted[l.ID] = true
	if err := w.engine.RemoveLink(ctx, l.ID, patchbay.DeliveryID(w.store.NewID(1))); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.holds[l.ID] = time.Now()
	w.mu.Unlock()
}

func (w *world) acceptFor(s step) {
	var to []*Link
	for i := range s.targets {
		l := w.links[(s.link+i)%len(w.links)]
		if !w.deleted[l.ID] && l.Enabled {
			to = append(to, l)
		}
	}
	w.mu.Lock() // so that the partner does not see deliveries that are not known yet
	defer w.mu.Unlock()
	e := w.accept(fmt.Sprintf(`{"thread":%q,"pad":"%0*d"}`, s.thread, s.size, 0), to...)
	for i, l := range to {
		id := patchbay.DeliveryAt(e.ID, i+1)
		w.known[id] = &fate{link: l.ID, thread: s.thread, threads: l.Definition.Threads}
		w.tell("%s goes to %s in thread %q", id, l.Name, s.thread)
		w.order = append(w.order, id)
	}
}

func (w *world) byHand(what string, id patchbay.DeliveryID) {
	w.mu.Lock()
	f := w.known[id]
	if what == "retry" {
		f.byHand, f.retries = true, 0
	} else {
		f.cancelled = true // also when an attempt is under way: if that fails there is no other
	}
	w.mu.Unlock()
	var err error
	if what == "retry" {
		_, err = w.service.Retry(context.Background(), everything, id)
	} else {
		_, err = w.service.Cancel(context.Background(), everything, id)
	}
	if err != nil && patchbay.CodeOf(err) != patchbay.CodeConflict {
		w.complain("%s of %s: %v", what, id, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if what == "cancel" && err == nil && !w.nodes { // several nodes cancel as well as they can
		f.final = true
	}
}

// answer is the partner. It complains about what should not have been sent.
func (w *world) answer(ctx context.Context, d *integration.Delivery) integration.Result {
	w.mu.Lock()
	f := w.known[d.ID]
	if f == nil {
		w.complain("%s was sent before its event was accepted", d.ID)
		w.mu.Unlock()
		return integration.Delivered()
	}
	w.tell("%s is sent to %s, attempt %d", d.ID, d.Settings, d.Attempt)
	w.check(f, d)
	f.busy, f.final = true, false
	answer := w.answers[f.link]
	w.mu.Unlock()

	res := integration.Delivered()
	switch answer {
	case "retry":
		res = integration.Retry("the stand-in answered 503")
	case "reject":
		res = integration.UserError("no")
	case "429":
		res = integration.Retry("too many")
		res.Throttled, res.RetryAfter = true, 3*time.Second
	case "slow":
		select {
		case <-ctx.Done():
		case <-time.After(700 * time.Millisecond):
		}
	case "hang":
		<-ctx.Done()
	}
	cut := ctx.Err() != nil
	if cut {
		res = integration.Unreachable("the stand-in", ctx.Err())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f.busy = false
	w.tell("%s was answered %s %v", d.ID, res.Verdict, ctx.Err())
	if cut && errors.Is(ctx.Err(), context.Canceled) {
		return res // the engine stops: this was no attempt
	}
	f.sent++
	switch {
	case res.Verdict == patchbay.VerdictDelivered:
		f.final, f.delivered = true, true
	case res.Verdict == patchbay.VerdictRejected:
		f.final = true
	case !res.Throttled:
		f.retries++
		f.final = f.retries > len(propertySchedule)
	}
	return res
}

func (w *world) check(f *fate, d *integration.Delivery) {
	if f.busy {
		w.complain("%s is sent twice at a time", d.ID)
	}
	if f.final && !f.byHand {
		w.complain("%s is sent again after it had ended", d.ID)
	}
	if d.Attempt != f.sent+1 && (!f.byHand || !w.nodes) {
		w.complain("attempt %d of %s says that it is number %d", f.sent+1, d.ID, d.Attempt)
	}
	if since, ok := w.holds[f.link]; ok && time.Since(since) > 0 {
		w.complain("%s is sent although its link has been holding for %s", d.ID, time.Since(since))
	}
	if f.firstAt.IsZero() {
		f.firstAt = time.Now()
	}
	w.checkTurn(f, d)
}

// checkTurn complains about a delivery that overtakes another one.
func (w *world) checkTurn(f *fate, d *integration.Delivery) {
	policy := w.orders[f.link]
	whole := policy != nil && policy.Key == ""
	if policy == nil && (!f.threads || f.thread == "") || f.byHand || f.loose {
		return
	}
	if policy != nil && f.sent > 0 && mayGoOn(policy, f) {
		return // it is tried again out of order
	}
	for id, other := range w.known {
		if id >= d.ID || other.link != f.link || !whole && other.thread != f.thread || other.loose {
			continue
		}
		if !other.final && !other.byHand && !other.cancelled && !(policy != nil && mayGoOn(policy, other)) {
			w.complain("%s overtakes %s, which has the same turn", d.ID, id)
		}
	}
}

// mayGoOn reports whether those behind a delivery may go on without it.
func mayGoOn(p *patchbay.OrderPolicy, f *fate) bool {
	switch {
	case f.busy && f.sent == 0 || f.firstAt.IsZero():
		return false
	case p.OnFailure == patchbay.OnFailureSkip:
		return f.sent > 0
	}
	return p.LongestBlock > 0 && f.sent > 0 && time.Since(f.firstAt) >= time.Duration(p.LongestBlock)
}

// end lets everything work and looks at what came of it all.
func (w *world) end() {
	for i, l := range w.links {
		if w.deleted[l.ID] {
			continue
		}
		w.mu.Lock()
		w.answers[l.ID] = "ok"
		w.mu.Unlock()
		if l.holds() {
			w.change(step{do: "resume", link: i}, l)
		}
	}
	time.Sleep(6 * time.Hour)
	if err := w.store.Flush(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range w.order {
		w.ended(id, w.known[id])
	}
	w.counters(w.engine)
	if found, err := w.store.Waited(context.Background()); err != nil || len(found) > 0 {
		w.complain("the queue still has something for %v (%v)", found, err)
	}
}

func (w *world) ended(id patchbay.DeliveryID, f *fate) {
	v, err := w.service.Get(context.Background(), everything, id)
	if err != nil {
		w.complain("%s: %v", id, err)
		return
	}
	attempts := 0
	for _, a := range v.Attempts {
		if a.Verdict != "" {
			attempts++
		}
	}
	if (attempts != f.sent || v.AttemptCount != f.sent) && (!f.byHand || !w.nodes) {
		w.complain("%s has %d attempts and counts %d; %d were answered", id, attempts, v.AttemptCount, f.sent)
	}
	switch v.State {
	case patchbay.DeliverySucceeded:
		if !f.delivered {
			w.complain("%s counts as delivered and was not", id)
		}
	case patchbay.DeliveryFailed:
		if !f.final && !f.byHand {
			w.complain("%s failed too early", id)
		}
	case patchbay.DeliveryCancelled:
		if !f.cancelled && !w.deleted[f.link] {
			w.complain("%s is cancelled and nobody wanted that", id)
		}
	default:
		w.complain("%s is still %s", id, v.State)
	}
}
