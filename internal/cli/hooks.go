package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
)

type hooksCmd struct {
	connection
	List   hooksListCmd   `cmd:"" default:"withargs" help:"List what partners sent, newest first."`
	Get    hooksGetCmd    `cmd:"" help:"Show what a partner sent, and what became of it."`
	Replay hooksReplayCmd `cmd:"" help:"Read it again: for what could not be placed or read at first."`
}

type hooksListCmd struct {
	State       []string        `name:"state" placeholder:"STATE" help:"Only these states: pending, done, ignored, unplaced, failed."`
	Link        patchbay.LinkID `name:"link" placeholder:"lnk_…" help:"Only calls of a link's own address."`
	Integration string          `name:"integration" placeholder:"KEY" help:"Only those of an integration."`
	Account     string          `name:"account" placeholder:"ID" help:"Only those about an account at the partner."`
	Scope       string          `name:"scope" help:"Only those of links at or below this scope."`
	paging
}

// Run lists hooks.
func (c *hooksListCmd) Run(p *program, conn *connection) error {
	f := client.HookFilter{Link: c.Link, Integration: c.Integration, Account: c.Account, Paging: c.page()}
	for _, text := range c.State {
		state := patchbay.HookState(text)
		if !state.Valid() {
			return usagef("--state %s: a hook is pending, done, ignored, unplaced or failed", text)
		}
		f.States = append(f.States, state)
	}
	var err error
	if f.Scope, err = scope(c.Scope); err != nil {
		return err
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	page, err := api.Hooks(p.ctx, f)
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(page.Data))
	for i := range page.Data {
		h := &page.Data[i]
		look := hookLook(h.State)
		rows[i] = []console.Cell{
			{Text: h.ID.String()}, {Text: look.Sign + " " + string(h.State), Style: look.Style}, {Text: h.Integration, Style: console.Bold},
			{Text: console.Clip(console.Line(h.Type), 30)}, {Text: hookScope(h)}, {Text: count(len(h.Events), "event", "events")},
			{Text: console.Clip(console.Line(h.Reason), 50), Style: console.Dim}, {Text: console.Ago(h.ReceivedAt, p.now()), Style: console.Dim},
		}
	}
	p.table("There are no such hooks.", []string{"HOOK", "STATE", "FROM", "TYPE", "SCOPE", "BECAME", "REASON", "RECEIVED"}, rows)
	p.more(page.Next)
	return nil
}

func hookLook(s patchbay.HookState) console.Look {
	switch s {
	case patchbay.HookDone:
		return console.Look{Sign: "✓", Style: console.Green}
	case patchbay.HookFailed:
		return console.Look{Sign: "✗", Style: console.Red}
	case patchbay.HookUnplaced:
		return console.Look{Sign: "?", Style: console.Yellow}
	case patchbay.HookIgnored:
		return console.Look{Sign: "–", Style: console.Dim}
	}
	return console.Look{Sign: "○", Style: console.Blue}
}

// hookScope is where a hook belongs, "" when nowhere yet.
func hookScope(h *client.Hook) string {
	if h.Scope == nil {
		return ""
	}
	return scopeName(*h.Scope)
}

type hooksGetCmd struct {
	ID patchbay.HookID `arg:"" help:"The hook (hok_…)."`
}

// Run shows a hook.
func (c *hooksGetCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	h, err := api.Hook(p.ctx, c.ID)
	if err != nil || p.json {
		return err
	}
	p.hook(h)
	p.out.Printf("\n")
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		p.out.Printf("%s %s\n", p.out.Paint(console.Dim, name+":"), console.Line(strings.Join(h.Headers[name], ", ")))
	}
	if h.Query != "" {
		p.out.Printf("%s %s\n", p.out.Paint(console.Dim, "?"), console.Line(h.Query))
	}
	if h.BodyBase64 != nil {
		p.out.Printf("\n%d bytes that are no text; --json shows them\n", len(h.BodyBase64))
		return nil
	}
	p.out.Printf("\n")
	for line := range strings.SplitSeq(h.Body, "\n") {
		p.out.Printf("%s\n", console.Line(line))
	}
	return nil
}

// hook prints what became of a hook.
func (p *program) hook(h *client.Hook) {
	look := hookLook(h.State)
	p.out.Printf("%s  %s\n", p.out.Paint(console.Bold, h.ID.String()), look.Paint(p.out, string(h.State)))
	from := h.Integration
	if h.Type != "" {
		from += " " + console.Line(h.Type)
	}
	if h.Account != "" {
		from += " about " + console.Line(h.Account)
	}
	if h.Link != nil {
		from += " to " + h.Link.String()
	}
	p.out.Printf("%s, %s\n", p.out.Paint(console.Cyan, from), console.Ago(h.ReceivedAt, p.now()))
	if h.Reason != "" {
		p.out.Printf("%s\n", console.Line(h.Reason))
	}
	for _, id := range h.Events {
		p.out.Printf("  → %s\n", id)
	}
	if h.State == patchbay.HookUnplaced || h.State == patchbay.HookFailed {
		p.out.Printf("\nWhen that has been put right: patchbay hooks replay %s\n", h.ID)
	}
}

type hooksReplayCmd struct {
	ID patchbay.HookID `arg:"" help:"The hook (hok_…)."`
}

// Run has a hook read again.
func (c *hooksReplayCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	h, err := api.ReplayHook(p.ctx, c.ID)
	if err != nil || p.json {
		return err
	}
	p.hook(h)
	return nil
}
