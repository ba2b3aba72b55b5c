package rawjson

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

func skipSpace(data []byte, at int) int {
	for at < len(data) {
		switch data[at] {
		case ' ', '\n', '\t', '\r':
			at++
		default:
			return at
		}
	}
	return at
}

// skipPlain returns the next byte of a text that needs a closer look: a quote, a backslash, a control character or
// anything outside of ASCII. It looks at eight bytes at a time.
func skipPlain(data []byte, at int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	for at+8 <= len(data) {
		w := binary.LittleEndian.Uint64(data[at:])
		quote := w ^ ones*'"'
		slash := w ^ ones*'\\'
		// In each term the high bit of a byte is set when the byte is below ' ', a quote or a backslash. A borrow can
		// only make a byte above a real find look like one, and the loop below looks at bytes in order.
		if (w|(w-ones*' ')|(quote-ones)|(slash-ones))&highs != 0 {
			break
		}
		at += 8
	}
	for at < len(data) {
		if b := data[at]; b < ' ' || b == '"' || b == '\\' || b >= utf8.RuneSelf {
			return at
		}
		at++
	}
	return at
}

// hex4 reads \uXXXX at the place.
func hex4(data []byte, at int) (rune, bool) {
	if at+6 > len(data) || data[at] != '\\' || data[at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, b := range data[at+2 : at+6] {
		switch {
		case b >= '0' && b <= '9':
			b -= '0'
		case b >= 'a' && b <= 'f':
			b -= 'a' - 10
		case b >= 'A' && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	return r, true
}

// unescape appends the text that body, the inside of a JSON string, stands for.
func unescape(dst, body []byte) []byte {
	for {
		i := bytes.IndexByte(body, '\\')
		if i < 0 || i+1 >= len(body) {
			return append(dst, body...)
		}
		dst = append(dst, body[:i]...)
		switch b := body[i+1]; b {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, ok := hex4(body, i)
			if !ok {
				return append(dst, body[i:]...)
			}
			i += 4
			if utf16.IsSurrogate(r) {
				low, _ := hex4(body, i+2)
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default: // a quote, a backslash, a slash
			dst = append(dst, b)
		}
		body = body[i+2:]
	}
}

// AppendText appends the text that a raw JSON string stands for. It returns false when raw is not a string.
func AppendText(dst, raw []byte) ([]byte, bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return dst, false
	}
	return unescape(dst, raw[1:len(raw)-1]), true
}

// Text returns the text that a raw JSON string stands for: a part of raw when it has no escapes, which callers must
// not change, and otherwise a copy. It returns false when raw is not a string.
func Text(raw []byte) ([]byte, bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return nil, false
	}
	body := raw[1 : len(raw)-1]
	if bytes.IndexByte(body, '\\') < 0 {
		return body, true
	}
	return unescape(make([]byte, 0, len(body)), body), true
}

// String is Text as a string.
func String(raw []byte) (string, bool) {
	text, ok := Text(raw)
	return string(text), ok
}

// AppendQuoted appends s as a JSON string. It escapes only what must be; bytes that are not UTF-8 become U+FFFD.
func AppendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		b := s[i]
		if b >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		switch {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b == '\n':
			dst = append(dst, '\\', 'n')
		case b == '\r':
			dst = append(dst, '\\', 'r')
		case b == '\t':
			dst = append(dst, '\\', 't')
		case b < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		default:
			dst = append(dst, b)
		}
		i++
	}
	return append(dst, '"')
}
