package postgres

import (
	"time"

	"github.com/patchbay/patchbay"
)

// floorIdle is by how much the floor of a node may lag that has nothing to write.
const floorIdle = 30 * time.Second

// raiseFloor has the floor written down although there is nothing else to write, when it lags. From the floor on, lists look
// for what is in the node's memory only, and days are not dropped without a look.
func (w *writer) raiseFloor() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over() != nil || w.s.floor.Open() || len(w.results) > 0 || w.floor >= patchbay.FirstIDAt(w.s.now().Add(-floorIdle)) {
		return
	}
	// Whoever waits for results that are durable has a transaction made, and a floor goes along with it.
	w.results = append(w.results, results{flushed: make(chan error, 1)})
	w.flushing++
	w.rouse()
}
