package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/ingest"
)

// eventRoutes registers the routes of events.
func (a *api) eventRoutes() {
	a.plain(a.publishing("publish-event-seed", "/events", "Publish an event (short path)", false), a.publish)
	a.plain(a.publishing("publish-event", "/v1/events", "Publish an event", true), a.publishV1)
	register(a, operation{id: "list-events", method: http.MethodGet, path: "/v1/events", tag: tagEvents, summary: "List events",
		description: "The newest first.", needs: access.Read, response: newPage([]patchbay.Event{exampleEvent}, idCursor(cursorEvents, int64(exampleEvent.ID)))},
		a.listEvents)
	register(a, operation{id: "get-event", method: http.MethodGet, path: "/v1/events/{id}", tag: tagEvents, summary: "Get an event with its deliveries",
		needs: access.Read, response: exampleEventView}, a.getEvent)
	register(a, operation{id: "replay-event", method: http.MethodPost, path: "/v1/events/{id}/replay", tag: tagEvents, summary: "Replay an event",
		description: "Sends it again, to the links that match now. Receivers know it by its first identifier.", needs: access.Manage,
		response: exampleEventView}, a.replayEvent)
}

// publish answers POST /events.
func (a *api) publish(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery != "" {
		if _, err := query(r); err != nil {
			a.fail(w, r, err)
			return
		}
	}
	a.accept(w, r)
}

// publishV1 answers POST /v1/events, which can also only say what it would do.
func (a *api) publishV1(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery != "" {
		q, err := query(r, "dry_run")
		if err != nil {
			a.fail(w, r, err)
			return
		}
		if text := q.Get("dry_run"); q.Has("dry_run") {
			switch dry, err := strconv.ParseBool(text); {
			case err != nil:
				a.fail(w, r, patchbay.Invalid("dry_run", "must be true or false"))
				return
			case dry:
				a.dryRun(w, r)
				return
			}
		}
	}
	a.accept(w, r)
}

// accept hands a call to Ingest and writes its answer.
func (a *api) accept(w http.ResponseWriter, r *http.Request) {
	body := bodies.Get().(*buffer)
	defer body.release()
	c, err := a.publisher(w, r, body)
	if err != nil {
		a.refuseEvent(w, r, err)
		return
	}
	key, err := idempotencyKey(r.Header)
	if err != nil {
		a.refuseEvent(w, r, err)
		return
	}
	start := time.Now()
	answer, err := a.Ingest.Accept(r.Context(), c, body.bytes, key)
	a.Metrics.AcceptTook(time.Since(start))
	if err != nil {
		a.refuseEvent(w, r, err)
		return
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeJSON, noStore
	if answer.Replayed {
		h["Idempotent-Replayed"] = headerTrue
	}
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body) // an error means that the caller is gone; the event is kept
}

// dryRun answers with what accept would do.
func (a *api) dryRun(w http.ResponseWriter, r *http.Request) {
	body := bodies.Get().(*buffer)
	defer body.release()
	c, err := a.publisher(w, r, body)
	if err != nil {
		a.refuseEvent(w, r, err)
		return
	}
	if err := c.Require(access.Read); err != nil { // the answer shows links
		a.fail(w, r, err)
		return
	}
	out, err := a.Ingest.DryRun(r.Context(), c, body.bytes)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, out)
}

// publisher reads the body and says who sent it. A caller without credentials is refused before its body is read.
func (a *api) publisher(w http.ResponseWriter, r *http.Request, body *buffer) (*access.Caller, error) {
	if a.Access.Signed(r.Header) {
		if err := body.read(w, r); err != nil {
			return nil, err
		}
		return a.Access.Signature(r.Header, body.bytes)
	}
	c, err := a.Access.Caller(r.Header)
	if err != nil {
		return nil, err
	}
	return c, body.read(w, r)
}

// refuseEvent answers a call that published nothing. A 401 has the field that Rainforest's callers look at.
func (a *api) refuseEvent(w http.ResponseWriter, r *http.Request, err error) {
	p := a.problem(r.Context(), r.Method, r.URL.Path, err)
	if p.status == http.StatusUnauthorized {
		p.Unauthorized = "unauthorized"
	}
	a.Metrics.EventRefused(p.Type)
	a.write(w, p)
}

func idempotencyKey(h http.Header) (string, error) {
	switch v := h["Idempotency-Key"]; {
	case len(v) == 0:
		return "", nil
	case len(v) > 1:
		return "", patchbay.Invalid("Idempotency-Key", "is given more than once")
	case v[0] == "":
		return "", patchbay.Invalid("Idempotency-Key", "is empty: leave it out, or send 1–%d printable ASCII characters", patchbay.MaxKeyLength)
	default:
		return v[0], nil
	}
}

