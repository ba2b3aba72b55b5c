// Package eventtypes changes the catalog through the API: what is added is checked by the catalog, kept in the store,
// and there again after a restart. Types from catalog files are read-only.
package eventtypes

import (
	"context"
	"errors"
	"sync"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/store"
)

// Service changes event types. A change holds from the moment in which the call that made it returns.
type Service struct {
	catalog *catalog.Catalog
	store   store.Types

	mu sync.Mutex // one change at a time, so that memory and store end up the same
}

// New returns a Service.
func New(c *catalog.Catalog, s store.Types) *Service { return &Service{catalog: c, store: s} }

// Put adds a type, or replaces one that was added before, and says whether it is new. The caller needs Admin on the
// whole installation, because every tenant's events can be of the type.
func (s *Service) Put(ctx context.Context, c *access.Caller, t patchbay.EventType) (created bool, err error) {
	if err := allowed(c); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var before *patchbay.EventType
	if old := s.catalog.Type(t.Key); old != nil && old.FromAPI() && old.Key() == t.Key {
		before = old.Spec()
	}
	replaced, err := s.catalog.Add(t)
	if err != nil {
		return false, err
	}
	t.Origin = catalog.OriginAPI
	if err := s.store.PutType(access.Audited(ctx, c, changed(before, &t)), &t); err != nil {
		return false, s.undo(t.Key, before, storeError("saving the event type", err))
	}
	return !replaced, nil
}

// changed is what is written down of a type that was put. before is nil for a new one.
func changed(before, t *patchbay.EventType) access.Change {
	x := access.Change{Action: "event_type.updated", Object: t.Key, Title: t.Title, Fields: access.Compare(before, t, "key", "origin")}
	if before == nil {
		x.Action = "event_type.created"
	}
	return x
}

// Delete removes a type that was added through the API. Events of it that were accepted stay what they are.
func (s *Service) Delete(ctx context.Context, c *access.Caller, key string) error {
	if err := allowed(c); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.catalog.Type(key)
	if t == nil || t.Key() != key {
		return s.forget(access.Audited(ctx, c, access.Change{Action: "event_type.deleted", Object: key, Title: key}), key)
	}
	if err := s.catalog.Remove(key); err != nil {
		return err
	}
	gone := access.Change{Action: "event_type.deleted", Object: key, Title: t.Spec().Title}
	if err := s.store.DeleteType(access.Audited(ctx, c, gone), key); err != nil && !errors.Is(err, store.ErrNotFound) {
		return s.undo(key, t.Spec(), storeError("deleting the event type", err))
	}
	return nil
}

// Refresh takes over what the store says of types, which another node has changed. It comes between two changes of this
// node, so what it reads is never older than what is known here. A type that this node cannot take (one of its catalog
// files has the name) is left as it was, and is in the error, which then has a code of the caller's; when the store
// could not be read the code is internal or unavailable, and trying again is right.
func (s *Service) Refresh(ctx context.Context, keys []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.store.AllTypes(ctx)
	if err != nil {
		return storeError("reading the event types", err)
	}
	stored := make(map[string]patchbay.EventType, len(all))
	for _, t := range all {
		stored[t.Key] = t
	}
	var changed []patchbay.EventType
	for _, key := range keys {
		if t, ok := stored[key]; ok {
			changed = append(changed, t)
		} else if known := s.catalog.Type(key); known != nil && known.FromAPI() && known.Key() == key {
			if err := s.catalog.Remove(key); err != nil {
				return err
			}
		}
	}
	return s.add(changed)
}

// add puts types into the catalog. One whose name another of them gives up is tried again after that.
func (s *Service) add(types []patchbay.EventType) error {
	for {
		var left []patchbay.EventType
		var errs []error
		for _, t := range types {
			if _, err := s.catalog.Add(t); err != nil {
				left, errs = append(left, t), append(errs, err)
			}
		}
		if len(left) == 0 || len(left) == len(types) {
			return errors.Join(errs...)
		}
		types = left
	}
}

// forget deletes a type that the store has and the catalog has not: when the program started, it did not fit any more.
func (s *Service) forget(ctx context.Context, key string) error {
	switch err := s.store.DeleteType(ctx, key); {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no event type %.128q", key)
	default:
		return storeError("deleting the event type", err)
	}
}

// undo brings the catalog back to what the store has, and returns why.
func (s *Service) undo(key string, before *patchbay.EventType, why error) error {
	var err error
	if before != nil {
		_, err = s.catalog.Add(*before)
	} else {
		err = s.catalog.Remove(key)
	}
	return errors.Join(why, err)
}

func allowed(c *access.Caller) error {
	if err := c.Require(access.Admin); err != nil {
		return err
	}
	return c.Reach("")
}

func storeError(doing string, err error) error {
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) {
		return &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "nothing was changed: the database cannot take writes at the moment", Err: err}
	}
	return patchbay.Internal(doing, err)
}
