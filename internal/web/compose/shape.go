package compose

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// Bounds of reading a schema: it may refer to itself, and to the same part in a great many ways.
const (
	maxParts      = 50_000 // parts of a schema that a form is made of; large ones count for several
	maxSteps      = 400    // and one shape
	maxNesting    = 16
	maxProperties = 200
	maxVariants   = 12
	maxSkeleton   = 6 // levels that are made where nothing is there yet
	maxMade       = 16 << 10
)

// shape is what a schema says about one value, as far as a form can show it.
type shape struct {
	title, description, format string
	// kinds are JSON's type names; none is any.
	kinds []string
	// enum is nil where any value may stand.
	enum       [][]byte
	properties []property
	required   []string
	// closed objects have no other keys than their properties; additional is the schema of others.
	closed     bool
	additional []byte
	items      []byte
	prefix     [][]byte
	// alternatives are those of oneOf or anyOf.
	alternatives [][]byte
	initial      []byte
	minItems     int
}

type property struct {
	name   string
	schema []byte
}

// schemas reads parts of one schema.
type schemas struct {
	root []byte
	// left is how many more parts may be read for a form, targets where references lead.
	left    int
	targets map[string][]byte
}

func newSchemas(root []byte) *schemas {
	return &schemas{root: root, left: maxParts, targets: map[string][]byte{}}
}

// shape says what a part of the schema declares; nil stands for one that says nothing.
func (s *schemas) shape(raw []byte) *shape {
	out, left := &shape{}, maxSteps
	s.add(out, raw, 0, &left)
	return out
}

// with is a shape with one of its alternatives.
func (s *schemas) with(base *shape, alternative []byte) *shape {
	out, left := *base, maxSteps
	out.alternatives, out.title = nil, ""
	out.properties, out.required, out.kinds = slices.Clone(base.properties), slices.Clone(base.required), slices.Clone(base.kinds)
	s.add(&out, alternative, 0, &left)
	return &out
}

func (s *schemas) add(out *shape, raw []byte, depth int, left *int) {
	*left--
	s.left -= 1 + len(raw)/512 // all of it is read
	if *left < 0 || s.left < 0 || depth > maxNesting {
		return
	}
	if target, ok := s.target(raw); ok {
		s.add(out, target, depth+1, left)
	}
	for key, value := range rawjson.Object(raw) {
		switch string(key) {
		case "title":
			setText(&out.title, value)
		case "description":
			setText(&out.description, value)
		case "format":
			setText(&out.format, value)
		case "type":
			out.kinds = texts(value)
		case "enum":
			out.enum = list(value)
		case "const":
			out.enum = [][]byte{value}
		case "default":
			out.initial = value
		case "properties":
			out.addProperties(value)
		case "required":
			out.required = append(out.required, texts(value)...)
		case "additionalProperties", "unevaluatedProperties":
			out.closed = string(value) == "false"
			if rawjson.KindOf(value) == rawjson.KindObject {
				out.additional = value
			}
		case "items":
			out.items = value
		case "prefixItems":
			out.prefix = list(value)
		case "minItems":
			out.minItems, _ = strconv.Atoi(string(value))
		case "oneOf", "anyOf":
			if len(out.alternatives) == 0 {
				out.alternatives = list(value)
			}
		case "allOf":
			for part := range rawjson.Array(value) {
				s.add(out, part, depth+1, left)
			}
		}
	}
}

func (sh *shape) addProperties(raw []byte) {
	for name, schema := range rawjson.Object(raw) {
		p := property{string(name), schema}
		if i := slices.IndexFunc(sh.properties, func(x property) bool { return x.name == p.name }); i >= 0 {
			sh.properties[i] = p
		} else if sh.properties = append(sh.properties, p); len(sh.properties) >= maxProperties {
			return
		}
	}
}

// target follows a reference within the schema (JSON Schema 2020-12 core, 8.2.3.1; RFC 6901 for the steps).
func (s *schemas) target(schema []byte) ([]byte, bool) {
	raw, ok := rawjson.Get(schema, "$ref")
	if !ok {
		return nil, false
	}
	ref, _ := rawjson.String(raw)
	if ref == "#" {
		return s.root, true
	}
	if found, ok := s.targets[ref]; ok {
		return found, found != nil
	}
	found, ok := s.follow(ref)
	s.targets[ref] = found
	return found, ok
}

