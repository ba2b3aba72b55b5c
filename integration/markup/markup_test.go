package markup

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
)

// The same text in every language, as a person would write each.
func TestRender(t *testing.T) {
	targets := map[string]func(Doc) string{
		"slack": Doc.Slack, "html": Doc.HTML, "basic": Doc.BasicHTML, "text": Doc.Text, "plain": Doc.Plain,
		"jira": Doc.JiraWiki, "common": Doc.CommonMark,
	}
	for _, test := range []struct {
		name string
		md   patchbay.Markdown
		want map[string]string
	}{
		{"a sentence with a link",
			`Your Rainforest Run ([Run \#1\: nightly](https://rf.example/runs/1?a=1&b=2)) is complete!`,
			map[string]string{
				"slack":  "Your Rainforest Run (<https://rf.example/runs/1?a=1&amp;b=2|Run #1: nightly>) is complete!",
				"html":   `<p>Your Rainforest Run (<a href="https://rf.example/runs/1?a=1&amp;b=2" rel="noopener noreferrer">Run #1: nightly</a>) is complete!</p>`,
				"basic":  `Your Rainforest Run (<a href="https://rf.example/runs/1?a=1&amp;b=2">Run #1: nightly</a>) is complete!`,
				"text":   "Your Rainforest Run (Run #1: nightly (https://rf.example/runs/1?a=1&b=2)) is complete!",
				"plain":  "Your Rainforest Run (Run #1: nightly) is complete!",
				"jira":   "Your Rainforest Run ([Run #1: nightly|https://rf.example/runs/1?a=1&b=2]) is complete!",
				"common": "Your Rainforest Run ([Run #1: nightly](https://rf.example/runs/1?a=1&b=2)) is complete!",
			}},
		{"styles, also within words and over lines",
			"**Result:** *failed* `go test`\n**two\nlines** a**b**c",
			map[string]string{
				"slack":  "*Result:* _failed_ `go test`\n*two*\n*lines* a\u200b*b*\u200bc",
				"html":   "<p><strong>Result:</strong> <em>failed</em> <code>go test</code><br><strong>two<br>lines</strong> a<strong>b</strong>c</p>",
				"basic":  "<b>Result:</b> <i>failed</i> <code>go test</code><br><b>two<br>lines</b> a<b>b</b>c",
				"text":   "Result: failed go test\ntwo\nlines abc",
				"plain":  "Result: failed go test\ntwo\nlines abc",
				"jira":   "*Result:* _failed_ {{go test}}\ntwo\nlines abc",
				"common": "**Result:** *failed* `go test`  \n**two**  \n**lines** a**b**c",
			}},
		{"lists, quotations and code blocks",
			"Steps:\n\n1. open\n2. close\n   - *slowly*\n\n> said\n> twice\n\n```go\nif a < b {\n\treturn\n}\n```",
			map[string]string{
				"slack":  "Steps:\n\n1. open\n2. close\n   • _slowly_\n\n> said\n> twice\n\n```\nif a &lt; b {\n\treturn\n}\n```",
				"html":   "<p>Steps:</p><ol><li>open</li><li>close<ul><li><em>slowly</em></li></ul></li></ol><blockquote><p>said<br>twice</p></blockquote><pre>if a &lt; b {\n\treturn\n}</pre>",
				"basic":  "Steps:<ol><li>open</li><li>close<ul><li><i>slowly</i></li></ul></li></ol><i>said<br>twice</i><br><br><pre>if a &lt; b {\n\treturn\n}</pre>",
				"text":   "Steps:\n\n1. open\n2. close\n   - slowly\n\n> said\n> twice\n\n    if a < b {\n    \treturn\n    }",
				"plain":  "Steps:\n\n1. open\n2. close\n   - slowly\n\n> said\n> twice\n\n    if a < b {\n    \treturn\n    }",
				"jira":   "Steps:\n\n# open\n# close\n#* _slowly_\n\n{quote}\nsaid\ntwice\n{quote}\n\n{noformat}\nif a < b {\u200b\n\treturn\n}\n{noformat}",
				"common": "Steps:\n\n1. open\n2. close\n\n   - *slowly*\n\n> said  \n> twice\n\n```\nif a < b {\n\treturn\n}\n```",
			}},
		{"an image is a link, a bad link is its text, HTML and headings are text",
			"![shot](https://i.example/1.png) [x](javascript:alert) <b>bold</b>\n# no",
			map[string]string{
				"slack":  "<https://i.example/1.png|shot> x &lt;b&gt;bold&lt;/b&gt;\n# no",
				"html":   `<p><a href="https://i.example/1.png" rel="noopener noreferrer">shot</a> x &lt;b&gt;bold&lt;/b&gt;<br># no</p>`,
				"basic":  `<a href="https://i.example/1.png">shot</a> x &lt;b&gt;bold&lt;/b&gt;<br># no`,
				"text":   "shot (https://i.example/1.png) x <b>bold</b>\n# no",
				"plain":  "shot x <b>bold</b>\n# no",
				"jira":   "[shot|https://i.example/1.png] x <b>bold</b>\n\\# no",
				"common": "[shot](https://i.example/1.png) x &lt;b&gt;bold&lt;/b&gt;  \n\\# no",
			}},
		{"addresses as links", "<https://e.example/a> <me@e.example>",
			map[string]string{
				"slack":  "<https://e.example/a> <mailto:me@e.example|me@e.example>",
				"html":   `<p><a href="https://e.example/a" rel="noopener noreferrer">https://e.example/a</a> <a href="mailto:me@e.example" rel="noopener noreferrer">me@e.example</a></p>`,
				"basic":  `<a href="https://e.example/a">https://e.example/a</a> <a href="mailto:me@e.example">me@e.example</a>`,
				"text":   "https://e.example/a me@e.example",
				"plain":  "https://e.example/a me@e.example",
				"jira":   "[https://e.example/a] [me@e.example|mailto:me@e.example]",
				"common": "[https://e.example/a](https://e.example/a) [me@e.example](mailto:me@e.example)",
			}},
		{"nothing", "", map[string]string{"slack": "", "html": "", "basic": "", "text": "", "plain": "", "jira": "", "common": ""}},
	} {
		got := map[string]string{}
		for name, render := range targets {
			got[name] = render(Parse(test.md))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// What is written for each target when a value of an event tries to be markup of that target.
func TestHostileText(t *testing.T) {
	for _, test := range []struct {
		target    string
		render    func(patchbay.Markdown) string
		in, want  string
		whereText string
	}{
		{"slack", Slack, "<!channel> <@U1> <http://evil|x> &", "&lt;!channel&gt; &lt;@U1&gt; &lt;http://evil|x&gt; &amp;", "mentions and links"},
		{"html", HTML, `<script>alert("x")</script>&lt;`, "<p>&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;&amp;lt;</p>", "elements and references"},
		{"jira", JiraWiki, "[~admin] {code} !http://x/y.png! |a| h1. x", "\\[\\~admin\\] \\{code\\} \\!http\u200b://x/y.png! \\|a\\| h1. x", "mentions, macros, images, tables"},
		{"jira", JiraWiki, "h1. big\nbq. said\n# one\n* two\n- three\n----", "\u200bh1. big\n\u200bbq. said\n\\# one\n\\* two\n\\- three\n\\-\\-\\-\\-", "what begins a line"},
		{"jira", JiraWiki, `C:\[x] a\\b \`, "C:\\\u200b\\[x\\] a\\\u200b\\b \\\u200b", "backslashes"},
		{"jira", JiraWiki, ":) :D (x) (Run #1) mailto:a@b ABC-1 well-known a_b _c_ &#91;", ":\\) :\u200bD \\(x) (Run #1) mailto\u200b:a@b ABC\\-1 well-known a_b \\_c\\_ &\u200b#91;", "pictures, keys, references"},
		{"common", CommonMark, "<b> &amp; @bob me@x *a* _b_ a_b [x](http://y) ~~z~~ | `c`", "&lt;b&gt; &amp;amp; @\u200bbob me@x \\*a\\* \\_b\\_ a_b \\[x\\](http://y) \\~\\~z\\~\\~ \\| \\`c\\`", "HTML, mentions, links, tables"},
		{"common", CommonMark, "# a\n- b\n+ c\n1. d\n2) e\n===\n---\n> f", "\\# a  \n\\- b  \n\\+ c  \n1\\. d  \n2\\) e  \n&#61;==  \n\\---  \n&gt; f", "what begins a line"},
	} {
		if got := test.render(Escape(test.in)); got != test.want {
			t.Errorf("%s, %s:\n got %q\nwant %q", test.target, test.whereText, got, test.want)
		}
	}
}

// A link's text and address come from an event too.
func TestHostileLink(t *testing.T) {
	md := Link("a|b> ]c[ {d}\n<e>", `https://x.example/?q="><|]`)
	for _, test := range []struct {
		target, got, want string
	}{
		{"slack", Slack(md), `<https://x.example/?q=%22%3E%3C%7C]|a¦b&gt; ]c[ {d} &lt;e&gt;>`},
		{"html", HTML(md), `<p><a href="https://x.example/?q=%22%3E%3C%7C]" rel="noopener noreferrer">a|b&gt; ]c[ {d} &lt;e&gt;</a></p>`},
		{"common", CommonMark(md), `[a\|b&gt; \]c\[ {d} &lt;e&gt;](https://x.example/?q=%22%3E%3C%7C%5D)`},
		{"jira without brackets", JiraWiki(Link("a|b> ]c[ {d}!", "https://x.example/!a^b|c")), `[a¦b> )c( (d)\!|https://x.example/%21a%5Eb%7Cc]`},
		{"jira with a bracket in the address", JiraWiki(Link("home", "http://[::1]/")), "home (http\u200b://\\[::1\\]/)"},
		{"no address", Slack(Link("a*b", "javascript:x")), "a*b"},
		{"no text", Slack(Link(" ", "https://x.example")), "<https://x.example>"},
	} {
		if test.got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.target, test.got, test.want)
		}
	}
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"https://a.example":                 "https://a.example",
		" HTTP://a.example/b?c=d&e=f#g ":    "HTTP://a.example/b?c=d&e=f#g",
		"https://bücher.example/é":          "https://bücher.example/é",
		"https://a.example/\u202ex":         "https://a.example/%E2%80%AEx",
		"https://a.example/a b|c\\d":        "https://a.example/a%20b%7Cc%5Cd",
		"mailto:a@b.example":                "mailto:a@b.example",
		"https://a.example/%5B?x[]=1":       "https://a.example/%5B?x[]=1",
		"javascript:alert(1)":               "",
		"data:text/html,x":                  "",
		"//a.example":                       "",
		"/path":                             "",
		"https://":                          "",
		"https://:80":                       "",
		"mailto:":                           "",
		"https://a.example/\nX: y":          "",
		"https://a.example/%zz":             "",
		"ftp://a.example":                   "",
		"https://a.example/\xff":            "",
		"":                                  "",
		"java\tscript:alert(1)//http://x.y": "",
	} {
		if got, ok := Address(in); got != want || ok != (want != "") {
			t.Errorf("Address(%q) = %q, %v, want %q", in, got, ok, want)
		}
	}
}

func TestInline(t *testing.T) {
	for in, want := range map[patchbay.Markdown]string{
		"- 5":                 "- 5",
		"> x":                 "&gt; x",
		"1. x":                "1. x",
		"one\n\ntwo\nthree":   "one\ntwo\nthree",
		"**a** `b`":           "*a* `b`",
		"[x](https://y.test)": "<https://y.test|x>",
	} {
		if got := Inline(in).Slack(); got != want {
			t.Errorf("Inline(%q).Slack() = %q, want %q", in, got, want)
		}
	}
}

func TestLimit(t *testing.T) {
	md := patchbay.Markdown("one **two three** [four](https://x.test)\n\n- five")
	for _, test := range []struct {
		max  int
		want string
	}{
		{0, ""},
		{1, "<p>…</p>"},
		{4, "<p>one…</p>"},
		{8, "<p>one <strong>two…</strong></p>"},
		{17, `<p>one <strong>two three</strong> <a href="https://x.test" rel="noopener noreferrer">fo…</a></p>`},
		{20, `<p>one <strong>two three</strong> <a href="https://x.test" rel="noopener noreferrer">four</a></p><ul><li>f…</li></ul>`},
		{22, `<p>one <strong>two three</strong> <a href="https://x.test" rel="noopener noreferrer">four</a></p><ul><li>five</li></ul>`},
	} {
		if got := Parse(md).Limit(test.max).HTML(); got != test.want {
			t.Errorf("Limit(%d):\n got %s\nwant %s", test.max, got, test.want)
		}
	}
}

func TestFit(t *testing.T) {
	long := Parse(Escape(strings.Repeat("<&é ", 1000)) + " [link](https://x.test)")
	for _, max := range []int{0, 1, 2, 10, 100, 3000} {
		got := Fit(long, max, Doc.Slack)
		if n := utf8.RuneCountInString(got); n > max || max >= 10 && n < max*9/10 || max > 0 && !strings.HasSuffix(got, "…") {
			t.Errorf("Fit(%d) has %d characters and ends with %q", max, n, got[max*0:])
		}
		if strings.ContainsAny(got, "<>") || strings.HasSuffix(strings.TrimSuffix(got, "…"), "&") {
			t.Errorf("Fit(%d) cut within markup: %q", max, got)
		}
	}
	if got := Fit(Parse("a **b**"), 100, Doc.Slack); got != "a *b*" {
		t.Errorf("what fits is changed: %q", got)
	}
}

func TestClip(t *testing.T) {
	for _, test := range []struct {
		in   string
		max  int
		want string
	}{{"héllo", 5, "héllo"}, {"héllo", 4, "hél…"}, {"a b", 3, "a b"}, {"a  bc", 4, "a…"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"日本語", 2, "日…"}} {
		if got := Clip(test.in, test.max); got != test.want {
			t.Errorf("Clip(%q, %d) = %q, want %q", test.in, test.max, got, test.want)
		}
	}
}

func TestLine(t *testing.T) {
	if got := Line(" a\r\nBcc: b\x00c\u2028d\te "); got != "a Bcc: b c d e" {
		t.Errorf("Line = %q", got)
	}
}

func TestSaysAndLinks(t *testing.T) {
	d := Parse("Your Run ([Run \\#1](https://a.test/1))\nis **complete**\\! [more](https://b.test) [Run \\#1](https://a.test/1)")
	for title, want := range map[string]bool{"Your run (Run #1) is complete": true, "complete!": true, "": true, "Another": false} {
		if got := d.Says(title); got != want {
			t.Errorf("Says(%q) = %v", title, got)
		}
	}
	if diff := cmp.Diff([]string{"https://a.test/1", "https://b.test", "https://a.test/1"}, d.Links()); diff != "" {
		t.Errorf("Links (-want +got):\n%s", diff)
	}
	if !Parse(" \n ").Empty() || Parse("x").Empty() {
		t.Error("Empty is wrong")
	}
}

// Text nested without end must neither take forever nor exhaust the stack.
func TestDeepNesting(t *testing.T) {
	for _, piece := range []string{"> ", "- ", "**a ", "[", "*", "![", "1. "} {
		md := patchbay.Markdown(strings.Repeat(piece, 5000) + "x")
		if got := Parse(md).Plain(); !strings.Contains(got, "x") {
			t.Errorf("5000 times %q lost the text", piece)
		}
	}
}

func BenchmarkSlack(b *testing.B) {
	for name, md := range map[string]patchbay.Markdown{
		"value":    `8 \(80\%\)`,
		"sentence": `Your Rainforest Run ([Run \#1\: nightly](https://rf.example/runs/1?a=1&b=2)) is complete!`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Slack(md)
			}
		})
	}
}
