package patchbay

import (
	"strings"
	"unicode/utf8"
)

// Pattern selects event types. "*" in it stands for any run of characters, also an empty one; everything else
// stands for itself.
type Pattern string

// The limits of type names and patterns.
const (
	// MaxTypeLength bounds the key of an event type and a pattern, in bytes.
	MaxTypeLength = 128
	// MaxPatterns is how many patterns one link may have.
	MaxPatterns = 256
	// SystemPrefix begins the types that Patchbay itself raises.
	SystemPrefix = "patchbay."
)

// ParsePattern checks that s can be a pattern.
func ParsePattern(s string) (Pattern, error) {
	switch {
	case s == "":
		return "", Errorf(CodeInvalidRequest, "a pattern cannot be empty: write * to match every event type")
	case len(s) > MaxTypeLength:
		return "", Errorf(CodeInvalidRequest, "the pattern %q is longer than %d bytes", clip(s), MaxTypeLength)
	case !utf8.ValidString(s):
		return "", Errorf(CodeInvalidRequest, "a pattern must be valid UTF-8")
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return "", Errorf(CodeInvalidRequest, "the pattern %q holds a control character", clip(s))
		}
	}
	return Pattern(s), nil
}

// Match reports whether the pattern selects the type name. Types that begin with SystemPrefix are selected only by
// patterns that begin so.
func (p Pattern) Match(name string) bool {
	if strings.HasPrefix(name, SystemPrefix) && !strings.HasPrefix(string(p), SystemPrefix) {
		return false
	}
	return glob(string(p), name)
}

// Literal reports whether the pattern has no star, and so matches one name only.
func (p Pattern) Literal() bool { return strings.IndexByte(string(p), '*') < 0 }

// glob matches in time proportional to len(pattern) × len(s) at worst: a later star never needs an earlier one to
// be tried again, so remembering the last star is enough.
func glob(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
