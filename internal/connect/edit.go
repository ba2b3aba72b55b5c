package connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// Get returns a connection.
func (s *Service) Get(ctx context.Context, c *access.Caller, id patchbay.ConnectionID) (*View, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, err
	}
	con, err := s.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if !sees(c, con) {
		return nil, notFound(id)
	}
	return s.viewFor(c, con), nil
}

// List returns connections in the order in which they were made, and whether there are more.
func (s *Service) List(_ context.Context, c *access.Caller, f ListFilter) ([]View, bool, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, false, err
	}
	scope := c.Scope
	for _, given := range []*patchbay.Scope{f.Scope, f.Serving} {
		if given == nil {
			continue
		}
		if err := c.Reach(*given); err != nil {
			return nil, false, err
		}
		scope = *given
	}
	first := lowest{limit: f.Limit + 1}
	words := strings.Fields(strings.ToLower(f.Search))
	s.mu.RLock()
	for _, e := range s.known {
		con := e.con
		fits := scope.Contains(con.Scope)
		if f.Serving != nil {
			fits = con.Scope.Contains(scope) && sees(c, con)
		}
		if fits && f.fits(con, words) {
			first.add(con)
		}
	}
	s.mu.RUnlock()
	found := first.sorted()
	more := len(found) > f.Limit
	if more {
		found = found[:f.Limit]
	}
	ids := make([]patchbay.ConnectionID, len(found))
	for i := range found {
		ids[i] = found[i].ID
	}
	used := s.usedBy(ids)
	views := make([]View, len(found))
	for i, con := range found {
		views[i] = *limited(c, con, s.viewWith(con, len(used[con.ID])))
	}
	return views, more, nil
}

