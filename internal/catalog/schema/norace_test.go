//go:build !race

package schema

// raceEnabled says that the race detector is on.
const raceEnabled = false
