package sqlite

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// recordMost and recordWait say when results are committed that no acceptance takes along.
	recordMost = 256
	recordWait = 20 * time.Millisecond
	// batchBytes bounds the payloads in one transaction.
	batchBytes = 8 << 20
	// lingerMost bounds how long the writer waits after a transaction of several ops for those callers to come back that
	// it has just answered. A transaction costs some 150 µs whatever is in it, and where a sync takes a millisecond,
	// callers otherwise fall into two halves that take turns. It does not wait for more than there have been lately, and
	// a writer that is not busy never waits.
	lingerMost = time.Millisecond
	// retryFirst and retryMost are the pauses between attempts to commit results while the disk is full and the like.
	retryFirst = 50 * time.Millisecond
	retryMost  = time.Second
)

// writer is the one goroutine that writes. Others hand it items; it takes what is there, commits it in one
// transaction and tells whoever waits.
type writer struct {
	s *Store
	c *conn // used by the goroutine only, once it runs
	// checkpointer is the connection of the goroutine of that name.
	checkpointer *conn
	pool         *sync.Pool // *op

	mu       sync.Mutex
	pending  []item
	spare    []item    // the slice that is not pending, to be reused
	ops      int       // of pending, those that somebody waits for
	outcomes int       // results in pending
	oldest   time.Time // when the first of pending was handed over
	retryAt  time.Time // nobody waits and the last attempt failed: not before this
	closed   bool
	// abandoned is for tests: what is pending is forgotten, as it is when a process is killed.
	abandoned bool
	sleeping  bool
	wake      chan struct{}
	// Until lingerUntil, or until there are expected ops, the next transaction waits. expected 0: it does not.
	lingerUntil time.Time
	expected    int
	company     int // about how many callers there are at the same time

	marks    marks // as they are in the database
	markedAt time.Time
	batch    batch
	backoff  time.Duration
	// recent is the lowest identifier of a delivery whose first attempt may stand under it. It never goes back, also
	// not with the clock: else a later decision could take the place before an attempt that came late.
	recent int64
	result error // what the last attempt before the end said

	failing atomic.Pointer[error] // why the last transaction failed; nil when it did not
	stats   struct{ commits, committed, busy, last atomic.Int64 }
	log     logState
}

func newWriter(s *Store, c *conn) *writer {
	pool := sync.Pool{New: func() any { return &op{done: make(chan struct{}, 1)} }}
	return &writer{s: s, c: c, pool: &pool, wake: make(chan struct{}, 1), log: logState{full: make(chan struct{}, 1), at: s.o.limits.checkpointPages}}
}

// rouse wakes the writer when it sleeps. w.mu is held.
func (w *writer) rouse() {
	if w.sleeping {
		w.sleeping = false
		w.wake <- struct{}{}
	}
}

// abandon has the writer end where it stands.
func (w *writer) abandon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed, w.abandoned = true, true
	w.rouse()
}

// close has the writer finish what it has and end.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.rouse()
	w.mu.Unlock()
}

func (w *writer) loop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		w.mu.Lock()
		if w.abandoned {
			w.mu.Unlock()
			return
		}
		wait, ready := w.readiness()
		if ready {
			ops := w.ops
			items, last := w.take(), w.closed
			ops -= w.ops
			w.mu.Unlock()
			w.work(items)
			w.giveBack(items)
			w.linger(ops)
			if last && w.finished() {
				w.markedAt = time.Time{}
				_ = w.transact(nil) // so that the next start has nothing to look for; without it, it looks
				return
			}
			continue
		}
		w.sleeping = true
		w.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-w.wake:
		case <-timer.C:
			w.mu.Lock()
			if !w.sleeping { // somebody was faster than the timer
				<-w.wake
			}
			w.sleeping = false
			w.mu.Unlock()
		}
	}
}

// linger sets how long the next transaction waits for company, after one with so many ops.
func (w *writer) linger(ops int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expected = 0
	w.company = max(ops+w.ops, w.company-w.company/16-1)
	if ops > 1 && !w.closed {
		w.expected = w.company
		w.lingerUntil = time.Now().Add(lingerMost)
	}
}

