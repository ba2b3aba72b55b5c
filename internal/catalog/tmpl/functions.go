package tmpl

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// Function is something that templates can call. The value that it is about stands last, so it can be piped in.
type Function struct {
	Name string
	// Usage shows a call, such as "trunc N TEXT".
	Usage string
	// Help is a sentence.
	Help string

	min, max int // arguments; max -1: any number
	counts   bool
	call     func(s *state, a []value) value
}

// Functions lists what templates can call, by name.
func Functions() []Function {
	out := make([]Function, 0, len(functions))
	for _, f := range functions {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b Function) int { return strings.Compare(a.Name, b.Name) })
	return out
}

var functions, functionNames = register(slices.Concat(textFunctions, listFunctions, logicFunctions, numberFunctions, markupFunctions))

func register(all []Function) (map[string]*Function, map[string]any) {
	byName, names := make(map[string]*Function, len(all)), make(map[string]any, len(all))
	for i := range all {
		all[i].Name, _, _ = strings.Cut(all[i].Usage, " ")
		byName[all[i].Name] = &all[i]
		names[all[i].Name] = func() string { return "" } // the parser asks for a function, and never calls it
	}
	return byName, names
}

// The bytes that a text or a list costs per step of work.
const (
	textPerStep = 64
	listPerStep = 2
)

// str returns a value as plain text of a bounded length, and counts the work.
func (s *state) str(v value) string {
	if s.steps > maxSteps {
		return ""
	}
	var out string
	switch v.kind {
	case kindObject:
		out = string(v.node.raw[:min(len(v.node.raw), maxValue+utf8.UTFMax)])
	case kindList:
		out = v.String()
		s.steps += len(out) / listPerStep
	default:
		out = v.text
	}
	s.steps += len(out) / textPerStep
	return clip(out)
}

// count is an argument as a small number.
func count(v value) int {
	f, ok := v.float()
	if !ok {
		return 0
	}
	return int(max(-maxValue, min(f, maxValue)))
}

func onText(usage, help string, f func(string) string) Function {
	return Function{Usage: usage, Help: help, min: 1, max: 1, call: func(s *state, a []value) value { return text(f(s.str(a[0]))) }}
}

var textFunctions = []Function{
	onText("upper TEXT", "TEXT in capitals.", strings.ToUpper),
	onText("lower TEXT", "TEXT in small letters.", strings.ToLower),
	onText("capitalize TEXT", "TEXT with its first letter as a capital.", capitalize),
	onText("title TEXT", "TEXT with the first letter of every word as a capital.", titleWords),
	onText("humanize TEXT", `A name as people write it: "no_result" is "No result".`, Humanize),
	onText("trim TEXT", "TEXT without blanks and line breaks at its ends.", strings.TrimSpace),
	onText("firstline TEXT", "The first line of TEXT that is not blank, such as a commit's subject.", firstLine),
	{Usage: "trunc N TEXT", Help: "TEXT, or its first N characters and an ellipsis.", min: 2, max: 2, call: func(s *state, a []value) value {
		return text(truncate(s.str(a[1]), max(0, count(a[0]))))
	}},
	{Usage: "short N TEXT", Help: "The first N characters of TEXT, such as those of a commit's id.", min: 2, max: 2, call: func(s *state, a []value) value {
		runes := []rune(s.str(a[1]))
		return text(string(runes[:max(0, min(count(a[0]), len(runes)))]))
	}},
	{Usage: "replace OLD NEW TEXT", Help: "TEXT with NEW in place of every OLD.", min: 3, max: 3, call: func(s *state, a []value) value {
		return text(replace(s.str(a[2]), s.str(a[0]), s.str(a[1])))
	}},
	{Usage: "trimprefix PREFIX TEXT", Help: "TEXT without PREFIX at its beginning.", min: 2, max: 2, call: func(s *state, a []value) value {
		return text(strings.TrimPrefix(s.str(a[1]), s.str(a[0])))
	}},
	{Usage: "contains PART TEXT", Help: "Whether TEXT, or the list TEXT, contains PART.", min: 2, max: 2, call: contains},
	{Usage: "hasprefix PREFIX TEXT", Help: "Whether TEXT begins with PREFIX.", min: 2, max: 2, call: func(s *state, a []value) value {
		return boolean(strings.HasPrefix(s.str(a[1]), s.str(a[0])))
	}},
	{Usage: "hassuffix SUFFIX TEXT", Help: "Whether TEXT ends with SUFFIX.", min: 2, max: 2, call: func(s *state, a []value) value {
		return boolean(strings.HasSuffix(s.str(a[1]), s.str(a[0])))
	}},
	{Usage: "print VALUE …", Help: "The VALUEs one after the other; markup stays markup.", min: 1, max: -1, call: func(s *state, a []value) value {
		return s.concat(a, "")
	}},
	{Usage: "printf FORMAT VALUE …", Help: "FORMAT with the VALUEs in place of its %s, %v and %d; %% is a percent sign.", min: 1, max: -1, call: printf},
	{Usage: "urlquery TEXT", Help: "TEXT percent-encoded for a URL's query.", min: 1, max: 1, call: urlQuery},
	{Usage: "path TEXT", Help: "In scope_from: TEXT with its slashes, as several segments of the scope.", min: 1, max: 1, call: scopePath},
	{Usage: "json VALUE", Help: "VALUE as JSON.", min: 1, max: 1, call: func(s *state, a []value) value {
		out := appendJSON(nil, a[0])
		s.steps += len(out) / listPerStep
		return text(clip(string(out)))
	}},
}

