package integration

import (
	"context"
	"strings"
	"time"
)

// HTTP makes one request. Its errors are sentences without secrets (no address's path or query is in them).
type HTTP interface {
	// Do sends the request and returns the whole answer, whatever its status. The answer's body is cut at
	// MaxResponse (or Request.Limit), and Truncated says so. It does not follow redirects. It keeps nothing of the
	// request after it returns.
	Do(ctx context.Context, req *Request) (*Response, error)
}

// MaxResponse is how many bytes of an answer an integration sees.
const MaxResponse = 1 << 20

// Request is a request to a partner.
type Request struct {
	Method string
	URL    string
	// Header holds no Host, Content-Length, Connection or User-Agent; those are made.
	Header Header
	Body   []byte
	// Secret lists the parts of URL, header and body that an attempt's record must not show. Credentials in
	// Authorization headers, user information in URLs and the values of secret settings are always hidden.
	Secret []string
	// Limit, when positive, is how many bytes of the answer's body are wanted, up to MaxResponse. An integration that
	// only looks at the status should say so: whoever answers decides how much memory the rest takes.
	Limit int
}

// Response is a partner's answer.
type Response struct {
	Status    int
	Header    Header
	Body      []byte
	Truncated bool
	// RetryAfter is what Retry-After asks for, already turned into a duration, 0 when absent or unreadable.
	RetryAfter time.Duration
}

// Header is an ordered list of header fields.
type Header []HeaderField

// HeaderField is one line of a header.
type HeaderField struct{ Name, Value string }

// Add appends a field.
func (h *Header) Add(name, value string) { *h = append(*h, HeaderField{name, value}) }

// Set replaces the first field of that name, or appends one.
func (h *Header) Set(name, value string) {
	for i := range *h {
		if strings.EqualFold((*h)[i].Name, name) {
			(*h)[i].Value = value
			return
		}
	}
	h.Add(name, value)
}

// Get returns the first value of a field, "" when absent.
func (h Header) Get(name string) string {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return h[i].Value
		}
	}
	return ""
}
