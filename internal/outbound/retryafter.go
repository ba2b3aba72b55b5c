package outbound

import (
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxRetryAfter is the longest pause that a partner can ask for.
	MaxRetryAfter = 24 * time.Hour
	// MinRetryAfter is what "try again at once" means: without a pause a partner that says so could be tried in a loop.
	MinRetryAfter = time.Second
)

// dateLayouts are the three spellings of a date that RFC 9110 obliges a recipient to read.
var dateLayouts = [...]string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC}

// RetryAfter reads a Retry-After header: seconds (some partners send fractions) or a date, which is compared with
// now. What is unreadable, negative numbers among it, is 0; nought and what is in the past is MinRetryAfter, and what is
// absurd is MaxRetryAfter.
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
		return max(time.Duration(math.Ceil(seconds*float64(time.Second))), MinRetryAfter)
	}
	at, ok := parseDate(value)
	if !ok {
		return 0
	}
	return min(max(at.Sub(now), MinRetryAfter), MaxRetryAfter)
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
