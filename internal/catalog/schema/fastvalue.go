package schema

import (
	"bytes"
	"encoding/json"
	"math/big"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// typeSet is a set of JSON's types. The empty set stands for all of them.
type typeSet uint8

const (
	typeNull typeSet = 1 << iota
	typeBoolean
	typeNumber
	typeInteger
	typeString
	typeArray
	typeObject
)

var typeNames = map[string]typeSet{
	"null": typeNull, "boolean": typeBoolean, "number": typeNumber, "integer": typeInteger, "string": typeString,
	"array": typeArray, "object": typeObject,
}

func typesOf(s *jsonschema.Schema) typeSet {
	var t typeSet
	if s.Types != nil {
		for _, name := range s.Types.ToStrings() {
			t |= typeNames[name]
		}
	}
	return t
}

func (t typeSet) has(one typeSet) bool { return t == 0 || t&one != 0 }

// maxPlainDigits keeps plain integers within an int64.
const maxPlainDigits = 18

// plainInteger reads a number without fraction and exponent. It refuses -0, which is spelled unlike its equal.
func plainInteger(raw []byte) (int64, bool) {
	digits := bytes.TrimPrefix(raw, []byte("-"))
	if len(digits) == 0 || len(digits) > maxPlainDigits {
		return 0, false
	}
	var n int64
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = 10*n + int64(d-'0')
	}
	if len(digits) < len(raw) {
		return -n, n != 0
	}
	return n, true
}

// bound is a whole number that a value is compared with.
type bound int64

// boundOf returns false for a bound that is not a whole number of reasonable size.
func boundOf(r *big.Rat) (*bound, bool) {
	if r == nil {
		return nil, true
	}
	if !r.IsInt() || !r.Num().IsInt64() {
		return nil, false
	}
	b := bound(r.Num().Int64())
	return &b, true
}

func checkNumber(n *node, raw []byte) verdict {
	i, plain := plainInteger(raw)
	switch {
	case n.types.has(typeNumber):
	case !n.types.has(typeInteger):
		return no
	case !plain && !allDigits(raw):
		return unknown // 1.0 and 1e3 are integers
	}
	if n.values != nil {
		if v := n.values.number(raw); v != yes {
			return v
		}
	}
	if n.minimum == nil && n.maximum == nil {
		return yes
	}
	if !plain {
		var ok bool
		if i, ok = wholePart(raw); !ok {
			return unknown
		}
		// The value lies between i and i+1, and is not a whole number.
		return verdictOf((n.minimum == nil || i >= int64(*n.minimum)) && (n.maximum == nil || i < int64(*n.maximum)))
	}
	return verdictOf((n.minimum == nil || i >= int64(*n.minimum)) && (n.maximum == nil || i <= int64(*n.maximum)))
}

// allDigits reports whether a number is an integer however long.
func allDigits(raw []byte) bool {
	for i, b := range raw {
		if (b < '0' || b > '9') && (i > 0 || b != '-') {
			return false
		}
	}
	return true
}

// wholePart returns what stands before the point of a positive number with a fraction that is not zero.
func wholePart(raw []byte) (int64, bool) {
	whole, fraction, found := bytes.Cut(raw, []byte("."))
	if !found || len(bytes.Trim(fraction, "0")) == 0 {
		return 0, false
	}
	for _, b := range fraction {
		if b < '0' || b > '9' {
			return 0, false
		}
	}
	i, plain := plainInteger(whole)
	return i, plain && whole[0] != '-'
}

// format checks the format of a text: the plain cases of the common formats at once, everything else as the full
// validator does.
type format struct {
	plain    func([]byte) bool
	validate func(v any) error
}

var plainFormats = map[string]func([]byte) bool{
	"date-time": plainDateTime, "date": plainDate, "uuid": plainUUID, "uri": plainURI,
}

func formatOf(s *jsonschema.Schema) *format {
	if s.Format == nil {
		return nil
	}
	return &format{plain: plainFormats[s.Format.Name], validate: s.Format.Validate}
}

func (f *format) check(text []byte) verdict {
	if f.plain != nil && f.plain(text) {
		return yes
	}
	return verdictOf(f.validate(string(text)) == nil)
}

