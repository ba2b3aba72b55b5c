package markup

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
	"golang.org/x/net/html"

	"github.com/patchbay/patchbay"
)

// hostile are texts that want to be markup somewhere. The lines for Jira also went through the converter of Jira Cloud
// (Atlassian publishes it) when its rules were written.
var hostile = []string{
	"", "plain", "<!channel> <!here> <@U012> <#C1|x> <!date^1^{date}|x> <!subteam^S1>", "<http://evil.test|Click>", "a|b>c", "&lt;b&gt; &amp;lt;",
	"[x](http://evil.test)", "![x](http://evil.test/a.png)", "<http://evil.test>", "[x]: http://evil.test\n[x]", "http://evil.test www.evil.test a@evil.test",
	"<script>alert(1)</script>", "<img src=x onerror=y>", "\"><svg/onload=1>", "<!-- c -->", "</p></blockquote>", "javascript:alert(1)",
	"[x|http://evil.test]", "[~admin]", "[~accountid:5]", "{code}x{code}", "{noformat}", "{quote}", "{color:red}x{color}", "{html}", "!http://evil.test/x.png!", "[^file]",
	"h1. x", "bq. x", "* x", "# x", "- x", "|| a || b ||", "| a |", "----", "--", "a -- b", "??x??", "_x_ *x* +x+ -x- ^x^ ~x~ {{x}} {*}x{*}", `\\server\share`, `a\`, `\[x|y]`, ":) :D (x) (/) ;-) (flagoff) (tm)",
	"mailto:a@b.test", "mAilto:", "xmailto:a@b", "file:///etc", "irc://x", "ABC-123", "&#91;x&#93;", "@user", "#123", "~~x~~", "a | b\n--- | ---\nc | d", ":--|:--",
	"# h\n===\n---\n+ x\n1. x\n2) x\n> q", "```\nx\n```", "    code", "\tcode", "x  \ny", "x\\\ny", "a\r\nb\rc\u2028d", "\x00\x01\x7f\x85", "\xff\xfe", "\u202e\u200b", "日本語 é", "*", "**", "`", "`a``b`", "\n\n\n", " lead", "trail ", "    deep", "a\n\n    b", "#@0", "&#x40;x",
}

// contexts are templates; each %s is where a value stands, escaped.
var contexts = []string{
	"%s", "**%s**", "*%s*", "**Result:** %s and _%s_", "[%s](https://ours.test/p)", "a[%s](https://ours.test/p)b", "- %s\n- b", "1. a\n2. %s\n   - %s", "> %s\n> b", "x **_%s_** y", "(%s)", "![%s](https://ours.test/p)",
}

// FuzzText: a value of an event, escaped as templates escape it, comes out as text in every language and everywhere.
func FuzzText(f *testing.F) {
	for i, s := range hostile {
		f.Add(s, i)
	}
	f.Fuzz(func(t *testing.T, value string, context int) {
		context = (context%len(contexts) + len(contexts)) % len(contexts)
		template := contexts[context]
		doc := Parse(patchbay.Markdown(strings.ReplaceAll(template, "%s", string(Escape(value)))))
		checkAll(t, doc)
		// Templates may also show a value as code, and then it is not escaped.
		if line := Line(value); line != "" {
			checkAll(t, Parse(patchbay.Markdown("a "+commonCode(line)+" b")))
		}
		if template == "%s" {
			want := strings.Join(strings.FieldsFunc(strings.Map(cleanRune, strings.ToValidUTF8(value, "\uFFFD")), unicode.IsSpace), "")
			for name, got := range map[string]string{"plain": doc.Plain(), "text": doc.Text(), "slack": unslack.Replace(doc.Slack())} {
				if got = strings.Join(strings.FieldsFunc(got, unicode.IsSpace), ""); got != want {
					t.Errorf("%s shows %q for %q", name, got, want)
				}
			}
		}
	})
}

func checkAll(t *testing.T, doc Doc) {
	checkSlack(t, doc)
	checkHTML(t, doc)
	checkCommon(t, doc)
	checkJira(t, doc)
	checkLinks(t, doc)
}

// seen returns what a reader sees, without white space and the zero width spaces that keep characters apart.
func seen(nodes []node) string { return squeeze(allText(nodes)) }

func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '\u200b' {
			return -1
		}
		return r
	}, s)
}

func allText(nodes []node) string {
	var b strings.Builder
	for _, n := range nodes {
		if n.kind != kindLink {
			b.WriteString(n.text)
		}
		b.WriteString(allText(n.children))
	}
	return b.String()
}

