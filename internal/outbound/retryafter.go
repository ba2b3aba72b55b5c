package outbound

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the longest pause that a partner can ask for.
const MaxRetryAfter = 24 * time.Hour

// dateLayouts are the three spellings of a date that RFC 9110 obliges a recipient to read.
var dateLayouts = [...]string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC}

// RetryAfter reads a Retry-After header: seconds (some partners send fractions) or a date, which is compared with
// now. What is in the past, negative or unreadable is 0, what is absurd is MaxRetryAfter.
func RetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" || len(value) > 64 {
		return 0
	}
	if isDecimal(value) {
		seconds, err := strconv.ParseFloat(value, 64)
		switch {
		case seconds >= MaxRetryAfter.Seconds(): // also when it is out of range
			return MaxRetryAfter
		case err != nil:
			return 0
		}
		return time.Duration(math.Ceil(seconds * float64(time.Second)))
	}
	at, ok := parseDate(value)
	if !ok {
		return 0
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}

// isDecimal keeps what only ParseFloat takes for numbers (hexadecimal, "inf", exponents, underscores) out.
func isDecimal(s string) bool {
	dots := 0
	for i := range len(s) {
		switch {
		case s[i] == '.':
			dots++
		case s[i] < '0' || s[i] > '9':
			return false
		}
	}
	return dots <= 1 && s != "."
}

func parseDate(value string) (time.Time, bool) {
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, value); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
