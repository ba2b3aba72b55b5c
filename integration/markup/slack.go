package markup

import "strings"

// zeroWidth is a zero width space. It is not seen, and keeps two characters from meaning something together.
const zeroWidth = "\u200b"

var slackLines = lines{inline: slackInline, code: slackCodeBlock, quote: "> ", bullet: "• ", within: "\n"}

// Slack renders mrkdwn: *bold*, _italic_, `code`, <address|text>. Slack reads links, mentions and channel calls only
// between < and >, and those of text are escaped; stars and underscores of text may at most make it bold or italic,
// because mrkdwn has no escape for them.
func (d Doc) Slack() string { return slackLines.blocks(d.blocks, "\n\n") }

func slackInline(nodes []node) string {
	if len(nodes) == 1 && nodes[0].kind == kindText {
		return slackEscaper.Replace(nodes[0].text)
	}
	s := styler{joiner: zeroWidth}
	slackNodes(&s, nodes)
	return s.String()
}

func slackNodes(s *styler, nodes []node) {
	for i := range nodes {
		switch n := &nodes[i]; n.kind {
		case kindText:
			s.write(slackEscaper.Replace(n.text))
		case kindBreak:
			s.newline("\n")
		case kindCode:
			if text := slackEscaper.Replace(n.text); strings.Contains(text, "`") {
				s.write(text) // nothing can stand for a backtick in code
			} else {
				s.write("`" + text + "`")
			}
		case kindStrong:
			s.push("*")
			slackNodes(s, n.children)
			s.pop()
		case kindEm:
			s.push("_")
			slackNodes(s, n.children)
			s.pop()
		case kindLink:
			s.write(slackLink(n))
		}
	}
}

// slackLink cannot break: Address leaves no <, > or | in the address, and in the text < and > are escaped and the
// pipe, which some readers of this form would split at again, is a broken bar.
func slackLink(n *node) string {
	address := strings.ReplaceAll(n.text, "&", "&amp;")
	text := slackEscaper.Replace(strings.ReplaceAll(plain(n.children), "|", "¦"))
	if text == address {
		return "<" + address + ">"
	}
	return "<" + address + "|" + text + ">"
}

func slackCodeBlock(text string) string {
	text = slackEscaper.Replace(text)
	if strings.Contains(text, "```") {
		return text
	}
	return "```\n" + text + "\n```"
}

// slackEscaper escapes the three characters that Slack wants escaped, everywhere, code included.
var slackEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
