package catalog

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/catalogs"
)

// write puts catalog files into a directory of their own.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// open opens a catalog of one file.
func open(t testing.TB, content string, o Options) *Catalog {
	t.Helper()
	o.Files = []string{filepath.Join(write(t, map[string]string{"c.yaml": content}), "c.yaml")}
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const shop = `version: 1
types:
  - key: order.placed
    title: Order placed
    aliases: [order_placed]
    schema: &order
      type: object
      required: [order]
      properties:
        order:
          type: object
          required: [id]
          properties:
            id: {type: [integer, string]}
            total: {type: number}
            customer: {type: object, properties: {name: {type: string}}}
        note: {type: string, title: The note}
    example:
      order: {id: 12345678901234567890, total: 12.50, customer: {name: Ann}}
    scope_from: "shops/{{.payload.shop}}"
    message:
      title: "Order {{.payload.order.id}}"
      text: "{{bold .payload.order.customer.name}} pays {{.payload.order.total}}"
      severity: "{{if gt .payload.order.total 100}}warning{{else}}success{{end}}"
      thread: order/{{.payload.order.id}}
      overrides:
        tracker: {skip: true}
        jira:
          title: "Do order {{.payload.order.id}}"
          fields: [{title: Total, value: "{{.payload.order.total}}", short: true}]
        chat: {text: ""}
  - key: order.shipped
    schema: *order
`

func TestFilesAreRead(t *testing.T) {
	shopWithoutExampleScope := strings.Replace(shop, `"shops/{{.payload.shop}}"`, `'shops/{{default "main" .payload.shop}}'`, 1)
	c := open(t, shopWithoutExampleScope, Options{})
	var keys []string
	for _, x := range c.Types() {
		keys = append(keys, x.Key())
	}
	want := []string{"order.placed", "order.shipped", TypeTest, TypeEntry, TypeLinkFailing, TypeLinkDisabled, TypeLinkRecovered, TypeLinkDetached, TypeConnectionNeedsReauth}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Errorf("types (-want +got)\n%s", diff)
	}
	x := c.Type("order_placed")
	if x == nil || x.Key() != "order.placed" || x != c.Type("order.placed") || c.Type("nope") != nil {
		t.Fatalf("an alias leads to %v", x)
	}
	if got, want := string(x.Spec().Example), `{"order":{"id":12345678901234567890,"total":12.50,"customer":{"name":"Ann"}}}`; got != want {
		t.Errorf("the example is %s, want %s: order and numbers as in the file", got, want)
	}
	if got := c.Type("order.shipped").Title(); got != "Order shipped" {
		t.Errorf("without a title the type is called %q", got)
	}
	if got := x.Spec().Origin; got != "c.yaml" {
		t.Errorf("the origin is %q", got)
	}
	got, err := json.Marshal(x.Info())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(got), `"payload":{"order":["id","total","customer"],"note":[]}`) {
		t.Errorf("GET /events shows %s", got)
	}
	got, _ = json.Marshal(c.Type("order.shipped").Info())
	if !strings.Contains(string(got), `"example":{}`) {
		t.Errorf("GET /events shows %s", got)
	}
}

func TestScopeFrom(t *testing.T) {
	c := open(t, strings.Replace(shop, `"shops/{{.payload.shop}}"`, `"shops/{{or .payload.shop .payload.order.id}}"`, 1), Options{})
	x := c.Type("order.placed")
	tests := []struct{ payload, want, err string }{
		{`{"shop":"a/b c"}`, "shops/a~2Fb~20c", ""},
		{`{"order":{"id":7}}`, "shops/7", ""},
		{`{}`, "", "empty segments"},
		{`{"shop":"` + strings.Repeat("x", 65) + `"}`, "", "longer than"},
	}
	for _, tt := range tests {
		scope, ok, err := x.ScopeFrom([]byte(tt.payload))
		if !ok || string(scope) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v, %v; want %q and an error with %q", tt.payload, scope, ok, err, tt.want, tt.err)
		}
		if err != nil && patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
			t.Errorf("%s: %v has the code %s", tt.payload, err, patchbay.CodeOf(err))
		}
	}
	if scope, ok, err := c.Type("order.shipped").ScopeFrom([]byte(`{}`)); scope != "" || ok || err != nil {
		t.Errorf("a type without scope_from says %q, %v, %v", scope, ok, err)
	}
	whole := open(t, "version: 1\ntypes:\n  - {key: a, scope_from: '{{path .payload.s}}'}\n", Options{}).Type("a")
	if scope, _, err := whole.ScopeFrom([]byte(`{"s":"x/y"}`)); scope != "x/y" || err != nil {
		t.Errorf("path makes %q, %v", scope, err)
	}
	if _, _, err := whole.ScopeFrom([]byte(`{}`)); err == nil || !strings.Contains(err.Error(), "does not say it") {
		t.Errorf("no scope in the payload: %v", err)
	}
}

