package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/cluster"
	"github.com/patchbay/patchbay/internal/connect"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/inbound"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/stats"
)

// document is the OpenAPI document in the making.
type document struct {
	huma huma.API
	spec *huma.OpenAPI
	// json is the finished document.
	json []byte
}

const apiDescription = `The product says what happened, once; Patchbay gets it to every tool its customers use.

Bodies are JSON in UTF-8. Every error is ` + "`{\"error\": \"<sentence>\", \"type\": \"<code>\", \"details\": […]}`" + `; what does not
validate is a 400. Lists are ` + "`{\"data\": […], \"next\": \"<cursor>\"|null}`" + `: pass ` + "`next`" + ` back as ` + "`cursor`" + ` to
go on. Times are RFC 3339 in UTC. Every scope in a request must lie at or below the key's (403); what lies outside of it
does not exist (404).`

func newDocument(a *api) *document {
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	registry.RegisterTypeAlias(reflect.TypeFor[patchbay.Duration](), reflect.TypeFor[durationSchema]())
	registry.RegisterTypeAlias(reflect.TypeFor[patchbay.DeliveryState](), reflect.TypeFor[deliveryStateSchema]())
	registry.RegisterTypeAlias(reflect.TypeFor[patchbay.LinkState](), reflect.TypeFor[linkStateSchema]())
	registry.RegisterTypeAlias(reflect.TypeFor[catalog.Keys](), reflect.TypeFor[payloadKeysSchema]())
	registry.RegisterTypeAlias(reflect.TypeFor[patchbay.Verdict](), reflect.TypeFor[verdictSchema]())
	spec := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "Patchbay", Version: version(a.Version), Description: apiDescription,
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}},
		Components: &huma.Components{Schemas: registry, SecuritySchemes: map[string]*huma.SecurityScheme{
			"key":       {Type: "http", Scheme: "bearer", Description: "An API key."},
			"signature": {Type: "apiKey", In: "header", Name: access.SignatureHeader, Description: "The hex HMAC-SHA256 of the raw body with the signing key; with `" + access.TimestampHeader + "` (Unix seconds, within 5 minutes) of `<timestamp>.<body>`. Without the timestamp a captured call can be repeated."},
		}},
		Tags: []*huma.Tag{
			{Name: tagEvents, Description: "Say what happened, and see what became of it."},
			{Name: tagTypes, Description: "The catalog: what can happen."},
			{Name: tagIntegrations, Description: "The tools that events can go to."},
			{Name: tagLinks, Description: "These events, in this scope, go to that integration with these settings."},
			{Name: tagConnections, Description: "Identities at partners, which links at or below their scope may use."},
			{Name: tagDeliveries, Description: "One event on its way over one link, with its attempts."},
			{Name: tagHooks, Description: "What partners send, and what became of it."},
			{Name: tagStats, Description: "How it went, and what is going on."},
			{Name: tagJobs, Description: "Things that are done to many deliveries or events, and erasing."},
			{Name: tagKeys, Description: "Who may call, and what they may do."},
			{Name: tagPortal, Description: "Pages on which a customer sets up links, for one scope and one user."},
			{Name: tagOperators, Description: "For those who run the installation."},
		},
	}
	if a.PublicURL != "" {
		spec.Servers = []*huma.Server{{URL: a.PublicURL}}
	}
	d := &document{spec: spec}
	d.huma = huma.NewAPI(huma.Config{
		OpenAPI: spec, Formats: map[string]huma.Format{"application/json": strictJSON, "json": strictJSON}, DefaultFormat: "application/json",
		Transformers: []huma.Transformer{ownErrors},
	}, adapter{a})
	return d
}

// The tags that group routes.
const (
	tagEvents       = "Events"
	tagTypes        = "Event types"
	tagIntegrations = "Integrations"
	tagLinks        = "Links"
	tagConnections  = "Connections"
	tagDeliveries   = "Deliveries"
	tagHooks        = "Hooks"
	tagStats        = "Statistics"
	tagKeys         = "Keys"
	tagPortal       = "Portal"
	tagJobs         = "Jobs"
	tagOperators    = "Operators"
)

func version(v string) string {
	if v == "" {
		return "development"
	}
	return v
}