// readiness says whether there is a transaction to make now, and if not, how long to sleep. w.mu is held.
func (w *writer) readiness() (time.Duration, bool) {
	if w.ops < w.expected && !w.closed {
		if wait := time.Until(w.lingerUntil); wait > 0 {
			return wait, false
		}
	}
	w.expected = 0
	switch {
	case w.ops > 0 || w.closed || w.behind() || w.log.finish.Load():
		return 0, true
	case w.outcomes == 0:
		return time.Hour, false
	}
	at := w.oldest.Add(recordWait)
	if w.outcomes >= recordMost {
		at = time.Time{}
	}
	if at.Before(w.retryAt) {
		at = w.retryAt
	}
	wait := time.Until(at)
	return wait, wait <= 0
}

// behind reports whether a block or keys are half written, and nothing else holds them up.
func (w *writer) behind() bool {
	return w.failing.Load() == nil && (w.s.history.flushing() || w.s.keys.flushing())
}

// take takes the first of what is pending, up to the size of a transaction. w.mu is held.
func (w *writer) take() []item {
	n, outcomes, size, ops, most := 0, 0, 0, 0, &w.s.o.limits
	for ; n < len(w.pending) && ops < most.batchOps && outcomes < most.batchOutcomes && size < batchBytes; n++ {
		outcomes += len(w.pending[n].outcomes)
		if o := w.pending[n].op; o != nil {
			if !w.pending[n].again {
				ops++
			}
			if o.accept != nil {
				size += len(o.accept.Event.Payload)
			}
		}
	}
	w.ops -= ops
	w.outcomes -= outcomes
	taken := w.pending[:n:n]
	if n == len(w.pending) {
		w.pending, w.spare = w.spare[:0], nil
		return taken
	}
	w.pending = append(w.spare[:0], w.pending[n:]...)
	w.spare = nil
	w.oldest = time.Time{} // there is a lot: do not linger
	return taken
}

// giveBack returns the slice that take returned.
func (w *writer) giveBack(items []item) {
	clear(items)
	w.mu.Lock()
	w.spare = items[:0]
	w.mu.Unlock()
}

// finished reports after close whether all is done. What still cannot be written by then is left to Recover.
func (w *writer) finished() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	failed := w.failing.Load()
	if len(w.pending) > 0 && failed == nil {
		return false
	}
	for i := range w.pending {
		if o := w.pending[i].op; o != nil {
			o.err = store.ErrClosed
			o.done <- struct{}{}
		}
	}
	if w.outcomes > 0 {
		w.result = fmt.Errorf("%d results of deliveries could not be written before the end; after the next start these deliveries are sent again: %w",
			w.outcomes, *failed)
	}
	return true
}

// work commits items, in one transaction when all goes well.
func (w *writer) work(items []item) {
	if w.log.finish.Load() {
		w.finishCheckpoint()
	}
	for i := range items {
		if o := items[i].op; o != nil && !o.took.CompareAndSwap(opWaiting, opTaken) {
			items[i].op = nil // its caller has left
		}
	}
	err := w.transact(items)
	switch {
	case err == nil:
		w.published(items)
	case environmental(err):
		w.postpone(items, err)
	default:
		w.separately(items, err)
	}
	w.watchLog()
}

// separately commits items one by one, after a transaction of all of them failed for a reason that lies in one of
// them, so that it alone fails.
func (w *writer) separately(items []item, cause error) {
	if len(items) == 1 {
		w.s.log.Error("something could not be written to the database and is dropped", "error", cause)
		if o := items[0].op; o != nil {
			o.err = cause
		}
		w.answer(items)
		return
	}
	for i := range items {
		one := items[i : i+1]
		err := w.transact(one)
		switch {
		case err == nil:
			w.published(one)
		case environmental(err):
			w.postpone(items[i:], err)
			return
		default:
			w.separately(one, err)
		}
	}
}

