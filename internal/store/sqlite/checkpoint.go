package sqlite

import (
	"context"
	"sync/atomic"
	"time"

	lib "modernc.org/sqlite/lib"
)

// The log is written into the database in the background, by a connection of its own, while the writer goes on
// appending to it. What was appended meanwhile the writer itself copies between two transactions: only a log that is
// copied whole begins anew. So the writer stands still for some hundred pages rather than for thousands.

const (
	checkpointPassive  = lib.SQLITE_CHECKPOINT_PASSIVE
	checkpointTruncate = lib.SQLITE_CHECKPOINT_TRUNCATE
)

// logState is what the writer and the checkpointer share.
type logState struct {
	full   chan struct{} // wakes the checkpointer
	finish atomic.Bool   // asks the writer to copy the rest
	at     int           // the length at which the checkpointer is woken next; the writer's
	last   int           // the length after the last transaction; the writer's
	// For tests: the longest that the writer has been copying, and the longest log.
	stall, longest atomic.Int64
}

// watchLog wakes the checkpointer when the log is long.
func (w *writer) watchLog() {
	n := w.c.logFrames()
	if n < w.log.last {
		w.log.at = w.s.o.limits.checkpointPages // it began anew
	}
	w.log.last = n
	w.log.longest.Store(max(w.log.longest.Load(), int64(n)))
	if n < w.log.at {
		return
	}
	w.log.at = n + w.s.o.limits.checkpointAgain
	select {
	case w.log.full <- struct{}{}:
	default:
	}
}

// checkpoints is the goroutine that copies the log.
func (s *Store) checkpoints(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.w.log.full:
		}
		// The second pass is for what came during the first, which has taken the longest.
		for range 2 {
			if err := s.w.checkpointer.checkpoint(checkpointPassive); err != nil && !busy(err) {
				s.log.Warn("the database's log could not be written into the database; it grows until it can", "error", err)
				break
			}
		}
		s.w.mu.Lock()
		s.w.log.finish.Store(true)
		s.w.rouse()
		s.w.mu.Unlock()
	}
}

// finishCheckpoint copies the rest of the log, in the writer's goroutine.
func (w *writer) finishCheckpoint() {
	start := time.Now()
	w.log.finish.Store(false)
	if err := w.c.checkpoint(checkpointPassive); err != nil && !busy(err) {
		w.s.log.Warn("the database's log could not be written into the database; it grows until it can", "error", err)
	}
	w.log.stall.Store(max(w.log.stall.Load(), int64(time.Since(start))))
}

// busy reports whether a copy of the log was not made because another one is under way: that of an erasure.
func busy(err error) bool { return primaryCode(err) == lib.SQLITE_BUSY }
