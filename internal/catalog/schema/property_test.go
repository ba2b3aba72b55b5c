package schema

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProperties(t *testing.T) {
	got := Properties([]byte(`{"type":"object","required":["run","extra"],"properties":{
		"z":{"type":"string","title":"Zed","description":"The last."},
		"run":{"$ref":"#/$defs/run"},
		"tests":{"type":"array","items":{"type":"object","required":["id"],"properties":{"id":{"type":["integer","null"]}}}},
		"state":{"enum":["a",1]}},
		"allOf":[{"properties":{"more":true}},{"required":["z"]}],
		"$defs":{"run":{"type":"object","properties":{"id":{"type":"integer"},"again":{"$ref":"#/$defs/loop"}}},"loop":{"$ref":"#/$defs/loop"}}}`))
	want := []Property{
		{Name: "z", Title: "Zed", Description: "The last.", Types: []string{"string"}, Required: true},
		{Name: "run", Types: []string{"object"}, Required: true, Properties: []Property{{Name: "id", Types: []string{"integer"}}, {Name: "again"}}},
		{Name: "tests", Types: []string{"array"}, Of: []string{"object"}, Properties: []Property{{Name: "id", Types: []string{"integer", "null"}, Required: true}}},
		{Name: "state", Values: []string{`"a"`, "1"}},
		{Name: "more"},
		{Name: "extra", Required: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	names := []string{"string", "object", "list of objects", `"a", 1`, "any", "any"}
	for i := range got {
		if n := got[i].TypeNames(); n != names[i] {
			t.Errorf("%s is %q, want %q", got[i].Name, n, names[i])
		}
	}
}

func TestPropertiesOfASchemaThatRefersToItself(t *testing.T) {
	got := Properties([]byte(`{"properties":{"a":{"$ref":"#"},"b":{"$ref":"#"}}}`))
	n := 0
	var countAll func([]Property)
	countAll = func(list []Property) {
		for _, p := range list {
			n++
			countAll(p.Properties)
		}
	}
	countAll(got)
	if n == 0 || n > maxProperties {
		t.Errorf("%d properties", n)
	}
}
