package markup

import (
	"html"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// maxDepth is how deep quotes and lists may lie in one another. What lies deeper is drawn up to that depth, so that
// no text can make a renderer recurse without end.
const maxDepth = 8

// The parsers. Indented code is left out on purpose: a value whose lines are indented would turn into it, and show
// the backslashes of its escapes.
var (
	blockParser = parser.NewParser(
		parser.WithBlockParsers(
			util.Prioritized(parser.NewListParser(), 300),
			util.Prioritized(parser.NewListItemParser(), 400),
			util.Prioritized(parser.NewFencedCodeBlockParser(), 700),
			util.Prioritized(parser.NewBlockquoteParser(), 800),
			util.Prioritized(paragraphs{parser.NewParagraphParser()}, 1000)),
		parser.WithInlineParsers(inlineParsers()...))
	inlineParser = parser.NewParser(
		parser.WithBlockParsers(util.Prioritized(paragraphs{parser.NewParagraphParser()}, 1000)),
		parser.WithInlineParsers(inlineParsers()...))
)

// paragraphs also begin with indented lines, which the parser would drop without the one for indented code.
type paragraphs struct{ parser.BlockParser }

// CanAcceptIndentedLine is asked for lines that begin with four spaces or more.
func (paragraphs) CanAcceptIndentedLine() bool { return true }

func inlineParsers() []util.PrioritizedValue {
	return []util.PrioritizedValue{
		util.Prioritized(parser.NewCodeSpanParser(), 100),
		util.Prioritized(parser.NewLinkParser(), 200),
		util.Prioritized(parser.NewAutoLinkParser(), 300),
		util.Prioritized(parser.NewEmphasisParser(), 500),
	}
}

func parse(md string, inline bool) []node {
	md = strings.ToValidUTF8(md, "\uFFFD")
	if s, ok := simple(md); ok {
		if s == "" {
			return nil
		}
		return []node{{kind: kindParagraph, children: []node{{kind: kindText, text: s}}}}
	}
	return parseAll(md, inline)
}

func parseAll(md string, inline bool) []node {
	source := []byte(md)
	p := blockParser
	if inline {
		p = inlineParser
	}
	r := reader{source: source}
	blocks := r.blocks(p.Parse(text.NewReader(source)), 0)
	if !inline || len(blocks) < 2 {
		return blocks
	}
	all := blocks[0]
	for _, b := range blocks[1:] {
		all.children = append(append(all.children, node{kind: kindBreak}), b.children...)
	}
	return []node{all}
}

// simple reads what most titles and values are, one line of text with nothing in it but escapes, without the parser.
func simple(md string) (string, bool) {
	if md == "" {
		return "", true
	}
	start := 0
	for start < len(md) && md[start] >= '0' && md[start] <= '9' {
		start++
	}
	if start < len(md) && start > 0 && (md[start] == '.' || md[start] == ')') {
		return "", false // it may number a list
	}
	if c := md[0]; !isAlnum(c) && c < utf8.RuneSelf && c != '\\' || md[len(md)-1] == ' ' {
		return "", false
	}
	escapes := false
	for i := 0; i < len(md); i++ {
		switch c := md[i]; {
		case c == '\\' && i+1 < len(md) && isPunct(md[i+1]):
			escapes = true
			i++
		case c < ' ' || c == 0x7f || strings.IndexByte("\\`*_[]<>&!", c) >= 0:
			return "", false
		}
	}
	if escapes {
		md = unescape(md)
	}
	return clean(md), true
}

// reader turns the parser's tree into ours.
type reader struct{ source []byte }

func (r *reader) blocks(parent ast.Node, depth int) []node {
	var out []node
	for c := parent.FirstChild(); c != nil; c = c.NextSibling() {
		switch b := c.(type) {
		case *ast.Paragraph, *ast.TextBlock:
			if children := trim(r.inlines(c)); len(children) > 0 {
				out = append(out, node{kind: kindParagraph, children: children})
			}
		case *ast.FencedCodeBlock:
			if code := strings.Trim(cleanLines(string(b.Lines().Value(r.source))), "\n"); code != "" {
				out = append(out, node{kind: kindCodeBlock, text: code})
			}
		case *ast.List:
			out = r.nest(out, node{kind: kindList, ordered: b.IsOrdered(), start: b.Start}, c, depth)
		case *ast.ListItem:
			out = r.nest(out, node{kind: kindItem}, c, depth)
		case *ast.Blockquote:
			out = r.nest(out, node{kind: kindQuote}, c, depth)
		}
	}
	return out
}

func (r *reader) nest(out []node, n node, from ast.Node, depth int) []node {
	n.children = r.blocks(from, depth+1)
	switch {
	case depth >= 2*maxDepth: // a list is two levels, itself and its items
		for _, c := range n.children {
			if c.kind == kindParagraph || c.kind == kindCodeBlock {
				out = append(out, c)
			}
		}
		return out
	case len(n.children) == 0:
		return out
	}
	return append(out, n)
}

func (r *reader) inlines(parent ast.Node) []node {
	var out []node
	for c := parent.FirstChild(); c != nil; c = c.NextSibling() {
		switch n := c.(type) {
		case *ast.Text:
			out = addText(out, clean(unescape(string(n.Segment.Value(r.source)))))
			if n.SoftLineBreak() || n.HardLineBreak() {
				out = append(out, node{kind: kindBreak})
			}
		case *ast.String:
			out = addText(out, clean(string(n.Value)))
		case *ast.CodeSpan:
			if code := r.code(n); strings.TrimSpace(code) != "" {
				out = append(out, node{kind: kindCode, text: code})
			}
		case *ast.Emphasis:
			k := kindEm
			if n.Level == 2 {
				k = kindStrong
			}
			if children := r.inlines(c); len(children) > 0 {
				out = append(out, node{kind: k, children: children})
			}
		case *ast.Link:
			out = addLink(out, unescape(string(n.Destination)), r.inlines(c))
		case *ast.Image:
			out = addLink(out, unescape(string(n.Destination)), r.inlines(c))
		case *ast.AutoLink:
			address := string(n.URL(r.source))
			if n.AutoLinkType == ast.AutoLinkEmail {
				address = "mailto:" + address
			}
			out = addLink(out, address, []node{{kind: kindText, text: clean(string(n.Label(r.source)))}})
		}
	}
	return out
}

// code returns a code span in one line.
func (r *reader) code(n *ast.CodeSpan) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			b.Write(t.Segment.Value(r.source))
		}
	}
	return clean(strings.ReplaceAll(b.String(), "\n", " "))
}

