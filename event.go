package patchbay

import (
	"encoding/json"
	"time"
)

// The limits of an event.
const (
	// MaxEventBody is the most bytes that one event may take on the wire.
	MaxEventBody = 1 << 20
	// MaxHops is the last hop an event may make: one that comes back from a partner for the third time ends there.
	MaxHops = 3
	// MaxKeyLength bounds an Idempotency-Key and the caller's own id of an event.
	MaxKeyLength = 128
)

// Event is something that happened. Payload and Actor hold the very bytes that came in: key order and the spelling
// of numbers survive.
type Event struct {
	ID EventID `json:"id"`
	// Type is the key of the event's type, never an alias.
	Type  string  `json:"type"`
	Scope Scope   `json:"scope"`
	Also  []Scope `json:"also,omitempty"`
	// Payload is a JSON object.
	Payload json.RawMessage `json:"payload"`
	// Actor, when present, is a JSON object that says who did it; "name", "avatar" and "url" are understood.
	Actor json.RawMessage `json:"actor,omitempty"`
	// OccurredAt is when it happened, as the caller says, or when it was received.
	OccurredAt time.Time `json:"occurred_at"`
	ReceivedAt time.Time `json:"received_at"`
	// Source is how it came in.
	Source Source `json:"source"`
	// Hops counts how often this has been through a partner and back.
	Hops int `json:"hops,omitempty"`
	// Origin, in a replay, is the event that is played again; it has the payload.
	Origin EventID `json:"origin,omitzero"`
}

// Subject returns the event that receivers know: the origin of a replay, otherwise the event itself.
func (e *Event) Subject() EventID {
	if e.Origin != 0 {
		return e.Origin
	}
	return e.ID
}

// The kinds of source.
const (
	SourceAPI    = "api"      // POST /events and POST /v1/events
	SourceInline = "inline"   // the same with "integrations"
	SourceHook   = "hook"     // a partner's call
	SourceSystem = "patchbay" // raised by Patchbay itself
	SourceTest   = "test"     // a link's or an integration's test
	SourceNATS   = "nats"     // a message of a JetStream
	SourceOutbox = "outbox"   // a row of the product's outbox
)

// Source says how an event came in. For a hook it names the link, integration and target that it came through, so
// that it is never sent back there. For a system event Link is the link that it is about.
type Source struct {
	Kind        string `json:"kind"`
	Link        LinkID `json:"link,omitzero"`
	Integration string `json:"integration,omitempty"`
	Target      string `json:"target,omitempty"`
	// Key is the API key that published the event.
	Key KeyID `json:"key,omitzero"`
}

// EventType is a type of event in the catalog, as authors write it and the API shows it.
type EventType struct {
	Key         string   `json:"key"`
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Aliases     []string `json:"aliases,omitempty"`
	// Schema is the JSON Schema 2020-12 of the payload; absent means any object.
	Schema json.RawMessage `json:"schema,omitempty"`
	// Example satisfies Schema.
	Example json.RawMessage `json:"example,omitempty"`
	// ScopeFrom is a template that makes the scope from the payload when a call has no "scope" key.
	ScopeFrom string `json:"scope_from,omitempty"`
	// Message says how the event reads to a person; nil means a readable default made from Schema.
	Message *MessageTemplate `json:"message,omitempty"`
	// Origin says where the type comes from: a catalog file's name, "builtin", "integration" or "api".
	Origin string `json:"origin,omitempty"`
}

// MessageTemplate says how an event of one type reads to a person. Every string is a template over the event
// ("type", "scope", "payload", "actor", "occurred_at").
type MessageTemplate struct {
	Title    string          `json:"title,omitempty"`
	Text     string          `json:"text,omitempty"`
	Severity string          `json:"severity,omitempty"`
	Fields   []FieldTemplate `json:"fields,omitempty"`
	Links    []LinkTemplate  `json:"links,omitempty"`
	Actor    *ActorTemplate  `json:"actor,omitempty"`
	Thread   string          `json:"thread,omitempty"`
	Status   string          `json:"status,omitempty"`
	// Labels go to partners that have labels, after the thread.
	Labels []string `json:"labels,omitempty"`
	// Overrides are by integration key or by category. An override replaces what it sets and inherits the rest;
	// an integration's key wins over its category.
	Overrides map[string]MessageOverride `json:"overrides,omitempty"`
}

// MessageOverride replaces parts of a MessageTemplate for one integration or category.
type MessageOverride struct {
	// Skip counts the type as one that the integration does not support.
	Skip     bool            `json:"skip,omitempty"`
	Title    *string         `json:"title,omitempty"`
	Text     *string         `json:"text,omitempty"`
	Severity *string         `json:"severity,omitempty"`
	Fields   []FieldTemplate `json:"fields,omitempty"`
	Links    []LinkTemplate  `json:"links,omitempty"`
	Actor    *ActorTemplate  `json:"actor,omitempty"`
	Thread   *string         `json:"thread,omitempty"`
	Status   *string         `json:"status,omitempty"`
	Labels   []string        `json:"labels,omitempty"`
}

// FieldTemplate makes the fields of a message. With Each, a path into the payload such as "payload.feedback", there
// is one field for every element, which the templates see as "item". A field whose value comes out empty is left out.
type FieldTemplate struct {
	Title string `json:"title"`
	Value string `json:"value"`
	Short bool   `json:"short,omitempty"`
	Each  string `json:"each,omitempty"`
}

// LinkTemplate makes one link of a message; it is left out when its URL comes out empty.
type LinkTemplate struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

// ActorTemplate makes the actor of a message.
type ActorTemplate struct {
	Name   string `json:"name,omitempty"`
	Avatar string `json:"avatar,omitempty"`
	URL    string `json:"url,omitempty"`
}
