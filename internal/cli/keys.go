package cli

import (
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
)

type keysCmd struct {
	connection
	List   keysListCmd   `cmd:"" default:"withargs" help:"List the API keys."`
	Create keysCreateCmd `cmd:"" help:"Make an API key. Its token is shown once."`
	Delete keysDeleteCmd `cmd:"" help:"Remove an API key; it stops working at once."`
}

type keysListCmd struct{ paging }

// Run lists keys.
func (c *keysListCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	page, err := api.Keys(p.ctx, c.page())
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(page.Data))
	for i, k := range page.Data {
		expires := "never"
		if !k.ExpiresAt.IsZero() {
			expires = soon(k.ExpiresAt, p.now())
		}
		rows[i] = []console.Cell{
			{Text: k.ID.String()}, {Text: k.Name, Style: console.Bold}, {Text: scopeName(k.Scope)}, {Text: joined(k.Permissions)},
			{Text: "…" + k.Hint, Style: console.Dim}, {Text: console.Ago(k.CreatedAt, p.now()) + " ago", Style: console.Dim}, {Text: expires},
		}
	}
	p.table("There are no API keys.", []string{"KEY", "NAME", "SCOPE", "MAY", "TOKEN", "MADE", "EXPIRES"}, rows)
	p.more(page.Next)
	return nil
}

type keysCreateCmd struct {
	Name        string          `arg:"" help:"A name for people: who or what uses it."`
	Scope       string          `name:"scope" help:"What the key reaches: this scope and everything below it. Default: the whole installation."`
	Permissions []string        `name:"permission" required:"" placeholder:"publish,read" help:"What it may do: publish, inline, read, manage, admin."`
	Expires     config.Duration `name:"expires" placeholder:"90d" help:"When it stops working. Default: never."`
}

// Run makes a key.
func (c *keysCreateCmd) Run(p *program, conn *connection) error {
	s, err := scope(c.Scope)
	if err != nil {
		return err
	}
	in := &client.NewKey{Name: c.Name, Scope: s, Permissions: c.Permissions}
	if c.Expires > 0 {
		in.ExpiresAt = p.now().Add(time.Duration(c.Expires)).UTC()
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	k, err := api.CreateKey(p.ctx, in)
	if err != nil || p.json {
		return err
	}
	p.out.Printf("%s %s reaches %s and may: %s.\n\n  %s\n\nThe token is shown this once: keep it.\n", p.out.Paint(console.Green, "✓"), k.ID,
		scopeName(k.Scope), joined(k.Permissions), p.out.Paint(console.Yellow, k.Token))
	return nil
}

type keysDeleteCmd struct {
	ID patchbay.KeyID `arg:"" help:"The key (key_…)."`
}

// Run removes a key.
func (c *keysDeleteCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	if err := api.DeleteKey(p.ctx, c.ID); err != nil {
		return err
	}
	if p.json {
		return p.out.JSON(map[string]any{"deleted": c.ID})
	}
	p.out.Printf("%s %s is deleted.\n", p.out.Paint(console.Green, "✓"), c.ID)
	return nil
}
