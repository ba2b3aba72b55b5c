package catalog

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/rawjson"
)

const runs = `version: 1
types:
  - key: run
    title: A run
    message:
      title: "Run {{.payload.run.id}} for {{.integration.title}} in {{.scope}}"
      text: "{{link .payload.run.id .payload.run.url}} is {{bold .payload.run.result}}: {{.payload.note}}"
      severity: '{{if eq .payload.run.result "passed"}}success{{else}}{{.payload.run.result}}{{end}}'
      status: "{{.payload.status}}"
      thread: "run/{{.payload.run.id}}"
      labels: [ci, "{{.payload.label}}"]
      fields:
        - {title: Result, value: "{{capitalize .payload.run.result}}", short: true}
        - {title: Missing, value: "{{.payload.missing}}"}
        - {title: "{{.item.who}} says", value: "{{.item.note}}", each: payload.feedback}
      links:
        - {title: The run, url: "{{.payload.run.url}}"}
        - {title: Nothing, url: "{{.payload.missing}}"}
        - {title: "{{.payload.missing}}", url: "https://e.com/?q={{.payload.note}}"}
      actor: {name: "{{.payload.who.name}}", avatar: "{{.payload.who.avatar}}", url: "javascript:{{.payload.who.name}}"}
      overrides:
        chat: {title: "Chat {{.payload.run.id}}", text: "", fields: [], thread: ""}
        tracker: {skip: true}
        jira: {severity: error, labels: [], links: []}
        slack: {title: "Slack {{.payload.run.id}}"}
`

func event(payload string) *patchbay.Event {
	return &patchbay.Event{Type: "run", Scope: "acme/web", Payload: json.RawMessage(payload), Actor: json.RawMessage(`{"name":"Ann\nB","avatar":"https://e.com/a.png","url":"ftp://x","id":7}`),
		OccurredAt: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
}

const runPayload = `{"run":{"id":7,"url":"https://ci.example.com/7","result":"passed"},"note":"a*b\n<c>","status":"open","label":"x y",
"feedback":[{"who":"Ann","note":"_fine_"},{"who":"Bob","note":""}],"who":{"name":"Zoë","avatar":"https://e.com/z"}}`

func TestRender(t *testing.T) {
	x := open(t, runs, Options{}).Type("run")
	full := &patchbay.Message{
		Title: "Run 7 for Web in acme/web", Text: "[7](https://ci.example.com/7) is **passed**: a\\*b\\\n\\<c\\>", Severity: "success", Status: "open", Thread: "run/7",
		Labels: []string{"ci", "x y"},
		Fields: []patchbay.Field{{Title: "Result", Value: "Passed", Short: true}, {Title: "Ann says", Value: `\_fine\_`}},
		Links:  []patchbay.URL{{Title: "The run", URL: "https://ci.example.com/7"}, {Title: "https://e.com/?q=a%2Ab%0A%3Cc%3E", URL: "https://e.com/?q=a%2Ab%0A%3Cc%3E"}},
		Actor:  &patchbay.Actor{Name: "Zoë", Avatar: "https://e.com/z"},
	}
	with := func(change func(*patchbay.Message)) *patchbay.Message {
		m := *full
		change(&m)
		return &m
	}
	tests := []struct {
		name string
		to   Target
		want *patchbay.Message
	}{
		{"for nobody in particular", Target{Title: "Web"}, full},
		{"by category", Target{Key: "hip_chat", Category: "chat"}, with(func(m *patchbay.Message) {
			m.Title, m.Text, m.Fields, m.Thread = "Chat 7", "", nil, ""
		})},
		{"by key, over the category", Target{Key: "slack", Category: "chat"}, with(func(m *patchbay.Message) {
			m.Title, m.Text, m.Fields, m.Thread = "Slack 7", "", nil, ""
		})},
		{"by key alone", Target{Key: "jira", Title: "Web"}, with(func(m *patchbay.Message) { m.Severity, m.Labels, m.Links = "error", nil, nil })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := x.Render(event(runPayload), tt.to)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			thread, err := x.Thread(event(runPayload), tt.to)
			if err != nil || thread != tt.want.Thread {
				t.Errorf("Thread = %q, %v, want %q", thread, err, tt.want.Thread)
			}
		})
	}
}

