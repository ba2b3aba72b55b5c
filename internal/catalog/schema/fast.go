package schema

import (
	"sync"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// verdict is what the fast validator says.
type verdict uint8

const (
	no verdict = iota
	yes
	unknown // ask the full validator
)

func verdictOf(ok bool) verdict {
	if ok {
		return yes
	}
	return no
}

// node is a schema in the form that the fast validator runs.
type node struct {
	// undecided: the schema has keywords that the fast validator does not know.
	undecided bool
	always    *verdict // a boolean schema
	only      *node    // the schema is nothing but a reference
	types     typeSet  // 0: any
	values    *values  // enum, const

	format    *format
	text      *textRules
	minimum   *bound
	maximum   *bound
	fields    *fieldRules
	items     *node
	minItems  int
	maxItems  int // -1: any
	branches  []*node
	anyOf     []*node
	oneOf     []*node
	not       *node
	composite bool // it has branches, anyOf, oneOf or not, which look at the value again
}

type textRules struct {
	min, max int // characters; -1: any
	pattern  *pattern
}

type fieldRules struct {
	known      map[string]field
	required   uint64 // a bit for each
	additional *node  // nil: anything
	closed     bool   // additional fields are refused
	min, max   int    // -1: any
}

type field struct {
	schema *node  // nil: the field is only required, and otherwise an additional one
	bit    uint64 // 0: not required
}

// maxRequired is how many required fields the bits of fieldRules.required tell apart.
const maxRequired = 64

// maxNesting bounds how many schemas one check may look at, one inside of another. Payloads are not nested as deep; a
// schema that refers to itself without moving on is.
const maxNesting = 2 * rawjson.MaxDepth

// compileFast turns a schema of the full validator into nodes.
func compileFast(s *jsonschema.Schema) *node {
	c := fastCompiler{}
	return c.node(s)
}

type fastCompiler map[*jsonschema.Schema]*node

func (c fastCompiler) node(s *jsonschema.Schema) *node {
	if s == nil {
		return nil
	}
	if n, ok := c[s]; ok {
		return n
	}
	n := &node{maxItems: -1}
	c[s] = n // before its parts, which may refer to it
	if s.Bool != nil {
		v := verdictOf(*s.Bool)
		n.always = &v
		return n
	}
	if !understood(s) {
		n.undecided = true
		return n
	}
	if onlyRef(s) {
		n.only = c.node(s.Ref)
		return n
	}
	n.types = typesOf(s)
	n.values = valuesOf(s)
	n.format = formatOf(s)
	n.text = textOf(s)
	if !c.numbers(n, s) || !c.fields(n, s) {
		n.undecided = true
		return n
	}
	n.items = c.node(s.Items2020)
	if s.MinItems != nil {
		n.minItems = *s.MinItems
	}
	if s.MaxItems != nil {
		n.maxItems = *s.MaxItems
	}
	if s.Ref != nil {
		n.branches = append(n.branches, c.node(s.Ref))
	}
	n.branches = append(n.branches, c.nodes(s.AllOf)...)
	n.anyOf, n.oneOf, n.not = c.nodes(s.AnyOf), c.nodes(s.OneOf), c.node(s.Not)
	n.composite = len(n.branches)+len(n.anyOf)+len(n.oneOf) > 0 || n.not != nil
	return n
}

func (c fastCompiler) nodes(list []*jsonschema.Schema) []*node {
	out := make([]*node, len(list))
	for i, s := range list {
		out[i] = c.node(s)
	}
	return out
}

// understood reports whether the schema has only keywords that the fast validator knows.
func understood(s *jsonschema.Schema) bool {
	return s.RecursiveRef == nil && s.DynamicRef == nil && s.If == nil && s.Then == nil && s.Else == nil &&
		s.PropertyNames == nil && len(s.PatternProperties) == 0 && len(s.Dependencies) == 0 &&
		len(s.DependentRequired) == 0 && len(s.DependentSchemas) == 0 && s.UnevaluatedProperties == nil &&
		!s.UniqueItems && s.Contains == nil && s.MinContains == nil && s.MaxContains == nil && s.Items == nil &&
		s.AdditionalItems == nil && len(s.PrefixItems) == 0 && s.UnevaluatedItems == nil && s.MultipleOf == nil &&
		s.ContentEncoding == nil && s.ContentMediaType == nil && s.ContentSchema == nil && len(s.Extensions) == 0 &&
		s.DraftVersion >= 2020 && (s.Enum == nil || s.Const == nil)
}

func onlyRef(s *jsonschema.Schema) bool {
	return s.Ref != nil && typesOf(s) == 0 && s.Enum == nil && s.Const == nil && s.Format == nil && textOf(s) == nil &&
		s.Minimum == nil && s.Maximum == nil && s.ExclusiveMinimum == nil && s.ExclusiveMaximum == nil &&
		s.MinProperties == nil && s.MaxProperties == nil && len(s.Required) == 0 && len(s.Properties) == 0 &&
		s.AdditionalProperties == nil && s.MinItems == nil && s.MaxItems == nil && s.Items2020 == nil &&
		len(s.AllOf)+len(s.AnyOf)+len(s.OneOf) == 0 && s.Not == nil
}

func textOf(s *jsonschema.Schema) *textRules {
	if s.MinLength == nil && s.MaxLength == nil && s.Pattern == nil {
		return nil
	}
	t := &textRules{min: -1, max: -1}
	if s.MinLength != nil {
		t.min = *s.MinLength
	}
	if s.MaxLength != nil {
		t.max = *s.MaxLength
	}
	if p, ok := s.Pattern.(pattern); ok {
		t.pattern = &p
	}
	return t
}

// numbers and fields return false for what the fast validator does not know.
func (c fastCompiler) numbers(n *node, s *jsonschema.Schema) bool {
	var ok bool
	if n.minimum, ok = boundOf(s.Minimum, s.ExclusiveMinimum); !ok {
		return false
	}
	n.maximum, ok = boundOf(s.Maximum, s.ExclusiveMaximum)
	return ok
}

func (c fastCompiler) fields(n *node, s *jsonschema.Schema) bool {
	if len(s.Properties) == 0 && len(s.Required) == 0 && s.AdditionalProperties == nil && s.MinProperties == nil && s.MaxProperties == nil {
		return true
	}
	if len(s.Required) > maxRequired {
		return false
	}
	f := &fieldRules{known: make(map[string]field, len(s.Properties)), max: -1}
	n.fields = f
	for name, sub := range s.Properties {
		f.known[name] = field{schema: c.node(sub)}
	}
	for i, name := range s.Required {
		known := f.known[name]
		if known.bit == 0 {
			known.bit = 1 << i
			f.known[name] = known
			f.required |= known.bit
		}
	}
	switch a := s.AdditionalProperties.(type) {
	case bool:
		f.closed = !a
	case *jsonschema.Schema:
		f.additional = c.node(a)
	}
	if s.MinProperties != nil {
		f.min = *s.MinProperties
	}
	if s.MaxProperties != nil {
		f.max = *s.MaxProperties
	}
	return true
}

// run is one check. Its scratch space is kept for the next one.
type run struct {
	depth   int
	left    int  // how many schemas it may still look at
	gaveUp  bool // it was too deep or too much: nothing more is looked at
	scratch []byte
}

var runs = sync.Pool{New: func() any { return new(run) }}

// maxKeptScratch bounds what a run that waits in the pool holds on to.
const maxKeptScratch = 16 << 10

// A schema can make every level of a payload be looked at several times as often as the one above. A check may look
// at schemas leastWork times, and workPerByte times more for each byte.
const (
	leastWork   = 10_000
	workPerByte = 4
)

// accepts checks a document.
func (n *node) accepts(data []byte) verdict {
	r := runs.Get().(*run)
	r.depth, r.left, r.gaveUp = 0, leastWork+workPerByte*len(data), false
	c := rawjson.NewCursor(data)
	v := r.check(n, &c)
	if cap(r.scratch) > maxKeptScratch {
		r.scratch = nil
	}
	runs.Put(r)
	return v
}

// check consumes the value at hand, unless its verdict is not yes: then nobody reads on.
func (r *run) check(n *node, c *rawjson.Cursor) verdict {
	if r.depth == maxNesting || r.left == 0 {
		r.gaveUp = true
	}
	if r.gaveUp {
		return unknown
	}
	r.left--
	r.depth++
	v := r.dispatch(n, c)
	r.depth--
	return v
}

func (r *run) dispatch(n *node, c *rawjson.Cursor) verdict {
	switch {
	case n == nil:
		return consumed(c)
	case n.undecided:
		return unknown
	case n.only != nil:
		return r.check(n.only, c)
	case n.always != nil:
		if *n.always == yes {
			return consumed(c)
		}
		return no
	case n.composite:
		return r.checkComposite(n, c)
	}
	return r.checkOwn(n, c)
}

func consumed(c *rawjson.Cursor) verdict {
	if c.Skip() == nil {
		return unknown
	}
	return yes
}

// checkComposite looks at the value once for each schema that it must fit.
func (r *run) checkComposite(n *node, c *rawjson.Cursor) verdict {
	raw := c.Skip()
	if raw == nil {
		return unknown
	}
	own := rawjson.NewCursor(raw)
	if v := r.checkOwn(n, &own); v != yes {
		return v
	}
	for _, b := range n.branches {
		if v := r.again(b, raw); v != yes {
			return v
		}
	}
	if len(n.anyOf) > 0 {
		accepted, unsure := r.count(n.anyOf, raw, 1)
		switch {
		case accepted > 0:
		case unsure:
			return unknown
		default:
			return no
		}
	}
	if len(n.oneOf) > 0 {
		accepted, unsure := r.count(n.oneOf, raw, 2)
		switch {
		case unsure:
			return unknown
		case accepted != 1:
			return no
		}
	}
	if n.not != nil {
		switch r.again(n.not, raw) {
		case yes:
			return no
		case unknown:
			return unknown
		}
	}
	return yes
}

func (r *run) again(n *node, raw []byte) verdict {
	c := rawjson.NewCursor(raw)
	return r.check(n, &c)
}

// count returns how many schemas accept the value, up to enough, and whether one was not sure.
func (r *run) count(list []*node, raw []byte, enough int) (accepted int, unsure bool) {
	for _, n := range list {
		switch r.again(n, raw) {
		case yes:
			if accepted++; accepted == enough {
				return accepted, unsure
			}
		case unknown:
			unsure = true
		}
	}
	return accepted, unsure
}

// checkOwn checks the keywords of the schema itself.
func (r *run) checkOwn(n *node, c *rawjson.Cursor) verdict {
	switch k := c.Kind(); k {
	case rawjson.KindObject:
		return r.checkObject(n, c)
	case rawjson.KindArray:
		return r.checkArray(n, c)
	case rawjson.KindString:
		return r.checkString(n, c.Skip())
	case rawjson.KindNumber:
		return checkNumber(n, c.Skip())
	case rawjson.KindBool:
		raw := c.Skip()
		return verdictOf(n.types.has(typeBoolean) && n.values.hasBool(raw[0] == 't'))
	case rawjson.KindNull:
		c.Skip()
		return verdictOf(n.types.has(typeNull) && n.values.hasNull())
	}
	return unknown
}

func (r *run) checkObject(n *node, c *rawjson.Cursor) verdict {
	if !n.types.has(typeObject) {
		return no
	}
	if n.values != nil {
		return n.values.compositeVerdict()
	}
	f := n.fields
	if f == nil {
		return consumed(c)
	}
	var seen uint64
	total := 0
	c.Enter()
	for {
		key, escaped, ok := c.NextField()
		if !ok {
			break
		}
		if escaped {
			r.scratch = rawjson.Unescape(r.scratch[:0], key)
			key = r.scratch
		}
		known, found := f.known[string(key)]
		seen |= known.bit
		total++
		next := known.schema
		if !found || known.schema == nil {
			if f.closed {
				return no
			}
			next = f.additional
		}
		if v := r.check(next, c); v != yes {
			return v
		}
	}
	return verdictOf(seen == f.required && total >= f.min && (f.max < 0 || total <= f.max))
}

func (r *run) checkArray(n *node, c *rawjson.Cursor) verdict {
	if !n.types.has(typeArray) {
		return no
	}
	if n.values != nil {
		return n.values.compositeVerdict()
	}
	if n.items == nil && n.minItems == 0 && n.maxItems < 0 {
		return consumed(c)
	}
	total := 0
	c.Enter()
	for c.NextElement() {
		total++
		if v := r.check(n.items, c); v != yes {
			return v
		}
	}
	return verdictOf(total >= n.minItems && (n.maxItems < 0 || total <= n.maxItems))
}

func (r *run) checkString(n *node, raw []byte) verdict {
	if !n.types.has(typeString) {
		return no
	}
	if n.values == nil && n.format == nil && n.text == nil {
		return yes
	}
	var ok bool
	if r.scratch, ok = rawjson.AppendText(r.scratch[:0], raw); !ok {
		return unknown
	}
	text := r.scratch
	if !n.values.hasText(text) {
		return no
	}
	if t := n.text; t != nil {
		if length := utf8.RuneCount(text); length < t.min || t.max >= 0 && length > t.max {
			return no
		}
		if t.pattern != nil && !t.pattern.Match(text) {
			return no
		}
	}
	if n.format != nil {
		return n.format.check(text)
	}
	return yes
}
