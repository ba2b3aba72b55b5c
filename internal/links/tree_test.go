package links

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
)

// TestTreeIsWhatTheLinksAre changes links at random and compares what the tree says with what a look at every link does.
func TestTreeIsWhatTheLinksAre(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		tr := newTree()
		tr.bulk = seed%2 == 0
		all := map[patchbay.LinkID]*patchbay.Link{}
		scope := func() patchbay.Scope {
			s := patchbay.Scope("")
			for range rnd.IntN(4) {
				s = patchbay.Scope(strings.TrimPrefix(fmt.Sprintf("%s/%c", s, 'a'+rnd.IntN(3)), "/"))
			}
			return s
		}
		for i := range 300 {
			if i == 100 && tr.bulk {
				tr.sorted()
			}
			id := patchbay.LinkID(1 + rnd.IntN(60))
			if rnd.IntN(4) == 0 && !tr.bulk {
				delete(all, id)
				tr.remove(id)
				continue
			}
			l := &patchbay.Link{ID: id, Scope: scope(), Enabled: rnd.IntN(3) > 0, State: patchbay.LinkActive}
			if tr.bulk && all[id] != nil {
				l.Scope = all[id].Scope
			}
			if rnd.IntN(3) == 0 {
				l.State = patchbay.LinkPaused
			}
			all[id] = l
			tr.put(l, &compiled{})
		}
		checkTree(t, &tr, all)
		for id := range all {
			tr.remove(id)
		}
		if len(tr.nodes) > 0 || len(tr.byID) > 0 {
			t.Fatalf("seed %d: of nothing there are %d scopes and %d links", seed, len(tr.nodes), len(tr.byID))
		}
	}
}

func checkTree(t *testing.T, tr *tree, all map[patchbay.LinkID]*patchbay.Link) {
	t.Helper()
	sorted := slices.SortedFunc(maps.Values(all), func(a, b *patchbay.Link) int { return cmp.Compare(a.ID, b.ID) })
	for scope, n := range tr.nodes {
		var below, own []patchbay.LinkID
		want := Tally{}
		children := map[string]bool{}
		for _, l := range sorted {
			if !scope.Contains(l.Scope) {
				continue
			}
			below = append(below, l.ID)
			want.Links++
			*want.of(settledOf(l, &compiled{}))++
			if l.Scope == scope {
				own = append(own, l.ID)
				continue
			}
			first, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(string(l.Scope), string(scope)), "/"), "/")
			children[first] = true
		}
		if n.tally != want || want.Links == 0 {
			t.Errorf("%q counts %+v, want %+v", scope, n.tally, want)
		}
		var names []string
		for _, c := range n.children {
			names = append(names, c.name())
		}
		if !slices.Equal(names, slices.Sorted(maps.Keys(children))) {
			t.Errorf("below %q there are %q, want %v", scope, names, children)
		}
		for _, after := range []patchbay.LinkID{0, 17, 60} {
			var got, gotOwn []patchbay.LinkID
			tr.below(scope, after, func(e entry) bool { got = append(got, e.l.ID); return true })
			tr.own(scope, after, func(e entry) bool { gotOwn = append(gotOwn, e.l.ID); return true })
			later := func(ids []patchbay.LinkID) []patchbay.LinkID {
				return slices.DeleteFunc(slices.Clone(ids), func(id patchbay.LinkID) bool { return id <= after })
			}
			if !slices.Equal(got, later(below)) || !slices.Equal(gotOwn, later(own)) {
				t.Errorf("below %q after %d there are %v and its own %v, want %v and %v", scope, after, got, gotOwn, later(below), later(own))
			}
		}
	}
}

