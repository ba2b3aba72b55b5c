// Package catalog knows the types of events: which there are, what their payloads look like, and how each reads to a
// person. Types come from catalog files, from Patchbay and its integrations, and from the API.
//
// A Catalog is read on every event and seldom changed: reading takes no lock. What a file or a call of the API says is
// checked when it is said: schemas, examples and message templates that do not fit together are refused, with the line
// of the file or the path in the request.
package catalog

import (
	"cmp"
	"fmt"
	"strings"
)

// Problem is something that is wrong with a catalog file.
type Problem struct {
	File string
	// Line counts from 1; 0 is the file as a whole.
	Line int
	// Message is a sentence that says where in the type and what.
	Message string
}

// String returns "catalog.yaml:12: …".
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
}

// Problems is what Open fails with: everything that is wrong with the catalogs.
type Problems []Problem //nolint:errname // it is a list first, and named like what it holds

// Error returns a line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

func compareProblems(a, b Problem) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
}
