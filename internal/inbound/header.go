package inbound

import (
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay/patchbay/integration/signature"
)

const (
	// maxKeptHeader bounds what is kept of a call's header, and of its query.
	maxKeptHeader = 16 << 10
	// maxShown bounds a partner's word for what it sends, and the identifier of an account.
	maxShown = 255
)

// hopByHop are about the connection, not about the call.
var hopByHop = []string{
	"Accept-Encoding", "Connection", "Content-Length", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// revealing are parts of the names of fields that hold credentials.
var revealing = []string{"auth", "cookie", "token", "secret", "password", "passwd", "credential", "session", "signature", "api-key", "apikey", "api_key", "hmac", "jwt"}

// credential reports whether a field of this name may hold a credential. What is kept can be shown to whoever may see the
// link, so one field too many is left out rather than one too few.
func credential(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(revealing, func(part string) bool { return strings.Contains(name, part) }) || name == "key" || name == "sig" || name == "pass"
}

// keptHeader is what is kept of a call's header: what its integration may need for reading it again, and no credentials.
func keptHeader(header http.Header, scheme signature.Scheme) map[string][]string {
	kept, size := map[string][]string{}, 0
	names := make([]string, 0, len(header))
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names) // what does not fit is always the same
	for _, name := range names {
		if slices.Contains(hopByHop, name) || credential(name) || strings.EqualFold(name, scheme.Header) {
			continue
		}
		values := header[name]
		for _, v := range values {
			size += len(name) + len(v)
		}
		if size > maxKeptHeader {
			break
		}
		kept[name] = slices.Clone(values)
	}
	return kept
}

// clip shortens what a partner says to what is kept.
func clip(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
	if len(s) > maxShown {
		s = strings.ToValidUTF8(s[:maxShown], "")
	}
	return s
}
