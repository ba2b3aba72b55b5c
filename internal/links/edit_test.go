package links

import (
	"sync"
	"testing"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/deliver"
)

// another returns a second node with the same database.
func (f *fixture) another() *fixture {
	f.t.Helper()
	o := &fixture{t: f.t, db: f.db, engine: &engine{links: map[patchbay.LinkID]*deliver.Link{}}, now: f.now}
	o.Service = New(o.options(f.db, &pager{}))
	if err := o.Load(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return o
}

// TestRefresh takes over what another node has made, changed and deleted, and nothing that is known already.
func TestRefresh(t *testing.T) {
	a := newFixture(t, t.TempDir(), &pager{})
	b := a.another()
	refresh := func(id patchbay.LinkID) {
		t.Helper()
		if err := b.Refresh(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	v := a.must(a.create(admin, aPager))
	if got := b.matched("a.b", "acme"); got != nil {
		t.Errorf("before it was told it matches %v", got)
	}
	refresh(v.ID)
	if got := b.matched("a.b", "acme"); len(got) != 1 || b.engine.links[v.ID] == nil {
		t.Errorf("a new link matches %v there", got)
	}
	known := b.engine.links[v.ID]
	refresh(v.ID)
	if b.engine.links[v.ID] != known {
		t.Error("what was known was put in again")
	}
	a.must(a.Update(t.Context(), admin, v.ID, Input{Events: []string{"c"}}, nil, 0))
	refresh(v.ID)
	if b.matched("a.b", "acme") != nil || len(b.matched("c", "acme")) != 1 || b.engine.links[v.ID].Revision != 2 {
		t.Errorf("after a change it has %+v", b.engine.links[v.ID])
	}
	if err := a.Delete(t.Context(), admin, v.ID); err != nil {
		t.Fatal(err)
	}
	refresh(v.ID)
	refresh(v.ID)
	if b.matched("c", "acme") != nil || len(b.engine.removed) != 1 {
		t.Errorf("after its deletion it matches, or was removed %d times", len(b.engine.removed))
	}
	refresh(7) // never was
	if err := a.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Refresh(t.Context(), v.ID); err == nil {
		t.Error("a database that is closed was read")
	}
}

// TestChangesAtTwoNodes: whoever changes a link that another node has just changed changes what it is now; a caller that
// read it before is told; and a link that another node has just made or deleted is found, or not.
func TestChangesAtTwoNodes(t *testing.T) {
	a := newFixture(t, t.TempDir(), &pager{})
	b := a.another()
	v := a.must(a.create(admin, aPager))
	if got := b.must(b.Get(t.Context(), admin, v.ID)); got.Revision != 1 {
		t.Errorf("it is %+v there", got)
	}
	name := "from a"
	a.must(a.Update(t.Context(), admin, v.ID, Input{Name: &name}, nil, 0))
	if got := b.must(b.Pause(t.Context(), admin, v.ID)); got.Revision != 3 || got.Name != name || got.State != patchbay.LinkPaused {
		t.Errorf("paused there it is %+v", got)
	}
	if _, err := a.Update(t.Context(), admin, v.ID, Input{Name: &name}, nil, 2); patchbay.CodeOf(err) != patchbay.CodeConflict {
		t.Errorf("a stale change: %v", err)
	}
	if got := a.must(a.Update(t.Context(), admin, v.ID, Input{Name: &name}, nil, 3)); got.State != patchbay.LinkPaused {
		t.Errorf("a change of what the other node made: %+v", got)
	}
	const each = 20
	var wg sync.WaitGroup
	for _, f := range []*fixture{a, b} {
		wg.Go(func() {
			for range each {
				for {
					_, err := f.Update(t.Context(), admin, v.ID, Input{Name: &name}, nil, 0)
					if err == nil {
						break
					}
					if patchbay.CodeOf(err) != patchbay.CodeConflict {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if l, err := a.db.LinkNow(t.Context(), v.ID); err != nil || l.Revision != 4+2*each {
		t.Errorf("after %d changes the revision is %+v, %v", 2*each, l, err)
	}
	if err := b.Delete(t.Context(), admin, v.ID); err != nil {
		t.Fatal(err)
	}
	if err := a.Delete(t.Context(), admin, v.ID); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("deleting it again at the other node: %v", err)
	}
	if a.matched("a.b", "acme") != nil {
		t.Error("it still matches")
	}
}
