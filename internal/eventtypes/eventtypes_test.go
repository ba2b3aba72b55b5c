package eventtypes

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

var admin = &access.Caller{Permissions: []access.Permission{access.Admin}, Name: "test"}

// installation is a service over a real database.
type installation struct {
	*Service
	catalog *catalog.Catalog
	db      *sqlite.Store
}

func open(t *testing.T, dir string) *installation {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	stored, err := db.AllTypes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(catalog.Options{Files: []string{"builtin:keyclic"}, Stored: stored})
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) > 0 {
		t.Errorf("the catalog warns: %v", w)
	}
	return &installation{Service: New(c, db), catalog: c, db: db}
}

var pushed = patchbay.EventType{Key: "build.done", Title: "Build done", Aliases: []string{"built"},
	Schema: json.RawMessage(`{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}`), Example: json.RawMessage(`{"n":1}`)}

func TestTypesSurviveRestarts(t *testing.T) {
	dir := t.TempDir()
	i := open(t, dir)
	if created, err := i.Put(t.Context(), admin, pushed); err != nil || !created {
		t.Fatalf("%v, %v", created, err)
	}
	second := pushed
	second.Title = "Build finished"
	if created, err := i.Put(t.Context(), admin, second); err != nil || created {
		t.Fatalf("putting it again: %v, %v", created, err)
	}
	if err := i.db.Close(); err != nil {
		t.Fatal(err)
	}
	i = open(t, dir)
	got := i.catalog.Type("built")
	if got == nil {
		t.Fatal("it is gone after the restart")
	}
	second.Origin = catalog.OriginAPI
	if diff := cmp.Diff(&second, got.Spec()); diff != "" {
		t.Error(diff)
	}
	if err := i.Delete(t.Context(), admin, "build.done"); err != nil {
		t.Fatal(err)
	}
	if err := i.db.Close(); err != nil {
		t.Fatal(err)
	}
	if i = open(t, dir); i.catalog.Type("build.done") != nil {
		t.Error("it is back after the restart")
	}
}

func TestRefusals(t *testing.T) {
	i := open(t, t.TempDir())
	fileType := i.catalog.Types()[0].Key()
	below := &access.Caller{Scope: "acme", Permissions: []access.Permission{access.Admin}}
	manager := &access.Caller{Permissions: []access.Permission{access.Manage}}
	for says, test := range map[string]struct {
		by   *access.Caller
		in   patchbay.EventType
		code patchbay.Code
	}{
		"without admin":         {manager, pushed, patchbay.CodeForbidden},
		"an admin of a tenant":  {below, pushed, patchbay.CodeForbidden},
		"a type of a file":      {admin, patchbay.EventType{Key: fileType, Title: "x"}, patchbay.CodeConflict},
		"a wrong example":       {admin, patchbay.EventType{Key: "x", Title: "x", Schema: pushed.Schema, Example: json.RawMessage(`{}`)}, patchbay.CodeInvalidRequest},
		"an alias of a file's":  {admin, patchbay.EventType{Key: "x", Title: "x", Aliases: []string{fileType}}, patchbay.CodeConflict},
		"a type of Patchbay's":  {admin, patchbay.EventType{Key: "patchbay.x", Title: "x"}, patchbay.CodeInvalidRequest},
		"a template that fails": {admin, patchbay.EventType{Key: "x", Title: "x", Message: &patchbay.MessageTemplate{Title: "{{"}}, patchbay.CodeInvalidRequest},
	} {
		if _, err := i.Put(t.Context(), test.by, test.in); patchbay.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %s", says, err, test.code)
		}
	}
	for says, test := range map[string]struct {
		by   *access.Caller
		key  string
		code patchbay.Code
	}{
		"without admin":        {manager, "x", patchbay.CodeForbidden},
		"an admin of a tenant": {below, "x", patchbay.CodeForbidden},
		"a type of a file":     {admin, fileType, patchbay.CodeConflict},
		"nothing":              {admin, "x", patchbay.CodeNotFound},
	} {
		if err := i.Delete(t.Context(), test.by, test.key); patchbay.CodeOf(err) != test.code {
			t.Errorf("deleting %s: %v, want %s", says, err, test.code)
		}
	}
	if all, err := i.db.AllTypes(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("the store has %v, %v", all, err)
	}
}

