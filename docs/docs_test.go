// Package docs_test keeps the documentation true: what is shown as code is code that is compiled and tested, what is
// shown as a catalog is accepted, and tables are those of the program.
//
//	go test ./docs -update
//
// writes anew what is made from the program.
package docs_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/verification"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/docgen"
	"github.com/patchbay/patchbay/internal/route"
)

var update = flag.Bool("update", false, "write what is made from the program")

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// blocks returns the code blocks of a language in a page.
func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	var out []string
	rest := read(t, page)
	for {
		_, after, found := strings.Cut(rest, "\n```"+language+"\n")
		if !found {
			break
		}
		code, next, closed := strings.Cut(after, "\n```")
		if !closed {
			t.Fatalf("%s: a block is not closed", page)
		}
		out, rest = append(out, code+"\n"), next
	}
	if len(out) == 0 {
		t.Fatalf("%s has no code in %q", page, language)
	}
	return out
}

// TestAddAnIntegration proves that the page quotes the package beside it, which is compiled and passes the contract kit.
func TestAddAnIntegration(t *testing.T) {
	source := read(t, "carrier/carrier.go") + read(t, "carrier/receive.go") + read(t, "carrier/carrier_test.go")
	for _, code := range blocks(t, "add-an-integration.md", "go") {
		if !strings.Contains(source, code) {
			t.Errorf("docs/carrier does not hold this:\n%s", code)
		}
	}
}

// TestProgramsCompile proves that programs on the pages compile.
func TestProgramsCompile(t *testing.T) {
	found := 0
	for _, page := range []string{"architecture.md", "api.md"} {
		for _, code := range blocks(t, page, "go") {
			if !strings.HasPrefix(code, "package main\n") {
				continue
			}
			found++
			name := filepath.Join(t.TempDir(), "main.go")
			if err := os.WriteFile(name, []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("go", "vet", name).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s\n%s", page, err, out, code)
			}
		}
	}
	if found == 0 {
		t.Error("there is no program on the pages any more: remove this test")
	}
}

