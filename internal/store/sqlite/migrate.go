package sqlite

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks the file as Patchbay's ("ptch"), for file(1) and against mix-ups.
const applicationID = 0x70746368

// ErrNewer is in the chain of the error with which Open refuses a database that a newer version has changed.
var ErrNewer = errors.New("the database was written by a newer version of Patchbay")

// schemaVersion is how many migrations this version knows.
func schemaVersion() int {
	names, _ := fs.Glob(migrations, "migrations/*.sql") // the pattern is good
	return len(names)
}

// migrate brings the schema up to date, each step in its own transaction.
func migrate(c *conn) error {
	have, err := c.number("PRAGMA user_version")
	if err != nil {
		return err
	}
	id, err := c.number("PRAGMA application_id")
	if err != nil {
		return err
	}
	tables, err := c.number("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	if tables > 0 && id != applicationID {
		return errors.New("it is an SQLite database of another program")
	}
	known := schemaVersion()
	if int(have) > known {
		return fmt.Errorf("%w: its schema is number %d, this version knows up to %d; start the newer version, or restore the backup from before it was installed",
			ErrNewer, have, known)
	}
	names, err := fs.Glob(migrations, "migrations/*.sql") // sorted by name
	if err != nil {
		return err
	}
	for i, name := range names[have:] {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		err = c.script(fmt.Sprintf("BEGIN IMMEDIATE; PRAGMA application_id = %d; %s\nPRAGMA user_version = %d; COMMIT",
			applicationID, text, int(have)+i+1))
		if err != nil {
			if c.inTransaction() {
				err = errors.Join(err, c.exec("ROLLBACK"))
			}
			return fmt.Errorf("bringing the schema up to date (%s): %w", name, err)
		}
	}
	return nil
}
