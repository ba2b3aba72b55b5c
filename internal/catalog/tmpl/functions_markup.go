package tmpl

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

var markupFunctions = []Function{
	{Usage: "link TEXT URL", Help: "A link, or TEXT alone when URL is not an http or https address. Without TEXT it shows the address.", min: 2, max: 2, call: func(s *state, a []value) value {
		return link(s.str(a[0]), s.str(a[1]))
	}},
	{Usage: "bold TEXT", Help: "TEXT in bold type.", min: 1, max: 1, call: func(s *state, a []value) value { return bold(s.str(a[0])) }},
	{Usage: "code TEXT", Help: "TEXT as code.", min: 1, max: 1, call: func(s *state, a []value) value { return code(s.str(a[0])) }},
}

func link(shown, target string) value {
	shown, target = OneLine(shown), CleanURL(target)
	if shown == "" {
		shown = target
	}
	if target == "" {
		return text(shown)
	}
	dst := append([]byte(nil), '[')
	dst = appendEscaped(dst, shown, " ")
	dst = append(dst, "]("...)
	dst = append(dst, target...)
	return value{kind: kindMarkup, text: shown, markup: string(append(dst, ')'))}
}

// bold leaves punctuation at both ends outside of the stars: next to it Markdown would not take them for what they are.
func bold(s string) value {
	s = OneLine(s)
	core := strings.TrimFunc(s, func(r rune) bool { return !emphasizable(r) })
	if core == "" {
		return text(s)
	}
	start := strings.Index(s, core)
	var dst []byte
	dst = appendOuter(dst, s[:start])
	dst = append(dst, "**"...)
	dst = appendEscaped(dst, core, " ")
	dst = append(dst, "**"...)
	dst = appendOuter(dst, s[start+len(core):])
	return value{kind: kindMarkup, text: s, markup: string(dst)}
}

// appendOuter appends escaped text whose blanks at its ends count, because something stands there.
func appendOuter(dst []byte, s string) []byte {
	for _, r := range s {
		if r < utf8.RuneSelf && punctuation[r] {
			dst = append(dst, '\\')
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// emphasizable reports whether stars open and close next to the character.
func emphasizable(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r)
}

// code fences the text with more backticks than it holds in a row. Nothing in it has a meaning then.
func code(s string) value {
	s = OneLine(s)
	if s == "" {
		return value{}
	}
	longest, n := 0, 0
	for i := range len(s) {
		if s[i] != '`' {
			n = 0
			continue
		}
		n++
		longest = max(longest, n)
	}
	fence := strings.Repeat("`", longest+1)
	pad := ""
	if s[0] == '`' || s[len(s)-1] == '`' {
		pad = " "
	}
	return value{kind: kindMarkup, text: s, markup: fence + pad + s + pad + fence}
}
