package httpapi

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay"
)

// guard refuses, in development mode, what a web page elsewhere could send. There callers need no credentials, so
// without it any page that the developer's browser opens could publish events and read links:
//
//   - by name: a page whose host's address changes to 127.0.0.1 (DNS rebinding) still names its host;
//   - by a request across origins, which browsers mark;
//   - by a form, or a fetch that looks like one: those cannot send JSON without asking first. Our own pages have forms,
//     which they guard themselves.
//
// What partners call they prove by signing it, or by knowing an address that no page knows; they send what they like, and
// reach this machine by its public name, over a tunnel say.
func (a *api) guard(r *http.Request, page bool) error {
	if hookPath(r.URL.Path) && a.publicHost(r.Host) {
		return nil
	}
	if !loopback(r.Host) {
		return patchbay.Errorf(patchbay.CodeForbidden,
			"development mode answers only calls to this machine by a loopback name, such as localhost, not %q: run it without --dev for anything else", clip(r.Host))
	}
	reading := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	if origin := r.Header.Get("Origin"); origin != "" && !sameOrigin(origin, r.Host) && !(reading && a.mayShare(origin) && open(r.URL.Path)) {
		return patchbay.Errorf(patchbay.CodeForbidden, "development mode refuses calls from pages of other origins, such as %q", clip(origin))
	}
	if reading {
		return nil
	}
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return patchbay.Errorf(patchbay.CodeForbidden, "development mode refuses calls from pages of other sites")
	}
	if !page && !hookPath(r.URL.Path) && r.ContentLength != 0 && !jsonType(r.Header.Get("Content-Type")) {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "development mode takes JSON only, because a web page elsewhere cannot send that unasked: add the header \"Content-Type: application/json\"")
	}
	return nil
}

// open reports whether pages of the configured origins may read the path.
func open(path string) bool {
	return path == "/events" || path == "/integrations" || strings.HasPrefix(path, "/integrations/")
}

// loopback reports whether a Host header names this machine by a name that nobody else can give to it.
func loopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && ip.IsLoopback()
}

// sameOrigin reports whether the page comes from the very host and port that it calls.
func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// jsonType reports whether a Content-Type is JSON.
func jsonType(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json") || linesType(t))
}
