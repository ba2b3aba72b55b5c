package markup

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// lines renders into languages whose blocks are lines with something before them: mrkdwn, plain text, Markdown.
type lines struct {
	// inline renders the content of a paragraph.
	inline func(nodes []node) string
	// code renders a code block.
	code func(text string) string
	// quote stands before each line of a quotation, bullet before an item that is not counted.
	quote, bullet string
	// within separates the blocks of an item.
	within string
}

// blocks renders a run of blocks.
func (l *lines) blocks(nodes []node, between string) string {
	if len(nodes) == 1 && nodes[0].kind == kindParagraph {
		return l.inline(nodes[0].children)
	}
	parts := make([]string, 0, len(nodes))
	for i := range nodes {
		switch n := &nodes[i]; n.kind {
		case kindParagraph:
			parts = append(parts, l.inline(n.children))
		case kindCodeBlock:
			parts = append(parts, l.code(n.text))
		case kindQuote:
			parts = append(parts, prefixed(l.blocks(n.children, between), l.quote, l.quote))
		case kindList:
			parts = append(parts, l.list(n))
		}
	}
	return strings.Join(parts, between)
}

func (l *lines) list(n *node) string {
	items := make([]string, len(n.children))
	for i := range n.children {
		marker := l.bullet
		if n.ordered {
			marker = strconv.Itoa(n.start+i) + ". "
		}
		indent := strings.Repeat(" ", utf8.RuneCountInString(marker))
		items[i] = prefixed(l.blocks(n.children[i].children, l.within), marker, indent)
	}
	return strings.Join(items, "\n")
}

// prefixed puts first before the first line of s and rest before the others; an empty line gets no spaces.
func prefixed(s, first, rest string) string {
	if !strings.Contains(s, "\n") {
		return first + s
	}
	var b strings.Builder
	prefix := first
	for line := range strings.Lines(s) {
		if line == "\n" {
			b.WriteString(strings.TrimRight(prefix, " "))
		} else {
			b.WriteString(prefix)
		}
		b.WriteString(line)
		prefix = rest
	}
	return b.String()
}

// styler writes inline text whose styles are pairs of delimiters. Styles open and close as late as possible, so none
// is ever empty, and all of them end before a line does.
type styler struct {
	b      strings.Builder
	want   []string // the delimiters that should be open around what is written next, outermost first
	open   []string // those that are
	last   rune     // what was written last
	joiner string   // stands between a delimiter and a letter or digit, where the language needs it
}

func (s *styler) push(delimiter string) { s.want = append(s.want, delimiter) }
func (s *styler) pop()                  { s.want = s.want[:len(s.want)-1] }

// write adds text that is escaped already.
func (s *styler) write(text string) {
	if text == "" {
		return
	}
	first, _ := utf8.DecodeRuneInString(text)
	s.sync(s.want, first)
	s.raw(text)
}

// newline ends the line, and with it every style; they open again on the next one.
func (s *styler) newline(text string) {
	s.sync(nil, 0)
	s.raw(text)
}

func (s *styler) raw(text string) {
	s.b.WriteString(text)
	s.last, _ = utf8.DecodeLastRuneInString(text)
}

// sync closes and opens delimiters until want is open; next is the character that follows.
func (s *styler) sync(want []string, next rune) {
	same := 0
	for same < len(want) && same < len(s.open) && want[same] == s.open[same] {
		same++
	}
	closed := len(s.open) > same
	for i := len(s.open) - 1; i >= same; i-- {
		s.raw(s.open[i])
	}
	s.open = s.open[:same]
	if closed && same == len(want) && isWord(next) {
		s.raw(s.joiner)
	}
	if same < len(want) && isWord(s.last) {
		s.raw(s.joiner)
	}
	for _, delimiter := range want[same:] {
		s.raw(delimiter)
		s.open = append(s.open, delimiter)
	}
}

func (s *styler) String() string {
	s.sync(nil, 0)
	return s.b.String()
}
