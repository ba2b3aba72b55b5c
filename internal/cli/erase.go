package cli

import (
	"encoding/json"
	"fmt"

	"github.com/patchbay/patchbay/client"
)

type eraseCmd struct {
	connection
	Tenant    string `name:"tenant" help:"Forget this tenant: events, deliveries, links and API keys."`
	Path      string `name:"path" placeholder:"payload.user.email" help:"Forget what events say in which this path has the value."`
	Value     string `name:"value" help:"The text that stands at the path."`
	ValueJSON string `name:"value-json" placeholder:"JSON" help:"The value as JSON, for numbers, true, false and null."`
	Scope     string `name:"scope" help:"Only events at or below this scope."`
	Type      string `name:"type" placeholder:"PATTERN" help:"Only events of these types."`
	DryRun    bool   `name:"dry-run" help:"Only say how many events it would touch."`
	Follow    bool   `name:"follow" short:"f" help:"Show its progress until it has ended."`
	Yes       bool   `name:"yes" short:"y" help:"Do not ask."`
}

// erasure makes the request of the flags.
func (c *eraseCmd) erasure() (*client.Erasure, error) {
	e := &client.Erasure{Tenant: c.Tenant, Path: c.Path, Type: c.Type}
	switch {
	case c.Tenant == "" && c.Path == "":
		return nil, usagef("say what is to be erased: --tenant NAME, or --path payload.user.email --value ann@example.com")
	case c.Value != "" && c.ValueJSON != "":
		return nil, usagef("--value is text and --value-json is JSON: give one of them")
	case c.Path != "" && c.Value == "" && c.ValueJSON == "":
		return nil, usagef("--path needs --value: what stands there")
	case c.ValueJSON != "" && !json.Valid([]byte(c.ValueJSON)):
		return nil, usagef("--value-json %s: this is not JSON; text goes after --value", c.ValueJSON)
	case c.ValueJSON != "":
		e.Value = json.RawMessage(c.ValueJSON)
	case c.Value != "":
		b, err := json.Marshal(c.Value)
		if err != nil {
			return nil, err
		}
		e.Value = b
	}
	var err error
	e.Scope, err = scope(c.Scope)
	return e, err
}

// Run erases.
func (c *eraseCmd) Run(p *program, conn *connection) error {
	e, err := c.erasure()
	if err != nil {
		return err
	}
	if !c.Yes && !c.DryRun && (p.json || !p.asks()) {
		return usagef("what is erased cannot be brought back: add --yes, or look at it first with --dry-run")
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	if c.DryRun || !c.Yes {
		preview, err := api.PreviewErasure(p.ctx, e)
		if err != nil || p.json {
			return err
		}
		text := fmt.Sprintf("erase %s: %s", about(&preview.Filter), touched(preview))
		if e.Tenant != "" {
			text += ", its links and its API keys"
		}
		if c.DryRun {
			p.out.Printf("%s\n", text)
			return nil
		}
		if !p.confirm(text + ". It cannot be brought back.") {
			return nil
		}
	}
	j, err := api.Erase(p.ctx, e)
	if err != nil {
		return err
	}
	return p.made(api, j, c.Follow)
}
