package postgres

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// writers is how many transactions can be under way: while one waits for the disk, the other one fills the processor.
	writers = 2
	// recordMost and recordWait say when results are committed that no acceptance takes along.
	recordMost = 256
	recordWait = 20 * time.Millisecond
	// lingerMost bounds how long a transaction waits for callers to come back that have just been answered. It costs the
	// server some 200 µs whatever is in it. It does not wait for more than there have been lately, and when there is only
	// one caller it never waits.
	lingerMost = time.Millisecond
	// batchBytes bounds the payloads in one transaction.
	batchBytes = 8 << 20
	// retryFirst and retryMost are the pauses between attempts to commit results while the database is away.
	retryFirst = 50 * time.Millisecond
	retryMost  = time.Second
)

// writer is what the goroutines that write share. Others hand over acceptances and results; a goroutine takes what is
// there, commits it in one transaction and tells whoever waits. Results go through one transaction after the other, so that
// they keep their order: whoever has some in a transaction has the turn (ordered).
type writer struct {
	s      *Store
	config *pgx.ConnConfig
	pool   *sync.Pool // *op

	mu       sync.Mutex
	accepts  []*op
	results  []results
	outcomes int       // in results
	flushing int       // those of results that somebody waits for
	oldest   time.Time // when the first of results was handed over
	retryAt  time.Time // the last attempt at results failed: not before this
	ordered  bool      // somebody has the turn
	sleepers int
	wake     chan struct{}
	// company is about how many callers there are at the same time, flying how many of them are in transactions. Until
	// lingerUntil the next transaction waits for the others.
	company, flying int
	lingerUntil     time.Time
	closed          bool
	fenced          bool
	// abandoned is for tests: what is pending is forgotten, as it is when a process is killed.
	abandoned bool
	// floor is the highest that the database may have as this node's. An acceptance below it goes with the turn and takes
	// a new floor along. flooredAt is when it was last written.
	floor     int64
	flooredAt time.Time
	backoff   time.Duration
	failures  map[int]func(error) // told when the database cannot be written; see onFailure
	failureID int

	failing atomic.Pointer[error] // why the last transaction failed; nil when it did not
	result  error                 // what could not be written at the end
	done    sync.WaitGroup
	stats   struct{ commits, committed, busy, last atomic.Int64 }
}

func newWriter(s *Store, config *pgx.ConnConfig, floor int64) *writer {
	pool := sync.Pool{New: func() any { return &op{done: make(chan struct{}, 1)} }}
	return &writer{s: s, config: config, pool: &pool, wake: make(chan struct{}, writers), floor: floor, failures: make(map[int]func(error))}
}

// start connects the writers and starts them.
func (w *writer) start(ctx context.Context) error {
	all := make([]*hot, writers)
	for i := range all {
		all[i] = newHot(w)
		if err := all[i].connect(ctx); err != nil {
			for _, h := range all[:i] {
				h.disconnect()
			}
			return err
		}
	}
	for _, h := range all {
		w.done.Go(func() {
			defer h.disconnect()
			w.loop(h)
		})
	}
	return nil
}

// close commits what was handed over and ends the writers.
func (w *writer) close() error {
	w.mu.Lock()
	w.closed = true
	w.rouseAll()
	w.mu.Unlock()
	w.done.Wait()
	return w.result
}

// abandon has the writers end where they stand.
func (w *writer) abandon() {
	w.mu.Lock()
	w.closed, w.abandoned = true, true
	w.rouseAll()
	w.mu.Unlock()
}

// over says why nothing can be handed over any more; nil when it can. w.mu is held.
func (w *writer) over() error {
	switch {
	case w.closed:
		return store.ErrClosed
	case w.fenced:
		return store.ErrFenced
	}
	return nil
}

// rouse wakes a writer that sleeps. w.mu is held.
func (w *writer) rouse() {
	if w.sleepers > 0 {
		select {
		case w.wake <- struct{}{}:
		default: // as many are on their way as can be
		}
	}
}

func (w *writer) rouseAll() {
	for range writers {
		w.rouse()
	}
}

