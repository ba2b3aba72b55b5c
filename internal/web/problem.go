package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"strconv"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// problemPage says what went wrong, and what to do.
type problemPage struct {
	Status  int
	Title   string
	Text    string
	Details []string
	// Next is where to go from here.
	Next, NextTitle string
}

// titleOf is the words above an error's sentence.
func titleOf(code patchbay.Code) string {
	switch code {
	case patchbay.CodeUnauthorized:
		return "Sign in first"
	case patchbay.CodeForbidden:
		return "You may not do that"
	case patchbay.CodeNotFound:
		return "There is nothing here"
	case patchbay.CodeConflict:
		return "Something else was faster"
	case patchbay.CodePayloadTooLarge:
		return "That is too much"
	case patchbay.CodeRateLimited:
		return "Too many at once"
	case patchbay.CodeUnavailable:
		return "Not at the moment"
	case patchbay.CodeInternal:
		return "Something went wrong on our side"
	}
	return "That did not work"
}

// explain turns any error into what a person may see of it. What they must not see is logged, once, under an id that the
// text names.
func (c *call) explain(err error) (code patchbay.Code, text string, details []patchbay.Detail, retryAfter int) {
	defer func() { c.code, c.details = code, details }()
	var e *patchbay.Error
	if !errors.As(err, &e) {
		e = &patchbay.Error{Code: patchbay.CodeInternal, Err: err}
	}
	code, text = e.Code, sentence(e.Message)
	if code != patchbay.CodeInternal && code != "" {
		return code, text, e.Details, e.RetryAfter
	}
	switch {
	case errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrFenced):
		return patchbay.CodeUnavailable, "The database cannot be used at the moment, and nothing was changed. Try again in a few seconds.", nil, 5
	case errors.Is(err, context.Canceled) && c.r.Context().Err() != nil: // the browser is gone: nobody reads this
		return patchbay.CodeUnavailable, "The page was left before it was done.", nil, 0
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	id := "err_" + hex.EncodeToString(b[:])
	c.o.Log.LogAttrs(c.r.Context(), slog.LevelError, "a page failed", slog.String("id", id), slog.String("method", c.r.Method),
		slog.String("path", c.r.URL.Path), slog.Any("error", err))
	return patchbay.CodeInternal, "It is not your fault, and trying again may help. What happened is in the log under " + id + ".", nil, 0
}

// problem answers with an error as a page.
func (c *call) problem(err error) {
	code, text, details, retryAfter := c.explain(err)
	status := code.HTTPStatus()
	body := &problemPage{Status: status, Title: titleOf(code), Text: text}
	if len(details) > 1 {
		for _, d := range details {
			body.Details = append(body.Details, d.Path+": "+d.Message)
		}
	}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		c.w.Header().Set("Retry-After", strconv.Itoa(max(1, retryAfter)))
	}
	c.showProblem(body)
}

func (c *call) showProblem(body *problemPage) {
	if body.Next == "" && c.who != nil {
		body.Next, body.NextTitle = settingsPath(c.who.Scope), "Go to your integrations"
	}
	p := &page{Title: body.Title, Narrow: true, Body: body, Note: &note{}}
	if err := c.show(body.Status, "problem", p); err != nil {
		c.o.Log.Error("the page of an error could not be drawn", "error", err)
		http.Error(c.w, body.Title+". "+body.Text, body.Status)
	}
}

// unknown answers for what no page has: another path, or another method.
func (s *Site) unknown(w http.ResponseWriter, r *http.Request) {
	c := &call{Site: s, w: w, r: r}
	if who, session, err := s.o.Sessions.Caller(r); err == nil && who != nil && session != nil {
		c.who, c.session = who, session
	}
	if r.URL.Path == path.Clean(r.URL.Path) || r.URL.Path == "/settings/" {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			probe := r.Clone(r.Context())
			probe.Method = method
			if _, pattern := s.mux.Handler(probe); pattern != "/" && pattern != "" && method != r.Method {
				w.Header().Add("Allow", method)
			}
		}
	}
	if w.Header().Get("Allow") != "" {
		c.showProblem(&problemPage{
			Status: http.StatusMethodNotAllowed, Title: "That cannot be done here",
			Text: "This address does not answer to " + clip(r.Method) + ". If a button brought you here, go back and reload the page.",
		})
		return
	}
	c.showProblem(&problemPage{
		Status: http.StatusNotFound, Title: "There is nothing here",
		Text: "The page that you wanted does not exist, or not any more. Check the address.",
	})
}

// crossOrigin answers for what a page elsewhere wanted to have done in the name of whoever is signed in here.
func (s *Site) crossOrigin(w http.ResponseWriter, r *http.Request) {
	c := &call{Site: s, w: w, r: r}
	c.showProblem(&problemPage{
		Status: http.StatusForbidden, Title: "That came from another site",
		Text: "A page of another site wanted to change something here. Nothing was changed. If you wanted it, do it on the page here.",
		Next: "/", NextTitle: "Go there",
	})
}

func clip(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return s
}
