package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// Several nodes. Links are divided among them: the owner of a link is the only one that reads its queue, so what the
// owner has in memory is the only claim there is. Whoever accepts an event sends it itself, from memory, unless the link
// needs one sender: then a node that is not its owner commits the delivery with a place in the queue. Whatever a node
// that is not the owner puts into the queue it tells the owner.

const (
	// tellEvery is the pause between two calls of Cluster.Wake: what comes up meanwhile goes into one.
	tellEvery = 5 * time.Millisecond
	// validEvery is how often a node that may not send looks whether it may again.
	validEvery = 50 * time.Millisecond
	// strangersEvery is how often links that nobody knows and that something waits for are looked up.
	strangersEvery = time.Minute
)

// exclusive reports whether one node must send everything of the link.
func (l *Link) exclusive() bool {
	return l.Rate > 0 || l.Concurrency > 0 || l.ordered()
}

// ordered reports whether some of the link's deliveries wait for others.
func (l *Link) ordered() bool {
	return l.Order != nil || l.threads()
}

// threads reports whether the link's deliveries of one thread wait for each other.
func (l *Link) threads() bool {
	d := l.Definition
	return d != nil && d.Threads && (d.Threaded == nil || l.Settings != nil && d.Threaded(l.Settings))
}

// drain is what Lost waits for.
type drain struct {
	lanes int // that still have something in hand, and one for the chores
	done  chan struct{}
}

func (d *drain) less() {
	if d.lanes--; d.lanes == 0 {
		close(d.done)
	}
}

// owns reports whether this node reads the link's queue.
func (e *Engine) owns(id patchbay.LinkID) bool { return e.o.Cluster == nil || e.o.Cluster.Owns(id) }

// valid reports whether attempts may begin. Where they may not, the clock looks again soon.
func (e *Engine) valid() bool {
	if e.o.Cluster == nil {
		return true
	}
	if e.fenced {
		return false
	}
	if !e.o.Cluster.Valid() {
		if !e.suspended {
			e.suspended = true
			wake(e.wakeClock)
		}
		return false
	}
	e.suspended = false
	return true
}

