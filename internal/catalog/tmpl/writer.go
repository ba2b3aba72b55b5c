package tmpl

import (
	"bytes"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
)

// writer collects what a template makes.
type writer struct {
	buf []byte
	// valueEnd is where the last value ended. When it is len(buf), the last byte came from a value.
	valueEnd int
	full     bool
	// joining says that only values are written, and nothing of an author's.
	joining bool
}

// maxKeptOutput bounds the buffer that a writer keeps for its next use.
const maxKeptOutput = 16 << 10

func (w *writer) reset() {
	if cap(w.buf) > maxKeptOutput {
		w.buf = nil
	}
	w.buf, w.valueEnd, w.full = w.buf[:0], 0, false
}

// room makes place for n bytes more, or ends the output. Pieces are never cut: half a link would be no link.
func (w *writer) room(n int) bool {
	if !w.full && len(w.buf)+n > MaxOutput {
		w.full = true
		w.buf = append(w.buf, "…"...)
	}
	return !w.full
}

// static writes text of the template's author. It returns false when there is no more room.
func (w *writer) static(s string, mode Mode) bool {
	if s == "" {
		return true
	}
	if !w.room(len(s) + 1) {
		return false
	}
	if mode == Markdown {
		w.part(s[0])
	}
	w.buf = append(w.buf, s...)
	return true
}

// value writes a value, whose plain text is s, as the mode demands.
func (w *writer) value(v value, s string, mode Mode) bool {
	if w.full {
		return false
	}
	start := len(w.buf)
	if v.kind == kindMarkup && mode == Markdown {
		if v.markup == "" {
			return true
		}
		w.part(v.markup[0])
		w.buf = append(w.buf, v.markup...)
	} else {
		switch {
		case mode == Markdown:
			w.buf = appendEscaped(w.buf, s, w.lead())
		case mode == Plain || v.kind == kindEncoded:
			w.buf = append(w.buf, s...)
		case mode == URL:
			w.buf = appendURLPart(w.buf, s)
		default:
			w.buf = append(w.buf, patchbay.EscapeSegment(s)...)
		}
	}
	if len(w.buf) > MaxOutput {
		w.buf = w.buf[:start]
		return w.room(MaxOutput)
	}
	w.valueEnd = len(w.buf)
	return true
}

// part keeps two pieces of Markdown that meet from becoming something that neither is alone. next is the first byte
// of the second piece, which is the author's or made by a function; escaped values need no parting.
func (w *writer) part(next byte) {
	n := len(w.buf)
	if n == 0 {
		return
	}
	last := w.buf[n-1]
	switch next {
	case '`': // two fences would become one longer one, and what they close would be open
		if last == '`' {
			w.buf = append(w.buf, ' ')
		}
	case '*': // as with fences; between an author's star and a value a blank could make a list
		if last == '*' && n == w.valueEnd {
			w.buf = append(w.buf, ' ')
		}
	case '[': // an image
		if last == '!' && !w.escaped(n-1) {
			w.buf = append(w.buf[:n-1], '\\', '!')
		}
	case '(', ':': // a link or a definition whose text is the author's
		if last == ']' && !w.escaped(n-1) {
			w.buf = append(w.buf, '\\')
		}
	}
	switch next {
	case '.', ')': // "1" and ". " would begin a list
		if n == w.valueEnd && last >= '0' && last <= '9' {
			w.buf = append(w.buf, '\\')
		}
	}
}

