package outline

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// drawn writes an outline as a test can read it: a line for each row.
func drawn(o *Outline) string {
	var b strings.Builder
	line := func(parts ...string) {
		fmt.Fprintln(&b, strings.TrimRight(strings.Join(parts, " | "), " |"))
	}
	if len(o.Rules) > 0 {
		line("payload: " + strings.Join(o.Rules, "; "))
	}
	for i := range o.Rows {
		r := &o.Rows[i]
		name := strings.Repeat("  ", r.Depth) + r.Name
		if r.Required {
			name += "!"
		}
		kind := r.Type
		if r.Format != "" {
			kind += " (" + r.Format + ")"
		}
		var more []string
		if len(r.Values) > 0 {
			more = append(more, "one of "+strings.Join(r.Values, " "))
		}
		more = append(more, r.Rules...)
		if r.Default != "" {
			more = append(more, "default "+r.Default)
		}
		if r.Again {
			more = append(more, "same as "+r.Same)
		}
		if r.Deeper {
			more = append(more, "and deeper")
		}
		line(name, kind, r.Title+r.Description, strings.Join(more, "; "))
	}
	if o.Cut {
		line("cut")
	}
	return b.String()
}

// TestOf draws every construct that schemas of payloads have.
func TestOf(t *testing.T) {
	for says, test := range map[string]struct{ schema, want string }{
		"fields in their order": {`{"properties":{"b":{"type":"string","description":"B."},"a":{"type":["integer","null"]}},"required":["a"]}`,
			"b | string | B.\na! | integer or null\n"},
		"objects and lists": {`{"properties":{"run":{"type":"object","required":["id"],"properties":{"id":{"type":"string","format":"uuid"},"tests":{"type":"array","minItems":1,"items":{"type":"object","properties":{"name":{"type":"string"}}}}}}}}`,
			"run | object\n  id! | string (uuid)\n  tests | list of objects |  | at least 1 element\n    name | string\n"},
		"lists of simple things": {`{"properties":{"tags":{"items":{"type":["string","null"],"maxLength":5}},"m":{"items":{"items":{"type":"integer"}}},"ids":{"type":"array","items":{"type":"string","format":"uuid"}},"c":{"type":"array","items":{"enum":["a","b"]}}}}`,
			"tags | list of strings or null |  | each at most 5 characters\nm | list of lists of integers\nids | list of strings (uuid)\nc | list |  | each one of \"a\", \"b\"\n"},
		"values and conditions": {`{"additionalProperties":false,"properties":{"s":{"enum":["open","closed"],"default":"open"},"k":{"const":1},"n":{"type":"number","minimum":0,"exclusiveMaximum":9,"multipleOf":0.5},"p":{"type":"string","pattern":"^a","minLength":1}}}`,
			"payload: no other fields\ns |  |  | one of \"open\" \"closed\"; default \"open\"\nk |  |  | one of 1\nn | number |  | at least 0; less than 9; a multiple of 0.5\np | string |  | matches ^a; at least 1 character\n"},
		"references": {`{"properties":{"home":{"$ref":"#/$defs/place"},"work":{"$ref":"#/$defs/place","description":"Where one works."}},"$defs":{"place":{"type":"object","description":"A place.","properties":{"city":{"type":"string"}}}}}`,
			"home | object | A place.\n  city | string\nwork | object | Where one works.\n  city | string\n"},
		"anchors":             {`{"properties":{"a":{"$ref":"#here"}},"$defs":{"x":{"$anchor":"here","type":"boolean"}}}`, "a | boolean\n"},
		"escaped references":  {`{"properties":{"a":{"$ref":"#/$defs/x~1y%20z"}},"$defs":{"x/y z":{"type":"boolean"}}}`, "a | boolean\n"},
		"what is not there":   {`{"properties":{"a":{"$ref":"https://example.com/x"},"b":{"$ref":"#/$defs/no"}}}`, "a | any |  | as https://example.com/x says\nb | any |  | as #/$defs/no says\n"},
		"a tree of itself":    {`{"properties":{"name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#"}}}}`, "name | string\nchildren | list |  | same as\n"},
		"a tree further down": {`{"properties":{"root":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"object","properties":{"up":{"$ref":"#/$defs/n"},"all":{"items":{"$ref":"#/$defs/n"}}}}}}`, "root | object\n  up |  |  | same as root\n  all | list |  | same as root\n"},
		"a reference to itself": {`{"properties":{"a":{"$ref":"#/properties/a"}}}`,
			"a |  |  | same as a\n"},
		"allOf adds": {`{"allOf":[{"properties":{"a":{"type":"string"}},"required":["b"]},{"properties":{"b":{"type":"integer"},"a":{"description":"Both."}}}]}`,
			"a | string | Both.\nb! | integer\n"},
		"forms that are types":  {`{"properties":{"a":{"oneOf":[{"type":"string"},{"type":"null"}]},"b":{"anyOf":[{"const":1},{"type":"string"}]}}}`, "a | string or null\nb | string |  | one of 1\n"},
		"forms that say more":   {`{"properties":{"by":{"oneOf":[{"title":"Person","type":"object","properties":{"name":{"type":"string"}}},{"type":"string","format":"email"}]}}}`, "by\n  Form 1 of 2 | object | Person\n    name | string\n  Form 2 of 2 | string (email)\n"},
		"forms that need":       {`{"properties":{"a":{},"b":{}},"anyOf":[{"required":["a"]},{"required":["a","b"]}]}`, "a | any\nb | any\nForm 1 of 2 |  |  | with a\nForm 2 of 2 |  |  | with a and b\n"},
		"names that are open":   {`{"properties":{"m":{"additionalProperties":{"type":"integer"},"patternProperties":{"^x-":{"type":"string"}}}}}`, "m | object\n  any other | integer\n  like ^x- | string\n"},
		"tuples":                {`{"properties":{"at":{"prefixItems":[{"type":"number"},{"type":"string"}]}}}`, "at | list\n  [0] | number\n  [1] | string\n"},
		"what is demanded only": {`{"required":["id"]}`, "id! | any\n"},
		"nothing":               {`{}`, ""},
		"boolean schemas":       {`{"properties":{"a":true,"b":false}}`, "a | any\nb | any |  | may not be there\n"},
		"conditions on others":  {`{"if":{},"then":{},"properties":{"a":{"not":{"type":"null"}}}}`, "payload: further conditions, which the schema has\na | any |  | further conditions, which the schema has\n"},
	} {
		if diff := cmp.Diff(test.want, drawn(Of([]byte(test.schema)))); diff != "" {
			t.Errorf("%s: %s", says, diff)
		}
	}
}

