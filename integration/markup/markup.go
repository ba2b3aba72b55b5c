// Package markup turns the small Markdown of neutral messages into the markup of partners. It is the one place that
// does so: templates escape what they take from an event, this package reads the result with a CommonMark parser and
// writes it anew, character by character, under the rules of the target. So text of an event stays text everywhere:
// it never becomes a link, a mention, an element or a macro.
//
// A bare address in text (https://example.com) is written as it stands where the target's language leaves it alone;
// a client that makes such addresses clickable by itself shows where they lead.
package markup

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
)

// Doc is a text that has been read. The zero Doc is empty. Its methods may be called at the same time.
type Doc struct{ blocks []node }

// Parse reads Markdown: paragraphs, line breaks, emphasis, strong, code, links, lists, block quotes and fenced code
// blocks. Everything else (HTML, headings, tables, indented code) is text. A line that ends is a line break, an image
// is a link to it, and a link that leads elsewhere than to http, https or mailto is its text alone.
func Parse(md patchbay.Markdown) Doc { return Doc{parse(string(md), false)} }

// Inline reads Markdown without blocks, as the values of fields are: what looks like a list, a quote or a code block
// is text. Paragraphs become lines.
func Inline(md patchbay.Markdown) Doc { return Doc{parse(string(md), true)} }

// Empty reports whether nothing would be seen.
func (d Doc) Empty() bool { return strings.TrimSpace(d.Plain()) == "" }

// Links returns the addresses that it links to, in order.
func (d Doc) Links() []string { return links(d.blocks, nil) }

func links(nodes []node, out []string) []string {
	for i := range nodes {
		if nodes[i].kind == kindLink {
			out = append(out, nodes[i].text)
		}
		out = links(nodes[i].children, out)
	}
	return out
}

// Says reports whether the text says a title already, so that it need not stand above it as well. Case, white space
// and the punctuation that ends the title do not count.
func (d Doc) Says(title string) bool {
	title = strings.TrimRight(strings.ToLower(Line(title)), ".!?:…")
	return strings.Contains(strings.ToLower(Line(d.Plain())), title)
}

// Limit keeps the first max characters of what is seen (not of markup) and puts "…" where it cut. Markup stays whole.
func (d Doc) Limit(max int) Doc {
	if max < 1 {
		return Doc{}
	}
	c := cutter{left: max}
	if c.fits(d.blocks) {
		return d
	}
	return Doc{c.cut(d.blocks)}
}

// Fit renders a text in at most max characters, markup included: as it is when it fits, else with as much of it as
// fits and "…". Pass a method of Doc, such as Doc.Slack.
func Fit(d Doc, max int, render func(Doc) string) string {
	d = d.Limit(max) // what is seen never takes less room than its characters
	out := render(d)
	if utf8.RuneCountInString(out) <= max {
		return out
	}
	best, low, high := "", 0, max
	for low < high {
		middle := (low + high + 1) / 2
		if s := render(d.Limit(middle)); utf8.RuneCountInString(s) <= max {
			best, low = s, middle
		} else {
			high = middle - 1
		}
	}
	return best
}

// Slack renders Markdown as Slack's mrkdwn. See Doc.Slack.
func Slack(md patchbay.Markdown) string { return Parse(md).Slack() }

// HTML renders Markdown as HTML. See Doc.HTML.
func HTML(md patchbay.Markdown) string { return Parse(md).HTML() }

// Text renders Markdown as plain text, with the addresses of links. See Doc.Text.
func Text(md patchbay.Markdown) string { return Parse(md).Text() }

// Plain renders Markdown as plain text without the addresses of links. See Doc.Plain.
func Plain(md patchbay.Markdown) string { return Parse(md).Plain() }

// JiraWiki renders Markdown as Jira's wiki markup. See Doc.JiraWiki.
func JiraWiki(md patchbay.Markdown) string { return Parse(md).JiraWiki() }

// CommonMark renders Markdown as Markdown for partners that take it. See Doc.CommonMark.
func CommonMark(md patchbay.Markdown) string { return Parse(md).CommonMark() }

// Escape returns plain text as Markdown that means exactly it. Templates escape values of an event in the same way:
// a backslash before every ASCII punctuation.
func Escape(text string) patchbay.Markdown {
	var b strings.Builder
	b.Grow(len(text) + len(text)/8)
	for i := range len(text) {
		if isPunct(text[i]) {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
	return patchbay.Markdown(b.String())
}

// Link returns a link as Markdown, or the text alone when the address is none that may be linked to. Both are plain.
func Link(text, address string) patchbay.Markdown {
	text = strings.Join(strings.Fields(text), " ")
	address, ok := Address(address)
	switch {
	case !ok:
		return Escape(text)
	case text == "":
		text = address
	}
	return "[" + Escape(text) + "](<" + Escape(address) + ">)"
}

// Address checks an address that is to be linked to: http, https or mailto, and whole. It returns it with everything
// percent-encoded that a target's markup could trip over (quotes, angle and curly brackets, pipes, backslashes,
// spaces), so what comes back can stand in every target as it is, except for "&" in HTML and Slack.
func Address(s string) (string, bool) {
	s = strings.TrimSpace(s)
	u, err := url.Parse(s)
	if err != nil || !utf8.ValidString(s) {
		return "", false
	}
	switch strings.ToLower(u.Scheme) {
	case "http", "https":
		if u.Hostname() == "" || strings.ContainsFunc(u.Host, notOfHost) {
			return "", false
		}
	case "mailto":
		if u.Opaque == "" {
			return "", false
		}
	default:
		return "", false
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r < utf8.RuneSelf && (isAlnum(byte(r)) || strings.ContainsRune("-._~:/?#[]@!$&'()*+,;=%", r)),
			r >= utf8.RuneSelf && unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			percent(&b, s[i:i+utf8.RuneLen(r)])
		}
	}
	return b.String(), true
}

// notOfHost finds what is in no host name: Go's parser lets quotes and angle brackets through.
func notOfHost(r rune) bool {
	return !isWord(r) && !unicode.IsMark(r) && !strings.ContainsRune("-._:[]", r)
}

func percent(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		b.WriteByte('%')
		b.WriteByte(hex[s[i]>>4])
		b.WriteByte(hex[s[i]&15])
	}
}

// percentAlso encodes further characters of an address that Address has let through.
func percentAlso(address, chars string) string {
	if !strings.ContainsAny(address, chars) {
		return address
	}
	var b strings.Builder
	for i := range len(address) {
		if strings.IndexByte(chars, address[i]) >= 0 {
			percent(&b, address[i:i+1])
		} else {
			b.WriteByte(address[i])
		}
	}
	return b.String()
}

// Clip shortens plain text to at most max characters, the last of which is then "…".
func Clip(s string, max int) string {
	if len(s) <= max || utf8.RuneCountInString(s) <= max {
		return s
	}
	if max < 1 {
		return ""
	}
	seen := 0
	for i := range s {
		if seen++; seen == max {
			return strings.TrimRightFunc(s[:i], unicode.IsSpace) + "…"
		}
	}
	return s
}

// Line makes one line of plain text: every run of white space and control characters becomes one space.
func Line(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "\uFFFD"), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}

func isPunct(c byte) bool {
	return c >= '!' && c <= '/' || c >= ':' && c <= '@' || c >= '[' && c <= '`' || c >= '{' && c <= '~'
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// isWord reports whether r is a letter or digit of any script; 0 stands for "no character" and is none.
func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
