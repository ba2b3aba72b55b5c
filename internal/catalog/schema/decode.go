package schema

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// decode makes of raw JSON what the full validator wants. tamed is the first number that was replaced by one that
// compares alike and that can be reckoned with, "" when there was none.
func decode(raw []byte) (doc any, tamed string) {
	switch rawjson.KindOf(raw) {
	case rawjson.KindObject:
		out := make(map[string]any)
		for key, value := range rawjson.Object(raw) {
			v, t := decode(value)
			out[string(key)] = v
			if tamed == "" {
				tamed = t
			}
		}
		return out, tamed
	case rawjson.KindArray:
		out := []any{}
		for value := range rawjson.Array(raw) {
			v, t := decode(value)
			out = append(out, v)
			if tamed == "" {
				tamed = t
			}
		}
		return out, tamed
	case rawjson.KindString:
		s, _ := rawjson.String(bytes.TrimSpace(raw))
		return s, ""
	case rawjson.KindNumber:
		spelled := string(bytes.TrimSpace(raw))
		n := tame(spelled)
		if n != spelled {
			tamed = clip(spelled)
		}
		return json.Number(n), tamed
	case rawjson.KindBool:
		return bytes.TrimSpace(raw)[0] == 't', ""
	}
	return nil, ""
}

// maxDigits bounds the numbers that the full validator gets to see, which reckons with exact fractions: 1e1000000
// would cost it a megabyte and milliseconds, for each of the hundred thousand that fit into a payload, and what is
// larger makes it panic. No bound in a schema lies outside, so nothing else compares differently.
const maxDigits = 400

// tame returns the number, or one in its place that has at most maxDigits digits and as small an exponent: it has the
// same sign, is whole when the number is, and is beyond all bounds when the number is.
func tame(spelled string) string {
	mantissa, exponent := spelled, 0
	if i := strings.IndexAny(spelled, "eE"); i >= 0 {
		mantissa = spelled[:i]
		var err error
		if exponent, err = strconv.Atoi(spelled[i+1:]); err != nil { // out of range: far beyond either way
			exponent = 1 << 40
			if spelled[i+1] == '-' {
				exponent = -exponent
			}
		}
	}
	if len(spelled) <= maxDigits && exponent <= maxDigits && exponent >= -maxDigits {
		return spelled
	}
	sign := ""
	if mantissa[0] == '-' {
		sign, mantissa = "-", mantissa[1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	// The number is 0.digits × 10^magnitude.
	magnitude := len(digits) - len(fraction) + exponent
	digits = strings.TrimRight(digits, "0")
	switch {
	case digits == "":
		return "0"
	case magnitude > maxDigits:
		return sign + "1e" + strconv.Itoa(maxDigits)
	case magnitude < -maxDigits:
		return sign + "1e-" + strconv.Itoa(maxDigits)
	}
	if len(digits) > 2*maxDigits {
		digits = digits[:2*maxDigits] + "1" // what is cut off is not zero
	}
	return sign + "0." + digits + "e" + strconv.Itoa(magnitude)
}