var unslack = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

var slackAngle = regexp.MustCompile(`<[^<>]*>`)

// checkSlack: every < begins one of our links, every > ends one or begins a quotation.
func checkSlack(t *testing.T, doc Doc) {
	out := doc.Slack()
	for _, link := range slackAngle.FindAllString(out, -1) {
		if link != "<https://ours.test/p>" && (!strings.HasPrefix(link, "<https://ours.test/p|") || strings.Count(link, "|") != 1) {
			t.Errorf("mrkdwn %q holds %q", out, link)
		}
	}
	rest := slackAngle.ReplaceAllString(out, "")
	rest = regexp.MustCompile(`(?m)^> ?`).ReplaceAllString(rest, "")
	if strings.ContainsAny(rest, "<>") {
		t.Errorf("mrkdwn %q holds a bare angle bracket", out)
	}
}

var htmlAllowed = map[string]bool{"p": true, "br": true, "strong": true, "em": true, "b": true, "i": true, "code": true, "pre": true, "ul": true, "ol": true, "li": true, "blockquote": true, "a": true}

// checkHTML: a browser sees only our elements, with only our attributes, and the text as it is.
func checkHTML(t *testing.T, doc Doc) {
	for _, out := range []string{doc.HTML(), doc.BasicHTML()} {
		var shown strings.Builder
		z := html.NewTokenizer(strings.NewReader(out))
		for {
			kind := z.Next()
			if kind == html.ErrorToken {
				break
			}
			token := z.Token()
			switch kind {
			case html.TextToken:
				shown.WriteString(token.Data)
			case html.StartTagToken, html.EndTagToken:
				if !htmlAllowed[token.Data] {
					t.Errorf("HTML %q holds %s", out, token)
				}
				for _, a := range token.Attr {
					ours := a.Key == "href" && a.Val == "https://ours.test/p" || a.Key == "rel" || a.Key == "start"
					if !ours {
						t.Errorf("HTML %q holds the attribute %v", out, a)
					}
				}
			default:
				t.Errorf("HTML %q holds %s", out, token)
			}
		}
		if got, want := squeeze(shown.String()), seen(doc.blocks); got != want {
			t.Errorf("HTML %q shows %q, want %q", out, got, want)
		}
	}
}

var github = goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.TaskList))

func holds(nodes []node, k kind) bool {
	for _, n := range nodes {
		if n.kind == k || holds(n.children, k) {
			return true
		}
	}
	return false
}

// checkCommon: GitHub's Markdown, HTML included, finds only what the text has.
func checkCommon(t *testing.T, doc Doc) {
	out := doc.CommonMark()
	source := []byte(out)
	var shown strings.Builder
	_ = ast.Walk(github.Parser().Parse(text.NewReader(source)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Document, *ast.Paragraph, *ast.TextBlock, *ast.Emphasis:
		case *ast.CodeSpan:
			if !holds(doc.blocks, kindCode) {
				t.Errorf("Markdown %q holds code", out)
			}
			for c := n.FirstChild(); c != nil; c = c.NextSibling() {
				shown.Write(c.(*ast.Text).Segment.Value(source))
			}
			return ast.WalkSkipChildren, nil
		case *ast.Text:
			shown.WriteString(unescape(string(n.Segment.Value(source))))
		case *ast.List, *ast.ListItem:
			if !holds(doc.blocks, kindList) {
				t.Errorf("Markdown %q holds a list", out)
			}
		case *ast.Blockquote:
			if !holds(doc.blocks, kindQuote) {
				t.Errorf("Markdown %q holds a quotation", out)
			}
		case *ast.Link:
			if string(n.Destination) != "https://ours.test/p" {
				t.Errorf("Markdown %q links to %q", out, n.Destination)
			}
		default:
			t.Errorf("Markdown %q holds %s", out, n.Kind())
		}
		return ast.WalkContinue, nil
	})
	got, want := squeeze(shown.String()), seen(doc.blocks)
	// Stars that no longer open or close anything stay to be seen; nothing else may differ.
	if got != want && strings.ReplaceAll(got, "*", "") != strings.ReplaceAll(want, "*", "") {
		t.Errorf("Markdown %q shows %q, want %q", out, got, want)
	}
	if m := regexp.MustCompile(`(^|[^\pL\pN\\_])@[\pL\pN_]`).FindString(out); !holds(doc.blocks, kindCode) && m != "" && !strings.Contains(out, "@"+zeroWidth) {
		t.Errorf("Markdown %q mentions %q", out, m)
	}
}

