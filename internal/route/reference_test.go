package route

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/patchbay/patchbay"
)

// reference is the contract written down as plainly as possible: every link is looked at, nothing is indexed.
func reference(links []*Link, e *Event, supports func(string) bool) (matched []patchbay.LinkID, missed bool) {
	if e.Hops >= patchbay.MaxHops {
		return nil, false
	}
	var fitting []*Link
	for _, l := range links {
		if l.State != patchbay.LinkAttaching && l.State != patchbay.LinkDetaching &&
			referenceScope(l, e) && referenceType(l, e) && referenceFilter(l, e) {
			fitting = append(fitting, l)
		}
	}
	for _, l := range fitting {
		overridden := slices.ContainsFunc(fitting, func(o *Link) bool {
			return l.Slot != "" && o.Slot == l.Slot && o.Integration == l.Integration && o.Scope.Depth() > l.Scope.Depth()
		})
		src := e.Source
		fromThere := src.Kind == patchbay.SourceHook &&
			(l.ID == src.Link || src.Target != "" && src.Target == l.Target && src.Integration == l.Integration)
		about := src.Kind == patchbay.SourceSystem && src.Link == l.ID
		switch {
		case overridden, fromThere, about, !supports(l.Integration):
		case l.State == patchbay.LinkDisabled:
			missed = true
		default:
			matched = append(matched, l.ID)
		}
	}
	slices.Sort(matched)
	return matched, missed
}

func referenceScope(l *Link, e *Event) bool {
	for _, s := range append([]patchbay.Scope{e.Scope}, e.Also...) {
		below := l.Scope == "" || s == l.Scope || strings.HasPrefix(string(s), string(l.Scope)+"/")
		levels := segments(s) - segments(l.Scope)
		switch l.Reach {
		case patchbay.ReachSubtree:
			if below {
				return true
			}
		case patchbay.ReachChildren:
			if below && levels == 1 {
				return true
			}
		case patchbay.ReachExact:
			if s == l.Scope {
				return true
			}
		}
	}
	return false
}

func segments(s patchbay.Scope) int {
	return len(strings.FieldsFunc(string(s), func(r rune) bool { return r == '/' }))
}

func referenceType(l *Link, e *Event) bool {
	for _, p := range l.Events {
		for _, name := range e.Names {
			if strings.HasPrefix(e.Type, "patchbay.") && !strings.HasPrefix(name, "patchbay.") {
				continue
			}
			if strings.HasPrefix(name, "patchbay.") && !strings.HasPrefix(string(p), "patchbay.") {
				continue
			}
			if referenceGlob(string(p), name) {
				return true
			}
		}
	}
	return false
}

// referenceGlob tries every way in which a star can be read.
func referenceGlob(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		for i := range len(s) + 1 {
			if referenceGlob(p[1:], s[i:]) {
				return true
			}
		}
		return false
	}
	return s != "" && p[0] == s[0] && referenceGlob(p[1:], s[1:])
}

func referenceFilter(l *Link, e *Event) bool {
	if l.Filter == nil {
		return true
	}
	ok, err := l.Filter.Eval(&Event{Event: e.Event})
	return err == nil && ok
}

// The small worlds in which everything collides often.
var (
	worldScopes = []patchbay.Scope{"", "a", "b", "a/x", "a/y", "a/x/1", "a/x/2", "a/x/1/p", "aa", "a/xx"}
	worldTypes  = []string{"run", "run.done", "repo.push", "repo.pull", "patchbay.link.failing", "patchbay.x", "r"}
	worldStars  = []string{"*", "r*", "run*", "*.push", "repo.*", "*e*", "patchbay.*", "patchbay*", "**", "r*n", "*run.done*"}
	worldFilter = []string{"", "", "", "payload.n == 1", "payload.n > 1", "payload.missing == 1", "scope == 'a/x'", "payload"}
)

func worldFilters(t testing.TB) map[string]*Filter {
	out := make(map[string]*Filter)
	for _, text := range worldFilter {
		if text == "" {
			continue
		}
		f, err := CompileFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		out[text] = f
	}
	return out
}

func drawLink(t *rapid.T, filters map[string]*Filter) *Link {
	patterns := append(slices.Clone(worldStars), worldTypes...)
	l := &Link{
		ID:          patchbay.LinkID(rapid.IntRange(1, 40).Draw(t, "id")),
		Scope:       rapid.SampledFrom(worldScopes).Draw(t, "scope"),
		Reach:       rapid.SampledFrom([]patchbay.Reach{"subtree", "children", "exact"}).Draw(t, "reach"),
		Slot:        rapid.SampledFrom([]string{"", "s", "t"}).Draw(t, "slot"),
		Integration: rapid.SampledFrom([]string{"slack", "jira", "refused"}).Draw(t, "integration"),
		Target:      rapid.SampledFrom([]string{"", "#a", "#b"}).Draw(t, "target"),
		State:       rapid.SampledFrom([]patchbay.LinkState{"active", "active", "paused", "disabled", "attaching", "detaching"}).Draw(t, "state"),
		Filter:      filters[rapid.SampledFrom(worldFilter).Draw(t, "filter")],
	}
	if rapid.IntRange(0, 3).Draw(t, "crowd") == 0 { // enough patterns for the bucket to remember what matches
		patterns = manyStars()
		n := rapid.IntRange(0, len(patterns)-memoFrom-1).Draw(t, "from")
		for _, p := range patterns[n : n+memoFrom+1] {
			l.Events = append(l.Events, patchbay.Pattern(p))
		}
	}
	for _, p := range rapid.SliceOfN(rapid.SampledFrom(patterns), 1, 4).Draw(t, "events") {
		l.Events = append(l.Events, patchbay.Pattern(p))
	}
	return l
}

