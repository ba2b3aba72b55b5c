package httpapi

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/patchbay/patchbay/internal/access"
)

// specification returns the served OpenAPI document.
func specification(t *testing.T) map[string]any {
	t.Helper()
	f := newFixture(t)
	w := f.call(f.key("", access.Read), "GET", "/openapi.json", "")
	return wantJSON[map[string]any](t, w, 200)
}

// at follows a JSON pointer's steps.
func at(v any, steps ...string) any {
	for _, s := range steps {
		m, _ := v.(map[string]any)
		v = m[s]
	}
	return v
}

// TestRoutesAreGolden keeps the list of routes, which other programs depend on, from changing by accident. Run with
// UPDATE=1 to accept a change.
func TestRoutesAreGolden(t *testing.T) {
	doc := specification(t)
	if doc["openapi"] != "3.1.0" || at(doc, "info", "version") != "1.2.3" {
		t.Errorf("openapi %v, version %v", doc["openapi"], at(doc, "info", "version"))
	}
	var lines []string
	ids := map[string]bool{}
	for path, item := range doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			id := at(op, "operationId").(string)
			if ids[id] {
				t.Errorf("two operations are called %s", id)
			}
			ids[id] = true
			var params []string
			if list, ok := at(op, "parameters").([]any); ok {
				for _, p := range list {
					params = append(params, at(p, "in").(string)+":"+at(p, "name").(string))
				}
			}
			var statuses []string
			for status := range at(op, "responses").(map[string]any) {
				statuses = append(statuses, status)
			}
			slices.Sort(statuses)
			lines = append(lines, strings.TrimRight(fmt.Sprintf("%-36s %-6s %-24s %s  %s", path, strings.ToUpper(method), id,
				strings.Join(statuses, ","), strings.Join(params, " ")), " "))
		}
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	const golden = "testdata/routes.txt"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the routes have changed (UPDATE=1 accepts it):\n%s", diff)
	}
}

// compile returns a function that finds the schema at a place in the document.
func compile(t *testing.T, doc map[string]any) func(pointer string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("https://patchbay.test/openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return func(pointer string) *jsonschema.Schema {
		t.Helper()
		s, err := c.Compile("https://patchbay.test/openapi.json#" + pointer)
		if err != nil {
			t.Fatalf("the schema at %s: %v", pointer, err)
		}
		return s
	}
}

func escape(step string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(step)
}

// TestEveryExampleValidates walks the whole document: wherever an example stands beside a schema, it must satisfy it.
func TestEveryExampleValidates(t *testing.T) {
	doc := specification(t)
	schemaAt := compile(t, doc)
	checked := 0
	check := func(pointer string, v any) {
		t.Helper()
		checked++
		if err := schemaAt(pointer).Validate(v); err != nil {
			t.Errorf("an example at %s: %v", pointer, err)
		}
	}
	var walk func(pointer string, v any)
	walk = func(pointer string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if v["schema"] != nil && strings.Contains(pointer, "/content/") {
				if e, ok := v["example"]; ok {
					check(pointer+"/schema", e)
				}
				if m, ok := v["examples"].(map[string]any); ok {
					for _, e := range m {
						check(pointer+"/schema", at(e, "value"))
					}
				}
			}
			if list, ok := v["examples"].([]any); ok && v["schema"] == nil {
				for _, e := range list {
					check(pointer, e)
				}
			}
			for k, e := range v {
				if k != "example" && k != "value" {
					walk(pointer+"/"+escape(k), e)
				}
			}
		case []any:
			for i, e := range v {
				walk(fmt.Sprintf("%s/%d", pointer, i), e)
			}
		}
	}
	walk("", doc)
	if checked < 60 {
		t.Errorf("only %d examples were found", checked)
	}
}

// TestEveryRouteIsIllustrated: what is served as JSON has an example, and so has every body.
func TestEveryRouteIsIllustrated(t *testing.T) {
	doc := specification(t)
	for path, item := range doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			name := strings.ToUpper(method) + " " + path
			if at(op, "summary") == nil || at(op, "tags") == nil || at(op, "security") == nil {
				t.Errorf("%s lacks a summary, a tag or security", name)
			}
			for status, r := range at(op, "responses").(map[string]any) {
				if c, ok := at(r, "content", "application/json").(map[string]any); ok && status != "default" && path != "/openapi.json" &&
					c["example"] == nil && c["examples"] == nil {
					t.Errorf("%s %s has no example", name, status)
				}
			}
			if c, ok := at(op, "requestBody", "content", "application/json").(map[string]any); ok && c["example"] == nil && c["examples"] == nil {
				t.Errorf("the body of %s has no example", name)
			}
			if at(op, "responses", "default") == nil {
				t.Errorf("%s does not say what its errors look like", name)
			}
		}
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, leaked := range []string{"ErrorModel", "problem+json", "about:blank"} {
		if strings.Contains(string(b), leaked) {
			t.Errorf("the document still speaks of %s", leaked)
		}
	}
}
