package markup

import (
	"html"
	"strconv"
	"strings"
)

// HTML renders p, br, strong, em, code, pre, ul, ol, li, blockquote and a, and nothing else.
func (d Doc) HTML() string {
	var w htmlWriter
	w.blocks(d.blocks)
	return w.b.String()
}

// BasicHTML renders for clients that know only br, b, i, code, pre, ul, ol, li and a, such as HipChat: paragraphs are
// separated by empty lines, and a quotation is italic.
func (d Doc) BasicHTML() string {
	w := htmlWriter{basic: true}
	w.blocks(d.blocks)
	return w.b.String()
}

type htmlWriter struct {
	b     strings.Builder
	basic bool
}

func (w *htmlWriter) blocks(nodes []node) {
	for i := range nodes {
		n := &nodes[i]
		if w.basic && i > 0 && n.kind != kindList && nodes[i-1].kind != kindList {
			w.b.WriteString("<br><br>")
		}
		switch n.kind {
		case kindParagraph:
			w.paragraph(n)
		case kindCodeBlock:
			w.b.WriteString("<pre>" + html.EscapeString(n.text) + "</pre>")
		case kindQuote:
			w.quote(n)
		case kindList:
			w.list(n)
		}
	}
}

func (w *htmlWriter) paragraph(n *node) {
	if w.basic {
		w.inlines(n.children)
		return
	}
	w.b.WriteString("<p>")
	w.inlines(n.children)
	w.b.WriteString("</p>")
}

func (w *htmlWriter) quote(n *node) {
	tag := "blockquote"
	if w.basic {
		tag = "i"
	}
	w.b.WriteString("<" + tag + ">")
	w.blocks(n.children)
	w.b.WriteString("</" + tag + ">")
}

func (w *htmlWriter) list(n *node) {
	tag := "ul"
	if n.ordered {
		tag = "ol"
	}
	w.b.WriteString("<" + tag)
	if n.ordered && n.start != 1 {
		w.b.WriteString(` start="` + strconv.Itoa(n.start) + `"`)
	}
	w.b.WriteString(">")
	for i := range n.children {
		w.b.WriteString("<li>")
		content := n.children[i].children
		if len(content) > 0 && content[0].kind == kindParagraph { // a tight list, as most are
			w.inlines(content[0].children)
			content = content[1:]
		}
		w.blocks(content)
		w.b.WriteString("</li>")
	}
	w.b.WriteString("</" + tag + ">")
}

func (w *htmlWriter) inlines(nodes []node) {
	for i := range nodes {
		switch n := &nodes[i]; n.kind {
		case kindText:
			w.b.WriteString(html.EscapeString(n.text))
		case kindBreak:
			w.b.WriteString("<br>")
		case kindCode:
			w.b.WriteString("<code>" + html.EscapeString(n.text) + "</code>")
		case kindStrong:
			w.styled("strong", "b", n)
		case kindEm:
			w.styled("em", "i", n)
		case kindLink:
			w.link(n)
		}
	}
}

func (w *htmlWriter) styled(tag, basic string, n *node) {
	if w.basic {
		tag = basic
	}
	w.b.WriteString("<" + tag + ">")
	w.inlines(n.children)
	w.b.WriteString("</" + tag + ">")
}

func (w *htmlWriter) link(n *node) {
	w.b.WriteString(`<a href="` + html.EscapeString(n.text) + `"`)
	if !w.basic {
		w.b.WriteString(` rel="noopener noreferrer"`)
	}
	w.b.WriteString(">")
	w.inlines(n.children)
	w.b.WriteString("</a>")
}
