package tmpl

import (
	"strings"
	"time"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// Integration is what templates see of the integration that a message is for.
type Integration struct{ Key, Category, Title string }

// Source is what templates see of an event. Payload and Actor have passed rawjson.Check.
type Source struct {
	Type        string
	Title       string
	Scope       string
	Payload     []byte
	Actor       []byte
	OccurredAt  time.Time
	Integration Integration
}

// Data is a Source that templates are run over. What they look into is read once, so the templates of one message
// share one Data. It must not be used by two goroutines at once.
type Data struct {
	source  Source
	payload value
	actor   value
	item    value
	once    bool
}

// NewData prepares an event for templates.
func NewData(s Source) *Data {
	return &Data{source: s, payload: fromJSON(s.Payload), actor: fromJSON(s.Actor)}
}

// NewDataOnce prepares an event for one template that looks at little: values are sought where they lie, and nothing is
// kept for a second look.
func NewDataOnce(s Source) *Data {
	d := NewData(s)
	d.once = true
	return d
}

// rootNames are the fields that templates find at the top.
var rootNames = []string{"type", "title", "scope", "payload", "actor", "occurred_at", "item", "integration"}

func (d *Data) top(name string) value {
	switch name {
	case "type":
		return text(d.source.Type)
	case "title":
		return text(d.source.Title)
	case "scope":
		return text(d.source.Scope)
	case "payload":
		return d.payload
	case "actor":
		return d.actor
	case "occurred_at":
		if d.source.OccurredAt.IsZero() {
			return value{}
		}
		return text(d.source.OccurredAt.UTC().Format(time.RFC3339))
	case "item":
		return d.item
	case "integration":
		return value{kind: kindIntegration}
	}
	return value{}
}

func (d *Data) integration(name string) value {
	switch name {
	case "key":
		return text(d.source.Integration.Key)
	case "category":
		return text(d.source.Integration.Category)
	case "title":
		return text(d.source.Integration.Title)
	}
	return value{}
}

// Path leads to a value that templates see, such as "payload.feedback".
type Path []string

// ParsePath reads a path into the payload or the actor.
func ParsePath(s string) (Path, error) {
	path := Path(strings.Split(s, "."))
	for _, name := range path {
		if name == "" {
			return nil, &Error{Line: 1, Message: "the path " + quote(s) + " has an empty step"}
		}
	}
	if path[0] != "payload" && path[0] != "actor" {
		return nil, &Error{Line: 1, Message: "the path " + quote(s) + ` must begin with "payload." or "actor."`}
	}
	return path, nil
}

// Each calls f for each of the first most elements of the array at the path, while templates see the element as
// "item".
func (d *Data) Each(path Path, most int, f func() error) error {
	var s state
	s.data = d
	v := s.walk(value{kind: kindRoot}, path)
	if v.kind != kindList {
		return nil
	}
	defer func() { d.item = value{} }()
	for i := range min(v.len(), most) {
		d.item = v.at(i)
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// walk follows names from a value; what is not there is nothing.
func (s *state) walk(v value, path []string) value {
	for _, name := range path {
		if v = s.field(v, name); v.kind == kindNone {
			break
		}
	}
	return v
}

// How many keys are compared, or bytes of JSON passed over, in one step of work.
const (
	keysPerStep  = 8
	bytesPerStep = 64
)

func (s *state) field(v value, name string) value {
	switch v.kind {
	case kindRoot:
		return s.data.top(name)
	case kindIntegration:
		return s.data.integration(name)
	case kindObject:
		if s.data.once && !v.node.read {
			s.steps += 1 + len(v.node.raw)/bytesPerStep
			raw, _ := rawjson.Get(v.node.raw, name)
			m := member{raw: raw}
			return m.value()
		}
		parts := v.node.parts()
		s.steps += 1 + len(parts)/keysPerStep
		for i := range parts {
			if string(parts[i].key) == name {
				return parts[i].value()
			}
		}
	}
	return value{}
}

// fieldNames lists the keys of an object.
func fieldNames(v value) []value {
	if v.kind != kindObject {
		return nil
	}
	parts := v.node.parts()
	names := make([]value, len(parts))
	for i := range parts {
		names[i] = text(string(parts[i].key))
	}
	return names
}

// Field is a value in the payload with the names that lead to it.
type Field struct {
	Path []string
	// Text is the value of a text, number or boolean.
	Text string
}

// Scalars returns the payload's first most texts, numbers and booleans: those at the top first, then those one level
// below. Empty ones are left out.
func Scalars(payload []byte, most int) []Field {
	var out []Field
	add := func(path []string, raw []byte) {
		switch k := rawjson.KindOf(raw); k {
		case rawjson.KindString, rawjson.KindNumber, rawjson.KindBool:
			if v := scalar(raw, k); len(out) < most && strings.TrimSpace(v.text) != "" {
				out = append(out, Field{Path: path, Text: v.text})
			}
		}
	}
	for key, raw := range rawjson.Object(payload) {
		add([]string{string(key)}, raw)
	}
	for key, raw := range rawjson.Object(payload) {
		if len(out) == most {
			break
		}
		for name, inner := range rawjson.Object(raw) {
			add([]string{string(key), string(name)}, inner)
		}
	}
	return out
}
