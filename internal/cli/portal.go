package cli

import (
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
)

type portalCmd struct {
	connection
	Open portalOpenCmd `cmd:"" default:"withargs" help:"Make the address of a customer's own pages. It works once, within five minutes."`
	List portalListCmd `cmd:"" help:"List the portal sessions that have not ended."`
	End  portalEndCmd  `cmd:"" help:"End a portal session at once."`
}

type portalOpenCmd struct {
	Scope       string          `arg:"" help:"What the customer sees: this scope and everything below it."`
	User        string          `name:"user" help:"Your product's name for who will be in front of the browser."`
	OwnerScope  string          `name:"owner-scope" placeholder:"SCOPE" help:"Where the user's own things are."`
	Permissions []string        `name:"permission" placeholder:"view,edit,secrets" help:"What the customer may do. Default: view, edit, secrets."`
	TTL         config.Duration `name:"ttl" placeholder:"1h" help:"How long the session lasts, up to 24h. Default: 1h."`
	Return      string          `name:"return" placeholder:"URL" help:"Your page to lead back to."`
}

// Run makes a portal session.
func (c *portalOpenCmd) Run(p *program, conn *connection) error {
	s, err := scope(c.Scope)
	if err != nil {
		return err
	}
	in := &client.NewPortal{Scope: s, User: c.User, Permissions: c.Permissions, TTL: patchbay.Duration(c.TTL), Return: c.Return}
	if c.OwnerScope != "" {
		own, err := scope(c.OwnerScope)
		if err != nil {
			return err
		}
		in.OwnerScope = &own
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	v, err := api.CreatePortal(p.ctx, in)
	if err != nil || p.json {
		return err
	}
	p.out.Printf("%s %s shows %s and lasts for %s; its user may: %s.\n\n  %s\n\nOpen it within five minutes. It works once.\n", p.out.Paint(console.Green, "✓"), v.ID,
		scopeName(v.Scope), patchbay.Duration(v.ExpiresAt.Sub(v.CreatedAt).Round(time.Second)), joined(v.Permissions), p.out.Paint(console.Yellow, v.URL))
	return nil
}

type portalListCmd struct {
	paging
	Scope string `name:"scope" help:"Only those at or below this scope."`
}

// Run lists portal sessions.
func (c *portalListCmd) Run(p *program, conn *connection) error {
	s, err := scope(c.Scope)
	if err != nil {
		return err
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	page, err := api.Portals(p.ctx, s, c.page())
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(page.Data))
	for i, v := range page.Data {
		opened := "not opened"
		if v.Claimed {
			opened = "opened"
		}
		rows[i] = []console.Cell{
			{Text: v.ID.String()}, {Text: scopeName(v.Scope), Style: console.Bold}, {Text: v.User}, {Text: joined(v.Permissions)}, {Text: opened},
			{Text: console.Ago(v.CreatedAt, p.now()) + " ago", Style: console.Dim}, {Text: soon(v.ExpiresAt, p.now())},
		}
	}
	p.table("There are no portal sessions.", []string{"SESSION", "SCOPE", "USER", "MAY", "STATE", "MADE", "ENDS"}, rows)
	p.more(page.Next)
	return nil
}

type portalEndCmd struct {
	ID patchbay.SessionID `arg:"" help:"The session (ses_…)."`
}

// Run ends a portal session.
func (c *portalEndCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	if err := api.DeletePortal(p.ctx, c.ID); err != nil {
		return err
	}
	if p.json {
		return p.out.JSON(map[string]any{"ended": c.ID})
	}
	p.out.Printf("%s %s has ended.\n", p.out.Paint(console.Green, "✓"), c.ID)
	return nil
}
