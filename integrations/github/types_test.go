package github

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/markup"
	"github.com/patchbay/patchbay/internal/catalog"
)

// types opens the catalog with our types in it, which tries every template on its example.
func types(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(catalog.Options{Extra: New().Definition().Types})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readable is an event as a person reads it in a chat.
func readable(t *testing.T, kind *catalog.Type, payload json.RawMessage) string {
	t.Helper()
	m, err := kind.Render(&patchbay.Event{Type: kind.Key(), Payload: payload}, catalog.Target{Key: "slack", Category: "chat", Title: "Slack"})
	if err != nil {
		t.Fatalf("%s: %v", kind.Key(), err)
	}
	out := []string{m.Title, string(m.Severity)}
	if m.Text != "" {
		out = append(out, markup.Plain(m.Text))
	}
	for _, f := range m.Fields {
		out = append(out, f.Title+"="+markup.Plain(f.Value))
	}
	for _, l := range m.Links {
		out = append(out, l.URL)
	}
	if m.Thread != "" {
		out = append(out, "thread "+m.Thread)
	}
	if m.Status != "" {
		out = append(out, string(m.Status))
	}
	return strings.Join(out, " | ")
}

// TestTypesReadWell keeps how each example reads in testdata/reads.txt; UPDATE=1 writes it.
func TestTypesReadWell(t *testing.T) {
	c := types(t)
	var b strings.Builder
	for _, spec := range New().Definition().Types {
		kind := c.Type(spec.Key)
		if details := kind.Validate(spec.Example); len(details) > 0 {
			t.Errorf("%s: %v", spec.Key, details)
		}
		b.WriteString(spec.Key + ": " + readable(t, kind, spec.Example) + "\n")
	}
	const file = "testdata/reads.txt"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
}

// TestTypesReadWithoutMuch proves that a payload with hardly anything in it still reads.
func TestTypesReadWithoutMuch(t *testing.T) {
	c := types(t)
	for _, spec := range New().Definition().Types {
		var schema struct {
			Required []string `json:"required"`
		}
		if err := json.Unmarshal(spec.Schema, &schema); err != nil {
			t.Fatal(err)
		}
		payload := map[string]any{}
		for _, key := range schema.Required {
			payload[key] = nil
		}
		raw, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		kind := c.Type(spec.Key)
		if details := kind.Validate(raw); len(details) > 0 {
			t.Errorf("%s: %v", spec.Key, details)
		}
		if text := readable(t, kind, raw); strings.Contains(text, "%!") || strings.Contains(text, "no value") {
			t.Errorf("%s: %s", spec.Key, text)
		}
	}
}
