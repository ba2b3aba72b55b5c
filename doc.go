// Package patchbay holds the words that the whole system is written in: events, scopes, patterns, links,
// deliveries, attempts, verdicts and the errors that every surface answers with.
//
// It imports the standard library only and knows nothing of storage, HTTP or partners, so every other package
// may import it. What it says about formats (identifiers, scopes, patterns, JSON names) is the public contract;
// programs outside of this repository depend on it.
package patchbay
