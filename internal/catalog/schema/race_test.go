//go:build race

package schema

// underRace says that the race detector is on. It has sync.Pool drop a quarter of what it is given.
const underRace = true
