//go:build race

package sqlite_test

// underRace says that everything takes many times as long.
const underRace = true
