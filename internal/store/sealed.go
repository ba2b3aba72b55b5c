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

// SealPlace is where something sealed stands. It is bound to it: sealed bytes that were moved elsewhere cannot be opened.
type SealPlace struct{ Table, Row, Column string }

// ErrSealed is returned for what cannot be opened.
var ErrSealed = errors.New("a secret in the database cannot be opened: the key that sealed it is not in the key file, or the data was changed")

// Sealed is how stores renew what is sealed.
type Sealed interface {
	// Reseal looks at up to limit rows after a cursor ("" at first) and seals anew those that another key than the
	// current one hides, or that are not sealed at all. It returns the next cursor, "" when there is nothing after it,
	// how many rows it looked at and how many it changed. Rows that are written meanwhile have the current key.
	Reseal(ctx context.Context, after string, limit int) (next string, looked, changed int, err error)
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

// linkDocument is a link as both stores keep it: everything that is no secret in the open, the rest in Sealed, or, in a
// store without a Sealer, in Plain.
type linkDocument struct {
	*patchbay.Link
	// Settings and OldPrevious stand here in documents from before there was sealing.
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
	if s == nil {
		doc.Plain = &hidden
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
	doc := linkDocument{Link: &patchbay.Link{}}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("a link in the database cannot be read: %w", err)
	}
	l := doc.Link
	hidden := linkSecrets{Settings: doc.Settings, PreviousValue: doc.OldPrevious}
	switch {
	case doc.Plain != nil:
		hidden = *doc.Plain
	case doc.Sealed != nil:
		if s == nil {
			return nil, fmt.Errorf("the settings of the link %s: %w", l.ID, ErrSealed)
		}
		plain, err := s.Open(ctx, LinkPlace(l.ID, l.Revision), doc.Sealed)
		if err != nil {
			return nil, fmt.Errorf("the settings of the link %s: %w", l.ID, err)
		}
		if err := json.Unmarshal(plain, &hidden); err != nil {
			return nil, fmt.Errorf("the settings of the link %s cannot be read: %w", l.ID, err)
		}
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