// lostHold takes note of an error that says that this node was fenced: it sends and writes nothing any more. It reports
// whether it is one.
func (e *Engine) lostHold(err error) bool {
	if !errors.Is(err, store.ErrFenced) {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fenced = true
	return true
}

// Gained takes links over: those for which owns says true are this node's from now on, and Cluster.Owns says so already.
// Their lanes are as after a restart. After an error nothing has been taken over, and it can be called again.
func (e *Engine) Gained(ctx context.Context, owns func(patchbay.LinkID) bool) error {
	lanes, err := e.o.Store.Lanes(ctx)
	if err != nil {
		return patchbay.Internal("reading the lanes", err)
	}
	waited, err := e.o.Store.Waited(ctx)
	if err != nil {
		return patchbay.Internal("reading what waits", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	saved := make(map[patchbay.LinkID]*store.Lane, len(lanes))
	for i := range lanes {
		saved[lanes[i].Link] = &lanes[i]
	}
	for id, l := range e.lanes {
		if !owns(id) {
			continue
		}
		if l.drain != nil { // it was lost and not yet let go
			l.drain.less()
			l.drain = nil
		}
		l.owned, l.sorted = true, false
		if s := saved[id]; s != nil {
			l.restore(*s, now)
		}
		l.limitFrom(now)
		if due, ok := waited[id]; ok {
			l.queued = true
			e.noteDue(l, due)
		}
		e.kick(l)
	}
	e.schedule()
	return nil
}

// Lost stops reading the queue for links: those for which owns says true, of which Cluster.Owns says false already. What
// was loaded and not begun is dropped from memory; what only one node may send is handed back. The channel is closed
// when nothing of theirs is under way or unrecorded here any more, so that another node may begin.
func (e *Engine) Lost(owns func(patchbay.LinkID) bool) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := &drain{lanes: 1, done: make(chan struct{})}
	for id, l := range e.lanes {
		if !owns(id) || !l.owned {
			continue
		}
		l.owned, l.queued, l.due = false, false, time.Time{}
		e.forgetLoaded(l)
		l.queued, l.due = false, time.Time{}
		e.giveBack(l)
		if !l.drained() {
			l.drain = d
			d.lanes++
		}
	}
	e.drains = append(e.drains, d)
	wake(e.wakeChores)
	return d.done
}

// giveBack hands over to the queue what is in memory and only the owner may send.
func (e *Engine) giveBack(l *lane) {
	if !l.owned && l.link.exclusive() {
		e.handOver(l, e.takeFresh(l, time.Time{}))
	}
}

// drained reports whether another node may begin with the lane's queue.
func (l *lane) drained() bool {
	return len(l.loaded) == 0 && !l.loading && (l.hands == 0 || !l.link.exclusive())
}

// checkDrained tells whoever waits for the lane to be let go.
func (l *lane) checkDrained() {
	if l.drain != nil && l.drained() {
		l.drain.less()
		l.drain = nil
	}
}

// Woken looks at the queues of links: another node has put something there.
func (e *Engine) Woken(links []patchbay.LinkID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	for _, id := range links {
		if l := e.lanes[id]; l != nil && l.owned {
			e.noteQueued(l, now)
		}
	}
	e.schedule()
}

// LookAgain looks at the queues of all links of this node, for wakes that were lost. It costs one query. What waits for
// links that were deleted is dropped.
func (e *Engine) LookAgain(ctx context.Context) error {
	waited, err := e.o.Store.Waited(ctx)
	if err != nil {
		e.lostHold(err)
		return patchbay.Internal("reading what waits", err)
	}
	e.mu.Lock()
	now := e.now()
	strangers := map[patchbay.LinkID]time.Time{}
	for id, due := range waited {
		l := e.lanes[id]
		switch {
		case l == nil && e.owns(id):
			strangers[id] = due
		case l == nil || !l.owned:
		case l.due.IsZero() || due.Before(l.due):
			e.noteQueued(l, later(due, now))
		}
	}
	look := len(strangers) > 0 && !now.Before(e.strangersAt)
	if look {
		e.strangersAt = now.Add(strangersEvery)
	}
	e.schedule()
	e.mu.Unlock()
	if !look {
		return nil
	}
	return e.dropDeleted(ctx, strangers)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// LaneDropped drops from memory what another node has cancelled by raising a lane's DropBefore.
func (e *Engine) LaneDropped(link patchbay.LinkID, before patchbay.DeliveryID) {
	e.mu.Lock()
	l := e.lanes[link]
	var gone []store.Queued
	if l != nil {
		gone = e.dropBefore(l, before)
		l.checkDrained()
		e.schedule()
	}
	e.mu.Unlock()
	e.discard(gone, droppedReason)
}

// Cancelled takes a delivery out of memory that another node has cancelled by hand. One whose attempt is under way is not
// tried again.
func (e *Engine) Cancelled(delivery patchbay.DeliveryID, link patchbay.LinkID) {
	e.mu.Lock()
	var gone []store.Queued
	if l := e.lanes[link]; l != nil {
		switch it := l.find(e, delivery); {
		case it == nil:
		case e.active.has(it):
			it.cancelled = true
		default:
			if it.queued {
				l.letGo(delivery)
			} else { // here it counts as being in memory until a result says otherwise
				gone = append(gone, it.row(it.ready))
			}
			l.drop(e, it)
			l.checkDrained()
			e.schedule()
		}
	}
	e.mu.Unlock()
	e.discard(gone, byHandReason)
}

// tell has the owner of a lane told that there is something new in its queue.
func (e *Engine) tell(l *lane) {
	if l.told || l.removed {
		return
	}
	l.told = true
	e.news = append(e.news, l)
	wake(e.wakeHerald)
}

// herald tells other nodes what they must look at, beside everything else and many links at a time.
func (e *Engine) herald(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wakeHerald:
		}
		e.mu.Lock()
		links := make([]patchbay.LinkID, 0, len(e.news))
		for _, l := range e.news {
			l.told = false
			links = append(links, l.link.ID)
		}
		clear(e.news)
		e.news = e.news[:0]
		e.mu.Unlock()
		if len(links) > 0 {
			e.o.Cluster.Wake(links)
		}
		timer.Reset(tellEvery)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// dropBefore takes what a raised DropBefore has cancelled out of a lane's memory, and returns what of it has no row in the
// queue. One whose attempt is under way is not tried again.
func (e *Engine) dropBefore(l *lane, before patchbay.DeliveryID) []store.Queued {
	var dropped []*item
	for it := e.active.first; it != nil; it = it.next {
		if it.lane == l && it.delivery < before {
			it.cancelled = true
		}
	}
	for i := range l.ready.n {
		if it := l.ready.at(i); it.delivery < before {
			dropped = append(dropped, it)
		}
	}
	for _, c := range l.chains {
		for i := range c.items.n {
			if it := c.items.at(i); it.behind && it.delivery < before {
				dropped = append(dropped, it)
			}
		}
	}
	var gone []store.Queued
	for _, it := range dropped {
		if !it.queued {
			gone = append(gone, it.row(it.ready))
		} else {
			l.letGo(it.delivery)
		}
		l.drop(e, it)
	}
	return gone
}
