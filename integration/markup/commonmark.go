package markup

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

var commonLines = lines{inline: commonInline, code: commonCodeBlock, quote: "> ", bullet: "- ", within: "\n\n"}

// CommonMark renders Markdown again, for partners that take it. It uses only what every Markdown has, and escapes what
// GitHub's and the trackers' own additions (HTML, tables, strikethrough, mentions) would read in text.
func (d Doc) CommonMark() string { return commonLines.blocks(d.blocks, "\n\n") }

func commonInline(nodes []node) string {
	s := styler{}
	commonNodes(&s, nodes)
	return s.String()
}

func commonNodes(s *styler, nodes []node) {
	for i := range nodes {
		switch n := &nodes[i]; n.kind {
		case kindText:
			s.write(commonText(n.text, s.last))
		case kindBreak:
			s.newline("  \n")
			s.last = 0
		case kindCode:
			s.write(commonCode(n.text))
		case kindStrong:
			s.push("**")
			commonNodes(s, n.children)
			s.pop()
		case kindEm:
			s.push("*")
			commonNodes(s, n.children)
			s.pop()
		case kindLink:
			s.write("[" + commonText(plain(n.children), '[') + "](" + percentAlso(n.text, "()[]*_") + ")")
		}
	}
}

// commonText escapes text; last is the character before it, 0 at the start of a line.
func commonText(text string, last rune) string {
	var b strings.Builder
	if last == 0 {
		text = strings.TrimLeft(text, " ")
		text = commonLineStart(&b, text)
		if b.Len() > 0 {
			last = '.' // some punctuation
		}
	}
	for i, r := range text {
		next, _ := utf8.DecodeRuneInString(text[i+utf8.RuneLen(r):])
		switch r {
		case '\\', '`', '*', '[', ']', '|', '~':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '_':
			if !isWord(last) || !isWord(next) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '&':
			if reference(text[i:]) > 0 {
				b.WriteString("&amp;")
			} else {
				b.WriteByte('&')
			}
		case '@':
			b.WriteByte('@')
			if !isWord(last) && (isWord(next) || next == '_') { // a mention, which is found in the finished page
				b.WriteString(zeroWidth)
			}
		default:
			b.WriteRune(r)
		}
		last = r
	}
	return b.String()
}

// commonLineStart writes what means something only at the start of a line, escaped, and returns the rest of the text.
func commonLineStart(b *strings.Builder, text string) string {
	if text == "" {
		return text
	}
	switch text[0] {
	case '#', '+', '-':
		b.WriteString(`\` + text[:1])
		return text[1:]
	case '=', ':': // underlines of headings and of the heads of tables; a backslash is not taken everywhere
		b.WriteString(map[byte]string{'=': "&#61;", ':': "&#58;"}[text[0]])
		return text[1:]
	}
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	if digits > 0 && digits < len(text) && (text[digits] == '.' || text[digits] == ')') {
		b.WriteString(text[:digits] + `\` + text[digits:digits+1])
		return text[digits+1:]
	}
	return text
}

// commonCode fences code with more backticks than it holds in a row.
func commonCode(text string) string {
	fence := strings.Repeat("`", backticks(text)+1)
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") || text != strings.TrimFunc(text, unicode.IsSpace) {
		text = " " + text + " "
	}
	return fence + text + fence
}

func commonCodeBlock(text string) string {
	fence := strings.Repeat("`", max(3, backticks(text)+1))
	return fence + "\n" + text + "\n" + fence
}

// backticks returns the length of the longest run of backticks.
func backticks(text string) int {
	longest, run := 0, 0
	for i := range len(text) {
		if text[i] != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}