// names gives types of other packages the names that people know them by.
var names = map[reflect.Type]string{
	reflect.TypeFor[links.View]():               "Link",
	reflect.TypeFor[links.Input]():              "LinkInput",
	reflect.TypeFor[links.Health]():             "LinkHealth",
	reflect.TypeFor[links.TestResult]():         "TestResult",
	reflect.TypeFor[connect.View]():             "Connection",
	reflect.TypeFor[connect.Input]():            "ConnectionInput",
	reflect.TypeFor[deliver.View]():             "Delivery",
	reflect.TypeFor[deliver.AttemptView]():      "Attempt",
	reflect.TypeFor[inbound.View]():             "Hook",
	reflect.TypeFor[deliver.RequestView]():      "AttemptRequest",
	reflect.TypeFor[ingest.EventView]():         "EventWithDeliveries",
	reflect.TypeFor[ingest.Result]():            "InlineResult",
	reflect.TypeFor[access.KeyView]():           "Key",
	reflect.TypeFor[integration.SettingInfo]():  "Setting",
	reflect.TypeFor[integration.Option]():       "SettingOption",
	reflect.TypeFor[patchbay.Detail]():          "ErrorDetail",
	reflect.TypeFor[problem]():                  "Error",
	reflect.TypeFor[patchbay.URL]():             "MessageLink",
	reflect.TypeFor[patchbay.Field]():           "MessageField",
	reflect.TypeFor[patchbay.Actor]():           "MessageActor",
	reflect.TypeFor[patchbay.FieldTemplate]():   "MessageFieldTemplate",
	reflect.TypeFor[patchbay.LinkTemplate]():    "MessageLinkTemplate",
	reflect.TypeFor[patchbay.ActorTemplate]():   "MessageActorTemplate",
	reflect.TypeFor[integrationView]():          "Integration",
	reflect.TypeFor[catalog.Info]():             "CatalogEntry",
	reflect.TypeFor[patchbay.MessageTemplate](): "MessageTemplate",
	reflect.TypeFor[patchbay.MessageOverride](): "MessageOverride",
	reflect.TypeFor[eventInput]():               "EventInput",
	reflect.TypeFor[inlineIntegration]():        "InlineIntegration",
	reflect.TypeFor[acceptedAnswer]():           "EventAccepted",
	reflect.TypeFor[inlineAnswer]():             "EventSentInline",
	reflect.TypeFor[inlineFailure]():            "InlineError",
	reflect.TypeFor[batchAccepted]():            "BatchAccepted",
	reflect.TypeFor[batchError]():               "BatchError",
	reflect.TypeFor[eventTypeInput]():           "EventTypeInput",
	reflect.TypeFor[keyInput]():                 "KeyInput",
	reflect.TypeFor[statsAnswer]():              "Stats",
	reflect.TypeFor[stats.Point]():              "StatsPoint",
	reflect.TypeFor[stats.Sum]():                "StatsSum",
	reflect.TypeFor[stats.Counts]():             "StatsCounts",
	reflect.TypeFor[stats.Quantiles]():          "LatencyQuantiles",
	reflect.TypeFor[stats.Now]():                "StatsNow",
	reflect.TypeFor[stats.Queue]():              "StatsQueue",
	reflect.TypeFor[stats.Lanes]():              "StatsLanes",
	reflect.TypeFor[stats.Database]():           "StatsDatabase",
	reflect.TypeFor[stats.Backlog]():            "StatsBacklog",
	reflect.TypeFor[nodesAnswer]():              "NodeList",
	reflect.TypeFor[cluster.NodeView]():         "Node",
	reflect.TypeFor[readyAnswer]():              "Ready",
	reflect.TypeFor[settingsInput]():            "IntegrationTest",
	reflect.TypeFor[inlineConsumer]():           "OAuthConsumer",
	reflect.TypeFor[huma.ErrorModel]():          unusedError,
	reflect.TypeFor[huma.ErrorDetail]():         unusedDetail,
	reflect.TypeFor[healthAnswer]():             "Health",
}

// huma registers its own errors for every route; none is ever sent, so they are taken out again.
const (
	unusedError  = "UnusedError"
	unusedDetail = "UnusedErrorDetail"
)

// schemaName names a type in the document.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if name, ok := names[t]; ok {
		return name
	}
	if strings.HasPrefix(t.Name(), "page[") {
		return schemaName(t.Field(0).Type.Elem(), hint) + "List"
	}
	return huma.DefaultSchemaNamer(t, hint)
}

// withKey says that a route needs an API key.
func (d *document) withKey() []map[string][]string { return []map[string][]string{{"key": {}}} }

// open says that a route needs nothing.
func (d *document) open() []map[string][]string { return []map[string][]string{{}} }

// schemaOf returns a reference to the schema of T.
func schemaOf[T any](d *document) *huma.Schema {
	return d.spec.Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}

func (d *document) errorResponse() *huma.Response {
	return jsonResponse("An error.", schemaOf[problem](d), nil)
}

func jsonResponse(description string, schema *huma.Schema, example any) *huma.Response {
	return &huma.Response{Description: description, Content: map[string]*huma.MediaType{
		"application/json": {Schema: schema, Example: generic(example)}}}
}

