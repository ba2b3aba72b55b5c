// Package schema checks payloads against JSON Schema 2020-12.
//
// Every schema is compiled twice: by a full validator, which knows all of the standard and explains what is wrong, and
// by a fast one, which knows what schemas of payloads mostly consist of and reads the payload's bytes as they lie,
// without an allocation. The fast one may say that it does not know; then, and to explain a no, the full one decides.
package schema

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// MaxBytes bounds a schema. Compiling takes time that grows with the square of its size.
const MaxBytes = 128 << 10

// Draft is the only dialect that schemas may name.
const Draft = "https://json-schema.org/draft/2020-12/schema"

// base is the address that a schema has for the full validator. It never shows.
const base = "mem://schema/"

// Schema is a compiled schema. It is immutable and safe for concurrent use. A nil Schema accepts every object.
type Schema struct {
	full *jsonschema.Schema
	fast *node
}

// Problem is something that is wrong with a schema or a payload.
type Problem struct {
	// Path leads to the place: keys, and indices of arrays.
	Path []string
	// Message is a sentence without the place.
	Message string
}

// Compile compiles a schema, which must have passed rawjson.Check.
func Compile(raw []byte) (*Schema, []Problem) {
	if len(raw) > MaxBytes {
		return nil, []Problem{{Message: fmt.Sprintf("the schema is longer than %d bytes", MaxBytes)}}
	}
	if rawjson.KindOf(raw) != rawjson.KindObject {
		return nil, []Problem{{Message: "a schema must be an object, not " + rawjson.KindOf(raw).String()}}
	}
	if dialect, ok := rawjson.Get(raw, "$schema"); ok {
		if name, _ := rawjson.String(dialect); strings.TrimSuffix(name, "#") != Draft {
			return nil, []Problem{{Path: []string{"$schema"}, Message: "only " + Draft + " is understood; leave $schema out"}}
		}
	}
	doc, tamed := decode(raw)
	if tamed != "" {
		return nil, []Problem{{Message: "the number " + tamed + " is too large or too long for a schema"}}
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(compilePattern)
	if err := c.AddResource(base, doc); err != nil {
		return nil, problems(err)
	}
	full, err := c.Compile(base)
	if err != nil {
		return nil, problems(err)
	}
	return &Schema{full: full, fast: compileFast(full)}, nil
}

// noLoader keeps schemas from reaching out.
type noLoader struct{}

// Load refuses.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("a schema cannot refer to %s: write what it needs below $defs and refer to #/$defs/…",
		strings.TrimPrefix(url, base))
}

// pattern is a regular expression that both validators share.
type pattern struct{ *regexp.Regexp }

func compilePattern(s string) (jsonschema.Regexp, error) {
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf("%w (patterns are those of RE2, without look-around and back references)", err)
	}
	return pattern{re}, nil
}

// problems explains why a schema does not compile.
func problems(err error) []Problem {
	var invalid *jsonschema.SchemaValidationError
	var leaf *jsonschema.ValidationError
	if errors.As(err, &invalid) && errors.As(invalid.Err, &leaf) {
		if out := findings(leaf); len(out) > 0 {
			return out
		}
	}
	var load *jsonschema.LoadURLError
	if errors.As(err, &load) {
		return []Problem{{Message: load.Err.Error()}}
	}
	message := strings.ReplaceAll(err.Error(), base+"#", "#")
	return []Problem{{Path: pointer(err), Message: strings.ReplaceAll(message, base, "the schema")}}
}

// pointer finds the place that an error of the compiler names, if it does.
func pointer(err error) []string {
	var (
		notFound *jsonschema.JSONPointerNotFoundError
		expr     *jsonschema.InvalidRegexError
		anchor   *jsonschema.AnchorNotFoundError
		at       string
	)
	switch {
	case errors.As(err, &notFound):
		at = notFound.URL
	case errors.As(err, &expr):
		at = expr.URL
	case errors.As(err, &anchor):
		at = anchor.URL
	}
	_, fragment, found := strings.Cut(at, "#/")
	if !found {
		return nil
	}
	steps := strings.Split(fragment, "/")
	for i, s := range steps {
		steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
	}
	return steps
}

// Validate returns what is wrong with a payload, at most MaxDetails things; nil when it is as it should be. The
// payload must have passed rawjson.Check. No payload at all is checked like an empty object.
func (s *Schema) Validate(payload []byte) []patchbay.Detail {
	doc, found := s.check(payload)
	if len(found) == 0 {
		return nil
	}
	out := make([]patchbay.Detail, 0, len(found))
	for _, p := range found {
		out = append(out, patchbay.Detail{Path: pathIn(doc, p.Path), Message: p.Message})
	}
	return out
}

// Problems is Validate with the steps of the paths.
func (s *Schema) Problems(payload []byte) []Problem {
	_, found := s.check(payload)
	return found
}

// root is where the paths of Validate begin.
const root = "payload"

func (s *Schema) check(payload []byte) (any, []Problem) {
	if payload == nil {
		payload = []byte("{}")
	}
	if k := rawjson.KindOf(payload); k != rawjson.KindObject {
		return nil, []Problem{{Message: "must be an object, not " + k.String()}}
	}
	if s == nil || s.fast.accepts(payload) == yes {
		return nil, nil
	}
	return s.explain(payload)
}

// explain asks the full validator. doc is the payload decoded.
func (s *Schema) explain(payload []byte) (doc any, found []Problem) {
	doc, _ = decode(payload)
	if !affordable(s.full, doc, len(payload)) {
		return doc, []Problem{{Message: "cannot be checked: its schema makes it too much work"}}
	}
	err := s.full.Validate(doc)
	if err == nil {
		return doc, nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return doc, []Problem{{Message: "could not be checked: " + err.Error()}}
	}
	return doc, findings(invalid)
}