// manyStars returns every pattern of a type with one star.
func manyStars() (out []string) {
	for _, name := range worldTypes {
		for i := range len(name) + 1 {
			out = append(out, name[:i]+"*", "*"+name[i:])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func drawEvent(t *rapid.T) *Event {
	names := rapid.SliceOfN(rapid.SampledFrom(worldTypes), 1, 3).Draw(t, "names")
	e := &Event{Names: names, Event: &patchbay.Event{
		Type:    names[0],
		Scope:   rapid.SampledFrom(worldScopes).Draw(t, "scope"),
		Also:    rapid.SliceOfN(rapid.SampledFrom(worldScopes), 0, 4).Draw(t, "also"),
		Payload: []byte(rapid.SampledFrom([]string{`{"n":1}`, `{"n":2.5}`, `{"n":"1"}`, `{}`}).Draw(t, "payload")),
		Hops:    rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3}).Draw(t, "hops"),
		Source: patchbay.Source{
			Kind:        rapid.SampledFrom([]string{"api", "hook", "patchbay", "test"}).Draw(t, "kind"),
			Integration: rapid.SampledFrom([]string{"", "slack", "jira"}).Draw(t, "from"),
			Target:      rapid.SampledFrom([]string{"", "#a"}).Draw(t, "target"),
			Link:        patchbay.LinkID(rapid.IntRange(0, 40).Draw(t, "link")),
		},
	}}
	if strings.HasPrefix(e.Type, "patchbay.") { // system events come from Patchbay itself
		e.Source = patchbay.Source{Kind: patchbay.SourceSystem, Link: e.Source.Link}
	}
	return e
}

// TestMatchAgreesWithTheContract plays random changes on an index and asks it about random events: it must answer
// what the plain reading of the contract answers, and Explain the same again.
func TestMatchAgreesWithTheContract(t *testing.T) {
	filters := worldFilters(t)
	supports := func(integration string) bool { return integration != "refused" }
	rapid.Check(t, func(t *rapid.T) {
		var x Index
		model := make(map[patchbay.LinkID]*Link)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				for range rapid.IntRange(1, 8).Draw(t, "links") {
					l := drawLink(t, filters)
					x.Put(l)
					model[l.ID] = l
				}
			},
			"remove": func(t *rapid.T) {
				id := patchbay.LinkID(rapid.IntRange(1, 40).Draw(t, "id"))
				x.Remove(id)
				delete(model, id)
			},
			"match": func(t *rapid.T) { checkMatch(t, &x, model, drawEvent(t), supports) },
			"": func(t *rapid.T) {
				if x.Len() != len(model) {
					t.Fatalf("the index has %d links, want %d", x.Len(), len(model))
				}
			},
		})
	})
}

func checkMatch(t *rapid.T, x *Index, model map[patchbay.LinkID]*Link, e *Event, supports func(string) bool) {
	var links []*Link
	for _, l := range model {
		links = append(links, l)
	}
	want, missed := reference(links, e, supports)
	got := x.Match(e, supports)
	if diff := cmp.Diff(want, ids(got.Matched)); diff != "" {
		t.Fatalf("matched links (-contract +index):\n%s", diff)
	}
	if got.Missed != missed {
		t.Fatalf("missed is %v, the contract says %v", got.Missed, missed)
	}
	for _, all := range []bool{false, true} {
		var explained []patchbay.LinkID
		for _, ex := range x.Explain(e, all, supports) {
			if ex.Reason == "" {
				t.Fatalf("no reason is given for link %v", ex.Link.ID)
			}
			if ex.Held != (ex.Matched && ex.Link.State == patchbay.LinkPaused) {
				t.Fatalf("held is %v for a link that is %s", ex.Held, ex.Link.State)
			}
			if ex.Matched {
				explained = append(explained, ex.Link.ID)
			}
		}
		if diff := cmp.Diff(want, explained); diff != "" {
			t.Fatalf("links that Explain(all=%v) calls matched (-contract +explained):\n%s", all, diff)
		}
	}
	if n := len(x.Explain(e, true, supports)); n != len(model) {
		t.Fatalf("Explain of all links speaks of %d, there are %d", n, len(model))
	}
	for _, f := range got.FilterErrors {
		if f.Err == nil || slices.Contains(got.Matched, f.Link) {
			t.Fatalf("link %v has the filter error %v and matched", f.Link.ID, f.Err)
		}
	}
}

func ids(links []*Link) (out []patchbay.LinkID) {
	for _, l := range links {
		out = append(out, l.ID)
	}
	return out
}
