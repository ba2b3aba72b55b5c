package route

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
)

func put(x *Index, l Link) *Link {
	if l.Events == nil {
		l.Events = []patchbay.Pattern{"*"}
	}
	if l.State == "" {
		l.State = patchbay.LinkActive
	}
	if l.Reach == "" {
		l.Reach = patchbay.ReachSubtree
	}
	if l.Integration == "" {
		l.Integration = "webhook"
	}
	x.Put(&l)
	return &l
}

func event(typ string, scope patchbay.Scope, also ...patchbay.Scope) *Event {
	return &Event{Event: &patchbay.Event{Type: typ, Scope: scope, Also: also, Payload: []byte(`{"branch":"main"}`)}}
}

func wantLinks(t *testing.T, x *Index, e *Event, want ...patchbay.LinkID) {
	t.Helper()
	if diff := cmp.Diff(want, ids(x.Match(e, nil).Matched)); diff != "" {
		t.Errorf("matched links (-want +got):\n%s", diff)
	}
}

// TestRepositoryScopes is RhodeCode's table: global, root repositories, a group, a group with all below, one repository.
func TestRepositoryScopes(t *testing.T) {
	var x Index
	put(&x, Link{ID: 1, Scope: "", Reach: patchbay.ReachSubtree})
	put(&x, Link{ID: 2, Scope: "", Reach: patchbay.ReachChildren})
	put(&x, Link{ID: 3, Scope: "group", Reach: patchbay.ReachChildren})
	put(&x, Link{ID: 4, Scope: "group", Reach: patchbay.ReachSubtree})
	put(&x, Link{ID: 5, Scope: "group/repo", Reach: patchbay.ReachExact})
	wantLinks(t, &x, event("repo.push", "root-repo"), 1, 2)
	wantLinks(t, &x, event("repo.push", "group/repo"), 1, 3, 4, 5)
	wantLinks(t, &x, event("repo.push", "group/inner/repo"), 1, 4)
	wantLinks(t, &x, event("repo.push", "group"), 1, 2, 4)
	wantLinks(t, &x, event("repo.push", ""), 1)
	wantLinks(t, &x, event("repo.push", "group2/repo"), 1)
	wantLinks(t, &x, event("repo.push", "group/repo/fork"), 1, 4)
}

// TestAlso shows that a link that sees several of an event's scopes matches it once.
func TestAlso(t *testing.T) {
	var x Index
	put(&x, Link{ID: 1, Scope: "acme"})
	put(&x, Link{ID: 2, Scope: "acme/teams/1"})
	put(&x, Link{ID: 3, Scope: "acme/users/2", Reach: patchbay.ReachExact})
	put(&x, Link{ID: 4, Scope: "acme/users", Reach: patchbay.ReachChildren})
	put(&x, Link{ID: 5, Scope: "acme/users/3"})
	wantLinks(t, &x, event("entry.created", "acme/teams/1", "acme/users/2", "acme/users/4"), 1, 2, 3, 4)
}

// TestSlots shows overriding and opting out.
func TestSlots(t *testing.T) {
	var x Index
	put(&x, Link{ID: 1, Scope: "acme", Slot: "chat", Integration: "slack"})
	put(&x, Link{ID: 2, Scope: "acme/a", Slot: "chat", Integration: "slack"})
	put(&x, Link{ID: 3, Scope: "acme/b", Slot: "chat", Integration: "slack", State: patchbay.LinkDisabled})
	put(&x, Link{ID: 4, Scope: "acme/a", Slot: "chat", Integration: "jira"})
	put(&x, Link{ID: 5, Scope: "acme/c", Slot: "chat", Integration: "slack", State: patchbay.LinkPaused})
	put(&x, Link{ID: 6, Scope: "acme"})
	f, err := CompileFilter("payload.branch == 'other'")
	if err != nil {
		t.Fatal(err)
	}
	put(&x, Link{ID: 7, Scope: "acme/d", Slot: "chat", Integration: "slack", Filter: f})
	put(&x, Link{ID: 8, Scope: "acme/e", Slot: "chat", Integration: "slack", State: patchbay.LinkAttaching})
	put(&x, Link{ID: 9, Scope: "acme/a", Slot: "chat", Integration: "slack", Events: []patchbay.Pattern{"run.*"}})
	wantLinks(t, &x, event("push", "acme"), 1, 6)
	wantLinks(t, &x, event("push", "acme/a"), 2, 4, 6)
	wantLinks(t, &x, event("push", "acme/b/x"), 6)
	wantLinks(t, &x, event("push", "acme/c"), 5, 6)
	wantLinks(t, &x, event("push", "acme/d"), 1, 6) // a filter that is false leaves the slot to the others
	wantLinks(t, &x, event("push", "acme/e"), 1, 6) // so does a link that is not in service yet
	wantLinks(t, &x, event("run.done", "acme/a"), 2, 4, 6, 9)
	if !x.Match(event("push", "acme/b"), nil).Missed {
		t.Error("the disabled link that opted out would have matched, but nothing was missed")
	}
	if x.Match(event("push", "acme/a"), nil).Missed {
		t.Error("something was missed, but no disabled link fits")
	}
}

