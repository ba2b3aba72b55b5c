package sqlite

import "time"

// limits are sizes that tests make small, so that what happens now and then happens all the time.
type limits struct {
	// One transaction takes at most so many operations and results, so that what arrives meanwhile does not wait for
	// seconds.
	batchOps, batchOutcomes int
	// markEvery is how often marks are moved up, when there is a transaction anyway.
	markEvery time.Duration
	// A block of the history is closed at so many events or so many entries, whichever comes first. Larger blocks
	// make rare words faster to find (every block is asked) and a start slower (the events of the last one are read
	// again). historyStep is how many rows of a block one transaction takes along.
	blockEvents, blockEntries, historyStep int
	// Keys are written into their table when so many events, or so many bytes of them, would have to be read again
	// after a start; a table of a million keys then has a page changed for every ten of them. keysStep is how many
	// keys one transaction takes along.
	keysEvents, keysBytes, keysStep int
	// checkpointPages is the log's length from which on it is copied: 8 MB. A longer one saves next to nothing, because
	// most of what is in it was appended and is copied once, but the writer stands still for longer and a start after a
	// crash has more to read. checkpointAgain is by how much a log that could not begin anew, because somebody was
	// reading it, grows before the next try.
	checkpointPages, checkpointAgain int
	// queueSorted is how many waiting deliveries of one link a list sorts, rather than looking for them among all.
	queueSorted int
}

func defaultLimits() limits {
	return limits{
		batchOps: 1024, batchOutcomes: 4096, markEvery: time.Second,
		blockEvents: 4096, blockEntries: 65536, historyStep: 256,
		keysEvents: 65536, keysBytes: 64 << 20, keysStep: 512,
		checkpointPages: 1000, checkpointAgain: 250, queueSorted: 20000,
	}
}
