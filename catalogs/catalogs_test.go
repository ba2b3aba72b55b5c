package catalogs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/catalogs"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/catalog"
)

var update = flag.Bool("update", false, "write the golden files anew")

// opened is read once: a Catalog does not change by being read.
var opened = sync.OnceValues(func() (*catalog.Catalog, error) { return catalog.Open(catalog.Options{}) })

func open(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := opened()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// of returns the types of one catalog.
func of(t testing.TB, name string) []*catalog.Type {
	t.Helper()
	var types []*catalog.Type
	for _, ty := range open(t).Types() {
		if ty.Spec().Origin == name+".yaml" {
			types = append(types, ty)
		}
	}
	if len(types) == 0 {
		t.Fatalf("the catalog %s has no types", name)
	}
	return types
}

func event(ty *catalog.Type, payload []byte) *patchbay.Event {
	return &patchbay.Event{ID: 1 << 30, Type: ty.Key(), Scope: "acme", Payload: payload, OccurredAt: time.Unix(1793696400, 0)}
}

// targets are the integrations, by their key.
func targets() []catalog.Target {
	var out []catalog.Target
	for _, i := range all.Integrations() {
		d := i.Definition()
		out = append(out, catalog.Target{Key: d.Key, Category: d.Category, Title: d.Title})
	}
	return out
}

func render(t testing.TB, ty *catalog.Type, payload []byte, to catalog.Target) *patchbay.Message {
	t.Helper()
	m, err := ty.Render(event(ty, payload), to)
	if err != nil {
		t.Fatalf("%s for %s: %v", ty.Key(), to.Key, err)
	}
	return m
}

// TestHowEveryEventReads compares what each example says to a person, to each integration that is told something
// else, with the golden files. Run it with -update after a change, and read the difference.
func TestHowEveryEventReads(t *testing.T) {
	for _, name := range catalogs.Names() {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, ty := range of(t, name) {
				fmt.Fprintf(&b, "== %s\n", strings.Join(ty.Names(), ", "))
				base := spell(render(t, ty, ty.Spec().Example, catalog.Target{}))
				b.WriteString(base)
				for _, to := range targets() {
					switch said := spell(render(t, ty, ty.Spec().Example, to)); {
					case ty.Skips(to):
						fmt.Fprintf(&b, "-- %s: skipped\n", to.Key)
					case said != base:
						fmt.Fprintf(&b, "-- %s\n%s", to.Key, said)
					}
				}
				b.WriteByte('\n')
			}
			golden(t, name, b.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got); run with -update if it is meant to be so:\n%s", file, diff)
	}
}

// spell writes a message for a golden file.
func spell(m *patchbay.Message) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-8s %s\n", name, strings.ReplaceAll(value, "\n", "\n         "))
		}
	}
	line("title", m.Title)
	line("text", markup.Text(m.Text))
	line("severity", string(m.Severity))
	line("status", string(m.Status))
	line("thread", m.Thread)
	line("labels", strings.Join(m.Labels, ", "))
	if m.Actor != nil {
		line("actor", strings.TrimSpace(m.Actor.Name+" "+m.Actor.Avatar+" "+m.Actor.URL))
	}
	for _, f := range m.Fields {
		kind := "field"
		if f.Short {
			kind = "short"
		}
		line(kind, f.Title+": "+markup.Text(f.Value))
	}
	for _, l := range m.Links {
		line("link", l.Title+": "+l.URL)
	}
	return b.String()
}

// preview records the request that a preview makes.
type preview struct{ requests []*integration.Request }

func (p *preview) Do(_ context.Context, req *integration.Request) (*integration.Response, error) {
	kept := *req
	kept.Body = bytes.Clone(req.Body)
	p.requests = append(p.requests, &kept)
	return nil, integration.ErrPreview
}

// settings lead each integration to nowhere.
var settings = map[string]string{
	"webhook":         `{"url": "https://example.com/hook", "secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}`,
	"slack":           `{"url": "https://hooks.slack.com/services/T0/B0/x", "channel": "#qa"}`,
	"email":           `{"to": "qa@example.com"}`,
	"github":          `{"repository": "acme/web", "mode": "issue", "token": "t"}`,
	"jira":            `{"jira_base_url": "https://jira.example.com", "project_key": "QA", "token": "t"}`,
	"pivotal_tracker": `{"project_id": 7, "api_token": "t"}`,
	"hip_chat":        `{"room_id": "qa", "room_token": "t"}`,
	"inbox":           `{}`,
}

// configs are what an operator sets for integrations that need it.
var configs = map[string]string{
	"email": `{"host": "smtp.example.com", "from": "patchbay@example.com"}`,
}

// deliver previews an event for an integration and returns the bodies that would be sent.
func deliver(t testing.TB, i integration.Integration, ty *catalog.Type, payload []byte) [][]byte {
	t.Helper()
	d := i.Definition()
	checked, err := d.Settings.Check(json.RawMessage(settings[d.Key]), integration.CheckOptions{})
	if err != nil {
		t.Fatalf("%s: %v", d.Key, err)
	}
	decoded, err := d.Decode(checked)
	if err != nil {
		t.Fatalf("%s: %v", d.Key, err)
	}
	var bodies [][]byte
	p := &preview{}
	e := event(ty, payload)
	r := i.(integration.Sender).Send(t.Context(), &integration.Delivery{
		Event: e, Title: ty.Title(), Settings: decoded, Attempt: 1, Preview: true,
		Message: func() (*patchbay.Message, error) {
			return ty.Render(e, catalog.Target{Key: d.Key, Category: d.Category, Title: d.Title})
		},
		Env: &integration.Env{
			HTTP: p, Now: time.Now, Log: slog.New(slog.DiscardHandler), PublicURL: "https://patchbay.example.com", Config: json.RawMessage(configs[d.Key]),
			Record: func(x integration.Exchange) { bodies = append(bodies, x.Body) },
		},
	})
	if r.Verdict == patchbay.VerdictRejected {
		t.Fatalf("%s to %s: %+v", ty.Key(), d.Key, r)
	}
	for _, req := range p.requests {
		bodies = append(bodies, req.Body)
	}
	return bodies
}

