package tmpl

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

var listFunctions = []Function{
	{Usage: "list VALUE …", Help: "The VALUEs as a list.", max: -1, call: func(_ *state, a []value) value {
		return list(slices.Clone(a))
	}},
	{Usage: "first LIST", Help: "The first element of LIST.", min: 1, max: 1, call: func(_ *state, a []value) value { return a[0].at(0) }},
	{Usage: "last LIST", Help: "The last element of LIST.", min: 1, max: 1, call: func(_ *state, a []value) value {
		return a[0].at(a[0].len() - 1)
	}},
	{Usage: "head N LIST", Help: "The first N elements of LIST.", min: 2, max: 2, call: func(_ *state, a []value) value {
		return list(elements(a[1], count(a[0])))
	}},
	{Usage: "len VALUE", Help: "How many elements a list or characters a text has.", min: 1, max: 1, counts: true, call: func(s *state, a []value) value {
		s.steps += len(a[0].text) / textPerStep
		return integer(a[0].len())
	}},
	{Usage: "index LIST N", Help: "The element N, from 0, of LIST; or the field N of an object.", min: 2, max: -1, call: index},
	{Usage: "get OBJECT PATH", Help: `The value at PATH, such as "run.environment.name", in OBJECT; a number leads into a list.`, min: 2, max: 2, call: get},
	{Usage: "keys OBJECT", Help: "The names of the fields of OBJECT.", min: 1, max: 1, call: func(_ *state, a []value) value {
		return list(fieldNames(a[0]))
	}},
	{Usage: "join SEPARATOR LIST", Help: "The elements of LIST that are not empty, with SEPARATOR between them; markup stays markup.", min: 2, max: 2, call: func(s *state, a []value) value {
		if a[1].kind != kindList {
			return a[1]
		}
		return s.concat(elements(a[1], maxLoops), s.str(a[0]))
	}},
	{Usage: "split SEPARATOR TEXT", Help: "The parts of TEXT between the SEPARATORs.", min: 2, max: 2, call: split},
}

// elements returns the first most elements of a list, and never more than a range would visit.
func elements(v value, most int) []value {
	if v.kind != kindList {
		return nil
	}
	out := make([]value, max(0, min(most, v.len(), maxLoops)))
	for i := range out {
		out[i] = v.at(i)
	}
	return out
}

func index(s *state, a []value) value {
	v := a[0]
	for _, key := range a[1:] {
		if v.kind != kindList {
			v = s.field(v, s.str(key))
			continue
		}
		f, ok := key.float()
		if !ok || f != math.Trunc(f) || f < 0 || f > math.MaxInt32 {
			return value{}
		}
		v = v.at(int(f))
	}
	return v
}

func get(s *state, a []value) value {
	v := a[0]
	for name := range strings.SplitSeq(s.str(a[1]), ".") {
		if v.kind != kindList {
			v = s.field(v, name)
			continue
		}
		i, err := strconv.Atoi(name)
		if err != nil {
			return value{}
		}
		v = v.at(i)
	}
	return v
}

func split(s *state, a []value) value {
	in, separator := s.str(a[1]), s.str(a[0])
	if in == "" || separator == "" {
		return list(nil)
	}
	parts := strings.SplitN(in, separator, maxLoops)
	out := make([]value, len(parts))
	for i, p := range parts {
		out[i] = text(p)
	}
	return list(out)
}

var logicFunctions = []Function{
	{Usage: "default VALUE OTHER", Help: "OTHER, or VALUE when OTHER is empty.", min: 2, max: 2, call: func(_ *state, a []value) value {
		if a[1].truth() {
			return a[1]
		}
		return a[0]
	}},
	{Usage: "and VALUE …", Help: "The first VALUE that is empty, or the last.", min: 1, max: -1, call: func(_ *state, a []value) value {
		for _, v := range a {
			if !v.truth() {
				return v
			}
		}
		return a[len(a)-1]
	}},
	{Usage: "or VALUE …", Help: "The first VALUE that is not empty, or the last.", min: 1, max: -1, call: func(_ *state, a []value) value {
		for _, v := range a {
			if v.truth() {
				return v
			}
		}
		return a[len(a)-1]
	}},
	{Usage: "not VALUE", Help: "Whether VALUE is empty, false or zero.", min: 1, max: 1, call: func(_ *state, a []value) value {
		return boolean(!a[0].truth())
	}},
	{Usage: "eq A B …", Help: "Whether A reads the same as one of the others.", min: 2, max: -1, call: func(s *state, a []value) value {
		return boolean(slices.ContainsFunc(a[1:], func(b value) bool { return s.equal(a[0], b) }))
	}},
	{Usage: "ne A B", Help: "Whether A and B read differently.", min: 2, max: 2, call: func(s *state, a []value) value {
		return boolean(!s.equal(a[0], a[1]))
	}},
	comparison("lt A B", "Whether A is less than B.", func(c int) bool { return c < 0 }),
	comparison("le A B", "Whether A is at most B.", func(c int) bool { return c <= 0 }),
	comparison("gt A B", "Whether A is more than B.", func(c int) bool { return c > 0 }),
	comparison("ge A B", "Whether A is at least B.", func(c int) bool { return c >= 0 }),
	{Usage: "ternary A B CONDITION", Help: "A when CONDITION is true, otherwise B.", min: 3, max: 3, call: func(_ *state, a []value) value {
		if a[2].truth() {
			return a[0]
		}
		return a[1]
	}},
}

