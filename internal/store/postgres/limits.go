package postgres

import "time"

// limits are sizes that tests make small, so that what happens now and then happens all the time.
type limits struct {
	// One transaction takes at most so many acceptances and results, so that what arrives meanwhile does not wait for long.
	batchAccepts, batchOutcomes int
	// floorEvery is how often the floor is moved up, when there is a transaction anyway; it stays floorBehind behind the
	// clock, so that acceptances whose identifiers were taken a moment ago do not lie below it.
	floorEvery, floorBehind time.Duration
	// recoverStep is how many events one transaction of a takeover looks at.
	recoverStep int
	// claimPage is how many places in the queue a claim reads at first.
	claimPage int
	// writeMost bounds how long one transaction of a writer may take before its connection is given up, doubtMost how long
	// callers wait for an answer to what became of it.
	writeMost, doubtMost time.Duration
	// A block of the history has indexEvents events; one is looked for every indexEvery, among events that are older than
	// indexBehind, so that few come late.
	indexEvents             int
	indexEvery, indexBehind time.Duration
}

func defaultLimits() limits {
	return limits{
		batchAccepts: 512, batchOutcomes: 2048, floorEvery: time.Second, floorBehind: time.Second, recoverStep: 1000, claimPage: 256,
		writeMost: 15 * time.Second, doubtMost: 10 * time.Second,
		indexEvents: 4096, indexEvery: time.Second, indexBehind: time.Second,
	}
}
