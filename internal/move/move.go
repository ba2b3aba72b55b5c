// Package move takes an installation from one database to another: everything that is kept, with the same identifiers,
// piece by piece. A move that was interrupted, however, goes on where it was when it is started again; every piece is read
// back where it was written, and all of them are counted at the end. Neither database may be served meanwhile, and the old
// one not afterwards: both remember that.
package move

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// piece is how many things are moved in one transaction; events with large payloads fewer (see store.Exporter).
const piece = 1000

// Source is the database that is moved.
type Source interface {
	store.Exporter
	Recover(ctx context.Context, now time.Time) (int, error)
	Meta(ctx context.Context, key string) (string, error)
	SetMeta(ctx context.Context, key, value string) error
}

// Options say what is moved where.
type Options struct {
	From Source
	To   store.Importer
	// Name is what To is called in messages; it must hold no password.
	Name string
	// Progress is told after every piece; nil is nobody.
	Progress func(Progress)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Keys, when not nil, tells To which key the secrets are sealed with, before it can be served.
	Keys func(ctx context.Context) error
	// Piece is how many things are moved in one transaction; 0 means 1,000.
	Piece int
}

// Progress is how far a move is.
type Progress struct {
	Part        store.Part
	Done, Total int64
	// Resumed is how many of Done an earlier run has moved.
	Resumed int64
}

// Report is what a move came to.
type Report struct {
	Totals map[store.Part]int64 `json:"totals"`
	// Pieces were read back and compared in this run.
	Pieces int `json:"pieces"`
	// Resumed says that an earlier run had begun.
	Resumed bool `json:"resumed"`
}

// mark is what the database that is moved remembers.
type mark struct {
	// Name tells moves apart.
	Name string `json:"name"`
	To   string `json:"to"`
	// At is when it began, or ended when Done.
	At   time.Time `json:"at"`
	Done bool      `json:"done"`
}

// position is a cursor: the part and where in it to go on.
type position struct {
	part int
	from string
}

func (p position) String() string {
	if p.part >= len(store.Parts) {
		return "end"
	}
	return string(store.Parts[p.part]) + "\t" + p.from
}

func readPosition(text string) (position, error) {
	switch text {
	case "":
		return position{}, nil
	case "end":
		return position{part: len(store.Parts)}, nil
	}
	name, from, _ := strings.Cut(text, "\t")
	for i, part := range store.Parts {
		if string(part) == name {
			return position{i, from}, nil
		}
	}
	return position{}, fmt.Errorf("the database that is moved to says that %q is next, which this version does not know", text)
}

// Run moves everything, or what an earlier run has left.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Piece == 0 {
		o.Piece = piece
	}
	m, resumed, err := begin(ctx, &o)
	if err != nil {
		return nil, err
	}
	// What only the memory of the last process knew must be in the queue: everything else is in tables.
	if _, err := o.From.Recover(ctx, o.Now()); err != nil {
		return nil, fmt.Errorf("what the last run left behind cannot be read: %w", err)
	}
	totals, err := o.From.Totals(ctx)
	if err != nil {
		return nil, fmt.Errorf("counting what is to be moved: %w", err)
	}
	report := &Report{Totals: totals, Resumed: resumed}
	cursor, err := o.To.BeginImport(ctx, m.Name)
	if err != nil {
		if errors.Is(err, store.ErrConflict) && !resumed {
			err = errors.Join(err, o.From.SetMeta(ctx, store.MetaMoved, "")) // nothing has begun
		}
		return nil, fmt.Errorf("%s cannot be moved to: %w", o.Name, err)
	}
	at, err := readPosition(cursor)
	if err != nil {
		return nil, err
	}
	if err := run(ctx, &o, at, report); err != nil {
		return nil, err
	}
	return report, finish(ctx, &o, m, report)
}

// begin marks the source as one that is being moved.
func begin(ctx context.Context, o *Options) (m mark, resumed bool, err error) {
	text, err := o.From.Meta(ctx, store.MetaMoved)
	if err != nil {
		return m, false, err
	}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			return m, false, fmt.Errorf("what the database says of an earlier move cannot be read: %w", err)
		}
		switch {
		case m.Done:
			return m, false, fmt.Errorf("it was moved to %s already, at %s", m.To, m.At.Format(time.RFC3339))
		case m.To != o.Name:
			return m, false, fmt.Errorf("a move to %s has begun: run that again, or give it up with --give-up", m.To)
		}
		return m, true, nil
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	m = mark{Name: hex.EncodeToString(random[:]), To: o.Name, At: o.Now().UTC()}
	return m, false, save(ctx, o.From, m)
}

