package outline

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// children adds the rows below a value. parent is its row, -1 for the payload.
func (w *outliner) children(f *facts, path string, depth, parent int) {
	if f.Again || f.empty() {
		return
	}
	if depth > maxDepth {
		w.out.Rows[parent].Deeper, w.out.Cut = true, true
		return
	}
	before := path
	if before != "" {
		before += "."
	}
	for _, group := range grouped(f.fields) {
		w.row(&Row{Before: before, Name: group.name, Required: slices.Contains(f.required, group.name)}, group.all, before+group.name, depth)
	}
	for _, name := range f.required { // of which nothing else is said
		name = short(name, maxName)
		if !slices.ContainsFunc(f.fields, func(x field) bool { return x.name == name }) {
			f.fields = append(f.fields, field{name: name})
			w.row(&Row{Before: before, Name: name, Required: true}, nil, before+name, depth)
		}
	}
	for _, o := range f.others {
		w.row(&Row{Before: before, Name: o.name, Open: true}, []piece{o.piece}, before+"*", depth)
	}
	for i, p := range f.first {
		name := "[" + strconv.Itoa(i) + "]"
		w.row(&Row{Before: path, Name: name}, []piece{p}, path+name, depth)
	}
	if f.of != nil {
		w.children(f.of, path+"[]", depth, parent)
	}
	for i, p := range f.forms {
		w.row(&Row{Form: true, Name: "Form " + strconv.Itoa(i+1) + " of " + strconv.Itoa(len(f.forms))}, []piece{p}, path, depth)
	}
}

// row adds a row and what is below it.
func (w *outliner) row(r *Row, all []piece, path string, depth int) {
	if len(w.out.Rows) >= maxRows {
		w.out.Cut = true
		return
	}
	for i := range all {
		all[i].at.nesting = 0
	}
	f := w.facts(all, path)
	f.Before, f.Name, f.Form, f.Open, f.Required, f.Depth = r.Before, r.Name, r.Form, r.Open, r.Required, depth
	if f.Form {
		f.needs()
	}
	at := len(w.out.Rows)
	w.out.Rows = append(w.out.Rows, f.Row)
	w.children(f, path, depth+1, at)
}

// empty reports whether nothing is below the value.
func (f *facts) empty() bool {
	return len(f.fields)+len(f.others)+len(f.required)+len(f.first)+len(f.forms) == 0 && (f.of == nil || f.of.Again || f.of.empty())
}

// needs says in a form that only demands fields of the value above what it demands.
func (f *facts) needs() {
	if len(f.fields)+len(f.others)+len(f.forms) > 0 || len(f.required) == 0 || f.of != nil {
		return
	}
	names := f.required[:min(len(f.required), maxListed)]
	f.rule("with " + short(strings.Join(names, " and "), maxSpelled))
	f.required, f.Type = nil, ""
}

type group struct {
	name string
	all  []piece
}

// grouped brings together what several schemas say about the same field, in the order of the first.
func grouped(fields []field) []group {
	var out []group
	at := map[string]int{}
	for _, x := range fields {
		i, ok := at[x.name]
		if !ok {
			i = len(out)
			at[x.name] = i
			out = append(out, group{name: x.name})
		}
		out[i].all = append(out[i].all, x.piece)
	}
	return out
}

// unite makes one of forms that differ in nothing but type and values: "string or null" needs no rows.
func (w *outliner) unite(f *facts) {
	var types, values []string
	for _, p := range f.forms {
		form := w.facts([]piece{p}, p.at.path)
		plain := form.Title+form.Description+form.Format+form.Default == "" && len(form.Rules)+len(form.Examples) == 0 && !form.Again
		if !plain || !form.empty() || form.of != nil || len(form.types)+len(form.Values) == 0 {
			return
		}
		types, values = append(types, form.types...), append(values, form.Values...)
	}
	if len(f.forms) == 0 {
		return
	}
	f.forms = nil
	for _, t := range types {
		if !slices.Contains(f.types, t) {
			f.types = append(f.types, t)
		}
	}
	f.Values = atMost(append(f.Values, values...))
}

