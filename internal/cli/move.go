package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
	"github.com/patchbay/patchbay/internal/move"
	"github.com/patchbay/patchbay/internal/sealing"
	"github.com/patchbay/patchbay/internal/secret"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

type moveCmd struct {
	From    string          `name:"from" env:"PATCHBAY_DATA" placeholder:"DIR" help:"Data directory of the installation that is moved; it must not run. Default: ./patchbay-data."`
	To      patchbay.Secret `name:"to" env:"PATCHBAY_DATABASE" placeholder:"URL" help:"PostgreSQL database, which must be empty. Better given in the environment than on the command line."`
	KeyFile string          `name:"key-file" env:"PATCHBAY_KEY_FILE" placeholder:"FILE" help:"File with the keys that its secrets are sealed with. Default: secret.key in --from."`
	GiveUp  bool            `name:"give-up" help:"Make the installation in --from servable again that was moved, or of which a move has begun. What was taken in elsewhere since is not in it."`
	jsonFlag
}

// Run moves an installation from SQLite to PostgreSQL.
func (c *moveCmd) Run(p *program) (err error) {
	settings := config.Config{Data: c.From, Database: c.To, KeyFile: c.KeyFile}.WithDefaults()
	if err := settings.Validate(); err != nil {
		return usageError{err}
	}
	if !c.GiveUp && !settings.PostgreSQL() {
		return usagef("--to is missing: it says where to, as postgres://USER:PASSWORD@HOST:5432/NAME")
	}
	if err := sqlite.MustExist(settings.Data); err != nil {
		return err
	}
	ring, err := secret.Read(settings.SecretKeyFile())
	if err != nil {
		return err
	}
	sealer := secret.NewSealer(ring)
	from, err := sqlite.Open(p.ctx, sqlite.Options{Dir: settings.Data, Sealer: sealer})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if c.GiveUp {
		return p.giveUp(from, settings.Data)
	}
	// What is moved is sealed with the same key at its new place; one of an older version gets one now.
	if err := sealing.New(sealing.Options{Store: from, Wrapper: ring, Ring: ring, Database: "SQLite in " + settings.Data}).Admit(p.ctx); err != nil {
		return err
	}
	to, err := postgres.Open(p.ctx, postgres.Options{URL: c.To.Reveal(), Version: p.build.Version, Sealer: sealer})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	bar := p.progress("Moving", nil)
	began := p.now()
	report, err := move.Run(p.ctx, move.Options{From: from, To: to, Name: settings.DatabaseName(), Keys: func(ctx context.Context) error { return sealing.Copy(ctx, from, to) }, Progress: func(x move.Progress) {
		bar.what = "Moving " + string(x.Part)
		bar.set(x.Done, x.Total)
	}})
	bar.end()
	if err != nil {
		if p.ctx.Err() != nil {
			return fmt.Errorf("interrupted: the same command goes on where this one was (%w)", err)
		}
		return fmt.Errorf("%w\nWhat has arrived stays: the same command goes on from there", err)
	}
	if p.json {
		return p.out.JSON(report)
	}
	p.out.Printf("%s Moved to %s in %s; every piece was read back and compared, and all is counted.\n",
		p.out.Paint(console.Green, "✓"), settings.DatabaseName(), console.Length(p.now().Sub(began)))
	for _, part := range store.Parts {
		p.field(string(part), grouped(report.Totals[part]))
	}
	p.out.Printf("\nServe it with --database from now on; %s is not served any more.\n", settings.Data)
	p.out.Printf("Every node needs the keys of its secrets: give each a copy of %s, with --key-file or as secret.key in its data directory.\n", settings.SecretKeyFile())
	return nil
}

func (p *program) giveUp(from *sqlite.Store, dir string) error {
	to, err := move.GiveUp(p.ctx, from)
	if err != nil {
		return err
	}
	if to == "" {
		p.out.Printf("No move of %s has begun.\n", dir)
		return nil
	}
	p.out.Printf("%s %s may be served again. What %s has of it is out of date from now on: empty that database before another move.\n",
		p.out.Paint(console.Green, "✓"), dir, to)
	return nil
}
