package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/patchbay/patchbay"
)

// Sealer hides what nobody may read in a database's files. internal/secret has the real one.
type Sealer interface {
	// Seal hides plain so that it can be read again only at the same place.
	Seal(ctx context.Context, at SealPlace, plain []byte) ([]byte, error)
	// Open returns what Seal hid. ErrSealed is in the chain when the key that it needs is not there, or when it was
	// changed or moved.
	Open(ctx context.Context, at SealPlace, sealed []byte) ([]byte, error)
	// Reseal hides something anew when another key than the current one hides it; otherwise it returns false.
	Reseal(ctx context.Context, at SealPlace, sealed []byte) (again []byte, changed bool, err error)
}

// Patient is what a Sealer may be besides: while Later says so, links are written as the version before there was sealing can
// read them, because a node of it is still there and would take a link that it cannot read for one without settings. They
// are sealed with what that version has left in the open.
type Patient interface{ Later() bool }

// SealPlace is where something sealed stands. It is bound to it: sealed bytes that were moved elsewhere cannot be opened.
type SealPlace struct{ Table, Row, Column string }

// ErrSealed is returned for what cannot be opened.
var ErrSealed = errors.New("a secret in the database cannot be opened: the key that sealed it is not in the key file, or the data was changed")

// Sealed is how stores renew what is sealed.
type Sealed interface {
	// Reseal looks at up to limit rows after a cursor ("" at first) and seals anew those that another key than the
	// current one hides, or that are not sealed at all. It returns the next cursor, "" when there is nothing after it,
	// how many rows it looked at and how many it changed. Rows that are written meanwhile have the current key. Rows that
	// cannot be opened are left as they are and stop nothing: err, with ErrSealed in its chain, names them, and next says
	// where to go on all the same.
	Reseal(ctx context.Context, after string, limit int) (next string, looked, changed int, err error)
	// LookSealed calls look with what is sealed in up to limit rows after a cursor, in the order of Reseal: nil for a row
	// whose secrets are there and not sealed. It returns the next cursor, "" when there is nothing after it.
	LookSealed(ctx context.Context, after string, limit int, look func(sealed []byte)) (next string, err error)
}

// linkSecrets is what a link's document hides.
type linkSecrets struct {
	Settings      json.RawMessage `json:"settings,omitempty"`
	PreviousValue string          `json:"previous,omitempty"`
	HookToken     string          `json:"hook_token,omitempty"`
	HookSecret    string          `json:"hook_secret,omitempty"`
	HookPrevious  string          `json:"hook_previous,omitempty"`
	Attached      json.RawMessage `json:"attached,omitempty"`
}

// linkDocument is a link as both stores keep it: everything that is no secret in the open, the rest in Sealed. A store
// without a Sealer has settings and the previous secret where they stood before there was sealing, so that the version
// before can read them, and the rest in Plain.
type linkDocument struct {
	*patchbay.Link
	Settings    json.RawMessage `json:"settings,omitempty"`
	OldPrevious string          `json:"previous_value,omitempty"`
	Sealed      []byte          `json:"sealed,omitempty"`
	Plain       *linkSecrets    `json:"plain,omitempty"`
}

// LinkPlace is where the secrets of a link's revision stand.
func LinkPlace(id patchbay.LinkID, revision int) SealPlace {
	return SealPlace{Table: "link", Row: id.String() + "/" + strconv.Itoa(revision), Column: "data"}
}

// EncodeLink writes a link as stores keep it. s may be nil.
func EncodeLink(ctx context.Context, s Sealer, l *patchbay.Link) ([]byte, error) {
	hidden := linkSecrets{Settings: l.Settings}
	if l.Previous != nil {
		hidden.PreviousValue = l.Previous.Value.Reveal()
	}
	if l.Hook != nil {
		hidden.HookToken, hidden.HookSecret, hidden.HookPrevious = l.Hook.Token.Reveal(), l.Hook.Secret.Reveal(), l.Hook.Previous.Reveal()
	}
	if l.Attached != nil {
		hidden.Attached = l.Attached.State
	}
	doc := linkDocument{Link: l}
	if p, ok := s.(Patient); s == nil || ok && p.Later() {
		doc.Settings, doc.OldPrevious = hidden.Settings, hidden.PreviousValue
		if l.Hook != nil || l.Attached != nil {
			hidden.Settings, hidden.PreviousValue = nil, ""
			doc.Plain = &hidden
		}
		return json.Marshal(doc)
	}
	plain, err := json.Marshal(hidden)
	if err != nil {
		return nil, err
	}
	if doc.Sealed, err = s.Seal(ctx, LinkPlace(l.ID, l.Revision), plain); err != nil {
		return nil, fmt.Errorf("sealing the settings of the link %s: %w", l.ID, err)
	}
	return json.Marshal(doc)
}

// DecodeLink reads what EncodeLink wrote, and what was written before there was sealing. s may be nil when nothing was
// sealed.
func DecodeLink(ctx context.Context, s Sealer, raw []byte) (*patchbay.Link, error) {
	doc, err := readLinkDocument(raw)
	if err != nil {
		return nil, err
	}
	l := doc.Link
	hidden := linkSecrets{Settings: doc.Settings, PreviousValue: doc.OldPrevious}
	switch {
	case doc.Sealed != nil:
		if s == nil {
			return nil, fmt.Errorf("the settings of the link %s: %w", l.ID, ErrSealed)
		}
		plain, err := s.Open(ctx, LinkPlace(l.ID, l.Revision), doc.Sealed)
		if err != nil {
			return nil, fmt.Errorf("the settings of the link %s: %w", l.ID, err)
		}
		hidden = linkSecrets{}
		if err := json.Unmarshal(plain, &hidden); err != nil {
			return nil, fmt.Errorf("the settings of the link %s cannot be read: %w", l.ID, err)
		}
	case doc.Plain != nil:
		hidden.HookToken, hidden.HookSecret, hidden.HookPrevious = doc.Plain.HookToken, doc.Plain.HookSecret, doc.Plain.HookPrevious
		hidden.Attached = doc.Plain.Attached
	}
	l.Settings = hidden.Settings
	if l.Previous != nil {
		l.Previous.Value = patchbay.Secret(hidden.PreviousValue)
	}
	if l.Hook != nil {
		l.Hook.Token, l.Hook.Secret, l.Hook.Previous = patchbay.Secret(hidden.HookToken), patchbay.Secret(hidden.HookSecret), patchbay.Secret(hidden.HookPrevious)
	}
	if l.Attached != nil {
		l.Attached.State = hidden.Attached
	}
	return l, nil
}

