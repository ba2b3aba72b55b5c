package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
)

type sendCmd struct {
	connection
	Type    string   `arg:"" optional:"" help:"The event's type; \"patchbay events types\" lists them."`
	File    string   `name:"file" short:"f" placeholder:"FILE|-" help:"Publish the events in a file, one a line (NDJSON), each as POST /events takes it."`
	Ordered bool     `name:"ordered" help:"With --file: accept one event after the other, in their order."`
	Payload string   `name:"payload" short:"p" placeholder:"JSON|@FILE|-" help:"What happened, an object. Default: the catalog's example."`
	Set     []string `name:"set" sep:"none" placeholder:"PATH=VALUE" help:"A value in the payload, such as run.description=Smoke; PATH:=JSON for a number or an object. Can be repeated."`
	Scope   *string  `name:"scope" help:"Where it happened. Default: the whole installation, or what the event type says."`
	Also    []string `name:"also" placeholder:"SCOPE" help:"Another scope of the same tenant that it belongs to. Can be repeated."`
	ID      string   `name:"id" help:"Your own id of it: the same one again sends nothing twice."`
	Actor   string   `name:"actor" placeholder:"JSON" help:"Who did it, such as '{\"name\": \"Ada\"}'."`
	DryRun  bool     `name:"dry-run" help:"Show what would be sent where, and send nothing."`
}

// Run publishes an event.
func (c *sendCmd) Run(p *program) error {
	api, err := c.dial(p)
	if err != nil {
		return err
	}
	if c.File != "" {
		return c.lines(p, api)
	}
	if c.Type == "" {
		return usagef("say which event: a type, such as \"patchbay send repo.push\", or --file for several")
	}
	if c.Ordered {
		return usagef("--ordered goes with --file")
	}
	e, err := c.event(p)
	if err != nil {
		return err
	}
	if c.DryRun {
		answer, err := api.DryRun(p.ctx, e)
		if err != nil || p.json {
			return err
		}
		p.dryRun(answer)
		return nil
	}
	answer, err := api.Publish(p.ctx, e)
	if err != nil || p.json {
		return err
	}
	what := "accepted"
	if answer.Replayed {
		what = "was accepted before"
	}
	p.out.Printf("%s %s %s: %s.\n", p.out.Paint(console.Green, "✓"), answer.ID, what, count(answer.Deliveries, "delivery", "deliveries"))
	if answer.Deliveries == 0 {
		p.err.Printf("No link matches it. --dry-run says why of each.\n")
	} else {
		p.err.Printf("Look at it with: patchbay events show %s\n", answer.ID)
	}
	return nil
}

// lines publishes the events of a file. What is refused is named with its line; the rest goes on.
func (c *sendCmd) lines(p *program, api *client.Client) error {
	if c.Type != "" || c.Payload != "" || len(c.Set) > 0 || c.Scope != nil || len(c.Also) > 0 || c.ID != "" || c.Actor != "" || c.DryRun {
		return usagef("--file goes alone, with --ordered: each of its lines says type, scope and everything else itself")
	}
	in := p.in
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("--file cannot be read: %w", err)
		}
		defer f.Close()
		in = f
	}
	var accepted, refused int
	err := api.PublishLines(p.ctx, in, client.BatchOptions{Ordered: c.Ordered}, func(a client.BatchAnswer) error {
		if a.Err() == nil {
			accepted++
			return nil
		}
		refused++
		if !a.Stopped {
			p.err.Printf("%s event %d: %s\n", p.err.Paint(console.Red, "✗"), accepted+refused, console.Line(a.Message))
		}
		return nil
	})
	if !p.json {
		p.out.Printf("%s %s accepted.\n", p.out.Paint(console.Green, "✓"), count(accepted, "event was", "events were"))
	}
	if err == nil && refused > 0 {
		p.err.Printf("%s refused; blank lines are not counted.\n", count(refused, "event was", "events were"))
		return errReported
	}
	return err
}

func (c *sendCmd) event(p *program) (*client.NewEvent, error) {
	e := &client.NewEvent{Type: c.Type, ID: c.ID}
	assignments, err := parseAssignments(c.Set)
	if err != nil {
		return nil, err
	}
	if c.Payload == "" {
		e.Payload, err = c.example(p)
	} else {
		e.Payload, err = p.readJSON("--payload", c.Payload)
	}
	if err != nil {
		return nil, err
	}
	if e.Payload, err = assign(e.Payload, assignments); err != nil {
		return nil, err
	}
	if c.Actor != "" {
		if e.Actor, err = p.readJSON("--actor", c.Actor); err != nil {
			return nil, err
		}
	}
	if c.Scope != nil {
		s, err := scope(*c.Scope)
		if err != nil {
			return nil, err
		}
		e.Scope = &s
	}
	for _, text := range c.Also {
		s, err := scope(text)
		if err != nil {
			return nil, err
		}
		e.Also = append(e.Also, s)
	}
	return e, nil
}

// example returns the catalog's example of the type. It asks quietly: with --json only the answer to the event is
// printed.
func (c *sendCmd) example(p *program) (json.RawMessage, error) {
	quiet := *p
	quiet.json = false
	api, err := c.dial(&quiet)
	if err != nil {
		return nil, err
	}
	t, err := api.EventType(p.ctx, c.Type)
	var answer *client.Error
	switch {
	case errors.As(err, &answer) && answer.Code == patchbay.CodeForbidden:
		return nil, usagef("give the payload with --payload: this key may not read the catalog's example")
	case err != nil:
		return nil, err
	case len(t.Example) == 0:
		return json.RawMessage("{}"), nil
	}
	return t.Example, nil
}

// dryRun shows what an event would do.
func (p *program) dryRun(answer *client.DryRun) {
	p.out.Printf("%s in %s would make %s.\n", p.out.Paint(console.Cyan, answer.Event.Type), scopeName(answer.Event.Scope), count(answer.Deliveries, "delivery", "deliveries"))
	if answer.Message != nil {
		p.field("reads", console.Line(answer.Message.Title))
	}
	for _, l := range answer.Links {
		look := console.Look{Sign: "–", Style: console.Dim}
		if l.Matched {
			look = console.Look{Sign: "✓", Style: console.Green}
		}
		p.out.Printf("\n%s  %s  %s\n", look.Paint(p.out, l.Link.String()), l.Integration, console.Line(l.Reason))
		if l.Error != "" {
			p.out.Printf("    %s\n", p.out.Paint(console.Red, console.Line(l.Error)))
		}
		if l.Request != nil {
			p.request(l.Request)
		}
	}
}

func (p *program) request(r *client.Request) {
	p.out.Printf("    %s %s\n", p.out.Paint(console.Bold, r.Method), console.Line(r.URL))
	if r.Body == "" {
		return
	}
	if json.Valid([]byte(r.Body)) {
		p.out.Printf("%s\n", p.out.Paint(console.Dim, indented(json.RawMessage(r.Body))))
		return
	}
	p.out.Printf("    %s\n", p.out.Paint(console.Dim, console.Clip(console.Line(r.Body), 400)))
}