// TestNames shows that a pattern may select a type by an alias.
func TestNames(t *testing.T) {
	var x Index
	put(&x, Link{ID: 1, Events: []patchbay.Pattern{"webhook_timeout", "*timeout"}})
	put(&x, Link{ID: 2, Events: []patchbay.Pattern{"run_*"}})
	put(&x, Link{ID: 3, Events: []patchbay.Pattern{"run_webhook_timeout"}})
	put(&x, Link{ID: 4, Events: []patchbay.Pattern{"run_error"}})
	e := event("run_webhook_timeout", "")
	e.Names = []string{"run_webhook_timeout", "webhook_timeout"}
	wantLinks(t, &x, e, 1, 2, 3)
}

// TestLoops shows where an event is never sent.
func TestLoops(t *testing.T) {
	var x Index
	put(&x, Link{ID: 1, Integration: "github", Target: "acme/web"})
	put(&x, Link{ID: 2, Integration: "github", Target: "acme/web", Scope: "acme"})
	put(&x, Link{ID: 3, Integration: "github", Target: "acme/api"})
	put(&x, Link{ID: 4, Integration: "gitlab", Target: "acme/web"})
	put(&x, Link{ID: 5, Events: []patchbay.Pattern{"patchbay.*"}})
	put(&x, Link{ID: 6, Events: []patchbay.Pattern{"patchbay.*"}})

	hook := event("github.push", "acme")
	hook.Source = patchbay.Source{Kind: patchbay.SourceHook, Link: 1, Integration: "github", Target: "acme/web"}
	wantLinks(t, &x, hook, 3, 4)
	hook.Source.Target = "" // a target that is not known is no target
	wantLinks(t, &x, hook, 2, 3, 4)

	about := event("patchbay.link.disabled", "")
	about.Source = patchbay.Source{Kind: patchbay.SourceSystem, Link: 5}
	wantLinks(t, &x, about, 6)

	last := event("github.push", "acme")
	last.Hops = patchbay.MaxHops - 1
	wantLinks(t, &x, last, 1, 2, 3, 4)
	last.Hops = patchbay.MaxHops
	wantLinks(t, &x, last)
}

// TestUnsupported shows that an integration that does not take a type gets no delivery, and misses nothing.
func TestUnsupported(t *testing.T) {
	var x Index
	put(&x, Link{ID: 1, Integration: "jira"})
	put(&x, Link{ID: 2, Integration: "slack"})
	put(&x, Link{ID: 3, Integration: "jira", State: patchbay.LinkDisabled})
	r := x.Match(event("run_error", ""), func(integration string) bool { return integration != "jira" })
	if diff := cmp.Diff([]patchbay.LinkID{2}, ids(r.Matched)); diff != "" || r.Missed {
		t.Errorf("missed is %v; matched links (-want +got):\n%s", r.Missed, diff)
	}
}