func save(ctx context.Context, s Source, m mark) error {
	b, err := json.Marshal(m)
	if err == nil {
		err = s.SetMeta(ctx, store.MetaMoved, string(b))
	}
	return err
}

// run moves what is left.
func run(ctx context.Context, o *Options, at position, report *Report) error {
	p, err := progressed(ctx, o, report)
	if err != nil {
		return err
	}
	for at.part < len(store.Parts) {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := store.Parts[at.part]
		chunk, err := o.From.Export(ctx, part, at.from, o.Piece)
		if err != nil {
			return err
		}
		at.from = chunk.Next
		if at.from == "" {
			at.part++
		}
		if err := o.To.Import(ctx, chunk, at.String()); err != nil {
			return fmt.Errorf("moving %s: %w", part, err)
		}
		report.Pieces++
		p.Part = part
		p.Done += int64(chunk.Len())
		if o.Progress != nil {
			o.Progress(p)
		}
	}
	return nil
}

// progressed says how much there is, and how much of that is there already.
func progressed(ctx context.Context, o *Options, report *Report) (p Progress, err error) {
	for _, n := range report.Totals {
		p.Total += n
	}
	if report.Resumed {
		there, err := o.To.Totals(ctx)
		if err != nil {
			return p, fmt.Errorf("counting what was moved: %w", err)
		}
		for _, n := range there {
			p.Done += n
		}
		p.Resumed = p.Done
	}
	return p, nil
}

// finish counts, and makes an installation of the target and a thing of the past of the source.
func finish(ctx context.Context, o *Options, m mark, report *Report) error {
	there, err := o.To.Totals(ctx)
	if err != nil {
		return fmt.Errorf("counting what was moved: %w", err)
	}
	for _, part := range store.Parts {
		if there[part] != report.Totals[part] && part != store.PartSamples { // which may add up in fewer rows
			return fmt.Errorf("of %d %s %d have arrived: the move is not good, and nothing was marked as moved", report.Totals[part], part, there[part])
		}
	}
	if o.Keys != nil {
		if err := o.Keys(ctx); err != nil {
			return err
		}
	}
	if err := o.To.FinishImport(ctx, m.Name); err != nil {
		return fmt.Errorf("finishing: %w", err)
	}
	m.Done, m.At = true, o.Now().UTC()
	return save(ctx, o.From, m)
}

// GiveUp makes a database servable again that was moved, or of which a move has begun, and says where to. What the other
// database has taken in since is not in it.
func GiveUp(ctx context.Context, s Source) (to string, err error) {
	text, err := s.Meta(ctx, store.MetaMoved)
	if err != nil || text == "" {
		return "", err
	}
	var m mark
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return "", fmt.Errorf("what the database says of a move cannot be read: %w", err)
	}
	return m.To, s.SetMeta(ctx, store.MetaMoved, "")
}

// Refusal returns why a database must not be served: it was moved, or is being moved from or to. nil when it may be.
func Refusal(ctx context.Context, s interface {
	Meta(ctx context.Context, key string) (string, error)
}) error {
	text, err := s.Meta(ctx, store.MetaMoved)
	if err != nil {
		return err
	}
	if text != "" {
		var m mark
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			return fmt.Errorf("what the database says of a move cannot be read: %w", err)
		}
		const back = "to serve from here all the same, run \"patchbay move --give-up\" with --from"
		if m.Done {
			return patchbay.Errorf(patchbay.CodeConflict, "this installation was moved to %s at %s: serve it from there with --database; %s (what was taken in there since is not here)",
				m.To, m.At.Format(time.RFC3339), back)
		}
		return patchbay.Errorf(patchbay.CodeConflict, "this installation is being moved to %s, which has not ended: run \"patchbay move\" again; %s", m.To, back)
	}
	if text, err = s.Meta(ctx, store.MetaImport); err != nil || text == "" || strings.HasPrefix(text, store.ImportFinished) {
		return err
	}
	return patchbay.Errorf(patchbay.CodeConflict, "an installation is being moved into this database: wait until \"patchbay move\" has ended, or run it again")
}
