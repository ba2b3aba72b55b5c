package schema

import (
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// Property is a field of a payload as a schema declares it.
type Property struct {
	Name        string
	Title       string
	Description string
	// Types are JSON's type names; empty for any.
	Types []string
	// Of are the types of an array's elements.
	Of     []string
	Format string
	// Values are what enum or const allow, as JSON.
	Values   []string
	Required bool
	// Properties are the fields of an object, or of an array's elements.
	Properties []Property
}

// The limits of Properties: schemas may refer to themselves.
const (
	maxPropertyDepth = 8
	maxProperties    = 1000
)

// Properties returns the fields that a schema declares, in its order. Local references are followed, and what allOf
// adds is added.
func Properties(raw []byte) []Property {
	w := walker{doc: raw}
	var p Property
	w.describe(&p, raw, 0)
	return p.Properties
}

type walker struct {
	doc   []byte
	count int
}

// describe adds to p what the schema says.
func (w *walker) describe(p *Property, schema []byte, depth int) {
	if depth > maxPropertyDepth {
		return
	}
	if target, ok := w.target(schema); ok {
		w.describe(p, target, depth+1)
	}
	for key, value := range rawjson.Object(schema) {
		switch string(key) {
		case "title":
			setText(&p.Title, value)
		case "description":
			setText(&p.Description, value)
		case "format":
			setText(&p.Format, value)
		case "type":
			p.Types = texts(value)
		case "enum":
			p.Values = spelled(value)
		case "const":
			p.Values = []string{string(value)}
		case "items":
			var of Property
			w.describe(&of, value, depth+1)
			p.Of = of.Types
			p.Properties = append(p.Properties, of.Properties...)
		case "properties":
			w.fields(p, value, depth)
		case "allOf":
			for part := range rawjson.Array(value) {
				w.describe(p, part, depth+1)
			}
		}
	}
	if required, ok := rawjson.Get(schema, "required"); ok {
		for _, name := range texts(required) {
			w.require(p, name)
		}
	}
}

// fields adds the properties of an object.
func (w *walker) fields(p *Property, properties []byte, depth int) {
	for name, sub := range rawjson.Object(properties) {
		if w.count++; w.count > maxProperties {
			return
		}
		field := Property{Name: string(name)}
		w.describe(&field, sub, depth+1)
		if i := find(p.Properties, field.Name); i >= 0 {
			field.Required = p.Properties[i].Required
			p.Properties[i] = field
			continue
		}
		p.Properties = append(p.Properties, field)
	}
}

func (w *walker) require(p *Property, name string) {
	if i := find(p.Properties, name); i >= 0 {
		p.Properties[i].Required = true
		return
	}
	if w.count++; w.count <= maxProperties {
		p.Properties = append(p.Properties, Property{Name: name, Required: true})
	}
}

func find(list []Property, name string) int {
	return slices.IndexFunc(list, func(p Property) bool { return p.Name == name })
}

// target follows a local reference.
func (w *walker) target(schema []byte) ([]byte, bool) {
	raw, ok := rawjson.Get(schema, "$ref")
	if !ok {
		return nil, false
	}
	ref, _ := rawjson.String(raw)
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil, false
	}
	steps := strings.Split(path, "/")
	for i, s := range steps {
		steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
	}
	return rawjson.Get(w.doc, steps...)
}

func setText(to *string, raw []byte) {
	if s, ok := rawjson.String(raw); ok {
		*to = s
	}
}

// texts reads a string, or the strings of an array.
func texts(raw []byte) []string {
	if s, ok := rawjson.String(raw); ok {
		return []string{s}
	}
	var out []string
	for v := range rawjson.Array(raw) {
		if s, ok := rawjson.String(v); ok {
			out = append(out, s)
		}
	}
	return out
}

func spelled(raw []byte) []string {
	var out []string
	for v := range rawjson.Array(raw) {
		out = append(out, string(v))
	}
	return out
}

// TypeNames says what a property may be, for a person: "string", "integer or null", "list of objects".
func (p *Property) TypeNames() string {
	if len(p.Types) == 0 && len(p.Values) == 0 {
		return "any"
	}
	words := make([]string, 0, len(p.Types))
	for _, t := range p.Types {
		if t == "array" {
			t = "list"
			if len(p.Of) > 0 {
				t += " of " + strings.ReplaceAll(strings.Join(p.Of, "s or ")+"s", "nulls", "null")
			}
		}
		words = append(words, t)
	}
	out := strings.Join(words, " or ")
	if p.Format != "" {
		out += " (" + p.Format + ")"
	}
	if len(p.Values) > 0 {
		const most = 8
		values := p.Values[:min(len(p.Values), most)]
		list := strings.Join(values, ", ")
		if len(p.Values) > most {
			list += ", … " + strconv.Itoa(len(p.Values)) + " in all"
		}
		if out == "" {
			return list
		}
		out += ": " + list
	}
	return out
}
