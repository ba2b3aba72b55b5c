package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
	"github.com/patchbay/patchbay/internal/store/postgres"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// databaseFlags say which database a command is about.
type databaseFlags struct {
	Data     string          `name:"data" env:"PATCHBAY_DATA" placeholder:"DIR" help:"Data directory. Default: ./patchbay-data."`
	Database patchbay.Secret `name:"database" env:"PATCHBAY_DATABASE" placeholder:"URL" help:"PostgreSQL database. Better given in the environment than on the command line."`
	KeyFile  string          `name:"key-file" env:"PATCHBAY_KEY_FILE" placeholder:"FILE" help:"File with the keys that its secrets are sealed with, which is not in a backup. Default: secret.key in the data directory."`
	jsonFlag
}

// settings are the flags as a checked configuration.
func (f *databaseFlags) settings() (config.Config, error) {
	c := config.Config{Data: f.Data, Database: f.Database, KeyFile: f.KeyFile}.WithDefaults()
	if err := c.Validate(); err != nil {
		return c, usageError{err}
	}
	return c, nil
}

type backupCmd struct {
	databaseFlags
	File string `arg:"" help:"File to write, or a directory, in which the file is called after the time."`
}

// Run takes a backup, also of an installation that runs.
func (c *backupCmd) Run(p *program) error {
	settings, err := c.settings()
	if err != nil {
		return err
	}
	file := c.File
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		end := ".db"
		if settings.PostgreSQL() {
			end = ".dump"
		}
		file = filepath.Join(file, "patchbay-"+p.now().UTC().Format("20060102T150405Z")+end)
	}
	bar := p.progress("Copying", megabytes)
	began := p.now()
	if settings.PostgreSQL() {
		size, err := postgres.Backup(p.ctx, settings.Database.Reveal(), file, bar.set)
		bar.end()
		if err != nil {
			return err
		}
		return p.backedUp(file, &settings, p.now().Sub(began), &sqlite.Contents{Bytes: size})
	}
	contents, err := sqlite.Backup(p.ctx, settings.Data, file, bar.set)
	bar.end()
	if err != nil {
		return err
	}
	return p.backedUp(file, &settings, p.now().Sub(began), contents)
}

func (p *program) backedUp(file string, settings *config.Config, took time.Duration, c *sqlite.Contents) error {
	if p.json {
		return p.out.JSON(struct {
			File    string  `json:"file"`
			KeyFile string  `json:"key_file"`
			Took    float64 `json:"seconds"`
			*sqlite.Contents
		}{file, settings.SecretKeyFile(), took.Seconds(), c})
	}
	p.out.Printf("%s %s: %s of %s in %s, checked.\n", p.out.Paint(console.Green, "✓"), file, megabytes(c.Bytes), settings.DatabaseName(), console.Length(took))
	p.contents(c)
	p.out.Printf("\nThe keys of its secrets are not in it: keep a copy of %s too, in another place. Without it nobody can read\nthe settings of links and the tokens of connections.\n", settings.SecretKeyFile())
	return nil
}

// contents says what is in a database; of one that nobody has looked into, nothing.
func (p *program) contents(c *sqlite.Contents) {
	if c.Schema == 0 {
		return
	}
	newest := ""
	if !c.Newest.IsZero() {
		newest = ", the last of " + c.Newest.Local().Format("2 Jan 2006 15:04:05")
	}
	p.field("events", grouped(c.Events)+newest)
	p.field("attempts", grouped(c.Attempts))
	p.field("waiting", grouped(c.Waiting)+" in the queue")
	p.field("links", grouped(c.Links))
}

type restoreCmd struct {
	databaseFlags
	File string `arg:"" type:"existingfile" help:"The backup."`
}

// Run makes an installation of a backup.
func (c *restoreCmd) Run(p *program) error {
	settings, err := c.settings()
	if err != nil {
		return err
	}
	bar := p.progress("Restoring", megabytes)
	if settings.PostgreSQL() {
		err := postgres.Restore(p.ctx, c.File, settings.Database.Reveal())
		bar.end()
		if err != nil {
			return err
		}
		return p.restored(&settings, settings.DatabaseName(), "--database", &sqlite.Contents{})
	}
	contents, err := sqlite.Restore(p.ctx, c.File, settings.Data, bar.set)
	bar.end()
	if err != nil {
		return err
	}
	return p.restored(&settings, settings.Data, "--data "+settings.Data, contents)
}

func (p *program) restored(settings *config.Config, where, flag string, c *sqlite.Contents) error {
	if p.json {
		return p.out.JSON(struct {
			Restored string `json:"restored"`
			*sqlite.Contents
		}{where, c})
	}
	p.out.Printf("%s Restored into %s.\n", p.out.Paint(console.Green, "✓"), where)
	p.contents(c)
	p.out.Printf("\nIt goes on from the moment of the backup: what was delivered since then is sent again, with the same webhook-id.\n")
	if _, err := os.Stat(settings.SecretKeyFile()); err != nil {
		p.out.Printf("Its secrets need the key file that it was backed up beside: put the copy at %s, or name it with --key-file.\n", settings.SecretKeyFile())
	}
	p.out.Printf("Start it with: patchbay serve %s\n", flag)
	return nil
}

// megabytes writes a size.
func megabytes(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KB", (n+1023)>>10)
}