func TestProblemsNameFileAndLine(t *testing.T) {
	head := "version: 1\ntypes:\n"
	tests := []struct {
		name, content string
		want          []string
	}{
		{"unknown field", head + "  - key: a\n    titel: x\n", []string{`4: "titel" is not known here; there are key, title, `}},
		{"unknown field in a message", head + "  - key: a\n    message:\n      text: x\n      fields:\n        - {title: a, valeu: b}\n", []string{`7: "valeu" is not known here; there are title, value, short, each`}},
		{"unknown field at the top", "version: 1\nevents: []\n", []string{`2: "events" is not known here`}},
		{"origin", head + "  - {key: a, origin: api}\n", []string{`3: "origin" is not known here`}},
		{"no version", "types: []\n", []string{`1: version: 1 must stand`}},
		{"another version", "version: 2\n", []string{`1: version: 1 must stand`}},
		{"no YAML", head + "  - key: [\n", []string{`: the file is not YAML`}},
		{"nothing", "", []string{"the file is not YAML"}},
		{"two documents", head + "---\n" + head, []string{"the file is not YAML"}},
		{"a list", "- a\n", []string{"1: fields such as name: value belong here"}},
		{"a key twice", head + "  - key: a\n    key: b\n", []string{`4: "key" stands here already, in line 3`}},
		{"a key twice in a schema", head + "  - key: a\n    schema:\n      properties:\n        x: true\n        x: false\n", []string{`7: "x" stands here already, in line 6`}},
		{"a number for a text", head + "  - key: 7\n", []string{"3: a text belongs here: put 7 in quotes"}},
		{"a date for a text", head + "  - key: a\n    title: 2026-01-01\n", []string{"4: a text belongs here: put 2026-01-01 in quotes"}},
		{"a template without quotes", head + "  - key: a\n    message:\n      title: {{.type}}\n", []string{"5: "}},
		{"a text for a boolean", head + "  - key: a\n    message: {fields: [{title: a, value: b, short: maybe}]}\n", []string{`4: true or false belongs here, not "maybe"`}},
		{"a text for a list", head + "  - key: a\n    aliases: b\n", []string{"4: a list belongs here"}},
		{"merge keys", head + "  - &x\n    key: a\n  - <<: *x\n    key: b\n", []string{"5: << is not supported"}},
		{"a strange number", head + "  - key: a\n    example: {a: 0x10, b: 1_000, c: .5, d: .inf, e: 007}\n", []string{"number .5", "number .inf", "number 007", "number 0x10", "4: JSON cannot spell the number 1_000: write it in plain decimal"}},
		{"binary", head + "  - key: a\n    example: {a: !!binary aGVsbG8=}\n", []string{"4: !!binary is not supported"}},
		{"no key", head + "  - title: a\n", []string{"3: : key: a type needs a key"}},
		{"a bad key", head + "  - key: 'a b'\n", []string{`3: a b: key: the name "a b" may hold`}},
		{"a star in a key", head + "  - key: 'a*'\n", []string{`3: a*: key: the name "a*" may hold`}},
		{"a system key", head + "  - key: patchbay.own\n", []string{"3: patchbay.own: key: names that begin with patchbay. are Patchbay's own"}},
		{"a system type", head + "  - key: patchbay.link.failing\n", []string{"are Patchbay's own"}},
		{"a system alias", head + "  - key: a\n    aliases:\n      - b\n      - patchbay.c\n", []string{"6: a: aliases.1: names that begin with patchbay."}},
		{"an alias that is built in", head + "  - key: a\n    aliases: [entry.created]\n", []string{"4: a: the name entry.created is Patchbay's own"}},
		{"a bad schema", head + "  - key: a\n    schema:\n      type: object\n      properties:\n        x:\n          type: strng\n", []string{"8: a: schema.properties.x.type: must be one of"}},
		{"a schema that leads out", head + "  - key: a\n    schema:\n      $ref: https://example.com/x\n", []string{"a: schema: a schema cannot refer to https://example.com/x"}},
		{"an example that does not fit", head + "  - key: a\n    schema:\n      required: [x, y]\n      properties:\n        x: {type: integer}\n    example:\n      x:\n        one\n",
			[]string{"8: a: example.y: is required", "9: a: example.x: must be an integer, not a string"}},
		{"an example that is no object", head + "  - key: a\n    example: [1]\n", []string{"4: a: example: must be an object, not an array"}},
		{"a template that does not parse", head + "  - key: a\n    message:\n      title: '{{.payload'\n", []string{"5: a: message.title: unclosed action"}},
		{"a template in a block", head + "  - key: a\n    message:\n      text: |\n        one\n        {{.payloat}}\n", []string{"7: a: message.text: there is no .payloat"}},
		{"a template in an override", head + "  - key: a\n    message:\n      overrides:\n        slack:\n          labels: [ok, '{{nope}}']\n", []string{`7: a: message.overrides.slack.labels.1: function "nope" not defined`}},
		{"a bad path in each", head + "  - key: a\n    message:\n      fields:\n        - {title: a, value: b, each: feedback}\n", []string{"6: a: message.fields.0.each: line 1: the path"}},
		{"a field without a value", head + "  - key: a\n    message:\n      fields:\n        - title: a\n", []string{"6: a: message.fields.0: a field needs a title and a value"}},
		{"a link without an address", head + "  - key: a\n    message: {links: [{title: a}]}\n", []string{"4: a: message.links.0: a link needs a title and a url"}},
		{"a severity that is none", head + "  - key: a\n    example: {s: bad}\n    message:\n      severity: '{{.payload.s}}'\n", []string{`6: a: message.severity: over the example it is "bad"`}},
		{"a status in an override that is none", head + "  - key: a\n    example: {}\n    message: {overrides: {x: {status: done}}}\n", []string{`5: a: message.overrides.x.status: over the example it is "done"`}},
		{"an override for nothing", head + "  - key: a\n    message: {overrides: {'Hip Chat': {skip: true}}}\n", []string{"4: a: message.overrides.Hip Chat: an override is for"}},
		{"a scope that the example does not make", head + "  - key: a\n    example: {}\n    scope_from: 'x/{{.payload.y}}'\n", []string{"5: a: scope_from: over the example"}},
		{"two types of one key", head + "  - key: a\n  - key: b\n    aliases: [a]\n", []string{"5: the name a is given twice: here and in "}},
		{"all of several", head + "  - key: a\n    title: ' x'\n  - key: b\n    message: {title: '{{'}\n", []string{"4: a: title: a title is one line", "6: b: message.title: "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, map[string]string{"c.yaml": tt.content})
			path := filepath.Join(dir, "c.yaml")
			got := Check([]string{path})
			if len(got) != len(tt.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(got), len(tt.want), Problems(got))
			}
			for i, p := range got {
				if s, ok := strings.CutPrefix(p.String(), path+":"); !ok || !strings.Contains(":"+s, tt.want[i]) {
					t.Errorf("%s\nwant %s", p, tt.want[i])
				}
			}
		})
	}
}