func (s *schemas) follow(ref string) ([]byte, bool) {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil, false
	}
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	steps := strings.Split(path, "/")
	for i, step := range steps {
		steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
	}
	return rawjson.Get(s.root, steps...)
}

// variant is one of the ways in which a value may be written.
type variant struct {
	title string
	kind  rawjson.Kind
	sh    *shape
}

// words are how the kinds are called in a form.
var words = map[rawjson.Kind]string{
	rawjson.KindString: "Text", rawjson.KindNumber: "Number", rawjson.KindBool: "True or false", rawjson.KindObject: "Object",
	rawjson.KindArray: "List", rawjson.KindNull: "null", rawjson.KindInvalid: "One of these",
}

var kindsByName = map[string]rawjson.Kind{
	"string": rawjson.KindString, "number": rawjson.KindNumber, "integer": rawjson.KindNumber, "boolean": rawjson.KindBool,
	"object": rawjson.KindObject, "array": rawjson.KindArray, "null": rawjson.KindNull,
}

// everything are the kinds of a value of which nothing is said.
var everything = []rawjson.Kind{
	rawjson.KindString, rawjson.KindNumber, rawjson.KindBool, rawjson.KindObject, rawjson.KindArray, rawjson.KindNull,
}

// variants are the ways in which a value of a shape may be written. KindInvalid is one out of a list of values.
func (s *schemas) variants(sh *shape) []variant { return s.variantsOf(sh, 0) }

func (s *schemas) variantsOf(sh *shape, depth int) (out []variant) {
	if sh.enum != nil {
		return []variant{{sh.title, rawjson.KindInvalid, sh}}
	}
	if len(sh.alternatives) > 0 && depth < 3 {
		for i, raw := range sh.alternatives {
			one := s.with(sh, raw)
			inner := s.variantsOf(one, depth+1)
			for _, v := range inner {
				if v.kind == rawjson.KindObject && len(sh.alternatives) > 1 && (v.title == "" || v.title == words[v.kind]) {
					v.title = alternativeTitle(one, i)
				}
				if len(out) < maxVariants && !slices.ContainsFunc(out, func(x variant) bool { return simple(x, v) }) {
					out = append(out, v)
				}
			}
		}
		return out
	}
	for _, kind := range sh.kindList() {
		v := variant{words[kind], kind, sh}
		if sh.title != "" && kind == rawjson.KindObject && depth > 0 {
			v.title = sh.title
		}
		out = append(out, v)
	}
	return out
}

// simple reports whether two variants are the same to somebody who writes: two texts, say.
func simple(a, b variant) bool {
	return a.kind == b.kind && a.kind != rawjson.KindObject && a.kind != rawjson.KindArray && a.kind != rawjson.KindInvalid
}