var (
	jiraOurs  = regexp.MustCompile(`\[(?:([^\[\]|\n]*)\|)?https://ours\.test/p\]`)
	jiraQuote = regexp.MustCompile(`(?m)^\{quote\}$`)
	jiraLive  = []*regexp.Regexp{
		regexp.MustCompile(`(^|[^\\])[\[\]|^~]`),                    // links, tables, super- and subscript
		regexp.MustCompile(`(^|[^\\{])\{[^{*_]|(^|[^\\}*_])\}[^}]`), // macros
		regexp.MustCompile(`(^|[^\\])![^ \n]`),                      // images
		regexp.MustCompile(`(?m)^ *(h[1-6]\.|bq\.|-|\|)`),           // headings, quotations, lists, tables
		regexp.MustCompile(`(?i)(https?|ftps?|irc|file)://`),        // addresses
		regexp.MustCompile(`(?i)mailto:[^ \n]`),
		regexp.MustCompile(`\\\\`),                // a forced line break
		regexp.MustCompile(`(^|[^\\])\?\?`),       // citations
		regexp.MustCompile(`[:;](\)|\()|:[DPp]`),  // pictures
		regexp.MustCompile(`&(#[0-9]+|[a-z]+);`),  // references
		regexp.MustCompile(`(^|[^-])--+([^-]|$)`), // dashes and rules
	}
)

// checkJira: apart from our own links and quotations nothing that Jira knows is left without its escape.
func checkJira(t *testing.T, doc Doc) {
	out := doc.JiraWiki()
	rest := jiraQuote.ReplaceAllString(jiraOurs.ReplaceAllString(out, "$1"), "")
	for _, live := range jiraLive {
		if m := live.FindString(rest); m != "" {
			t.Errorf("wiki markup %q holds %q", out, m)
		}
	}
}

// checkLinks: there are as many links as the template has.
func checkLinks(t *testing.T, doc Doc) {
	var walk func(nodes []node)
	walk = func(nodes []node) {
		for _, n := range nodes {
			if n.kind == kindLink && n.text != "https://ours.test/p" {
				t.Errorf("a link to %q", n.text)
			}
			walk(n.children)
		}
	}
	walk(doc.blocks)
}

var slackLinkStart = regexp.MustCompile(`(?i)^<(https?://|mailto:)`)

// FuzzMarkdown: whatever a template makes, nothing panics, HTML and mrkdwn are sound, and limits hold.
func FuzzMarkdown(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, 10)
	}
	for _, s := range contexts {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, md string, max int) {
		for _, doc := range []Doc{Parse(patchbay.Markdown(md)), Inline(patchbay.Markdown(md))} {
			for _, link := range slackAngle.FindAllString(doc.Slack(), -1) {
				if !slackLinkStart.MatchString(link) {
					t.Errorf("mrkdwn %q holds %q", doc.Slack(), link)
				}
			}
			checkElements(t, doc.HTML())
			doc.CommonMark()
			doc.Text()
			for _, render := range []func(Doc) string{Doc.Slack, Doc.HTML, Doc.BasicHTML, Doc.JiraWiki, Doc.Plain} {
				max := max % 200
				if n := utf8.RuneCountInString(Fit(doc, max, render)); n > max && n > 0 {
					t.Errorf("Fit(%d) has %d characters", max, n)
				}
			}
		}
		// What the short way reads, the long way reads as well.
		if s, ok := simple(md); ok && s != "" && utf8.ValidString(md) {
			if diff := cmp.Diff(parseAll(md, false), parse(md, false), cmp.AllowUnexported(node{})); diff != "" {
				t.Errorf("the parser reads %q differently: %s", md, diff)
			}
		}
	})
}

func checkElements(t *testing.T, out string) {
	z := html.NewTokenizer(strings.NewReader(out))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		token := z.Token()
		if kind != html.TextToken && !htmlAllowed[token.Data] {
			t.Errorf("HTML %q holds %s", out, token)
		}
	}
}

// FuzzAddress: an accepted address holds nothing that ends it in any target.
func FuzzAddress(f *testing.F) {
	for _, s := range hostile {
		f.Add("https://x.test/" + s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := Address(s)
		if ok && strings.ContainsAny(got, " <>|\"\\`{}^\n\r\t") {
			t.Errorf("Address(%q) = %q", s, got)
		}
		if again, ok2 := Address(got); ok && (!ok2 || again != got) {
			t.Errorf("Address(Address(%q)) = %q, %v", s, again, ok2)
		}
	})
}