func TestNamesAreUniqueAcrossFiles(t *testing.T) {
	dir := write(t, map[string]string{
		"a.yaml": "version: 1\ntypes:\n  - key: one\n", "b.yml": "version: 1\ntypes:\n  - key: two\n    aliases: [one]\n", "c.txt": "not a catalog",
	})
	got := Check([]string{dir})
	want := Problems{{File: filepath.Join(dir, "b.yml"), Line: 4, Message: "the name one is given twice: here and in " + filepath.Join(dir, "a.yaml") + ":3"}}
	if diff := cmp.Diff(want, Problems(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := want; err.Error() != got[0].String() {
		t.Errorf("the error reads %q", err)
	}
}

func TestFilesThatAreNot(t *testing.T) {
	empty := t.TempDir()
	got := Check([]string{"builtin:nope", filepath.Join(empty, "x.yaml"), empty})
	if len(got) != 3 || !strings.Contains(Problems(got).Error(), "builtin:rainforest, builtin:rhodecode") || !strings.Contains(Problems(got).Error(), "no such file") || !strings.Contains(Problems(got).Error(), "has no .yaml files") {
		t.Errorf("%v", Problems(got))
	}
}

// TestHostileFiles proves that no file takes long or much.
func TestHostileFiles(t *testing.T) {
	bomb := "version: 1\ntypes:\n  - key: a\n    example:\n      a: &a [1,2,3,4,5,6,7,8,9]\n"
	for c := 'b'; c < 'n'; c++ {
		p := string(c - 1)
		bomb += "      " + string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+",", 9) + "]\n"
	}
	tests := []struct{ name, content, part string }{
		{"an alias bomb", bomb, "too large with its aliases"},
		{"an alias of itself", "version: 1\ntypes:\n  - key: a\n    example: &x\n      y: *x\n", "deeper"},
		{"a large file", "version: 1\n# " + strings.Repeat("x", maxFileBytes), "larger than"},
		{"deep nesting", "version: 1\ntypes:\n  - key: a\n    example: {x: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}\n", "not YAML"},
		{"many nodes", "version: 1\ntypes:\n  - key: a\n    example: {x: [" + strings.Repeat("1,", maxFileNodes) + "]}\n", "too large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, map[string]string{"c.yaml": tt.content})
			got := Check([]string{dir})
			if len(got) == 0 || !strings.Contains(got[0].Message, tt.part) {
				t.Errorf("%.300v", Problems(got))
			}
			if len(got) > 3 {
				t.Errorf("%d problems", len(got))
			}
		})
	}
}

