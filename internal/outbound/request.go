package outbound

import (
	"strconv"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

// maxRequestHead bounds what stands before a request's body. Few servers take more than 32 KiB.
const maxRequestHead = 64 << 10

// checkRequest refuses what would become another request than the one that was meant: line breaks and other control
// characters, and fields that say where a message ends or what a connection does.
func checkRequest(req *integration.Request) error {
	if !isToken(req.Method) {
		return unreadable("the method is not an HTTP method")
	}
	size := 0
	for i := range req.Header {
		f := &req.Header[i]
		size += len(f.Name) + len(f.Value)
		if !isToken(f.Name) {
			return unreadable("a header's name holds a character that is not allowed there")
		}
		if !isFieldValue(f.Value) {
			return unreadable("the header %s holds a line break or another control character", f.Name)
		}
		if isOurs(f.Name) {
			return unreadable("the header %s is made by the client and cannot be set", f.Name)
		}
	}
	if size > maxRequestHead {
		return unreadable("the request's header is larger than 64 KiB")
	}
	return nil
}

// isOurs recognises the fields that only the client writes.
func isOurs(name string) bool {
	switch len(name) {
	case 2, 4, 6, 7, 10, 14, 16, 17:
	default:
		return false
	}
	for _, ours := range [...]string{"te", "host", "expect", "trailer", "upgrade", "connection", "keep-alive", "content-length", "proxy-connection", "transfer-encoding"} {
		if strings.EqualFold(name, ours) {
			return true
		}
	}
	return false
}

// appendHead appends the request line and the header. via, when not nil, is a proxy that is asked for the whole URL.
func (c *Client) appendHead(b []byte, t *target, req *integration.Request, via *proxy) []byte {
	b = append(b, req.Method...)
	b = append(b, ' ')
	if via != nil {
		b = append(b, "http://"...)
		b = append(b, t.host...)
	}
	b = t.appendPath(b)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, t.host...)
	if req.Header.Get("User-Agent") == "" {
		b = append(b, "\r\nUser-Agent: "...)
		b = append(b, c.userAgent...)
	}
	if len(req.Body) > 0 || req.Method == "POST" || req.Method == "PUT" || req.Method == "PATCH" {
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(req.Body)), 10)
	}
	if t.basic != "" && req.Header.Get("Authorization") == "" {
		b = append(b, "\r\nAuthorization: "...)
		b = append(b, t.basic...)
	}
	if via != nil && via.auth != "" {
		b = append(b, "\r\nProxy-Authorization: "...)
		b = append(b, via.auth...)
	}
	for i := range req.Header {
		b = append(b, "\r\n"...)
		b = append(b, req.Header[i].Name...)
		b = append(b, ": "...)
		b = append(b, strings.Trim(req.Header[i].Value, " \t")...)
	}
	return append(b, "\r\n\r\n"...)
}

// isToken reports whether s can be a method or a field's name (RFC 9110, 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return s != ""
}

var tokenByte = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		t[byte(c)] = true
	}
	return t
}()

// isFieldValue reports whether s holds no control characters but tabs.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