func jsonBody(description string, schema *huma.Schema, examples map[string]*huma.Example) *huma.RequestBody {
	return &huma.RequestBody{Description: description, Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: schema, Examples: examples}}}
}

// plain describes a route that is not served by huma, and registers its handler.
func (a *api) plain(op *huma.Operation, serve http.HandlerFunc) {
	if op.Responses["default"] == nil {
		op.Responses["default"] = a.document.errorResponse()
	}
	a.document.spec.AddOperation(op)
	a.router.HandleFunc(op.Method+" "+op.Path, serve)
}

// illustrate puts a route's examples and headers into the document.
func (d *document) illustrate(op operation) {
	described := operationOf(d.spec.Paths[op.path], op.method)
	if op.request != nil {
		described.RequestBody.Content["application/json"].Example = generic(op.request)
	}
	status := op.status
	if status == 0 {
		status = http.StatusOK
	}
	answer := described.Responses[strconv.Itoa(status)]
	if op.response != nil {
		answer.Content["application/json"].Example = generic(op.response)
	}
	for name, about := range op.headers {
		if answer.Headers == nil {
			answer.Headers = map[string]*huma.Header{}
		}
		answer.Headers[name] = &huma.Header{Description: about, Schema: &huma.Schema{Type: huma.TypeString}}
	}
}

func operationOf(p *huma.PathItem, method string) *huma.Operation {
	switch method {
	case http.MethodGet:
		return p.Get
	case http.MethodPost:
		return p.Post
	case http.MethodPut:
		return p.Put
	case http.MethodPatch:
		return p.Patch
	case http.MethodDelete:
		return p.Delete
	}
	return nil
}

// generic turns a value into what its JSON is, so that an example reads in the document as it would on the wire.
func generic(v any) any {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("httpapi: an example that is not JSON: %v", err))
	}
	return json.RawMessage(b)
}

// finish renders the document.
func (d *document) finish() error {
	schemas := d.spec.Components.Schemas
	delete(schemas.Map(), unusedError)
	delete(schemas.Map(), unusedDetail)
	for name, s := range schemas.Map() {
		allowNull(s, schemas.TypeFromRef("#/components/schemas/"+name))
	}
	b, err := json.Marshal(d.spec)
	if err != nil {
		return fmt.Errorf("making the OpenAPI document: %w", err)
	}
	d.json = b
	return nil
}

// allowNull says in the schema of a struct that pointers to structs may be null, which huma cannot.
func allowNull(s *huma.Schema, t reflect.Type) {
	if t == nil || t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := s.Properties[name]
		if p == nil || p.Ref == "" || f.Type.Kind() != reflect.Pointer || strings.Contains(options, "omit") {
			continue
		}
		s.Properties[name] = &huma.Schema{AnyOf: []*huma.Schema{{Ref: p.Ref}, {Type: "null"}}, Description: p.Description}
	}
}

// Schemas of types whose JSON is not what their Go type says, or that have few values.
type (
	durationSchema      struct{}
	deliveryStateSchema struct{}
	linkStateSchema     struct{}
	verdictSchema       struct{}
	payloadKeysSchema   struct{}
)

// Schema implements huma.SchemaProvider.
func (durationSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Description: `Text such as "30s" or "2h30m", or a number of seconds.`,
		OneOf: []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeNumber}}, Examples: []any{"30s"}}
}

// Schema implements huma.SchemaProvider.
func (deliveryStateSchema) Schema(huma.Registry) *huma.Schema {
	return enum(patchbay.DeliveryPending, patchbay.DeliveryHeld, patchbay.DeliverySucceeded, patchbay.DeliveryFailed,
		patchbay.DeliveryCancelled, patchbay.DeliverySkipped)
}

// Schema implements huma.SchemaProvider.
func (linkStateSchema) Schema(huma.Registry) *huma.Schema {
	return enum(patchbay.LinkActive, patchbay.LinkPaused, patchbay.LinkDisabled, patchbay.LinkAttaching, patchbay.LinkDetaching)
}

// Schema implements huma.SchemaProvider.
func (verdictSchema) Schema(huma.Registry) *huma.Schema {
	return enum(patchbay.VerdictDelivered, patchbay.VerdictRetry, patchbay.VerdictRejected, patchbay.VerdictAuthExpired)
}

// Schema implements huma.SchemaProvider.
func (payloadKeysSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}},
		Description: "The payload's keys, and for each the keys of the object, or of the objects in the list, that stands there."}
}

func enum[T ~string](values ...T) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, v := range values {
		s.Enum = append(s.Enum, string(v))
	}
	return s
}
