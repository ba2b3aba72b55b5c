package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/config"
)

const shopCatalog = `version: 1
types:
  - key: order.placed
    title: Order placed
    aliases: [orderPlaced]
    scope_from: 'shop/{{.payload.store}}'
    schema:
      type: object
      required: [store]
      properties:
        store: {type: string, maxLength: 40}
        total: {type: number, exclusiveMinimum: 0}
    example: {store: berlin, total: 19.90}
    message:
      title: 'Order in {{.payload.store}}'
      severity: success
      overrides:
        webhook: {skip: true}
        tracker: {skip: true}
        slack: {title: 'Money from {{.payload.store}}!'}
`

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestCatalogFiles: one's own beside a built-in one, from a file or a directory.
func TestCatalogFiles(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "shop.yaml"), shopCatalog)
	for says, catalog := range map[string][]string{"a file": {file, "builtin:keyclic"}, "a directory": {"builtin:keyclic", dir}} {
		t.Run(says, func(t *testing.T) {
			s, p := serve(t, func(c *config.Config) { c.Catalog = catalog }), newPartner(t)
			var keys []string
			for _, o := range s.call("GET", "/events", "").want(200).list() {
				keys = append(keys, o.str("key"))
			}
			for key, want := range map[string]bool{"order.placed": true, "reportCreated": true, "integration_test": true, "run_error": false, "repo.push": false} {
				if slices.Contains(keys, key) != want {
					t.Errorf("%s in the catalog: %v", key, !want)
				}
			}
			s.call("PUT", "/v1/event-types/order.placed", `{"title":"x"}`).refused(409, "conflict")
			s.call("DELETE", "/v1/event-types/order.placed", "").refused(409, "conflict")

			s.link(fmt.Sprintf(`{"integration":"slack","scope":"shop/berlin","events":["order*"],"settings":{"url":%q}}`, p.url("/slack")))
			s.link(hook(p, "/skipped", `"events":["*"]`))
			id, n := s.publish(`{"event":"orderPlaced","payload":{"store":"berlin","total":5}}`)
			if n != "1" || s.delivered(id).str("scope") != "shop/berlin" {
				t.Errorf("%s deliveries", n)
			}
			if text := string(p.next(t).body); !strings.Contains(text, "Money from berlin!") {
				t.Errorf("Slack got %s", text)
			}
			got := s.call("POST", "/events", `{"event":"order.placed","payload":{"store":"berlin"},"integrations":[`+entry("webhook", `{"url":"`+p.url("/x")+`"}`)+`]}`).want(201).json()
			if got.str("results", 0, "status") != "skipped" {
				t.Errorf("inline it was answered %v", got)
			}
			got = s.call("POST", "/events", `{"event":"order.placed","payload":{"store":"`+strings.Repeat("x", 41)+`","total":0}}`).refused(400, "invalid_request").json()
			var paths []string
			for _, d := range got.objects("details") {
				paths = append(paths, d.str("path"))
			}
			slices.Sort(paths)
			if !slices.Equal(paths, []string{"payload.store", "payload.total"}) {
				t.Errorf("the details are about %v", paths)
			}
			p.none(t)
		})
	}
}

// TestCatalogsThatAreRefused: the start says which file and line.
func TestCatalogsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ says, old, new, names string }{
		{"an example that does not satisfy the schema", "{store: berlin, total: 19.90}", "{total: 19.90}", "shop.yaml:13"},
		{"an unknown field", "    title: Order placed", "    titel: Order placed", "shop.yaml:4"},
		{"a template that does not compile", "{{.payload.store}}!", "{{.payload.store", "shop.yaml:"},
		{"a schema that is none", "type: number", "type: nonsense", "shop.yaml:"},
		{"a key of Patchbay's own", "order.placed", "patchbay.order", "shop.yaml:3"},
		{"no version", "version: 1\n", "", "shop.yaml"},
		{"no YAML", "types:", "types: [", "shop.yaml:"},
	} {
		t.Run(c.says, func(t *testing.T) {
			file := writeFile(t, filepath.Join(t.TempDir(), "shop.yaml"), strings.Replace(shopCatalog, c.old, c.new, 1))
			a, err := app.New(app.Options{
				Config:       config.Config{Data: t.TempDir(), Listen: "127.0.0.1:0", Catalog: []string{file}},
				Integrations: all.Integrations(),
			})
			if err != nil {
				t.Fatal(err)
			}
			err = a.Start(t.Context())
			if err == nil {
				_ = a.Stop(t.Context())
				t.Fatal("it starts")
			}
			if !strings.Contains(err.Error(), c.names) {
				t.Errorf("the error does not name %s: %v", c.names, err)
			}
		})
	}
	a, err := app.New(app.Options{Config: config.Config{Data: t.TempDir(), Listen: "127.0.0.1:0", Catalog: []string{"builtin:nothing"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "rhodecode") {
		t.Errorf("an unknown built-in catalog: %v", err)
	}
}