// shaped reports whether the text has the shape: in it 0 stands for a digit, everything else for itself.
func shaped(text []byte, shape string) bool {
	if len(text) != len(shape) {
		return false
	}
	for i, b := range text {
		if shape[i] == '0' && (b < '0' || b > '9') || shape[i] != '0' && b != shape[i] {
			return false
		}
	}
	return true
}

func twoDigits(text []byte) int { return int(text[0]-'0')*10 + int(text[1]-'0') }

// plainDate knows the days that every month has.
func plainDate(text []byte) bool {
	if !shaped(text, "0000-00-00") {
		return false
	}
	month, day := twoDigits(text[5:]), twoDigits(text[8:])
	return month >= 1 && month <= 12 && day >= 1 && day <= 28
}

func plainDateTime(text []byte) bool {
	if len(text) < len("2006-01-02T15:04:05Z") || text[10] != 'T' || !plainDate(text[:10]) || !shaped(text[11:19], "00:00:00") {
		return false
	}
	if twoDigits(text[11:]) > 23 || twoDigits(text[14:]) > 59 || twoDigits(text[17:]) > 59 {
		return false
	}
	rest := text[19:]
	if rest[0] == '.' {
		digits := 0
		for rest = rest[1:]; digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9'; {
			digits++
		}
		if digits == 0 {
			return false
		}
		rest = rest[digits:]
	}
	switch {
	case len(rest) == 1:
		return rest[0] == 'Z'
	case shaped(rest, "+00:00") || shaped(rest, "-00:00"):
		return twoDigits(rest[1:]) <= 23 && twoDigits(rest[4:]) <= 59
	}
	return false
}

func plainUUID(text []byte) bool {
	if len(text) != 36 {
		return false
	}
	for i, b := range text {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if b != '-' {
				return false
			}
			continue
		}
		if !(b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F') {
			return false
		}
	}
	return true
}

// plainURI knows http and https addresses of letters, digits and the commonest punctuation.
func plainURI(text []byte) bool {
	rest, ok := bytes.CutPrefix(text, []byte("https://"))
	if !ok {
		if rest, ok = bytes.CutPrefix(text, []byte("http://")); !ok {
			return false
		}
	}
	host := bytes.IndexByte(rest, '/')
	if host < 0 {
		host = len(rest)
	}
	if host == 0 {
		return false
	}
	for i, b := range rest {
		switch {
		case b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '.':
		case i < host:
			return false
		case b == '/' || b == '_' || b == '~' || b == '?' || b == '=' || b == '&' || b == '#' || b == '+' || b == ',':
		default:
			return false
		}
	}
	return true
}

// values are what enum or const allow.
type values struct {
	texts       map[string]bool
	numbers     []string
	allIntegers bool // every number is spelled as a plain integer
	null        bool
	yes, no     bool
	composite   bool // there are objects or arrays among them
}

func valuesOf(s *jsonschema.Schema) *values {
	var all []any
	switch {
	case s.Enum != nil:
		all = s.Enum.Values
	case s.Const != nil:
		all = []any{*s.Const}
	default:
		return nil
	}
	v := &values{texts: map[string]bool{}, allIntegers: true}
	for _, value := range all {
		switch value := value.(type) {
		case nil:
			v.null = true
		case bool:
			v.yes, v.no = v.yes || value, v.no || !value
		case string:
			v.texts[value] = true
		case json.Number:
			v.numbers = append(v.numbers, value.String())
			_, plain := plainInteger([]byte(value))
			v.allIntegers = v.allIntegers && plain
		default:
			v.composite = true
		}
	}
	return v
}

func (v *values) hasText(text []byte) bool { return v == nil || v.texts[string(text)] }
func (v *values) hasNull() bool            { return v == nil || v.null }
func (v *values) hasBool(b bool) bool      { return v == nil || b && v.yes || !b && v.no }

func (v *values) compositeVerdict() verdict {
	if v.composite {
		return unknown
	}
	return no
}

// number compares spellings; two spellings of one number are left to the full validator.
func (v *values) number(raw []byte) verdict {
	for _, n := range v.numbers {
		if string(raw) == n {
			return yes
		}
	}
	if _, plain := plainInteger(raw); len(v.numbers) == 0 || plain && v.allIntegers {
		return no
	}
	return unknown
}