func readLinkDocument(raw []byte) (*linkDocument, error) {
	doc := &linkDocument{Link: &patchbay.Link{}}
	if err := json.Unmarshal(raw, doc); err != nil {
		return nil, fmt.Errorf("a link in the database cannot be read: %w", err)
	}
	return doc, nil
}

// DecodeLinkAt is DecodeLink for the row of a link's revision. A document that was moved there from another row is an
// error with ErrSealed in its chain: what was sealed in it is bound to where it was.
func DecodeLinkAt(ctx context.Context, s Sealer, id patchbay.LinkID, revision int, raw []byte) (*patchbay.Link, error) {
	l, err := DecodeLink(ctx, s, raw)
	if err == nil && (l.ID != id || l.Revision != revision) {
		return nil, fmt.Errorf("in the place of the link %s stands the link %s: %w", id, l.ID, ErrSealed)
	}
	return l, err
}

// LinkScope returns the scope in a document that EncodeLink wrote. It needs no key.
func LinkScope(raw []byte) (patchbay.Scope, error) {
	var open struct {
		Scope patchbay.Scope `json:"scope"`
	}
	if err := json.Unmarshal(raw, &open); err != nil {
		return "", fmt.Errorf("a link in the database cannot be read: %w", err)
	}
	return open.Scope, nil
}

// ResealLink seals the document of a link's revision anew when another key than the current one seals it, or none.
func ResealLink(ctx context.Context, s Sealer, id patchbay.LinkID, revision int, raw []byte) (again []byte, changed bool, err error) {
	doc, err := readLinkDocument(raw)
	if err != nil {
		return nil, false, err
	}
	if doc.Sealed == nil {
		l, err := DecodeLinkAt(ctx, s, id, revision, raw)
		if err != nil {
			return nil, false, err
		}
		again, err = EncodeLink(ctx, s, l)
		return again, err == nil, err
	}
	if doc.Sealed, changed, err = s.Reseal(ctx, LinkPlace(id, revision), doc.Sealed); err != nil {
		return nil, false, fmt.Errorf("the settings of the link %s: %w", id, err)
	}
	if !changed {
		return nil, false, nil
	}
	again, err = json.Marshal(doc)
	return again, true, err
}

// SealedInLink returns what is sealed in the document of a link; nil when its secrets stand in the open.
func SealedInLink(raw []byte) ([]byte, error) {
	doc, err := readLinkDocument(raw)
	if err != nil {
		return nil, err
	}
	return doc.Sealed, nil
}

// SealedInColumn returns what is sealed in what SealColumn wrote; nil when it stands in the open.
func SealedInColumn(stored []byte) []byte {
	if len(stored) == 0 || stored[0] != columnSealed {
		return nil
	}
	return stored[1:]
}

// What stands before the bytes of a column that is sealed where there is a Sealer.
const (
	columnOpen   = 0
	columnSealed = 1
)

// SealColumn hides what a column of its own keeps. s may be nil: then it stands in the open.
func SealColumn(ctx context.Context, s Sealer, at SealPlace, plain []byte) ([]byte, error) {
	if s == nil {
		return append([]byte{columnOpen}, plain...), nil
	}
	sealed, err := s.Seal(ctx, at, plain)
	if err != nil {
		return nil, fmt.Errorf("sealing the %s of the %s %s: %w", at.Column, at.Table, at.Row, err)
	}
	return append([]byte{columnSealed}, sealed...), nil
}

// OpenColumn reads what SealColumn wrote. s may be nil when it was nil then.
func OpenColumn(ctx context.Context, s Sealer, at SealPlace, stored []byte) (plain []byte, err error) {
	switch {
	case len(stored) == 0 || stored[0] > columnSealed:
		err = ErrSealed
	case stored[0] == columnOpen:
		return stored[1:], nil
	case s == nil:
		err = ErrSealed
	default:
		plain, err = s.Open(ctx, at, stored[1:])
	}
	if err != nil {
		return nil, fmt.Errorf("the %s of the %s %s: %w", at.Column, at.Table, at.Row, err)
	}
	return plain, nil
}

// ResealColumn seals a column anew when another key than the current one seals it, or none.
func ResealColumn(ctx context.Context, s Sealer, at SealPlace, stored []byte) (again []byte, changed bool, err error) {
	if len(stored) == 0 || stored[0] != columnSealed {
		plain, err := OpenColumn(ctx, s, at, stored)
		if err != nil {
			return nil, false, err
		}
		again, err = SealColumn(ctx, s, at, plain)
		return again, err == nil, err
	}
	sealed, changed, err := s.Reseal(ctx, at, stored[1:])
	if err != nil {
		return nil, false, fmt.Errorf("the %s of the %s %s: %w", at.Column, at.Table, at.Row, err)
	}
	if !changed {
		return nil, false, nil
	}
	return append([]byte{columnSealed}, sealed...), true, nil
}
