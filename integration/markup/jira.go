package markup

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// JiraWiki renders Jira's wiki markup. Two programs read it: the wiki renderer of Server and Data Center, and Cloud's
// converter, which reads what stands between *stars* or _underscores_ twice and so undoes escapes in there. Hence:
// a character that could mean something is escaped with a backslash where both take one, or separated from its
// neighbour by a zero width space; only text without such characters is made bold or italic; and brackets and pipes
// in the text of a link, which Cloud does not take even escaped, are replaced by what looks much the same.
func (d Doc) JiraWiki() string {
	w := jiraWriter{indent: true}
	w.blocks(d.blocks, "")
	return w.b.String()
}

type jiraWriter struct {
	b       strings.Builder
	last    rune // what was written last; 0 at the start of a line
	inQuote bool
	indent  bool // nothing has been written on the line
}

func (w *jiraWriter) raw(s string) {
	if s == "" {
		return
	}
	w.b.WriteString(s)
	w.last, _ = utf8.DecodeLastRuneInString(s)
	w.indent = false
}

func (w *jiraWriter) newline(s string) {
	w.b.WriteString(s)
	w.last, w.indent = 0, true
}

// blocks writes a run of blocks. In an item, marker is the run of list markers of its depth.
func (w *jiraWriter) blocks(nodes []node, marker string) {
	for i := range nodes {
		n := &nodes[i]
		if i > 0 {
			if marker == "" {
				w.newline("\n\n")
			} else {
				w.newline("\n")
			}
		}
		switch n.kind {
		case kindParagraph:
			w.inlines(n.children)
		case kindCodeBlock:
			w.raw("{noformat}\n" + jiraVerbatim(n.text) + "\n{noformat}")
		case kindQuote:
			w.quote(n, marker)
		case kindList:
			w.list(n, marker)
		}
	}
}

// quote writes a quotation. They do not nest, and do not stand in lists.
func (w *jiraWriter) quote(n *node, marker string) {
	if w.inQuote || marker != "" {
		w.blocks(n.children, marker)
		return
	}
	w.inQuote = true
	w.raw("{quote}")
	w.newline("\n")
	w.blocks(n.children, "")
	w.newline("\n")
	w.raw("{quote}")
	w.inQuote = false
}

func (w *jiraWriter) list(n *node, marker string) {
	if n.ordered {
		marker += "#"
	} else {
		marker += "*"
	}
	for i := range n.children {
		if i > 0 {
			w.newline("\n")
		}
		content := n.children[i].children
		if len(content) > 0 && content[0].kind != kindList { // else the inner list begins the line
			w.b.WriteString(marker + " ")
			w.last, w.indent = 0, true
		}
		w.blocks(content, marker)
	}
}

func (w *jiraWriter) inlines(nodes []node) {
	for i := range nodes {
		switch n := &nodes[i]; n.kind {
		case kindText:
			w.text(n.text, i == len(nodes)-1 || nodes[i+1].kind == kindBreak)
		case kindBreak:
			w.newline("\n")
		case kindCode:
			w.styled("{{", "}}", n.text, nodes[i+1:])
		case kindStrong, kindEm:
			w.emphasis(n, nodes[i+1:])
		case kindLink:
			w.link(n)
		}
	}
}

// emphasis writes bold or italic text when nothing in it needs escaping, else the text alone.
func (w *jiraWriter) emphasis(n *node, rest []node) {
	delimiter, inner := "*", n.children
	if n.kind == kindEm {
		delimiter = "_"
	}
	opening, closing := delimiter, delimiter
	if len(inner) == 1 && inner[0].kind != n.kind && (inner[0].kind == kindStrong || inner[0].kind == kindEm) {
		opening, closing = "_*", "*_"
		inner = inner[0].children
	}
	if len(inner) == 1 && inner[0].kind == kindText {
		w.styled(opening, closing, inner[0].text, rest)
		return
	}
	w.inlines(n.children)
}

// styled writes text between delimiters if it is harmless and the delimiters are recognised there, which takes that
// no letter or digit touches them from outside.
func (w *jiraWriter) styled(opening, closing, text string, rest []node) {
	next := firstOf(rest)
	if strings.TrimSpace(text) != text || text == "" || !jiraHarmless(text) || jiraJoins(w.last) || jiraJoins(next) {
		w.text(text, next == 0)
		return
	}
	w.raw(opening + text + closing)
}

// jiraJoins reports whether r next to a delimiter makes it a character of a word; Cloud says so of all of Unicode.
func jiraJoins(r rune) bool {
	return isWord(r) || r >= utf8.RuneSelf || r == '\\' || r == '{' || r == '}'
}

// firstOf returns the first character that nodes show, or 0 if the line ends first.
func firstOf(nodes []node) rune {
	if len(nodes) == 0 || nodes[0].kind == kindBreak {
		return 0
	}
	r, _ := utf8.DecodeRuneInString(plain(nodes[:1]))
	return r
}

// jiraHarmless reports whether text means nothing but itself, whatever stands around it and however often it is read.
func jiraHarmless(text string) bool {
	if strings.ContainsAny(text, "!?") { // they count only in pairs, and the other one may be elsewhere on the line
		return false
	}
	w := jiraWriter{indent: true}
	w.text(text, true)
	return w.b.String() == text
}