// broken is a store that cannot write.
type broken struct {
	store.Types
	err error
}

func (b broken) PutType(context.Context, *patchbay.EventType) error { return b.err }
func (b broken) DeleteType(context.Context, string) error           { return b.err }

func TestAStoreThatFailsChangesNothing(t *testing.T) {
	i := open(t, t.TempDir())
	if _, err := i.Put(t.Context(), admin, pushed); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		err  error
		code patchbay.Code
	}{{errors.New("on fire"), patchbay.CodeInternal}, {store.ErrUnavailable, patchbay.CodeUnavailable}} {
		s := New(i.catalog, broken{i.db, test.err})
		changed := pushed
		changed.Title = "changed"
		if _, err := s.Put(t.Context(), admin, changed); patchbay.CodeOf(err) != test.code || !errors.Is(err, test.err) {
			t.Errorf("replacing: %v", err)
		}
		if _, err := s.Put(t.Context(), admin, patchbay.EventType{Key: "other", Title: "x"}); patchbay.CodeOf(err) != test.code {
			t.Errorf("adding: %v", err)
		}
		if err := s.Delete(t.Context(), admin, pushed.Key); patchbay.CodeOf(err) != test.code {
			t.Errorf("deleting: %v", err)
		}
		if err := s.Delete(t.Context(), admin, "unknown"); patchbay.CodeOf(err) != test.code {
			t.Errorf("deleting what is not there: %v", err)
		}
		if got := i.catalog.Type("built"); got == nil || got.Title() != pushed.Title || i.catalog.Type("other") != nil {
			t.Error("the catalog has changed")
		}
	}
}

// TestWhatDoesNotFitAnyMoreCanBeDeleted: a stored type whose name a catalog file has taken since.
func TestWhatDoesNotFitAnyMoreCanBeDeleted(t *testing.T) {
	i := open(t, t.TempDir())
	stale := patchbay.EventType{Key: "stale", Title: "x"}
	if err := i.db.PutType(t.Context(), &stale); err != nil {
		t.Fatal(err)
	}
	if err := i.Delete(t.Context(), admin, "stale"); err != nil {
		t.Fatal(err)
	}
	if err := i.Delete(t.Context(), admin, "stale"); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("the second time: %v", err)
	}
}

// TestRefresh takes over what another node has put and deleted, in whatever order it hears of it.
func TestRefresh(t *testing.T) {
	a := open(t, t.TempDir())
	c, err := catalog.Open(catalog.Options{Files: []string{"builtin:keyclic"}})
	if err != nil {
		t.Fatal(err)
	}
	b := &installation{Service: New(c, a.db), catalog: c, db: a.db}
	put := func(spec patchbay.EventType) {
		t.Helper()
		if _, err := a.Put(t.Context(), admin, spec); err != nil {
			t.Fatal(err)
		}
	}
	refresh := func(keys ...string) {
		t.Helper()
		if err := b.Refresh(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
	}
	put(pushed)
	refresh("build.done", "never.was")
	if got := c.Type("built"); got == nil || got.Key() != "build.done" {
		t.Fatalf("a new type is %v there", got)
	}
	renamed, other := pushed, pushed
	renamed.Aliases = nil
	other.Key = "another.build"
	put(renamed)
	put(other)
	refresh("another.build", "build.done")
	if got := c.Type("built"); got == nil || got.Key() != "another.build" {
		t.Errorf("an alias that moved is of %v there", got)
	}
	if err := a.Delete(t.Context(), admin, "another.build"); err != nil {
		t.Fatal(err)
	}
	refresh("another.build")
	if c.Type("built") != nil || c.Type("build.done") == nil {
		t.Error("the wrong type was deleted there")
	}

	// A node whose catalog files have the name keeps them.
	taken := c.Types()[0].Key()
	if err := a.db.PutType(t.Context(), &patchbay.EventType{Key: taken, Title: "Stolen"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Refresh(t.Context(), []string{taken}); patchbay.CodeOf(err) != patchbay.CodeConflict || c.Type(taken).Spec().Title == "Stolen" {
		t.Errorf("a name of a catalog file: %v", err)
	}
}