func (w *writer) loop(h *hot) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		w.mu.Lock()
		if w.abandoned {
			w.mu.Unlock()
			return
		}
		wait := w.take(&h.batch)
		if !h.batch.empty() {
			w.mu.Unlock()
			h.work()
			continue
		}
		if w.closed && w.finished() {
			w.mu.Unlock()
			return
		}
		w.sleepers++
		w.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-w.wake:
		case <-timer.C:
		}
		w.mu.Lock()
		w.sleepers--
		w.mu.Unlock()
	}
}

// finished reports after close whether there is nothing left to write, or nothing that can be written. w.mu is held.
func (w *writer) finished() bool {
	if len(w.accepts) == 0 && len(w.results) == 0 {
		return true
	}
	failed := w.failing.Load()
	if failed == nil {
		return false
	}
	if w.outcomes > 0 && !w.ordered {
		w.result = fmt.Errorf("%d results of deliveries could not be written before the end; these deliveries are sent again: %w", w.outcomes, *failed)
	}
	w.forget(store.ErrClosed)
	return true
}

// forget drops what is pending and tells who waits. w.mu is held.
func (w *writer) forget(err error) {
	for _, o := range w.accepts {
		if o.took.CompareAndSwap(opWaiting, opTaken) {
			o.err = err
			o.done <- struct{}{}
		}
	}
	for _, r := range w.results {
		if r.flushed != nil {
			r.flushed <- err
		}
	}
	w.accepts, w.results, w.outcomes, w.flushing = nil, nil, 0, 0
}

// take fills a batch with what is to be written now; without anything it returns how long to sleep. w.mu is held.
func (w *writer) take(b *batch) time.Duration {
	b.reset()
	if w.fenced {
		w.forget(store.ErrFenced)
		return time.Hour
	}
	if wait := w.linger(); wait > 0 {
		return wait
	}
	turn := !w.ordered && len(w.results) > 0 && !time.Now().Before(w.retryAt)
	w.takeAccepts(b, !w.ordered)
	wait := time.Hour
	if turn || b.turn {
		at := w.oldest.Add(recordWait)
		if len(b.ops) > 0 || w.outcomes >= recordMost || w.flushing > 0 || w.closed {
			at = time.Time{}
		}
		if wait = time.Until(at); wait <= 0 && turn {
			w.takeResults(b)
		}
	} else if !w.ordered && len(w.results) > 0 {
		wait = time.Until(w.retryAt)
	}
	if b.turn {
		w.ordered = true
		w.takeFloor(b)
	}
	if n := len(b.ops); n > 0 {
		w.flying += n
		w.company = max(w.flying+len(w.accepts), w.company-w.company/16-1)
		w.lingerUntil = time.Time{}
	}
	return max(wait, 0)
}

// linger says how long to wait for company; 0: not at all. w.mu is held.
func (w *writer) linger() time.Duration {
	n := len(w.accepts)
	if n == 0 || w.closed || w.company <= 1 || n >= w.company-w.flying || n >= w.s.o.limits.batchAccepts {
		return 0
	}
	if w.lingerUntil.IsZero() {
		w.lingerUntil = time.Now().Add(lingerMost)
	}
	return time.Until(w.lingerUntil)
}

// landed notes that the callers of acceptances of a transaction were answered.
func (w *writer) landed(n int) {
	w.mu.Lock()
	w.flying -= n
	w.mu.Unlock()
}

// takeAccepts takes acceptances, in the order in which they came. Of those with the same key only the first goes: the
// others find it in the database. mayTurn says that nobody has the turn: then this one takes it for acceptances below
// the floor, which are left otherwise.
func (w *writer) takeAccepts(b *batch, mayTurn bool) {
	size, most := 0, w.s.o.limits.batchAccepts
	kept := w.accepts[:0]
	for i, o := range w.accepts {
		if len(b.ops) >= most || size >= batchBytes {
			kept = append(kept, w.accepts[i:]...)
			break
		}
		a := o.accept
		late := int64(a.Event.ID) < w.floor
		if late && !mayTurn || a.Idempotency != nil && b.keys[a.Idempotency.Key] {
			kept = append(kept, o)
			continue
		}
		if !o.took.CompareAndSwap(opWaiting, opTaken) {
			continue // its caller has left
		}
		if a.Idempotency != nil {
			b.keys[a.Idempotency.Key] = true
		}
		b.turn = b.turn || late
		b.late = b.late || late
		size += len(a.Event.Payload)
		b.ops = append(b.ops, o)
		w.s.begin(o)
	}
	clear(w.accepts[len(kept):])
	w.accepts = kept
}

