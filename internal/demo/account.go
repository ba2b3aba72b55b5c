package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
	"github.com/patchbay/patchbay/internal/live"
)

// account tells what happens and counts it. Its lines come from the stream and from the player, so it has a lock.
type account struct {
	mu  sync.Mutex
	out *console.Console
	now func() time.Time

	started  time.Time
	names    map[patchbay.LinkID]string
	narrator *live.Narrator

	events, matched, sent, retried, failed int
}

func newAccount(out *console.Console, now func() time.Time) *account {
	a := &account{out: out, now: now, names: map[patchbay.LinkID]string{}, started: now()}
	a.narrator = &live.Narrator{Console: out, Now: now, Highlight: highlight, Brief: true,
		Name: func(d *client.Delivery) string { return a.names[d.Link] }}
	return a
}

// highlight gives each of the four systems its colour.
func highlight(eventType string) console.Style {
	for _, s := range script() {
		if s.eventType == eventType {
			return []console.Style{rainforest: console.Green, rhodecode: console.Blue, keyclic: console.Magenta, idonethis: console.Yellow}[s.system]
		}
	}
	return console.Red // raised by Patchbay itself
}

func (a *account) welcome(server, data string) {
	c := a.out
	c.Printf("\n  %s\n", c.Paint(console.Bold, "Patchbay demo"))
	c.Printf("  %s\n\n", c.Paint(console.Dim, "Development mode. The partners are stand-ins; nothing leaves this machine."))
	for _, row := range [][2]string{
		{"Pages", server + "/"}, {"A team's page", server + "/settings/initech/teams/eng"}, {"API", server + "/v1"}, {"Its documentation", server + "/docs"}, {"Catalog", server + "/events"}, {"Integrations", server + "/integrations"},
		{"What failed", server + "/v1/deliveries?state=failed"}, {"Metrics", server + "/metrics"}, {"Data", data},
	} {
		c.Printf("  %s %s\n", c.Paint(console.Dim, console.Pad(row[0], 18)), c.Paint(console.Cyan, row[1]))
	}
	c.Printf("\n  %s\n", c.Paint(console.Bold, "Links"))
}

// introduce tells of a link.
func (a *account) introduce(r *role, l *client.Link) {
	a.names[l.ID] = r.name
	events := make([]string, len(r.events))
	for i, e := range r.events {
		events[i] = string(e)
	}
	what := strings.Join(events, ", ")
	if what == "" {
		what = "what happens there"
	}
	where := " everywhere"
	if r.scope != "" {
		where = " in " + string(r.scope)
	}
	a.out.Printf("  %s %s %s\n", console.Pad(r.name, 22), a.out.Paint(console.Dim, console.Pad(r.integration, 16)),
		console.Clip(what+where, max(20, a.out.Width-44)))
}

func (a *account) begin() {
	a.out.Printf("\n  %s\n\n", a.out.Paint(console.Dim, "Events come in now. Ctrl-C ends it."))
}

// watch tells what the stream shows until it ends. An event's line says how the event reads to a person.
func (a *account) watch(ctx context.Context, api *client.Client, stream *client.Stream) error {
	a.narrator.Describe = func(e *patchbay.Event) string {
		seen, err := api.Event(ctx, e.ID)
		if err != nil || seen.Message == nil {
			return ""
		}
		return seen.Message.Title
	}
	for {
		item, err := stream.Next()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the stream ended because the demo did
		}
		if err != nil {
			return err
		}
		a.mu.Lock()
		a.count(item)
		err = a.narrator.Tell(item)
		a.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (a *account) count(item client.Item) {
	switch item.Kind {
	case "event":
		var e live.Accepted
		if json.Unmarshal(item.Data, &e) == nil {
			a.events++
			a.matched += e.Deliveries
		}
	case "attempt":
		var d client.Delivery
		if json.Unmarshal(item.Data, &d) != nil {
			return
		}
		switch d.State {
		case patchbay.DeliverySucceeded:
			a.sent++
		case patchbay.DeliveryFailed:
			a.failed++
		default:
			a.retried++
		}
	}
}

// say tells something that the stream does not show.
func (a *account) say(style console.Style, sign, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	clock := a.now().Local().Format("15:04:05") + "  "
	a.out.Printf("%s%s %s\n", a.out.Paint(console.Dim, clock), a.out.Paint(style, sign),
		a.out.Paint(style, console.Clip(console.Line(text), a.out.Width-12)))
}

// summary sums up what has happened.
func (a *account) summary(ctx context.Context, api *client.Client) {
	held := ""
	if page, err := api.Deliveries(ctx, client.DeliveryFilter{States: []patchbay.DeliveryState{patchbay.DeliveryHeld}, Paging: client.Paging{Limit: 250}}); err == nil && len(page.Data) > 0 {
		held = fmt.Sprintf(" · %d held", len(page.Data))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rule(a.totals() + held)
}

func (a *account) totals() string {
	return fmt.Sprintf("%d events · %d matches · %d sent · %d retries · %d failed", a.events, a.matched, a.sent, a.retried, a.failed)
}

// rule draws a line with text in it.
func (a *account) rule(text string) {
	width := min(a.out.Width, 120)
	right := max(2, width-4-utf8.RuneCountInString(text)-2)
	a.out.Printf("%s %s %s\n", a.out.Paint(console.Dim, "──"), a.out.Paint(console.Bold, text), a.out.Paint(console.Dim, strings.Repeat("─", right)))
}

func (a *account) goodbye(verified, mails int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.out.Printf("\n")
	a.rule(a.totals())
	a.out.Printf("  %s\n", a.out.Paint(console.Dim, fmt.Sprintf("In %s the stand-ins verified %d signatures and took %d mails.",
		a.now().Sub(a.started).Round(time.Second), verified, mails)))
	a.out.Printf("  %s\n", a.out.Paint(console.Dim, "\"patchbay serve --dev\" is the same without the make-believe."))
}