func TestBuiltinCatalogs(t *testing.T) {
	c, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"run_completion", "repo.push", "reportCreated", TypeEntry, TypeTest} {
		x := c.Type(key)
		if x == nil {
			t.Errorf("there is no %s", key)
			continue
		}
		if _, err := x.Render(&patchbay.Event{Type: key, Payload: x.Info().Example}, Target{Key: "slack", Category: "chat", Title: "Slack"}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	if got := c.Type(TypeEntry); got.Spec().Origin != "idonethis.yaml" || got.Spec().Schema == nil {
		t.Errorf("idonethis.yaml adds to the built-in type: origin %q, schema %s", got.Spec().Origin, got.Spec().Schema)
	}
	one, err := Open(Options{Files: []string{"builtin:rhodecode"}})
	if err != nil {
		t.Fatal(err)
	}
	if one.Type("repo.push") == nil || one.Type("run_completion") != nil || one.Type(TypeEntry).Spec().Origin != OriginBuiltin {
		t.Error("builtin:rhodecode is not that catalog alone")
	}
	entries, err := catalogs.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(catalogs.Names()) {
		t.Errorf("%d catalog files are embedded, and %d named", len(entries), len(catalogs.Names()))
	}
}

func TestTypesOfIntegrations(t *testing.T) {
	push := patchbay.EventType{Key: "github.push", Title: "Push", Schema: []byte(`{"type":"object"}`)}
	c := open(t, "version: 1\ntypes:\n  - key: github.push\n    message: {title: hello}\n", Options{Extra: []patchbay.EventType{push, {Key: "github.star"}}})
	if x := c.Type("github.push"); x.Spec().Title != "Push" || x.Spec().Message.Title != "hello" || x.Spec().Origin != "c.yaml" || string(x.Spec().Schema) != `{"type":"object"}` {
		t.Errorf("the file adds to the integration's type: %+v", x.Spec())
	}
	if x := c.Type("github.star"); x.Spec().Origin != OriginIntegration || x.Title() != "Github star" {
		t.Errorf("%+v", x.Spec())
	}
	_, err := Open(Options{Extra: []patchbay.EventType{push, push, {Key: "bad key"}}})
	if err == nil || !strings.Contains(err.Error(), "declared twice") || !strings.Contains(err.Error(), "bad key") {
		t.Errorf("%v", err)
	}
}

func TestAddAndRemove(t *testing.T) {
	c := open(t, "version: 1\ntypes:\n  - {key: file.type, aliases: [file_type]}\n", Options{})
	add := func(spec patchbay.EventType) (bool, patchbay.Code) {
		replaced, err := c.Add(spec)
		return replaced, patchbay.CodeOf(err)
	}
	steps := []struct {
		spec     patchbay.EventType
		replaced bool
		code     patchbay.Code
	}{
		{patchbay.EventType{Key: "mine", Aliases: []string{"my"}}, false, ""},
		{patchbay.EventType{Key: "mine", Aliases: []string{"my", "our"}, Title: "Mine"}, true, ""},
		{patchbay.EventType{Key: "other", Aliases: []string{"our"}}, false, patchbay.CodeConflict},
		{patchbay.EventType{Key: "my"}, false, patchbay.CodeConflict},
		{patchbay.EventType{Key: "file.type"}, false, patchbay.CodeConflict},
		{patchbay.EventType{Key: "file_type"}, false, patchbay.CodeConflict},
		{patchbay.EventType{Key: "x", Aliases: []string{TypeEntry}}, false, patchbay.CodeConflict},
		{patchbay.EventType{Key: TypeTest}, false, patchbay.CodeConflict},
		{patchbay.EventType{Key: "patchbay.mine"}, false, patchbay.CodeInvalidRequest},
		{patchbay.EventType{Key: ""}, false, patchbay.CodeInvalidRequest},
		{patchbay.EventType{Key: "mine", Aliases: []string{"my", "my"}}, false, patchbay.CodeInvalidRequest},
		{patchbay.EventType{Key: "mine", Schema: json.RawMessage(`{"a":1,"a":2}`)}, false, patchbay.CodeInvalidRequest},
		{patchbay.EventType{Key: "mine", Schema: json.RawMessage(`null`), Example: json.RawMessage(` null `)}, true, ""},
	}
	for _, s := range steps {
		if replaced, code := add(s.spec); replaced != s.replaced || code != s.code {
			t.Errorf("Add(%+v) = %v, %q; want %v, %q", s.spec, replaced, code, s.replaced, s.code)
		}
	}
	if x := c.Type("mine"); x == nil || !x.FromAPI() || c.Type("my") != nil || c.Types()[len(c.Types())-1] != x {
		t.Errorf("after the last Add, which has no aliases: %v", x)
	}
	if err := c.Remove("file.type"); patchbay.CodeOf(err) != patchbay.CodeConflict || !strings.Contains(err.Error(), "c.yaml") {
		t.Errorf("removing a file's type: %v", err)
	}
	if err := c.Remove("nope"); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("removing what is not there: %v", err)
	}
	if err := c.Remove("mine"); err != nil || c.Type("mine") != nil {
		t.Errorf("removing: %v", err)
	}
	if err := c.Remove("mine"); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("removing again: %v", err)
	}
}

