package access

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// memory keeps keys the way a store does.
type memory struct {
	keys map[patchbay.KeyID]store.Key
	fail error
}

func (m *memory) SaveKey(_ context.Context, k *store.Key) error {
	if m.fail != nil {
		return m.fail
	}
	m.keys[k.ID] = *k
	return nil
}

func (m *memory) DeleteKey(_ context.Context, id patchbay.KeyID) error {
	if m.fail != nil {
		return m.fail
	}
	if _, ok := m.keys[id]; !ok {
		return store.ErrNotFound
	}
	delete(m.keys, id)
	return nil
}

func (m *memory) AllKeys(context.Context) ([]store.Key, error) {
	return slices.Collect(maps.Values(m.keys)), m.fail
}

// clock is a clock that the test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

var admin = &Caller{Permissions: []Permission{Admin}, Name: "test"}

type installation struct {
	*Keys
	store *memory
	clock *clock
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	i := &installation{store: &memory{keys: map[patchbay.KeyID]store.Key{}}, clock: &clock{time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}}
	i.Keys = i.restart(t)
	return i
}

// restart returns what a new process would know.
func (i *installation) restart(t *testing.T) *Keys {
	t.Helper()
	ids := patchbay.NewSequence(0, 0, nil)
	k, err := NewKeys(t.Context(), i.store, ids.Take, i.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (i *installation) mustCreate(t *testing.T, c *Caller, in KeyInput) *KeyView {
	t.Helper()
	v, err := i.Create(t.Context(), c, in)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAKeyWorksFromItsAnswerOnAndAfterARestart(t *testing.T) {
	i := newInstallation(t)
	v := i.mustCreate(t, admin, KeyInput{Name: " CI ", Scope: "acme", Permissions: []string{"read", "publish", "read"}})
	if !strings.HasPrefix(v.Token, TokenPrefix) || len(v.Token) < 40 || !strings.HasSuffix(v.Token, v.Hint) {
		t.Errorf("the token is %q with hint %q", v.Token, v.Hint)
	}
	if v.Name != "CI" || !slices.Equal(v.Permissions, []Permission{Publish, Read}) {
		t.Errorf("the key is %+v", v)
	}
	for name, keys := range map[string]*Keys{"same process": i.Keys, "restarted": i.restart(t)} {
		c, err := keys.Lookup(v.Token)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := &Caller{Scope: "acme", Permissions: []Permission{Publish, Read}, Key: v.ID, Known: "CI"}
		if diff := cmp.Diff(want, c); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for _, k := range i.store.keys {
		if strings.Contains(string(k.Hash[:]), v.Token) || k.Hint == v.Token {
			t.Error("the store has the token")
		}
	}
	got, err := i.Get(t.Context(), admin, v.ID)
	if err != nil || got.Token != "" {
		t.Errorf("a second look shows the token %q (error %v)", got.Token, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	i := newInstallation(t)
	below := &Caller{Scope: "acme", Permissions: []Permission{Admin}}
	for _, test := range []struct {
		says string
		by   *Caller
		in   KeyInput
		code patchbay.Code
		want string
	}{
		{"a caller without admin", &Caller{Permissions: []Permission{Manage}}, KeyInput{Permissions: []string{"read"}}, patchbay.CodeForbidden, `"admin"`},
		{"nobody", nil, KeyInput{Permissions: []string{"read"}}, patchbay.CodeForbidden, `"admin"`},
		{"a scope above the caller's", below, KeyInput{Permissions: []string{"read"}}, patchbay.CodeForbidden, `reaches "acme"`},
		{"a scope beside the caller's", below, KeyInput{Scope: "acme2", Permissions: []string{"read"}}, patchbay.CodeForbidden, `not "acme2"`},
		{"a scope that is none", admin, KeyInput{Scope: "a//b", Permissions: []string{"read"}}, patchbay.CodeInvalidRequest, "scope: "},
		{"no permissions", admin, KeyInput{}, patchbay.CodeInvalidRequest, "permissions: name at least one of publish, inline"},
		{"an unknown permission", admin, KeyInput{Permissions: []string{"read", "root"}}, patchbay.CodeInvalidRequest, "permissions[1]: must be one of"},
		{"a long name", admin, KeyInput{Name: strings.Repeat("x", MaxKeyName+1), Permissions: []string{"read"}}, patchbay.CodeInvalidRequest, "name: "},
		{"a name of two lines", admin, KeyInput{Name: "a\nb", Permissions: []string{"read"}}, patchbay.CodeInvalidRequest, "name: "},
		{"a past expiry", admin, KeyInput{Permissions: []string{"read"}, ExpiresAt: i.clock.at}, patchbay.CodeInvalidRequest, "expires_at: "},
	} {
		t.Run(test.says, func(t *testing.T) {
			_, err := i.Create(t.Context(), test.by, test.in)
			if patchbay.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v (%s), want %s with %q", err, patchbay.CodeOf(err), test.code, test.want)
			}
		})
	}
	if len(i.store.keys) != 0 {
		t.Errorf("%d keys were made", len(i.store.keys))
	}
}

func TestDeletedAndExpiredKeysAreRefused(t *testing.T) {
	i := newInstallation(t)
	dead := i.mustCreate(t, admin, KeyInput{Permissions: []string{"read"}})
	short := i.mustCreate(t, admin, KeyInput{Permissions: []string{"read"}, ExpiresAt: i.clock.at.Add(time.Hour)})
	if err := i.Delete(t.Context(), admin, dead.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Lookup(dead.Token); patchbay.CodeOf(err) != patchbay.CodeUnauthorized {
		t.Errorf("a deleted key: %v", err)
	}
	if _, err := i.restart(t).Lookup(dead.Token); err == nil {
		t.Error("a deleted key works after a restart")
	}
	if _, err := i.Lookup(short.Token); err != nil {
		t.Errorf("before it expires: %v", err)
	}
	i.clock.at = i.clock.at.Add(time.Hour)
	if _, err := i.Lookup(short.Token); patchbay.CodeOf(err) != patchbay.CodeUnauthorized || !strings.Contains(err.Error(), "2026-11-22T01:00:00Z") {
		t.Errorf("an expired key: %v", err)
	}
	for _, token := range []string{"", "pk_", short.Token[:len(short.Token)-1], strings.Repeat("x", 4096)} {
		if _, err := i.Lookup(token); patchbay.CodeOf(err) != patchbay.CodeUnauthorized {
			t.Errorf("Lookup(%.10q…): %v", token, err)
		}
	}
	if err := i.Delete(t.Context(), admin, dead.ID); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("deleting twice: %v", err)
	}
}

func TestAKeyDoesNotDeleteItself(t *testing.T) {
	i := newInstallation(t)
	v := i.mustCreate(t, admin, KeyInput{Permissions: []string{"admin"}})
	self, err := i.Lookup(v.Token)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Delete(t.Context(), self, v.ID); patchbay.CodeOf(err) != patchbay.CodeConflict {
		t.Errorf("the error is %v", err)
	}
	if _, err := i.Lookup(v.Token); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

func TestOthersKeysDoNotExist(t *testing.T) {
	i := newInstallation(t)
	var ids []patchbay.KeyID
	for _, scope := range []string{"acme", "acme/x", "umbrella"} {
		ids = append(ids, i.mustCreate(t, admin, KeyInput{Scope: scope, Permissions: []string{"read"}}).ID)
	}
	acme := &Caller{Scope: "acme", Permissions: []Permission{Admin}}
	views, more, err := i.List(t.Context(), acme, 0, 10)
	if err != nil || more || len(views) != 2 || views[0].ID != ids[0] || views[1].ID != ids[1] {
		t.Errorf("acme lists %+v, %v, %v", views, more, err)
	}
	if _, err := i.Get(t.Context(), acme, ids[2]); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("Get: %v", err)
	}
	if err := i.Delete(t.Context(), acme, ids[2]); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("Delete: %v", err)
	}
	views, more, err = i.List(t.Context(), admin, 0, 2)
	if err != nil || !more || len(views) != 2 {
		t.Fatalf("the first page is %+v, %v, %v", views, more, err)
	}
	views, more, err = i.List(t.Context(), admin, views[1].ID, 2)
	if err != nil || more || len(views) != 1 || views[0].ID != ids[2] {
		t.Errorf("the second page is %+v, %v, %v", views, more, err)
	}
	reader := &Caller{Permissions: []Permission{Read, Manage}}
	if _, _, err := i.List(t.Context(), reader, 0, 2); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("List without admin: %v", err)
	}
	if _, err := i.Get(t.Context(), reader, ids[0]); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("Get without admin: %v", err)
	}
	if err := i.Delete(t.Context(), reader, ids[0]); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("Delete without admin: %v", err)
	}
}

func TestEnsureAdmin(t *testing.T) {
	i := newInstallation(t)
	i.mustCreate(t, admin, KeyInput{Scope: "acme", Permissions: []string{"admin"}})
	i.mustCreate(t, admin, KeyInput{Permissions: []string{"manage"}})
	short := i.mustCreate(t, admin, KeyInput{Permissions: []string{"admin"}, ExpiresAt: i.clock.at.Add(time.Hour)})
	if _, created, err := i.EnsureAdmin(t.Context()); created || err != nil {
		t.Fatalf("with a valid one: %v, %v", created, err)
	}
	i.clock.at = *short.ExpiresAt
	token, created, err := i.EnsureAdmin(t.Context())
	if err != nil || !created {
		t.Fatalf("without a valid one: %v, %v", created, err)
	}
	c, err := i.Lookup(token)
	if err != nil || !c.May(Publish) || !c.May(Admin) || c.Scope != "" {
		t.Errorf("the first key is %+v, %v", c, err)
	}
	if again, created, err := i.restart(t).EnsureAdmin(t.Context()); created || again != "" || err != nil {
		t.Errorf("the second start: %q, %v, %v", again, created, err)
	}
}

func TestAStoreThatFailsChangesNothing(t *testing.T) {
	i := newInstallation(t)
	v := i.mustCreate(t, admin, KeyInput{Permissions: []string{"read"}})
	i.store.fail = errors.New("disk full")
	if _, err := i.Create(t.Context(), admin, KeyInput{Permissions: []string{"read"}}); patchbay.CodeOf(err) != patchbay.CodeInternal || !errors.Is(err, i.store.fail) {
		t.Errorf("Create: %v", err)
	}
	if err := i.Delete(t.Context(), admin, v.ID); !errors.Is(err, i.store.fail) {
		t.Errorf("Delete: %v", err)
	}
	if _, err := i.Lookup(v.Token); err != nil {
		t.Errorf("the key that could not be deleted is refused: %v", err)
	}
	if _, _, err := i.EnsureAdmin(t.Context()); !errors.Is(err, i.store.fail) {
		t.Errorf("EnsureAdmin: %v", err)
	}
	if _, err := NewKeys(t.Context(), i.store, nil, nil); !errors.Is(err, i.store.fail) {
		t.Errorf("NewKeys: %v", err)
	}
}

// TestKeysInADatabase: what a key is survives the store's own spelling of it.
func TestKeysInADatabase(t *testing.T) {
	dir := t.TempDir()
	open := func() (*sqlite.Store, *Keys) {
		t.Helper()
		db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		k, err := NewKeys(t.Context(), db, db.NewID, nil)
		if err != nil {
			t.Fatal(err)
		}
		return db, k
	}
	db, k := open()
	first, created, err := k.EnsureAdmin(t.Context())
	if err != nil || !created {
		t.Fatalf("%v, %v", created, err)
	}
	made, err := k.Create(t.Context(), admin, KeyInput{Name: "CI", Scope: "acme", Permissions: []string{"publish", "inline"}, ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := k.List(t.Context(), admin, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, k = open()
	got, _, err := k.List(t.Context(), admin, 0, 10)
	if diff := cmp.Diff(want, got, cmpopts.EquateApproxTime(time.Millisecond)); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, token := range []string{first, made.Token} {
		if _, err := k.Lookup(token); err != nil {
			t.Error(err)
		}
	}
	if _, created, err := k.EnsureAdmin(t.Context()); created || err != nil {
		t.Errorf("the second start: %v, %v", created, err)
	}
}

// TestLookupWhileChanging is for the race detector: readers take no lock.
func TestLookupWhileChanging(t *testing.T) {
	i := newInstallation(t)
	v := i.mustCreate(t, admin, KeyInput{Permissions: []string{"read"}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if _, err := i.Lookup(v.Token); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		other := i.mustCreate(t, admin, KeyInput{Permissions: []string{"read"}})
		if err := i.Delete(t.Context(), admin, other.ID); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

// TestTwoNodes proves that one of two nodes that start together makes the first key, and that keys made and deleted at
// one are known at the other once it looks.
func TestTwoNodes(t *testing.T) {
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	nodes := make([]*Keys, 2)
	for i := range nodes {
		if nodes[i], err = NewKeys(t.Context(), db, db.NewID, nil); err != nil {
			t.Fatal(err)
		}
	}
	var tokens []string
	for _, n := range nodes {
		token, created, err := n.EnsureAdmin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if created {
			tokens = append(tokens, token)
		}
	}
	if len(tokens) != 1 {
		t.Fatalf("%d first keys were made", len(tokens))
	}
	for _, n := range nodes {
		if _, err := n.Lookup(tokens[0]); err != nil {
			t.Errorf("the first key is not known everywhere: %v", err)
		}
	}
	v, err := nodes[0].Create(t.Context(), admin, KeyInput{Permissions: []string{"read"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[1].Lookup(v.Token); err != nil {
		t.Errorf("a new key is not known there: %v", err)
	}
	if err := nodes[0].Delete(t.Context(), admin, v.ID); err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[1].Lookup(v.Token); err == nil {
		t.Error("a deleted key is still known there")
	}
}