// addText appends text, joined to a text that stands before it: whether a character needs escaping depends on its
// neighbours.
func addText(out []node, s string) []node {
	if s == "" {
		return out
	}
	if last := len(out) - 1; last >= 0 && out[last].kind == kindText {
		out[last].text += s
		return out
	}
	return append(out, node{kind: kindText, text: s})
}

// addLink appends a link. Without an address that may be linked to, only its text stays. Without text, the address
// stands for it.
func addLink(out []node, address string, children []node) []node {
	checked, ok := Address(address)
	children = unlinked(children)
	if strings.TrimSpace(plain(children)) == "" {
		children = []node{{kind: kindText, text: clean(address)}}
	}
	if !ok {
		for _, c := range children {
			if c.kind == kindText {
				out = addText(out, c.text)
			} else {
				out = append(out, c)
			}
		}
		return out
	}
	return append(out, node{kind: kindLink, text: checked, children: children})
}

// unlinked takes links out of the text of a link: an image in it would be one.
func unlinked(nodes []node) []node {
	var out []node
	for _, n := range nodes {
		switch n.kind {
		case kindLink:
			out = append(out, n.children...)
		case kindStrong, kindEm:
			n.children = unlinked(n.children)
			out = append(out, n)
		default:
			out = append(out, n)
		}
	}
	return out
}

// trim drops line breaks at both ends of a paragraph.
func trim(nodes []node) []node {
	for len(nodes) > 0 && nodes[0].kind == kindBreak {
		nodes = nodes[1:]
	}
	for len(nodes) > 0 && nodes[len(nodes)-1].kind == kindBreak {
		nodes = nodes[:len(nodes)-1]
	}
	return nodes
}

// unescape resolves backslash escapes and character references, in one pass: what an escape yields is never read as
// the beginning of a reference.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 && strings.IndexByte(s, '&') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && isPunct(s[i+1]):
			i++
			b.WriteByte(s[i])
		case s[i] == '&':
			if n := reference(s[i:]); n > 0 {
				b.WriteString(html.UnescapeString(s[i : i+n]))
				i += n - 1
				continue
			}
			b.WriteByte('&')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// reference returns the length of the character reference that s begins with, such as "&amp;" or "&#33;", or 0.
func reference(s string) int {
	const longest = 33 // of HTML's names
	for i := 1; i < len(s) && i < longest; i++ {
		switch c := s[i]; {
		case c == ';' && i > 1:
			return i + 1
		case c == '#' && i == 1:
		case !isAlnum(c):
			return 0
		}
	}
	return 0
}

// clean drops control characters from text of one line; white space becomes a space.
func clean(s string) string { return strings.Map(cleanRune, s) }

func cleanRune(r rune) rune {
	switch {
	case r == '\n' || r == '\t' || r == '\v' || r == '\f' || r == '\r' || r == 0x85 || r == 0x2028 || r == 0x2029:
		return ' '
	case r < ' ' || r >= 0x7f && r < 0xa0:
		return -1
	}
	return r
}

// cleanLines is clean for code blocks, which keep their lines and tabs.
func cleanLines(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return cleanRune(r)
	}, s)
}
