// Package audit shows who changed what, when and from where. Services have it written down as part of each change
// (access.Audited); this package reads it, for people and for export.
//
// Whoever may manage a scope, or administer it, may read what was done at and below it. Portals may not: what their users do is
// the host product's to show them.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// eachStep is how many entries an export reads at a time.
	eachStep = 500
	// maxWord bounds what an object or an actor can be looked for by.
	maxWord = 255
)

// Entry is an entry as it is shown.
type Entry struct {
	ID     patchbay.AuditID `json:"id"`
	At     time.Time        `json:"at"`
	Action string           `json:"action" doc:"What was done."`
	Object string           `json:"object" doc:"To what, by its identifier or key; empty when that says nothing."`
	Title  string           `json:"title" doc:"How that was called."`
	Scope  patchbay.Scope   `json:"scope" doc:"Where that lies."`
	Actor  Actor            `json:"actor"`
	Via    string           `json:"via" enum:"api,web," doc:"api or web; empty for what Patchbay did by itself."`
	// Address and Agent are the caller's.
	Address string   `json:"address"`
	Agent   string   `json:"agent"`
	Changes []Change `json:"changes" nullable:"false" doc:"What became something else. Of what is secret only that it did."`
}

// Actor is who did it.
type Actor struct {
	Kind string `json:"kind" enum:"key,session,portal,signature,development,stranger,system"`
	ID   string `json:"id" doc:"The key's or the session's identifier; empty where there is none."`
	Name string `json:"name" doc:"What the key is called, or who has signed in."`
}

// Change is one field.
type Change struct {
	Field string          `json:"field"`
	From  json.RawMessage `json:"from"`
	To    json.RawMessage `json:"to"`
}

// Query selects entries. Zero fields select everything.
type Query struct {
	// Scope is the one at or below which what was changed lies; nil means all that the caller reaches.
	Scope *patchbay.Scope
	// Action is one, or all that begin so when it ends in a dot: "link.".
	Action string
	Object string
	// Actor is an identifier or a name.
	Actor        string
	Since, Until time.Time
	Before       patchbay.AuditID
	Limit        int
}

// Service reads the audit log.
type Service struct{ store store.Audit }

// New returns a Service.
func New(s store.Audit) *Service { return &Service{store: s} }

// May reports whether a caller may read the audit log, of its own scope.
func May(c *access.Caller) bool { return c.May(access.Manage) && !c.Portal }

// actions are what an action, or the beginning of one, looks like.
var actions = regexp.MustCompile(`^[a-z][a-z_]*\.([a-z][a-z_]*)?$`)

// filter checks a query.
func (q *Query) filter(c *access.Caller) (f store.AuditFilter, err error) {
	if !May(c) {
		if err := c.Require(access.Manage); err != nil {
			return f, err
		}
		return f, patchbay.Errorf(patchbay.CodeForbidden, "the audit log is not for portals")
	}
	f = store.AuditFilter{
		Within: c.Scope, Action: q.Action, Object: q.Object, Actor: q.Actor, Since: q.Since, Until: q.Until, Before: q.Before, Limit: q.Limit,
	}
	if q.Scope != nil {
		if err := c.Reach(*q.Scope); err != nil {
			return f, err
		}
		f.Within = *q.Scope
	}
	if q.Action != "" && (len(q.Action) > maxWord || !actions.MatchString(q.Action)) {
		return f, patchbay.Invalid("action", `is written like "link.created", or "link." for all that begin so`)
	}
	for name, word := range map[string]string{"object": q.Object, "actor": q.Actor} {
		if len(word) > maxWord {
			return f, patchbay.Invalid(name, "is longer than %d bytes", maxWord)
		}
		if !utf8.ValidString(word) || strings.ContainsFunc(word, unicode.IsControl) { // databases do not take every byte, and no entry has them
			return f, patchbay.Invalid(name, "must be one line of UTF-8")
		}
	}
	return f, nil
}

// List returns entries, the newest first, and whether there are more.
func (s *Service) List(ctx context.Context, c *access.Caller, q Query) (entries []Entry, more bool, err error) {
	f, err := q.filter(c)
	if err != nil {
		return nil, false, err
	}
	f.Limit = q.Limit + 1
	found, err := s.store.AuditEntries(ctx, f)
	if err != nil {
		return nil, false, problem(err)
	}
	if more = len(found) > q.Limit; more {
		found = found[:q.Limit]
	}
	entries = make([]Entry, len(found))
	for i := range found {
		if entries[i], err = view(&found[i]); err != nil {
			return nil, false, err
		}
	}
	return entries, more, nil
}

// Each calls do with everything that a query selects, the newest first, until do returns an error. It holds some at a time. The
// query's Limit does not count.
func (s *Service) Each(ctx context.Context, c *access.Caller, q Query, do func(*Entry) error) error {
	for q.Limit = eachStep; ; {
		entries, more, err := s.List(ctx, c, q)
		if err != nil {
			return err
		}
		for i := range entries {
			if err := do(&entries[i]); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		q.Before = entries[len(entries)-1].ID
	}
}

func view(e *store.AuditEntry) (Entry, error) {
	out := Entry{
		ID: e.ID, At: e.ID.Time(), Action: e.Action, Object: e.Object, Title: e.Title, Scope: e.Scope, Via: e.Via, Address: e.Address, Agent: e.Agent,
		Actor: Actor{Kind: e.ActorKind, ID: e.Actor, Name: e.ActorName}, Changes: []Change{},
	}
	if len(e.Changes) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(e.Changes, &out.Changes); err != nil {
		return out, patchbay.Internal(fmt.Sprintf("reading the audit log's entry %s", e.ID), err)
	}
	return out, nil
}

func problem(err error) error {
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) {
		return &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "the database cannot be read at the moment; try again in a few seconds", RetryAfter: 5, Err: err}
	}
	return patchbay.Internal("reading the audit log", err)
}
