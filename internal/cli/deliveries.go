package cli

import (
	"fmt"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
)

type deliveriesCmd struct {
	connection
	List   deliveriesListCmd   `cmd:"" default:"withargs" help:"List deliveries, newest first."`
	Show   deliveriesShowCmd   `cmd:"" help:"Show a delivery: the timeline of its attempts."`
	Retry  deliveriesRetryCmd  `cmd:"" help:"Send a delivery now, also one that failed or was cancelled."`
	Cancel deliveriesCancelCmd `cmd:"" help:"Give up a delivery that waits."`
}

type deliveriesListCmd struct {
	State       []string         `name:"state" placeholder:"STATE" help:"Only these states: pending, held, succeeded, failed, cancelled, skipped."`
	Link        patchbay.LinkID  `name:"link" placeholder:"lnk_…" help:"Only those of a link."`
	Event       patchbay.EventID `name:"event" placeholder:"evt_…" help:"Only those of an event."`
	Integration string           `name:"integration" placeholder:"KEY" help:"Only those to an integration."`
	Scope       string           `name:"scope" help:"Only those of events at or below this scope."`
	Since       moment           `name:"since" placeholder:"2h|TIME" help:"Only those of events since then."`
	paging
}

// Run lists deliveries.
func (c *deliveriesListCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	f := client.DeliveryFilter{Link: c.Link, Event: c.Event, Integration: c.Integration, Paging: c.page()}
	for _, text := range c.State {
		state := patchbay.DeliveryState(text)
		if !state.Valid() {
			return usagef("--state %s: a delivery is pending, held, succeeded, failed, cancelled or skipped", text)
		}
		f.States = append(f.States, state)
	}
	if f.Scope, err = scope(c.Scope); err != nil {
		return err
	}
	if f.Since, err = c.Since.time("--since", p.now()); err != nil {
		return err
	}
	page, err := api.Deliveries(p.ctx, f)
	if err != nil || p.json {
		return err
	}
	p.deliveries("There are no such deliveries.", page.Data)
	p.more(page.Next)
	return nil
}

// deliveries prints a table of deliveries.
func (p *program) deliveries(none string, list []client.Delivery) {
	rows := make([][]console.Cell, len(list))
	for i, d := range list {
		look := console.DeliveryLook(d.State)
		next := ""
		if d.NextAttemptAt != nil {
			next = "again " + soon(*d.NextAttemptAt, p.now())
		}
		rows[i] = []console.Cell{
			{Text: d.ID.String()}, {Text: look.Sign + " " + string(d.State), Style: look.Style},
			{Text: d.EventType, Style: console.Bold}, {Text: scopeName(d.Scope)}, {Text: d.Integration},
			{Text: d.Link.String(), Style: console.Dim}, {Text: count(d.AttemptCount, "attempt", "attempts")}, {Text: next, Style: console.Dim},
		}
	}
	p.table(none, []string{"DELIVERY", "STATE", "EVENT", "SCOPE", "TO", "LINK", "TRIED", "NEXT"}, rows)
}

// soon says when t is.
func soon(t, now time.Time) string {
	if !t.After(now) {
		return "now"
	}
	return "in " + console.Length(t.Sub(now).Round(time.Second))
}

type deliveriesShowCmd struct {
	ID patchbay.DeliveryID `arg:"" help:"The delivery (dlv_…)."`
}

// Run shows a delivery.
func (c *deliveriesShowCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	d, err := api.Delivery(p.ctx, c.ID)
	if err != nil || p.json {
		return err
	}
	p.timeline(d)
	return nil
}

// timeline draws what became of a delivery.
func (p *program) timeline(d *client.Delivery) {
	look := console.DeliveryLook(d.State)
	p.out.Printf("%s  %s\n", p.out.Paint(console.Bold, d.ID.String()), look.Paint(p.out, string(d.State)))
	to := d.Integration
	if d.Link != 0 {
		to += " over " + d.Link.String()
	}
	p.out.Printf("%s in %s to %s\n\n", p.out.Paint(console.Cyan, d.EventType), scopeName(d.Scope), to)

	accepted := d.Event.Time()
	p.step(accepted, console.Look{Sign: "●", Style: console.Blue}, "accepted as "+d.Event.String())
	before := accepted
	for i, a := range d.Attempts {
		p.out.Printf("  %s\n", p.out.Paint(console.Dim, "│ "+console.Length(a.At.Sub(before))))
		p.attempt(i+1, &a)
		before = a.At
	}
	switch {
	case d.NextAttemptAt != nil:
		p.out.Printf("  %s\n", p.out.Paint(console.Dim, "│"))
		p.step(*d.NextAttemptAt, console.Look{Sign: "○", Style: console.Yellow}, fmt.Sprintf("attempt %d, %s", d.AttemptCount+1, soon(*d.NextAttemptAt, p.now())))
	case d.State == patchbay.DeliveryHeld:
		p.out.Printf("  %s\n  %s\n", p.out.Paint(console.Dim, "│"), look.Paint(p.out, "held until the link is resumed: patchbay links resume "+d.Link.String()))
	case d.State == patchbay.DeliveryFailed && d.Link != 0:
		p.out.Printf("\nTry it again with: patchbay deliveries retry %s\n", d.ID)
	}
	p.lastBodies(d)
}

func (p *program) step(at time.Time, look console.Look, text string) {
	p.out.Printf("  %s  %s  %s\n", p.out.Paint(look.Style, look.Sign), p.out.Paint(console.Dim, at.Local().Format("2006-01-02 15:04:05.000")), text)
}

func (p *program) attempt(n int, a *client.Attempt) {
	look := console.VerdictLook(a.Verdict)
	text := fmt.Sprintf("attempt %d  %s", n, p.out.Paint(look.Style, string(a.Verdict)))
	if a.ResponseCode != 0 {
		text += fmt.Sprintf("  %d", a.ResponseCode)
	}
	p.step(a.At, look, text+p.out.Paint(console.Dim, fmt.Sprintf("  %d ms", a.DurationMS)))
	if a.Error != "" {
		p.out.Printf("  %s    %s\n", p.out.Paint(console.Dim, "│"), console.Line(a.Error))
	}
	if a.Request != nil {
		p.out.Printf("  %s    %s\n", p.out.Paint(console.Dim, "│"), p.out.Paint(console.Dim, console.Line(a.Request.Method+" "+a.Request.URL)))
	}
}

// lastBodies shows what the last attempt sent and what was answered.
func (p *program) lastBodies(d *client.Delivery) {
	if len(d.Attempts) == 0 {
		return
	}
	last := d.Attempts[len(d.Attempts)-1]
	if last.Request != nil && last.Request.Body != "" {
		p.out.Printf("\n  %s\n%s\n", p.out.Paint(console.Dim, "body ("+last.Request.BodyNote+")"), indented([]byte(last.Request.Body)))
	}
	if last.ResponseBody != "" {
		p.out.Printf("\n  %s\n    %s\n", p.out.Paint(console.Dim, "answer"), console.Clip(console.Line(last.ResponseBody), 1000))
	}
}

type deliveriesRetryCmd struct {
	ID patchbay.DeliveryID `arg:"" help:"The delivery (dlv_…)."`
}

// Run retries a delivery.
func (c *deliveriesRetryCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	d, err := api.RetryDelivery(p.ctx, c.ID)
	if err != nil || p.json {
		return err
	}
	p.out.Printf("%s %s is being sent. Look at it with: patchbay deliveries show %s\n", p.out.Paint(console.Green, "✓"), d.ID, d.ID)
	return nil
}

type deliveriesCancelCmd struct {
	ID patchbay.DeliveryID `arg:"" help:"The delivery (dlv_…)."`
}

// Run cancels a delivery.
func (c *deliveriesCancelCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	d, err := api.CancelDelivery(p.ctx, c.ID)
	if err != nil || p.json {
		return err
	}
	p.out.Printf("%s %s is %s.\n", p.out.Paint(console.Green, "✓"), d.ID, d.State)
	return nil
}
