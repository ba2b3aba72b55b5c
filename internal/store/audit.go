package store

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
)

// AuditEntry says who changed what, when and from where. It holds no secrets: of a secret setting only that it changed.
type AuditEntry struct {
	// ID is given by the store when it writes the entry, and says when that was (patchbay.ID.Time).
	ID patchbay.AuditID
	// Scope is that of what was changed.
	Scope patchbay.Scope
	// Action is what was done, such as "link.created"; Object to what, by its identifier, and Title how that was called.
	Action, Object, Title string
	// ActorKind is "key", "session", "portal", "signature", "development", "stranger" or "system"; Actor is its identifier, where it has
	// one, and ActorName what people know it by.
	ActorKind, Actor, ActorName string
	// Via is "api" or "web" ("" for what the system did), Address and Agent are the caller's address and program.
	Via, Address, Agent string
	// Changes are the fields that became something else, as JSON: [{"field", "from", "to"}]; nil when that says nothing.
	Changes json.RawMessage
}

// AuditFilter selects entries. Zero fields select everything.
type AuditFilter struct {
	// Within is the scope at or below which what was changed lies.
	Within patchbay.Scope
	// Action is one action, or all that begin so when it ends in ".": "link.".
	Action string
	Object string
	// Actor is the identifier of who did it, or the name.
	Actor        string
	Since, Until time.Time
	// Before is the cursor: only entries with a lower identifier, the newest first.
	Before patchbay.AuditID
	// Limit is how many at most; it must be positive.
	Limit int
}

// Audit keeps who changed what.
//
// An entry is written in the very transaction of the change: every method of a store that changes the configuration, and is
// given a context of Audited, writes the entry with what it does itself, so that there is neither a change without an entry
// nor an entry without a change. The first transaction that commits with a context has the entry, later ones do not repeat it.
type Audit interface {
	// WriteAudit adds an entry about something that changed nothing else here, such as a sign-in that was refused.
	WriteAudit(ctx context.Context, e *AuditEntry) error
	// AuditEntries lists entries, the newest first.
	AuditEntries(ctx context.Context, f AuditFilter) ([]AuditEntry, error)
	// PruneAudit forgets up to limit entries from before a time.
	PruneAudit(ctx context.Context, before time.Time, limit int) (more bool, err error)
}

// auditWord is the longest word, in bytes: the longest scope is shorter, and what databases can index is longer.
const auditWord = 1200

// Words are what an entry is looked up by. Whatever a filter asks for, but for time, is one of them, so that one index of words
// and identifiers, in this order, serves every filter.
func (e *AuditEntry) Words() []string {
	var out []string
	for s := e.Scope; s != ""; s, _ = s.Parent() {
		out = append(out, scopeWord+string(s))
	}
	for i := range e.Action {
		if e.Action[i] == '.' {
			out = append(out, actionWord+e.Action[:i+1])
		}
	}
	for _, w := range [...]struct{ kind, text string }{
		{actionWord, e.Action}, {objectWord, e.Object}, {actorWord, e.Actor}, {actorWord, e.ActorName},
	} {
		if w.text != "" {
			out = append(out, shortWord(w.kind+w.text))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Words are those that an entry must have, all of them.
func (f *AuditFilter) Words() []string {
	var out []string
	for _, w := range [...]struct{ kind, text string }{
		{objectWord, f.Object}, {actorWord, f.Actor}, {scopeWord, string(f.Within)}, {actionWord, f.Action},
	} {
		if w.text != "" {
			out = append(out, shortWord(w.kind+w.text))
		}
	}
	return out
}

// The kinds of words.
const (
	scopeWord  = "s "
	actionWord = "a "
	objectWord = "o "
	actorWord  = "w "
)

func shortWord(w string) string { return w[:min(len(w), auditWord)] }

// Between are the identifiers that a filter's times and cursor leave: from low up to, but without, high.
func (f *AuditFilter) Between() (low, high int64) {
	high = math.MaxInt64
	if !f.Since.IsZero() {
		low = patchbay.FirstIDAt(f.Since)
	}
	if !f.Until.IsZero() {
		high = patchbay.FirstIDAt(f.Until)
	}
	if f.Before != 0 {
		high = min(high, int64(f.Before))
	}
	return low, high
}

// Audited returns a context with which the next change is written down.
func Audited(ctx context.Context, e *AuditEntry) context.Context {
	return context.WithValue(ctx, auditKey{}, &pendingAudit{entry: e})
}

type auditKey struct{}

type pendingAudit struct {
	entry   *AuditEntry
	written atomic.Bool
}

// AuditOf returns the entry that the next transaction of a context has to write, and what to call once that has committed;
// nil when there is none. It is for stores.
func AuditOf(ctx context.Context) (e *AuditEntry, committed func()) {
	p, _ := ctx.Value(auditKey{}).(*pendingAudit)
	if p == nil || p.written.Load() {
		return nil, func() {}
	}
	return p.entry, func() { p.written.Store(true) }
}
