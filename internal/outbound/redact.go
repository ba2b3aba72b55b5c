package outbound

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
)

const (
	// minNeedle is the shortest secret that is looked for inside of other text; hiding shorter ones would garble
	// everything else. As a header's whole value they are hidden too.
	minNeedle = 4
	// minBase64 is the shortest secret that is looked for in base64, inside of which any three letters turn up.
	minBase64 = 6
	// minURLPart is the shortest part of a secret URL that is looked for by itself.
	minURLPart = 8
)

// Redactor takes secrets out of text, in the spellings in which they travel: plain, percent-encoded, inside of JSON
// and of base64. Making one costs some microseconds, so it is worth keeping for a link's next attempt. It is safe for
// concurrent use.
type Redactor struct {
	whole    []string // as given
	needles  []string // longest first
	shortest int
}

// NewRedactor returns a Redactor for the secrets. Of one that is an http or https URL only what stands behind the host
// is hidden.
func NewRedactor(secrets []string) *Redactor {
	r := &Redactor{}
	for _, s := range secrets {
		if s == "" {
			continue
		}
		r.whole = append(r.whole, s)
		if parts := secretParts(s); parts != nil {
			for _, part := range parts {
				r.add(part)
			}
			continue
		}
		r.add(s)
	}
	slices.SortFunc(r.needles, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	r.needles = slices.Compact(r.needles)
	if n := len(r.needles); n > 0 {
		r.shortest = len(r.needles[n-1])
	}
	return r
}

// secretParts returns the parts of a URL that are worth hiding; nil for anything else, and for a URL that has none.
func secretParts(s string) []string {
	if !strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://") {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil
	}
	_, behind, _ := strings.Cut(s[strings.Index(s, "//")+2:], "/")
	if len(behind) < minURLPart {
		return nil
	}
	parts := []string{behind}
	for _, segment := range strings.FieldsFunc(behind, func(r rune) bool { return strings.ContainsRune("/?&=", r) }) {
		if len(segment) >= 2*minURLPart {
			parts = append(parts, segment)
		}
	}
	if u.User != nil {
		parts = append(parts, u.User.String())
		if password, ok := u.User.Password(); ok {
			parts = append(parts, password)
		}
	}
	return parts
}

// add adds a secret in every spelling that differs from the others.
func (r *Redactor) add(s string) {
	if len(s) < minNeedle {
		return
	}
	r.needles = append(r.needles, s, inJSON(s, true), inJSON(s, false))
	for _, escaped := range []string{url.QueryEscape(s), url.PathEscape(s), percent(s)} {
		r.needles = append(r.needles, escaped)
		if escaped != s {
			r.needles = append(r.needles, lowerEscapes(escaped))
		}
	}
	if len(s) < minBase64 {
		return
	}
	for shift := range 3 {
		core := base64Core(s, shift)
		r.needles = append(r.needles, core)
		if other := strings.NewReplacer("+", "-", "/", "_").Replace(core); other != core {
			r.needles = append(r.needles, other)
		}
	}
}

// inJSON returns s as it stands between the quotes of a JSON string.
func inJSON(s string, html bool) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	if enc.Encode(s) != nil {
		return s
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
}

// percent escapes everything but letters and digits, which is how a value becomes part of a webhook's address.
func percent(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// lowerEscapes writes %2F as %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}

// base64Core returns those characters of base64 that depend on s alone when shift bytes stand before it in its group
// of three, whatever stands before and after.
func base64Core(s string, shift int) string {
	text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), s...))
	first := [3]int{0, 2, 3}[shift]
	return text[first : (shift+len(s))*8/6]
}

// Redact returns s with every secret replaced by patchbay.Redacted.
func (r *Redactor) Redact(s string) string {
	if r == nil || len(s) < r.shortest {
		return s
	}
	for _, needle := range r.needles {
		if strings.Contains(s, needle) {
			s = strings.ReplaceAll(s, needle, patchbay.Redacted)
		}
	}
	return s
}

// longest returns the length of the longest text that Redact looks for.
func (r *Redactor) longest() int {
	if r == nil || len(r.needles) == 0 {
		return 0
	}
	return len(r.needles[0])
}

// trimPart takes the beginning of a secret off the end of a text that was cut there.
func (r *Redactor) trimPart(s string) string {
	if r == nil {
		return s
	}
	for _, needle := range r.needles {
		for n := min(len(needle), len(s)); n >= minNeedle; n-- {
			if strings.HasSuffix(s, needle[:n]) {
				s = s[:len(s)-n]
				break
			}
		}
	}
	return s
}

// value redacts a header's value, which may be a short secret as a whole.
func (r *Redactor) value(s string) string {
	if r == nil {
		return s
	}
	for _, w := range r.whole {
		if s == w {
			return patchbay.Redacted
		}
	}
	return r.Redact(s)
}

// credentialWords give the name of a header away that carries a credential.
var credentialWords = []string{
	"authoriz", "authent", "-auth-", "token", "secret", "password", "passwd", "cookie", "credential", "session",
	"api-key", "apikey", "access-key", "subscription-key", "signing-key", "private-key",
}

// isCredential reports whether a header carries a credential whatever its value is: Authorization, Cookie,
// X-TrackerToken, PRIVATE-TOKEN, X-Api-Key and the like.
func isCredential(name string) bool {
	switch name {
	case "Content-Type", "Accept", "webhook-id", "webhook-timestamp", "webhook-signature":
		return false
	}
	name = "-" + strings.ReplaceAll(strings.ToLower(name), "_", "-") + "-"
	return slices.ContainsFunc(credentialWords, func(word string) bool { return strings.Contains(name, word) })
}

// withoutUserinfo hides what stands before the @ of a URL's authority.
func withoutUserinfo(s string) string {
	if strings.IndexByte(s, '@') < 0 {
		return s
	}
	start := strings.Index(s, "//")
	if start < 0 {
		return s
	}
	start += 2
	end := start + strings.IndexAny(s[start:]+"/", "/?#")
	at := strings.LastIndexByte(s[:min(end, len(s))], '@')
	if at < start {
		return s
	}
	return s[:start] + patchbay.Redacted + s[at:]
}