// escaped reports whether an odd number of backslashes stands before the i-th byte.
func (w *writer) escaped(i int) bool {
	n := 0
	for i-n > 0 && w.buf[i-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}

// finish returns the output.
func (w *writer) finish(mode Mode) string {
	switch mode {
	case Markdown:
		return tidy(w.buf)
	case URL:
		return CleanURL(string(w.buf))
	case Scope:
		return string(w.buf)
	}
	return OneLine(string(w.buf))
}

// tidy drops blanks and blank lines at both ends, and more than one blank line in a row: templates with many conditions leave some. A line
// of dashes below a text would make that a heading, which the small Markdown does not have; a template for a list with
// an element that came out empty makes such a line.
func tidy(b []byte) string {
	out := make([]byte, 0, len(b)+2)
	afterText, breaks := false, 2 // at the beginning no line break is wanted
	for len(b) > 0 {
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line = b[:i+1]
		}
		b = b[len(line):]
		if len(bytes.Trim(line, " \t\r\n")) == 0 {
			if breaks < 2 {
				out = append(out, '\n')
			}
			afterText, breaks = false, 2
			continue
		}
		if len(out) == 0 {
			line = bytes.TrimLeft(line, " \t")
		}
		if at := underline(line); at >= 0 && afterText {
			out = append(out, line[:at]...)
			out = append(out, '\\')
			line = line[at:]
		}
		out = append(out, line...)
		afterText, breaks = true, 1
	}
	return string(bytes.TrimRight(out, " \t\r\n"))
}

// underline returns where in a line the dashes or equals signs begin that are all it holds, and -1 for other lines.
func underline(line []byte) int {
	body := bytes.TrimLeft(line, "> \t")
	text := bytes.TrimRight(body, " \t\r\n")
	if len(text) > 0 && (text[0] == '-' || text[0] == '=') && len(bytes.Trim(text, string(text[:1]))) == 0 {
		return len(line) - len(body)
	}
	return -1
}

