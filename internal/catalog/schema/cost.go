package schema

import "github.com/santhosh-tekuri/jsonschema/v6"

// affordable reports whether the full validator, which cannot be stopped, may look at a document. A schema can make it
// look at every level several times as often as the one above; that is counted first, which costs a fraction.
func affordable(s *jsonschema.Schema, doc any, size int) bool {
	c := cost{left: leastWork + workPerByte*size}
	c.apply(s, doc, 0)
	return c.left > 0
}

// cost counts down how often schemas are looked at. It follows every reference and takes every branch.
type cost struct{ left int }

func (c *cost) apply(s *jsonschema.Schema, v any, depth int) {
	if s == nil || c.left <= 0 {
		return
	}
	c.left--
	if depth > maxNesting {
		c.left = 0
		return
	}
	depth++
	for _, in := range [...]*jsonschema.Schema{s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else} {
		c.apply(in, v, depth)
	}
	if s.DynamicRef != nil {
		c.apply(s.DynamicRef.Ref, v, depth)
	}
	for _, list := range [...][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf} {
		for _, in := range list {
			c.apply(in, v, depth)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		c.fields(s, v, depth)
	case []any:
		for i, element := range v {
			if i < len(s.PrefixItems) {
				c.apply(s.PrefixItems[i], element, depth)
			} else {
				c.apply(s.Items2020, element, depth)
			}
			c.apply(s.Contains, element, depth)
			c.apply(s.UnevaluatedItems, element, depth)
		}
	}
}

func (c *cost) fields(s *jsonschema.Schema, v map[string]any, depth int) {
	for _, in := range s.DependentSchemas {
		c.apply(in, v, depth)
	}
	additional, _ := s.AdditionalProperties.(*jsonschema.Schema)
	for name, value := range v {
		known, ok := s.Properties[name]
		if !ok {
			known = additional
		}
		c.apply(known, value, depth)
		for _, in := range s.PatternProperties {
			c.apply(in, value, depth)
		}
		c.apply(s.PropertyNames, name, depth)
		c.apply(s.UnevaluatedProperties, value, depth)
	}
}
