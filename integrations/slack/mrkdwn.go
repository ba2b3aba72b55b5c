package slack

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/patchbay/patchbay/integration/markup"
)

// Messages arrive in Slack's mrkdwn: &, < and > are escaped, and what stands between < and > is a link, a mention, a channel
// or a date. https://docs.slack.dev/messaging/formatting-message-text
//
// Two texts are made of it. The plain one is what a person reads. The Markdown keeps links, bold, italics, code and quotes,
// and escapes what would become markup otherwise, and nothing else, so that it is good to read as it stands too.

// maxIncoming is how much of a text is read. Slack cuts messages at 40,000 characters.
const maxIncoming = 40_000

// token is a piece of a text.
type token struct {
	text string
	url  string // of a link; text may be its label or the address itself
	bare bool   // the link has no label
}

// plainText is what a person reads.
func plainText(s string) string {
	var b strings.Builder
	for _, t := range tokens(s) {
		switch {
		case t.url == "" || t.bare:
			b.WriteString(t.text)
		default:
			b.WriteString(t.text + " (" + t.url + ")")
		}
	}
	return strings.TrimSpace(b.String())
}

// markdown is the text in the small Markdown.
func markdown(s string) string {
	var b strings.Builder
	w := mdWriter{out: &b, start: true}
	parts := strings.Split(clean(s), "```")
	for i, part := range parts {
		switch {
		case i%2 == 0:
			w.text(part)
		case i < len(parts)-1:
			w.block(literal(part))
		default: // it was never closed
			w.text("```" + part)
		}
	}
	return strings.TrimSpace(b.String())
}

// clean makes valid text of a bounded length, without control characters but line ends and tabs.
func clean(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(markup.Clip(s, maxIncoming), "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, s)
}

var unescaper = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">")

// tokens splits a text at what stands between < and >.
func tokens(s string) []token {
	s = clean(s)
	var out []token
	for s != "" {
		open := strings.IndexByte(s, '<')
		end := -1
		if open >= 0 {
			end = strings.IndexByte(s[open:], '>')
		}
		if end < 0 {
			return append(out, token{text: unescaper.Replace(s)})
		}
		if open > 0 {
			out = append(out, token{text: unescaper.Replace(s[:open])})
		}
		out = append(out, special(s[open+1:open+end]))
		s = s[open+end+1:]
	}
	return out
}

// special reads what stands between < and >.
func special(inner string) token {
	body, label, _ := strings.Cut(inner, "|")
	label = markup.Line(unescaper.Replace(label))
	kind, rest := byte(0), body
	if body != "" {
		kind, rest = body[0], body[1:]
	}
	switch kind {
	case '@', '#':
		return token{text: string(kind) + or(strings.TrimPrefix(label, string(kind)), unescaper.Replace(rest))}
	case '!':
		return token{text: called(rest, label)}
	}
	if address, ok := markup.Address(unescaper.Replace(body)); ok {
		if label == "" || label == unescaper.Replace(body) || "mailto:"+label == address {
			return token{text: strings.TrimPrefix(address, "mailto:"), url: address, bare: true}
		}
		return token{text: label, url: address}
	}
	return token{text: or(label, unescaper.Replace(inner))}
}

