// Package compose lets people write JSON in a form. A form is drawn of a JSON Schema over a document, and the document is
// made again of what the form holds. The document is the truth: what a form does not show, or nobody changed, comes back
// as it was spelled, keys in their order and numbers digit by digit; what a form cannot express is written in it as JSON.
package compose

import (
	"bytes"
	"encoding/json"
	"hash/fnv"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// Bounds of a form; what is beyond them is written as JSON.
const (
	// MaxDocument is the size of a document, in bytes, up to which there is a form at all.
	MaxDocument = 128 << 10
	maxInputs   = 400
	maxDepth    = 10
	maxItems    = 50
	maxOptions  = 200
	longText    = 90 // bytes from which a text has several lines to be written in
)

// Control is how an input looks.
type Control string

// The controls.
const (
	Text   Control = "text"
	Area   Control = "area"
	Number Control = "number"
	Date   Control = "date"
	Select Control = "select"
	Object Control = "object"
	List   Control = "list"
	// Raw is a value as JSON.
	Raw Control = "raw"
	// None is a value that is not there, and needs a step of its own to be.
	None Control = "none"
)

// Input is one value of the document in the form.
type Input struct {
	// At tells the input from all others: its control is called "v" and At, what kind of value it has "t" and At, whether it
	// is null "n" and At, and a key that is to be added "k" and At. ID is its element's.
	At, ID string
	// Path is how errors call it, such as payload.push.commits[0].message.
	Path string
	// Key is its name in the document, or its number in a list; Title and Help say what it is, Format how it is written.
	Key, Title, Help, Format string
	Required                 bool
	Control                  Control
	Value                    string
	Options                  []Option
	// Kinds are the ways in which it may be written, when there are several.
	Kinds []Option
	// Nullable inputs may be null; Null ones are.
	Nullable, Null bool
	// Children are the parts of an object or list that stand in the document or have to, More those that may be left out and
	// are. Open unfolds More.
	Children, More []*Input
	Open           bool
	// Addable inputs can be made, or get another element; AddsKey objects take keys that the schema does not name. Removable
	// ones can be taken away.
	Addable, AddsKey, Removable bool
	Error                       string

	raw      []byte
	inList   bool
	variants []variant
	now      int // of variants; -1 is none of them
}

// Option is one value of a choice.
type Option struct {
	Value, Title string
	Chosen       bool
}

// Broken is what somebody wrote as JSON that is none. It is kept until it is put right.
type Broken struct{ Text, Message string }

// Form is a form over a document.
type Form struct {
	Root *Input
	// Document is what it was drawn of, without blanks between its parts.
	Document []byte
	// Partial says that there is too much in the document for all of it to have inputs.
	Partial bool

	s    *schemas
	left int
	was  map[string]Broken
}

// New draws a form of a schema, which may be nil, over a document, which must be an object that has passed rawjson.Check.
// was is what Read returned for the same document, if it did.
func New(schema, document []byte, was map[string]Broken) *Form {
	var b bytes.Buffer
	if json.Compact(&b, document) == nil {
		document = b.Bytes()
	}
	f := &Form{Document: document, s: newSchemas(schema), left: maxInputs, was: was}
	f.Root = f.input(place{path: "payload", required: true, inList: true}, schema, document)
	f.Root.Removable = false
	return f
}

// Example is the least that a document of a schema is made of.
func Example(schema []byte) []byte {
	s := newSchemas(schema)
	sh := s.shape(schema)
	return s.objectSkeleton(sh, 0)
}

// place is where an input stands.
type place struct {
	at, path, key    string
	required, inList bool
	extra            bool
	depth            int
}

// below is the place of a part.
func (p *place) below(key string, index int) place {
	if index >= 0 {
		n := strconv.Itoa(index)
		return place{at: p.at + "/" + n, path: p.path + "[" + n + "]", key: strconv.Itoa(index + 1), inList: true, depth: p.depth + 1}
	}
	return place{at: p.at + "/" + url.PathEscape(key), path: p.path + "." + step(key), key: key, depth: p.depth + 1}
}

// step spells a key as the errors of a schema do.
func step(key string) string {
	if key == "" || strings.ContainsAny(key, " .[]\"\\\t\r\n") {
		key = strconv.Quote(key)
	}
	return clip(key)
}

func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// elementID is stable while the document changes elsewhere.
func elementID(at string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(at)) // it never fails
	return "v" + strconv.FormatUint(h.Sum64(), 36)
}

