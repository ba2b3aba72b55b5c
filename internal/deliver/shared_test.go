package deliver

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// shared is a database that several nodes use.
type shared interface {
	// join returns the database as a new node sees it.
	join(t *testing.T) store.Store
	// takeOver gives everything that a dead node had in memory a place in the queue. by is a living node.
	takeOver(t *testing.T, dead, by *view)
	// close is called when every node has left.
	close(t *testing.T)
}

// view is the store of one node. One that was killed does nothing any more.
type view struct {
	store.Store
	mu sync.Mutex // never held while the store is called: a bubble's time stands still then
	// memory holds what this node has accepted and that has neither a place in the queue nor an end.
	memory map[patchbay.DeliveryID]store.Queued
	dead   bool
}

func newView(s store.Store) *view {
	return &view{Store: s, memory: map[patchbay.DeliveryID]store.Queued{}}
}

func (v *view) kill() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dead = true
}

func (v *view) write(do func() error) error {
	v.mu.Lock()
	dead := v.dead
	v.mu.Unlock()
	if dead {
		return store.ErrFenced
	}
	return do()
}

func (v *view) Accept(ctx context.Context, a *store.Acceptance) (out *store.Existing, err error) {
	err = v.write(func() error {
		out, err = v.Store.Accept(ctx, a)
		return err
	})
	if err != nil {
		return out, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, target := range a.Targets {
		id := patchbay.DeliveryAt(a.Event.ID, i+1)
		v.memory[id] = store.Queued{Delivery: id, Event: a.Event.ID, Link: target.Link}
	}
	for i := range a.Queue {
		delete(v.memory, a.Queue[i].Delivery)
	}
	return out, nil
}

func (v *view) Record(o []store.Outcome, committed func()) {
	v.mu.Lock()
	dead := v.dead
	for i := range o {
		if !dead && (o[i].State.Final() || o[i].Next != nil) {
			delete(v.memory, o[i].Delivery)
		}
	}
	v.mu.Unlock()
	if !dead {
		v.Store.Record(o, committed)
	}
}

func (v *view) Enqueue(ctx context.Context, q []store.Queued) error {
	err := v.write(func() error { return v.Store.Enqueue(ctx, q) })
	if err == nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		for i := range q {
			delete(v.memory, q[i].Delivery)
		}
	}
	return err
}

func (v *view) SaveLane(ctx context.Context, l store.Lane) error {
	return v.write(func() error { return v.Store.SaveLane(ctx, l) })
}

func (v *view) Flush(ctx context.Context) error {
	return v.write(func() error { return v.Store.Flush(ctx) })
}

func (v *view) Following(ctx context.Context, after *store.Queued, now time.Time, limit int) ([]store.Claimed, error) {
	return v.Store.(store.Chains).Following(ctx, after, now, limit)
}

// oneSQLite is a SQLite database that nodes in one process share.
type oneSQLite struct{ db *sqlite.Store }

func newOneSQLite(t *testing.T) shared {
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return &oneSQLite{s}
}

func (o *oneSQLite) join(*testing.T) store.Store { return unclosed{o.db} }

func (o *oneSQLite) close(t *testing.T) {
	if err := o.db.Close(); err != nil {
		t.Error(err)
	}
}

func (o *oneSQLite) takeOver(t *testing.T, dead, by *view) {
	var rows []store.Queued
	for _, q := range dead.memory {
		q.Due = time.Now()
		rows = append(rows, q)
	}
	if err := by.Enqueue(context.Background(), rows); err != nil {
		t.Fatal(err)
	}
}

// unclosed is a store that outlives its user.
type unclosed struct{ *sqlite.Store }

func (unclosed) Close() error { return nil }