// TestPathsLead: what stands before a name leads to it.
func TestPathsLead(t *testing.T) {
	o := Of([]byte(`{"properties":{"push":{"properties":{"commits":{"items":{"properties":{"id":{}}}},"at":{"prefixItems":[{}]}}}}}`))
	var got []string
	for _, r := range o.Rows {
		got = append(got, r.Before+r.Name)
	}
	if diff := cmp.Diff([]string{"push", "push.commits", "push.commits[].id", "push.at", "push.at[0]"}, got); diff != "" {
		t.Error(diff)
	}
}

// hostile are schemas that are made to be too much.
func hostile() []string {
	nested, deep := `{}`, `{"type":"string"}`
	for range 200 {
		nested = `{"items":` + nested + `}`
		deep = `{"type":"object","properties":{"x":` + deep + `}}`
	}
	doubling := `{"allOf":[{"$ref":"#/$defs/d0"}],"$defs":{`
	forms := `{"oneOf":[{"$ref":"#/$defs/f0"}],"$defs":{`
	for i := range 30 {
		doubling += fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
		forms += fmt.Sprintf(`"f%d":{"properties":{"p":{"oneOf":[{"$ref":"#/$defs/f%d"},{"$ref":"#/$defs/f%d"}]}}},`, i, i+1, i+1)
	}
	many := `{"properties":{`
	for i := range 4000 {
		many += fmt.Sprintf(`"p%d":{"$ref":"#/$defs/long"},`, i)
	}
	many += `"z":{}},"$defs":{"long":{"description":"` + strings.Repeat("long ", 8000) + `","enum":["` + strings.Repeat("é", 9000) + `"]}}}`
	return []string{
		`{"properties":` + `{"a":` + nested + `}}`, deep, doubling + `"d30":{}}}`, forms + `"f30":{}}}`, many,
		`{"$ref":"#"}`, `{"allOf":[{"$ref":"#"},{"$ref":"#/allOf/0"}]}`, `{"items":{"$ref":"#"},"oneOf":[{"$ref":"#"}]}`,
		`{"properties":{"":{"properties":{"":{}}}}}`, `{"type":7,"properties":[1],"items":[],"required":"a","enum":3,"allOf":{},"oneOf":"x","$ref":{}}`,
		`true`, `[]`, `"x"`, `{"$dynamicRef":"#n","$defs":{"n":{"$dynamicAnchor":"n","properties":{"c":{"$dynamicRef":"#n"}}}}}`,
		`{"properties":{"\u202e\u0000<script>":{"description":"</td><script>alert(1)</script>"}}}`,
	}
}

func bounded(t *testing.T, raw []byte) {
	t.Helper()
	o := Of(raw)
	size := 0
	if len(o.Rows) > maxRows {
		t.Errorf("%d rows", len(o.Rows))
	}
	for i := range o.Rows {
		r := &o.Rows[i]
		if r.Depth > maxDepth {
			t.Errorf("a row is %d deep", r.Depth)
		}
		encoded, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		size = max(size, len(encoded))
	}
	// A row holds a description, values and examples, a dozen rules and a path; each is bounded.
	if size > 40<<10 {
		t.Errorf("a row has %d bytes", size)
	}
}

// TestHostile: what is made to be too much ends soon, and is cut.
func TestHostile(t *testing.T) {
	for _, s := range hostile() {
		bounded(t, []byte(s))
	}
	if o := Of([]byte(hostile()[4])); !o.Cut || len(o.Rows) != maxRows {
		t.Errorf("4,000 fields make %d rows, cut %v", len(o.Rows), o.Cut)
	}
	if o := Of([]byte(hostile()[1])); !o.Cut || !o.Rows[len(o.Rows)-1].Deeper {
		t.Error("a schema that is 200 deep is not said to go on")
	}
}

func FuzzOf(f *testing.F) {
	for _, s := range hostile() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 128<<10 || rawjson.Check(raw, 512) != nil {
			return // the catalog takes no such schema
		}
		bounded(t, raw)
	})
}