// input draws one value; raw is nil when there is none.
func (f *Form) input(p place, schema, raw []byte) *Input {
	f.left--
	sh := f.s.shape(schema)
	in := &Input{
		At: p.at, ID: elementID(p.at), Path: p.path, Key: p.key, Title: sh.title, Help: sh.description, Format: sh.format,
		Required: p.required, inList: p.inList, raw: raw, variants: f.s.variants(sh), Removable: raw != nil && (p.inList || p.extra),
	}
	if p.at == "" {
		in.variants = slices.DeleteFunc(in.variants, func(v variant) bool { return v.kind != rawjson.KindObject })
		if len(in.variants) == 0 {
			in.variants = []variant{{words[rawjson.KindObject], rawjson.KindObject, sh}}
		}
	}
	in.nullable()
	in.now = f.which(in)
	if len(in.variants) > 1 {
		in.kinds()
	}
	in.Null = in.Nullable && string(raw) == "null"
	f.control(in, p)
	return in
}

// nullable takes null out of the variants when it is the only alternative to another one.
func (in *Input) nullable() {
	if len(in.variants) == 2 && in.variants[1].kind == rawjson.KindNull {
		in.variants, in.Nullable = in.variants[:1], true
	}
}

// which finds the variant that the value is written in.
func (f *Form) which(in *Input) int {
	best, score := -1, -1
	for i := range in.variants {
		if in.raw == nil {
			break
		}
		if n := f.s.fits(&in.variants[i], in.raw); n > score {
			best, score = i, n
		}
	}
	return best
}

// kinds offers the variants, and that the value is not there.
func (in *Input) kinds() {
	if in.raw == nil {
		in.Kinds = append(in.Kinds, Option{Value: "-", Title: "Not set", Chosen: true})
	} else if !in.inList {
		in.Kinds = append(in.Kinds, Option{Value: "-", Title: "Not set"})
	}
	if in.raw != nil && in.now < 0 {
		in.Kinds = append(in.Kinds, Option{Value: "=", Title: "Something else", Chosen: true})
	}
	for i := range in.variants {
		in.Kinds = append(in.Kinds, Option{Value: strconv.Itoa(i), Title: in.variants[i].title, Chosen: i == in.now})
	}
}

// control chooses how the value is shown.
func (f *Form) control(in *Input, p place) {
	var v *variant
	switch {
	case in.now >= 0:
		v = &in.variants[in.now]
	case in.raw == nil && len(in.variants) > 0 || in.Null:
		v = &in.variants[0]
	}
	if v == nil && f.misfit(in) {
		return
	}
	_, broken := f.was[in.At]
	if v == nil || broken || f.left < 0 && in.raw != nil && !in.Null {
		f.asJSON(in)
		return
	}
	absent := in.raw == nil || in.Null
	if v.sh != nil {
		if in.Help == "" {
			in.Help = v.sh.description
		}
		if v.sh.format != "" {
			in.Format = v.sh.format
		}
	}
	switch v.kind {
	case rawjson.KindInvalid:
		in.choose(v.sh)
	case rawjson.KindBool:
		in.choose(&shape{enum: [][]byte{[]byte("true"), []byte("false")}})
	case rawjson.KindNull:
		in.Control = None
	case rawjson.KindString:
		f.text(in, absent)
	case rawjson.KindNumber:
		in.Control = Number
		if !absent {
			in.Value = string(in.raw)
		}
	case rawjson.KindObject, rawjson.KindArray:
		f.container(in, p, v, absent)
	}
	if in.raw == nil && len(in.variants) > 1 && in.Control != Text && in.Control != Number {
		in.Control, in.Options, in.Value = None, nil, ""
	}
}

// misfit shows a text where a number belongs in the number's own place, as long as it cannot be taken for one.
func (f *Form) misfit(in *Input) bool {
	text, ok := rawjson.String(in.raw)
	if !ok || len(in.variants) != 1 || in.variants[0].kind != rawjson.KindNumber || isNumber(text) || !oneLine(text) || text == "" {
		return false
	}
	in.Control, in.Value = Number, text
	return true
}

func (f *Form) container(in *Input, p place, v *variant, absent bool) {
	several := len(in.variants) > 1
	switch {
	case absent:
		in.Control, in.Addable = None, !several
	case p.depth >= maxDepth:
		f.asJSON(in)
	case v.kind == rawjson.KindObject:
		in.Control = Object
		f.object(in, p, v.sh)
		in.Removable = in.Removable || !in.Required
	default:
		in.Control, in.Addable = List, true
		f.list(in, p, v.sh)
		in.Removable = in.Removable || !in.Required
	}
}

func (f *Form) object(in *Input, p place, sh *shape) {
	known := map[string]bool{}
	add := func(name string, schema, raw []byte, extra bool) {
		q := p.below(name, -1)
		q.required, q.extra = slices.Contains(sh.required, name), extra
		if raw == nil && f.left <= 0 || f.left < -maxInputs/2 {
			f.Partial = f.Partial || raw != nil
			return
		}
		child := f.input(q, schema, raw)
		if raw == nil && !q.required {
			in.More = append(in.More, child)
			return
		}
		in.Children = append(in.Children, child)
	}
	values := map[string][]byte{}
	for key, value := range rawjson.Object(in.raw) {
		values[string(key)] = value
	}
	for _, prop := range sh.properties {
		known[prop.name] = true
		add(prop.name, prop.schema, values[prop.name], false)
	}
	for _, name := range sh.required {
		if !known[name] {
			known[name] = true
			add(name, sh.additional, values[name], false)
		}
	}
	n := 0
	for key, value := range rawjson.Object(in.raw) {
		if name := string(key); !known[name] {
			if n++; n > maxProperties {
				f.Partial = true
				break // it stays in the document
			}
			add(name, sh.additional, value, true)
		}
	}
	in.AddsKey = !sh.closed
	in.Open = len(in.Children) == 0
}

