package outbound

import (
	"net/http"
	"testing"
	"time"
)

// Retry-After is read in seconds and in all spellings of a date, and never asks for a pause that makes no sense.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration, layout string) string { return now.Add(d).Format(layout) }
	for value, want := range map[string]time.Duration{
		"":                                 0,
		"0":                                MinRetryAfter,
		"0.01":                             MinRetryAfter,
		"120":                              2 * time.Minute,
		" 5 ":                              5 * time.Second,
		"1.5":                              1500 * time.Millisecond,
		"007":                              7 * time.Second,
		"86400":                            MaxRetryAfter,
		"86401":                            MaxRetryAfter,
		"99999999999999999999999999999":    MaxRetryAfter,
		"-1":                               0,
		"+1":                               0,
		"1e3":                              0,
		"0x10":                             0,
		"inf":                              0,
		"NaN":                              0,
		"1_000":                            0,
		".":                                0,
		"1.2.3":                            0,
		"soon":                             0,
		"5 minutes":                        0,
		at(time.Minute, http.TimeFormat):   time.Minute,
		at(-time.Minute, http.TimeFormat):  MinRetryAfter,
		at(72*time.Hour, http.TimeFormat):  MaxRetryAfter,
		at(time.Hour, time.RFC850):         time.Hour,
		at(time.Hour, time.ANSIC):          time.Hour,
		"Fri, 31 Dec 9999 23:59:59 GMT":    MaxRetryAfter,
		"Mon, 01 Jan 0001 00:00:00 GMT":    MinRetryAfter,
		at(time.Hour, time.RFC3339):        0,
		"Sun, 32 Nov 2026 12:00:00 GMT":    0,
		"Sun, 22 Nov 2026 12:30:00 +00:00": 0,
	} {
		if got := RetryAfter(value, now); got != want {
			t.Errorf("RetryAfter(%q) = %v, want %v", value, got, want)
		}
	}
}

// The pause is meant by the server's clock, whatever ours says.
func TestRetryAfterOfAWrongClock(t *testing.T) {
	url := always(t, "HTTP/1.1 503 Down\r\nDate: Mon, 05 Jan 2015 10:00:00 GMT\r\nRetry-After: Mon, 05 Jan 2015 10:00:30 GMT\r\nContent-Length: 0\r\n\r\n")
	resp, err := dev(t).Do(t.Context(), post(url))
	if err != nil || resp.RetryAfter != 30*time.Second {
		t.Errorf("%+v, %v", resp, err)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "1.5", "-1", "99999999999999999999", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		f.Add(s, int64(1795348800))
	}
	f.Fuzz(func(t *testing.T, value string, unix int64) {
		if d := RetryAfter(value, time.Unix(unix%1e11, 0)); d < 0 || d > MaxRetryAfter {
			t.Errorf("RetryAfter(%q) = %v", value, d)
		}
	})
}
