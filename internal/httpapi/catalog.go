package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
)

// openRoutes registers the routes that need no credentials and that pages of the configured origins may read: the
// catalog and the integrations, in the form of the systems that Patchbay replaces.
func (a *api) openRoutes() {
	d := a.document
	list := func(id, path, tag, summary string, item *huma.Schema, example any, serve http.HandlerFunc) {
		a.plain(&huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{tag}, Security: d.open(),
			Responses: map[string]*huma.Response{"200": jsonResponse("OK", &huma.Schema{Type: huma.TypeArray, Items: item}, example)}},
			a.shared(serve))
		a.router.HandleFunc("OPTIONS "+path, a.preflight)
	}
	list("list-catalog", "/events", tagTypes, "List the catalog (open)", schemaOf[catalog.Info](d), []catalog.Info{exampleCatalogEntry}, a.listCatalog)
	list("list-integrations-seed", "/integrations", tagIntegrations, "List integrations (open)", schemaOf[integrationView](d),
		[]integrationView{exampleIntegration}, a.listOpenIntegrations)
	a.plain(&huma.Operation{OperationID: "get-integration-seed", Method: http.MethodGet, Path: "/integrations/{key}", Summary: "Get an integration (open)",
		Tags: []string{tagIntegrations}, Security: d.open(), Parameters: []*huma.Param{{Name: "key", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}},
		Responses: map[string]*huma.Response{"200": jsonResponse("OK", schemaOf[integrationView](d), exampleIntegration)}},
		a.shared(a.getOpenIntegration))
	a.router.HandleFunc("OPTIONS /integrations/{key}", a.preflight)
}

// shared lets pages of the configured origins read what the handler answers, and refuses queries.
func (a *api) shared(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.shareWith(w, r)
		if r.URL.RawQuery != "" {
			if _, err := query(r); err != nil {
				a.fail(w, r, err)
				return
			}
		}
		serve(w, r)
	}
}

// preflight answers a browser that asks whether a page may read.
func (a *api) preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if a.shareWith(w, r) {
		h.Set("Access-Control-Allow-Methods", "GET, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Accept, Content-Type")
		h.Set("Access-Control-Max-Age", "600")
	}
	h.Set("Allow", "GET, HEAD, OPTIONS")
	w.WriteHeader(http.StatusNoContent)
}

