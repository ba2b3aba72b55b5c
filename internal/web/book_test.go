package web_test

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/browsertest"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/web"
)

// book draws a catalog as files; source is a catalog file, "" stands for the built-in ones.
func book(t *testing.T, source string) map[string][]byte {
	t.Helper()
	o := catalog.Options{}
	for _, i := range all.Integrations() {
		o.Extra = append(o.Extra, i.Definition().Types...)
	}
	if source != "" {
		name := filepath.Join(t.TempDir(), "catalog.yaml")
		if err := os.WriteFile(name, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Files = []string{name}
	}
	c, err := catalog.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	files, err := (&web.Book{Title: "What happens", Types: c.Types(), Integrations: all.Integrations()}).Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestBookIsWhole: every address in every page is a file that there is, nothing is loaded from elsewhere, and nothing runs.
func TestBookIsWhole(t *testing.T) {
	files := book(t, "")
	pages := 0
	for name, content := range files {
		if !strings.HasSuffix(name, ".html") || strings.HasPrefix(name, "files/") {
			continue
		}
		pages++
		doc, err := html.Parse(strings.NewReader(string(content)))
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for n := range doc.Descendants() {
			if n.Type == html.ElementNode && (n.Data == "script" || n.Data == "style" || n.Data == "form") {
				t.Errorf("%s has a <%s>", name, n.Data)
			}
			for _, a := range n.Attr {
				switch {
				case a.Key == "id" && ids[a.Val]:
					t.Errorf("%s: two elements have the id %s", name, a.Val)
				case a.Key == "id":
					ids[a.Val] = true
				case a.Key == "style" || strings.HasPrefix(a.Key, "on"):
					t.Errorf("%s: <%s> has the attribute %s", name, n.Data, a.Key)
				case a.Key == "href" || a.Key == "src":
					u, err := url.Parse(a.Val)
					if n.Data == "a" && err == nil && (u.Scheme == "https" || u.Scheme == "http") {
						continue // where an example leads
					}
					if err != nil || u.IsAbs() || u.Host != "" || strings.HasPrefix(u.Path, "/") || u.Path != "" && files[u.Path] == nil {
						t.Errorf("%s: <%s %s=%q> leads nowhere", name, n.Data, a.Key, a.Val)
					}
				}
			}
		}
	}
	if pages < 50 {
		t.Errorf("there are %d pages", pages)
	}
}

// TestBookNames: keys that cannot be names of files, or only differ in capitals, have files of their own.
func TestBookNames(t *testing.T) {
	source := "version: 1\ntypes:\n"
	for _, k := range []string{"a/b", "a:b", "A:b", "index", "..", "/", ".hidden"} {
		source += "  - {key: \"" + k + "\", title: \"Title of " + k + "\"}\n"
	}
	files := book(t, source)
	seen := map[string]bool{}
	for name, content := range files {
		if low := strings.ToLower(name); seen[low] || strings.HasPrefix(name, ".") || strings.Contains(name, "..") || strings.ContainsAny(name, `:\`) {
			t.Errorf("a file is called %s", name)
		} else {
			seen[low] = true
		}
		if strings.HasPrefix(string(content), "<!doctype html>") && !strings.HasPrefix(name, "files/") {
			seen[string(content)[strings.Index(string(content), "<h1>")+4:strings.Index(string(content), "</h1>")]] = true
		}
	}
	for _, k := range []string{"a/b", "a:b", "A:b", "index", "..", "/", ".hidden"} {
		if !seen["Title of "+k] {
			t.Errorf("the type %s has no page", k)
		}
	}
}

// TestBookInABrowser reads a book from a folder, without a server.
func TestBookInABrowser(t *testing.T) {
	hostile := "version: 1\ntypes:\n  - key: hostile\n    title: \"" + strings.ReplaceAll(hostileText, `"`, `\"`) + "\"\n" +
		"    description: \"" + strings.ReplaceAll(hostileText, `"`, `\"`) + "\"\n    example: {a: \"" + strings.ReplaceAll(hostileText, `"`, `\"`) + "\"}\n"
	for _, o := range []browsertest.Options{{Width: 390}, {Width: 1440, Dark: true}} {
		for source, paths := range map[string][]string{"": {"index.html", "repo.push.html", "integration_test.html"}, hostile: {"index.html", "hostile.html"}} {
			dir := t.TempDir()
			for name, content := range book(t, source) {
				name = filepath.Join(dir, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p := browsertest.New(t, o)
			checked := browsertest.New(t, o) // axe-core asks for the stylesheet once more, which browsers refuse to files
			checked.Expect("assets/app.css")
			checked.Expect("Couldn't load preload assets")
			for _, path := range paths {
				p.Go("file://" + dir + "/" + path)
				p.See("h1", "")
				p.Fits()
				const drawn = `[...document.fonts].some(f => f.status === "loaded") && getComputedStyle(document.querySelector(".bar")).borderBottomWidth === "1px"`
				for until := time.Now().Add(time.Minute); !browsertest.Ask[bool](p, drawn); {
					if time.Now().After(until) {
						t.Fatalf("%s has not the look, or not the font", path)
					}
				}
				checked.Go("file://" + dir + "/" + path)
				checked.Accessible()
			}
			if source != "" {
				continue
			}
			p.Go("file://" + dir + "/index.html")
			p.Press(`a[href="run_completion.html"]`)
			p.See("#verify", "Verify reports whether")
			p.Click(`input[name=language][value=python]`)
			p.See("#verify", "def verify")
			p.Click(`input[name=reads][value=mail]`)
			p.See(".mail", "you@example.com")
			p.Press(".crumbs a")
			p.See("h1", "What happens")
		}
	}
}

// TestBookOfACustomBuild has what its integrations can show, and nothing of those that it has not.
func TestBookOfACustomBuild(t *testing.T) {
	c, err := catalog.Open(catalog.Options{Files: []string{"builtin:keyclic"}, Extra: []patchbay.EventType{}})
	if err != nil {
		t.Fatal(err)
	}
	files, err := (&web.Book{Types: c.Types()}).Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	page := string(files["reportCreated.html"])
	if !strings.Contains(page, "no integration that people read") || strings.Contains(page, "webhook-signature") {
		t.Errorf("a build without integrations shows %s", page)
	}
}

// FuzzBook: whatever somebody writes into a catalog stays text on its pages, and in the mail that they show.
func FuzzBook(f *testing.F) {
	f.Add(`<script>alert(1)</script>`, `" onload="x`)
	f.Add("</style></title><svg onload=x>", "\u202e*b* <https://x.test|y> `c` <!channel>\n> q\n```\n</pre>")
	f.Add("javascript:alert(1)", "[x](javascript:alert(1)) {{.}} &lt;script&gt; --\x00\xff")
	f.Fuzz(func(t *testing.T, name, text string) {
		payload, err := json.Marshal(map[string]any{name: text, "more": []any{map[string]any{text: name}}})
		if err != nil {
			t.Fatal(err)
		}
		schema, err := json.Marshal(map[string]any{"title": text, "properties": map[string]any{
			name: map[string]any{"description": text, "title": name, "default": text, "examples": []any{text}, "deprecated": true},
			text: map[string]any{"anyOf": []any{map[string]any{"title": name}, map[string]any{"description": text}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := catalog.Open(catalog.Options{Files: []string{"builtin:idonethis"}, Stored: []patchbay.EventType{{
			Key: "fuzzed", Title: strings.Join(strings.Fields(name), " "), Description: text, Schema: schema, Example: payload,
			Message: &patchbay.MessageTemplate{Text: "{{json .payload}} {{bold (json .payload)}}", Fields: []patchbay.FieldTemplate{{Title: "{{json .payload}}", Value: "{{code (json .payload)}}"}}},
		}}})
		if err != nil || c.Type("fuzzed") == nil {
			return // the catalog does not take it
		}
		files, err := (&web.Book{Title: text, Types: []*catalog.Type{c.Type("fuzzed")}, Integrations: all.Integrations()}).Files(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range []string{"index.html", "fuzzed.html", "files/fuzzed.mail.html"} {
			harmless(t, page, string(files[page]))
		}
	})
}

// harmless fails the test when a page has what only text can have brought in.
func harmless(t *testing.T, name, page string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script", "img", "object", "embed", "form", "base":
			t.Errorf("%s has a <%s>", name, n.Data)
		}
		for _, a := range n.Attr {
			low := strings.ToLower(strings.TrimSpace(a.Val))
			if strings.HasPrefix(a.Key, "on") || a.Key == "srcdoc" || (a.Key == "href" || a.Key == "src") && strings.HasPrefix(low, "javascript:") {
				t.Errorf("%s: <%s %s=%q>", name, n.Data, a.Key, a.Val)
			}
		}
	}
}
