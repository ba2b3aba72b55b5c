// Package tmpl reads and runs the templates that say how an event reads to a person.
//
// The language is text/template's, parsed by the standard library's own parser, and run by a small evaluator of our
// own over the payload's raw JSON. That is for three reasons. It cannot fail on data: what is missing is empty,
// however deep. It is bounded: no template can loop for long or make much. And it is safe: what a template takes from
// an event is escaped for the place where it is put, by the evaluator and not by the template's author. It is also
// faster, because nothing is decoded that no template asks for.
//
// Not supported are define, block, template, loops over numbers, and functions other than those that Functions lists.
package tmpl

import "fmt"

// Mode says what a template makes, and so how the values in it are escaped.
type Mode int

// The modes.
const (
	// Plain is one line of text.
	Plain Mode = iota
	// Markdown is text in the small Markdown of patchbay.Markdown. Values are escaped, so that nothing in them is
	// markup; only the functions link, bold and code make markup of values.
	Markdown
	// URL is an http or https address, or nothing. Values that do not stand at its beginning are percent-encoded.
	URL
	// Scope is a patchbay.Scope. A value becomes one segment, or with the function path several.
	Scope
)

// The limits of a template and of what it makes.
const (
	// MaxSource bounds a template, in bytes.
	MaxSource = 16 << 10
	// MaxOutput bounds what a template makes, in bytes. What is longer ends with an ellipsis.
	MaxOutput = 64 << 10
	// maxValue bounds what one value adds, in bytes before escaping.
	maxValue = 16 << 10
	// maxLoops bounds how many elements all ranges of a template together may visit. Further ones are left out.
	maxLoops = 1000
	// maxSteps bounds the work; a step is a few nanoseconds. Templates of the built-in catalogs take some hundred.
	maxSteps = 1 << 22
)

// Error says what is wrong with a template.
type Error struct {
	// Line counts from 1 in the template.
	Line int
	// Message is a sentence without the place.
	Message string
}

// Error returns the sentence with the line.
func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Message) }
