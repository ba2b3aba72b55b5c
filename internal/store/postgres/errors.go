package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/patchbay/patchbay/internal/store"
)

// The states (SQLSTATE) that are asked for by name.
const (
	stateFenced = "PB001" // raised by patchbay_fence

	stateUniqueViolation  = "23505"
	stateCheckViolation   = "23514"
	stateCancelled        = "57014" // by statement_timeout, when it was not the caller
	stateReadOnly         = "25006"
	stateNotAllowed       = "42501"
	stateDiskFull         = "53100"
	stateTooMany          = "53300"
	stateSerialization    = "40001"
	stateDeadlock         = "40P01"
	stateLockNotAvailable = "55P03"
)

// state returns PostgreSQL's code in err's chain, "" when there is none.
func state(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// collided reports whether a transaction failed because of another one, so that it may be tried again at once. Nothing of
// it was stored.
func collided(err error) bool {
	switch state(err) {
	case stateSerialization, stateDeadlock:
		return true
	}
	return false
}

// environmental reports whether err is about the server or the way there rather than about what was being written: nothing
// can be written now, but the same may work later.
func environmental(err error) bool {
	if err == nil || errors.Is(err, store.ErrFenced) {
		return false
	}
	code := state(err)
	if len(code) < 2 {
		return connectionLost(err)
	}
	switch code[:2] {
	case "08", "28", "53", "57", "58", "F0", "XX", "3D", "40":
		return true
	}
	return code == stateReadOnly || code == stateLockNotAvailable || code == stateNotAllowed
}

// connectionLost reports whether the connection failed, so that nobody knows what became of what was sent.
func connectionLost(err error) bool {
	if code := state(err); code != "" {
		return code[:2] == "08" || strings.HasPrefix(code, "57P") // the server says good-bye, or never said hello
	}
	var network net.Error
	var connect *pgconn.ConnectError
	return errors.As(err, &network) || errors.As(err, &connect) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded) || pgconn.SafeToRetry(err)
}

// explain makes the error that callers see of one that the driver returned. Environmental ones have store.ErrUnavailable in
// their chain, a fence is store.ErrFenced; others come back as they are.
func explain(err error) error {
	var known *unavailableError
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case state(err) == stateFenced:
		return store.ErrFenced
	case !environmental(err):
		return err
	}
	hint := "the database cannot be reached"
	switch code := state(err); {
	case code == "":
	case code == stateDiskFull:
		hint = "the disk of the database server is full: make room, and writing goes on by itself"
	case code == stateReadOnly:
		hint = "the database server takes no writes (a standby, or one set to read only): name the primary in the database's URL"
	case code == stateTooMany:
		hint = "the database server has no connection left: raise max_connections or run fewer nodes"
	case code == stateCancelled || code == stateLockNotAvailable:
		hint = "the database server takes too long to answer"
	case code[:2] == "57":
		hint = "the database server is shutting down or starting"
	case code[:2] == "28" || code == stateNotAllowed:
		hint = "the database server refuses this role: check the user, the password and its rights in the database's URL"
	case code[:2] == "3D":
		hint = "there is no such database: make it, or correct the database's URL"
	case code[:2] == "58" || code[:2] == "XX" || code[:2] == "F0":
		hint = "the database server reports a fault of its own: look into its log"
	default:
		hint = "the database cannot take this now"
	}
	return &unavailableError{hint: hint, err: err}
}

// unavailableError wraps both store.ErrUnavailable and what was said.
type unavailableError struct {
	hint string
	err  error
}

func (e *unavailableError) Error() string   { return e.hint + ": " + e.err.Error() }
func (e *unavailableError) Unwrap() []error { return []error{store.ErrUnavailable, e.err} }
