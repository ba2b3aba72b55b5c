package markup

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind says what a node is.
type kind uint8

const (
	// The inline kinds. Text of kindText and kindCode holds no line end.
	kindText kind = iota
	kindBreak
	kindCode
	kindStrong
	kindEm
	kindLink

	// The blocks.
	kindParagraph
	kindQuote
	kindList
	kindItem
	kindCodeBlock
)

// node is one piece of a text. The tree is small and knows nothing of the parser, so a renderer is a switch.
type node struct {
	kind kind
	// text is what a text, code or code block says, and the address of a link, checked by Address.
	text string
	// ordered and start are a list's: whether it counts, and from where.
	ordered  bool
	start    int
	children []node
}

// plain returns what is seen of inline nodes, in one line.
func plain(nodes []node) string {
	if len(nodes) == 1 && nodes[0].kind == kindText {
		return nodes[0].text
	}
	var b strings.Builder
	writePlain(&b, nodes)
	return b.String()
}

func writePlain(b *strings.Builder, nodes []node) {
	for i := range nodes {
		switch n := &nodes[i]; n.kind {
		case kindText, kindCode:
			b.WriteString(n.text)
		case kindBreak:
			b.WriteByte(' ')
		default:
			writePlain(b, n.children)
		}
	}
}

// cutter keeps the beginning of a tree.
type cutter struct {
	left int  // characters that may still be kept
	done bool // the cut has been made; nothing more is kept
}

// fits reports whether all that is seen takes no more characters than c may keep. It stops counting when not.
func (c *cutter) fits(nodes []node) bool {
	left := c.left
	return count(nodes, &left)
}

func count(nodes []node, left *int) bool {
	for i := range nodes {
		n := &nodes[i]
		switch n.kind {
		case kindText, kindCode, kindCodeBlock:
			*left -= utf8.RuneCountInString(n.text)
		case kindBreak:
			*left--
		}
		if *left < 0 || !count(n.children, left) {
			return false
		}
	}
	return true
}

// cut is called for trees that do not fit. It keeps one character free for the "…".
func (c *cutter) cut(nodes []node) []node {
	c.left--
	return c.nodes(nodes)
}

func (c *cutter) nodes(nodes []node) []node {
	var out []node
	for _, n := range nodes {
		if c.done {
			break
		}
		switch n.kind {
		case kindText, kindCode, kindCodeBlock:
			n.text = c.text(n.text)
		case kindBreak:
			if c.left <= 0 {
				n = node{kind: kindText, text: "…"}
				c.done = true
			}
			c.left--
		default:
			n.children = c.nodes(n.children)
			if len(n.children) == 0 {
				continue
			}
		}
		out = append(out, n)
	}
	return out
}

func (c *cutter) text(s string) string {
	if size := utf8.RuneCountInString(s); size <= c.left {
		c.left -= size
		return s
	}
	c.done = true
	for i := range s {
		if c.left <= 0 {
			return strings.TrimRightFunc(s[:i], unicode.IsSpace) + "…"
		}
		c.left--
	}
	return s
}
