package sqlite

import "time"

// SmallOptions returns options with which everything that happens now and then happens all the time.
func SmallOptions() Options {
	return Options{limits: limits{
		blockEvents: 8, blockEntries: 64, historyStep: 3, keysEvents: 10, keysBytes: 1 << 20, keysStep: 3,
		checkpointPages: 20, checkpointAgain: 5, markEvery: 1, batchOps: 5, batchOutcomes: 7, queueSorted: 3,
	}}
}

// Abandon ends the store's goroutines where they stand and lets go of its files, as if the process had been killed:
// nothing that has not been committed is.
func (s *Store) Abandon() {
	s.closing.Do(func() {
		close(s.closed)
		s.w.abandon()
		s.stop()
		s.owned.Wait()
		s.release()
	})
}

// Stall returns the longest that the writer has stood still to finish copying its log, and how long the log became.
func (s *Store) Stall() (time.Duration, int64) {
	return time.Duration(s.w.log.stall.Load()), s.w.log.longest.Load()
}
