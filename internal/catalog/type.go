package catalog

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/catalog/outline"
	"github.com/patchbay/patchbay/internal/catalog/schema"
	"github.com/patchbay/patchbay/internal/catalog/tmpl"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// Type is a type of event, ready for use. It is immutable and safe for concurrent use.
type Type struct {
	spec       patchbay.EventType
	names      []string
	schema     *schema.Schema
	properties []schema.Property
	titles     map[string]string // of properties, by their path
	scopeFrom  *tmpl.Template
	message    parts
	overrides  map[string]*override
	outline    func() *outline.Outline
}

// The origins of types that no file holds; the others are the files' names.
const (
	OriginBuiltin     = "builtin"
	OriginIntegration = "integration"
	OriginAPI         = "api"
)

// Spec returns the type as its author wrote it. It must not be changed.
func (t *Type) Spec() *patchbay.EventType { return &t.spec }

// Key returns the type's name.
func (t *Type) Key() string { return t.spec.Key }

// Title returns the type's name for people.
func (t *Type) Title() string { return t.spec.Title }

// Names returns the key and the aliases. It must not be changed.
func (t *Type) Names() []string { return t.names }

// FromAPI reports whether the type was added through the API, and so may be changed through it.
func (t *Type) FromAPI() bool { return t.spec.Origin == OriginAPI }

// Matches reports whether the pattern selects the type, by its key or an alias.
func (t *Type) Matches(p patchbay.Pattern) bool { return slices.ContainsFunc(t.names, p.Match) }

// Validate returns what is wrong with a payload that has passed rawjson.Check; nil when nothing is. No payload at all
// counts as an empty object.
func (t *Type) Validate(payload []byte) []patchbay.Detail { return t.schema.Validate(payload) }

// ScopeFrom makes the scope that the payload names. It returns false for a type that takes no scope from the payload,
// and an error when the payload does not say, or what it says cannot be a scope.
func (t *Type) ScopeFrom(payload []byte) (patchbay.Scope, bool, error) {
	if t.scopeFrom == nil {
		return "", false, nil
	}
	text, err := t.scopeFrom.Render(tmpl.NewDataOnce(tmpl.Source{Type: t.spec.Key, Title: t.spec.Title, Payload: payload}))
	if err != nil {
		return "", true, patchbay.Invalid("scope", "cannot be taken from the payload: %v", err)
	}
	if text == "" {
		return "", true, patchbay.Invalid("scope", "is missing, and the payload does not say it: %s takes it from %s", t.spec.Key, t.spec.ScopeFrom)
	}
	scope, err := patchbay.ParseScope(text)
	if err != nil {
		return "", true, patchbay.Invalid("scope", "the payload makes it %.80q, by %s: %v", text, t.spec.ScopeFrom, err)
	}
	return scope, true, nil
}

// Outline describes the payload's schema for people. It is made when it is first asked for, and must not be changed.
func (t *Type) Outline() *outline.Outline { return t.outline() }

// Keys are the fields of a payload with their own fields, in the order of the schema. As JSON it is an object.
type Keys []KeyFields

// KeyFields is a field of a payload with the names of its own fields.
type KeyFields struct {
	Key    string
	Fields []string
}

// MarshalJSON writes {"run": ["id", "result"], "failed_tests": []}.
func (k Keys) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, key := range k {
		if i > 0 {
			out = append(out, ',')
		}
		out = rawjson.AppendQuoted(out, key.Key)
		out = append(out, ':', '[')
		for j, field := range key.Fields {
			if j > 0 {
				out = append(out, ',')
			}
			out = rawjson.AppendQuoted(out, field)
		}
		out = append(out, ']')
	}
	return append(out, '}'), nil
}

// PayloadKeys returns what the schema says about the payload's fields, as the documentation of events lists them.
func (t *Type) PayloadKeys() Keys {
	out := make(Keys, 0, len(t.properties))
	for _, p := range t.properties {
		fields := make([]string, 0, len(p.Properties))
		for _, inner := range p.Properties {
			fields = append(fields, inner.Name)
		}
		out = append(out, KeyFields{Key: p.Name, Fields: fields})
	}
	return out
}

// Info is a type as GET /events shows it.
type Info struct {
	Key         string          `json:"key"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Aliases     []string        `json:"aliases,omitempty"`
	Payload     Keys            `json:"payload"`
	Schema      json.RawMessage `json:"schema"`
	Example     json.RawMessage `json:"example"`
}

// Info describes the type for GET /events. A type without a schema or an example shows the least that says so.
func (t *Type) Info() Info {
	info := Info{
		Key: t.spec.Key, Title: t.spec.Title, Description: t.spec.Description, Aliases: t.spec.Aliases,
		Payload: t.PayloadKeys(), Schema: t.spec.Schema, Example: t.spec.Example,
	}
	if info.Schema == nil {
		info.Schema = json.RawMessage(`{"type":"object"}`)
	}
	if info.Example == nil {
		info.Example = json.RawMessage(`{}`)
	}
	return info
}

// absent reports whether raw JSON says nothing.
func absent(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}