// clip shortens a text to maxValue bytes, at the end of a character.
func clip(s string) string {
	if len(s) <= maxValue {
		return s
	}
	cut := maxValue
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// OneLine makes a text one line: control characters and those that turn the direction of what follows are dropped,
// blanks and line breaks become single spaces.
func OneLine(s string) string {
	if plainLine(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	blank := false
	for _, r := range s {
		switch classify(r) {
		case runeBlank, runeBreak:
			blank = true
		case runeShown:
			if blank && b.Len() > 0 {
				b.WriteByte(' ')
			}
			blank = false
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plainLine reports whether OneLine would change nothing.
func plainLine(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f || s[i] == ' ' && (i == 0 || i == len(s)-1 || s[i+1] == ' ') {
			return false
		}
	}
	return true
}

type runeClass int

const (
	runeShown runeClass = iota
	runeBlank
	runeBreak
	runeDropped
)

func classify(r rune) runeClass {
	switch {
	case r == ' ' || r == '\t':
		return runeBlank
	case r == '\n' || r == '\r' || r == '\v' || r == '\f' || r == 0x85 || r == 0x2028 || r == 0x2029:
		return runeBreak
	case r < ' ' || r >= 0x7f && r < 0xa0:
		return runeDropped
	case r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069: // they reorder the text around them
		return runeDropped
	case r == 0xfeff || r >= 0xfff9 && r <= 0xfffb:
		return runeDropped
	}
	return runeShown
}

// punctuation says which bytes a backslash makes literal in Markdown: all of ASCII's punctuation.
var punctuation = func() (t [128]bool) {
	for _, c := range "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" {
		t[c] = true
	}
	return t
}()

// lead is what a blank at the beginning of a value becomes. Behind an author's "-" or "#" a common blank would make a
// list or a heading of the value, so it is one that does not break.
func (w *writer) lead() string {
	if w.joining {
		return " "
	}
	return "\u00a0"
}

// hardBreak is a line break inside of a paragraph.
const hardBreak = "\\\n"

// appendEscaped appends a text so that Markdown shows it as it is: a backslash before all punctuation, hard breaks for
// line breaks (at most two in a row), one blank for several, none at the ends of lines, no control characters. lead
// stands for a blank at the beginning when there is something before it.
func appendEscaped(dst []byte, s, lead string) []byte {
	begun, blank, breaks := false, false, 0
	var previous rune
	for _, r := range s {
		class := classify(r)
		if r == '\n' && previous == '\r' {
			class = runeDropped // the second half of a line break
		}
		previous = r
		switch class {
		case runeDropped:
			continue
		case runeBlank:
			blank = true
			continue
		case runeBreak:
			breaks++
			continue
		}
		switch {
		case breaks == 0 && !blank:
		case !begun:
			dst = appendBlank(dst, lead)
		case breaks > 0:
			for range min(breaks, 2) {
				dst = append(dst, hardBreak...)
			}
		default:
			dst = append(dst, ' ')
		}
		begun, blank, breaks = true, false, 0
		if r < utf8.RuneSelf && punctuation[r] {
			dst = append(dst, '\\')
		}
		dst = utf8.AppendRune(dst, r)
	}
	if blank && breaks == 0 {
		if begun {
			lead = " "
		}
		dst = appendBlank(dst, lead)
	}
	return dst
}

// appendBlank adds a blank unless one, or nothing at all, stands before it in the line: four would make code.
func appendBlank(dst []byte, blank string) []byte {
	if n := len(dst); n == 0 || dst[n-1] == ' ' || dst[n-1] == '\n' || dst[n-1] == '\t' {
		return dst
	}
	return append(dst, blank...)
}

// CleanURL returns the address when it is an absolute http or https URL without user information, with everything
// percent-encoded that could end it in Markdown, HTML or a partner's markup; otherwise "".
func CleanURL(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxURL {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return ""
	}
	if scheme := strings.ToLower(u.Scheme); scheme != "http" && scheme != "https" {
		return ""
	}
	if strings.ContainsFunc(u.Host, notInHost) {
		return ""
	}
	start := len(u.Scheme) + len("://")
	if !strings.HasPrefix(s[len(u.Scheme):], "://") || !strings.HasPrefix(s[start:], u.Host) {
		return "" // the host is spelled in a way that different readers read differently
	}
	start += len(u.Host)
	dst := make([]byte, 0, len(s)+16)
	dst = append(dst, strings.ToLower(u.Scheme)...)
	dst = append(dst, "://"...)
	dst = append(dst, u.Host...)
	for i := start; i < len(s); i++ {
		dst = appendByte(dst, s[i], urlByte[s[i]] || s[i] == '%' && isHexPair(s, i+1))
	}
	return string(dst)
}

// notInHost reports whether no host name or address holds the character. Letters outside of ASCII stay as they are.
func notInHost(r rune) bool {
	if r < utf8.RuneSelf {
		return !unreserved(byte(r)) && r != ':' && r != '[' && r != ']' || r == '~'
	}
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
}

// maxURL is more than any browser takes.
const maxURL = 4096

// urlByte says which bytes a URL keeps. Parentheses, quotes, brackets and what else ends a URL in some markup are
// encoded, although they are allowed; so is the semicolon, because "&copy;" is a character in Markdown.
var urlByte = func() (t [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#@!$&+,=" {
		t[c] = true
	}
	return t
}()

func isHexPair(s string, at int) bool {
	if at+2 > len(s) {
		return false
	}
	for _, c := range s[at : at+2] {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}

func appendByte(dst []byte, b byte, keep bool) []byte {
	const hex = "0123456789ABCDEF"
	if keep {
		return append(dst, b)
	}
	return append(dst, '%', hex[b>>4], hex[b&15])
}

// appendURLPart appends a value to a URL. At the beginning it is the address itself; before a question mark it may
// have several path segments; behind it, it is a part of the query.
func appendURLPart(dst []byte, s string) []byte {
	if len(dst) == 0 {
		return append(dst, strings.TrimLeft(s, " \t\r\n")...)
	}
	inQuery := bytes.ContainsAny(dst, "?#")
	for i := range len(s) {
		keep := urlByte[s[i]] && s[i] != '?' && s[i] != '#'
		if inQuery {
			keep = unreserved(s[i])
		}
		dst = appendByte(dst, s[i], keep)
	}
	return dst
}

func unreserved(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '.' || b == '_' || b == '~'
}

// Escape returns a text as Markdown that shows it as it is.
func Escape(s string) string { return string(appendEscaped(nil, s, "")) }