// TestFilterErrors shows that a filter that cannot be evaluated is told, and that its link does not match.
func TestFilterErrors(t *testing.T) {
	var x Index
	f, err := CompileFilter("payload.missing == 1")
	if err != nil {
		t.Fatal(err)
	}
	broken := put(&x, Link{ID: 1, Filter: f})
	put(&x, Link{ID: 2})
	r := x.Match(event("push", ""), nil)
	if len(r.Matched) != 1 || len(r.FilterErrors) != 1 || r.FilterErrors[0].Link.ID != broken.ID {
		t.Fatalf("got %+v", r)
	}
	if got := r.FilterErrors[0].Err.Error(); got != "no such key: missing" {
		t.Errorf("the error is %q", got)
	}
}

// TestReplace shows that a changed link leaves nothing of its former self behind.
func TestReplace(t *testing.T) {
	var x Index
	put(&x, Link{ID: 1, Scope: "a", Events: []patchbay.Pattern{"x", "y*", "x", "y*"}})
	put(&x, Link{ID: 1, Scope: "b", Events: []patchbay.Pattern{"z"}, Revision: 2})
	wantLinks(t, &x, event("x", "a"))
	wantLinks(t, &x, event("z", "b"), 1)
	if got := x.Get(1); got == nil || got.Revision != 2 || x.Len() != 1 {
		t.Errorf("got %+v of %d", got, x.Len())
	}
	x.Remove(1)
	x.Remove(1)
	if x.Get(1) != nil || x.Len() != 0 || len(x.scopes) != 0 {
		t.Errorf("%d links and %d scopes are left", x.Len(), len(x.scopes))
	}
}