func TestDetailsOfAnAddedType(t *testing.T) {
	c := open(t, "version: 1\ntypes: []\n", Options{})
	_, err := c.Add(patchbay.EventType{
		Key: "a", Schema: json.RawMessage(`{"properties":{"x":{"type":"integer"}}}`), Example: json.RawMessage(`{"x":"y"}`),
		Message: &patchbay.MessageTemplate{Text: "{{nope}}", Fields: []patchbay.FieldTemplate{{Title: "t", Value: "<b>"}}},
	})
	var e *patchbay.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	want := []patchbay.Detail{
		{Path: "example.x", Message: "must be an integer, not a string"},
		{Path: "message.text", Message: `function "nope" not defined`},
		{Path: "message.fields.0.value", Message: `HTML has no place in a message: write \< for the character itself`},
	}
	if diff := cmp.Diff(want, e.Details); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestStoredTypes(t *testing.T) {
	c := open(t, "version: 1\ntypes:\n  - key: taken\n", Options{Stored: []patchbay.EventType{{Key: "kept"}, {Key: "taken"}, {Key: "broken", Schema: json.RawMessage(`{"type":7}`)}}})
	if x := c.Type("kept"); x == nil || !x.FromAPI() {
		t.Errorf("a stored type is %v", x)
	}
	if c.Type("taken").FromAPI() || c.Type("broken") != nil || len(c.Warnings()) != 2 || !strings.Contains(c.Warnings()[0], `"taken"`) {
		t.Errorf("what no longer fits is left out with a warning: %q", c.Warnings())
	}
}

func TestMatch(t *testing.T) {
	c := open(t, "version: 1\ntypes:\n  - {key: run_webhook_timeout, aliases: [webhook_timeout]}\n  - key: repo.push\n", Options{})
	tests := []struct {
		pattern patchbay.Pattern
		want    []string
	}{
		{"*", []string{"run_webhook_timeout", "repo.push", TypeTest, TypeEntry}},
		{"webhook_*", []string{"run_webhook_timeout"}},
		{"run_*", []string{"run_webhook_timeout"}},
		{"patchbay.*", []string{TypeLinkFailing, TypeLinkDisabled, TypeLinkRecovered, TypeLinkDetached, TypeConnectionNeedsReauth}},
		{"nope", nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, c.Match(tt.pattern)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.pattern, diff)
		}
	}
}

