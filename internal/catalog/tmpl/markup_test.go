package tmpl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	gmtext "github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// hostile are texts that mean something in Markdown, or nearly.
var hostile = []string{
	"[x](http://evil)", "![x](http://evil)", "<http://evil>", "http://evil www.evil.com a@evil.com", "**b** *i* _u_ ~~s~~", "`c` ``d``", "# h",
	"- l\n- m", "1. l", "1) l", "1", "+", "> q", "```\ncode\n```", "~~~\ncode", "    code", "\tcode", "---", "===", "a\n---", "a\n===\n", "<b>x</b>", "<!-- x",
	"<script>alert(1)</script>", "&lt;b&gt; &#60; &amp;", "\\", "\\\\", "\\*", "a\\\n", "a  \nb", "a\r\nb\rc", "\n\na\n\n\nb\n\n", "[a]: http://evil", "[a][b]", "[a]",
	"| a | b |\n|---|---|", "- [ ] task", "[^1]", "a\u2028b\u2029c\u0085d", "\u202eevil\u202c", "\x00\x01\x1b[31m", "\xff\xfe", "  x  ", " ", "", "a`", "`", "``", "](", ")", "](http://evil)",
	"!", "!\n[", "*", "**", "_", "x*", "*x", "\u00a0x\u00a0", "\u3000", "é*é", "😀_😀", "lt;", "#60", "x\\", "$$x$$", ":smile:", "<@U123> <!channel>", "@here", strings.Repeat("[", 200), strings.Repeat("*a ", 100),
	strings.Repeat(">", 50), "a\v\fb", "\u200b", "\ufeff# x", "1234567890.", "2026. x",
}

// shape is what a Markdown parser makes of a message: how often each kind of markup stands in it, and where links lead.
type shape struct {
	counts map[string]int
	links  []string
	text   string
}

var plainParser = goldmark.New().Parser()

// gfm has what many renderers switch on; nothing of it may come from a payload either.
var gfmParser = goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote, extension.DefinitionList)).Parser()

