// Package incoming turns any service's webhook into events: the link says how calls are signed, and CEL expressions say what
// of them becomes the event. It is the integration for everything that has none of its own, on the way in.
package incoming

import (
	"context"
	_ "embed" // docs.md
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/mapping"
	"github.com/patchbay/patchbay/integration/signature"
)

// Key names the integration in the API.
const Key = "incoming"

// TypeReceived is the type of events whose link names no other.
const TypeReceived = Key + ".received"

// hopsHeader is what the webhook integration sends with an event that has been through a partner already.
const hopsHeader = "Patchbay-Hops"

// Incoming is the integration.
type Incoming struct{}

// New returns the integration.
func New() *Incoming { return &Incoming{} }

//go:embed docs.md
var docs string

// Definition declares the integration.
func (*Incoming) Definition() *integration.Definition {
	return &integration.Definition{
		Key:         Key,
		Title:       "Incoming webhook",
		Category:    "automation",
		Description: "Turns the webhook of any service into events.",
		Docs:        docs,
		Settings:    spec(),
		Decode:      integration.Into[Settings],
		Types: []patchbay.EventType{{
			Key: TypeReceived, Title: "Webhook received", Description: "A service called the address of an incoming webhook.",
			Schema:  json.RawMessage(`{"type":"object"}`),
			Example: json.RawMessage(`{"text":"The nightly build is green"}`),
		}},
	}
}

// ShortName implements integration.Summarizer.
func (*Incoming) ShortName(any) string { return "Incoming webhook" }

// Destination implements integration.Summarizer.
func (*Incoming) Destination(settings any) string {
	s := settings.(*Settings)
	if s.scheme.Name == "" {
		return "a webhook"
	}
	return "a webhook of " + s.scheme.Title
}

// Verification implements integration.Receiver: the scheme that the link chose, with its own secrets or, when it has none,
// the one that was made for its address.
func (*Incoming) Verification(c *integration.HookCall) integration.Verification {
	s, ok := c.Settings.(*Settings)
	if !ok || s.scheme.Name == "" {
		return integration.Verification{}
	}
	v := integration.Verification{Scheme: s.scheme, Secrets: c.Secrets}
	if s.Secret != "" {
		v.Secrets = []integration.Secret{s.Secret}
		if s.PreviousSecret != "" {
			v.Secrets = append(v.Secrets, s.PreviousSecret)
		}
	}
	return v
}

// Open implements integration.Receiver.
func (*Incoming) Open(c *integration.HookCall) (*integration.Envelope, error) {
	s, in, _, err := read(c)
	if err != nil {
		return nil, err
	}
	answer := &integration.HookAnswer{Body: []byte(`{"status":"ok"}` + "\n")}
	answer.Header.Add("Content-Type", "application/json")
	e := &integration.Envelope{Answer: answer}
	if s.IDHeader != "" {
		e.Key = c.Header.Get(s.IDHeader)
	}
	if s.id != nil && e.Key == "" {
		if e.Key, err = s.id.Text(context.Background(), in); err != nil {
			return nil, fmt.Errorf("id: %w", err)
		}
	}
	if e.Type, err = s.typeOf(context.Background(), in); err != nil {
		return nil, err
	}
	return e, nil
}

