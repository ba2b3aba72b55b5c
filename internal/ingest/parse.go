package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// call is the body of POST /events, taken apart but not decoded. Its slices lie in the body.
type call struct {
	name       string // of the event's type
	id         string
	payload    []byte // nil when absent
	actor      []byte
	scope      string
	scoped     bool
	also       []string
	occurredAt time.Time
	// integrations is the raw list of an inline call, nil in a routed one; consumer belongs to it.
	integrations []byte
	consumer     []byte
}

// parse takes a body apart. Unknown fields are refused: a misspelled "scope" would send an event to everybody.
func parse(body []byte) (*call, error) {
	if err := rawjson.Check(body, rawjson.MaxDepth); err != nil {
		return nil, unreadable(err)
	}
	if rawjson.KindOf(body) != rawjson.KindObject {
		return nil, patchbay.Errorf(patchbay.CodeInvalidRequest, `the body must be a JSON object such as {"event_type": "repo.push", "payload": {}}`)
	}
	c := &call{}
	var wrong []patchbay.Detail
	for key, value := range rawjson.Object(body) {
		if message := c.field(string(key), value); message != "" {
			wrong = append(wrong, patchbay.Detail{Path: clip(string(key)), Message: message})
		}
	}
	if c.name == "" && len(wrong) == 0 {
		wrong = append(wrong, patchbay.Detail{Path: "event_type", Message: "is required: the key of one of GET /events"})
	}
	if len(wrong) > 0 {
		return nil, invalid(wrong)
	}
	return c, nil
}

// field takes one field over and returns what is wrong with it, "" when nothing is.
func (c *call) field(key string, value []byte) string {
	kind := rawjson.KindOf(value)
	switch key {
	case "event_type", "event_name", "event":
		name, ok := rawjson.String(value)
		if !ok || name == "" {
			return "must be the key of an event type, as text"
		}
		if c.name != "" && c.name != name {
			return "names another type than the field before it: event_type, event_name and event mean the same, send one of them"
		}
		c.name = name
	case "payload":
		if kind != rawjson.KindObject {
			return "must be an object"
		}
		c.payload = value
	case "actor":
		if kind == rawjson.KindNull {
			return ""
		}
		if kind != rawjson.KindObject {
			return "must be an object"
		}
		c.actor = value
	case "scope":
		text, ok := rawjson.String(value)
		if !ok {
			return "must be text, such as acme/repos/1"
		}
		c.scope, c.scoped = text, true
	case "also":
		return c.setAlso(value, kind)
	case "id":
		if kind == rawjson.KindNull {
			return ""
		}
		text, ok := rawjson.String(value)
		if !ok || !validKey(text) {
			return "must be 1 to 128 printable ASCII characters"
		}
		c.id = text
	case "occurred_at":
		return c.setTime(value, kind)
	case "integrations":
		if kind != rawjson.KindArray {
			return `must be a list such as [{"key": "slack", "settings": {}}]`
		}
		c.integrations = value
	case "oauth_consumer":
		if kind != rawjson.KindObject && kind != rawjson.KindNull {
			return `must be an object such as {"key": "…", "secrets": {"RSA-SHA1": "…"}}`
		}
		c.consumer = value
	default:
		return "is not a field of an event; it has event_type, payload, scope, also, id, occurred_at, actor, integrations and oauth_consumer"
	}
	return ""
}

func (c *call) setAlso(value []byte, kind rawjson.Kind) string {
	if kind == rawjson.KindNull {
		return ""
	}
	if kind != rawjson.KindArray {
		return "must be a list of scopes"
	}
	for element := range rawjson.Array(value) {
		text, ok := rawjson.String(element)
		if !ok {
			return "must be a list of scopes, as text"
		}
		if len(c.also) > 64 {
			return fmt.Sprintf("names too many scopes; an event may name at most %d besides its own", patchbay.MaxAlso)
		}
		c.also = append(c.also, text)
	}
	return ""
}

func (c *call) setTime(value []byte, kind rawjson.Kind) string {
	if kind == rawjson.KindNull {
		return ""
	}
	text, _ := rawjson.String(value)
	return c.moment(text)
}

// moment takes over when it happened and returns what is wrong with it.
func (c *call) moment(text string) string {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return "must be a time as RFC 3339 writes it, such as 2026-11-22T09:30:00Z"
	}
	c.occurredAt = t.UTC().Truncate(time.Microsecond) // as it is kept, so that a retry says what the first attempt said
	return ""
}

// validKey reports whether s can be an Idempotency-Key or a caller's id.
func validKey(s string) bool {
	if s == "" || len(s) > patchbay.MaxKeyLength {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// idempotencyKey returns the one key of a call that may carry it in the body and in the header; "" when in neither.
func (c *call) idempotencyKey(header string) (string, error) {
	if header != "" && !validKey(header) {
		return "", patchbay.Invalid("Idempotency-Key", "must be 1 to 128 printable ASCII characters")
	}
	if header != "" && c.id != "" && header != c.id {
		return "", patchbay.Invalid("id", "differs from the header Idempotency-Key: send one of them, or the same in both")
	}
	if c.id != "" {
		return c.id, nil
	}
	return header, nil
}

// own returns payload and actor in memory of their own: the body belongs to the caller, and the event outlives it.
func (c *call) own() (payload, actor []byte) {
	if c.payload == nil {
		c.payload = []byte("{}")
	}
	buffer := make([]byte, 0, len(c.payload)+len(c.actor))
	buffer = append(buffer, c.payload...)
	payload = buffer[:len(buffer):len(buffer)]
	if c.actor != nil {
		actor = append(buffer, c.actor...)[len(payload):]
	}
	return payload, actor
}

// unreadable turns an error of the JSON reader into one for callers.
func unreadable(err error) error {
	var e *rawjson.Error
	if !errors.As(err, &e) {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "the body is not JSON that can be read: %v", err)
	}
	out := &patchbay.Error{Code: patchbay.CodeInvalidRequest, Message: "the body is not JSON that can be read: " + e.Error()}
	out.Details = []patchbay.Detail{{Path: e.Path, Message: e.Message}}
	return out
}

// invalid makes one error of several details.
func invalid(details []patchbay.Detail) error {
	var b bytes.Buffer
	for i, d := range details {
		if i == 3 && len(details) > 4 {
			fmt.Fprintf(&b, "; and %d more", len(details)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(d.Path)
		b.WriteString(": ")
		b.WriteString(d.Message)
	}
	return &patchbay.Error{Code: patchbay.CodeInvalidRequest, Message: b.String(), Details: details}
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
