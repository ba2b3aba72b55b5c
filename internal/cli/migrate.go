package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
	"github.com/patchbay/patchbay/internal/store/postgres"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// schema is how far the tables of a database are.
type schema struct {
	// Database describes it, without its secrets.
	Database string `json:"database"`
	// Have is how many migrations have run, Known how many this program has, Pending those that have not run.
	Have    int      `json:"have"`
	Known   int      `json:"known"`
	Pending []string `json:"pending"`
}

type migrateCmd struct {
	config.Config
	jsonFlag
	Status bool `name:"status" help:"Only say which migrations have not run; exit code 1 when there are some."`
}

// Run brings the tables of the database up to date, so that the next start of a node finds them so.
func (c *migrateCmd) Run(p *program) error {
	if err := c.Validate(); err != nil {
		return usageError{err}
	}
	s, err := migrate(p.ctx, c.WithDefaults(), !c.Status)
	if err != nil {
		return err
	}
	if p.json {
		if err := p.out.JSON(s); err != nil {
			return err
		}
	} else {
		p.schema(s)
	}
	if c.Status && len(s.Pending) > 0 {
		return errReported
	}
	return nil
}

// migrate looks at the tables, or brings them up to date.
func migrate(ctx context.Context, c config.Config, apply bool) (*schema, error) {
	out := &schema{Database: c.DatabaseName(), Pending: []string{}}
	switch {
	case c.PostgreSQL():
		look := postgres.Inspect
		if apply {
			look = postgres.Migrate
		}
		found, err := look(ctx, c.Database.Reveal())
		if err != nil {
			return nil, err
		}
		out.Have, out.Known, out.Pending = found.Schema, found.Known, append(out.Pending, found.Pending...)
		return out, nil
	case !apply:
		return nil, errors.New("the embedded database is brought up to date by every start of a newer version: there is nothing to look at before")
	}
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: c.Data})
	if err != nil {
		return nil, err
	}
	stats, err := s.Stats(ctx)
	out.Have, out.Known = stats.Schema, stats.Schema
	return out, errors.Join(err, s.Close())
}

func (p *program) schema(s *schema) {
	switch {
	case len(s.Pending) > 0:
		p.out.Printf("%s %s: its schema is number %d, this version brings number %d. To run: %s\n", p.out.Paint(console.Yellow, "!"),
			s.Database, s.Have, s.Known, strings.Join(s.Pending, ", "))
	case s.Have > s.Known:
		p.out.Printf("%s %s: its schema is number %d, newer than the %d of this version, which may still serve it.\n",
			p.out.Paint(console.Green, "✓"), s.Database, s.Have, s.Known)
	default:
		p.out.Printf("%s %s is up to date: its schema is number %d.\n", p.out.Paint(console.Green, "✓"), s.Database, s.Have)
	}
}
