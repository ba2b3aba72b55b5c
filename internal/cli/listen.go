package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/console"
	"github.com/patchbay/patchbay/internal/outbound"
)

// forwardTimeout is the time that the webhook integration's receivers have, here as there.
const forwardTimeout = 15 * time.Second

// webhookKey is the integration whose requests listen makes.
const webhookKey = "webhook"

type listenCmd struct {
	connection
	Forward string          `name:"forward" required:"" placeholder:"URL" help:"The program on this machine, such as http://localhost:3000/hooks."`
	Events  []string        `name:"events" default:"*" placeholder:"PATTERN" help:"Event types; * stands for any run of characters. Can be repeated."`
	Scope   string          `name:"scope" help:"Only events at or below this scope."`
	Secret  patchbay.Secret `name:"secret" placeholder:"whsec_…" help:"What to sign with. Default: a new one, which is printed."`
	Set     []string        `name:"set" sep:"none" placeholder:"KEY=VALUE" help:"Another setting of the webhook integration, such as format=flat. Can be repeated."`
}

// Run forwards events to a program on this machine, as a link with the integration webhook would send them. Nothing is
// stored and nothing is retried.
func (c *listenCmd) Run(p *program) error {
	forward, secret, err := c.forwarder(p)
	if err != nil {
		return err
	}
	f := client.StreamFilter{Kinds: []string{"event"}}
	if f.Scope, err = scope(c.Scope); err != nil {
		return err
	}
	if f.Types, err = patterns(c.Events); err != nil {
		return err
	}
	printed := p.json
	p.json = false // an answer of the API is no result here
	api, err := c.dial(p)
	if err != nil {
		return err
	}
	p.json = printed
	if c.Secret == "" && secret != "" {
		p.err.Printf("The signing secret is %s\n", p.err.Paint(console.Yellow, secret))
	}
	return p.watch(api, f, func(item client.Item) error {
		if item.Kind != "event" {
			return nil
		}
		e, err := streamed(item)
		if err != nil {
			return err
		}
		started := p.now()
		result := forward(p.ctx, e)
		return p.forwarded(e, &result, p.now().Sub(started))
	})
}

// forwarder returns what sends one event, and the secret that it signs with. The requests are made by the integration
// itself, so that what works here works on a link.
func (c *listenCmd) forwarder(p *program) (func(context.Context, *patchbay.Event) integration.Result, string, error) {
	var sender integration.Sender
	for _, i := range p.build.Integrations {
		if s, ok := i.(integration.Sender); ok && i.Definition().Key == webhookKey {
			sender = s
		}
	}
	if sender == nil {
		return nil, "", errors.New("this build does not have the integration \"webhook\", which listen sends with")
	}
	def := sender.Definition()
	raw, secret, err := c.settings(def)
	if err != nil {
		return nil, "", err
	}
	decoded, err := def.Decode(raw)
	if err != nil {
		return nil, "", usageError{err}
	}
	out := outbound.New(outbound.Options{Guard: outbound.Guard{AllowLoopback: true}, Version: p.build.Version, Timeout: forwardTimeout})
	return func(ctx context.Context, e *patchbay.Event) integration.Result {
		ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
		defer cancel()
		return sender.Send(ctx, &integration.Delivery{
			Attempt: 1, Event: e, Title: e.Type, Settings: decoded,
			Message: func() (*integration.Message, error) {
				return &integration.Message{Title: e.Type, Severity: patchbay.SeverityInfo}, nil
			},
			Env: &integration.Env{HTTP: out, Dial: out.Dial, Record: func(integration.Exchange) {}, Log: slog.New(slog.DiscardHandler), Now: p.now},
		})
	}, secret, nil
}

// settings makes the integration's settings, and a secret when none is given.
func (c *listenCmd) settings(def *integration.Definition) (json.RawMessage, string, error) {
	assignments, err := parseAssignments(c.Set)
	if err != nil {
		return nil, "", err
	}
	secret := c.Secret.Reveal()
	for _, set := range def.Settings {
		if set.Key == "secret" && set.Generate != nil && secret == "" {
			if secret, err = set.Generate(); err != nil {
				return nil, "", err
			}
		}
	}
	assignments = append(assignments, assignment{[]string{"url"}, c.Forward}, assignment{[]string{"secret"}, secret})
	raw, err := assign(json.RawMessage("{}"), assignments)
	if err != nil {
		return nil, "", err
	}
	checked, err := def.Settings.Check(raw, integration.CheckOptions{})
	if err != nil {
		return nil, "", usageError{err}
	}
	return checked, secret, nil
}

// forwarded tells what the program answered.
func (p *program) forwarded(e *patchbay.Event, r *integration.Result, took time.Duration) error {
	if p.json {
		return p.out.JSON(map[string]any{
			"event": e.ID, "type": e.Type, "scope": e.Scope, "verdict": r.Verdict, "response_code": r.Code, "error": r.Error, "duration_ms": took.Milliseconds(),
		})
	}
	look := console.VerdictLook(r.Verdict)
	what := console.Line(r.Error)
	if r.Verdict == patchbay.VerdictDelivered {
		what = fmt.Sprintf("in %s", took.Round(time.Millisecond))
		if r.Code != 0 {
			what = fmt.Sprintf("%d %s", r.Code, what)
		}
	}
	p.out.Printf("%s  %s  %s  %s  %s\n", p.out.Paint(console.Dim, p.now().Local().Format("15:04:05")), p.out.Paint(look.Style, look.Sign),
		p.out.Paint(console.Bold, console.Pad(e.Type, 22)), e.ID, what)
	return nil
}
