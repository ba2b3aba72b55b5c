package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
	"github.com/patchbay/patchbay/internal/secret"
)

type secretsCmd struct {
	List   secretsListCmd   `cmd:"" default:"withargs" help:"List the keys that secrets in the database are sealed with, and what needs them."`
	Rotate secretsRotateCmd `cmd:"" help:"Seal every secret anew with a new key, while everything runs."`
	NewKey secretsNewKeyCmd `cmd:"" help:"Write a new key into the key file, without using it yet: for several nodes, before a rotation."`
}

type secretsListCmd struct{ connection }

// Run lists keys.
func (c *secretsListCmd) Run(p *program) error {
	api, err := c.dial(p)
	if err != nil {
		return err
	}
	keys, err := api.SecretKeys(p.ctx)
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(keys.Data))
	for i, k := range keys.Data {
		look, state := console.Look{Sign: "–", Style: console.Dim}, "not in use"
		switch {
		case k.Current:
			look, state = console.Look{Sign: "✓", Style: console.Green}, "in use"
		case k.Rows > 0:
			look, state = console.Look{Sign: "!", Style: console.Yellow}, "still needed"
		}
		if !k.InFile && keys.File != "" {
			state += ", not in the file"
		}
		made := ""
		if !k.MadeAt.IsZero() {
			made = console.Ago(k.MadeAt, p.now())
		}
		rows[i] = []console.Cell{{Text: k.ID, Style: console.Bold}, {Text: look.Sign + " " + state, Style: look.Style}, {Text: grouped(k.Rows)}, {Text: made, Style: console.Dim}}
	}
	p.table("There are no keys.", []string{"KEY", "STATE", "ROWS", "MADE"}, rows)
	if keys.Unsealed > 0 {
		p.out.Printf("%s rows that an older version has written are not sealed yet; that goes on by itself.\n", grouped(keys.Unsealed))
	}
	if keys.Unreadable > 0 {
		p.out.Printf("%s %s rows were changed, and cannot be read with any key.\n", p.out.Paint(console.Red, "✗"), grouped(keys.Unreadable))
	}
	if keys.File != "" {
		p.out.Printf("%s\n", p.out.Paint(console.Dim, "Key file: "+keys.File))
	}
	return nil
}

type secretsRotateCmd struct{ connection }

// Run rotates, and shows how far it is.
func (c *secretsRotateCmd) Run(p *program) error {
	api, err := c.dial(p)
	if err != nil {
		return err
	}
	if p.json {
		_, err := api.RotateSecrets(p.ctx)
		return err
	}
	before, err := api.SecretKeys(p.ctx)
	if err != nil {
		return err
	}
	j, err := api.RotateSecrets(p.ctx)
	if err != nil {
		return err
	}
	if err := p.follow(api, j); err != nil {
		return err
	}
	after, err := api.SecretKeys(p.ctx)
	if err != nil {
		return err
	}
	p.rotated(before, after)
	return nil
}

// rotated says what a rotation came to: which keys nothing needs any more.
func (p *program) rotated(before, after *client.SecretKeys) {
	current := after.Current()
	if before.Current() == current {
		p.out.Printf("\n%s What had begun before has ended: everything is sealed with %s. For a new key, run this again.\n", p.out.Paint(console.Green, "✓"), current)
	} else {
		p.out.Printf("\n%s Everything is sealed with the new key %s.\n", p.out.Paint(console.Green, "✓"), current)
	}
	var free []string
	for _, k := range after.Data {
		switch {
		case k.Current:
		case k.Rows > 0:
			p.out.Printf("%s The key %s is still needed by %s rows: look at \"patchbay secrets\" again later.\n", p.out.Paint(console.Yellow, "!"), k.ID, grouped(k.Rows))
		case k.InFile:
			free = append(free, k.ID)
		}
	}
	if after.File == "" {
		return
	}
	if len(free) > 0 {
		p.out.Printf("Nothing in the database needs these keys any more: %s. Backups from before do: once you would restore none of them,\n"+
			"take their lines out of %s on every node.\n", strings.Join(free, ", "), after.File)
	}
	p.out.Printf("Keep a copy of %s as it is now, apart from the backups of the database.\n", after.File)
}

type secretsNewKeyCmd struct {
	Data    string `name:"data" env:"PATCHBAY_DATA" placeholder:"DIR" help:"Data directory. Default: ./patchbay-data."`
	KeyFile string `name:"key-file" env:"PATCHBAY_KEY_FILE" placeholder:"FILE" help:"Key file. Default: secret.key in the data directory."`
	jsonFlag
}

// Run adds a key to the key file.
func (c *secretsNewKeyCmd) Run(p *program) error {
	file := config.Config{Data: c.Data, KeyFile: c.KeyFile}.WithDefaults().SecretKeyFile()
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no key file %s: run this beside a node, or say with --key-file where it is; the first start of an installation makes it", file)
	}
	ring, err := secret.Read(file)
	if err != nil {
		return err
	}
	id, err := ring.Add(p.ctx)
	if err != nil {
		return err
	}
	if p.json {
		return p.out.JSON(map[string]string{"id": id, "file": file})
	}
	p.out.Printf("%s %s has the new key %s, which is not used yet.\n", p.out.Paint(console.Green, "✓"), file, id)
	p.out.Printf("Give this file to every node, and then run: patchbay secrets rotate\n")
	return nil
}