// TestConcurrentUse is for the race detector: readers see whole catalogs while types come and go.
func TestConcurrentUse(t *testing.T) {
	c := open(t, "version: 1\ntypes:\n  - key: a\n    example: {x: 1}\n    message: {title: '{{.payload.x}}'}\n", Options{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if x := c.Type("b"); x != nil && !x.FromAPI() {
					t.Error("b is not whole")
				}
				x := c.Type("a")
				if _, err := x.Render(&patchbay.Event{Type: "a", Payload: []byte(`{"x":1}`)}, Target{}); err != nil {
					t.Error(err)
				}
				x.Validate([]byte(`{"x":1}`))
				c.Match("*")
			}
		})
	}
	wg.Go(func() {
		for range 100 {
			if _, err := c.Add(patchbay.EventType{Key: "b"}); err != nil {
				t.Error(err)
			}
			if err := c.Remove("b"); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

// FuzzFile reads any file. What is accepted must be usable.
func FuzzFile(f *testing.F) {
	for _, name := range catalogs.Names() {
		b, err := catalogs.Files.ReadFile(name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b[:min(len(b), 4000)]))
	}
	f.Add(shop)
	f.Add("version: 1\ntypes: [{key: a, schema: {$ref: '#'}, example: {}}]\n")
	f.Add("version: 1\ntypes:\n- key: &k a\n  aliases: [*k]\n")
	f.Add("version: 1\ntypes: ~\n")
	f.Add("version: 1\ntypes: [~, {key: b, message: {overrides: {a: ~}}}]\n")
	f.Add("? [a]\n: b\n")
	f.Add("\ufeffversion: 1\n")
	f.Fuzz(func(t *testing.T, content string) {
		if len(content) > 8000 {
			return
		}
		l := &loader{snapshot: snapshot{byName: map[string]*Type{}}, places: map[string]string{}, base: map[string]patchbay.EventType{}}
		l.file("f.yaml", nopCloser{strings.NewReader(content)})
		for _, p := range l.problems {
			if p.File != "f.yaml" || p.Message == "" || p.Line < 0 || p.Line > strings.Count(content, "\n")+strings.Count(content, "\r")+2 {
				t.Fatalf("a problem without a place: %+v in\n%s", p, content)
			}
		}
		if len(l.problems) > 0 {
			return
		}
		for _, x := range l.types {
			if x.spec.Example == nil {
				continue
			}
			if d := x.Validate(x.spec.Example); d != nil {
				t.Fatalf("an example does not fit: %v", d)
			}
			if _, err := x.Render(&patchbay.Event{Type: x.Key(), Payload: x.spec.Example}, Target{Key: "slack"}); err != nil {
				t.Fatalf("an example does not render: %v", err)
			}
		}
	})
}

type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }
