package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
)

type eventsCmd struct {
	connection
	List   eventsListCmd   `cmd:"" default:"withargs" help:"List events, newest first."`
	Show   eventsShowCmd   `cmd:"" help:"Show an event, how it reads, and what became of it."`
	Replay eventsReplayCmd `cmd:"" help:"Play an event again, over the links that match it now."`
	Types  eventsTypesCmd  `cmd:"" help:"List the event types, or show one."`
}

type eventsListCmd struct {
	Type  string `name:"type" placeholder:"PATTERN" help:"Only types that match."`
	Scope string `name:"scope" help:"Only what lies at or below this scope."`
	Since moment `name:"since" placeholder:"2h|TIME" help:"Only what came in since then."`
	Until moment `name:"until" placeholder:"2h|TIME" help:"Only what came in before then."`
	paging
}

// Run lists events.
func (c *eventsListCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	f := client.EventFilter{Type: c.Type, Paging: c.page()}
	if f.Scope, err = scope(c.Scope); err != nil {
		return err
	}
	if f.Since, err = c.Since.time("--since", p.now()); err != nil {
		return err
	}
	if f.Until, err = c.Until.time("--until", p.now()); err != nil {
		return err
	}
	page, err := api.Events(p.ctx, f)
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(page.Data))
	for i, e := range page.Data {
		rows[i] = []console.Cell{
			{Text: e.ID.String()}, {Text: console.Ago(e.ReceivedAt, p.now()), Style: console.Dim},
			{Text: e.Type, Style: console.Bold}, {Text: scopeName(e.Scope)}, {Text: e.Source.Kind, Style: console.Dim},
			{Text: console.Clip(compact(e.Payload), 60), Style: console.Dim},
		}
	}
	p.table("There are no events yet. \"patchbay send\" publishes one.", []string{"ID", "AGE", "TYPE", "SCOPE", "SOURCE", "PAYLOAD"}, rows)
	p.more(page.Next)
	return nil
}

type eventsShowCmd struct {
	ID patchbay.EventID `arg:"" help:"The event (evt_…)."`
}

// Run shows an event.
func (c *eventsShowCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	e, err := api.Event(p.ctx, c.ID)
	if err != nil || p.json {
		return err
	}
	p.out.Printf("%s  %s in %s\n\n", p.out.Paint(console.Bold, e.ID.String()), p.out.Paint(console.Cyan, e.Type), scopeName(e.Scope))
	p.field("received", e.ReceivedAt.Local().Format(time.RFC3339)+", "+console.Ago(e.ReceivedAt, p.now())+" ago")
	p.field("occurred", e.OccurredAt.Local().Format(time.RFC3339))
	p.field("source", sourceName(e.Source))
	if len(e.Also) > 0 {
		p.field("also in", joined(e.Also))
	}
	if e.Message != nil {
		p.field("reads", console.Line(e.Message.Title))
	}
	p.field("payload", "")
	p.out.Printf("%s\n", indented(e.Payload))
	p.out.Printf("\n")
	p.deliveries("No link matched it, so nothing was sent.", e.Deliveries)
	return nil
}

type eventsReplayCmd struct {
	ID patchbay.EventID `arg:"" help:"The event (evt_…)."`
}

// Run replays an event.
func (c *eventsReplayCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	replay, err := api.Replay(p.ctx, c.ID)
	if err != nil || p.json {
		return err
	}
	p.out.Printf("%s %s is played again as %s: %s.\n", p.out.Paint(console.Green, "✓"), c.ID, replay.ID, count(len(replay.Deliveries), "delivery", "deliveries"))
	return nil
}

type eventsTypesCmd struct {
	Key string `arg:"" optional:"" help:"A type, to see its schema and an example."`
	paging
}

// Run lists event types.
func (c *eventsTypesCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	if c.Key != "" {
		return p.eventType(api, c.Key)
	}
	page, err := api.EventTypes(p.ctx, c.page())
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(page.Data))
	for i, t := range page.Data {
		rows[i] = []console.Cell{{Text: t.Key, Style: console.Bold}, {Text: t.Title}, {Text: t.Origin, Style: console.Dim}}
	}
	p.table("The catalog is empty.", []string{"TYPE", "TITLE", "FROM"}, rows)
	p.more(page.Next)
	return nil
}

func (p *program) eventType(api *client.Client, key string) error {
	t, err := api.EventType(p.ctx, key)
	if err != nil || p.json {
		return err
	}
	p.out.Printf("%s  %s\n", p.out.Paint(console.Bold, t.Key), t.Title)
	if t.Description != "" {
		p.out.Printf("%s\n", console.Line(t.Description))
	}
	p.out.Printf("\n")
	p.field("from", t.Origin)
	if len(t.Aliases) > 0 {
		p.field("aliases", strings.Join(t.Aliases, ", "))
	}
	p.field("schema", "")
	p.out.Printf("%s\n", indented(t.Schema))
	p.field("example", "")
	p.out.Printf("%s\n", indented(t.Example))
	return nil
}

// compact writes JSON on one line.
func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return console.Line(string(raw))
	}
	return console.Line(b.String())
}

// indented writes JSON over several lines, below what it belongs to.
func indented(raw json.RawMessage) string {
	const prefix = "    "
	var b bytes.Buffer
	if len(raw) == 0 || json.Indent(&b, raw, prefix, "  ") != nil {
		return prefix + console.Line(string(raw))
	}
	return prefix + console.Printable(b.String())
}

func scopeName(s patchbay.Scope) string {
	if s == "" {
		return "(everywhere)"
	}
	return string(s)
}

func joined[T ~string](texts []T) string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = string(t)
	}
	return strings.Join(out, ", ")
}

func sourceName(s patchbay.Source) string {
	parts := []string{s.Kind}
	for _, part := range []string{s.Integration, s.Link.String(), s.Key.String()} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
