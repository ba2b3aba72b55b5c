package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
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
	list("list-catalog", "/events", tagTypes, "List the catalog (open)", schemaOf[catalogEntry](d), []catalogEntry{exampleCatalogEntry}, a.listCatalog)
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

// catalogEntry is an event type as GET /events lists it.
type catalogEntry struct {
	Key         string `json:"key"`
	Title       string `json:"title"`
	Description string `json:"description"`
	// Payload names the payload's keys, and below each the keys of the objects there.
	Payload keyLists        `json:"payload" doc:"The payload's keys, and for each the keys of the object, or of the objects in the list, that stands there."`
	Schema  json.RawMessage `json:"schema" doc:"The payload's JSON Schema (2020-12)."`
	Example json.RawMessage `json:"example" doc:"A payload."`
}

func (a *api) listCatalog(w http.ResponseWriter, _ *http.Request) {
	types := a.Catalog.Types()
	out := make([]catalogEntry, len(types))
	for i := range types {
		out[i] = newCatalogEntry(&types[i])
	}
	writeJSON(w, http.StatusOK, out)
}

func newCatalogEntry(t *patchbay.EventType) catalogEntry {
	e := catalogEntry{Key: t.Key, Title: t.Title, Description: t.Description, Payload: payloadKeys(t.Schema), Schema: t.Schema, Example: t.Example}
	if len(e.Schema) == 0 {
		e.Schema = json.RawMessage(`{"type":"object"}`)
	}
	if len(e.Example) == 0 {
		e.Example = json.RawMessage(`{}`)
	}
	return e
}

// keyLists is an object of lists of strings that keeps the order of its keys, which is the order in which an author
// wrote the schema.
type keyLists []keyList

type keyList struct {
	key  string
	keys []string
}

// MarshalJSON writes the object.
func (l keyLists) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range l {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(e.key)
		if err != nil {
			return nil, err
		}
		keys, err := json.Marshal(append([]string{}, e.keys...))
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(keys)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Schema implements huma.SchemaProvider.
func (keyLists) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}}}
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
	p, err := pageByKey(a.Catalog.Types(), func(t *patchbay.EventType) string { return t.Key }, cursorTypes, in.Paging)
	return &typeListOutput{p}, err
}

func (a *api) getType(_ context.Context, _ *access.Caller, in *ByKey) (*typeOutput, error) {
	t, ok := a.Catalog.Type(in.Key)
	if !ok {
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no event type %q", clip(in.Key))
	}
	return &typeOutput{*t}, nil
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
	if stored, ok := a.Catalog.Type(in.Key); ok {
		out.Body = *stored
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
