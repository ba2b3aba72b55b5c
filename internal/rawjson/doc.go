// Package rawjson reads JSON where it lies: it checks a document once, strictly, and then finds values in it without
// decoding, so that key order and the spelling of numbers survive and nothing is allocated on the way.
//
// Check is the gate: it refuses what different parsers read differently (duplicate keys, invalid UTF-8, lone
// surrogates) and what costs them too much (deep nesting). Everything else here reads documents that have passed it.
// On others it neither panics nor loops, but what it finds means nothing.
package rawjson

import "fmt"

// MaxDepth is how deep objects and arrays may be nested in what Patchbay accepts. Real payloads stay below 20; the
// limit keeps every recursive reader, ours and the receivers', off the end of its stack.
const MaxDepth = 256

// Error says what is wrong with a document, and where.
type Error struct {
	// Path leads to the value that is wrong, or that holds what is wrong, such as "payload.commits[3].id"; it is
	// empty for the document as a whole.
	Path string
	// Offset counts the bytes before the place.
	Offset int
	// Message is a sentence without the place.
	Message string
}

// Error returns the sentence with the place.
func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%s (at byte %d)", e.Message, e.Offset)
	}
	return fmt.Sprintf("%s: %s (at byte %d)", e.Path, e.Message, e.Offset)
}
