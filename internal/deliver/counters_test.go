package deliver

// counters checks that an engine with nothing to do counts nothing.
func (w *world) counters(e *Engine) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, n := range map[string]int{
		"bytes in memory": e.readyBytes, "unrecorded": e.unrecorded, "under way": e.active.n, "slots": e.slots.total(),
		"hosts": len(e.hosts), "freed hosts": e.freed.n, "runnable": e.runnable.n, "workers": e.workers, "loads": e.loads.n,
		"leaving": len(e.leaving), "fresh lanes": len(e.fresh), "parked": e.parked[0].n + e.parked[1].n + e.parked[2].n,
		"lanes of deleted links": len(e.lanes) - (propertyLinks - len(w.deleted)),
	} {
		if n != 0 {
			w.complain("when idle: %s %d", name, n)
		}
	}
	for id, l := range e.lanes {
		if l.behind+l.behindFresh+l.planned+l.hands != 0 {
			w.complain("when idle lane %s has behind %d, of them fresh %d, planned %d, in hand %d", id, l.behind, l.behindFresh, l.planned, l.hands)
		}
		if l.ready.n+l.fresh+len(l.loaded)+len(l.chains)+l.inflight+l.slow != 0 || l.loading || l.place != nowhere {
			w.complain("when idle lane %s has ready %d, fresh %d, loaded %d, chains %d, in flight %d, slow %d, loading %t, place %d",
				id, l.ready.n, l.fresh, len(l.loaded), len(l.chains), l.inflight, l.slow, l.loading, l.place)
		}
	}
}
