package storetest

import (
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// chainTests are for stores that read what goes one after the other many at a time.
var chainTests = []test{
	{"what follows comes in order", func(e *env) {
		chains, ok := e.s.(store.Chains)
		if !ok {
			e.t.Skip("this store does not implement store.Chains")
		}
		following := func(after store.Queued, limit int, want ...patchbay.DeliveryID) {
			e.Helper()
			found, err := chains.Following(e.ctx, &after, e.now(), limit)
			e.must(err)
			var got []patchbay.DeliveryID
			for i := range found {
				got = append(got, found[i].Delivery)
				e.same("the event of what follows", found[i].Event.ID, found[i].Queued.Event)
				e.same("the thread of what follows", found[i].Thread, after.Thread)
			}
			e.same("what follows", got, want)
		}
		a, b, c := e.accept(e.threaded(0, "x")), e.accept(e.threaded(0, "x")), e.accept(e.threaded(0, "x"))
		e.accept(e.threaded(0, "y"))
		late := e.accept(e.threaded(time.Minute, "x"))
		last := e.accept(e.threaded(0, "x"))
		first := a.Queue[0]
		following(first, 10, delivery(b, 1), delivery(c, 1))
		following(first, 1, delivery(b, 1))
		following(b.Queue[0], 10, delivery(c, 1))
		e.end(c)
		following(first, 10, delivery(b, 1))
		e.clock.forward(time.Minute)
		following(first, 10, delivery(b, 1), delivery(late, 1), delivery(last, 1))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, DropBefore: delivery(last, 1)}))
		following(first, 10, delivery(last, 1))
		following(last.Queue[0], 10)
	}},
}