// fits reports whether a connection is one of those that are listed, wherever it lies.
func (f *ListFilter) fits(con *patchbay.Connection, words []string) bool {
	if con.ID <= f.After || f.Integration != "" && con.Integration != f.Integration || f.States != nil && !slices.Contains(f.States, con.State) {
		return false
	}
	if len(words) == 0 {
		return true
	}
	text := strings.ToLower(strings.Join([]string{con.Name, con.Account.Name, con.Account.ID, con.Owner, string(con.Scope), con.Integration, con.ID.String()}, " "))
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// lowest keeps the connections with the lowest identifiers, so that a page costs no sorting of all of them.
type lowest struct {
	limit int
	kept  []*patchbay.Connection
}

func (l *lowest) add(con *patchbay.Connection) {
	if l.kept = append(l.kept, con); len(l.kept) >= 2*l.limit+64 {
		l.kept = l.sorted()
	}
}

func (l *lowest) sorted() []*patchbay.Connection {
	slices.SortFunc(l.kept, func(a, b *patchbay.Connection) int { return cmp.Compare(a.ID, b.ID) })
	return l.kept[:min(len(l.kept), l.limit)]
}

// viewFor is what a caller may see of a connection.
func (s *Service) viewFor(c *access.Caller, con *patchbay.Connection) *View {
	return limited(c, con, s.view(con))
}

// limited leaves of a connection above the caller's scope what it takes to use it.
func limited(c *access.Caller, con *patchbay.Connection, v *View) *View {
	if c.Sees(con.Scope) {
		return v
	}
	v.Owner, v.OwnerScope, v.Grants, v.Links, v.StateReason, v.ExpiresAt, v.CheckedAt = "", nil, []string{}, 0, nil, nil, nil
	return v
}

func (s *Service) view(con *patchbay.Connection) *View { return s.viewWith(con, s.uses(con.ID)) }

func (s *Service) viewWith(con *patchbay.Connection, links int) *View {
	v := &View{
		ID: con.ID, Integration: con.Integration, Scope: con.Scope, Owner: con.Owner, OwnerScope: con.OwnerScope, Name: con.Name,
		Visible: con.Visible, Account: con.Account, Grants: slices.Clone(con.Grants), State: con.State,
		CreatedAt: con.CreatedAt, UpdatedAt: con.UpdatedAt, Links: links,
	}
	if v.Grants == nil {
		v.Grants = []string{}
	}
	if con.StateReason != "" {
		v.StateReason = &con.StateReason
	}
	if at := con.Credentials.ExpiresAt; !at.IsZero() {
		v.ExpiresAt = &at
	}
	if !con.CheckedAt.IsZero() {
		v.CheckedAt = &con.CheckedAt
	}
	return v
}

func (s *Service) usedBy(ids []patchbay.ConnectionID) map[patchbay.ConnectionID][]Use {
	if s.o.Links == nil {
		return nil
	}
	return s.o.Links.UsedBy(ids)
}

func (s *Service) uses(id patchbay.ConnectionID) int {
	return len(s.usedBy([]patchbay.ConnectionID{id})[id])
}

// apply takes over what a request says of a connection, but for its settings. clear names the fields that were sent as null.
func (s *Service) apply(c *access.Caller, con *patchbay.Connection, in *Input, clear []string) error {
	for _, field := range clear {
		switch field {
		case "owner":
			in.Owner = new(string)
		case "owner_scope":
			con.OwnerScope = nil
		case "name":
			in.Name = new(string)
		default:
			return patchbay.Invalid(field, "cannot be null")
		}
	}
	if in.Scope != nil {
		scope, err := patchbay.ParseScope(*in.Scope)
		if err != nil {
			return patchbay.Invalid("scope", "%v", err)
		}
		con.Scope = scope
	}
	if err := c.Reach(con.Scope); err != nil {
		return err
	}
	if err := s.o.Cell.Refuse(con.Scope); err != nil {
		return err
	}
	if c.Portal && (in.Owner != nil && *in.Owner != con.Owner || in.OwnerScope != nil || slices.Contains(clear, "owner_scope")) {
		return patchbay.Errorf(patchbay.CodeForbidden,
			"a portal's connections belong to the user of its session: the product itself can hand one over")
	}
	for _, f := range []struct {
		path  string
		given *string
		into  *string
		most  int
	}{{"owner", in.Owner, &con.Owner, patchbay.MaxOwnerLength}, {"name", in.Name, &con.Name, patchbay.MaxConnectionName}} {
		if f.given == nil {
			continue
		}
		switch text := *f.given; {
		case len(text) > f.most:
			return patchbay.Invalid(f.path, "is longer than %d bytes", f.most)
		case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return patchbay.Invalid(f.path, "must be one line of UTF-8 without control characters")
		}
		*f.into = *f.given
	}
	if in.Visible != nil {
		con.Visible = *in.Visible
	}
	return applyOwnerScope(c, con, in.OwnerScope)
}

// applyOwnerScope takes over where the owner's own things are.
func applyOwnerScope(c *access.Caller, con *patchbay.Connection, given *string) error {
	if given != nil {
		scope, err := patchbay.ParseScope(*given)
		if err != nil {
			return patchbay.Invalid("owner_scope", "%v", err)
		}
		if err := c.Reach(scope); err != nil {
			return err
		}
		con.OwnerScope = &scope
	}
	if con.OwnerScope != nil && con.Scope != "" && con.OwnerScope.Tenant() != con.Scope.Tenant() {
		return patchbay.Invalid("owner_scope", "must lie in the same tenant as the connection, %q", con.Scope.Tenant())
	}
	return nil
}

// Update changes a connection. clear names fields that were sent as null; ifMatch, when not "", is the version that the
// caller has read.
func (s *Service) Update(ctx context.Context, c *access.Caller, id patchbay.ConnectionID, in Input, clear []string,
	ifMatch string) (*View, error) {
	if _, err := s.mine(ctx, c, access.Manage, id); err != nil {
		return nil, err
	}
	if in.Settings != nil || slices.Contains(clear, "settings") {
		return nil, patchbay.Invalid("settings", "cannot be changed here: POST the keys of the same account again")
	}
	s.change.Lock()
	defer s.change.Unlock()
	for tries := 1; ; tries++ {
		con, err := s.o.Store.Connection(ctx, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			s.forget(id)
			return nil, notFound(id)
		case err != nil:
			return nil, unavailable("reading a connection", err)
		case !c.Sees(con.Scope):
			return nil, notFound(id)
		case ifMatch != "" && ifMatch != version(con.UpdatedAt):
			return nil, patchbay.Errorf(patchbay.CodeConflict, "the connection was changed since it was read: read it again")
		}
		before := *con
		if err := s.edit(c, con, in, clear); err != nil {
			return nil, err
		}
		err = s.o.Store.SaveConnection(access.Audited(ctx, c, changeOf("connection.updated", con, compared(&before, con)...)), con)
		if errors.Is(err, store.ErrConflict) && tries < keepTries {
			continue // a refresh in this moment
		}
		if err != nil {
			return nil, unavailable("saving a connection", err)
		}
		s.put(con, nil)
		return s.view(con), nil
	}
}

// edit makes of a connection what a request wants it to be.
func (s *Service) edit(c *access.Caller, con *patchbay.Connection, in Input, clear []string) error {
	before := con.Scope
	if in.Integration != nil && *in.Integration != con.Integration {
		return patchbay.Invalid("integration", "cannot be changed: connect another account")
	}
	if err := s.apply(c, con, &in, clear); err != nil {
		return err
	}
	if con.Scope != before {
		if !before.Contains(con.Scope) {
			return patchbay.Invalid("scope", "can only become one below %q, where the connection lies: for another scope, connect the account there", before)
		}
		var left []Use
		for _, u := range s.usedBy([]patchbay.ConnectionID{con.ID})[con.ID] {
			if !con.Scope.Contains(u.Scope) {
				left = append(left, u)
			}
		}
		if len(left) > 0 {
			return inUse(c, left, "lie outside of the new scope: move them first")
		}
	}
	con.Revision++
	con.UpdatedAt = later(con.UpdatedAt, s.now().UTC().Truncate(time.Millisecond))
	return nil
}

// namedMost is how many links an error names.
const namedMost = 10

// inUse says which links stand in the way. Of those that the caller does not see only the number is told.
func inUse(c *access.Caller, uses []Use, why string) error {
	slices.SortFunc(uses, func(a, b Use) int { return cmp.Compare(a.Link, b.Link) })
	var names []string
	for _, u := range uses {
		if c.Sees(u.Scope) && len(names) < namedMost {
			name := u.Link.String()
			if u.Name != "" {
				name = fmt.Sprintf("%s (%s)", u.Link, u.Name)
			}
			names = append(names, name)
		}
	}
	text := strings.Join(names, ", ")
	switch more := len(uses) - len(names); {
	case more > 0 && text == "":
		text = fmt.Sprintf("%d links that you do not see", more)
	case more > 0:
		text += fmt.Sprintf(" and %d more", more)
	}
	return patchbay.Errorf(patchbay.CodeConflict, "links that use the connection %s: %s", why, text)
}

// elsewhere reports whether another connection here is of the same account.
func (s *Service) elsewhere(con *patchbay.Connection) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ids := maps.Keys(s.byWho[who{con.Integration, con.Account.ID}])
	for id := range ids {
		if id != con.ID {
			return true
		}
	}
	return false
}
