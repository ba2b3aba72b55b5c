//go:build !race

package schema

// underRace says that the race detector is on.
const underRace = false