const (
	// bufferStart is what a buffer begins with: nearly every event fits.
	bufferStart = 8 << 10
	// bufferKept is the largest buffer that is used again; larger ones, which few events need, are let go.
	bufferKept = 64 << 10
)

// buffer holds one body while it is taken in.
type buffer struct{ bytes []byte }

var bodies = sync.Pool{New: func() any { return &buffer{make([]byte, 0, bufferStart)} }}

func (b *buffer) release() {
	if cap(b.bytes) <= bufferKept {
		b.bytes = b.bytes[:0]
		bodies.Put(b)
	}
}

// read reads the whole body. Memory grows with what has come, not with what a header announces.
func (b *buffer) read(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength > patchbay.MaxEventBody {
		return tooLarge(w)
	}
	for {
		if len(b.bytes) == cap(b.bytes) {
			b.bytes = slices.Grow(b.bytes, len(b.bytes))
		}
		n, err := r.Body.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		switch {
		case len(b.bytes) > patchbay.MaxEventBody:
			return tooLarge(w)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &patchbay.Error{Code: patchbay.CodeInvalidRequest, Message: "the body ended before all of it had come", Err: err}
		}
	}
}

// tooLarge also ends the connection, so that the rest of the body need not be read.
func tooLarge(w http.ResponseWriter) error {
	w.Header()["Connection"] = closeHeader
	return patchbay.Errorf(patchbay.CodePayloadTooLarge, "an event may take at most %d bytes", patchbay.MaxEventBody)
}

type (
	listEventsInput struct {
		Paging
		Type  string `query:"type" doc:"A key, an alias or a pattern." example:"repo.*"`
		Scope string `query:"scope" doc:"Events at or below it, or with one such in also." example:"acme/repos"`
		Since string `query:"since" format:"date-time" doc:"Received at or after it."`
		Until string `query:"until" format:"date-time" doc:"Received before it."`
	}
	// ByID is the identifier in a path.
	ByID struct {
		ID string `path:"id"`
	}
	eventListOutput struct{ Body page[patchbay.Event] }
	eventOutput     struct{ Body ingest.EventView }
)

func (a *api) listEvents(ctx context.Context, c *access.Caller, in *listEventsInput) (*eventListOutput, error) {
	q := ingest.EventQuery{Type: in.Type, Limit: in.Limit}
	var err error
	if q.Scope, err = reachable(c, in.Scope); err != nil {
		return nil, err
	}
	if q.Since, err = timeOf("since", in.Since); err != nil {
		return nil, err
	}
	if q.Until, err = timeOf("until", in.Until); err != nil {
		return nil, err
	}
	before, err := in.idOf(cursorEvents)
	if err != nil {
		return nil, err
	}
	q.Before = patchbay.EventID(before)
	events, more, err := a.Ingest.Events(ctx, c, q)
	if err != nil {
		return nil, err
	}
	next := ""
	if more && len(events) > 0 {
		next = idCursor(cursorEvents, int64(events[len(events)-1].ID))
	}
	return &eventListOutput{newPage(events, next)}, nil
}

// reachable reads the scope that a list is asked for. Without one it is the caller's own.
func reachable(c *access.Caller, text string) (patchbay.Scope, error) {
	if text == "" {
		return c.Scope, nil
	}
	s, err := scopeOf(text)
	if err != nil {
		return "", err
	}
	return s, c.Reach(s)
}

func (a *api) getEvent(ctx context.Context, c *access.Caller, in *ByID) (*eventOutput, error) {
	return eventBy(ctx, c, in.ID, a.Ingest.Event)
}

func (a *api) replayEvent(ctx context.Context, c *access.Caller, in *ByID) (*eventOutput, error) {
	return eventBy(ctx, c, in.ID, a.Ingest.Replay)
}

func eventBy(ctx context.Context, c *access.Caller, id string,
	get func(context.Context, *access.Caller, patchbay.EventID) (*ingest.EventView, error)) (*eventOutput, error) {
	var parsed patchbay.EventID
	if err := pathID("event", id, &parsed); err != nil {
		return nil, err
	}
	v, err := get(ctx, c, parsed)
	if err != nil {
		return nil, err
	}
	return &eventOutput{*v}, nil
}

