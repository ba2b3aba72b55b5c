// Package storetest is the suite that every store passes whole. It tests what internal/store promises, sentence by
// sentence, through the contract alone; what is special about a database is tested beside its store.
package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// Harness gives the suite databases. The functions are needed.
type Harness struct {
	// Open opens an empty database that goes by the clock, and closes it when the test ends. The Sealer may be nil.
	Open func(t *testing.T, now func() time.Time, with store.Sealer) store.Store
	// Reopen closes a store that the harness returned and opens its database again.
	Reopen func(t *testing.T, s store.Store, with store.Sealer) store.Store
	// Crash opens the database of a store again as it is after the store's process was killed: what the store has only
	// in memory is lost. The store itself is not used any more.
	Crash func(t *testing.T, s store.Store) store.Store
	// Stored returns what stands in the tables of an open store, as it stands there.
	Stored func(t *testing.T, s store.Store) []byte
	// Exec runs a statement of SQL on the database of an open store.
	Exec func(t *testing.T, s store.Store, sql string)
	// Whole is how much the store deletes as one: it keeps events for up to that much longer, and its byte budget takes
	// nothing less. 0 is for stores that delete event by event.
	Whole time.Duration
}

// test is one test of the suite.
type test struct {
	name string
	run  func(*env)
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Accept", acceptTests}, {"Idempotency", idempotencyTests}, {"Events", eventTests}, {"Deliveries", deliveryTests},
		{"Record", recordTests}, {"Queue", queueTests}, {"Threads", threadTests}, {"Chains", chainTests}, {"Lanes", laneTests}, {"Recover", recoverTests},
		{"Links", linkTests}, {"Registry", registryTests}, {"Prune", pruneTests}, {"Statistics", statisticsTests}, {"Model", modelTests},
		{"Jobs", jobTests}, {"Erasure", erasureTests}, {"Connections", connectionTests}, {"Flows", flowTests}, {"Sessions", sessionTests},
		{"Hooks", hookTests}, {"Sealed", sealedTests}, {"Audit", auditTests}, {"Hostile", hostileTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(newEnv(t, h))
				})
			}
		})
	}
}

// start is when every test begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// forward moves the clock, also back.
func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// reporter is what of testing.T and rapid.T tests use.
type reporter interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// env is a store under test with what tests need around it.
type env struct {
	reporter
	t     *testing.T
	h     Harness
	s     store.Store
	clock *clock
	keys  *Keys
	flows int // that hide has made
	ctx   context.Context
}

func newEnv(t *testing.T, h Harness) *env {
	c := &clock{t: start}
	keys := NewKeys()
	return &env{reporter: t, t: t, h: h, s: h.Open(t, c.now, keys), clock: c, keys: keys, ctx: context.Background()}
}

func (e *env) now() time.Time { return e.clock.now() }

func (e *env) crash()  { e.Helper(); e.s = e.h.Crash(e.t, e.s) }
func (e *env) reopen() { e.Helper(); e.s = e.h.Reopen(e.t, e.s, e.keys) }

// must ends the test when there is an error.
func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// same compares, with times as instants and without telling nil from empty.
func (e *env) same(what string, got, want any) {
	e.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		e.Errorf("%s (-want +got):\n%s", what, d)
	}
}

const (
	linkA = patchbay.LinkID(1 << 40)
	linkB = patchbay.LinkID(2 << 40)
	linkC = patchbay.LinkID(3 << 40)
)

// event makes an event with one delivery over each of the links, of revision 1.
func (e *env) event(links ...patchbay.LinkID) *store.Acceptance {
	id := patchbay.EventID(e.s.NewID(1 + len(links)))
	a := &store.Acceptance{Event: &patchbay.Event{
		ID: id, Type: "repo.push", Scope: "acme/repos/1", Payload: json.RawMessage(fmt.Sprintf(`{"id": "%s"}`, id)),
		ReceivedAt: e.now(), OccurredAt: e.now(), Source: patchbay.Source{Kind: patchbay.SourceAPI},
	}}
	for _, l := range links {
		a.Targets = append(a.Targets, store.Target{Link: l, Revision: 1, Integration: "webhook"})
	}
	return a
}

// accept accepts an event that must be new.
func (e *env) accept(a *store.Acceptance) *store.Acceptance {
	e.Helper()
	existing, err := e.s.Accept(e.ctx, a)
	e.must(err)
	if existing != nil {
		e.Fatalf("%s was taken for %s", a.Event.ID, existing.Event)
	}
	return a
}

// held makes an event whose deliveries all wait from the start, due now.
func (e *env) held(links ...patchbay.LinkID) *store.Acceptance {
	a := e.event(links...)
	for i := range links {
		a.Queue = append(a.Queue, e.place(a, i+1, e.now()))
	}
	return a
}

