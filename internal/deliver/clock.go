package deliver

import (
	"container/heap"
	"context"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
)

// stepLeast is the least by which a clock that was set differs from one that runs a little fast or slow.
const stepLeast = time.Second

// steady is what makes the engine's time out of a clock that may be set: it does not go back. After the clock was set
// back the engine is ahead of it, or everything that waits would wait for as long as that; set forward, it catches up.
type steady struct {
	began     time.Time // by the monotonic clock
	last      time.Time // what the clock said when it was looked at last
	lastSince time.Duration
	ahead     atomic.Int64
}

// now is the engine's time.
func (e *Engine) now() time.Time {
	return e.o.Now().Round(0).Add(time.Duration(e.steady.ahead.Load()))
}

// age is how old an event is, by the clock that it was received by.
func (e *Engine) age(event *patchbay.Event, at time.Time) time.Duration {
	return at.Sub(event.ReceivedAt) - time.Duration(e.steady.ahead.Load())
}

// watch looks whether the clock was set. Only the goroutine of clock calls it.
func (s *steady) watch(now time.Time) (stepped time.Duration) {
	now = now.Round(0)
	since := time.Since(s.began)
	if !s.last.IsZero() {
		stepped = now.Sub(s.last) - (since - s.lastSince)
		if stepped.Abs() >= stepLeast {
			s.ahead.Store(max(0, s.ahead.Load()-int64(stepped)))
		} else {
			stepped = 0
		}
	}
	s.last, s.lastSince = now, since
	return stepped
}

// clock kicks lanes when their time comes, and sweeps while anything is in memory.
func (e *Engine) clock(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if step := e.steady.watch(e.o.Now()); step != 0 {
			e.log.Warn("the clock was set; what waits goes on as if it had not been set back", "by", step)
		}
		e.mu.Lock()
		now := e.now()
		for len(e.timers) > 0 && !e.timers[0].wakeAt.After(now) {
			l := heap.Pop(&e.timers).(*lane)
			e.kick(l)
		}
		if !e.sweepAt.IsZero() && !e.sweepAt.After(now) {
			e.sweep(now)
		}
		e.schedule()
		pause := time.Minute // no longer, in case the wall clock is set
		if len(e.timers) > 0 {
			pause = min(pause, e.timers[0].wakeAt.Sub(now))
		}
		if !e.sweepAt.IsZero() {
			pause = min(pause, e.sweepAt.Sub(now))
		}
		if e.suspended {
			pause = min(pause, validEvery)
		}
		e.mu.Unlock()
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return
		case <-e.wakeClock:
		case <-timer.C:
		}
	}
}

// sweepSoon has memory looked at when that is not arranged already.
func (e *Engine) sweepSoon() {
	if e.sweepAt.IsZero() {
		e.sweepAt = e.now().Add(sweepEvery)
		wake(e.wakeClock)
	}
}

// sweep marks lanes as slow whose attempts take long, and sends fresh deliveries that have waited for long to the queue.
func (e *Engine) sweep(now time.Time) {
	e.markSlow(now)
	kept := e.fresh[:0]
	for _, l := range e.fresh {
		if l.fresh+l.behindFresh > 0 {
			e.handOver(l, e.takeFresh(l, now.Add(-parkAfter)))
		}
		if l.listed = l.fresh+l.behindFresh > 0; l.listed {
			kept = append(kept, l)
		}
	}
	clear(e.fresh[len(kept):])
	e.fresh = kept
	e.sweepAt = time.Time{}
	if e.active.n > 0 || len(e.fresh) > 0 {
		e.sweepAt = now.Add(sweepEvery)
	}
}

// markSlow counts attempts that take long as those of failing lanes, and lets others have the room that this makes.
func (e *Engine) markSlow(now time.Time) {
	marked := 0
	for it := e.active.first; it != nil && now.Sub(it.started) > slowAfter; it = it.next {
		if it.slow {
			continue
		}
		it.slow = true
		it.lane.slow++
		marked++
		e.slots.n[it.class]--
		e.slots.n[failing]++
		if h := it.host; h != nil {
			h.slots.n[it.class]--
			h.slots.n[failing]++
			e.vacated(h)
		}
		it.class = failing
		if it.lane.slow == 1 {
			e.slimDown(it.lane)
			e.kick(it.lane)
		}
	}
	if marked > 0 {
		e.unpark(&e.parked, &e.slots, marked)
	}
}
