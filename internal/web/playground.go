package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/rawjson"
	"github.com/patchbay/patchbay/internal/web/compose"
)

// Playground tries events out, and takes them in.
type Playground interface {
	// DryRun says what would happen to an event: nothing is stored, sent, signed or called.
	DryRun(ctx context.Context, c *access.Caller, body []byte) (*ingest.DryRun, error)
	// Accept takes an event in, once for each key.
	Accept(ctx context.Context, c *access.Caller, body []byte, key string) (*ingest.Answer, error)
}

const (
	// maxPlayground bounds the form: an event, percent-encoded, once as it was and once as it is.
	maxPlayground = 7 * patchbay.MaxEventBody
)

// playgroundPage lists the types of events, or composes an event of one.
type playgroundPage struct {
	Query  string
	Groups []catalogGroup

	Type *composedType
	eventDraft
	// View is form or json; Text is what stands in the JSON.
	View     string
	Form     *compose.Form
	Text     string
	TooLarge bool
	Problems []problemLine
	// Errors are sentences by the fields beside the payload.
	Errors map[string]string
	More   bool
	Scopes []string
	// Tried says that a dry run belongs on the page; May what the viewer may do.
	Tried, May bool
	// Example says that the type has one.
	Example bool
	Once    string
	Message *messagePart
	Result  *dryRun
	// Confirm says that sending it has to be confirmed.
	Confirm bool
}

// composedType is the type of the event that is composed.
type composedType struct{ Key, Title, Description string }

// eventDraft is an event as somebody composes it.
type eventDraft struct {
	Type, Scope, Also, Actor, OccurredAt, ID string
	// Payload is JSON.
	Payload []byte
}

func (c *call) composing() error {
	if err := c.forOperators(); err != nil {
		return err
	}
	if c.o.Playground == nil {
		return notKept("playground")
	}
	return c.who.Require(access.Read)
}

// playground is the page as it is opened: its address may name a type and a scope, or an event to begin with.
func (c *call) playground() error {
	if err := c.composing(); err != nil {
		return err
	}
	q := c.r.URL.Query()
	d := eventDraft{Type: q.Get("type"), Scope: strings.Trim(q.Get("scope"), "/ ")}
	if d.Scope == "" {
		d.Scope = string(c.who.Scope)
	}
	if text := q.Get("event"); text != "" {
		var err error
		if d, err = c.draftOf(text); err != nil {
			return err
		}
	}
	if d.Type == "" {
		return c.chooseType(q.Get("q"), q.Get("scope"))
	}
	t := c.o.Catalog.Type(d.Type)
	if t == nil || strings.HasPrefix(t.Key(), patchbay.SystemPrefix) {
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no event type %q that could be sent: choose one in the playground", clip(d.Type))
	}
	if d.Payload == nil {
		if d.Payload = t.Spec().Example; d.Payload == nil {
			d.Payload = compose.Example(t.Spec().Schema)
		}
	}
	body := c.playgroundOf(t, &d)
	body.View = "form"
	if q.Get("view") == "json" {
		body.View = "json"
	}
	return c.showPlayground(body, t, nil)
}

// draftOf is an event that came in, to be sent again as another one.
func (c *call) draftOf(text string) (d eventDraft, err error) {
	var id patchbay.EventID
	if id.UnmarshalText([]byte(text)) != nil || c.o.Events == nil {
		return d, patchbay.Errorf(patchbay.CodeNotFound, "there is no event %q", clip(text))
	}
	v, err := c.o.Events.Inspect(c.r.Context(), c.who, id)
	if err != nil {
		return d, err
	}
	also := make([]string, len(v.Also))
	for i, s := range v.Also {
		also[i] = string(s)
	}
	return eventDraft{Type: v.Type, Scope: string(v.Scope), Also: strings.Join(also, "\n"), Actor: string(v.Actor), Payload: v.Payload}, nil
}

// chooseType lists the types that can be sent.
func (c *call) chooseType(query, scope string) error {
	body := &playgroundPage{Query: strings.TrimSpace(query), eventDraft: eventDraft{Scope: scope}}
	types := slices.DeleteFunc(slices.Clone(c.o.Catalog.Types()), func(t *catalog.Type) bool { return strings.HasPrefix(t.Key(), patchbay.SystemPrefix) })
	body.Groups, _ = c.typeGroups(types, body.Query, func(key string) string { return link("/playground", "type", key, "scope", scope) })
	return c.show(http.StatusOK, "playground", &page{Title: "Playground", Nav: "playground", Body: body})
}