// TestReasons pins the sentences that people read.
func TestReasons(t *testing.T) {
	var x Index
	f, err := CompileFilter("payload.branch == 'other'")
	if err != nil {
		t.Fatal(err)
	}
	g, err := CompileFilter("payload.missing")
	if err != nil {
		t.Fatal(err)
	}
	links := []Link{
		{Scope: "acme"},
		{Scope: "acme", State: patchbay.LinkPaused, Events: []patchbay.Pattern{"repo.pull", "repo.*"}},
		{Scope: "acme", State: patchbay.LinkDisabled},
		{Scope: "acme", State: patchbay.LinkAttaching},
		{Scope: "acme", Events: []patchbay.Pattern{"run.*", "a", "b", "c", "d", "e"}},
		{Scope: "acme", Filter: f},
		{Scope: "acme", Filter: g},
		{Scope: "acme", Slot: "s"},
		{Scope: "acme/repos/1", Slot: "s", Reach: patchbay.ReachExact},
		{Scope: "acme/repos", Integration: "jira", Reach: patchbay.ReachChildren},
		{Scope: "", Integration: "github", Target: "acme/web"},
		{Scope: "other", Reach: patchbay.ReachExact},
	}
	for i, l := range links {
		l.ID = patchbay.LinkID(i + 1)
		put(&x, l)
	}
	e := event("repo.push", "acme/repos/1")
	e.Source = patchbay.Source{Kind: patchbay.SourceHook, Integration: "github", Target: "acme/web"}
	want := []string{
		"the event is in acme/repos/1, the link sees acme and everything below it, and its pattern * matches repo.push",
		"the event is in acme/repos/1, the link sees acme and everything below it, and its pattern repo.* matches repo.push; the delivery is held, because the link is paused",
		"it would match, but it is disabled",
		"it is still being set up at the partner",
		"none of its patterns (run.*, a, b, c, d and 1 more) matches the type repo.push",
		"its filter (payload.branch == 'other') is false",
		"its filter could not be evaluated: no such key: missing",
		`in the slot "s" the link lnk_0000000000009 in acme/repos/1 takes its place`,
		"the event is in acme/repos/1, the link sees only acme/repos/1 itself, and its pattern * matches repo.push",
		"the integration jira does not take events of the type repo.push",
		"the event came from there: it entered through a hook of the same target",
		"the event is in acme/repos/1, but the link sees only other itself",
	}
	var got []string
	for _, ex := range x.Explain(e, true, func(integration string) bool { return integration != "jira" }) {
		got = append(got, ex.Reason)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(x.Explain(e, false, nil)); n != len(links)-1 {
		t.Errorf("without the links elsewhere %d are explained, want %d", n, len(links)-1)
	}
}

// TestAllocations holds the hot path to what it was built for: the event's view and the result.
func TestAllocations(t *testing.T) {
	var x Index
	fill(&x, 1000, worlds[0].link)
	event := &patchbay.Event{Type: "repo.push", Scope: "acme/repos/none", Payload: []byte(`{}`)}
	names := []string{"repo.push", "RepoPushEvent"}
	if n := testing.AllocsPerRun(100, func() { x.Match(&Event{Event: event, Names: names}, nil) }); n > 3 {
		t.Errorf("Match allocates %v times, want at most 3", n)
	}
	f, err := CompileFilter("payload.branch == 'main'")
	if err != nil {
		t.Fatal(err)
	}
	event.Payload = payload1K
	if n := testing.AllocsPerRun(100, func() { _, _ = f.Eval(&Event{Event: event}) }); n > 4 {
		t.Errorf("a filter allocates %v times, want at most 4", n)
	}
}

// TestMemoIsBounded sends more names than a bucket may remember.
func TestMemoIsBounded(t *testing.T) {
	var x Index
	fill(&x, 2*memoFrom, worlds[2].link)
	for i := range 10_000 {
		x.Match(event(fmt.Sprintf("type%d", i), "acme"), nil)
	}
	b := &x.scopes["acme"].subtree
	if n := len(b.memo); n == 0 || n > 1000 {
		t.Errorf("%d names are remembered", n)
	}
	wantLinks(t, &x, event("other7.x", "acme"), 8)

	name := "repo.push" // what it remembers of one name must not grow with the patterns that come and go
	for i := range 1000 {
		put(&x, Link{ID: 10_000, Scope: "acme", Events: []patchbay.Pattern{patchbay.Pattern("repo." + strings.Repeat("*", 1+i%100))}})
		wantLinks(t, &x, event(name, "acme"), 10_000)
	}
	if n := len(b.memo[name]); n != 1 {
		t.Errorf("%d patterns are remembered for %s, one is there", n, name)
	}
	if b.spent > 1024+8*len(b.wild) {
		t.Errorf("%d places are counted for %d patterns", b.spent, len(b.wild))
	}
}

// TestConcurrency changes the index while it is asked. A link that is always there is always found, and one that is
// replaced is found exactly once.
func TestConcurrency(t *testing.T) {
	var x Index
	fill(&x, 2*memoFrom, worlds[2].link)
	put(&x, Link{ID: 10_000, Scope: "acme", Events: []patchbay.Pattern{"repo.push"}})
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := range 2000 {
				put(&x, Link{ID: patchbay.LinkID(20_000 + w), Scope: "acme", Events: []patchbay.Pattern{"repo.*", patchbay.Pattern(fmt.Sprintf("x%d*", i%100))}})
				if i%3 == 0 {
					x.Remove(patchbay.LinkID(30_000 + w))
					put(&x, Link{ID: patchbay.LinkID(30_000 + w), Scope: "acme/repos", Events: []patchbay.Pattern{"*"}})
				}
			}
		})
		wg.Go(func() {
			for i := range 2000 {
				got := ids(x.Match(event("repo.push", "acme/repos/1"), nil).Matched)
				if !slices.Contains(got, 10_000) {
					t.Errorf("round %d: the link that never changes was not found in %v", i, got)
					return
				}
				if len(slices.Compact(slices.Clone(got))) != len(got) {
					t.Errorf("round %d: a link was found twice in %v", i, got)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestLinksThatSelectNothing come and go like others: those that only receive.
func TestLinksThatSelectNothing(t *testing.T) {
	var x Index
	for id := range patchbay.LinkID(3) {
		l := &Link{ID: id + 1, Scope: "acme", State: patchbay.LinkActive, Integration: "webhook"}
		if id == 1 {
			l.Events = []patchbay.Pattern{"*"}
		}
		x.Put(l)
	}
	if r := x.Match(&Event{Event: &patchbay.Event{Type: "a", Scope: "acme", Payload: []byte(`{}`)}}, nil); len(r.Matched) != 1 {
		t.Errorf("%d links match", len(r.Matched))
	}
	for id := range patchbay.LinkID(3) {
		x.Remove(id + 1)
	}
	if x.Len() != 0 {
		t.Errorf("%d links are left", x.Len())
	}
}