// takeResults takes results, and with them the turn.
func (w *writer) takeResults(b *batch) {
	n, outcomes := 0, 0
	for ; n < len(w.results) && outcomes < w.s.o.limits.batchOutcomes; n++ {
		outcomes += len(w.results[n].outcomes)
		if w.results[n].flushed != nil {
			w.flushing--
		}
	}
	b.results = append(b.results, w.results[:n]...)
	rest := copy(w.results, w.results[n:])
	clear(w.results[rest:])
	w.results = w.results[:rest]
	w.outcomes -= outcomes
	if rest > 0 {
		w.oldest = time.Time{} // there is a lot: do not linger
	}
	b.turn = true
}

// takeFloor decides whether the batch, which has the turn, writes a floor.
func (w *writer) takeFloor(b *batch) {
	value := int64(w.s.floor.Value())
	if b.late {
		b.floor = value // not above any of the batch: the floor knows them
		return
	}
	if !w.s.floor.Open() {
		value = forever // a node that accepts nothing must not keep others looking where it once did
	}
	value = min(value, patchbay.FirstIDAt(w.s.now().Add(-w.s.o.limits.floorBehind)))
	if value > w.floor && time.Since(w.flooredAt) >= w.s.o.limits.floorEvery {
		b.floor = value
		w.floor = value // whatever comes of it: from now on the database may have it
		w.flooredAt = time.Now()
	}
}

// giveTurn ends a batch's turn, after its results were committed or given back.
func (w *writer) giveTurn(b *batch) {
	if !b.turn {
		return
	}
	w.mu.Lock()
	w.ordered = false
	if len(w.results) > 0 || len(w.accepts) > 0 || w.closed {
		w.rouse()
	}
	w.mu.Unlock()
}

// giveBack puts results that could not be written before those that came since, to be tried after a pause.
func (w *writer) giveBack(rest []results) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(rest) == 0 {
		return
	}
	if w.fenced {
		w.results = append(w.results, rest...)
		w.forget(store.ErrFenced)
		return
	}
	w.results = append(append(make([]results, 0, len(rest)+len(w.results)), rest...), w.results...)
	for i := range rest {
		w.outcomes += len(rest[i].outcomes)
		if rest[i].flushed != nil {
			w.flushing++
		}
	}
	w.backoff = min(max(retryFirst, 2*w.backoff), retryMost)
	w.retryAt = time.Now().Add(w.backoff)
}

// fail notes that the database cannot be written.
func (w *writer) fail(err error) {
	if w.failing.Swap(&err) == nil {
		w.s.log.Error("the database cannot take writes; nothing is accepted until it can", "error", err)
	}
	w.mu.Lock()
	told := w.failures
	w.failures = make(map[int]func(error))
	w.mu.Unlock()
	for _, f := range told {
		f(err)
	}
}

// recovered notes that a transaction was committed.
func (w *writer) recovered() {
	if w.failing.Swap(nil) == nil {
		return
	}
	w.s.log.Info("the database takes writes again")
	w.mu.Lock()
	w.backoff, w.retryAt = 0, time.Time{}
	w.mu.Unlock()
}

// onFailure has f called when the database cannot be written, once, until the returned function is.
func (w *writer) onFailure(f func(error)) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failureID++
	id := w.failureID
	w.failures[id] = f
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.failures, id)
	}
}

// fencedOff ends all writing: what this node had in memory is in other hands.
func (w *writer) fencedOff() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.fenced {
		w.s.log.Error("the other nodes took this one for dead; it writes nothing any more")
	}
	w.fenced = true
	w.forget(store.ErrFenced)
}