func comparison(usage, help string, holds func(int) bool) Function {
	return Function{Usage: usage, Help: help, min: 2, max: 2, call: func(s *state, a []value) value {
		c, ok := s.compare(a[0], a[1])
		return boolean(ok && holds(c))
	}}
}

var numberFunctions = []Function{
	{Usage: "number VALUE", Help: `A number with commas: "12,345".`, min: 1, max: 1, call: func(s *state, a []value) value {
		return text(groupDigits(s.str(a[0])))
	}},
	{Usage: "add A B", Help: "A plus B.", min: 2, max: 2, counts: true, call: arithmetic(func(x, y float64) float64 { return x + y })},
	{Usage: "sub A B", Help: "A minus B.", min: 2, max: 2, counts: true, call: arithmetic(func(x, y float64) float64 { return x - y })},
	{Usage: "percent PART WHOLE", Help: `PART of WHOLE in whole percent: "80%". Nothing when WHOLE is zero.`, min: 2, max: 2, call: func(_ *state, a []value) value {
		part, ok := a[0].float()
		whole, okWhole := a[1].float()
		if !ok || !okWhole || whole == 0 {
			return value{}
		}
		p := number(math.Round(100 * part / whole))
		if p.kind == kindNone {
			return p
		}
		return text(p.text + "%")
	}},
	{Usage: "plural ONE MANY N", Help: "ONE when N is 1, otherwise MANY.", min: 3, max: 3, call: func(_ *state, a []value) value {
		n, ok := a[2].float()
		if a[2].kind == kindList || a[2].kind == kindObject {
			n, ok = float64(a[2].len()), true
		}
		if ok && n == 1 {
			return a[0]
		}
		return a[1]
	}},
	{Usage: "duration SECONDS", Help: `A time span in words: "25 minutes, 3 seconds".`, min: 1, max: 1, call: func(s *state, a []value) value {
		seconds, ok := a[0].float()
		if !ok {
			return text(s.str(a[0]))
		}
		return text(spell(seconds))
	}},
	{Usage: "date LAYOUT TIME", Help: "TIME (RFC 3339, or Unix seconds) in Go's LAYOUT, in its own time zone; without LAYOUT as 2006-01-02 15:04 MST.", min: 1, max: 2, call: date},
}

func arithmetic(f func(x, y float64) float64) func(*state, []value) value {
	return func(_ *state, a []value) value {
		x, _ := a[0].float()
		y, _ := a[1].float()
		return number(f(x, y))
	}
}

// groupDigits sets commas into the whole part of a number. What is not a plain number stays as it is.
func groupDigits(s string) string {
	sign, digits := "", s
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	whole, fraction := digits, ""
	if i := strings.IndexByte(digits, '.'); i >= 0 {
		whole, fraction = digits[:i], digits[i:]
	}
	if whole == "" || strings.Trim(whole, "0123456789") != "" || strings.Trim(fraction, ".0123456789") != "" {
		return s
	}
	var b strings.Builder
	b.WriteString(sign)
	for i := range len(whole) {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(whole[i])
	}
	b.WriteString(fraction)
	return b.String()
}

// spell names a time span by its two or more largest units.
func spell(seconds float64) string {
	const most = 1e12 // 30,000 years
	n := int64(math.Round(min(math.Abs(seconds), most)))
	units := []struct {
		name string
		size int64
	}{{"day", 24 * 60 * 60}, {"hour", 60 * 60}, {"minute", 60}, {"second", 1}}
	var parts []string
	for _, u := range units {
		k := n / u.size
		n %= u.size
		if k == 0 && (u.size > 1 || len(parts) > 0) {
			continue
		}
		part := formatInt(k) + " " + u.name
		if k != 1 {
			part += "s"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

func date(s *state, a []value) value {
	layout, v := "2006-01-02 15:04 MST", a[0]
	if len(a) == 2 {
		layout, v = s.str(a[0]), a[1]
	}
	const farthest = 253402300799 // the end of the year 9999
	if seconds, ok := v.float(); ok && v.kind == kindNumber && math.Abs(seconds) <= farthest {
		return text(clip(time.Unix(int64(seconds), 0).UTC().Format(layout)))
	}
	in := s.str(v)
	for _, known := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
		if t, err := time.Parse(known, in); err == nil {
			if _, offset := t.Zone(); offset == 0 {
				t = t.UTC() // it reads UTC, not +0000
			}
			return text(clip(t.Format(layout)))
		}
	}
	return text(in)
}