// The types below only describe POST /events; Ingest reads the body itself.
type (
	eventInput struct {
		EventType     string              `json:"event_type,omitempty" doc:"The event type's key or an alias; required, under one of its three names." example:"repo.push"`
		EventName     string              `json:"event_name,omitempty" doc:"Another name of event_type."`
		Event         string              `json:"event,omitempty" doc:"Another name of event_type."`
		Payload       map[string]any      `json:"payload,omitempty" doc:"What happened. Its bytes reach the receivers as they are."`
		Scope         string              `json:"scope,omitempty" doc:"Where it happened." example:"acme/repos/1"`
		Also          []string            `json:"also,omitempty" maxItems:"7" doc:"Further scopes of the same tenant."`
		ID            string              `json:"id,omitempty" maxLength:"128" doc:"The caller's own identifier: the same one again gets the same answer and sends nothing twice. Or the header Idempotency-Key."`
		OccurredAt    *time.Time          `json:"occurred_at,omitempty"`
		Actor         map[string]any      `json:"actor,omitempty" doc:"Who did it; name, avatar and url are understood."`
		Integrations  []inlineIntegration `json:"integrations,omitempty" doc:"Sends the event to these at once, before the answer, instead of over links. Nothing about their settings is kept."`
		OAuthConsumer *inlineConsumer     `json:"oauth_consumer,omitempty" doc:"Signs requests of integrations that sign with OAuth 1.0a; with integrations only."`
	}
	inlineIntegration struct {
		Key      string          `json:"key" example:"slack"`
		Settings json.RawMessage `json:"settings,omitempty" doc:"An object, or a list of {\"key\", \"value\"}."`
	}
	inlineConsumer struct {
		Key     string            `json:"key"`
		Secrets map[string]string `json:"secrets,omitempty" doc:"By signature method; a PEM private key for RSA-SHA1."`
	}
	acceptedAnswer struct {
		Status     string           `json:"status" enum:"ok"`
		ID         patchbay.EventID `json:"id"`
		Deliveries int              `json:"deliveries" doc:"How many links matched, held ones included."`
	}
	inlineAnswer struct {
		Status  string           `json:"status" enum:"ok"`
		ID      patchbay.EventID `json:"id,omitzero"`
		Results []ingest.Result  `json:"results" nullable:"false"`
	}
	inlineFailure struct {
		Message      string           `json:"error"`
		Type         patchbay.Code    `json:"type"`
		ResponseCode int              `json:"failed_response_code,omitempty"`
		ResponseBody string           `json:"failed_response_body,omitempty"`
		ID           patchbay.EventID `json:"id,omitzero"`
		Results      []ingest.Result  `json:"results" nullable:"false"`
	}
)

// publishing describes the two routes that publish.
func (a *api) publishing(id, path, summary string, dry bool) *huma.Operation {
	d := a.document
	answers := &huma.Schema{AnyOf: []*huma.Schema{schemaOf[acceptedAnswer](d), schemaOf[inlineAnswer](d)}}
	accepted := jsonResponse("The event is durable. With integrations: it was sent to each.", answers, nil)
	accepted.Content["application/json"].Examples = map[string]*huma.Example{
		"routed": {Summary: "Over links", Value: generic(exampleAccepted)},
		"inline": {Summary: "Inline", Value: generic(exampleInline)},
	}
	accepted.Headers = map[string]*huma.Header{"Idempotent-Replayed": {Description: "true when a remembered key answered.", Schema: &huma.Schema{Type: huma.TypeString}}}
	op := &huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: path, Summary: summary, Tags: []string{tagEvents},
		Description: "Commits the event together with its deliveries, then answers. With `integrations`, sends it to each of them once, before the answer.\n\n" +
			"Needs the permission `publish`, with `integrations` the permission `inline`; or X-Signature.",
		Security: []map[string][]string{{"key": {}}, {"signature": {}}},
		Parameters: []*huma.Param{
			{Name: "Idempotency-Key", In: "header", Description: "Remembered for 24 hours per caller and tenant.", Schema: &huma.Schema{Type: huma.TypeString, MaxLength: new(patchbay.MaxKeyLength)}},
			{Name: access.TimestampHeader, In: "header", Description: "Unix seconds; signed together with the body.", Schema: &huma.Schema{Type: huma.TypeString}},
		},
		RequestBody: jsonBody("The event.", schemaOf[eventInput](d), map[string]*huma.Example{
			"routed": {Summary: "Over links", Value: generic(exampleEventInput)},
			"inline": {Summary: "Inline", Value: generic(exampleInlineInput)},
		}),
		Responses: map[string]*huma.Response{
			"201": accepted,
			"400": jsonResponse("The call was refused, or the first integration that failed.",
				&huma.Schema{AnyOf: []*huma.Schema{schemaOf[problem](d), schemaOf[inlineFailure](d)}}, exampleInlineFailure),
			"401": jsonResponse("Neither an API key nor a valid signature.", schemaOf[problem](d), exampleUnauthorized),
		},
	}
	if dry {
		op.Parameters = append(op.Parameters, &huma.Param{Name: "dry_run", In: "query", Description: "Only say what would happen: nothing is stored or sent. Needs the permission `read` as well.", Schema: &huma.Schema{Type: huma.TypeBoolean}})
		op.Responses["200"] = jsonResponse("With dry_run: what would happen.", schemaOf[ingest.DryRun](d), exampleDryRun)
	}
	return op
}
