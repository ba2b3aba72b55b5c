package integration

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestInfo pins how the API describes a setting.
func TestInfo(t *testing.T) {
	spec := Spec{
		{Key: "url", Title: "Address", Type: TypeURL, Required: true, Secret: true, Help: "Where to.", Example: "https://h"},
		{Key: "kind", Title: "Kind", Type: TypeSelect, Default: "a", Options: []Option{{"a", "A"}}},
		{Key: "login", Title: "Login", Type: TypeObject, Fields: Spec{{Key: "user", Title: "User", Type: TypeString}}},
	}
	raw, err := json.Marshal(spec.Info())
	want := `[{"key":"url","title":"Address","required":true,"type":"url","secret":true,"default":null,"help":"Where to.","example":"https://h","options":[]},` +
		`{"key":"kind","title":"Kind","required":false,"type":"select","secret":false,"default":"a","help":"","options":[{"value":"a","title":"A"}]},` +
		`{"key":"login","title":"Login","required":false,"type":"object","secret":false,"default":null,"help":"","options":[],"fields":[{"key":"user","title":"User","required":false,"type":"string","secret":false,"default":null,"help":"","options":[]}]}]`
	if diff := cmp.Diff(want, string(raw)); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if raw, err := json.Marshal(Spec(nil).Info()); err != nil || string(raw) != "[]" {
		t.Errorf("no settings are described as %s, %v", raw, err)
	}
}

func compile(t *testing.T, s Spec) *jsonschema.Schema {
	t.Helper()
	var doc any
	if err := json.Unmarshal(s.Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("mem://settings.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("mem://settings.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestSchema compares the JSON Schema with Check: what the schema lets pass has the right shape, and what Check makes
// of settings is always what the schema describes.
func TestSchema(t *testing.T) {
	schema := compile(t, everything)
	for in, want := range map[string]bool{
		`{"url":"https://h"}`: true,
		stored:                true,
		`{"url":"https://h/${payload.repo.name}"}`: true,
		`{}`:                                                 false,
		`{"url":"no url"}`:                                   false,
		`{"url":"https://h","x":1}`:                          false,
		`{"url":"https://h","n":"7"}`:                        false, // Check reads it, the schema does not promise it
		`{"url":"https://h","kind":"c"}`:                     false,
		`{"url":"https://h","to":["a"]}`:                     true,
		`{"url":"https://h","to":[1]}`:                       false,
		`{"url":"https://h","headers":{"A":1}}`:              false,
		`{"url":"https://h","login":{}}`:                     false,
		`{"url":"https://h","login":{"user":"u","x":1}}`:     false,
		`{"url":"https://h","login":{"user":"u"},"on":true}`: true,
	} {
		var v any
		if err := json.Unmarshal([]byte(in), &v); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != want {
			t.Errorf("%s: %v", in, err)
		}
		checked, err := everything.Check(json.RawMessage(in), CheckOptions{})
		if want && err != nil {
			t.Errorf("the schema takes %s, Check says %v", in, err)
		}
		if err != nil {
			continue
		}
		if err := json.Unmarshal(checked, &v); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("Check makes %s, the schema says %v", checked, err)
		}
	}
}

// TestSchemaRequires says what need not be sent although it is required: what has a default, what is made for a link,
// what a connection replaces.
func TestSchemaRequires(t *testing.T) {
	spec := Spec{
		{Key: "a", Title: "A", Type: TypeString, Required: true},
		{Key: "b", Title: "B", Type: TypeString, Required: true, Default: "x"},
		{Key: "c", Title: "C", Type: TypeString, Required: true, Secret: true, Generate: func() (string, error) { return "x", nil }},
		{Key: "d", Title: "D", Type: TypeString, Required: true, UnlessConnected: true},
	}
	var got struct {
		Required   []string                  `json:"required"`
		Properties map[string]map[string]any `json:"properties"`
	}
	if err := json.Unmarshal(spec.Schema(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a"}, got.Required); diff != "" {
		t.Error(diff)
	}
	if got.Properties["c"]["writeOnly"] != true || got.Properties["b"]["default"] != "x" {
		t.Errorf("got %v", got.Properties)
	}
}
