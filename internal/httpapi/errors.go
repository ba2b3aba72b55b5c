package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// problem is every error that leaves the API.
type problem struct {
	// Unauthorized is "unauthorized" with a 401 of the routes that publish, as Rainforest's callers know it.
	Unauthorized string            `json:"status,omitempty" enum:"unauthorized" doc:"With a 401 of POST /events and POST /v1/events only."`
	Message      string            `json:"error" doc:"A sentence for a person."`
	Type         patchbay.Code     `json:"type" enum:"invalid_request,unsupported_integration,misconfigured_integration,user_configuration_error,service_error,unauthorized,forbidden,not_found,conflict,payload_too_large,rate_limited,unavailable,internal" doc:"A code for a program."`
	Details      []patchbay.Detail `json:"details,omitempty" nullable:"false" doc:"What is wrong, and where."`

	status int
	header http.Header
}

// Error makes a problem an error, so that huma takes it from a handler.
func (p *problem) Error() string { return p.Message }

// GetStatus tells huma the status.
func (p *problem) GetStatus() int { return p.status }

// GetHeaders tells huma the headers.
func (p *problem) GetHeaders() http.Header { return p.header }

// problem turns any error into what a caller may see of it. What it must not see is logged here, once, under an id
// that the answer names.
func (a *api) problem(ctx context.Context, method, path string, err error) *problem {
	var e *patchbay.Error
	if !errors.As(err, &e) {
		e = &patchbay.Error{Code: patchbay.CodeInternal, Message: "something went wrong on our side", Err: err}
	}
	code, message := e.Code, e.Message
	switch status := code.HTTPStatus(); {
	case status != http.StatusInternalServerError:
	case errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrFenced):
		code, message = patchbay.CodeUnavailable, "nothing was accepted: the database cannot take writes at the moment; try again later"
		a.Log.LogAttrs(ctx, slog.LevelWarn, "refused: the database cannot take writes", slog.String("method", method),
			slog.String("path", path), slog.Any("error", err))
	case errors.Is(err, context.Canceled) && ctx.Err() != nil: // the caller is gone: nobody reads this, and nothing is wrong here
		code, message = patchbay.CodeUnavailable, "the call was given up before it was done"
	default:
		code = patchbay.CodeInternal
		id := errorID()
		message += "; what it was is in the log under " + id
		a.Log.LogAttrs(ctx, slog.LevelError, "a request failed", slog.String("id", id), slog.String("method", method),
			slog.String("path", path), slog.Any("error", err))
	}
	p := &problem{Message: message, Type: code, Details: e.Details, status: code.HTTPStatus()}
	switch code {
	case patchbay.CodeRateLimited, patchbay.CodeUnavailable:
		p.header = http.Header{"Retry-After": {strconv.Itoa(max(1, e.RetryAfter))}}
	case patchbay.CodeUnauthorized:
		p.header = http.Header{"Www-Authenticate": {`Bearer realm="patchbay"`}}
	}
	return p
}

// errorID names one failure in the answer and in the log.
func errorID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return "err_" + hex.EncodeToString(b[:])
}

// fail answers with the error.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	a.write(w, a.problem(r.Context(), r.Method, r.URL.Path, err))
}

// write answers with the problem.
func (a *api) write(w http.ResponseWriter, p *problem) {
	h := w.Header()
	for k, v := range p.header {
		h[k] = v
	}
	writeJSON(w, p.status, p)
}

// writeJSON answers with v, which cannot fail to marshal.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // recovered, logged and answered
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeJSON, noStore
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // an error means that the caller is gone
}

