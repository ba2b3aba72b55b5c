package markup

import "strings"

var (
	textLines  = lines{inline: textInline(true), code: textCode, quote: "> ", bullet: "- ", within: "\n"}
	plainLines = lines{inline: textInline(false), code: textCode, quote: "> ", bullet: "- ", within: "\n"}
)

// Text renders plain text; a link is its text with the address behind it in parentheses.
func (d Doc) Text() string { return textLines.blocks(d.blocks, "\n\n") }

// Plain renders plain text in which links are their text alone: for notifications and one-line summaries.
func (d Doc) Plain() string { return plainLines.blocks(d.blocks, "\n\n") }

func textCode(text string) string { return prefixed(text, "    ", "    ") }

func textInline(addresses bool) func([]node) string {
	return func(nodes []node) string {
		if len(nodes) == 1 && nodes[0].kind == kindText {
			return nodes[0].text
		}
		var b strings.Builder
		textNodes(&b, nodes, addresses)
		return b.String()
	}
}

func textNodes(b *strings.Builder, nodes []node, addresses bool) {
	for i := range nodes {
		switch n := &nodes[i]; n.kind {
		case kindText, kindCode:
			b.WriteString(n.text)
		case kindBreak:
			b.WriteByte('\n')
		case kindLink:
			text := plain(n.children)
			b.WriteString(text)
			if addresses && text != n.text && text != strings.TrimPrefix(n.text, "mailto:") {
				b.WriteString(" (" + n.text + ")")
			}
		default:
			textNodes(b, n.children, addresses)
		}
	}
}
