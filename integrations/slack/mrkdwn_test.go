package slack

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/markup"
)

// The forms of https://docs.slack.dev/messaging/formatting-message-text.
func TestText(t *testing.T) {
	for _, test := range []struct{ in, plain, md string }{
		{"Fixed the login", "Fixed the login", "Fixed the login"},
		{"a &lt;b&gt; &amp; c &amp;lt;", "a <b> & c &lt;", `a \<b> & c \&lt;`},
		{"hi <@U123|ann> and <@U456>", "hi @ann and @U456", "hi @ann and @U456"},
		{"in <#C1|general>, <#C2>, <#C3|>", "in #general, #C2, #C3", "in #general, #C2, #C3"},
		{"<!here> <!channel|@channel> <!subteam^S1|@qa> <!subteam^S2>", "@here @channel @qa @S2", "@here @channel @qa @S2"},
		{"<!date^1392734382^{date}|18 Feb 2014>", "18 Feb 2014", "18 Feb 2014"},
		{"see <https://x.test/a?b=1&amp;c=2|the *page*>", "see the *page* (https://x.test/a?b=1&c=2)", `see [the \*page\*](https://x.test/a?b=1&c=2)`},
		{"<https://x.test/_a_>", "https://x.test/_a_", "https://x.test/%5Fa%5F"},
		{"<mailto:a@x.test|a@x.test>", "a@x.test", "a@x.test"},
		{"<javascript:alert(1)|click>", "click", "click"},
		{"<javascript:alert(1)>", "javascript:alert(1)", "javascript:alert(1)"},
		{"*bold* and _it_, snake_case_name 2*3*4 * a *", "*bold* and _it_, snake_case_name 2*3*4 * a *", `**bold** and _it_, snake_case_name 2\*3\*4 \* a \*`},
		{"run `a * &lt;b&gt;` now", "run `a * <b>` now", "run `a * <b>` now"},
		{"```\nx := 1 &amp; 2\n```", "```\nx := 1 & 2\n```", "```\nx := 1 & 2\n```"},
		{"open ``` only", "open ``` only", "open \\`\\`\\` only"},
		{"&gt; quoted\nnot", "> quoted\nnot", "> quoted\nnot"},
		{"[x](https://evil.test) ![i](https://evil.test) # no", "[x](https://evil.test) ![i](https://evil.test) # no", `\[x\](https://evil.test) !\[i\](https://evil.test) # no`},
		{"a < b", "a < b", `a \< b`},
		{"\x00a\r\nb\x1b", "a\nb", "a\nb"},
		{"", "", ""},
	} {
		if got := plainText(test.in); got != test.plain {
			t.Errorf("plainText(%q) = %q, want %q", test.in, got, test.plain)
		}
		if got := markdown(test.in); got != test.md {
			t.Errorf("markdown(%q) = %q, want %q", test.in, got, test.md)
		}
	}
}

// However a text is made, reading it takes a time in proportion to its length.
func TestLongTexts(t *testing.T) {
	for _, piece := range []string{"#", "*", "*a ", "_a ", "`", "```", "`a", "<", "<a>", "<@", "&gt;", "&gt;\n", "~", "a\n", "<https://x.test|a>", "\x00"} {
		began := time.Now()
		long := strings.Repeat(piece, 100_000/len(piece))
		if got := markdown(long); len(got) > 12*maxIncoming {
			t.Errorf("%q becomes %d bytes", piece, len(got))
		}
		plainText(long)
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%q takes %v", piece, took)
		}
	}
}

// FuzzText: whatever somebody writes, the Markdown links only to where a link of Slack's leads, and it says what was written.
func FuzzText(f *testing.F) {
	for _, s := range []string{
		"hi <@U1|a> <https://x.test|b> *c* _d_ `e` ```f``` &gt; g", "[x](https://evil.test)", "<https://x.test|](https://evil.test)>",
		"<https://a.test/)[x](https://evil.test>", "![x](<https://evil.test>)", "\\[x](https://evil.test)", "*a\n*b* _c", "`[x](https://evil.test)",
		"```\n```[x](https://evil.test)```", "&lt;https://evil.test&gt;", "[x]: https://evil.test\n[x]", "*[x*](https://evil.test)", "~~~\n<@U1>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		allowed := map[string]bool{}
		for _, tok := range tokens(s) {
			if tok.url != "" {
				allowed[quietURL(tok.url)] = true
			}
		}
		md := markdown(s)
		for _, to := range markup.Parse(patchbay.Markdown(md)).Links() {
			if !allowed[to] {
				t.Errorf("%q becomes %q, which links to %q", s, md, to)
			}
		}
		if said := markup.Parse(patchbay.Markdown(md)).Plain(); !strings.Contains(s, "<") && letters(said) != letters(plainText(s)) {
			t.Errorf("%q becomes %q, which says %q", s, md, said)
		}
	})
}

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return r
		}
		return -1
	}, s)
}