func shapeOf(t *testing.T, source string, gfm bool) shape {
	t.Helper()
	s := shape{counts: map[string]int{}}
	p := plainParser
	if gfm {
		p = gfmParser
	}
	src := []byte(source)
	var shown strings.Builder
	err := ast.Walk(p.Parse(gmtext.NewReader(src)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			if n.Type() == ast.TypeBlock {
				shown.WriteByte(' ')
			}
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Document, *ast.Paragraph, *ast.TextBlock:
		case *ast.Text:
			value := n.Segment.Value(src)
			if n.Parent().Kind() != ast.KindCodeSpan {
				value = util.UnescapePunctuations(value) // entities stay: none may come from a value
			}
			shown.Write(value)
			if n.SoftLineBreak() || n.HardLineBreak() {
				shown.WriteByte(' ')
			}
		case *ast.String:
			shown.Write(n.Value)
		case *ast.Link:
			s.links = append(s.links, string(n.Destination))
			s.counts["Link"]++
		default:
			s.counts[n.Kind().String()]++
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.text = shown.String()
	return s
}

// payloadWith makes a payload of two texts.
func payloadWith(s, u string) []byte {
	b, err := json.Marshal(map[string]any{"s": s, "t": u, "l": []string{s, u}})
	if err != nil {
		panic(err)
	}
	return b
}

func run2(t *testing.T, tm *Template, s, u string) string {
	t.Helper()
	out, err := tm.Render(NewData(Source{Payload: payloadWith(s, u)}))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// templates put values where authors put them.
var templates = []string{
	"{{.payload.s}}", "{{.payload.s}}{{.payload.t}}", "a {{.payload.s}} b", "{{.payload.s}}. x", "{{.payload.s}}) x", "# x {{.payload.s}}", "- {{.payload.s}}\n- {{.payload.t}}",
	"1. {{.payload.s}}", "> {{.payload.s}}", "{{.payload.s}}\n{{.payload.t}}", "{{.payload.s}}\n\n{{.payload.t}}", "**{{.payload.s}}**", "[{{.payload.s}}](https://ok.example.com)",
	"{{range .payload.l}}- {{.}}\n{{end}}", "x\n{{range .payload.l}}- {{.}}\n{{end}}", "{{bold .payload.s}}{{bold .payload.t}}", "{{code .payload.s}}{{code .payload.t}}", "{{code .payload.s}} {{.payload.t}}",
	"{{.payload.t}}{{code .payload.s}}", "a{{bold .payload.s}}b", "{{join \", \" .payload.l}}", "{{join .payload.s (list (bold .payload.t) .payload.s (code .payload.t))}}",
	"{{print .payload.s (bold .payload.t) .payload.s}}", "-{{.payload.s}}", "#{{.payload.s}}", "!{{.payload.s}}", "&{{.payload.s}}", "1{{.payload.s}}", "{{.payload.s}}-", "{{.payload.s}}\n-{{.payload.t}}",
	"`a`{{.payload.s}}`b`", "*{{.payload.s}}", "_{{.payload.s}}_", "[{{.payload.s}}][{{.payload.t}}]", "[{{.payload.s}}]: {{.payload.t}}", "{{.payload.s}}:{{.payload.t}}", "www.{{.payload.s}}", "https://{{.payload.s}}",
	"{{printf \"%s · %s\" .payload.s (code .payload.t)}}", "{{upper .payload.s}}{{trunc 5 .payload.t}}", "| {{.payload.s}} |\n|---|\n", "{{json .payload}}",
	"{{.payload.s}}{{code .payload.t}}`x`", "!{{link .payload.s \"https://ok.example.com\"}}", "[{{link .payload.s \"https://ok.example.com\"}}]",
}

// checkShape proves that hostile texts make no markup that harmless ones would not make.
func checkShape(t *testing.T, tm *Template, source, s, u string) {
	t.Helper()
	out := run2(t, tm, s, u)
	if !utf8.ValidString(out) {
		t.Fatalf("%q over %q, %q is not UTF-8: %q", source, s, u, out)
	}
	// A value may be empty, alone or with the other, and its template may read differently then.
	var harmless []string
	for _, a := range []string{"x", "", "9"} {
		for _, b := range []string{"x", "", "9"} {
			harmless = append(harmless, run2(t, tm, a, b))
		}
	}
	for _, gfm := range []bool{false, true} {
		if gfm && extensionsInSource(source) {
			continue
		}
		got := shapeOf(t, out, gfm)
		most := map[string]int{}
		for _, h := range harmless {
			for k, n := range shapeOf(t, h, gfm).counts {
				most[k] = max(most[k], n)
			}
		}
		for k, n := range got.counts {
			if n > most[k] {
				t.Fatalf("%q over %q, %q makes %d %s, where harmless texts make %d (extensions: %v):\n%q", source, s, u, n, k, most[k], gfm, out)
			}
		}
		for _, l := range got.links {
			if !strings.HasPrefix(l, "https://ok.example.com") {
				t.Fatalf("%q over %q, %q links to %q", source, s, u, l)
			}
		}
	}
}

// extensionsInSource says that an author's own text is markup only with extensions, which the small Markdown has not.
func extensionsInSource(source string) bool {
	return strings.ContainsAny(source, "|~^:") || strings.Contains(source, "www.") || strings.Contains(source, "http") || strings.Contains(source, "[")
}

func TestPayloadsAreNeverMarkup(t *testing.T) {
	for _, source := range templates {
		tm, err := Parse(source, Markdown)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		for _, s := range hostile {
			checkShape(t, tm, source, s, "x")
			checkShape(t, tm, source, "x", s)
			checkShape(t, tm, source, s, s)
		}
	}
}

// TestTextReadsAsItIs proves that escaping loses nothing: what a reader sees is the text, on one line or several.
func TestTextReadsAsItIs(t *testing.T) {
	for _, source := range []string{"{{.payload.s}}", "> {{.payload.s}}", "{{link .payload.s \"https://ok.example.com\"}}", "{{bold .payload.s}}", "{{code .payload.s}}"} {
		tm, err := Parse(source, Markdown)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range hostile {
			if strings.ContainsAny(s, "\x00\u2028\u00a0\u3000\v\ufeff\u202e") || !utf8.ValidString(s) || OneLine(s) == "" {
				continue
			}
			got := shapeOf(t, run2(t, tm, s, ""), false)
			if want := strings.Join(strings.Fields(s), " "); strings.Join(strings.Fields(got.text), " ") != want {
				t.Errorf("%s shows %q as %q", source, s, got.text)
			}
		}
	}
}

// FuzzPayload puts any text into the places of templates.
func FuzzPayload(f *testing.F) {
	compiled := make([]*Template, len(templates))
	for i, source := range templates {
		tm, err := Parse(source, Markdown)
		if err != nil {
			f.Fatal(err)
		}
		compiled[i] = tm
	}
	for i, s := range hostile {
		f.Add(s, hostile[(i+7)%len(hostile)], uint(i))
	}
	f.Fuzz(func(t *testing.T, s, u string, n uint) {
		i := int(n % uint(len(templates)))
		checkShape(t, compiled[i], templates[i], s, u)
	})
}

// FuzzStatic puts any text of an author around values. What Parse accepts must keep them text.
func FuzzStatic(f *testing.F) {
	for i, s := range hostile {
		f.Add(s, "", hostile[(i+3)%len(hostile)], s, "x")
		f.Add("", s, "", hostile[(i+5)%len(hostile)], s)
	}
	f.Fuzz(func(t *testing.T, a, b, c, s, u string) {
		if strings.ContainsAny(a+b+c, "{}|~^") || !utf8.ValidString(a+b+c) {
			return // actions, and extensions
		}
		// Code that is indented and lists are the author's; a line break in a value leaves the former, by design.
		if strings.Contains(a+b+c, "    ") || strings.ContainsAny(a+b+c, "\t\v\f\r") {
			return
		}
		source := a + "{{.payload.s}}" + b + "{{bold .payload.t}}" + c + "{{code .payload.s}}"
		tm, err := Parse(source, Markdown)
		if err != nil {
			return
		}
		checkLinks(t, tm, source, s, u)
	})
}

// checkLinks proves that no link, image or HTML comes from a value, wherever an author has put it.
func checkLinks(t *testing.T, tm *Template, source, s, u string) {
	t.Helper()
	out := run2(t, tm, s, u)
	got, want := shapeOf(t, out, false), shapeOf(t, run2(t, tm, "x", "x"), false)
	for _, k := range []string{"Link", "Image", "AutoLink", "RawHTML", "HTMLBlock"} {
		if got.counts[k] > want.counts[k] {
			t.Fatalf("%q over %q, %q makes %d %s instead of %d:\n%q", source, s, u, got.counts[k], k, want.counts[k], out)
		}
	}
}

// FuzzTemplate runs anything that parses over any payload: it must end soon and stay small.
func FuzzTemplate(f *testing.F) {
	for _, s := range templates {
		f.Add(s, samplePayload)
	}
	for _, s := range []string{
		"{{range .payload}}{{range $.payload}}{{.}}{{end}}{{end}}", "{{$x := .}}{{with $x}}{{.type}}{{end}}", "{{index .payload 1 2 \"x\"}}", "{{.}}{{$}}{{.integration}}", "{{len .}}{{json .}}{{keys .}}",
		"{{get . \"payload.a.b.c\"}}", "{{range $i, $e := .payload.l}}{{if gt $i 1}}{{break}}{{end}}{{$e | upper | trunc 3 | bold}}{{end}}", "{{(link \"a\" \"http://x\").y}}", "{{first (split \",\" .payload.s) | default \"x\"}}",
		"{{date \"2006\" .payload.s}}{{duration -1}}{{percent 1e308 1e-308}}{{number .payload.s}}{{printf \"%s%\" 1}}", "{{with .payload}}{{else with .actor}}{{end}}", "{{if}}", "{{range}}", "{{`", "{{(((((1)))))}}",
	} {
		f.Add(s, `{"s":"x","l":[1,[2],{"a":null}]}`)
	}
	f.Fuzz(func(t *testing.T, source, payload string) {
		d := NewData(Source{Type: "t", Payload: []byte(payload), Actor: []byte(payload)})
		for mode := Plain; mode <= Scope; mode++ {
			tm, err := Parse(source, mode)
			if err != nil {
				continue
			}
			start := time.Now()
			out, err := tm.Render(d)
			if err != nil && len(payload) < 1000 && len(source) < 200 && !strings.Contains(source, "range") {
				t.Fatalf("%q over %q: %v", source, payload, err)
			}
			if took := time.Since(start); took > 30*time.Second || len(out) > MaxOutput+len("…")+len("\\") {
				t.Fatalf("%q takes %v and makes %d bytes", source, took, len(out))
			}
			if mode == URL && out != "" && (!strings.HasPrefix(out, "http") || bytes.ContainsAny([]byte(out), "<>()\"' \n\\`")) {
				t.Fatalf("%q makes the address %q", source, out)
			}
			if mode == Plain && strings.ContainsAny(out, "\n\r\x00\u2028\u202e") {
				t.Fatalf("%q makes several lines: %q", source, out)
			}
		}
	})
}

func FuzzCleanURL(f *testing.F) {
	for _, s := range []string{"https://e.com/a?b=c#d", "http://[::1]/", "https://e.com:443", "https://ü.de/é", "javascript:x", "https://a@b", "https://e.com/&copy;", "https://e.com/%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		clean := CleanURL(s)
		if clean == "" {
			return
		}
		if again := CleanURL(clean); again != clean {
			t.Fatalf("%q becomes %q and then %q", s, clean, again)
		}
		got := shapeOf(t, fmt.Sprintf("[x](%s) y", clean), false)
		if len(got.links) != 1 || got.links[0] != clean || got.text != "x y " {
			t.Fatalf("%q is the link %q with text %q", clean, got.links, got.text)
		}
	})
}
