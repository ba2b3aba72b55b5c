// Package live tells what a stream shows in readable lines, one for each event and each attempt, as tail and the demo
// print them.
package live

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
)

// The widths of the columns. The time takes 10 columns, the sign 2; what is left of the line is for what happened.
const (
	clockWidth = 10
	typeWidth  = 22
	whereWidth = 26
	linksWidth = 8
	// narrow is the width below which columns shrink.
	narrow = 100
)

// Accepted is an event as the stream shows it.
type Accepted struct {
	patchbay.Event
	// Deliveries counts the links that matched.
	Deliveries int `json:"deliveries"`
}

// Narrator writes lines about the items of a stream. Its functions may be nil.
type Narrator struct {
	Console *console.Console
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Describe says what an event is about, at the end of its line. Default: the beginning of its payload.
	Describe func(*patchbay.Event) string
	// Name names a link for people. Default: its identifier.
	Name func(*client.Delivery) string
	// Highlight is the style of an event's type. Default: console.Cyan.
	Highlight func(eventType string) console.Style
	// Brief leaves scopes and the keys of integrations out where the line is short, for those who know them.
	Brief bool
}

// Tell writes what there is to say about an item. Items that say nothing new are left out: a delivery's end is told by
// its last attempt.
func (n *Narrator) Tell(item client.Item) error {
	switch item.Kind {
	case "event":
		var e Accepted
		if err := json.Unmarshal(item.Data, &e); err != nil {
			return fmt.Errorf("the stream's event cannot be read: %w", err)
		}
		n.event(&e)
	case "attempt", "delivery":
		var d client.Delivery
		if err := json.Unmarshal(item.Data, &d); err != nil {
			return fmt.Errorf("the stream's %s cannot be read: %w", item.Kind, err)
		}
		switch {
		case len(d.Attempts) > 0:
			n.attempt(&d, &d.Attempts[len(d.Attempts)-1])
		case d.State == patchbay.DeliveryCancelled || d.State == patchbay.DeliverySkipped || d.AttemptCount == 0:
			n.ended(&d)
		}
	case "lagged":
		n.line(console.Look{Sign: "…", Style: console.Yellow}, "", "", "too much at once: some of it is not shown")
	}
	return nil
}

func (n *Narrator) event(e *Accepted) {
	style := console.Cyan
	if n.Highlight != nil {
		style = n.Highlight(e.Type)
	}
	var about string
	if n.Describe != nil {
		about = n.Describe(&e.Event)
	}
	if about == "" {
		about = string(e.Payload)
	}
	links := "→ nobody"
	switch {
	case e.Source.Kind == patchbay.SourceInline:
		links = "inline"
	case e.Deliveries > 0:
		links = fmt.Sprintf("→ %d", e.Deliveries)
	}
	scope := string(e.Scope)
	if scope == "" {
		scope = "(everywhere)"
	}
	c := n.Console
	types, where := n.widths()
	place := ""
	if where > 0 {
		place = console.Pad(scope, where) + " "
	}
	rest := c.Width - clockWidth - 2 - types - 1 - utf8.RuneCountInString(place) - linksWidth - 1
	c.Printf("%s%s %s%s %s\n", n.clock(), c.Paint(style, "● "+console.Pad(console.Line(e.Type), types)),
		c.Paint(console.Dim, place), console.Pad(links, linksWidth), console.Clip(console.Line(about), rest))
}

func (n *Narrator) attempt(d *client.Delivery, a *client.Attempt) {
	look := console.VerdictLook(a.Verdict)
	what := fmt.Sprintf("%d ms", a.DurationMS)
	if a.DurationMS == 0 {
		what = "<1 ms"
	}
	if a.ResponseCode != 0 {
		what = fmt.Sprintf("%d in %s", a.ResponseCode, what)
	}
	if d.AttemptCount > 1 && a.Verdict == patchbay.VerdictDelivered {
		what += fmt.Sprintf(", at the %s attempt", ordinal(d.AttemptCount))
	}
	if a.Verdict != patchbay.VerdictDelivered {
		what = a.Error
		if code := strconv.Itoa(a.ResponseCode); a.ResponseCode != 0 && !strings.Contains(a.Error, code) {
			what = code + ": " + a.Error
		}
		switch {
		case d.State == patchbay.DeliveryFailed:
			look = console.DeliveryLook(d.State)
			what = "failed for good: " + what
			if d.AttemptCount > 1 {
				what = fmt.Sprintf("given up after %d attempts: %s", d.AttemptCount, a.Error)
			}
		case d.NextAttemptAt != nil:
			what = fmt.Sprintf("again in %s: %s", console.Length(max(d.NextAttemptAt.Sub(n.now()), time.Second).Round(time.Second)), what)
		}
	}
	n.line(look, d.Integration, n.name(d), what)
}

func (n *Narrator) ended(d *client.Delivery) {
	n.line(console.DeliveryLook(d.State), d.Integration, n.name(d), string(d.State))
}

func (n *Narrator) name(d *client.Delivery) string {
	if n.Name != nil {
		if name := n.Name(d); name != "" {
			return name
		}
	}
	return d.Link.String()
}

// line writes one line below an event's.
func (n *Narrator) line(look console.Look, integration, name, what string) {
	c := n.Console
	types, where := n.widths()
	place := console.Pad(console.Line(name), types-2)
	if where > 0 {
		place = console.Pad(integration, types-2) + " " + console.Pad(console.Line(name), where)
	}
	rest := c.Width - clockWidth - 4 - utf8.RuneCountInString(place) - 1
	style := look.Style
	if style == console.Green {
		style = console.Dim // what went well needs no attention
	}
	c.Printf("%s  %s %s %s\n", n.clock(), c.Paint(look.Style, look.Sign), place, c.Paint(style, console.Clip(console.Line(what), rest)))
}

// widths returns how wide the columns are. A second column of 0 is left out.
func (n *Narrator) widths() (types, where int) {
	switch {
	case n.Console.Width >= narrow:
		return typeWidth, whereWidth
	case n.Brief:
		return typeWidth, 0
	}
	return typeWidth - 4, whereWidth - 8
}

func (n *Narrator) now() time.Time {
	if n.Now != nil {
		return n.Now()
	}
	return time.Now()
}

func (n *Narrator) clock() string {
	return n.Console.Paint(console.Dim, n.now().Local().Format("15:04:05")+"  ")
}

func ordinal(n int) string {
	switch {
	case n%100/10 == 1:
	case n%10 == 1:
		return fmt.Sprintf("%dst", n)
	case n%10 == 2:
		return fmt.Sprintf("%dnd", n)
	case n%10 == 3:
		return fmt.Sprintf("%drd", n)
	}
	return fmt.Sprintf("%dth", n)
}