func urlQuery(s *state, a []value) value {
	in := s.str(a[0])
	out := make([]byte, 0, len(in)+16)
	for i := range len(in) {
		out = appendByte(out, in[i], unreserved(in[i]))
	}
	return encoded(string(out))
}

func scopePath(s *state, a []value) value {
	segments := strings.Split(s.str(a[0]), "/")
	for i, segment := range segments {
		segments[i] = patchbay.EscapeSegment(segment)
	}
	return encoded(strings.Join(segments, "/"))
}

// appendJSON appends a value as JSON. It ends early when there is more than anybody will see.
func appendJSON(dst []byte, v value) []byte {
	switch v.kind {
	case kindNone, kindRoot, kindIntegration:
		return append(dst, "null"...)
	case kindBool, kindNumber:
		return append(dst, v.text...)
	case kindList, kindObject:
		if v.node != nil {
			return append(dst, v.node.raw[:min(len(v.node.raw), maxValue+utf8.UTFMax)]...)
		}
		dst = append(dst, '[')
		for i, e := range v.list {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst = appendJSON(dst, e); len(dst) > maxValue {
				break
			}
		}
		return append(dst, ']')
	}
	return rawjson.AppendQuoted(dst, v.text)
}

func capitalize(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return s
	}
	return string(unicode.ToUpper(r)) + s[size:]
}

func titleWords(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		was := start
		start = unicode.IsSpace(r) || r == '-' || r == '/'
		if was {
			return unicode.ToUpper(r)
		}
		return r
	}, s)
}

// Humanize makes a key readable: "total_no_result_tests" and "totalNoResultTests" are "Total no result tests".
func Humanize(s string) string {
	var b strings.Builder
	lower := false
	for _, r := range s {
		switch {
		case r == '_' || r == '-' || r == '.' || unicode.IsSpace(r):
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			lower = false
			continue
		case lower && unicode.IsUpper(r):
			b.WriteByte(' ')
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteRune(r)
		}
		lower = unicode.IsLower(r) || unicode.IsDigit(r)
	}
	return capitalize(strings.TrimSpace(b.String()))
}

func firstLine(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		s = s[:i]
	}
	return strings.TrimSpace(s)
}

