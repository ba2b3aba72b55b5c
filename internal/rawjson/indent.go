package rawjson

import (
	"bytes"
	"encoding/json"
)

// Indent spells JSON on lines of its own, two blanks for each level. It returns false for what is no JSON, and for what would
// take more than most bytes: what is nested deep and has many parts is almost only blanks then, a gigabyte of them for a
// megabyte.
func Indent(raw []byte, most int) ([]byte, bool) {
	if !indentsWithin(raw, most) {
		return nil, false
	}
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return nil, false
	}
	return b.Bytes(), true
}

// indentsWithin reports whether text takes at most so many bytes once it is indented. It reckons with a little too much.
func indentsWithin(raw []byte, most int) bool {
	size, depth, quoted := 0, 0, false
	for i := 0; i < len(raw) && size <= most; i++ {
		size++
		switch b := raw[i]; {
		case quoted && b == '\\':
			size++
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			depth++
			size += 1 + 2*depth
		case b == '}' || b == ']':
			depth = max(0, depth-1)
			size += 1 + 2*depth
		case b == ',':
			size += 1 + 2*depth
		case b == ':':
			size++
		case b == ' ' || b == '\t' || b == '\r' || b == '\n':
			size--
		}
	}
	return size <= most
}
