package outbound

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// Attempt is a Client with a memory of the last exchange, everything secret taken out of it. Its Do and Record are
// what an integration finds in its Env. It belongs to one goroutine.
type Attempt struct {
	client  *Client
	secrets *Redactor
	// more are the secrets that requests have named, besides those of the settings.
	more     []string
	moreMade *Redactor
	// also hides the credentials of the link's connection; see Hide.
	also    *Redactor
	preview bool

	request *patchbay.Request
	code    int
	body    string
}

var _ integration.HTTP = (*Attempt)(nil)

// Attempt returns the client for one attempt. secrets are the values of the link's secret settings (Spec.Secrets).
func (c *Client) Attempt(secrets []string) *Attempt { return c.AttemptWith(NewRedactor(secrets)) }

// AttemptWith is Attempt with a Redactor that is kept from attempt to attempt. nil hides only what is always hidden.
func (c *Client) AttemptWith(secrets *Redactor) *Attempt {
	return &Attempt{client: c, secrets: secrets}
}

// Preview returns an Attempt that sends nothing: it remembers each request with its body, and Do answers
// integration.ErrPreview.
func (c *Client) Preview(secrets []string) *Attempt {
	return &Attempt{client: c, secrets: NewRedactor(secrets), preview: true}
}

// Hide has what else is secret hidden from now on: the credentials of a connection.
func (a *Attempt) Hide(also *Redactor) { a.also = also }

// Do is Client.Do, remembered.
func (a *Attempt) Do(ctx context.Context, req *integration.Request) (*integration.Response, error) {
	a.learn(req.Secret)
	a.remember(req.Method, req.URL, req.Header, req.Body)
	a.code, a.body = 0, ""
	if a.preview {
		return nil, integration.ErrPreview
	}
	resp, err := a.client.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	a.code, a.body = resp.Status, a.keep(resp.Body, resp.Truncated)
	return resp, nil
}

// Record remembers an exchange by another protocol than HTTP.
func (a *Attempt) Record(x integration.Exchange) {
	a.remember(x.Method, x.URL, x.Header, x.Body)
	a.code, a.body = x.ResponseCode, a.keep(x.ResponseBody, false)
}

// Request returns what the last exchange sent, redacted; nil when nothing was sent. Its Body is set in previews only,
// and is JSON only if the integration sends JSON.
func (a *Attempt) Request() *patchbay.Request { return a.request }

// Response returns what the last exchange was answered: the status, 0 without an answer, and the first
// patchbay.MaxResponseBodyKept bytes of the body, redacted and in valid UTF-8.
func (a *Attempt) Response() (code int, body string) { return a.code, a.body }

// Redact takes the secrets of the attempt out of any text, such as a Result's error.
func (a *Attempt) Redact(s string) string {
	return a.moreMade.Redact(a.also.Redact(a.secrets.Redact(s)))
}

// Body makes a response's body fit to be kept or shown: cut, redacted, and in valid UTF-8 without null bytes.
func (a *Attempt) Body(b []byte) string { return a.keep(b, false) }

// learn takes the secrets of a request to those that are hidden from now on.
func (a *Attempt) learn(secrets []string) {
	before := len(a.more)
	for _, s := range secrets {
		if !slices.Contains(a.more, s) {
			a.more = append(a.more, s)
		}
	}
	if len(a.more) > before {
		a.moreMade = NewRedactor(a.more)
	}
}

func (a *Attempt) remember(method, url string, header integration.Header, body []byte) {
	r := &patchbay.Request{Method: method, URL: a.Redact(withoutUserinfo(url))}
	if len(header) > 0 {
		r.Headers = make(map[string]string, len(header))
	}
	for i := range header {
		name, value := header[i].Name, patchbay.Redacted
		if !isCredential(name) {
			value = strings.ToValidUTF8(a.moreMade.value(a.also.value(a.secrets.value(header[i].Value))), "\uFFFD")
		}
		if before, twice := r.Headers[name]; twice {
			value = before + ", " + value
		}
		r.Headers[name] = value
	}
	if a.preview {
		r.Body = []byte(a.Redact(string(body)))
		if r.Headers == nil {
			r.Headers = make(map[string]string, 1)
		}
		if _, given := r.Headers["User-Agent"]; !given && strings.HasPrefix(url, "http") {
			r.Headers["User-Agent"] = a.client.userAgent
		}
	}
	a.request = r
}

// keep cuts a body after it has been redacted, so that no half of a secret is left at the end. cut says that b is not
// all of it.
func (a *Attempt) keep(b []byte, cut bool) string {
	if len(b) == 0 {
		return ""
	}
	most := patchbay.MaxResponseBodyKept + max(a.secrets.longest(), a.also.longest(), a.moreMade.longest())
	s := a.Redact(string(b[:min(len(b), most)]))
	if cut || len(b) > most {
		s = a.moreMade.trimPart(a.also.trimPart(a.secrets.trimPart(s)))
	}
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	}
	if len(s) > patchbay.MaxResponseBodyKept {
		end := patchbay.MaxResponseBodyKept
		for !utf8.RuneStart(s[end]) { // not through the middle of a character
			end--
		}
		s = s[:end]
	}
	return s
}
