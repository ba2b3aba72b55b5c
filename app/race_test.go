//go:build race

package app_test

// underRace says that everything takes many times as long.
const underRace = true
