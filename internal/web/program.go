package web

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/patchbay/patchbay"
)

// failure is an error as programs get it everywhere else: whoever does not ask for a page is not answered with one.
type failure struct {
	Error   string            `json:"error"`
	Type    patchbay.Code     `json:"type"`
	Details []patchbay.Detail `json:"details,omitempty"`
}

// codeOf is the code of an answer whose page was not made of an error.
func codeOf(status int) patchbay.Code {
	for _, code := range []patchbay.Code{
		patchbay.CodeUnauthorized, patchbay.CodeForbidden, patchbay.CodeNotFound, patchbay.CodeConflict, patchbay.CodePayloadTooLarge,
		patchbay.CodeRateLimited, patchbay.CodeUnavailable, patchbay.CodeInternal,
	} {
		if code.HTTPStatus() == status {
			return code
		}
	}
	return patchbay.CodeInvalidRequest
}

// tell answers a program with what a page would have said.
func (c *call) tell(status int, p *page) error {
	f := failure{Error: p.Title, Type: c.code, Details: c.details}
	if f.Type == "" || f.Type.HTTPStatus() != status {
		f.Type, f.Details = codeOf(status), nil
	}
	switch b := p.Body.(type) {
	case *problemPage:
		f.Error = b.Text
	case *signInPage:
		f.Error = b.Error
	case *linkPage:
		f.Error = said(b.Problems, f.Error)
	case *connectPage:
		f.Error = said(b.Problems, f.Error)
	case *connectionPage:
		f.Error = said(b.Problems, f.Error)
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return patchbay.Internal("writing an error", err)
	}
	c.secure()
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(append(raw, '\n')) // an error means that nobody listens any more
	return nil
}

// said is what is wrong in one text.
func said(problems []problemLine, instead string) string {
	texts := make([]string, 0, len(problems))
	for _, p := range problems {
		texts = append(texts, p.Text)
	}
	if len(texts) == 0 {
		return instead
	}
	return strings.Join(texts, " ")
}

// wantsJSON reports whether whoever asks names JSON and no page: then a page to sign in on is of no use to them.
func wantsJSON(r *http.Request) bool {
	return !wantsHTML(r) && strings.Contains(strings.ToLower(r.Header.Get("Accept")), "json")
}