// published draws the consequences of a commit, then tells who waits.
func (w *writer) published(items []item) {
	if w.batch.wrote { // one that only looked says nothing about the disk
		w.failing.Store(nil)
		w.backoff = 0
	}
	w.batch.publish(w)
	for i := range items {
		if o := items[i].op; o != nil && o.err == nil && o.after != nil {
			o.after()
		}
	}
	w.answer(items)
}

// answer tells who waits.
func (w *writer) answer(items []item) {
	for i := range items {
		if items[i].op != nil {
			items[i].op.done <- struct{}{}
		}
		if items[i].committed != nil {
			items[i].committed()
		}
	}
}

// postpone tells callers that nothing can be written, and keeps results, and who waits for those, for later.
func (w *writer) postpone(items []item, err error) {
	err = explain(err)
	if w.failing.Swap(&err) == nil {
		w.s.log.Error("the database cannot take writes; nothing is accepted until it can", "error", err)
	}
	var kept []item
	for i := range items {
		o := items[i].op
		switch {
		case o == nil && items[i].outcomes == nil:
		case o != nil && o.accept == nil && o.do == nil && len(kept) == 0:
			o.done <- struct{}{} // nothing of what it waits for failed
		case o != nil && (o.accept != nil || o.do != nil):
			if o.err == nil {
				o.err = err
			}
			o.existing = nil
			o.done <- struct{}{}
		default:
			if o != nil {
				o.took.Store(opWaiting) // only flush comes here
			}
			items[i].again = true
			kept = append(kept, items[i])
		}
	}
	w.backoff = min(max(retryFirst, 2*w.backoff), retryMost)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = append(kept, w.pending...)
	for i := range kept {
		w.outcomes += len(kept[i].outcomes)
	}
	w.retryAt = time.Now().Add(w.backoff)
}

// transact writes items in one transaction, with what else is due. After an error the transaction is undone.
func (w *writer) transact(items []item) (err error) {
	start := time.Now()
	w.batch.reset(items)
	if err := w.c.run("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		w.stats.busy.Add(int64(time.Since(start)))
		if err != nil && w.c.inTransaction() {
			if e := w.c.exec("ROLLBACK"); e != nil {
				err = errors.Join(err, e)
			}
		}
	}()
	before := w.c.totalChanges()
	if err := w.write(items); err != nil {
		return err
	}
	w.batch.wrote = w.c.totalChanges() != before
	if err := w.c.run("COMMIT"); err != nil {
		return err
	}
	if !w.batch.wrote {
		return nil
	}
	w.stats.commits.Add(1)
	w.stats.last.Store(time.Now().UnixNano())
	held := len(w.batch.accepted) + w.batch.results
	w.stats.committed.Add(int64(held))
	if w.s.o.OnCommit != nil {
		w.s.o.OnCommit(time.Since(start), held)
	}
	return nil
}

// write runs the statements of items: events first, in the order of their identifiers, then the rest as it came.
func (w *writer) write(items []item) error {
	b := &w.batch
	w.recent = max(w.recent, patchbay.FirstIDAt(w.s.now().Add(-recent)))
	for _, o := range b.accepts {
		if err := w.accept(o); err != nil {
			return err
		}
	}
	for i := range items {
		for j := range items[i].outcomes {
			b.outcomes = append(b.outcomes, &items[i].outcomes[j])
		}
		if o := items[i].op; o != nil && o.do != nil {
			if err := w.writeOutcomes(); err != nil { // what was handed over before
				return err
			}
			if err := w.isolated(o); err != nil {
				return err
			}
		}
	}
	if err := w.writeOutcomes(); err != nil {
		return err
	}
	if err := w.writeBehind(); err != nil {
		return err
	}
	return w.writeMarks()
}

// isolated runs an op so that its own failure undoes only it.
func (w *writer) isolated(o *op) error {
	if err := w.c.run("SAVEPOINT op"); err != nil {
		return err
	}
	settled := len(w.batch.settled)
	o.err = o.do(w.c)
	if o.err == nil {
		return w.c.run("RELEASE op")
	}
	if environmental(o.err) {
		return o.err
	}
	w.batch.settled = w.batch.settled[:settled]
	return errors.Join(w.c.run("ROLLBACK TO op"), w.c.run("RELEASE op"))
}
