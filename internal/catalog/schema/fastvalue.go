package schema

import (
	"bytes"
	"cmp"
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

// maxPlainDigits keeps whole numbers within an int64.
const maxPlainDigits = 18

// decimal is a number taken apart: ±(whole + a fraction), exactly.
type decimal struct {
	negative bool
	zero     bool
	huge     bool  // the whole part has more than maxPlainDigits digits
	whole    int64 // when not huge
	fraction bool  // there is something behind the point
}

// parseDecimal takes a number of JSON apart without reckoning with its exponent, however large.
func parseDecimal(raw []byte) decimal {
	var d decimal
	var lead [maxPlainDigits]byte // the first digits from the first that is not zero
	digits, before, first, last := 0, -1, -1, -1
	i := 0
	for ; i < len(raw); i++ {
		switch b := raw[i]; {
		case b == '-':
			d.negative = true
		case b == '.':
			before = digits
		case b >= '0' && b <= '9':
			if b != '0' {
				last = digits
				if first < 0 {
					first = digits
				}
			}
			if first >= 0 && digits-first < len(lead) {
				lead[digits-first] = b - '0'
			}
			digits++
		}
		if raw[i] == 'e' || raw[i] == 'E' {
			break
		}
	}
	if first < 0 {
		d.zero = true
		return d
	}
	if before < 0 {
		before = digits
	}
	// How many digits the whole part has.
	magnitude := before - first + parseExponent(raw[i:])
	d.fraction = last-first+1 > magnitude
	d.huge = magnitude > maxPlainDigits
	for k := range min(magnitude, maxPlainDigits) {
		d.whole = 10*d.whole + int64(lead[k])
	}
	return d
}

// parseExponent reads "e-12". What is beyond all reason stays there.
func parseExponent(raw []byte) int {
	const most = 1 << 40
	n, negative := 0, false
	for _, b := range raw {
		switch {
		case b == '-':
			negative = true
		case b >= '0' && b <= '9':
			n = min(10*n+int(b-'0'), most)
		}
	}
	if negative {
		return -n
	}
	return n
}

// compare returns -1, 0 or 1 as the number is below, at or above a bound.
func (d decimal) compare(b int64) int {
	switch {
	case d.zero:
		return cmp.Compare(0, b)
	case d.negative:
		return -d.compareSize(-b)
	}
	return d.compareSize(b)
}

func (d decimal) compareSize(b int64) int {
	switch {
	case d.huge:
		return 1
	case d.whole == b && d.fraction:
		return 1
	}
	return cmp.Compare(d.whole, b)
}

// bound is a whole number that a value is compared with.
type bound struct {
	value int64
	// strict: the bound itself is outside.
	strict bool
}

// maxBound keeps every bound within what decimals compare with.
const maxBound = 1_000_000_000_000_000_000

// boundOf returns the closer of two bounds. It returns false for those that it cannot hold.
func boundOf(inclusive, exclusive *big.Rat) (*bound, bool) {
	r, strict := inclusive, false
	switch {
	case inclusive != nil && exclusive != nil:
		return nil, false
	case exclusive != nil:
		r, strict = exclusive, true
	case inclusive == nil:
		return nil, true
	}
	if !r.IsInt() || !r.Num().IsInt64() || r.Num().Int64() >= maxBound || r.Num().Int64() <= -maxBound {
		return nil, false
	}
	return &bound{r.Num().Int64(), strict}, true
}

func checkNumber(n *node, raw []byte) verdict {
	if n.values != nil {
		if v := n.values.number(raw); v != yes {
			return v
		}
	}
	whole := n.types.has(typeNumber)
	if whole && n.minimum == nil && n.maximum == nil {
		return yes
	}
	d := parseDecimal(raw)
	if !whole && (!n.types.has(typeInteger) || d.fraction) {
		return no
	}
	if b := n.minimum; b != nil {
		if c := d.compare(b.value); c < 0 || c == 0 && b.strict {
			return no
		}
	}
	if b := n.maximum; b != nil {
		if c := d.compare(b.value); c > 0 || c == 0 && b.strict {
			return no
		}
	}
	return yes
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
	allIntegers bool // every number is spelled as an integer of a few digits
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
			v.allIntegers = v.allIntegers && plainInteger([]byte(value))
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
	if len(v.numbers) == 0 || plainInteger(raw) && v.allIntegers {
		return no
	}
	return unknown
}

// plainInteger reports whether the number has only one spelling without fraction and exponent, which it has here.
func plainInteger(raw []byte) bool {
	digits := bytes.TrimPrefix(raw, []byte("-"))
	for _, d := range digits {
		if d < '0' || d > '9' {
			return false
		}
	}
	return string(raw) != "-0"
}
