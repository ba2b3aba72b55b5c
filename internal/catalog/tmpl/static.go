package tmpl

import "strings"

// checkStatic looks at a piece of an author's Markdown for what would give the values around it another meaning than
// text. It returns the piece, made safe, or says what is wrong.
func checkStatic(s string) (string, string) {
	for i := 0; i < len(s); i++ {
		rest := s[i:]
		switch {
		case s[i] == '\\':
			if i+1 == len(s) {
				return "", `a backslash cannot stand right before {{: it would change what the value means`
			}
			i++
		case s[i] == '`':
			end := codeEnd(rest)
			if end < 0 {
				return "", "a code span must open and close between two actions: write {{code .payload.x}} for a value as code"
			}
			i += end - 1
		case s[i] == '<':
			return "", `HTML has no place in a message: write \< for the character itself`
		case strings.HasPrefix(rest, "!["):
			return "", `images have no place in a message: write \! for the character itself`
		case strings.HasPrefix(rest, "]("):
			end := strings.IndexByte(rest, ')')
			if end < 0 || !staticTarget(rest[2:end]) {
				return "", "a link with a value in its address is written {{link TEXT URL}}; others need http://, https:// or mailto:"
			}
			i += end
		case strings.HasPrefix(rest, "]:"):
			// What looks like a link's definition is meant as text.
			s = s[:i+1] + `\` + s[i+1:]
			i += 2
		}
	}
	return s, ""
}

// codeEnd returns where the code span that begins s ends, and -1 when it does not end.
func codeEnd(s string) int {
	fence := run(s)
	for i := fence; i < len(s); i++ {
		if s[i] != '`' {
			continue
		}
		n := run(s[i:])
		if n == fence {
			return i + n
		}
		i += n - 1
	}
	return -1
}

// run counts the backticks at the beginning.
func run(s string) int { return len(s) - len(strings.TrimLeft(s, "`")) }

// staticTarget reports whether s, the address of an author's link, is one that messages may have.
func staticTarget(s string) bool {
	for _, scheme := range []string{"http://", "https://", "mailto:"} {
		if rest, ok := strings.CutPrefix(s, scheme); ok {
			return rest != "" && !strings.ContainsAny(rest, " \t\r\n<>\"'()`\\[]")
		}
	}
	return false
}