// Read implements integration.Receiver.
func (*Incoming) Read(ctx context.Context, c *integration.HookCall) (*integration.Reading, error) {
	s, in, whole, err := read(c)
	if err != nil {
		return nil, err
	}
	if s.filter != nil {
		switch wanted, err := s.filter.Bool(ctx, in); {
		case err != nil:
			return nil, fmt.Errorf("filter: %w", err)
		case !wanted:
			return &integration.Reading{Ignored: "The link's filter is not true of it."}, nil
		}
	}
	event := integration.Inbound{Payload: whole, Hops: hops(c)}
	if event.Type, err = s.typeOf(ctx, in); err != nil {
		return nil, err
	}
	if s.payload != nil {
		if event.Payload, err = s.payload.JSON(ctx, in); err != nil {
			return nil, fmt.Errorf("payload: %w", err)
		}
		if len(event.Payload) == 0 || event.Payload[0] != '{' {
			return nil, errors.New("payload: its value is not an object")
		}
	}
	if len(event.Payload) > patchbay.MaxEventBody {
		return nil, fmt.Errorf("payload: it is larger than %d bytes: take what you need of the body", patchbay.MaxEventBody)
	}
	if event.OccurredAt, err = s.time(ctx, in); err != nil {
		return nil, fmt.Errorf("occurred_at: %w", err)
	}
	if event.Actor, err = s.person(ctx, in); err != nil {
		return nil, fmt.Errorf("actor: %w", err)
	}
	if event.Entry, err = s.told(ctx, in); err != nil {
		return nil, fmt.Errorf("entry: %w", err)
	}
	return &integration.Reading{Events: []integration.Inbound{event}}, nil
}

// hops is how often what the call says has been through an installation already.
func hops(c *integration.HookCall) int {
	n, err := strconv.Atoi(c.Header.Get(hopsHeader))
	if err != nil || n < 0 {
		return 0
	}
	return min(n, patchbay.MaxHops)
}

// read takes a call apart: what expressions see, and the payload of a link that maps none.
func read(c *integration.HookCall) (*Settings, *mapping.Input, json.RawMessage, error) {
	s, ok := c.Settings.(*Settings)
	if !ok {
		return nil, nil, nil, errors.New("an incoming webhook has an address for each link, and this is not one")
	}
	in := &mapping.Input{Header: map[string]string{}, Query: map[string]string{}}
	for name, values := range c.Header {
		if len(values) > 0 {
			in.Header[strings.ToLower(name)] = values[0]
		}
	}
	for name, values := range c.Query {
		if len(values) > 0 {
			in.Query[name] = values[0]
		}
	}
	kind, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type"))
	body, raw, err := decode(kind, c.Body)
	if err != nil {
		return nil, nil, nil, err
	}
	in.Body = body
	if raw != nil {
		return s, in, raw, nil
	}
	switch body.(type) {
	case map[string]any:
	case []any:
		body = map[string]any{"items": body}
	default:
		body = map[string]any{"value": body}
	}
	raw, err = json.Marshal(body)
	return s, in, raw, err
}

// decode reads a body: JSON, a form, or text. An object of JSON comes back in its own bytes too.
func decode(kind string, body []byte) (any, json.RawMessage, error) {
	trimmed := strings.TrimLeft(string(body[:min(len(body), 64)]), " \t\r\n")
	isJSON := kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
	switch {
	case len(body) == 0:
		return map[string]any{}, nil, nil
	case kind == "application/x-www-form-urlencoded" && !strings.HasPrefix(trimmed, "{"): // curl -d says that of everything
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, nil, errors.New("its form cannot be read")
		}
		return fields(form), nil, nil
	case isJSON || strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "["):
		v, err := mapping.Decode(body)
		if err != nil {
			if isJSON {
				return nil, nil, err
			}
			break
		}
		if _, ok := v.(map[string]any); ok {
			return v, append(json.RawMessage(nil), body...), nil
		}
		return v, nil, nil
	}
	if !utf8.Valid(body) {
		return map[string]any{"base64": base64.StdEncoding.EncodeToString(body)}, nil, nil
	}
	return map[string]any{"text": string(body)}, nil, nil
}

// fields are a form as expressions see it: a text for each name, a list where it stands there several times.
func fields(form url.Values) map[string]any {
	out := make(map[string]any, len(form))
	for name, values := range form {
		name = strings.ToValidUTF8(name, "\uFFFD")
		if len(values) == 1 {
			out[name] = strings.ToValidUTF8(values[0], "\uFFFD")
			continue
		}
		list := make([]any, len(values))
		for i, v := range values {
			list[i] = strings.ToValidUTF8(v, "\uFFFD")
		}
		out[name] = list
	}
	return out
}

