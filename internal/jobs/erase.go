package jobs

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
)

// Erasure says what is to be forgotten: a tenant, or the events in which a path has a value.
type Erasure struct {
	Tenant string
	Path   string
	Value  json.RawMessage
	// Scope and Type narrow Path and Value down.
	Scope, Type string
}

// Erase makes the job that forgets.
func (s *Service) Erase(ctx context.Context, c *access.Caller, in Erasure) (*View, error) {
	w, err := s.checkErasure(c, in)
	if err != nil {
		return nil, err
	}
	return s.create(ctx, c, w)
}

// PreviewErasure counts what Erase would forget.
func (s *Service) PreviewErasure(ctx context.Context, c *access.Caller, in Erasure) (*Preview, error) {
	w, err := s.checkErasure(c, in)
	if err != nil {
		return nil, err
	}
	return s.preview(ctx, w)
}

func (s *Service) checkErasure(c *access.Caller, in Erasure) (*work, error) {
	if err := c.Require(access.Admin); err != nil {
		return nil, err
	}
	w := &work{action: Erase, scope: c.Scope, made: s.o.Now(), filter: &Filter{Tenant: in.Tenant, Path: in.Path, Type: in.Type}}
	if in.Tenant != "" {
		return w, w.checkTenant(c, in)
	}
	var wrong []patchbay.Detail
	note := func(path string, err error) {
		if err != nil {
			wrong = append(wrong, patchbay.Detail{Path: path, Message: err.Error()})
		}
	}
	if in.Path == "" && len(in.Value) == 0 {
		return nil, patchbay.Invalid("tenant", "is needed, or path and value: what is to be erased?")
	}
	var err error
	if w.match, err = newMatcher(in.Path, in.Value); err != nil {
		return nil, err
	}
	w.filter.Value = bytes.TrimSpace(in.Value)
	w.filter.Scope, err = patchbay.ParseScope(in.Scope)
	note("scope", err)
	if in.Type != "" {
		_, err = patchbay.ParsePattern(in.Type)
		note("type", err)
	}
	if err := refuse(wrong); err != nil {
		return nil, err
	}
	if w.filter.Scope == "" {
		return w, nil
	}
	return w, c.Reach(w.filter.Scope)
}

// checkTenant checks the erasure of a tenant.
func (w *work) checkTenant(c *access.Caller, in Erasure) error {
	if in.Path != "" || len(in.Value) > 0 || in.Scope != "" || in.Type != "" {
		return patchbay.Invalid("tenant", "goes whole: leave out path, value, scope and type, or the tenant")
	}
	scope, err := patchbay.ParseScope(in.Tenant)
	switch {
	case err != nil:
		return patchbay.Invalid("tenant", "%v", err)
	case scope.Depth() != 1:
		return patchbay.Invalid("tenant", "is the first segment of a scope, without a slash")
	}
	return c.Reach(scope)
}
