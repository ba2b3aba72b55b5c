package reference

import (
	"html"
	"html/template"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/patchbay/patchbay/integration/markup"
)

// The limits of drawing: how deep styles stand in each other, and how far away the end of one is looked for.
const (
	styleDepth = 6
	styleReach = 1000
)

// slackEntities are the three characters that Slack has escaped (https://docs.slack.dev/messaging/formatting-message-text).
var slackEntities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

func unescape(s string) string { return slackEntities.Replace(s) }

// webAddress returns an address that a page may link to, or "".
func webAddress(s string) string {
	if a, ok := markup.Address(unescape(s)); ok {
		return a
	}
	return ""
}

// drawMrkdwn draws Slack's markup as HTML: *bold*, _italic_, ~struck~, `code`, <address|text>, quotes and blocks of code.
// Every character of the text is escaped.
func drawMrkdwn(s string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(s, "```") {
		if i%2 == 1 {
			b.WriteString("<pre>" + escape(unescape(strings.Trim(part, "\n"))) + "</pre>")
			continue
		}
		if i > 0 {
			part = strings.TrimPrefix(part, "\n")
		}
		drawLines(&b, part)
	}
	return template.HTML(b.String())
}

// drawLines draws text without blocks of code.
func drawLines(b *strings.Builder, s string) {
	quoting, first := false, true
	for line := range strings.SplitSeq(s, "\n") {
		quote, quoted := cutQuote(line)
		switch {
		case quoted && !quoting:
			b.WriteString("<blockquote>")
		case !quoted && quoting:
			b.WriteString("</blockquote>")
		case !first:
			b.WriteString("<br>")
		}
		quoting, first = quoted, false
		if quoted {
			line = quote
		}
		drawInline(b, line, 0)
	}
	if quoting {
		b.WriteString("</blockquote>")
	}
}

// cutQuote takes away what makes a line a quote. Slack takes the character and its escaped form for the same.
func cutQuote(line string) (rest string, ok bool) {
	for _, mark := range []string{"&gt;", ">"} {
		if rest, ok = strings.CutPrefix(line, mark); ok {
			return strings.TrimPrefix(rest, " "), true
		}
	}
	return line, false
}

var styles = map[byte]string{'*': "strong", '_': "em", '~': "s"}

// drawInline draws one line.
func drawInline(b *strings.Builder, s string, depth int) {
	plain := 0
	flush := func(to int) { b.WriteString(escape(unescape(s[plain:to]))) }
	for i := 0; i < len(s); {
		var drawn string
		var end int
		switch c := s[i]; {
		case c == '`':
			drawn, end = inlineCode(s, i)
		case c == '<':
			drawn, end = inlineLink(s, i)
		case styles[c] != "" && depth < styleDepth:
			drawn, end = inlineStyle(s, i, depth)
		}
		if end == 0 {
			i++
			continue
		}
		flush(i)
		b.WriteString(drawn)
		i, plain = end, end
	}
	flush(len(s))
}

// inlineCode draws `code` that begins at i, and returns where it ends; 0 when it is none.
func inlineCode(s string, i int) (string, int) {
	n := strings.IndexByte(within(s[i+1:]), '`')
	if n <= 0 {
		return "", 0
	}
	return "<code>" + escape(unescape(s[i+1:i+1+n])) + "</code>", i + n + 2
}

// inlineLink draws <address|text>. What is no web address, such as a mention, stays text.
func inlineLink(s string, i int) (string, int) {
	n := strings.IndexByte(within(s[i:]), '>')
	if n < 0 {
		return "", 0
	}
	to, text, named := strings.Cut(s[i+1:i+n], "|")
	address := webAddress(to)
	if address == "" {
		return "", 0
	}
	if !named {
		text = to
	}
	return `<a href="` + escape(address) + `" rel="noreferrer">` + escape(unescape(text)) + "</a>", i + n + 1
}

// inlineStyle draws *text* between characters that are no letters.
func inlineStyle(s string, i, depth int) (string, int) {
	mark := s[i]
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	after, _ := utf8.DecodeRuneInString(s[i+1:])
	if i > 0 && wordy(before) || i+1 >= len(s) || unicode.IsSpace(after) {
		return "", 0
	}
	reach := within(s[i+1:])
	for at := 1; at < len(reach); at++ {
		if reach[at] != mark {
			continue
		}
		last, _ := utf8.DecodeLastRuneInString(reach[:at])
		next, size := utf8.DecodeRuneInString(reach[at+1:])
		if unicode.IsSpace(last) || size > 0 && wordy(next) {
			continue
		}
		var b strings.Builder
		drawInline(&b, reach[:at], depth+1)
		return "<" + styles[mark] + ">" + b.String() + "</" + styles[mark] + ">", i + at + 2
	}
	return "", 0
}

// within is as much of a text as is looked at for the end of something.
func within(s string) string { return s[:min(len(s), styleReach)] }

func wordy(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

func escape(s string) string { return html.EscapeString(strings.ToValidUTF8(s, "\uFFFD")) }
