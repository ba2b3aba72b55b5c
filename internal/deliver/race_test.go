//go:build race

package deliver

// underRace says that everything takes many times as long.
const underRace = true
