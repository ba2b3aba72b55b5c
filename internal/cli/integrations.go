package cli

import (
	"fmt"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
)

type integrationsCmd struct {
	connection
	List    integrationsListCmd    `cmd:"" default:"withargs" help:"List the integrations."`
	Show    integrationsShowCmd    `cmd:"" help:"Show an integration and its settings."`
	Test    integrationsTestCmd    `cmd:"" help:"Try settings out, before there is a link."`
	Choices integrationsChoicesCmd `cmd:"" help:"Ask the partner for the values of a setting, such as channels."`
}

type integrationsListCmd struct{ paging }

// Run lists integrations.
func (c *integrationsListCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	page, err := api.Integrations(p.ctx, c.page())
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(page.Data))
	for i, in := range page.Data {
		rows[i] = []console.Cell{
			{Text: in.Key, Style: console.Bold}, {Text: in.Title}, {Text: in.Category, Style: console.Dim},
			{Text: joined(in.Supports), Style: console.Dim}, {Text: required(in.Settings)},
		}
	}
	p.table("There are no integrations.", []string{"KEY", "TITLE", "CATEGORY", "SUPPORTS", "REQUIRED SETTINGS"}, rows)
	p.more(page.Next)
	return nil
}

func required(settings []client.Setting) string {
	var keys []string
	for _, s := range settings {
		if s.Required {
			keys = append(keys, s.Key)
		}
	}
	return joined(keys)
}

type integrationsShowCmd struct {
	Key string `arg:"" help:"The integration's key."`
}

// Run shows an integration.
func (c *integrationsShowCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	in, err := api.Integration(p.ctx, c.Key)
	if err != nil || p.json {
		return err
	}
	p.out.Printf("%s  %s\n%s\n\n", p.out.Paint(console.Bold, in.Key), in.Title, console.Line(in.Description))
	p.field("events", joined(in.Events))
	p.field("supports", joined(in.Supports))
	p.out.Printf("\n")
	if len(in.Settings) == 0 {
		p.out.Printf("It has no settings.\n")
	}
	for _, s := range in.Settings {
		p.setting("", s)
	}
	return nil
}

// setting prints what a setting is, and below it what it is for.
func (p *program) setting(prefix string, s client.Setting) {
	kind := s.Type
	if s.Secret {
		kind += ", secret"
	}
	need := ""
	switch {
	case s.Required:
		need = p.out.Paint(console.Yellow, "  required")
	case s.Default != nil:
		need = fmt.Sprintf("  default %v", s.Default)
	}
	p.out.Printf("%s  %s%s\n", p.out.Paint(console.Bold, prefix+s.Key), p.out.Paint(console.Dim, kind), need)
	what := s.Title
	if s.Help != "" {
		what += ". " + s.Help
	}
	for _, line := range console.Wrap(console.Line(what), p.out.Width-2) {
		p.out.Printf("  %s\n", line)
	}
	for _, field := range s.Fields {
		p.setting(prefix+s.Key+".", field)
	}
}

// draft is what commands take of a link that does not exist yet.
type draft struct {
	Set        []string              `name:"set" sep:"none" placeholder:"KEY=VALUE" help:"A setting; KEY:=JSON for a list or an object. Can be repeated."`
	Connection patchbay.ConnectionID `name:"connection" placeholder:"CON" help:"The connection to use (con_…)."`
	Scope      *string               `name:"scope" help:"The scope of the link that there is to be. Default: the connection's, or else the key's own."`
}

func (d *draft) read() (out client.LinkDraft, err error) {
	if out.Settings, err = settings(d.Set); err != nil {
		return out, err
	}
	out.Connection = d.Connection
	if d.Scope != nil {
		s, err := scope(*d.Scope)
		if err != nil {
			return out, err
		}
		out.Scope = &s
	}
	return out, nil
}

type integrationsChoicesCmd struct {
	Key     string `arg:"" help:"The integration's key."`
	Setting string `arg:"" help:"The setting's key."`
	Search  string `name:"search" help:"Only values that look like this."`
	draft
}

// Run lists the values of a setting.
func (c *integrationsChoicesCmd) Run(p *program, conn *connection) error {
	d, err := c.read()
	if err != nil {
		return err
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	found, err := api.Choices(p.ctx, c.Key, c.Setting, c.Search, d)
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(found))
	for i, choice := range found {
		rows[i] = []console.Cell{{Text: choice.Value, Style: console.Bold}, {Text: console.Line(choice.Title)}, {Text: console.Line(choice.Help), Style: console.Dim}}
	}
	p.table("There is nothing to choose from.", []string{"VALUE", "TITLE", ""}, rows)
	return nil
}

type integrationsTestCmd struct {
	Key string `arg:"" help:"The integration's key."`
	draft
}

// Run tries settings out.
func (c *integrationsTestCmd) Run(p *program, conn *connection) error {
	given, err := c.read()
	if err != nil {
		return err
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	result, err := api.TestIntegration(p.ctx, c.Key, given)
	if err != nil {
		return err
	}
	return p.tested(result)
}