// shareWith sets the headers that let the page of the request's origin read the answer, if it may.
func (a *api) shareWith(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !a.mayShare(origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	return true
}

// mayShare reports whether pages of the origin may read the open lists.
func (a *api) mayShare(origin string) bool {
	if origin == "" {
		return false
	}
	for _, allowed := range a.CORSOrigins {
		if allowed == "*" || strings.EqualFold(strings.TrimSuffix(allowed, "/"), origin) {
			return true
		}
	}
	return false
}

func (a *api) listCatalog(w http.ResponseWriter, _ *http.Request) {
	types := a.Catalog.Types()
	out := make([]catalog.Info, len(types))
	for i, t := range types {
		out[i] = t.Info()
	}
	writeJSON(w, http.StatusOK, out)
}

type (
	// ByKey is the key in a path.
	ByKey struct {
		Key string `path:"key"`
	}
	listTypesInput struct{ Paging }
	typeListOutput struct{ Body page[patchbay.EventType] }
	typeOutput     struct{ Body patchbay.EventType }
	// eventTypeInput is a patchbay.EventType as it is sent.
	eventTypeInput struct {
		Key         string                    `json:"key,omitempty" doc:"The key in the path; it may be left out."`
		Title       string                    `json:"title" doc:"A name for people." example:"Push"`
		Description string                    `json:"description,omitempty"`
		Aliases     []string                  `json:"aliases,omitempty" doc:"Other names that it is accepted under."`
		Schema      json.RawMessage           `json:"schema,omitempty" doc:"The payload's JSON Schema (2020-12); absent means any object."`
		Example     json.RawMessage           `json:"example,omitempty" doc:"A payload that satisfies the schema."`
		ScopeFrom   string                    `json:"scope_from,omitempty" doc:"A template that makes the scope from the payload when a call has none." example:"acme/repos/{{.payload.repo.id}}"`
		Message     *patchbay.MessageTemplate `json:"message,omitempty" doc:"How the event reads to a person; absent means a default made from the schema."`
		Origin      string                    `json:"origin,omitempty" doc:"Ignored: a type that was read can be sent back."`
	}
	putTypeInput struct {
		ByKey
		Body eventTypeInput
	}
	putTypeOutput struct {
		Status int
		Body   patchbay.EventType
	}
)

// eventTypeRoutes registers /v1/event-types.
func (a *api) eventTypeRoutes() {
	register(a, operation{id: "list-event-types", method: http.MethodGet, path: "/v1/event-types", tag: tagTypes, summary: "List event types",
		response: newPage([]patchbay.EventType{exampleType}, "")}, a.listTypes)
	register(a, operation{id: "get-event-type", method: http.MethodGet, path: "/v1/event-types/{key}", tag: tagTypes, summary: "Get an event type",
		description: "By its key or an alias.", response: exampleType}, a.getType)
	register(a, operation{id: "put-event-type", method: http.MethodPut, path: "/v1/event-types/{key}", tag: tagTypes, summary: "Add or replace an event type",
		description: "201 when it is new, 200 when it replaces one. Types from catalog files are read-only (409).", needs: access.Admin,
		request: exampleTypeInput, response: exampleType}, a.putType)
	put := a.document.spec.Paths["/v1/event-types/{key}"].Put
	put.Responses["201"] = put.Responses["200"]
	register(a, operation{id: "delete-event-type", method: http.MethodDelete, path: "/v1/event-types/{key}", tag: tagTypes, summary: "Delete an event type",
		description: "Types from catalog files are read-only (409).", needs: access.Admin, status: http.StatusNoContent}, a.deleteType)
}

func (a *api) listTypes(_ context.Context, _ *access.Caller, in *listTypesInput) (*typeListOutput, error) {
	p, err := pageByKey(a.Catalog.Types(), func(t **catalog.Type) string { return (*t).Key() }, cursorTypes, in.Paging)
	if err != nil {
		return nil, err
	}
	specs := make([]patchbay.EventType, len(p.Data))
	for i, t := range p.Data {
		specs[i] = *t.Spec()
	}
	return &typeListOutput{page[patchbay.EventType]{Data: specs, Next: p.Next}}, nil
}

func (a *api) getType(_ context.Context, _ *access.Caller, in *ByKey) (*typeOutput, error) {
	t := a.Catalog.Type(in.Key)
	if t == nil {
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no event type %q", clip(in.Key))
	}
	return &typeOutput{*t.Spec()}, nil
}

func (a *api) putType(ctx context.Context, c *access.Caller, in *putTypeInput) (*putTypeOutput, error) {
	b := in.Body
	if b.Key != "" && b.Key != in.Key {
		return nil, patchbay.Invalid("key", "is another one than the path's: leave it out")
	}
	t := patchbay.EventType{Key: in.Key, Title: b.Title, Description: b.Description, Aliases: b.Aliases, Schema: notNull(b.Schema),
		Example: notNull(b.Example), ScopeFrom: b.ScopeFrom, Message: b.Message}
	created, err := a.EventTypes.Put(ctx, c, t)
	if err != nil {
		return nil, err
	}
	out := &putTypeOutput{Status: http.StatusOK, Body: t}
	if stored := a.Catalog.Type(in.Key); stored != nil {
		out.Body = *stored.Spec()
	}
	if created {
		out.Status = http.StatusCreated
	}
	return out, nil
}

// notNull reads null as absent.
func notNull(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

func (a *api) deleteType(ctx context.Context, c *access.Caller, in *ByKey) (*noOutput, error) {
	return nil, a.EventTypes.Delete(ctx, c, in.Key)
}
