// Package reference shows what receivers get of an event type's example: the message in Slack, the mail, and the request of
// a webhook in each of its formats. It asks the integrations themselves, with settings that lead nowhere, and keeps what they
// would have sent; so what it shows cannot differ from what is sent.
package reference

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/catalog"
)

// Secret signs the webhooks that are shown, so that a receiver's code can be tried on them. Nothing else is signed with it.
const Secret = "whsec_VGhpcyBpcyBhbiBleGFtcGxlLCBub3QgYSBzZWNyZXQ="

// What the example event is beside its type and payload. It stays the same, so that pages only change when something does.
const (
	exampleID    = "evt_01jq3x5v8k2ma"
	exampleScope = patchbay.Scope("acme")
)

var exampleTime = time.Date(2026, time.March, 4, 5, 6, 7, 0, time.UTC)

// limit is how long an integration may take to say what it would send.
const limit = 5 * time.Second

// The settings of the links that would send. Their addresses are those of documentation.
const (
	slackSettings   = `{"url":"https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"}`
	mailSettings    = `{"to":["you@example.com"],"host":"smtp.example.com","from":"events@example.com"}`
	webhookSettings = `{"url":"https://example.com/webhooks","secret":"` + Secret + `","format":%q}`
)

// Integrations are those that a program has.
type Integrations []integration.Integration

// Shown is what receivers get of a type's example. A part is nil when the program has no such integration.
type Shown struct {
	Slack   *Slack
	Mail    *Mail
	Webhook *Webhook
}

// Part is what every part has: whether there is anything to show.
type Part struct {
	// Title is the integration's.
	Title string
	// Skipped says that it gets no events of this type.
	Skipped bool
	// Trouble says why nothing can be shown; "" when something is.
	Trouble string
}

// Show shows a type's example.
func (all Integrations) Show(ctx context.Context, t *catalog.Type) *Shown {
	out := &Shown{}
	for _, i := range all {
		sends, ok := i.(integration.Sender)
		if !ok {
			continue
		}
		a := attempt{def: i.Definition(), sender: sends, t: t}
		switch a.def.Key {
		case "slack":
			out.Slack = showSlack(ctx, &a)
		case "email":
			out.Mail = showMail(ctx, &a)
		case "webhook":
			out.Webhook = showWebhook(ctx, &a)
		}
	}
	return out
}

// Event is the example as an event.
func Event(t *catalog.Type) *patchbay.Event {
	e := &patchbay.Event{
		Type: t.Key(), Scope: exampleScope, Payload: t.Spec().Example, OccurredAt: exampleTime, ReceivedAt: exampleTime,
		Source: patchbay.Source{Kind: patchbay.SourceTest},
	}
	if err := e.ID.UnmarshalText([]byte(exampleID)); err != nil {
		panic("reference: " + err.Error()) // it is a constant
	}
	if len(e.Payload) == 0 {
		e.Payload = json.RawMessage("{}")
	}
	if scope, says, err := t.ScopeFrom(e.Payload); says && err == nil {
		e.Scope = scope
	}
	return e
}

// attempt makes what one integration would send of one type.
type attempt struct {
	def    *integration.Definition
	sender integration.Sender
	t      *catalog.Type
}

// part says whether there is anything to send.
func (a *attempt) part() Part {
	p := Part{Title: a.def.Title}
	p.Skipped = a.t.Skips(a.target())
	if a.def.Events != nil && !p.Skipped {
		p.Skipped = true
		for _, pattern := range a.def.Events {
			p.Skipped = p.Skipped && !a.t.Matches(pattern)
		}
	}
	return p
}

func (a *attempt) target() catalog.Target {
	return catalog.Target{Key: a.def.Key, Category: a.def.Category, Title: a.def.Title}
}

// sent returns what would be sent over a link with these settings. signed has it signed as for a receiver; otherwise it is
// made as a preview.
func (a *attempt) sent(ctx context.Context, settings string, signed bool) (x *integration.Exchange, err error) {
	defer func() {
		if p := recover(); p != nil { // one integration's bug must not take a page of documentation down
			x, err = nil, fmt.Errorf("%s could not say what it would send", a.def.Title)
		}
	}()
	raw, err := a.def.Settings.Check(json.RawMessage(settings), integration.CheckOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s does not take the settings that examples are made with: %w", a.def.Title, err)
	}
	decoded, err := a.def.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%s does not take the settings that examples are made with: %w", a.def.Title, err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	e := Event(a.t)
	w := &wire{}
	res := a.sender.Send(ctx, &integration.Delivery{
		ID: patchbay.DeliveryAt(e.ID, 1), Attempt: 1, Event: e, Title: a.t.Title(), Settings: decoded, Preview: !signed,
		Message: func() (*integration.Message, error) { return a.t.Render(e, a.target()) },
		Env: &integration.Env{
			HTTP: w, Dial: w.dial, Record: w.record, Log: slog.New(slog.DiscardHandler),
			Now: func() time.Time { return exampleTime.Add(time.Second) },
		},
	})
	if w.last == nil {
		return nil, fmt.Errorf("%s", res.Error)
	}
	return w.last, nil
}

// wire is a world in which nothing can be reached, and which remembers what somebody tried to send.
type wire struct{ last *integration.Exchange }

// Do remembers a request.
func (w *wire) Do(_ context.Context, r *integration.Request) (*integration.Response, error) {
	w.last = &integration.Exchange{Method: r.Method, URL: r.URL, Header: append(integration.Header(nil), r.Header...), Body: append([]byte(nil), r.Body...)}
	return nil, integration.ErrPreview
}

func (w *wire) record(x integration.Exchange) { w.last = &x }

func (w *wire) dial(context.Context, string, string) (net.Conn, error) {
	return nil, integration.ErrPreview
}
