package cli

import (
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
)

type connectionsCmd struct {
	connection
	List   connectionsListCmd   `cmd:"" default:"withargs" help:"List connections."`
	Get    connectionsGetCmd    `cmd:"" help:"Show a connection."`
	Check  connectionsCheckCmd  `cmd:"" help:"Ask the partner whether a connection's credentials are good."`
	Delete connectionsDeleteCmd `cmd:"" help:"Take a connection back at the partner, and remove it."`
}

type connectionsListCmd struct {
	paging
	Scope       string `name:"scope" help:"Only those at or below this scope."`
	Serving     string `name:"serving" placeholder:"SCOPE" help:"Instead, those that a link in this scope may use."`
	Integration string `name:"integration" help:"Only those of this integration."`
}

// Run lists connections.
func (c *connectionsListCmd) Run(p *program, conn *connection) error {
	f := client.ConnectionFilter{Integration: c.Integration, Paging: c.page()}
	for _, given := range []struct {
		text string
		into **patchbay.Scope
	}{{c.Scope, &f.Scope}, {c.Serving, &f.Serving}} {
		if given.text == "" {
			continue
		}
		s, err := scope(given.text)
		if err != nil {
			return err
		}
		*given.into = &s
	}
	if f.Scope != nil && f.Serving != nil {
		return usagef("--serving cannot be combined with --scope")
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	page, err := api.Connections(p.ctx, f)
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(page.Data))
	for i := range page.Data {
		v := &page.Data[i]
		look := console.ConnectionLook(v.State)
		rows[i] = []console.Cell{
			{Text: v.ID.String()}, {Text: look.Sign + " " + string(v.State), Style: look.Style}, {Text: v.Integration},
			{Text: console.Clip(accountOf(v), 30), Style: console.Bold}, {Text: scopeName(v.Scope)}, {Text: v.Owner},
			{Text: count(v.Links, "link", "links")}, {Text: console.Clip(v.StateReason, 60), Style: console.Dim},
		}
	}
	p.table("There are no connections. Accounts are connected in a browser, at /auth/<integration>.",
		[]string{"CONNECTION", "STATE", "INTEGRATION", "ACCOUNT", "SCOPE", "OWNER", "USED BY", "REASON"}, rows)
	p.more(page.Next)
	return nil
}

// accountOf is what people call the account.
func accountOf(v *client.Connection) string {
	if v.Account.Name != "" {
		return v.Account.Name
	}
	return v.Account.ID
}

type connectionArg struct {
	ID patchbay.ConnectionID `arg:"" help:"The connection (con_…)."`
}

type connectionsGetCmd struct{ connectionArg }

// Run shows a connection.
func (c *connectionsGetCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	v, err := api.Connection(p.ctx, c.ID)
	if err != nil || p.json {
		return err
	}
	p.showConnection(v)
	return nil
}

type connectionsCheckCmd struct{ connectionArg }

// Run checks a connection. One that does not work is a failure.
func (c *connectionsCheckCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	v, err := api.CheckConnection(p.ctx, c.ID)
	if err != nil {
		return err
	}
	if !p.json {
		p.showConnection(v)
	}
	if v.State != patchbay.ConnectionActive {
		return patchbay.Errorf(patchbay.CodeUserConfigurationError, "the connection does not work: %s", v.StateReason)
	}
	return nil
}

func (p *program) showConnection(v *client.Connection) {
	p.out.Printf("%s  %s  %s\n", p.out.Paint(console.Bold, v.ID.String()), console.ConnectionLook(v.State).Paint(p.out, string(v.State)), v.StateReason)
	account := accountOf(v)
	if v.Account.Name != "" && v.Account.Name != v.Account.ID {
		account += " (" + v.Account.ID + ")"
	}
	lines := [][2]string{{"integration", v.Integration}, {"account", account}, {"scope", scopeName(v.Scope)}, {"owner", v.Owner}}
	if v.OwnerScope != nil {
		lines = append(lines, [2]string{"owner's scope", scopeName(*v.OwnerScope)})
	}
	if v.Name != "" {
		lines = append(lines, [2]string{"name", v.Name})
	}
	if len(v.Grants) > 0 {
		lines = append(lines, [2]string{"grants", joined(v.Grants)})
	}
	for _, at := range []struct {
		name string
		at   time.Time
	}{{"connected", v.CreatedAt}, {"checked", v.CheckedAt}} {
		if !at.at.IsZero() {
			lines = append(lines, [2]string{at.name, console.Ago(at.at, p.now()) + " ago"})
		}
	}
	lines = append(lines, [2]string{"used by", count(v.Links, "link", "links")})
	for _, l := range lines {
		p.out.Printf("  %-14s %s\n", l[0], l[1])
	}
}

type connectionsDeleteCmd struct {
	connectionArg
	Force bool `name:"force" help:"Delete it although links use it; they stop working."`
}

// Run removes a connection.
func (c *connectionsDeleteCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	notice, err := api.DeleteConnection(p.ctx, c.ID, c.Force)
	if err != nil {
		return err
	}
	if p.json {
		return p.out.JSON(map[string]any{"deleted": c.ID, "notice": notice})
	}
	p.out.Printf("%s %s is deleted.\n", p.out.Paint(console.Green, "✓"), c.ID)
	if notice != "" {
		p.out.Printf("%s %s\n", p.out.Paint(console.Yellow, "!"), notice)
	}
	return nil
}