// TestEveryEventGoesToEveryIntegration proves that a type of any catalog works with any integration.
func TestEveryEventGoesToEveryIntegration(t *testing.T) {
	for _, i := range all.Integrations() {
		key := i.Definition().Key
		if _, sends := i.(integration.Sender); !sends {
			continue
		}
		if settings[key] == "" {
			t.Errorf("there are no settings for %s: add some", key)
			continue
		}
		for _, ty := range open(t).Types() {
			if bodies := deliver(t, i, ty, ty.Spec().Example); len(bodies) != 1 || len(bodies[0]) == 0 {
				t.Errorf("%s to %s makes %d requests: %q", ty.Key(), key, len(bodies), bodies)
			}
		}
	}
}

// TestSchemasAreDocumented proves that the documentation made of them reads well: every property is described, every
// example shows most of what there is and nothing that there is not.
func TestSchemasAreDocumented(t *testing.T) {
	for _, name := range catalogs.Names() {
		for _, ty := range of(t, name) {
			spec := ty.Spec()
			var schema map[string]any
			var example any
			if err := errors.Join(json.Unmarshal(spec.Schema, &schema), json.Unmarshal(spec.Example, &example)); err != nil {
				t.Fatalf("%s: %v", spec.Key, err)
			}
			if spec.Description == "" || spec.Title == "" || spec.Message == nil {
				t.Errorf("%s has no title, description or message", spec.Key)
			}
			described(t, spec.Key, schema, example)
		}
	}
}

func described(t *testing.T, path string, schema map[string]any, example any) {
	properties, _ := schema["properties"].(map[string]any)
	object, _ := example.(map[string]any)
	for name, p := range properties {
		property := p.(map[string]any)
		if s, _ := property["description"].(string); !strings.HasSuffix(s, ".") {
			t.Errorf("%s.%s is not described by a sentence", path, name)
		}
		described(t, path+"."+name, property, object[name])
	}
	if items, ok := schema["items"].(map[string]any); ok {
		list, _ := example.([]any)
		for _, element := range list {
			described(t, path+"[]", items, element)
		}
	}
	for name := range object {
		if properties != nil && properties[name] == nil {
			t.Errorf("%s.%s stands in the example but not in the schema", path, name)
		}
	}
}

// poison replaces every text of JSON that is no address.
func poison(v any, text string) any {
	switch x := v.(type) {
	case map[string]any:
		for k := range x {
			x[k] = poison(x[k], text)
		}
	case []any:
		for i := range x {
			x[i] = poison(x[i], text)
		}
	case string:
		if !strings.HasPrefix(x, "https://") {
			return text
		}
	}
	return v
}

// addresses are the texts of JSON that are addresses.
func addresses(v any, out []string) []string {
	switch x := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(x)) {
			out = addresses(x[k], out)
		}
	case []any:
		for _, e := range x {
			out = addresses(e, out)
		}
	case string:
		if strings.HasPrefix(x, "https://") {
			out = append(out, x)
		}
	}
	return out
}

// FuzzHostileText proves that no text of any event becomes a link, and that none makes a message fail.
func FuzzHostileText(f *testing.F) {
	for _, s := range []string{
		"", "[click](https://evil.example)", "![x](https://evil.example)", "<https://evil.example>", "](https://evil.example)",
		"a\n\n[x]: https://evil.example\n\n[x]", "`", "\\", "{{.payload}}", "- \n1. #", "&lbrack;x&rbrack;(https://evil.example)", strings.Repeat("x/", 300),
	} {
		f.Add(s)
	}
	types := open(f).Types()
	f.Fuzz(func(t *testing.T, text string) {
		if strings.HasPrefix(strings.TrimSpace(text), "http") {
			return // where an address is expected, this is one
		}
		for _, ty := range types {
			var example any
			if err := json.Unmarshal(ty.Spec().Example, &example); err != nil {
				t.Fatal(err)
			}
			allowed := addresses(example, nil)
			payload, err := json.Marshal(poison(example, text))
			if err != nil {
				t.Fatal(err)
			}
			m := render(t, ty, payload, catalog.Target{Key: "jira", Category: "tracker"})
			docs := []markup.Doc{markup.Parse(m.Text)}
			for _, field := range m.Fields {
				docs = append(docs, markup.Inline(field.Value))
			}
			for _, doc := range docs {
				for _, link := range doc.Links() {
					if !slices.ContainsFunc(allowed, func(a string) bool { return strings.HasPrefix(link, a) }) {
						t.Errorf("%s links to %s", ty.Key(), link)
					}
				}
			}
			if strings.ContainsAny(m.Title+m.Thread+strings.Join(m.Labels, ""), "\n\r\x00") || len(m.Thread) > patchbay.MaxThreadLength {
				t.Errorf("%s: title %q, thread %q, labels %q", ty.Key(), m.Title, m.Thread, m.Labels)
			}
		}
	})
}
