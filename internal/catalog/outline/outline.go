// Package outline describes JSON Schemas of payloads for people: as rows that a table can show. It is made for schemas that
// somebody else wrote: whatever is in one, the outline is bounded and making it ends.
package outline

import (
	"net/url"
	"slices"
	"strings"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// Row is a line of an outline: a field of a payload, or one of the forms that a value may have.
type Row struct {
	// Before leads to the value ("push.commits[]."), Name is what it is called there.
	Before, Name string
	// Form says that the row is no field, but one of several forms of the value above it; Open that it stands for every field
	// that has a name like this.
	Form, Open bool
	// Depth is how far below the payload it is, from 0.
	Depth              int
	Title, Description string
	// Type says in words what it may be: "string", "list of objects", "integer or null".
	Type     string
	Format   string
	Required bool
	// Deprecated fields are there for those who know them.
	Deprecated bool
	// Rules are further conditions in words: "at most 20 characters".
	Rules []string
	// Values are what it must be one of, and Examples what it may be, as JSON.
	Values, Examples []string
	// Default is what a missing one stands for, as JSON; "" when nothing is said.
	Default string
	// Again says that it has the schema of a value above, whose path is Same; "" is the payload itself.
	Again bool
	Same  string
	// Deeper says that it has fields which are not listed, because they are too deep.
	Deeper bool
}

// Outline is a schema as people read it.
type Outline struct {
	Rows []Row
	// Rules are the conditions of the payload as a whole.
	Rules []string
	// Cut says that there is more than the rows say.
	Cut bool
}

// The limits of an outline: schemas may refer to themselves, refer to the same thing in a million ways, and be large.
const (
	maxDepth  = 7
	maxRows   = 600
	maxVisits = 20_000
	// maxNesting bounds references to references and lists of lists, which make no row.
	maxNesting = 24
	// maxListed bounds the values and examples of one row, maxSpelled what one of them may look like.
	maxListed  = 12
	maxSpelled = 120
	maxName    = 100
	maxSaid    = 1000 // of a description
	maxRules   = 12
)

// Of describes what a schema says about a payload, in the schema's own order. Local references are followed up to
// where one leads back to itself; what allOf adds is added; alternatives get rows of their own. It never fails: of a schema
// that makes no sense it says what there is.
func Of(raw []byte) *Outline {
	w := &outliner{doc: raw, out: &Outline{}, found: map[string][]byte{}}
	root := w.facts([]piece{{raw, place{refs: []reference{{to: "#"}}}}}, "")
	w.out.Rules = root.Rules
	w.children(root, "", 0, -1)
	return w.out
}

// outliner walks over a schema.
type outliner struct {
	doc    []byte
	out    *Outline
	visits int
	// found are the references that were looked up.
	found map[string][]byte
}

// place is where the walk is.
type place struct {
	path string
	// refs are the references that were followed on the way here, and where each led.
	refs []reference
	// nesting counts steps that make no row.
	nesting int
}

type reference struct{ to, path string }

// facts is what the schemas of one value say together.
type facts struct {
	Row
	types    []string
	fields   []field
	others   []field // patternProperties and additionalProperties
	required []string
	items    []piece
	first    []piece // of prefixItems
	forms    []piece
	of       *facts // the elements of a list
}

// field is a field before it is described.
type field struct {
	name string
	piece
}

// piece is a part of the schema, and the references that led to it.
type piece struct {
	raw []byte
	at  place
}

// facts reads the schemas of the value at a path.
func (w *outliner) facts(all []piece, path string) *facts {
	f := &facts{}
	for _, p := range all {
		p.at.path = path
		w.read(f, p.raw, p.at)
	}
	if len(f.items) > 0 {
		f.of = w.facts(f.items, path+"[]")
	}
	w.unite(f)
	f.words()
	return f
}

// spend reports whether the walk may look at another schema.
func (w *outliner) spend() bool {
	if w.visits++; w.visits > maxVisits {
		w.out.Cut = true
		return false
	}
	return true
}

// read adds what one schema says.
func (w *outliner) read(f *facts, raw []byte, at place) {
	if at.nesting++; at.nesting > maxNesting || !w.spend() {
		w.out.Cut = true
		return
	}
	if string(raw) == "false" {
		f.rule("may not be there")
		return
	}
	for _, key := range []string{"$ref", "$dynamicRef"} { // what stands beside a reference says more than it does
		if ref, ok := text(raw, key); ok {
			w.follow(f, ref, at)
		}
	}
	for key, value := range rawjson.Object(raw) {
		switch string(key) {
		case "title":
			setShort(&f.Title, value, maxSpelled)
		case "description":
			setShort(&f.Description, value, maxSaid)
		case "format":
			setShort(&f.Format, value, maxName)
		case "type":
			f.types = texts(value, maxListed)
		case "enum":
			f.Values = listed(value)
		case "const":
			f.Values = []string{spell(value)}
		case "default":
			f.Default = spell(value)
		case "examples":
			f.Examples = listed(value)
		case "deprecated":
			f.Deprecated = string(value) == "true"
		case "required":
			f.required = append(f.required, texts(value, maxRows)...)
		case "properties":
			for name, sub := range rawjson.Object(value) {
				f.fields = append(f.fields, field{short(string(name), maxName), piece{sub, at}})
			}
		case "patternProperties":
			for name, sub := range rawjson.Object(value) {
				f.others = append(f.others, field{"like " + short(string(name), maxName), piece{sub, at}})
			}
		case "items":
			f.items = append(f.items, piece{value, at})
		case "prefixItems":
			for sub := range rawjson.Array(value) {
				f.first = append(f.first, piece{sub, at})
			}
		case "allOf":
			for part := range rawjson.Array(value) {
				w.read(f, part, at)
			}
		case "oneOf", "anyOf":
			for part := range rawjson.Array(value) {
				f.forms = append(f.forms, piece{part, at})
			}
		case "additionalProperties", "unevaluatedProperties":
			switch string(value) {
			case "true", "{}":
			case "false":
				f.rule("no other fields")
			default:
				f.others = append(f.others, field{"any other", piece{value, at}})
			}
		default:
			f.condition(string(key), value)
		}
	}
}

// follow reads what a reference leads to, unless it leads back to a value above.
func (w *outliner) follow(f *facts, ref string, at place) {
	for _, before := range at.refs {
		if before.to == ref {
			f.Again, f.Same = true, before.path
			return
		}
	}
	target, known := w.found[ref]
	if !known {
		target, _ = w.lookUp(ref)
		w.found[ref] = target
	}
	if target == nil {
		f.rule("as " + short(ref, maxSpelled) + " says")
		return
	}
	at.refs = append(slices.Clip(at.refs), reference{ref, at.path})
	w.read(f, target, at)
}

// lookUp finds what a reference leads to: a place, or an anchor.
func (w *outliner) lookUp(ref string) ([]byte, bool) {
	fragment, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil, false
	}
	if plain, err := url.PathUnescape(fragment); err == nil {
		fragment = plain
	}
	switch {
	case fragment == "":
		return w.doc, true
	case fragment[0] != '/':
		return w.anchor(w.doc, fragment, 0)
	}
	steps := strings.Split(fragment[1:], "/")
	for i, s := range steps {
		steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
	}
	return rawjson.Get(w.doc, steps...)
}

// anchor looks for an anchor below $defs, where anchors are.
func (w *outliner) anchor(in []byte, name string, depth int) ([]byte, bool) {
	if depth > maxDepth || !w.spend() {
		return nil, false
	}
	for _, key := range []string{"$anchor", "$dynamicAnchor"} {
		if s, ok := text(in, key); ok && s == name {
			return in, true
		}
	}
	defs, _ := rawjson.Get(in, "$defs")
	for _, sub := range rawjson.Object(defs) {
		if found, ok := w.anchor(sub, name, depth+1); ok {
			return found, true
		}
	}
	return nil, false
}