// typeOf is the type of the event that a call becomes.
func (s *Settings) typeOf(ctx context.Context, in *mapping.Input) (string, error) {
	if s.typ == nil {
		return s.Type, nil
	}
	t, err := s.typ.Text(ctx, in)
	switch {
	case err != nil:
		return "", fmt.Errorf("type: %w", err)
	case t == "":
		return "", errors.New("type: its value is empty")
	}
	return t, nil
}

// time is when it happened, zero when the link does not say how to tell.
func (s *Settings) time(ctx context.Context, in *mapping.Input) (time.Time, error) {
	if s.occurredAt == nil {
		return time.Time{}, nil
	}
	text, err := s.occurredAt.Text(ctx, in)
	if err != nil || text == "" {
		return time.Time{}, err
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.UTC(), nil
	}
	const milliseconds, most = 1e11, 253402300799 // seconds that are so many lie beyond the year 5000
	n, err := strconv.ParseFloat(text, 64)
	if err == nil && n > milliseconds {
		n /= 1000
	}
	if err != nil || !(n >= 0 && n <= most) {
		return time.Time{}, errors.New("its value is neither a time such as 2026-11-22T09:30:00Z nor a number of seconds or milliseconds since 1970")
	}
	return time.UnixMilli(int64(n * 1000)).UTC(), nil
}

// person is who did it; nil when nobody is said to have.
func (s *Settings) person(ctx context.Context, in *mapping.Input) (*integration.Person, error) {
	var p integration.Person
	ok, err := textOrObject(ctx, s.actor, in, &p.Name, map[string]*string{
		"id": &p.ID, "name": &p.Name, "email": &p.Email, "avatar": &p.Avatar, "url": &p.URL,
	})
	if !ok || err != nil || p == (integration.Person{}) {
		return nil, err
	}
	return &p, nil
}

// told is what a person got done; nil when the call tells of nothing.
func (s *Settings) told(ctx context.Context, in *mapping.Input) (*integration.Entry, error) {
	var e integration.Entry
	ok, err := textOrObject(ctx, s.entry, in, &e.Text, map[string]*string{
		"text": &e.Text, "occurred_on": &e.OccurredOn, "id": &e.ExternalID, "url": &e.ExternalURL,
	})
	if !ok || err != nil || strings.TrimSpace(e.Text) == "" {
		return nil, err
	}
	return &e, nil
}

// textOrObject evaluates an expression that is a text or an object of texts. It returns false when there is none.
func textOrObject(ctx context.Context, e *mapping.Expression, in *mapping.Input, text *string, fields map[string]*string) (bool, error) {
	if e == nil {
		return false, nil
	}
	raw, err := e.JSON(ctx, in)
	switch {
	case err != nil:
		return false, err
	case len(raw) == 0 || string(raw) == "null":
		return false, nil
	case raw[0] == '"':
		return true, json.Unmarshal(raw, text)
	case raw[0] != '{':
		return false, errors.New("its value is neither a text nor an object")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return false, err
	}
	for name, value := range object {
		to, known := fields[name]
		switch {
		case !known:
			return false, fmt.Errorf("there is no field %q in it", name)
		case string(value) == "null":
		case value[0] == '"':
			if err := json.Unmarshal(value, to); err != nil {
				return false, err
			}
		case value[0] == '{' || value[0] == '[':
			return false, fmt.Errorf("%s is not a text", name)
		default:
			*to = string(value) // a number is an identifier too
		}
	}
	return true, nil
}

var _ integration.Receiver = (*Incoming)(nil)

// schemes are the values of the setting.
func schemes() []integration.Option {
	table := signature.Table()
	options := make([]integration.Option, 0, len(table)+1)
	options = append(options, integration.Option{Value: none, Title: "Not signed: only the address is secret"})
	for _, s := range table {
		options = append(options, integration.Option{Value: s.Name, Title: s.Title})
	}
	return options
}
