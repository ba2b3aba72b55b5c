package sqlite

import (
	"errors"
	"fmt"

	lib "modernc.org/sqlite/lib"

	"github.com/patchbay/patchbay/internal/store"
)

// engineError is what SQLite said.
type engineError struct {
	code    int // extended result code
	message string
}

func (e *engineError) Error() string { return fmt.Sprintf("%s (SQLite %d)", e.message, e.code) }

// primary is the result code without its extension.
func (e *engineError) primary() int { return e.code & 0xff }

// primaryCode returns SQLite's primary result code in err's chain, 0 when there is none.
func primaryCode(err error) int {
	var e *engineError
	if errors.As(err, &e) {
		return e.primary()
	}
	return 0
}

// constraint reports whether a row is there already.
func constraint(err error) bool { return primaryCode(err) == lib.SQLITE_CONSTRAINT }

// environmental reports whether err is about the machine rather than about what was being written: nothing can be
// written now, but the same may work later.
func environmental(err error) bool {
	switch primaryCode(err) {
	case lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN, lib.SQLITE_BUSY, lib.SQLITE_LOCKED,
		lib.SQLITE_NOMEM, lib.SQLITE_PROTOCOL, lib.SQLITE_PERM, lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return true
	}
	return false
}

// explain makes the sentence of an environmental error, which has store.ErrUnavailable in its chain. Other errors
// come back as they are.
func explain(err error) error {
	if !environmental(err) {
		return err
	}
	hint := "the database cannot be written"
	switch primaryCode(err) {
	case lib.SQLITE_FULL:
		hint = "the disk that holds the database is full: make room, and writing goes on by itself"
	case lib.SQLITE_IOERR:
		hint = "the disk that holds the database reports an error"
	case lib.SQLITE_READONLY, lib.SQLITE_PERM, lib.SQLITE_CANTOPEN:
		hint = "the database cannot be written: check the permissions of the data directory and that its disk is not mounted read-only"
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_PROTOCOL:
		hint = "another program holds a lock on the database file"
	case lib.SQLITE_NOMEM:
		hint = "there is not enough memory for the database"
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		hint = "the database file is damaged: stop Patchbay and restore it from a backup"
	}
	return &unavailableError{hint: hint, err: err}
}

// unavailableError wraps both store.ErrUnavailable and what SQLite said.
type unavailableError struct {
	hint string
	err  error
}

func (e *unavailableError) Error() string   { return e.hint + ": " + e.err.Error() }
func (e *unavailableError) Unwrap() []error { return []error{store.ErrUnavailable, e.err} }