func (f *Form) list(in *Input, p place, sh *shape) {
	n := 0
	for range rawjson.Array(in.raw) {
		n++
	}
	if n > maxItems || n > f.left {
		f.asJSON(in)
		return
	}
	i := 0
	for value := range rawjson.Array(in.raw) {
		in.Children = append(in.Children, f.input(p.below("", i), sh.item(i), value))
		i++
	}
}

// choose shows a list of values.
func (in *Input) choose(sh *shape) {
	in.Control = Select
	chosen := -1
	if in.raw != nil {
		chosen = sh.choice(in.raw)
	}
	if !in.inList {
		in.Options = append(in.Options, Option{Title: "Not set", Chosen: in.raw == nil})
	}
	if in.raw != nil && chosen < 0 || chosen >= maxOptions {
		in.Options = append(in.Options, Option{Value: "=", Title: clip(string(in.raw)), Chosen: true})
		in.Value = "="
	}
	for i, value := range sh.enum[:min(len(sh.enum), maxOptions)] {
		title, ok := rawjson.String(value)
		if !ok || title == "" {
			title = clip(string(value))
		}
		in.Options = append(in.Options, Option{Value: strconv.Itoa(i), Title: title, Chosen: i == chosen})
		if i == chosen {
			in.Value = strconv.Itoa(i)
		}
	}
	if in.Null && chosen < 0 {
		in.Value, in.Options[0] = "", Option{Title: "Not set", Chosen: true}
		in.Options = slices.DeleteFunc(in.Options, func(o Option) bool { return o.Value == "=" })
	}
}

// text shows a text, if HTML can carry it.
func (f *Form) text(in *Input, absent bool) {
	in.Control = Text
	if absent {
		if in.Format == "date" {
			in.Control = Date
		}
		return
	}
	text, _ := rawjson.String(in.raw)
	switch {
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f }):
		f.asJSON(in)
		return
	case strings.ContainsAny(text, "\r\n") || len(text) > longText:
		in.Control = Area
	case in.Format == "date" && isDate(text):
		in.Control = Date
	}
	in.Value = normal(text)
}

// asJSON shows a value as it is spelled.
func (f *Form) asJSON(in *Input) {
	in.Control, in.Children, in.More, in.AddsKey, in.Addable = Raw, nil, nil, false, false
	in.Value = pretty(in.raw)
	if b, ok := f.was[in.At]; ok {
		in.Value, in.Error = b.Text, b.Message
	}
}

func pretty(raw []byte) string {
	if b, ok := rawjson.Indent(raw, 4*len(raw)+256); ok { // what is nested deep is mostly blanks then
		return string(b)
	}
	return string(raw)
}

// normal is a text with the ends of lines that come out of a form.
func normal(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
}

func oneLine(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func isNumber(text string) bool {
	return rawjson.KindOf([]byte(text)) == rawjson.KindNumber && rawjson.Check([]byte(text), 0) == nil
}

// isDate reports whether a browser takes a text for a date.
func isDate(text string) bool {
	if len(text) != len("2006-01-02") || text[4] != '-' || text[7] != '-' {
		return false
	}
	year, err1 := strconv.Atoi(text[:4])
	month, err2 := strconv.Atoi(text[5:7])
	day, err3 := strconv.Atoi(text[8:])
	return err1 == nil && err2 == nil && err3 == nil && year > 0 && month >= 1 && month <= 12 && day >= 1 && day <= 28
}

// Explain puts what is wrong to the input that a path leads to, or to the nearest around it, and returns the ID of that
// one's element; "" when it is the document as a whole.
func (f *Form) Explain(path, message string) string {
	in, way := f.Root, []*Input{f.Root}
	for next := in; next != nil; {
		in, next = next, nil
		for _, list := range [][]*Input{in.Children, in.More} {
			for _, child := range list {
				if rest, ok := strings.CutPrefix(path, child.Path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
					next = child
				}
			}
		}
		if next != nil {
			way = append(way, next)
		}
	}
	if rest := strings.TrimPrefix(path, in.Path); rest != "" && rest != path {
		message = strings.TrimPrefix(rest, ".") + " " + message
	}
	if in.Error == "" {
		in.Error = message
	}
	for i := range len(way) - 1 {
		if slices.Contains(way[i].More, way[i+1]) {
			way[i].Open = true
		}
	}
	if in == f.Root {
		return ""
	}
	return in.ID
}