// words says in words what types the value may have.
func (f *facts) words() {
	if len(f.types) == 0 {
		switch {
		case len(f.fields)+len(f.others)+len(f.required) > 0:
			f.types = []string{"object"}
		case f.of != nil || len(f.first) > 0:
			f.types = []string{"array"}
		case len(f.forms) > 0 || len(f.Values) > 0 || f.Again:
			return
		default:
			f.Type = "any"
			return
		}
	}
	var words []string
	for _, t := range f.types[:min(len(f.types), maxListed)] {
		if t == "array" {
			t = "list" + f.elements()
		}
		words = append(words, short(t, maxName))
	}
	f.Type = strings.Join(words, " or ")
}

// elements says what a list holds, and takes the elements' conditions to those of the list.
func (f *facts) elements() string {
	of := f.of
	if of == nil {
		return ""
	}
	for _, rule := range of.Rules {
		f.rule("each " + rule)
	}
	if len(of.Values) > 0 {
		f.rule("each one of " + strings.Join(of.Values, ", "))
	}
	if of.Again && !f.Again {
		f.Again, f.Same = true, of.Same
	}
	if f.Description == "" && f.Title == "" {
		f.Title, f.Description = of.Title, of.Description
	}
	if of.Type == "" || of.Type == "any" {
		return ""
	}
	var plural []string
	for _, t := range strings.Split(of.Type, " or ") {
		if kind, rest, more := strings.Cut(t, " of "); more {
			t = kind + "s of " + rest
		} else if t != "null" {
			t += "s"
		}
		plural = append(plural, t)
	}
	out := " of " + strings.Join(plural, " or ")
	if of.Format != "" {
		out += " (" + of.Format + ")"
	}
	return out
}

// conditions are the words for keywords whose value is a number or a text.
var conditions = map[string]string{
	"minimum": "at least ", "maximum": "at most ", "exclusiveMinimum": "more than ", "exclusiveMaximum": "less than ",
	"multipleOf": "a multiple of ", "minLength": "at least % characters", "maxLength": "at most % characters",
	"minItems": "at least % elements", "maxItems": "at most % elements", "minProperties": "at least % fields",
	"maxProperties": "at most % fields", "pattern": "matches ", "contentEncoding": "encoded as ", "contentMediaType": "holds ",
}

// condition adds in words what a keyword demands.
func (f *facts) condition(key string, value []byte) {
	if words, ok := conditions[key]; ok {
		said := spell(value)
		if s, ok := rawjson.String(value); ok {
			said = short(s, maxSpelled)
		}
		if said == "1" {
			words = strings.TrimSuffix(words, "s")
		}
		if strings.Contains(words, "%") {
			f.rule(strings.Replace(words, "%", said, 1))
		} else {
			f.rule(words + said)
		}
		return
	}
	switch key {
	case "uniqueItems":
		if string(value) == "true" {
			f.rule("no element twice")
		}
	case "not", "if", "dependentRequired", "dependentSchemas", "contains", "propertyNames", "unevaluatedItems":
		f.rule("further conditions, which the schema has")
	}
}

// rule adds a condition, once.
func (f *facts) rule(words string) {
	if len(f.Rules) < maxRules && !slices.Contains(f.Rules, words) {
		f.Rules = append(f.Rules, words)
	}
}

// text returns the text that an object has at a key.
func text(raw []byte, key string) (string, bool) {
	value, ok := rawjson.Get(raw, key)
	if !ok {
		return "", false
	}
	return rawjson.String(value)
}

// texts reads a string, or the first strings of an array.
func texts(raw []byte, most int) []string {
	if s, ok := rawjson.String(raw); ok {
		return []string{s}
	}
	var out []string
	for v := range rawjson.Array(raw) {
		if s, ok := rawjson.String(v); ok && len(out) < most {
			out = append(out, s)
		}
	}
	return out
}

func setShort(to *string, raw []byte, most int) {
	if s, ok := rawjson.String(raw); ok {
		*to = short(s, most)
	}
}

// listed spells the values of an array, as many as fit.
func listed(raw []byte) []string {
	var out []string
	for v := range rawjson.Array(raw) {
		out = atMost(append(out, spell(v)))
		if len(out) > maxListed {
			break
		}
	}
	return out
}

// atMost ends a list that is too long with an ellipsis.
func atMost(values []string) []string {
	if len(values) > maxListed {
		values = append(values[:maxListed:maxListed], "…")
	}
	return values
}

// spell is a value as JSON, shortened.
func spell(raw []byte) string { return short(string(raw), maxSpelled) }

// short cuts a text on a rune's border.
func short(s string, most int) string {
	if len(s) <= most {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return strings.ToValidUTF8(s[:most], "\ufffd") + "…"
}
