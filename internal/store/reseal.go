package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/patchbay/patchbay"
)

// The tables with secrets, in the order in which they are walked.
const (
	SealedLinks       = "link"
	SealedConnections = "connection"
	SealedFlows       = "flow"
)

var sealedTables = []string{SealedLinks, SealedConnections, SealedFlows}

// SealedAt is a place among the rows with secrets: the last one that was looked at, or what comes before the first.
type SealedAt struct {
	Table string
	// ID and Revision say which link or, with the ID alone, which connection; Hash says which flow.
	ID   int64
	Rev  int
	Hash []byte
}

// SealedRow is a row with secrets on its way: what stands there, and, once it was sealed anew, what is to.
type SealedRow struct {
	SealedAt
	Stored, Fresh []byte
}

// SealedRows is what of Sealed differs from store to store.
type SealedRows interface {
	// ReadSealed returns up to limit rows of one table that come after a place, in order.
	ReadSealed(ctx context.Context, after SealedAt, limit int) ([]SealedRow, error)
	// ReplaceSealed writes what is Fresh where there still is what was Stored, and returns in how many rows. They are all of
	// one table.
	ReplaceSealed(ctx context.Context, table string, rows []SealedRow) (changed int, err error)
}

// before is the place before a table's first row.
func before(table string) SealedAt { return SealedAt{Table: table, ID: math.MinInt64} }

// cursor spells a place.
func (a SealedAt) cursor() string {
	switch {
	case a.Table == SealedFlows:
		return a.Table + " " + hex.EncodeToString(a.Hash)
	case a.ID == math.MinInt64:
		return a.Table + " "
	}
	return fmt.Sprintf("%s %d %d", a.Table, a.ID, a.Rev)
}

// readSealedAt reads a cursor; "" is the beginning.
func readSealedAt(cursor string) (a SealedAt, err error) {
	table, rest, _ := strings.Cut(cursor, " ")
	a = before(table)
	switch {
	case cursor == "":
		return before(sealedTables[0]), nil
	case table == SealedFlows:
		a.Hash, err = hex.DecodeString(rest)
	case table == SealedLinks, table == SealedConnections:
		if rest != "" {
			_, err = fmt.Sscanf(rest, "%d %d", &a.ID, &a.Rev)
		}
	default:
		err = errors.New("there is no such table")
	}
	if err != nil {
		return a, fmt.Errorf("%.100q does not say where to go on: %w", cursor, err)
	}
	return a, nil
}

// sealed returns what is sealed in the row; nil when its secrets stand in the open.
func (r *SealedRow) sealed() ([]byte, error) {
	if r.Table == SealedLinks {
		return SealedInLink(r.Stored)
	}
	return SealedInColumn(r.Stored), nil
}

// reseal sets Fresh when another key than the current one seals the row, or none.
func (r *SealedRow) reseal(ctx context.Context, s Sealer) (err error) {
	switch r.Table {
	case SealedLinks:
		r.Fresh, _, err = ResealLink(ctx, s, patchbay.LinkID(r.ID), r.Rev, r.Stored)
	case SealedConnections:
		r.Fresh, _, err = ResealColumn(ctx, s, ConnectionPlace(patchbay.ConnectionID(r.ID)), r.Stored)
	default:
		if len(r.Hash) != 32 {
			return fmt.Errorf("a sign-in in the database has the hash %x: %w", r.Hash, ErrSealed)
		}
		r.Fresh, _, err = ResealColumn(ctx, s, FlowPlace([32]byte(r.Hash)), r.Stored)
	}
	return err
}

// sealedStep reads a step, and says where the next one begins; "" when there is none.
func sealedStep(ctx context.Context, rows SealedRows, after string, limit int) (table string, step []SealedRow, next string, err error) {
	at, err := readSealedAt(after)
	if err != nil {
		return "", nil, "", err
	}
	if step, err = rows.ReadSealed(ctx, at, limit); err != nil {
		return "", nil, "", err
	}
	if len(step) == limit {
		return at.Table, step, step[limit-1].cursor(), nil
	}
	for i, table := range sealedTables[:len(sealedTables)-1] {
		if table == at.Table {
			next = before(sealedTables[i+1]).cursor()
		}
	}
	return at.Table, step, next, nil
}

// ResealStep is Sealed.Reseal over the rows of a store.
func ResealStep(ctx context.Context, s Sealer, rows SealedRows, after string, limit int) (next string, looked, changed int, err error) {
	if s == nil {
		return "", 0, 0, errors.New("secrets cannot be sealed: the database was opened without a key")
	}
	table, step, next, err := sealedStep(ctx, rows, after, limit)
	if err != nil {
		return "", 0, 0, err
	}
	var failed []error
	fresh := make([]SealedRow, 0, len(step))
	for i := range step {
		r := &step[i]
		switch err := r.reseal(ctx, s); {
		case errors.Is(err, ErrSealed):
			failed = append(failed, err)
		case err != nil:
			return "", 0, 0, err
		case r.Fresh != nil:
			fresh = append(fresh, *r)
		}
	}
	if len(fresh) > 0 {
		if changed, err = rows.ReplaceSealed(ctx, table, fresh); err != nil {
			return "", 0, 0, err
		}
	}
	return next, len(step), changed, errors.Join(failed...)
}

// LookStep is Sealed.LookSealed over the rows of a store.
func LookStep(ctx context.Context, rows SealedRows, after string, limit int, look func(sealed []byte)) (next string, err error) {
	_, step, next, err := sealedStep(ctx, rows, after, limit)
	if err != nil {
		return "", err
	}
	for i := range step {
		sealed, err := step[i].sealed()
		if err != nil {
			return "", err
		}
		look(sealed)
	}
	return next, nil
}
