package cli

import (
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
)

type sessionsCmd struct {
	connection
	List sessionsListCmd `cmd:"" default:"withargs" help:"List the browsers in which somebody is signed in."`
	End  sessionsEndCmd  `cmd:"" help:"End a session at once."`
}

type sessionsListCmd struct {
	paging
	Scope string `name:"scope" help:"Only those at or below this scope."`
	Of    string `name:"of" enum:",operators,portals" default:"" placeholder:"operators|portals" help:"Only operators, or only customers' portals."`
}

// Run lists sessions.
func (c *sessionsListCmd) Run(p *program, conn *connection) error {
	s, err := scope(c.Scope)
	if err != nil {
		return err
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	page, err := api.Sessions(p.ctx, client.SessionFilter{Within: s, Of: c.Of, Paging: c.page()})
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(page.Data))
	for i, v := range page.Data {
		way, may := strings.TrimPrefix(v.Via, "https://"), v.Role
		if v.Portal {
			way, may = "portal", "customer"
		}
		rows[i] = []console.Cell{
			{Text: v.ID.String()}, {Text: v.Name, Style: console.Bold}, {Text: may}, {Text: scopeName(v.Scope)}, {Text: way}, {Text: v.Address},
			{Text: console.Ago(v.CreatedAt, p.now()) + " ago", Style: console.Dim}, {Text: soon(v.ExpiresAt, p.now())},
		}
	}
	p.table("Nobody is signed in.", []string{"SESSION", "WHO", "MAY", "SCOPE", "BY", "FROM", "BEGAN", "ENDS"}, rows)
	p.more(page.Next)
	return nil
}

type sessionsEndCmd struct {
	ID patchbay.SessionID `arg:"" help:"The session (ses_…)."`
}

// Run ends a session.
func (c *sessionsEndCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	if err := api.EndSession(p.ctx, c.ID); err != nil {
		return err
	}
	if p.json {
		return p.out.JSON(map[string]any{"ended": c.ID})
	}
	p.out.Printf("%s %s has ended.\n", p.out.Paint(console.Green, "✓"), c.ID)
	return nil
}