// TestBranches: the tree is counted with what only the moment says, and only as far as the caller sees.
func TestBranches(t *testing.T) {
	f := newFixture(t, t.TempDir(), &pager{})
	link := func(scope string) *View {
		return f.must(f.create(admin, fmt.Sprintf(`{"integration":"pager","scope":%q,"events":["*"],"settings":{"url":"https://example.com/%s"}}`, scope, scope)))
	}
	a, b, c := link("acme"), link("acme/teams/1"), link("acme/teams/2")
	link("zeta")
	f.engine.fails = []patchbay.LinkID{b.ID, c.ID}
	if _, err := f.Pause(t.Context(), admin, c.ID); err != nil {
		t.Fatal(err)
	}
	got, more, err := f.Branches(t.Context(), admin, "", "", 10)
	if err != nil || more || len(got) != 2 || got[0].Scope != "acme" || got[1].Scope != "zeta" {
		t.Fatalf("there are %+v, %v, %v", got, more, err)
	}
	if want := (Tally{Links: 3, Failing: 1, Paused: 1, Working: 1}); got[0].Tally != want || got[0].Own != 1 || got[0].Branches != 1 {
		t.Errorf("acme is %+v, want %+v", got[0], want)
	}
	if got, more, _ = f.Branches(t.Context(), admin, "acme/teams", "1", 1); len(got) != 1 || !more || got[0].Scope != "acme/teams/1" {
		t.Errorf("the first of the teams is %+v, %v", got, more)
	}
	if got, _, _ = f.Branches(t.Context(), admin, "acme/teams", "2", 1); len(got) != 1 || got[0].Tally.Worst() != Paused {
		t.Errorf("from 2 on there are %+v", got)
	}
	team := &access.Caller{Scope: "acme/teams", Permissions: []access.Permission{access.Read}}
	for _, scope := range []patchbay.Scope{"", "acme", "zeta"} {
		if _, _, err := f.Branches(t.Context(), team, scope, "", 10); patchbay.CodeOf(err) != patchbay.CodeForbidden {
			t.Errorf("a caller of acme/teams gets %v of %q", err, scope)
		}
		if _, err := f.Branch(t.Context(), team, scope); patchbay.CodeOf(err) != patchbay.CodeForbidden {
			t.Errorf("a caller of acme/teams gets %v of %q", err, scope)
		}
		if _, err := f.Count(t.Context(), team, scope); patchbay.CodeOf(err) != patchbay.CodeForbidden {
			t.Errorf("a caller of acme/teams counts %q: %v", scope, err)
		}
	}
	if _, err := f.Branch(t.Context(), &access.Caller{}, ""); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("who may not read gets %v", err)
	}
	if b, err := f.Branch(t.Context(), admin, "nowhere"); err != nil || b.Tally.Links != 0 {
		t.Errorf("nowhere there are %+v, %v", b, err)
	}
	for says, want := range map[string]struct {
		filter ListFilter
		ids    []patchbay.LinkID
	}{
		"failing":        {ListFilter{Condition: Failing}, []patchbay.LinkID{b.ID}},
		"paused":         {ListFilter{Condition: Paused}, []patchbay.LinkID{c.ID}},
		"own":            {ListFilter{Own: true, Scope: new(patchbay.Scope("acme"))}, []patchbay.LinkID{a.ID}},
		"below":          {ListFilter{Below: true, Scope: new(patchbay.Scope("acme"))}, []patchbay.LinkID{b.ID, c.ID}},
		"words":          {ListFilter{Search: "PAGER teams/2"}, []patchbay.LinkID{c.ID}},
		"by identifier":  {ListFilter{Search: b.ID.String()}, []patchbay.LinkID{b.ID}},
		"without a find": {ListFilter{Search: "pager nothing"}, nil},
	} {
		want.filter.Limit = 10
		views, _, err := f.List(t.Context(), admin, want.filter)
		var ids []patchbay.LinkID
		for i := range views {
			ids = append(ids, views[i].ID)
		}
		if err != nil || !slices.Equal(ids, want.ids) {
			t.Errorf("%s: %v, %v, want %v", says, ids, err, want.ids)
		}
	}
	f.engine.fails, f.now = nil, f.now.Add(failingFor)
	if got, err := f.Branch(t.Context(), admin, "acme/teams"); err != nil || got.Tally.Failing != 0 {
		t.Errorf("a while later %+v, %v", got, err)
	}
}

// many is an installation of n links in half as many scopes.
func many(b *testing.B, n int) *Service {
	b.Helper()
	e := &engine{links: map[patchbay.LinkID]*deliver.Link{}}
	s := New(Options{Engine: e})
	now := time.Now()
	s.tree.bulk = true
	for i := range n {
		scope := patchbay.Scope(fmt.Sprintf("tenant%d/teams/%d", i%500, i/2))
		l := &patchbay.Link{
			ID: patchbay.LinkID(i + 1), Integration: []string{"slack", "webhook", "jira"}[i%3], Scope: scope, Reach: patchbay.ReachSubtree, Enabled: true,
			Events: []patchbay.Pattern{"*"}, Name: fmt.Sprintf("Link %d", i), State: patchbay.LinkActive, CreatedAt: now, UpdatedAt: now, Revision: 1,
		}
		c := &compiled{events: &counter{}, keys: &counter{}}
		s.call(l, c)
		s.links[l.ID], s.stored[l.ID] = c, l
		s.tree.put(l, c)
		if i%1000 == 0 {
			e.fails = append(e.fails, l.ID)
		}
	}
	s.tree.sorted()
	return s
}

// BenchmarkPages is what pages ask of 100,000 links in 50,000 scopes: each well below 20 ms, and all but a search that finds
// nothing below one.
func BenchmarkPages(b *testing.B) {
	s := many(b, 100_000)
	ctx := context.Background()
	tenant := patchbay.Scope("tenant7")
	for _, page := range []struct {
		says string
		f    ListFilter
	}{
		{"first", ListFilter{}}, {"middle", ListFilter{After: 50_000}}, {"tenant", ListFilter{Scope: &tenant, After: 50_000}},
		{"effective", ListFilter{Scope: &tenant, Effective: true}}, {"failing", ListFilter{Condition: Failing}},
		{"found", ListFilter{Search: "link 99999"}}, {"not found", ListFilter{Search: "nothing like it"}},
	} {
		page.f.Limit = 50
		b.Run(page.says, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.List(ctx, admin, page.f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("branches", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := s.Branches(ctx, admin, "", "tenant2", 100); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Count(ctx, admin, ""); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("walk", func(b *testing.B) {
		for b.Loop() {
			f := ListFilter{Limit: 250}
			for more := true; more; {
				views, again, err := s.List(ctx, admin, f)
				if err != nil {
					b.Fatal(err)
				}
				f.After, more = views[len(views)-1].ID, again
			}
		}
	})
}
