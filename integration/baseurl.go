package integration

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// CheckBaseURL is a Setting.Check for the address of a partner that paths are appended to. It refuses what would end
// up in the middle of the result (a query), and user information, which belongs into settings of its own, where it
// is masked.
func CheckBaseURL(value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("must be text")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("is not a URL that can be read")
	case u.User != nil:
		return errors.New("must not hold a user name or password: there are settings for them")
	case u.RawQuery != "" || u.ForceQuery || strings.ContainsRune(text, '#'):
		return errors.New("must end with its host or path, without ? or #")
	}
	return nil
}

// JoinURL appends segments to a base URL, each percent-encoded whole, so that a value from settings or from an event
// stays one segment.
func JoinURL(base string, segments ...string) string {
	var b strings.Builder
	b.WriteString(strings.TrimRight(base, "/"))
	for _, s := range segments {
		b.WriteByte('/')
		switch s {
		case ".", "..": // url.PathEscape leaves them, and servers would climb
			b.WriteString(strings.ReplaceAll(s, ".", "%2E"))
		default:
			b.WriteString(url.PathEscape(s))
		}
	}
	return b.String()
}
