package deliver

import (
	"context"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// While a queue is put in order, each look takes between sortBatch and sortMost deliveries, as many as make up about
// sortBytes: every look passes over what has been seen, so few large ones are quicker.
const (
	sortBatch = 256
	sortMost  = 8192
	sortBytes = 8 << 20
)

// wasReordered reports whether the lane's order was changed since its queue was sorted.
func (l *lane) wasReordered(e *Engine) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return l.reordered
}

// sort gives what waits in a lane's queue the turn that it should have, before anything of it is sent: a recovery does
// not know turns, and an order may have been changed. Where it was, those that others wait for lose their turn after
// their next failure at the latest; those that wait for a retry lose it now, if what is behind them need not wait.
func (e *Engine) sort(ctx context.Context, l *lane, link *Link) error {
	e.mu.Lock()
	done, reordered := l.sorted && !l.reordered, l.reordered
	l.sorted, l.reordered = true, false
	e.mu.Unlock()
	if done {
		return nil
	}
	err := e.sortAll(ctx, l, link, reordered)
	if err != nil {
		e.mu.Lock()
		l.sorted, l.reordered = false, l.reordered || reordered
		e.mu.Unlock()
	}
	return err
}

func (e *Engine) sortAll(ctx context.Context, l *lane, link *Link, reordered bool) error {
	far := e.now().Add(10 * 365 * 24 * time.Hour)
	seen := map[patchbay.DeliveryID]struct{}{}
	skip := func(d patchbay.DeliveryID) bool { _, ok := seen[d]; return ok }
	for batch := sortBatch; ; {
		found, err := e.o.Store.Due(ctx, link.ID, far, batch, skip)
		if err != nil {
			return err
		}
		last := len(found) < batch
		bytes := 0
		var moved []store.Queued
		for i := range found {
			c := &found[i]
			seen[c.Delivery] = struct{}{}
			bytes += len(c.Event.Payload)
			turn, wrong := e.misplaced(link, c)
			if !wrong && reordered && c.Attempts > 0 && turn != "" && (link.Order == nil || link.Order.OnFailure == patchbay.OnFailureSkip) {
				turn, wrong = "", !link.threads() // it need not keep the others waiting any more
			}
			if wrong {
				c.Queued.Thread = turn
				moved = append(moved, c.Queued)
			}
		}
		for part := range slices.Chunk(moved, parkMost) {
			if err := e.move(ctx, l, part); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		batch = min(max(sortBatch, sortBytes/max(bytes/len(found), 512)), 2*batch, sortMost)
	}
}

// misplaced returns the turn that a delivery of the queue should have, and whether it has another one. One that has lost
// its turn does not get it back.
func (e *Engine) misplaced(link *Link, c *store.Claimed) (string, bool) {
	switch {
	case !link.ordered():
		return c.Thread, false // it keeps what it has until it has been tried
	case link.Order == nil && c.Thread != "":
		return c.Thread, false
	case link.Order != nil && c.Thread == "" && c.Attempts > 0:
		return "", false
	}
	turn, _ := e.turn(link, &c.Event)
	return turn, turn != c.Thread
}

// rethread puts deliveries into their turns that have come into the queue without. It returns the others; those that it
// moved, and what comes after them, are found by the next load, in their order.
func (e *Engine) rethread(ctx context.Context, l *lane, link *Link, claimed []store.Claimed) ([]store.Claimed, error) {
	var moved []store.Queued
	first := map[string]patchbay.DeliveryID{} // of those that are moved, by turn
	for i := range claimed {
		c := &claimed[i]
		if turn, wrong := e.misplaced(link, c); wrong {
			c.Queued.Thread = turn
			moved = append(moved, c.Queued)
			if at, ok := first[turn]; !ok || c.Delivery < at {
				first[turn] = c.Delivery
			}
		}
	}
	if len(moved) == 0 {
		return claimed, nil
	}
	kept := claimed[:0]
	for i := range claimed {
		at, ok := first[claimed[i].Thread]
		if !ok || claimed[i].Thread == "" || claimed[i].Delivery < at {
			kept = append(kept, claimed[i])
		}
	}
	return kept, e.move(ctx, l, moved)
}

// move gives deliveries of the queue another turn, but for those that somebody has in hand.
func (e *Engine) move(ctx context.Context, l *lane, q []store.Queued) error {
	if len(q) == 0 {
		return nil
	}
	e.mu.Lock()
	mine := q[:0]
	for i := range q {
		if l.loaded[q[i].Delivery] == 0 && !l.removed {
			l.loaded[q[i].Delivery]++
			mine = append(mine, q[i])
		}
	}
	e.mu.Unlock()
	var err error
	if len(mine) > 0 {
		err = e.o.Store.Enqueue(ctx, mine)
	}
	e.mu.Lock()
	for i := range mine {
		l.letGo(mine[i].Delivery)
	}
	l.dirty = true
	var gone []store.Queued
	if l.removed && err == nil {
		gone = mine
	}
	e.mu.Unlock()
	e.discard(gone, deletedReason)
	return err
}
