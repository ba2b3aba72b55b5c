package sqlite

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay/internal/store"
)

// item is an op or results, in the order in which they were handed over.
type item struct {
	op        *op
	outcomes  []store.Outcome
	committed func()
	// again is set when a transaction with it has failed: it does not make the writer hurry any more.
	again bool
}

// op is something that a caller waits for: an acceptance, a function, or, when neither is set, all that came before.
type op struct {
	accept   *store.Acceptance
	targets  []byte // encoded by the caller
	source   []byte
	existing *store.Existing

	do    func(*conn) error
	after func() // once it is committed

	err  error
	took atomic.Int32 // opWaiting, opTaken, opLeft
	done chan struct{}
}

const (
	opWaiting = iota
	opTaken   // the writer has it: its caller waits until the end
	opLeft    // its caller has left: the writer drops it
)

// newOp takes an op from the pool. Each store has its own: a channel made inside of a synctest bubble must not leave it.
func (w *writer) newOp() *op {
	o := w.pool.Get().(*op)
	o.took.Store(opWaiting)
	return o
}

func (w *writer) release(o *op) {
	o.accept, o.existing, o.do, o.after, o.err = nil, nil, nil, nil, nil
	w.pool.Put(o)
}

// submit hands an op over and waits until it is durable or failed. When it returns an error nothing was stored.
func (w *writer) submit(ctx context.Context, o *op) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return store.ErrClosed
	}
	if len(w.pending) == 0 {
		w.oldest = time.Now()
	}
	w.pending = append(w.pending, item{op: o})
	w.ops++
	if w.expected == 0 || w.ops >= w.expected {
		w.rouse()
	}
	w.mu.Unlock()
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		if o.took.CompareAndSwap(opWaiting, opLeft) {
			return ctx.Err()
		}
		<-o.done // it is being committed: the answer is what comes of that
		return o.err
	}
}

// flush waits until everything that was handed over before is durable.
func (w *writer) flush(ctx context.Context) error {
	o := &op{done: make(chan struct{}, 1)} // not from the pool: its caller may leave at any time
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return store.ErrClosed
	}
	w.pending = append(w.pending, item{op: o})
	w.ops++
	w.rouse()
	w.mu.Unlock()
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// do runs f inside of a transaction; after, which may be nil, once that is durable. The transaction also has the entry of the
// audit log that ctx asks for.
func (s *Store) do(ctx context.Context, f func(*conn) error, after func()) error {
	o := s.w.newOp()
	o.do, o.after = s.audited(ctx, f, after)
	err := s.w.submit(ctx, o)
	if o.took.Load() != opLeft {
		s.w.release(o)
	}
	return err
}
