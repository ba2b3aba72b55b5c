// Package eventtypes changes the catalog at run time: event types that are added through the API are stored, so that
// they survive restarts, and hold on this node from the moment in which the call that made them returns.
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

// Service is the catalog as the API shows and changes it.
type Service struct {
	catalog *catalog.Catalog
	store   store.Types
	change  sync.Mutex // held by whoever changes a type, so that catalog and store agree
}

// New returns a Service.
func New(c *catalog.Catalog, s store.Types) *Service { return &Service{catalog: c, store: s} }

// Types returns every type, in the order in which people should see them.
func (s *Service) Types() []patchbay.EventType {
	types := s.catalog.Types()
	out := make([]patchbay.EventType, len(types))
	for i, t := range types {
		out[i] = *t.Spec()
	}
	return out
}

// Type returns the type with the key or alias, and false when there is none.
func (s *Service) Type(name string) (*patchbay.EventType, bool) {
	t := s.catalog.Type(name)
	if t == nil {
		return nil, false
	}
	return t.Spec(), true
}

// Put adds or replaces a type and says whether it is new. Types from files are not to be changed: conflict.
func (s *Service) Put(ctx context.Context, c *access.Caller, t patchbay.EventType) (bool, error) {
	if err := allowed(c); err != nil {
		return false, err
	}
	s.change.Lock()
	defer s.change.Unlock()
	var before *patchbay.EventType
	if old := s.catalog.Type(t.Key); old != nil && old.Key() == t.Key {
		before = old.Spec()
	}
	replaced, err := s.catalog.Add(t)
	if err != nil {
		return false, err
	}
	if err := s.store.PutType(ctx, s.catalog.Type(t.Key).Spec()); err != nil {
		// What is not stored must not be in the catalog either. Putting back what was there a moment ago cannot fail.
		if replaced {
			_, _ = s.catalog.Add(*before)
		} else {
			_ = s.catalog.Remove(t.Key)
		}
		return false, failed("storing the event type", err)
	}
	return !replaced, nil
}

// Delete removes a type that was added through the API.
func (s *Service) Delete(ctx context.Context, c *access.Caller, key string) error {
	if err := allowed(c); err != nil {
		return err
	}
	s.change.Lock()
	defer s.change.Unlock()
	t := s.catalog.Type(key)
	if t == nil || t.Key() != key {
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no event type %.64q", key)
	}
	spec := *t.Spec()
	if err := s.catalog.Remove(key); err != nil {
		return err
	}
	if err := s.store.DeleteType(ctx, key); err != nil && !errors.Is(err, store.ErrNotFound) {
		_, _ = s.catalog.Add(spec)
		return failed("deleting the event type", err)
	}
	return nil
}

// allowed says who may change the catalog: it is everybody's, so only an administrator of the whole installation.
func allowed(c *access.Caller) error {
	if err := c.Require(access.Admin); err != nil {
		return err
	}
	return c.Reach("")
}

func failed(doing string, err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "the database cannot take writes at the moment; try again in a few seconds", RetryAfter: 5, Err: err}
	}
	return patchbay.Internal(doing, err)
}
