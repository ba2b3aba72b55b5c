//go:build !race

package inbound

// underRace says that everything takes many times as long.
const underRace = false