func truncate(s string, most int) string {
	if len(s) <= most {
		return s
	}
	n := 0
	for i := range s {
		if n == most {
			return strings.TrimRightFunc(s[:i], unicode.IsSpace) + "…"
		}
		n++
	}
	return s
}

func replace(s, old, with string) string {
	if old == "" {
		return s
	}
	var b strings.Builder
	for b.Len() <= maxValue {
		before, after, found := strings.Cut(s, old)
		b.WriteString(before)
		if !found {
			break
		}
		b.WriteString(with)
		s = after
	}
	return clip(b.String())
}

func contains(s *state, a []value) value {
	if a[1].kind != kindList {
		return boolean(strings.Contains(s.str(a[1]), s.str(a[0])))
	}
	for i := range min(a[1].len(), maxLoops) {
		if s.equal(a[1].at(i), a[0]) {
			return boolean(true)
		}
	}
	return boolean(false)
}

func printf(s *state, a []value) value {
	format, rest := s.str(a[0]), a[1:]
	var parts []value
	for format != "" {
		before, after, found := strings.Cut(format, "%")
		parts = append(parts, text(before))
		if !found || len(parts) > maxLoops {
			break
		}
		format = after
		switch {
		case after != "" && strings.IndexByte("svd", after[0]) >= 0:
			format = after[1:]
			if len(rest) > 0 {
				parts, rest = append(parts, rest[0]), rest[1:]
			}
		case after != "" && after[0] == '%':
			format = after[1:]
			parts = append(parts, text("%"))
		default:
			parts = append(parts, text("%"))
		}
	}
	return s.concat(parts, "")
}

// concat joins values that are not empty. When one of them is markup so is the result, and the others are escaped in it.
func (s *state) concat(parts []value, separator string) value {
	if slices.ContainsFunc(parts, func(v value) bool { return v.kind == kindMarkup }) {
		return s.concatMarkup(parts, separator)
	}
	var b strings.Builder
	for _, p := range parts {
		part := s.str(p)
		if part != "" && b.Len() > 0 {
			b.WriteString(separator)
		}
		b.WriteString(part)
		if b.Len() > maxValue {
			break
		}
	}
	return text(clip(b.String()))
}

func (s *state) concatMarkup(parts []value, separator string) value {
	var plain strings.Builder
	w := writer{joining: true}
	for _, p := range parts {
		part := s.str(p)
		if part == "" || separator != "" && OneLine(part) == "" {
			continue
		}
		if plain.Len() > 0 {
			plain.WriteString(separator)
			w.separate(separator)
		}
		plain.WriteString(part)
		if !w.value(p, part, Markdown) || plain.Len() > maxValue {
			break
		}
	}
	return value{kind: kindMarkup, text: clip(plain.String()), markup: strings.Trim(string(w.buf), " ")}
}

// separate writes what stands between two parts. Its line breaks count, although nothing follows them in it.
func (w *writer) separate(s string) {
	for i, line := range strings.Split(s, "\n") {
		if i > 0 {
			w.buf = append(w.buf, hardBreak...)
		}
		w.buf = appendEscaped(w.buf, line, " ")
	}
}

// equal compares two values by what they read, so that an id may be a text or a number; numbers by their worth.
func (s *state) equal(a, b value) bool {
	if a.kind == kindNumber && b.kind == kindNumber && a.text != b.text {
		x, okX := a.float()
		y, okY := b.float()
		return okX && okY && x == y
	}
	return s.str(a) == s.str(b)
}

// compare returns -1, 0 or 1, and false when one of the two is nothing.
func (s *state) compare(a, b value) (int, bool) {
	if a.kind == kindNone || b.kind == kindNone {
		return 0, false
	}
	x, okX := a.float()
	y, okY := b.float()
	if okX && okY {
		switch {
		case x < y:
			return -1, true
		case x > y:
			return 1, true
		}
		return 0, true
	}
	return strings.Compare(s.str(a), s.str(b)), true
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