// place makes a place in the queue for an event's i-th delivery, counting from 1.
func (e *env) place(a *store.Acceptance, i int, due time.Time) store.Queued {
	return store.Queued{Delivery: delivery(a, i), Event: a.Event.ID, Link: a.Targets[i-1].Link, Due: due}
}

func delivery(a *store.Acceptance, i int) patchbay.DeliveryID {
	return patchbay.DeliveryAt(a.Event.ID, i)
}

// outcome makes the result of the n-th attempt at an event's i-th delivery.
func (e *env) outcome(a *store.Acceptance, i, n int, state patchbay.DeliveryState) store.Outcome {
	o := store.Outcome{
		Delivery: delivery(a, i), Event: a.Event.ID, Link: a.Targets[i-1].Link, N: n, State: state,
		Attempt: patchbay.Attempt{At: e.now(), DurationMS: int64(n), Verdict: patchbay.VerdictDelivered, ResponseCode: 200},
	}
	if n == 0 {
		o.Attempt = patchbay.Attempt{At: e.now(), Error: "decided"}
	} else if state != patchbay.DeliverySucceeded {
		o.Attempt.Verdict, o.Attempt.Error, o.Attempt.ErrorType = patchbay.VerdictRetry, "refused", patchbay.CodeServiceError
		o.Attempt.ResponseCode = 500
	}
	return o
}

// retry makes the result of a failed attempt that is tried again.
func (e *env) retry(a *store.Acceptance, i, n int, due time.Time) store.Outcome {
	o := e.outcome(a, i, n, patchbay.DeliveryPending)
	q := e.place(a, i, due)
	q.Attempts, q.Used = n, n
	o.Next = &q
	return o
}

// record records results and waits until they are durable.
func (e *env) record(outcomes ...store.Outcome) {
	e.Helper()
	e.s.Record(outcomes, nil)
	e.must(e.s.Flush(e.ctx))
}

func (e *env) delivery(id patchbay.DeliveryID) *patchbay.Delivery {
	e.Helper()
	d, err := e.s.Delivery(e.ctx, id)
	e.must(err)
	return d
}

func (e *env) wantState(a *store.Acceptance, i int, want patchbay.DeliveryState) {
	e.Helper()
	if got := e.delivery(delivery(a, i)).State; got != want {
		e.Errorf("delivery %d of %s is %s, want %s", i, a.Event.ID, got, want)
	}
}

// due returns what is due now of a link.
func (e *env) due(link patchbay.LinkID, limit int, skip ...patchbay.DeliveryID) []store.Claimed {
	e.Helper()
	claimed, err := e.s.Due(e.ctx, link, e.now(), limit, skipping(skip))
	e.must(err)
	return claimed
}

func skipping(ids []patchbay.DeliveryID) func(patchbay.DeliveryID) bool {
	if ids == nil {
		return nil
	}
	m := make(map[patchbay.DeliveryID]bool)
	for _, id := range ids {
		m[id] = true
	}
	return func(id patchbay.DeliveryID) bool { return m[id] }
}

// wantDue checks which deliveries are due, in order.
func (e *env) wantDue(link patchbay.LinkID, want ...patchbay.DeliveryID) {
	e.Helper()
	var got []patchbay.DeliveryID
	for _, c := range e.due(link, 1000) {
		got = append(got, c.Delivery)
	}
	e.same("due", got, want)
}

func (e *env) wantWaiting(link patchbay.LinkID, want int) {
	e.Helper()
	n, err := e.s.Waiting(e.ctx, link, 1000)
	e.must(err)
	if n != want {
		e.Errorf("%d deliveries wait, want %d", n, want)
	}
}

func (e *env) wantNextDue(link patchbay.LinkID, want time.Time) {
	e.Helper()
	at, ok, err := e.s.NextDue(e.ctx, link, nil)
	e.must(err)
	if ok == want.IsZero() || ok && !at.Equal(want) {
		e.Errorf("the next delivery is due at %s (%t), want %s", at, ok, want)
	}
}

// prune prunes until there is no more, and fails when that takes suspiciously long.
func (e *env) prune(r store.Retention) {
	e.Helper()
	for range 10_000 {
		more, err := e.s.Prune(e.ctx, r, e.now())
		e.must(err)
		if !more {
			return
		}
	}
	e.Fatal("Prune always has more")
}

func key(text string) [16]byte {
	sum := sha256.Sum256([]byte(text))
	return [16]byte(sum[:16])
}

func ids(events []store.EventRecord) []patchbay.EventID {
	var out []patchbay.EventID
	for i := range events {
		out = append(out, events[i].ID)
	}
	return out
}

func deliveryIDs(deliveries []patchbay.Delivery) []patchbay.DeliveryID {
	var out []patchbay.DeliveryID
	for i := range deliveries {
		out = append(out, deliveries[i].ID)
	}
	return out
}