// link writes [text|address]. Address leaves no pipe or closing bracket in the address.
func (w *jiraWriter) link(n *node) {
	if strings.ContainsAny(n.text, "[]") { // an IPv6 host, which cannot be written
		w.text(plain(n.children), false)
		w.text(" ("+n.text+")", false)
		return
	}
	text, address := plain(n.children), n.text
	if strings.HasPrefix(address, "http") {
		address = percentAlso(address, "@")
	}
	address = percentAlso(address, "^!~{}")
	if text == n.text {
		w.raw("[" + address + "]")
		return
	}
	text = jiraLinkText.Replace(text)
	if bangs := strings.Count(text, "!"); bangs > 1 && bangs%2 == 1 { // Jira would look for an image that holds the pipe
		last := strings.LastIndexByte(text, '!')
		text = text[:last] + "！" + text[last+1:]
	}
	w.raw("[")
	w.last, w.indent = 0, true // Cloud reads the text of a link as a line of its own
	w.text(text, false)
	w.raw("|" + address + "]")
}

// jiraLinkText replaces what may not stand in the text of a link.
var jiraLinkText = strings.NewReplacer("[", "(", "]", ")", "|", "¦", "{", "(", "}", ")", `\`, "/")

// jiraVerbatim keeps a code block from ending early.
func jiraVerbatim(text string) string { return strings.ReplaceAll(text, "{", "{"+zeroWidth) }

// text writes text of one line. ends says that the line ends after it.
func (w *jiraWriter) text(s string, ends bool) {
	if w.indent {
		s = strings.TrimLeft(s, " ")
		if jiraHeads(s) {
			w.raw(zeroWidth)
		}
	}
	for i, r := range s {
		rest := s[i+utf8.RuneLen(r):]
		next, _ := utf8.DecodeRuneInString(rest)
		switch {
		case rest == "" && ends:
			next = 0
		case rest == "":
			next = unknown
		}
		switch w.escape(s[:i], r, next, rest) {
		case asItIs:
			w.raw(string(r))
		case backslashed:
			w.raw(`\` + string(r))
		case separated:
			w.raw(string(r) + zeroWidth)
		case preceded:
			w.raw(zeroWidth + string(r))
		}
	}
}

// unknown stands for a character of which only the node behind the text knows.
const unknown = utf8.MaxRune

// jiraHeads reports whether a line that begins so would be a heading or a quotation.
func jiraHeads(s string) bool {
	return strings.HasPrefix(s, "bq.") || len(s) > 2 && s[0] == 'h' && s[1] >= '1' && s[1] <= '6' && s[2] == '.'
}

// treatment is what a character of text needs.
type treatment uint8

const (
	asItIs treatment = iota
	backslashed
	separated // from what follows, by a zero width space
	preceded  // by a zero width space
)

// jiraEscapable are the characters before which Jira takes a backslash away; before others, and before a second
// backslash, it stays. So a backslash of text must not come to stand before one of them.
const jiraEscapable = `-#*_+?^~|%{}[]()!@\`

// escape decides about the character r of a text: before is what the text has before it, next and rest are what
// follows.
func (w *jiraWriter) escape(before string, r, next rune, rest string) treatment {
	switch r {
	case '[', ']', '{', '}', '|', '^', '~', '*':
		return backslashed
	case '\\':
		return when(next == 0 || next == unknown || strings.ContainsRune(jiraEscapable, next), separated)
	case '_':
		return when(!isWord(w.last) || !isWord(next), backslashed)
	case '+', '-':
		within := isWord(w.last) && isWord(next) && !(r == '-' && issueKey(before, next))
		apart := w.last == ' ' && next == ' ' && strings.TrimSpace(before) != ""
		return when(!within && !apart, backslashed)
	case '?':
		return when(w.last == '?' || next == '?' || next == unknown, backslashed)
	case '!':
		return when(next != 0 && next != ' ', backslashed)
	case '#':
		return when(w.indent, backslashed)
	case '(':
		return when(strings.ContainsRune(":;-", w.last) || emoticon(rest), backslashed)
	case ')':
		return when(strings.ContainsRune(":;-", w.last), backslashed)
	case ':':
		if linksAfter(before, rest) {
			return preceded
		}
		return when(strings.ContainsRune("DPp", next), separated)
	case '&':
		return when(reference("&"+rest) > 0, separated)
	}
	return asItIs
}

func when(condition bool, t treatment) treatment {
	if condition {
		return t
	}
	return asItIs
}

// issueKey reports whether a hyphen before next may belong to an issue's key, which Jira links: ABC-123.
func issueKey(before string, next rune) bool {
	if !unicode.IsDigit(next) {
		return false
	}
	start := strings.LastIndexFunc(before, func(r rune) bool { return !isWord(r) && r != '_' })
	return strings.ContainsFunc(before[start+1:], unicode.IsLetter)
}

// emoticon reports whether Jira makes a picture or a sign of an opening parenthesis and what follows: (x), (on), (tm).
func emoticon(rest string) bool {
	name, _, closed := strings.Cut(rest[:min(len(rest), len("flagoff)"))], ")")
	if !closed {
		return false
	}
	switch strings.ToLower(name) {
	case "y", "n", "i", "/", "x", "!", "+", "-", "?", "on", "off", "*", "*r", "*g", "*b", "*y", "flag", "flagoff", "c", "r", "tm":
		return true
	}
	return false
}

// linksAfter reports whether a colon between before and rest would make a link.
func linksAfter(before, rest string) bool {
	if strings.HasPrefix(rest, "//") {
		return true
	}
	word := before[strings.LastIndexFunc(before, func(r rune) bool { return !isWord(r) })+1:]
	if strings.HasSuffix(strings.ToLower(word), "mailto") { // Cloud finds it within words, and drops it before a link's text
		return true
	}
	if strings.HasPrefix(rest, " ") {
		return false
	}
	if rest != "" { // else a title such as "File:" could not be bold
		word = strings.ToLower(word)
	}
	switch word {
	case "file", "skype", "callto", "facetime", "tel", "sip", "sips", "news", "xmpp", "notes", "javascript", "data":
		return true
	}
	return false
}