// TestRenderOfAnything proves that a payload which has nothing of what templates ask for still reads well.
func TestRenderOfAnything(t *testing.T) {
	x := open(t, runs, Options{}).Type("run")
	got, err := x.Render(event(`{"run":"a text","status":{"odd":1},"feedback":"none","label":" \n "}`), Target{})
	if err != nil {
		t.Fatal(err)
	}
	want := &patchbay.Message{Title: "Run for in acme/web", Text: "is :", Severity: "info", Thread: "run/", Labels: []string{"ci"},
		Links: []patchbay.URL{{Title: "https://e.com/?q=", URL: "https://e.com/?q="}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSkips(t *testing.T) {
	x := open(t, runs, Options{}).Type("run")
	for to, want := range map[Target]bool{{}: false, {Key: "pivotal_tracker", Category: "tracker"}: true, {Key: "jira", Category: "tracker"}: false, {Key: "slack", Category: "chat"}: false, {Key: "tracker"}: true} {
		if got := x.Skips(to); got != want {
			t.Errorf("Skips(%+v) = %v", to, got)
		}
	}
}

func TestDefaultMessage(t *testing.T) {
	const source = `version: 1
types:
  - key: plain
    title: Something plain
    schema:
      properties:
        when: {type: string, title: Moment}
        run: {type: object, properties: {time_taken: {type: number, title: Time needed}}}
  - key: threaded
    message: {thread: "t/{{.payload.id}}"}
`
	c := open(t, source, Options{})
	payload := `{"run":{"time_taken":12.50,"totalTests":3,"deep":{"x":1}},"when":"*now*","empty":"","null":null,"long":"` + strings.Repeat("x", 400) + `","list":[1],"yes":true}`
	got, err := c.Type("plain").Render(event(payload), Target{})
	if err != nil {
		t.Fatal(err)
	}
	want := &patchbay.Message{Title: "Something plain", Severity: "info", Actor: &patchbay.Actor{Name: "Ann B", Avatar: "https://e.com/a.png"}, Fields: []patchbay.Field{
		{Title: "Moment", Value: `\*now\*`, Short: true}, {Title: "Long", Value: patchbay.Markdown(strings.Repeat("x", 300) + "…")}, {Title: "Yes", Value: "true", Short: true},
		{Title: "Time needed", Value: `12\.50`, Short: true}, {Title: "Run total tests", Value: "3", Short: true},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	got, err = c.Type("threaded").Render(event(`{"id":7}`), Target{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Title != "Threaded" || got.Thread != "t/7" || len(got.Fields) != 1 {
		t.Errorf("a message with a thread alone: %+v", got)
	}
	if thread, err := c.Type("plain").Thread(event(`{}`), Target{}); thread != "" || err != nil {
		t.Errorf("no thread: %q, %v", thread, err)
	}
}

func TestLongThreads(t *testing.T) {
	x := open(t, runs, Options{}).Type("run")
	long := strings.Repeat("ä", 300)
	seen := map[string]bool{}
	for _, id := range []string{long + "1", long + "2"} {
		thread, err := x.Thread(event(`{"run":{"id":"`+id+`"}}`), Target{})
		if err != nil || len(thread) > patchbay.MaxThreadLength || !strings.HasPrefix(thread, "run/ää") || strings.Contains(thread, "\ufffd") {
			t.Errorf("Thread = %q (%d bytes), %v", thread, len(thread), err)
		}
		seen[thread] = true
	}
	if len(seen) != 2 {
		t.Error("two long threads became one")
	}
}

func TestFieldsAreBounded(t *testing.T) {
	x := open(t, "version: 1\ntypes:\n  - key: run\n    message:\n      fields:\n"+strings.Repeat("        - {title: t, value: '{{.item}}', each: payload.l}\n", 5), Options{}).Type("run")
	got, err := x.Render(event(`{"l":[`+strings.Repeat("1,", 100)+`1]}`), Target{})
	if err != nil || len(got.Fields) != maxRenderedFields {
		t.Errorf("%d fields, %v", len(got.Fields), err)
	}
}

func TestTemplateThatDoesTooMuch(t *testing.T) {
	x := open(t, "version: 1\ntypes:\n  - key: run\n    message: {text: '{{range .payload.l}}"+strings.Repeat("{{$x := print $.payload.l $.payload.l}}", 50)+"{{end}}', thread: a}\n", Options{}).Type("run")
	if _, err := x.Render(event(`{"l":[`+strings.Repeat("1,", 20000)+`1]}`), Target{}); err == nil || !strings.Contains(err.Error(), "too much work") {
		t.Errorf("%v", err)
	}
}

func TestBuiltinTypes(t *testing.T) {
	c := open(t, "version: 1\ntypes: []\n", Options{})
	got, err := c.Type(TypeTest).Render(&patchbay.Event{Type: TypeTest}, Target{Key: "slack", Title: "Slack"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&patchbay.Message{Title: "Your Slack integration works!", Severity: "success"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, payload := range []string{`{}`, `{"x":[1]}`} {
		if d := c.Type(TypeTest).Validate([]byte(payload)); d != nil {
			t.Errorf("%s: %v", payload, d)
		}
	}
	if d := c.Type(TypeTest).Validate(nil); d != nil {
		t.Errorf("a test needs no payload: %v", d)
	}
	if d := c.Type(TypeEntry).Validate([]byte(`{"text":"x","occurred_on":"today"}`)); len(d) != 1 || d[0].Path != "payload.occurred_on" {
		t.Errorf("an entry's day: %v", d)
	}
	for key, status := range map[string]patchbay.Status{TypeLinkFailing: "open", TypeLinkDisabled: "open", TypeLinkRecovered: "resolved"} {
		x := c.Type(key)
		m, err := x.Render(&patchbay.Event{Type: key, Payload: x.Spec().Example}, Target{})
		if err != nil || m.Status != status || m.Thread != "link/lnk_01jq3x5v8k2ma" || !strings.HasPrefix(m.Title, "Webhook hooks.example.com ") {
			t.Errorf("%s: %+v, %v", key, m, err)
		}
	}
}

func TestDocs(t *testing.T) {
	c, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var docs, table bytes.Buffer
	if err := WriteDocs(&docs, c.Types()); err != nil {
		t.Fatal(err)
	}
	if err := WriteTable(&table, c.Types()); err != nil {
		t.Fatal(err)
	}
	var html bytes.Buffer
	if err := goldmark.New(goldmark.WithExtensions(extension.GFM)).Convert(docs.Bytes(), &html); err != nil {
		t.Fatal(err)
	}
	page := html.String()
	for _, x := range c.Types() {
		if !strings.Contains(page, "<h2><code>"+x.Key()+"</code></h2>") || !strings.Contains(table.String(), "| `"+x.Key()+"` |") {
			t.Errorf("%s is not in the documentation", x.Key())
		}
	}
	for _, want := range []string{
		`<a href="#repopush"><code>repo.push</code></a>`, "<td><code>run.environment.name</code></td>", "<td>list of objects or null</td>", "<td><code>failed_tests[].id</code></td>",
		`<code class="language-json">{`, "Also accepted as <code>webhook_timeout</code>.", "<blockquote>", "Your integration works!",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the documentation lacks %s", want)
		}
	}
	var functions bytes.Buffer
	if err := WriteFunctions(&functions); err != nil || !strings.Contains(functions.String(), "| `trunc N TEXT` | TEXT, or its first N characters and an ellipsis. |") {
		t.Errorf("the functions are\n%s", functions.String())
	}
	if !strings.Contains(table.String(), "| `run_completion` | Run Completion | Receive notification when any of your runs complete. | `run`, `failed_tests`") {
		t.Errorf("the table is\n%s", table.String())
	}
}

// FuzzType adds types of all kinds and renders payloads of all kinds with them.
func FuzzType(f *testing.F) {
	full, err := Open(Options{})
	if err != nil {
		f.Fatal(err)
	}
	for _, x := range full.Types() {
		spec := *x.Spec()
		spec.Key, spec.Aliases = "a", nil
		b, err := json.Marshal(spec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b), string(x.Info().Example))
	}
	f.Add(`{"key":"a","schema":{"type":"object","properties":{"x":{"type":"string","format":"uri"}}}}`, `{"x":"y"}`)
	f.Add(`{"key":"a","message":{"text":"{{range .payload.l}}{{.}}{{end}}","fields":[{"title":"{{.item}}","value":"{{.item.x}}","each":"payload.l"}]}}`, `{"l":[1,{"x":2},[3]]}`)
	f.Fuzz(func(t *testing.T, source, payload string) {
		var spec patchbay.EventType
		if len(source) > 20000 || json.Unmarshal([]byte(source), &spec) != nil || rawjson.Check([]byte(payload), 0) != nil {
			return
		}
		x, faults := compile(spec, true)
		if len(faults) > 0 {
			if e := invalid(faults); patchbay.CodeOf(e) != patchbay.CodeInvalidRequest || e.Error() == "" {
				t.Fatalf("%#v", e)
			}
			return
		}
		x.Validate([]byte(payload))
		if rawjson.KindOf([]byte(payload)) != rawjson.KindObject {
			return
		}
		m, err := x.Render(&patchbay.Event{Type: "a", Payload: []byte(payload), Actor: []byte(payload)}, Target{Key: "slack", Category: "chat"})
		if err != nil {
			return
		}
		if m.Title == "" || !m.Severity.Valid() || !m.Status.Valid() || len(m.Thread) > patchbay.MaxThreadLength || strings.ContainsAny(m.Title+m.Thread, "\n\r") || len(m.Fields) > maxRenderedFields {
			t.Fatalf("%+v", m)
		}
		for _, l := range m.Links {
			if !strings.HasPrefix(l.URL, "http") || l.Title == "" {
				t.Fatalf("%+v", l)
			}
		}
		if err := WriteDocs(new(bytes.Buffer), []*Type{x}); err != nil {
			t.Fatal(err)
		}
		_, _, _ = x.ScopeFrom([]byte(payload))
	})
}

func BenchmarkRender(b *testing.B) {
	c, err := Open(Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, key := range []string{"run_completion", "repo.push", "reportCreated"} {
		x := c.Type(key)
		e := &patchbay.Event{Type: key, Payload: x.Spec().Example}
		to := Target{Key: "slack", Category: "chat", Title: "Slack"}
		b.Run(key, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.Render(e, to); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(key+"_thread", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.Thread(e, to); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(key+"_validate", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := x.Validate(e.Payload); d != nil {
					b.Fatal(d)
				}
			}
		})
	}
}