// alternativeTitle names an alternative by what it has, where its author gave it no title.
func alternativeTitle(sh *shape, i int) string {
	if sh.title != "" {
		return sh.title
	}
	names := sh.required
	if len(names) == 0 {
		for _, p := range sh.properties {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 {
		return "Form " + strconv.Itoa(i+1)
	}
	return "With " + clip(strings.Join(names[:min(len(names), 3)], ", "))
}

// kindList are the kinds that the shape's types name, null at the end.
func (sh *shape) kindList() []rawjson.Kind {
	var out []rawjson.Kind
	for _, name := range sh.kinds {
		if k, ok := kindsByName[name]; ok && !slices.Contains(out, k) && k != rawjson.KindNull {
			out = append(out, k)
		}
	}
	if slices.Contains(sh.kinds, "null") {
		out = append(out, rawjson.KindNull)
	}
	switch {
	case len(out) > 0:
		return out
	case len(sh.properties) > 0 || len(sh.required) > 0 || sh.additional != nil:
		return []rawjson.Kind{rawjson.KindObject}
	case sh.items != nil || sh.prefix != nil:
		return []rawjson.Kind{rawjson.KindArray}
	case sh.format != "":
		return []rawjson.Kind{rawjson.KindString}
	}
	return everything
}

// fits says how well a value is one of a variant's; negative when it is not.
func (s *schemas) fits(v *variant, raw []byte) int {
	kind := rawjson.KindOf(raw)
	if v.kind == rawjson.KindInvalid {
		if v.sh.choice(raw) >= 0 {
			return 100
		}
		return -1
	}
	if kind != v.kind {
		return -1
	}
	if kind != rawjson.KindObject {
		return 1
	}
	score := 50
	for _, name := range v.sh.required {
		if _, ok := rawjson.Get(raw, name); !ok {
			score -= 5
		}
	}
	for key, value := range rawjson.Object(raw) {
		i := slices.IndexFunc(v.sh.properties, func(p property) bool { return p.name == string(key) })
		if i < 0 {
			if v.sh.closed {
				score -= 5
			}
			continue
		}
		score++
		if p := s.shape(v.sh.properties[i].schema); p.enum != nil {
			if p.choice(value) < 0 {
				score -= 20 // it tells the alternatives apart
			} else {
				score += 5
			}
		}
	}
	return max(0, score)
}

// choice is the place of a value among those of enum; -1 when it is none of them.
func (sh *shape) choice(raw []byte) int {
	return slices.IndexFunc(sh.enum, func(x []byte) bool { return string(x) == string(raw) || sameText(x, raw) })
}

func sameText(a, b []byte) bool {
	x, ok := rawjson.String(a)
	y, also := rawjson.String(b)
	return ok && also && x == y
}

// skeleton is the least that a value of a schema is made of.
func (s *schemas) skeleton(schema []byte, depth int) []byte {
	sh := s.shape(schema)
	if v := s.variants(sh); len(v) > 0 {
		return s.skeletonOf(&v[0], depth)
	}
	return []byte("null")
}

func (s *schemas) skeletonOf(v *variant, depth int) []byte {
	if v.sh.initial != nil && (v.kind == rawjson.KindInvalid || rawjson.KindOf(v.sh.initial) == v.kind) {
		return v.sh.initial
	}
	switch v.kind {
	case rawjson.KindInvalid:
		if len(v.sh.enum) > 0 {
			return v.sh.enum[0]
		}
	case rawjson.KindString:
		return []byte(`""`)
	case rawjson.KindNumber:
		return []byte("0")
	case rawjson.KindBool:
		return []byte("false")
	case rawjson.KindArray:
		return s.listSkeleton(v.sh, depth)
	case rawjson.KindObject:
		return s.objectSkeleton(v.sh, depth)
	}
	return []byte("null")
}

func (s *schemas) listSkeleton(sh *shape, depth int) []byte {
	out := []byte{'['}
	for i := range min(sh.minItems, 3) {
		if depth == maxSkeleton {
			break
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, s.skeleton(sh.item(i), depth+1)...)
	}
	return append(out, ']')
}

func (s *schemas) objectSkeleton(sh *shape, depth int) []byte {
	out := []byte{'{'}
	for _, p := range sh.properties {
		if depth == maxSkeleton || len(out) > maxMade {
			break
		}
		if !slices.Contains(sh.required, p.name) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(rawjson.AppendQuoted(out, p.name), ':')
		out = append(out, s.skeleton(p.schema, depth+1)...)
	}
	return append(out, '}')
}

// item is the schema of the element at an index.
func (sh *shape) item(i int) []byte {
	if i < len(sh.prefix) {
		return sh.prefix[i]
	}
	return sh.items
}

func setText(to *string, raw []byte) {
	if text, ok := rawjson.String(raw); ok {
		*to = text
	}
}

func texts(raw []byte) (out []string) {
	if text, ok := rawjson.String(raw); ok {
		return []string{text}
	}
	for v := range rawjson.Array(raw) {
		if text, ok := rawjson.String(v); ok {
			out = append(out, text)
		}
	}
	return out
}

func list(raw []byte) (out [][]byte) {
	for v := range rawjson.Array(raw) {
		out = append(out, v)
	}
	return out
}
