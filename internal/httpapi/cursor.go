package httpapi

import (
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/patchbay/patchbay"
)

const (
	// defaultLimit and maxLimit bound a page of a list.
	defaultLimit = 50
	maxLimit     = 250
)

// page is one page of a list.
type page[T any] struct {
	Data []T     `json:"data" nullable:"false"`
	Next *string `json:"next" doc:"The cursor of the next page; null on the last one."`
}

// newPage makes a page. next, when not "", is the cursor of the one after it.
func newPage[T any](data []T, next string) page[T] {
	if data == nil {
		data = []T{}
	}
	p := page[T]{Data: data}
	if next != "" {
		p.Next = &next
	}
	return p
}

// Paging is what every list takes. It is exported, like ByID and ByKey, because huma reads no other embedded fields.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"250" default:"50" doc:"How many at most."`
	Cursor string `query:"cursor" doc:"The next of the page before."`
}

// The kinds of cursors; a cursor works only on the list that it came from.
const (
	cursorEvents       = 'e'
	cursorDeliveries   = 'd'
	cursorLinks        = 'l'
	cursorKeys         = 'k'
	cursorPortals      = 'p'
	cursorSessions     = 's'
	cursorTypes        = 't'
	cursorIntegrations = 'i'
	cursorJobs         = 'j'
	cursorHooks        = 'h'
	cursorConnections  = 'c'
	cursorAudit        = 'a'
)

// idCursor spells a place in a list that goes by identifier.
func idCursor(kind byte, id int64) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64([]byte{kind}, uint64(id)))
}

// idOf reads what idCursor wrote; "" is the start, 0.
func (p Paging) idOf(kind byte) (int64, error) {
	if p.Cursor == "" {
		return 0, nil
	}
	b := p.decode()
	if len(b) != 9 || b[0] != kind || b[1] >= 0x80 {
		return 0, errCursor()
	}
	return int64(binary.BigEndian.Uint64(b[1:])), nil
}

// keyCursor spells a place in a list that goes by key.
func keyCursor(kind byte, key string) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{kind}, key...))
}

// keyOf reads what keyCursor wrote; "" is the start.
func (p Paging) keyOf(kind byte) (string, error) {
	if p.Cursor == "" {
		return "", nil
	}
	b := p.decode()
	if len(b) < 2 || b[0] != kind {
		return "", errCursor()
	}
	return string(b[1:]), nil
}

// decode returns nil for what no list has given out. The decoder alone would let line breaks through.
func (p Paging) decode() []byte {
	b, err := base64.RawURLEncoding.Strict().DecodeString(p.Cursor)
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != p.Cursor {
		return nil
	}
	return b
}

func errCursor() error {
	return patchbay.Invalid("cursor", "is not one that this list gave out: pass back next as it is, or leave it out to start again")
}

// pageByKey cuts the page out of all, which is in the order of the list; key names each.
func pageByKey[T any](all []T, key func(*T) string, kind byte, p Paging) (page[T], error) {
	after, err := p.keyOf(kind)
	if err != nil {
		return page[T]{}, err
	}
	start := 0
	if after != "" {
		for start < len(all) && key(&all[start]) != after {
			start++
		}
		if start == len(all) { // what the cursor stood on is gone
			return page[T]{}, errCursor()
		}
		start++
	}
	rest := all[start:]
	if len(rest) <= p.Limit {
		return newPage(rest, ""), nil
	}
	return newPage(rest[:p.Limit], keyCursor(kind, key(&rest[p.Limit-1]))), nil
}

// timeOf reads a time parameter; "" is the zero time.
func timeOf(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, patchbay.Invalid(name, "must be a time such as 2026-11-22T09:30:00Z (a + in an address is written %%2B)")
	}
	return t.UTC(), nil
}

// scopeOf reads a scope parameter.
func scopeOf(text string) (patchbay.Scope, error) {
	s, err := patchbay.ParseScope(text)
	if err != nil {
		return "", patchbay.Invalid("scope", "%v", err)
	}
	return s, nil
}

// filterID reads an identifier that selects; "" selects everything.
func filterID[K patchbay.Kind](name, text string, id *patchbay.ID[K]) (err error) {
	if text == "" {
		return nil
	}
	if *id, err = patchbay.ParseID[K](text); err != nil {
		return patchbay.Invalid(name, "%v", err)
	}
	return nil
}

// pathID reads the identifier in a path. What cannot be one is not found, like one that does not exist.
func pathID[K patchbay.Kind](noun, text string, id *patchbay.ID[K]) (err error) {
	if *id, err = patchbay.ParseID[K](text); err != nil {
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no %s %q", noun, clip(text))
	}
	return nil
}