// recovered turns a panic into an answer, or, when one has begun, into a connection that ends.
func (a *api) recovered(w *trackingWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	id := errorID()
	a.Log.LogAttrs(r.Context(), slog.LevelError, "a request made the program panic", slog.String("id", id), slog.String("method", r.Method),
		slog.String("path", r.URL.Path), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	if w.begun {
		panic(http.ErrAbortHandler)
	}
	a.write(w, &problem{Message: "something went wrong on our side; what it was is in the log under " + id,
		Type: patchbay.CodeInternal, status: http.StatusInternalServerError})
}

// unknownRoute answers what no route takes.
func (a *api) unknownRoute(w http.ResponseWriter, r *http.Request) {
	if allow := a.allowed(r); allow != "" {
		w.Header().Set("Allow", allow)
		a.write(w, &problem{Message: clip(r.URL.Path) + " does not know the method " + clip(r.Method) + ", only " + allow,
			Type: patchbay.CodeInvalidRequest, status: http.StatusMethodNotAllowed})
		return
	}
	a.write(w, &problem{Message: "there is nothing at " + clip(r.URL.Path) + ": /openapi.json says what there is",
		Type: patchbay.CodeNotFound, status: http.StatusNotFound})
}

// fromHuma turns an error that huma found in a request into the API's form.
func fromHuma(e *huma.ErrorModel) *problem {
	p := &problem{Message: e.Detail, Type: patchbay.CodeInvalidRequest, status: humaStatus(e.Status)}
	switch p.status {
	case http.StatusRequestEntityTooLarge:
		p.Type, p.Message = patchbay.CodePayloadTooLarge, "the body is larger than this route takes"
		return p
	case http.StatusInternalServerError:
		p.Type = patchbay.CodeInternal
	}
	parts := make([]string, 0, len(e.Errors))
	for _, d := range e.Errors {
		d := detail(d)
		p.Details = append(p.Details, d)
		parts = append(parts, d.Path+": "+d.Message)
	}
	if len(parts) > 0 {
		p.Message = strings.Join(parts, "; ")
	}
	return p
}

// humaStatus: what does not validate is a 400 here, always.
func humaStatus(status int) int {
	switch status {
	case http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType, http.StatusNotAcceptable:
		return http.StatusBadRequest
	}
	return status
}

// detail translates one finding. huma's locations begin with where the value came from, which a path does not say.
func detail(d *huma.ErrorDetail) patchbay.Detail {
	where, path, _ := strings.Cut(d.Location, ".")
	message := d.Message
	if missing, ok := strings.CutPrefix(message, "expected required property "); ok {
		missing, _, _ = strings.Cut(missing, " ")
		path, message = strings.TrimPrefix(path+"."+missing, "."), "is required"
	} else if plain, ok := plainWords[message]; ok {
		message = plain
	} else if rest, ok := strings.CutPrefix(message, "expected value to be one of "); ok {
		message = "must be one of " + rest
	} else if rest, ok := strings.CutPrefix(message, "expected number "); ok {
		message = "must be a number " + rest
	} else if rest, ok := strings.CutPrefix(message, "json: cannot unmarshal "); ok { // such as 1e400, or 1e2 for a whole number
		value, rest, _ := strings.Cut(rest, " into Go struct field ")
		field, _, _ := strings.Cut(rest, " of type ")
		if _, field, ok = strings.Cut(field, "."); ok {
			path = field
		}
		message = "cannot be the " + value + ": write one that fits, without an exponent"
	}
	if path == "" {
		path = where
	}
	return patchbay.Detail{Path: clip(path), Message: message}
}

// plainWords says what huma's findings mean.
var plainWords = map[string]string{
	"unexpected property":                      "is not a field that is known here",
	"expected boolean":                         "must be true or false",
	"expected string":                          "must be text",
	"expected number":                          "must be a number",
	"expected integer":                         "must be a whole number",
	"expected array":                           "must be a list",
	"expected object":                          "must be an object",
	"invalid integer":                          "must be a whole number",
	"expected string to be RFC 3339 date-time": "must be a time such as 2026-11-22T09:30:00Z (a + in an address is written %2B)",
	"invalid boolean":                          "must be true or false",
}

// clip shortens text of a caller before it is quoted.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
