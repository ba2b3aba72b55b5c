package jobs

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"

	"github.com/patchbay/patchbay"
)

// The limits of an erasure's path and value.
const (
	maxPath     = 512
	maxSegments = 32
	maxValue    = 4 << 10
)

// matcher finds events in which a path has a value.
type matcher struct {
	path  []string // "payload" or "actor" and what follows
	value any      // string, bool, nil, or number
}

// number is a JSON number by its value: digits × 10^exponent, without zeros at the ends.
type number struct {
	negative bool
	digits   string
	exponent string
}

// newMatcher compiles a path and a value. The errors are about path and value as a request names them.
func newMatcher(path string, value json.RawMessage) (*matcher, error) {
	segments, message := parsePath(path)
	if message != "" {
		return nil, patchbay.Invalid("path", "%s", message)
	}
	if len(value) > maxValue {
		return nil, patchbay.Invalid("value", "is longer than %d bytes", maxValue)
	}
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, patchbay.Invalid("value", "is needed: the text, number, true, false or null that stands at the path")
	}
	switch x := v.(type) {
	case map[string]any, []any:
		return nil, patchbay.Invalid("value", "must be text, a number, true, false or null: what stands in an object or a list has a path of its own")
	case json.Number:
		v = numberOf(x)
	}
	return &matcher{path: segments, value: v}, nil
}

// parsePath splits a path at its dots; a backslash before a dot makes it part of a name. It returns what is wrong.
func parsePath(path string) (segments []string, wrong string) {
	switch {
	case path == "":
		return nil, `is needed, such as "payload.user.email"`
	case len(path) > maxPath:
		return nil, "is too long"
	}
	var segment strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path) && (path[i+1] == '.' || path[i+1] == '\\'):
			i++
			segment.WriteByte(path[i])
		case c == '.':
			segments = append(segments, segment.String())
			segment.Reset()
		default:
			segment.WriteByte(c)
		}
	}
	segments = append(segments, segment.String())
	for _, s := range segments {
		if s == "" {
			return nil, "has an empty name in it; a dot that belongs to a name is written \\."
		}
	}
	switch {
	case len(segments) > maxSegments:
		return nil, "has too many names in it"
	case segments[0] != "payload" && segments[0] != "actor" || len(segments) < 2:
		return nil, `begins with payload or actor, and names what is in it, such as "payload.user.email"`
	}
	return segments, ""
}

// matches reports whether the path has the value in an event. In a list any element counts.
func (m *matcher) matches(e *patchbay.Event) bool {
	raw := e.Payload
	if m.path[0] == "actor" {
		raw = e.Actor
	}
	if len(raw) == 0 {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return false
	}
	return m.at(v, m.path[1:])
}

func (m *matcher) at(v any, path []string) bool {
	if list, ok := v.([]any); ok {
		for _, element := range list {
			if m.at(element, path) {
				return true
			}
		}
		return false
	}
	if len(path) > 0 {
		object, ok := v.(map[string]any)
		if !ok {
			return false
		}
		next, ok := object[path[0]]
		return ok && m.at(next, path[1:])
	}
	switch x := v.(type) {
	case map[string]any:
		return false
	case json.Number:
		return m.value == any(numberOf(x))
	}
	return m.value == v
}

// numberOf brings a JSON number into the one form that its value has.
func numberOf(n json.Number) number {
	text := string(n)
	rest, negative := strings.CutPrefix(text, "-")
	mantissa, exp, _ := strings.Cut(strings.ToLower(rest), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return number{digits: "0"} // of either sign
	}
	const longest = 30 // digits of an exponent: beyond it spelling decides, not value
	if len(exp) > longest {
		return number{negative: negative, digits: mantissa, exponent: exp}
	}
	exponent := new(big.Int)
	if exp != "" {
		exponent.SetString(strings.TrimPrefix(exp, "+"), 10)
	}
	exponent.Sub(exponent, big.NewInt(int64(len(fraction))))
	trimmed := strings.TrimRight(digits, "0")
	exponent.Add(exponent, big.NewInt(int64(len(digits)-len(trimmed))))
	return number{negative: negative, digits: trimmed, exponent: exponent.String()}
}