// composeEvent is the form, sent: something was changed, tried, or is to be sent.
func (c *call) composeEvent() error {
	if err := c.composing(); err != nil {
		return err
	}
	if err := c.form(); err != nil {
		return err
	}
	sent := c.r.PostForm
	t := c.o.Catalog.Type(sent.Get("type"))
	if t == nil || strings.HasPrefix(t.Key(), patchbay.SystemPrefix) {
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no event type %q that could be sent: choose one in the playground", clip(sent.Get("type")))
	}
	d := eventDraft{
		Type: t.Key(), Scope: strings.Trim(sent.Get("scope"), "/ "), Also: sent.Get("also"), Actor: strings.TrimSpace(sent.Get("actor")),
		OccurredAt: strings.TrimSpace(sent.Get("occurred_at")), ID: strings.TrimSpace(sent.Get("id")),
	}
	body := c.playgroundOf(t, &d)
	op := sent.Get("op")
	body.Tried = sent.Get("tried") != "" || op == "dry" || strings.HasPrefix(op, "send")
	broken, err := c.readPayload(body, t, sent)
	if err != nil {
		return err
	}
	if op == "example" && body.Example {
		body.Payload, broken = t.Spec().Example, nil
	}
	if (op == "form" || op == "json") && len(broken) == 0 && body.Payload != nil {
		body.View = op
	}
	if strings.HasPrefix(op, "send") && len(broken) == 0 && body.Payload != nil {
		done, err := c.sendEvent(body, op, sent.Get("once"))
		if done || err != nil {
			return err
		}
	}
	return c.showPlayground(body, t, broken)
}

func (c *call) playgroundOf(t *catalog.Type, d *eventDraft) *playgroundPage {
	one := composedType{Key: t.Key(), Title: t.Title(), Description: t.Spec().Description}
	var b [12]byte
	_, _ = rand.Read(b[:]) // it never fails
	return &playgroundPage{
		Type: &one, eventDraft: *d, Errors: map[string]string{}, May: c.who.May(access.Publish), Example: t.Spec().Example != nil, Scopes: c.knownScopes(), Once: hex.EncodeToString(b[:]),
	}
}

// readPayload takes the payload out of what was sent. Where it is no JSON it stays nil, and the text as it is.
func (c *call) readPayload(body *playgroundPage, t *catalog.Type, sent url.Values) (map[string]compose.Broken, error) {
	if body.View = sent.Get("view"); body.View == "json" {
		body.Text = strings.ReplaceAll(sent.Get("payload"), "\r\n", "\n")
		raw := []byte(strings.TrimSpace(body.Text))
		if err := rawjson.Check(raw, 0); err != nil {
			body.Errors["payload"] = "The payload is not JSON that can be read: " + err.Error()
		} else if rawjson.KindOf(raw) != rawjson.KindObject {
			body.Errors["payload"] = "The payload must be a JSON object, such as {}."
		} else {
			body.Payload = raw
		}
		return nil, nil
	}
	base := []byte(sent.Get("base"))
	if rawjson.Check(base, 0) != nil || rawjson.KindOf(base) != rawjson.KindObject {
		return nil, patchbay.Errorf(patchbay.CodeInvalidRequest, "the form could not be read: go back, reload the page and send it again")
	}
	body.View = "form"
	var broken map[string]compose.Broken
	body.Payload, broken = compose.New(t.Spec().Schema, base, nil).Read(sent, compose.ParseStep(sent.Get("op")))
	return broken, nil
}

// body is the event as POST /events takes it.
func (d *eventDraft) body() ([]byte, error) {
	out := append([]byte(`{"event_type":`), rawjson.AppendQuoted(nil, d.Type)...)
	text := func(key, value string) {
		if value != "" {
			out = append(out, `,"`+key+`":`...)
			out = rawjson.AppendQuoted(out, value)
		}
	}
	text("scope", d.Scope)
	text("occurred_at", d.OccurredAt)
	text("id", d.ID)
	if also := strings.FieldsFunc(d.Also, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' }); len(also) > 0 {
		out = append(out, `,"also":[`...)
		for i, s := range also {
			if i > 0 {
				out = append(out, ',')
			}
			out = rawjson.AppendQuoted(out, strings.Trim(s, "/"))
		}
		out = append(out, ']')
	}
	if d.Actor != "" {
		if rawjson.Check([]byte(d.Actor), 0) != nil || rawjson.KindOf([]byte(d.Actor)) != rawjson.KindObject {
			return nil, patchbay.Invalid("actor", `must be a JSON object such as {"name": "Ann"}`)
		}
		out = append(append(out, `,"actor":`...), d.Actor...)
	}
	out = append(append(append(out, `,"payload":`...), d.Payload...), '}')
	if len(out) > patchbay.MaxEventBody {
		return nil, patchbay.Errorf(patchbay.CodePayloadTooLarge, "an event may take at most %d bytes, and this one takes %d", patchbay.MaxEventBody, len(out))
	}
	return out, nil
}