// called is a call of a group, such as @here or a group of users, or a date with what to show for it.
func called(what, label string) string {
	name, _, _ := strings.Cut(what, "^")
	switch {
	case name == "date":
		return or(label, "a date")
	case label != "":
		return label
	case name == "subteam":
		_, id, _ := strings.Cut(what, "^")
		return "@" + id
	}
	return "@" + unescaper.Replace(name)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// literal is the text of code, in which nothing but the escapes and tokens means anything.
func literal(s string) string {
	var b strings.Builder
	for _, t := range tokens(s) {
		b.WriteString(t.text)
	}
	return b.String()
}

// mdWriter writes Markdown.
type mdWriter struct {
	out *strings.Builder
	// start says that nothing but marks of quotes stands in the line yet.
	start bool
}

// block writes a block of code, fenced with more backticks than are in it.
func (w *mdWriter) block(code string) {
	fence := "```"
	for strings.Contains(code, fence) {
		fence += "`"
	}
	w.out.WriteString("\n" + fence + "\n" + strings.Trim(code, "\n") + "\n" + fence + "\n")
	w.start = true
}

// text writes lines.
func (w *mdWriter) text(s string) {
	for i, line := range strings.Split(s, "\n") {
		if i > 0 {
			w.out.WriteByte('\n')
			w.start = true
		}
		if quoted, ok := strings.CutPrefix(line, "&gt;"); ok {
			w.out.WriteString("> ")
			line = strings.TrimLeft(quoted, " ")
		}
		w.inline(line)
	}
}

// inline writes a line: code first, because nothing in it means anything else.
func (w *mdWriter) inline(line string) {
	for {
		before, rest, found := strings.Cut(line, "`")
		code, after, closed := strings.Cut(rest, "`")
		if !found || !closed || strings.TrimSpace(code) == "" {
			w.styled(tokens(line))
			return
		}
		w.styled(tokens(before))
		w.out.WriteString("`" + strings.ReplaceAll(literal(code), "`", "'") + "`")
		w.start = false
		line = after
	}
}

// styled writes tokens, with bold and italics where both ends of them stand in the same piece of text.
func (w *mdWriter) styled(all []token) {
	for _, t := range all {
		switch {
		case t.bare && strings.HasPrefix(t.url, "mailto:"):
			w.plain(t.text)
		case t.bare:
			w.out.WriteString(quietURL(t.url))
			w.start = false
		case t.url != "":
			w.out.WriteByte('[')
			w.start = false
			w.plain(t.text)
			w.out.WriteString("](" + quietURL(t.url) + ")")
		default:
			w.emphasis(t.text)
		}
	}
}

// emphasis finds *bold* and _italic_ as Slack does: at the borders of words.
func (w *mdWriter) emphasis(s string) {
	for i := 0; i < len(s); i++ {
		if s[i] != '*' && s[i] != '_' || wordAt(before(s, i)) {
			continue
		}
		end := closing(s, i)
		if end < 0 {
			continue
		}
		mark := map[byte]string{'*': "**", '_': "_"}[s[i]]
		w.plain(s[:i])
		w.out.WriteString(mark)
		w.start = false
		w.plain(s[i+1 : end])
		w.out.WriteString(mark)
		s, i = s[end+1:], -1
	}
	w.plain(s)
}

// longestEmphasis bounds how far the end of an emphasis is looked for.
const longestEmphasis = 1000

// closing returns where the emphasis that opens at i closes, -1 when it does not.
func closing(s string, i int) int {
	s = s[:min(len(s), i+longestEmphasis)]
	next, _ := utf8.DecodeRuneInString(s[i+1:])
	if !wordAt(next) {
		return -1
	}
	for j := i + 2; j < len(s); j++ {
		after, _ := utf8.DecodeRuneInString(s[j+1:])
		if s[j] == s[i] && wordAt(before(s, j)) && !wordAt(after) && after != rune(s[i]) {
			return j
		}
	}
	return -1
}

func before(s string, i int) rune {
	r, _ := utf8.DecodeLastRuneInString(s[:i])
	return r
}

func wordAt(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }

// plain writes text, escaping what would be markup.
func (w *mdWriter) plain(s string) {
	for i := range len(s) {
		c := s[i]
		switch c {
		case '\\', '*', '`', '[', ']', '<':
			w.out.WriteByte('\\')
		case '_':
			next, _ := utf8.DecodeRuneInString(s[i+1:])
			if !wordAt(before(s, i)) || !wordAt(next) {
				w.out.WriteByte('\\')
			}
		case '&':
			if i+1 < len(s) && (s[i+1] == '#' || wordAt(rune(s[i+1]))) {
				w.out.WriteByte('\\')
			}
		case '>', '~', '#', '=':
			if w.start {
				w.out.WriteByte('\\')
			}
		}
		w.out.WriteByte(c)
		w.start = w.start && (c == ' ' || c == '>')
	}
}

// quietURL encodes what Markdown would read in an address. Address has left no quotes, brackets of tags or spaces.
func quietURL(u string) string {
	return strings.NewReplacer("*", "%2A", "_", "%5F", "(", "%28", ")", "%29", "[", "%5B", "]", "%5D", "~", "%7E").Replace(u)
}
