package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// maxBody is the largest body that the routes of /v1 other than POST /v1/events take. Settings and schemas, the
// largest things there, are bounded to 64 KiB and to what an event may hold.
const maxBody = 1 << 20

// operation describes a route in the OpenAPI document, and who may use it.
type operation struct {
	id, method, path, tag string
	summary, description  string
	// needs is the permission that the caller's key must have; "" is any key.
	needs access.Permission
	// status is the one of success; 0 means 200.
	status int
	// request and response are examples, marshalled into the document.
	request, response any
	// headers describes headers of the answer.
	headers map[string]string
}

// register serves a route through huma, which reads parameters and body, checks them against the schema that it makes
// from I, and writes O.
func register[I, O any](a *api, op operation, serve func(context.Context, *access.Caller, *I) (*O, error)) {
	described := &huma.Operation{
		OperationID: op.id, Method: op.method, Path: op.path, Summary: op.summary, Description: op.description,
		Tags: []string{op.tag}, DefaultStatus: op.status, MaxBodyBytes: maxBody + 1, Security: a.document.withKey(),
		Responses:   map[string]*huma.Response{"default": a.document.errorResponse()},
		Middlewares: huma.Middlewares{a.authenticated(op.needs), a.knownQuery},
	}
	if op.needs != "" {
		described.Description = strings.TrimSpace(described.Description + "\n\nNeeds the permission `" + string(op.needs) + "`.")
	}
	huma.Register(a.document.huma, *described, func(ctx context.Context, in *I) (*O, error) {
		out, err := serve(ctx, ctx.Value(callerKey{}).(*access.Caller), in)
		if err != nil {
			return nil, a.problem(ctx, op.method, op.path, err)
		}
		return out, nil
	})
	a.document.illustrate(op)
}

// callerKey is the context's key for the *access.Caller.
type callerKey struct{}

// authenticated lets requests through whose caller has the permission.
func (a *api) authenticated(needs access.Permission) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		c, err := a.Access.Caller(r.Header)
		if err == nil && needs != "" {
			err = c.Require(needs)
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		w.Header()["Cache-Control"] = noStore
		next(huma.WithContext(ctx, context.WithValue(a.from(r, "api"), callerKey{}, c)))
	}
}

// knownQuery refuses query parameters that the route does not know.
func (a *api) knownQuery(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	if r.URL.RawQuery != "" {
		var known []string
		for _, p := range ctx.Operation().Parameters {
			if p.In == "query" {
				known = append(known, p.Name)
			}
		}
		if _, err := query(r, known...); err != nil {
			a.fail(w, r, err)
			return
		}
	}
	next(ctx)
}

// query reads the query, in which every parameter must be known and stand once.
func query(r *http.Request, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, patchbay.Errorf(patchbay.CodeInvalidRequest, "the query cannot be read: a character in it is not percent-encoded as it must be")
	}
	var wrong []patchbay.Detail
	for name, v := range values {
		switch {
		case !slices.Contains(known, name) && len(known) == 0:
			wrong = append(wrong, patchbay.Detail{Path: clip(name), Message: "is not a query parameter that this route knows; it has none"})
		case !slices.Contains(known, name):
			wrong = append(wrong, patchbay.Detail{Path: clip(name), Message: "is not a query parameter that this route knows; it has " + strings.Join(known, ", ")})
		case len(v) > 1:
			wrong = append(wrong, patchbay.Detail{Path: name, Message: "is given more than once"})
		}
	}
	if wrong == nil {
		return values, nil
	}
	slices.SortFunc(wrong, func(a, b patchbay.Detail) int { return strings.Compare(a.Path, b.Path) })
	parts := make([]string, len(wrong))
	for i, d := range wrong {
		parts[i] = d.Path + ": " + d.Message
	}
	return nil, &patchbay.Error{Code: patchbay.CodeInvalidRequest, Message: strings.Join(parts, "; "), Details: wrong}
}

// adapter connects huma to the router.
type adapter struct{ *api }

// Handle implements huma.Adapter.
func (a adapter) Handle(op *huma.Operation, serve func(huma.Context)) {
	a.router.HandleFunc(op.Method+" "+op.Path, func(w http.ResponseWriter, r *http.Request) {
		serve(plainContext{humago.NewContext(op, r, w)})
	})
}

// plainContext keeps huma to the API's own manners: JSON in and out whatever the headers say, errors in one form, and
// 400 for everything that does not validate.
type plainContext struct{ humaContext }

// humaContext has a name of its own because a struct cannot have a field and a method that are both called Context.
type humaContext huma.Context

// Unwrap lets humago find its own context.
func (c plainContext) Unwrap() huma.Context { return c.humaContext }

// Header implements huma.Context.
func (c plainContext) Header(name string) string {
	switch name {
	case "Content-Type", "Accept": // curl -d says that everything is a form
		return "application/json"
	}
	return c.humaContext.Header(name)
}

// SetHeader implements huma.Context.
func (c plainContext) SetHeader(name, value string) {
	if name == "Content-Type" && value == "application/problem+json" {
		value = "application/json"
	}
	c.humaContext.SetHeader(name, value)
}

// SetStatus implements huma.Context.
func (c plainContext) SetStatus(status int) { c.humaContext.SetStatus(humaStatus(status)) }

// ownErrors is a huma.Transformer that replaces its error by ours.
func ownErrors(_ huma.Context, _ string, v any) (any, error) {
	if e, ok := v.(*huma.ErrorModel); ok {
		return fromHuma(e), nil
	}
	return v, nil
}

// strictJSON reads bodies through rawjson's gate, and numbers of any size.
var strictJSON = huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}

func unmarshal(data []byte, v any) error {
	if err := rawjson.Check(data, 0); err != nil {
		return err
	}
	loose, ok := v.(*any)
	if !ok {
		return json.Unmarshal(data, v)
	}
	// huma checks this value against the schema before it decodes the body into its type. It knows float64 only, to
	// which 1e999, in settings that are kept as they are spelled, cannot be decoded.
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(loose); err != nil {
		return err
	}
	*loose = floats(*loose)
	return nil
}

func floats(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return math.Copysign(math.MaxFloat64, f)
		}
		return f
	case map[string]any:
		for k, e := range v {
			v[k] = floats(e)
		}
	case []any:
		for i, e := range v {
			v[i] = floats(e)
		}
	}
	return v
}