// TestCatalogExample proves that the catalog on the page is accepted, and reads as the page says.
func TestCatalogExample(t *testing.T) {
	c := catalogOf(t, blocks(t, "catalogs.md", "yaml")[0])
	invoice := c.Type("invoice.overdue")
	if invoice == nil || c.Type("invoice_late") != invoice {
		t.Fatal("the type on the page, or its alias, is not there")
	}
	event := &patchbay.Event{Type: invoice.Key(), Payload: invoice.Spec().Example, Actor: json.RawMessage(`{"name": "Billing"}`)}
	message, err := invoice.Render(event, catalog.Target{Key: "slack", Category: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(message, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var want, have any
	if err := json.Unmarshal([]byte(blocks(t, "catalogs.md", "json")[0]), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &have); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("the message on the page is not what the catalog makes:\n%s\n%s", diff, got)
	}
	if !invoice.Skips(catalog.Target{Key: "hip_chat", Category: "chat"}) || invoice.Skips(catalog.Target{Key: "slack", Category: "chat"}) {
		t.Error("the page says that HipChat is left out, and nobody else")
	}
	scope, from, err := invoice.ScopeFrom(invoice.Spec().Example)
	if !from || err != nil || scope != "acme/billing" {
		t.Errorf("the scope is %q, %v", scope, err)
	}
}

// TestCatalogFragments proves that the page's other pieces of YAML are parts of types that are accepted.
func TestCatalogFragments(t *testing.T) {
	for _, code := range blocks(t, "catalogs.md", "yaml")[1:] {
		if strings.HasPrefix(code, "version:") {
			catalogOf(t, code)
			continue
		}
		indented := "    " + strings.ReplaceAll(strings.TrimSpace(code), "\n", "\n    ")
		catalogOf(t, "version: 1\ntypes:\n  - key: x\n    title: X\n"+indented+"\n")
	}
}

func catalogOf(t *testing.T, source string) *catalog.Catalog {
	t.Helper()
	name := filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(name, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(catalog.Options{Files: []string{name}})
	if err != nil {
		t.Fatalf("%v\n%s", err, source)
	}
	return c
}

// TestExpressions proves that the filters and bodies on the page compile, and do on the page's event what is said.
func TestExpressions(t *testing.T) {
	payload := []byte(blocks(t, "api.md", "json")[0]) // the page's event
	var call struct {
		Type    string          `json:"event_type"`
		Scope   patchbay.Scope  `json:"scope"`
		Payload json.RawMessage `json:"payload"`
		Actor   json.RawMessage `json:"actor"`
	}
	if err := json.Unmarshal(payload, &call); err != nil {
		t.Fatal(err)
	}
	event := func() *route.Event {
		return &route.Event{Event: &patchbay.Event{Type: call.Type, Scope: call.Scope, Payload: call.Payload, Actor: call.Actor,
			Source: patchbay.Source{Kind: patchbay.SourceAPI}}}
	}
	for _, code := range blocks(t, "api.md", "cel") {
		if made, want, is := strings.Cut(code, "// makes "); is {
			body, err := route.CompileBody(made)
			if err != nil {
				t.Errorf("%s: %v", made, err)
				continue
			}
			if got, err := body.Eval(event()); err != nil || string(got) != strings.TrimSpace(want) {
				t.Errorf("%s makes %s, %v; the page says %s", made, got, err, want)
			}
			continue
		}
		for line := range strings.Lines(code) {
			expr, want, _ := strings.Cut(strings.TrimSpace(line), "  // ")
			filter, err := route.CompileFilter(expr)
			if err != nil {
				t.Errorf("%s: %v", expr, err)
				continue
			}
			got, err := filter.Eval(event())
			if err != nil || strconv.FormatBool(got) != want {
				t.Errorf("%s is %v (%v); the page says %q", expr, got, err, want)
			}
		}
	}
}

// TestArchitecture proves that the map names every package.
func TestArchitecture(t *testing.T) {
	page := read(t, "architecture.md")
	for _, below := range []string{"internal", "integration", "cmd"} {
		entries, err := os.ReadDir("../" + below)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if name := "`" + below + "/" + e.Name() + "`"; e.IsDir() && !strings.Contains(page, name) {
				t.Errorf("architecture.md does not say what %s is", name)
			}
		}
	}
}

// TestGenerated proves that what is made from the program is what the program makes now.
func TestGenerated(t *testing.T) {
	var brought []patchbay.EventType
	for _, i := range all.Integrations() {
		brought = append(brought, i.Definition().Types...)
	}
	c, err := catalog.Open(catalog.Options{Extra: brought})
	if err != nil {
		t.Fatal(err)
	}
	var types bytes.Buffer
	if err := catalog.WriteDocs(&types, c.Types()); err != nil {
		t.Fatal(err)
	}
	compare(t, "event-types.md", types.Bytes())
	compare(t, "integrations.md", docgen.Integrations(all.Integrations()))
	var functions strings.Builder
	if err := catalog.WriteFunctions(&functions); err != nil {
		t.Fatal(err)
	}
	fill(t, "catalogs.md", map[string]string{"functions": functions.String()})
	fill(t, "api.md", map[string]string{"verification": verification.Markdown()}) // integrations/webhook runs it
	fill(t, "../README.md", map[string]string{"catalog": docgen.CatalogTable(c.Types()), "integrations": docgen.IntegrationTable(all.Integrations())})
}

func fill(t *testing.T, name string, sections map[string]string) {
	t.Helper()
	filled, err := docgen.Fill([]byte(read(t, name)), sections)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	compare(t, name, filled)
}

func compare(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil { //nolint:gosec // a page that everybody may read
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the program makes now: run \"go test ./docs -update\"\n%s", name, cmp.Diff(strings.Split(string(got), "\n"), strings.Split(string(want), "\n")))
	}
}
