// Package integration is what an author of an integration writes against. An integration is a Definition, which
// declares it once (title, settings, supported events), and the small optional interfaces for what it can do:
// Sender, Tester, Targeter and Summarizer for what goes out, Connector and Chooser for accounts, Linker and Receiver for
// what comes in. The API's schema, forms, validation, redaction and documentation are drawn
// from the Definition; what an integration can do is found by type assertion.
//
// An integration makes one attempt and says what came of it. It never loops, sleeps, retries or logs errors: the
// delivery engine owns all of that.
package integration

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"time"

	"github.com/patchbay/patchbay"
)

// The words of the vocabulary that authors use most.
type (
	// Message is an event as it reads to a person.
	Message = patchbay.Message
	// Secret is text that printing, logging and JSON do not show.
	Secret = patchbay.Secret
	// Event is what happened.
	Event = patchbay.Event
)

// Integration is what every integration is.
type Integration interface {
	// Definition returns the declaration. It is called once, and its result must not change.
	Definition() *Definition
}

// Definition declares an integration.
type Definition struct {
	// Key names the integration in the API, such as "hip_chat": a–z, 0–9 and _.
	Key string
	// Title is its name for people.
	Title string
	// Category groups integrations in the gallery and in message overrides: chat, tracker, email, automation, …
	Category string
	// Description is one or two sentences on what it does, Docs its page of documentation in Markdown.
	Description string
	Docs        string
	// Settings are what a link must say.
	Settings Spec
	// Decode turns settings that Settings has accepted into the integration's own typed struct, which it finds in
	// Delivery.Settings. Use Into. It may refuse what a Spec cannot express, with patchbay.Invalid("settings.key", …).
	Decode func(raw json.RawMessage) (any, error)
	// Events are the patterns of the types it supports; nil means every type.
	Events []patchbay.Pattern
	// Threads declares that it uses the reference of a thread's last message, or searches for the thread. Then
	// deliveries of one thread on a link are sent one after the other, oldest first.
	Threads bool
	// Threaded, when not nil, narrows Threads: it reports whether links with these settings use threads. Deliveries of the
	// others go out side by side.
	Threaded func(settings any) bool
	// Config lists the operator's settings that it reads from Env.Config.
	Config Spec
	// Types are the event types that its hooks bring, such as github.push. Their keys begin with Key and a dot.
	Types []patchbay.EventType
	// Kinds are the kinds of scopes that its links are meant for (patchbay.KindTeam, KindUser); nil is every scope.
	Kinds []string
	// Hooked reports whether a link with these settings receives anything; nil means that every link of a Receiver does.
	// A link that receives may have no event patterns: then it sends nothing.
	Hooked func(settings any) bool
	// Sends reports whether a link with these settings sends anything; nil means that every link of a Sender does. A link
	// that sends nothing has no event patterns.
	Sends func(settings any) bool
}

// Sender can send an event.
type Sender interface {
	Integration
	// Send makes one attempt. It returns before ctx is done, and everything it calls goes through d.Env.
	Send(ctx context.Context, d *Delivery) Result
}

// Tester can check settings with less than sending a test event, or better. Without it a test sends the event
// "integration_test".
type Tester interface {
	Integration
	Test(ctx context.Context, d *Delivery) Result
}

// Targeter names the place that settings lead to, so that an event that came in from there is never sent back.
// Two links with the same integration and target lead to the same place. It holds no secret.
type Targeter interface {
	Target(settings any) string
}

// Summarizer describes a link in a list. Neither may hold a secret.
type Summarizer interface {
	// ShortName is a few words, such as "Slack #develop".
	ShortName(settings any) string
	// Destination ends the sentence "repo.push in acme/repos/1 → …", such as "#develop".
	Destination(settings any) string
}

// Capability names what an integration supports.
type Capability string

// The capabilities, as GET /integrations lists them.
const (
	CanSend   Capability = "send"
	CanTest   Capability = "test"
	CanThread Capability = "thread"
	// CanConnect, CanHook, CanAttach and CanChoose are Connector, Receiver, Linker and Chooser.
	CanConnect Capability = "connect"
	CanHook    Capability = "hook"
	CanAttach  Capability = "attach"
	CanChoose  Capability = "choose"
)

// Supports lists what i can do. Whatever can send can be tested.
func Supports(i Integration) []Capability {
	out := []Capability{}
	_, sends := i.(Sender)
	if sends {
		out = append(out, CanSend)
	}
	if _, ok := i.(Tester); ok || sends {
		out = append(out, CanTest)
	}
	if i.Definition().Threads {
		out = append(out, CanThread)
	}
	if _, ok := i.(Connector); ok {
		out = append(out, CanConnect)
	}
	if _, ok := i.(Receiver); ok {
		out = append(out, CanHook)
	}
	if _, ok := i.(Linker); ok {
		out = append(out, CanAttach)
	}
	if _, ok := i.(Chooser); ok {
		out = append(out, CanChoose)
	}
	return out
}

// Delivery is everything that an integration needs for one attempt.
type Delivery struct {
	// ID and Attempt (from 1) say which attempt of which delivery this is. ID is zero in tests and previews.
	ID      patchbay.DeliveryID
	Attempt int
	// Event is what happened. Receivers know it as Event.Subject(), also in replays.
	Event *patchbay.Event
	// Title is the event type's title.
	Title string
	// Message renders the event for this integration. Its error is a template that failed: return Unrenderable.
	Message func() (*Message, error)
	// Settings is what Definition.Decode returned.
	Settings any
	// Previous is the value that a secret setting had before a rotation, while both are valid; else empty.
	Previous Secret
	// Body, when not nil, is the link's own body for this event (JSON); it replaces the integration's.
	Body json.RawMessage
	// Reference is what Result.Reference was for the last message of the same link and thread; "" when there is none.
	Reference string
	// Stale says that a newer message of the thread has been delivered already: add to it, but do not overwrite.
	Stale bool
	// Preview says that nothing must be looked up, signed or refreshed: make the request that creates.
	Preview bool
	// Connection is the one that the link uses; nil when it uses none.
	Connection *Connected
	// Consumer is the OAuth 1.0a consumer that came with an inline call, if any.
	Consumer *OAuthConsumer
	// Env is what the integration may use of the world.
	Env *Env
}

// OAuthConsumer is an OAuth 1.0a consumer: a key, and a secret (for RSA-SHA1 a PEM private key) per signature method.
type OAuthConsumer struct {
	Key     string
	Secrets map[string]Secret
}

// Env is the environment that an integration is given. Nothing else of the world is reachable through it, and what
// is reachable is guarded: addresses are checked when they are dialled.
type Env struct {
	// HTTP makes requests. It follows no redirects, bounds time and size, and records what was sent for the attempt.
	HTTP HTTP
	// Dial opens guarded connections for protocols other than HTTP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Record tells what was sent and answered by a protocol other than HTTP. The last call of an attempt counts.
	Record func(Exchange)
	// Config is the operator's settings for this integration, decoded by its Config spec; nil when there are none.
	Config json.RawMessage
	// Log redacts secrets.
	Log *slog.Logger
	// Now is the clock.
	Now func() time.Time
	// PublicURL is where this installation is reached, without a slash at its end; may be "".
	PublicURL string
}

// Exchange is what an attempt sent and what came back.
type Exchange struct {
	Method, URL string
	Header      Header
	// Body is kept only in previews.
	Body         []byte
	ResponseCode int
	ResponseBody []byte
}
