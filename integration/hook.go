package integration

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/signature"
)

// Receiver reads what a partner sends. A call is answered in three steps: Verification says how it is proven, Open reads as
// much as the answer needs, and, once the call is stored and answered, Read makes events of it. Read may run again, for
// a call that could not be placed at first or whose node was killed; it must say the same again.
//
// None of the three may keep the call's body or change it.
type Receiver interface {
	Integration
	// Verification says how the call is signed. It sees the header, but must believe nothing.
	Verification(c *HookCall) Verification
	// Open reads a verified call. An error is a call that can never be read: it is kept and shown.
	Open(c *HookCall) (*Envelope, error)
	// Read makes events. In a call to the integration's own address it runs once for every link that the account reaches.
	Read(ctx context.Context, c *HookCall) (*Reading, error)
}

// Verification is how one call is proven to come from the partner.
type Verification struct {
	// Scheme is one of signature.Table. The zero Scheme means that nothing is signed: only the token in the address
	// proves the call, and a call to the integration's own address is refused.
	Scheme signature.Scheme
	// Secrets are those that may have signed. Empty with a Scheme: the call is refused.
	Secrets []Secret
}

// HookCall is a partner's call.
type HookCall struct {
	Method string
	Header http.Header
	Query  url.Values
	Body   []byte
	// ReceivedAt is when it came in.
	ReceivedAt time.Time
	// Link, Scope, Settings and Secrets are those of the link whose address was called, or that is being read for;
	// Link is 0 and Settings nil at the integration's own address. Secrets are the link's hook secrets, the newest first.
	Link     patchbay.LinkID
	Scope    patchbay.Scope
	Settings any
	Secrets  []Secret
	// Attaching says that the link is being set up: handshakes that tell us a secret are believed only then.
	Attaching bool
	// State is what the link's last Attach returned; nil when nothing was set up.
	State json.RawMessage
	// Connection is the link's, without credentials; nil when it has none.
	Connection *Connected
	// Config is the operator's settings for the integration.
	Config json.RawMessage
}

// Handshaker answers calls that come before anything can be signed: a partner that wants its challenge back, or tells us the
// secret that it will sign with. It runs before the call is verified. nil leaves the call to be verified as usual.
type Handshaker interface {
	Handshake(c *HookCall) *HookAnswer
}

// HookAnswer is what the partner is answered.
type HookAnswer struct {
	// Status is 200 when it is 0.
	Status int
	Header Header
	Body   []byte
	// Secret, in a handshake of a link that is being attached, becomes the link's hook secret.
	Secret Secret
}

// Envelope is a call, opened as far as its answer needs.
type Envelope struct {
	// Key is the partner's own identifier of what it sends, the same when it sends it again; "" means that the body says so.
	Key string
	// Type is the partner's own word for what it is, such as "pull_request".
	Type string
	// Account is the partner's account that the call is about, in a call to the integration's own address: it reaches the
	// links whose connection is that account.
	Account string
	// Answer is what the partner is answered once the call is stored; nil is an empty 200.
	Answer *HookAnswer
	// Done says that there is nothing to read and nothing to keep: a ping, a challenge.
	Done bool
}

// Reading is what a call came to.
type Reading struct {
	Events []Inbound
	// Ignored says why there are no events.
	Ignored string
	// Ended says that the partner may not take the connection's credentials any more: it is asked about them at once, so
	// that the owner need not wait for the next delivery to hear of it.
	Ended bool
}

// Inbound is one event of a call.
type Inbound struct {
	// Type is one of the integration's own event types (Definition.Types), or any type of the catalog.
	Type    string
	Payload json.RawMessage
	// Actor is who did it; its ID finds the connection of the same person.
	Actor *Person
	// OccurredAt is when, as the partner says; zero is when the call came in.
	OccurredAt time.Time
	// Scope, when not nil, is where the event belongs, at or below the link's scope, which it is otherwise.
	Scope *patchbay.Scope
	// Own says that our own application or bot did it. Such an event is dropped.
	Own bool
	// Entry, when not nil, tells what a person got done: it becomes an event of the type entry.created beside this one,
	// in the link's scope and in that of the person whose connection is the Actor's.
	Entry *Entry
	// Entries are told in the same way as Entry, for an event that holds several, such as a push and its commits.
	Entries []Entry
	// Hops is how often this has been through Patchbay already, where the call says so.
	Hops int
}

// Person is somebody at a partner.
type Person struct {
	ID     string `json:"id,omitempty"`
	Name   string `json:"name,omitempty"`
	Email  string `json:"email,omitempty"`
	Avatar string `json:"avatar,omitempty"`
	URL    string `json:"url,omitempty"`
}

// Entry is what a person got done, in their own words or in ours.
type Entry struct {
	// Text is a small Markdown.
	Text string
	// OccurredOn is the day, as YYYY-MM-DD; "" is the day on which the event occurred, UTC.
	OccurredOn string
	// ExternalID and ExternalURL are what it is called at the partner, and where it is.
	ExternalID, ExternalURL string
	// Author is who got it done, when that is somebody else than the Actor of what happened.
	Author *Person
}