// sendEvent takes the event in, if there is nothing wrong with it, and if whoever sends it knows how many links will: the
// button says so. It returns false when there is something to be shown first.
func (c *call) sendEvent(body *playgroundPage, op, once string) (bool, error) {
	raw, err := body.body()
	if err != nil {
		return false, nil //nolint:nilerr // the page says it
	}
	tried, err := c.o.Playground.DryRun(c.r.Context(), c.who, raw)
	if err != nil {
		return false, nil //nolint:nilerr // the page says it
	}
	if _, sure, _ := strings.Cut(op, ":"); tried.Deliveries > 0 && sure != strconv.Itoa(tried.Deliveries) {
		body.Confirm = true
		return false, nil
	}
	key := ""
	if body.ID == "" && once != "" { // a second click is not a second event
		sum := sha256.Sum256(raw)
		key = "playground-" + clip(once) + "-" + hex.EncodeToString(sum[:8])
	}
	answer, err := c.o.Playground.Accept(c.r.Context(), c.who, raw, key)
	if err != nil {
		return true, err
	}
	var made struct {
		ID         patchbay.EventID `json:"id"`
		Deliveries int              `json:"deliveries"`
	}
	if err := json.Unmarshal(answer.Body, &made); err != nil {
		return true, patchbay.Internal("reading the answer to an event", err)
	}
	n := &note{Kind: "ok", Title: "It was sent.", Text: "It made " + count(made.Deliveries, "delivery", "deliveries") + "."}
	if made.Deliveries == 0 {
		n.Text = "No link matches it, so it goes nowhere."
	}
	c.leave(n)
	return true, c.redirect("/events/" + made.ID.String())
}

// showPlayground draws the page of an event that is being composed.
func (c *call) showPlayground(body *playgroundPage, t *catalog.Type, broken map[string]compose.Broken) error {
	schema := t.Spec().Schema
	if body.Payload != nil {
		if len(body.Payload) > compose.MaxDocument && body.View == "form" {
			body.View, body.TooLarge = "json", true
		}
		if body.View == "form" {
			body.Form = compose.New(schema, body.Payload, broken)
		} else if body.Text == "" {
			body.Text = prettyBody(string(body.Payload))
			if len(body.Payload) > maxShown {
				body.Text = string(body.Payload)
			}
		}
		c.readsAs(body, t)
		c.tryDraft(body, t, len(broken) > 0)
	} else {
		body.Problems = append(body.Problems, problemLine{Href: "#payload", Text: body.Errors["payload"]})
	}
	for at, b := range broken {
		body.Problems = append(body.Problems, problemLine{Text: "The part " + clip(strings.TrimPrefix(at, "/")) + " " + b.Message})
	}
	body.More = body.Also+body.Actor+body.OccurredAt+body.ID != ""
	status := ""
	switch {
	case len(body.Problems) > 0:
		status = count(len(body.Problems), "thing has", "things have") + " to be put right."
	case body.Result != nil:
		status = count(body.Result.Deliveries, "delivery", "deliveries") + " would be made."
	}
	code := http.StatusOK
	if len(body.Problems) > 0 && strings.HasPrefix(c.r.PostFormValue("op"), "send") {
		code = http.StatusBadRequest
	}
	return c.show(code, "playground", &page{Title: "Playground: " + t.Title(), Nav: "playground", Status: status, Body: body})
}

// readsAs draws the event's message.
func (c *call) readsAs(body *playgroundPage, t *catalog.Type) {
	scope, err := patchbay.ParseScope(body.Scope)
	if err != nil {
		scope = ""
	}
	now := c.o.Now().UTC()
	event := &patchbay.Event{Type: t.Key(), Scope: scope, Payload: body.Payload, OccurredAt: now, ReceivedAt: now, Source: patchbay.Source{Kind: patchbay.SourceAPI}}
	if at, err := time.Parse(time.RFC3339Nano, body.OccurredAt); err == nil {
		event.OccurredAt = at
	}
	if body.Actor != "" && rawjson.Check([]byte(body.Actor), 0) == nil {
		event.Actor = json.RawMessage(body.Actor)
	}
	if m, err := t.Render(event, catalog.Target{}); err == nil {
		body.Message = drawMessage(m)
	}
}
