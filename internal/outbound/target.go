package outbound

import (
	"encoding/base64"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

// maxURL bounds an address, so that one made from an event cannot fill a request with megabytes.
const maxURL = 32 << 10

// origin is where a connection leads, as the pool tells connections apart.
type origin struct {
	tls bool
	// host is the authority as it was written, in lower case and ASCII, with its port if it has one.
	host string
}

// target is a URL, taken apart.
type target struct {
	origin
	// name is the host without port and brackets, port the port to dial.
	name, port string
	// path and query are as they were written; appendPath makes them fit for a request line.
	path, query string
	forceQuery  bool
	// basic is an Authorization header's value made from user information, "" without.
	basic string
}

// parseTarget takes a URL apart. Its errors are refusals that do not repeat the URL.
func parseTarget(raw string) (target, error) {
	if len(raw) > maxURL {
		return target{}, unreadable("the address is longer than 32 KiB")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return target{}, unreadable("the address is not a URL that can be read")
	case u.Scheme != "https" && u.Scheme != "http":
		return target{}, unreadable("the address must begin with https:// or http://")
	}
	name, err := asciiHost(u.Hostname())
	if err != nil {
		return target{}, err
	}
	t := target{
		origin: origin{tls: u.Scheme == "https", host: strings.ToLower(u.Host)},
		name:   name, port: u.Port(),
		path: rawPath(raw), query: u.RawQuery, forceQuery: u.ForceQuery,
	}
	if name != strings.ToLower(u.Hostname()) { // it was not ASCII, or had a zone
		t.host = name
		if t.port != "" {
			t.host += ":" + t.port
		}
	}
	if t.port == "" {
		t.port = "80"
		if t.tls {
			t.port = "443"
		}
	}
	if t.path == "" {
		t.path = "/"
	}
	if u.User != nil {
		password, _ := u.User.Password()
		t.basic = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	return t, nil
}

// asciiHost returns a host in lower case and in the form that is resolved: international names in their xn-- spelling.
// An address comes back as it is.
func asciiHost(host string) (string, error) {
	if strings.IndexByte(host, ':') >= 0 {
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" {
			return "", unreadable("the address in brackets is not an IPv6 address")
		}
		return strings.ToLower(host), nil
	}
	for i := range len(host) {
		if host[i] >= 0x80 {
			ascii, err := idna.Lookup.ToASCII(host)
			if err != nil {
				return "", unreadable("the host is not a name that can be looked up")
			}
			host = ascii
			break
		}
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host, nil
	}
	return strings.ToLower(host), checkName(host)
}

// rawPath returns the path as it was written. url.URL.EscapedPath would decode %2F and %2E when anything else in the
// path is not escaped as it should be, and a value of an event could leave its segment that way.
func rawPath(raw string) string {
	behind := raw[strings.Index(raw, "//")+2:]
	start := strings.IndexAny(behind, "/?#")
	if start < 0 || behind[start] != '/' {
		return ""
	}
	path := behind[start:]
	if end := strings.IndexAny(path, "?#"); end >= 0 {
		path = path[:end]
	}
	return path
}

// appendPath appends what stands in the request line.
func (t *target) appendPath(b []byte) []byte {
	b = appendEscaped(b, t.path)
	if t.query != "" || t.forceQuery {
		b = append(b, '?')
		b = appendEscaped(b, t.query)
	}
	return b
}

// appendEscaped escapes what cannot stand in a URI, such as spaces and bytes above ASCII: in a request line they
// would begin something else.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; uriByte[c] {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

var uriByte = func() (t [256]bool) {
	for _, c := range "%-._~:/?@!$&'()*+,;=[]0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		t[byte(c)] = true
	}
	return t
}()
