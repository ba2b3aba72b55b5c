package webhook

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// A small reader of JSON that is known to be valid: it finds values without decoding what stands around them, so that
// nothing of a payload is rewritten. On JSON that is not valid it finds nothing, and never reads past the end.

// member is one key of an object with its value, as they are spelled.
type member struct {
	key   []byte // without quotes, escapes as they are
	value []byte
	whole []byte // "key": value
}

// is reports whether the key is name, however it is escaped.
func (m *member) is(name string) bool {
	if bytes.IndexByte(m.key, '\\') < 0 {
		return string(m.key) == name
	}
	return unquote(m.key) == name
}

// unquote returns the text between a JSON string's quotes.
func unquote(inside []byte) string {
	if bytes.IndexByte(inside, '\\') < 0 {
		return string(inside)
	}
	quoted := make([]byte, 0, len(inside)+2)
	quoted = append(append(append(quoted, '"'), inside...), '"')
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return ""
	}
	return s
}

func skipSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// open returns what stands behind the bracket that begins a value.
func open(b []byte, bracket byte) ([]byte, bool) {
	b = skipSpace(b)
	if len(b) == 0 || b[0] != bracket {
		return nil, false
	}
	return skipSpace(b[1:]), true
}

// nextMember takes a member off the inside of an object; nil at its end.
func nextMember(b []byte) (m *member, rest []byte) {
	key, behind, ok := cutString(b)
	if !ok {
		return nil, nil
	}
	colon := skipSpace(behind)
	if len(colon) == 0 || colon[0] != ':' {
		return nil, nil
	}
	value, behind, ok := cutValue(skipSpace(colon[1:]))
	if !ok {
		return nil, nil
	}
	return &member{key: key, value: value, whole: b[:len(b)-len(behind)]}, nextItem(behind)
}

// nextItem skips the comma before the next member or element.
func nextItem(b []byte) []byte {
	b = skipSpace(b)
	if len(b) > 0 && b[0] == ',' {
		return skipSpace(b[1:])
	}
	return b
}

// cutString takes a string off b and returns what stands between its quotes.
func cutString(b []byte) (inside, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return b[1:i], b[i+1:], true
		}
	}
	return nil, nil, false
}

// cutValue takes any value off b. It counts brackets rather than recursing, so depth costs nothing.
func cutValue(b []byte) (value, rest []byte, ok bool) {
	depth := 0
	for i := 0; i < len(b); {
		switch b[i] {
		case '"':
			_, behind, ok := cutString(b[i:])
			if !ok {
				return nil, nil, false
			}
			i = len(b) - len(behind)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			if depth--; depth < 0 {
				return nil, nil, false
			}
			i++
		case ' ', '\t', '\r', '\n', ',', ':':
			if depth == 0 {
				return nil, nil, false
			}
			i++
			continue
		default: // a number, true, false or null
			for i < len(b) && strings.IndexByte(" \t\r\n,:{}[]\"", b[i]) < 0 {
				i++
			}
		}
		if depth == 0 {
			return b[:i], b[i:], true
		}
	}
	return nil, nil, false
}

// at finds the value at a path of keys, and of indices into lists. Of keys that stand twice the last counts, as for
// most readers.
func at(doc []byte, path []string) []byte {
	value := skipSpace(doc)
	for _, key := range path {
		var found []byte
		if inside, ok := open(value, '{'); ok {
			for m, rest := nextMember(inside); m != nil; m, rest = nextMember(rest) {
				if m.is(key) {
					found = m.value
				}
			}
		} else if inside, ok := open(value, '['); ok {
			found = element(inside, key)
		}
		if found == nil {
			return nil
		}
		value = found
	}
	return value
}

func element(inside []byte, key string) []byte {
	index, err := strconv.ParseUint(key, 10, 31)
	if err != nil {
		return nil
	}
	for ; ; index-- {
		value, rest, ok := cutValue(inside)
		if !ok {
			return nil
		}
		if index == 0 {
			return value
		}
		inside = nextItem(rest)
	}
}

// textAt returns the text of a string, or how a number or a boolean is spelled.
func textAt(doc []byte, path []string) (string, error) {
	value := at(doc, path)
	switch {
	case len(value) == 0 || string(value) == "null":
		return "", errAbsent
	case value[0] == '"':
		return unquote(value[1 : len(value)-1]), nil
	case value[0] == '{' || value[0] == '[':
		return "", errNotText
	}
	return string(value), nil
}
