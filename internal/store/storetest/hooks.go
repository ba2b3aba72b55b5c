package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// hook makes a call that has come in.
func (e *env) hook(text string) *store.Hook {
	return &store.Hook{
		ID: patchbay.HookID(e.s.NewID(1)), Integration: "github", ReceivedAt: e.now(), Body: []byte(text), Key: key(text), State: patchbay.HookPending,
	}
}

func (e *env) called(h *store.Hook) *store.Hook {
	e.Helper()
	existing, err := e.s.SaveHook(e.ctx, h)
	e.must(err)
	if existing != 0 {
		e.Fatalf("%s was taken for %s", h.ID, existing)
	}
	return h
}

func (e *env) finished(h *store.Hook, state patchbay.HookState) *store.Hook {
	e.Helper()
	h.State = state
	h.Reads++
	e.must(e.s.FinishHook(e.ctx, h))
	return h
}

func (e *env) hookIDs(f store.HookFilter) (out []patchbay.HookID) {
	e.Helper()
	f.Limit = 2
	for range 100 {
		page, err := e.s.Hooks(e.ctx, f)
		e.must(err)
		if len(page) > f.Limit {
			e.Fatalf("a page of %d has %d", f.Limit, len(page))
		}
		for i := range page {
			out = append(out, page[i].ID)
			f.Before = page[i].ID
			if page[i].Body != nil {
				e.Errorf("the list has the body of %s", page[i].ID)
			}
		}
		if len(page) < f.Limit {
			return out
		}
	}
	e.Fatal("the list does not end")
	return nil
}

// wantHooks checks which hooks are there.
func (e *env) wantHooks(all map[string]*store.Hook, names ...string) {
	e.Helper()
	for name, h := range all {
		_, err := e.s.Hook(e.ctx, h.ID)
		if (err == nil) != slices.Contains(names, name) {
			e.Errorf("%s after the start, %q: %v", e.now().Sub(start), name, err)
		}
	}
}

var hookTests = []test{
	{"keeps every field", func(e *env) {
		h := e.hook("\x00\xff binary \xf0 {}")
		h.Link, h.Account, h.Type, h.Query = linkA, "acct\xff", "push\x00", "a=b&c=%00\xfe"
		h.Header = map[string][]string{"X-Event": {"push", "ping"}, "X-Empty": {""}}
		e.called(h)
		other := e.called(&store.Hook{ID: patchbay.HookID(e.s.NewID(1)), Integration: "slack", State: patchbay.HookPending})
		check := func() {
			e.Helper()
			for range 2 {
				for _, want := range []*store.Hook{h, other} {
					got, err := e.s.Hook(e.ctx, want.ID)
					e.must(err)
					e.same("hook", got, want)
				}
				list, err := e.s.Hooks(e.ctx, store.HookFilter{Limit: 10})
				e.must(err)
				brief := *h
				brief.Body = nil
				e.same("list", list, []store.Hook{*other, brief})
				e.crash()
			}
		}
		check()
		done := *h
		done.State, done.Reason, done.Account, done.Scope, done.Placed, done.Type, done.Reads = patchbay.HookDone, "so it is", "2", "acme/x", true, "pull", 3
		done.Links, done.Events = []patchbay.LinkID{linkA, linkB}, []patchbay.EventID{5, 6}
		// What is not what reading it came to stays as it was.
		told := done
		told.Body, told.Header, told.Query, told.Integration, told.Link, told.Key = nil, nil, "", "", 0, [16]byte{}
		e.must(e.s.FinishHook(e.ctx, &told))
		h = &done
		check()
		again := done
		again.State, again.Reason, again.Scope, again.Placed, again.Links, again.Events = patchbay.HookUnplaced, "", "", false, nil, nil
		e.must(e.s.FinishHook(e.ctx, &again))
		h = &again
		check()
	}},
	{"a call that comes again is the same one", func(e *env) {
		h := e.called(e.hook("x"))
		for range 2 {
			again := e.hook("x")
			again.Body = []byte("something else")
			existing, err := e.s.SaveHook(e.ctx, again)
			e.must(err)
			e.same("existing", existing, h.ID)
			_, err = e.s.Hook(e.ctx, again.ID)
			e.wantErr("the second", err, store.ErrNotFound)
			e.crash()
		}
		other := e.hook("x")
		other.Integration = "slack"
		e.called(other)
		e.finished(h, patchbay.HookDone)
		existing, err := e.s.SaveHook(e.ctx, e.hook("x"))
		e.must(err)
		e.same("existing after it was read", existing, h.ID)
	}},
	{"of calls that come at the same time one is stored", func(e *env) {
		p := e.s
		for n := range 5 {
			var wg sync.WaitGroup
			var mu sync.Mutex
			var stored, existing []patchbay.HookID
			for range 8 {
				wg.Go(func() {
					h := e.hook(fmt.Sprint("call ", n))
					old, err := p.SaveHook(e.ctx, h)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err != nil:
						e.Error(err)
					case old == 0:
						stored = append(stored, h.ID)
					default:
						existing = append(existing, old)
					}
				})
			}
			wg.Wait()
			if len(stored) != 1 || len(existing) != 7 || slices.ContainsFunc(existing, func(id patchbay.HookID) bool { return id != stored[0] }) {
				e.Errorf("stored %v, existing %v", stored, existing)
			}
		}
		e.same("hooks", len(e.hookIDs(store.HookFilter{})), 5)
	}},
	{"what was answered is there after a crash", func(e *env) {
		p := e.s
		var wg sync.WaitGroup
		var mu sync.Mutex
		var all []patchbay.HookID
		for n := range 8 {
			wg.Go(func() {
				for i := range 10 {
					h := e.hook(fmt.Sprint(n, " ", i))
					if _, err := p.SaveHook(e.ctx, h); err != nil {
						e.Error(err)
						return
					}
					mu.Lock()
					all = append(all, h.ID)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		e.crash()
		slices.Sort(all)
		slices.Reverse(all)
		e.same("hooks", e.hookIDs(store.HookFilter{}), all)
	}},
	{"an identifier is one hook's", func(e *env) {
		h := e.called(e.hook("x"))
		other := e.hook("y")
		other.ID = h.ID
		_, err := e.s.SaveHook(e.ctx, other)
		e.wantErr("the second", err, store.ErrConflict)
	}},
	{"what does not exist", func(e *env) {
		h := e.hook("x")
		_, err := e.s.Hook(e.ctx, h.ID)
		e.wantErr("reading", err, store.ErrNotFound)
		e.wantErr("finishing", e.s.FinishHook(e.ctx, h), store.ErrNotFound)
	}},
	{"lists by every filter, the newest first, in pages", listHooks},
	{"pending ones are found again, the oldest first", func(e *env) {
		var all []*store.Hook
		for i := range 6 {
			all = append(all, e.called(e.hook(strings.Repeat("x", i+1))))
			e.clock.forward(time.Second)
		}
		e.finished(all[1], patchbay.HookDone)
		e.finished(all[2], patchbay.HookUnplaced)
		want := func(before time.Time, after patchbay.HookID, limit int, hooks ...*store.Hook) {
			e.Helper()
			got, err := e.s.PendingHooks(e.ctx, before, after, limit)
			e.must(err)
			var whole []store.Hook
			for _, h := range hooks {
				whole = append(whole, *h)
			}
			e.same("pending", got, whole)
		}
		want(e.now(), 0, 10, all[0], all[3], all[4], all[5])
		e.crash()
		want(e.now(), 0, 2, all[0], all[3])
		want(e.now(), all[3].ID, 2, all[4], all[5])
		want(all[4].ReceivedAt, 0, 10, all[0], all[3])
		e.finished(all[0], patchbay.HookFailed)
		e.finished(all[2], patchbay.HookPending) // replayed
		want(e.now(), 0, 2, all[2], all[3])
	}},
	{"goes like unmatched events, what is not done like matched ones", func(e *env) {
		all := map[string]*store.Hook{}
		for _, state := range []patchbay.HookState{patchbay.HookPending, patchbay.HookDone, patchbay.HookIgnored, patchbay.HookUnplaced, patchbay.HookFailed} {
			h := e.called(e.hook(string(state)))
			if state != patchbay.HookPending {
				e.finished(h, state)
			}
			all[string(state)] = h
		}
		step := func(to time.Duration, kept ...string) {
			e.Helper()
			e.clock.forward(start.Add(to).Sub(e.now()))
			e.prune(retention)
			e.wantHooks(all, kept...)
		}
		step(3*day-time.Second, "pending", "done", "ignored", "unplaced", "failed")
		step(3*day+time.Second, "pending", "unplaced")
		step(30*day-time.Second, "pending", "unplaced")
		e.prune(store.Retention{}) // for ever
		e.wantHooks(all, "pending", "unplaced")
		step(30*day + time.Second)
		e.called(e.hook("pending")) // it is not known any more
	}},
	{"a step of pruning is small", func(e *env) {
		for i := range 1200 {
			e.finished(e.called(e.hook(fmt.Sprint(i))), patchbay.HookDone)
		}
		count := func() int {
			list, err := e.s.Hooks(e.ctx, store.HookFilter{Limit: 2000})
			e.must(err)
			return len(list)
		}
		e.clock.forward(4 * day)
		before := count()
		more, err := e.s.Prune(e.ctx, retention, e.now())
		e.must(err)
		if gone := before - count(); !more || gone > 1000 {
			e.Errorf("one step deleted %d of %d; more: %t", gone, before, more)
		}
		e.prune(retention)
		e.same("left", count(), 0)
	}},
	{"after Close", func(e *env) {
		p, h := e.s, e.hook("x")
		e.must(e.s.Close())
		_, save := p.SaveHook(e.ctx, h)
		_, list := p.Hooks(e.ctx, store.HookFilter{Limit: 1})
		_, pending := p.PendingHooks(e.ctx, e.now(), 0, 1)
		for _, err := range []error{save, p.FinishHook(e.ctx, h), list, pending} {
			e.wantErr("after Close", err, store.ErrClosed)
		}
	}},
}

// listHooks makes hooks that differ in everything, and asks for them.
func listHooks(e *env) {
	states := []patchbay.HookState{patchbay.HookPending, patchbay.HookDone, patchbay.HookIgnored, patchbay.HookUnplaced, patchbay.HookFailed}
	var all []*store.Hook
	for i, scope := range []patchbay.Scope{"", "acme", "acme/x", "acme/x/y", "acmex", "acme-x", "other", "acme/x"} {
		h := e.hook(fmt.Sprint(i))
		h.Integration = []string{"github", "slack"}[i%2]
		h.Link = []patchbay.LinkID{0, linkA, linkB}[i%3]
		h.Account = []string{"", "1", "2", "3"}[i%4]
		e.called(h)
		h.Scope, h.Placed = scope, i != 7
		if i == 7 {
			h.Scope = ""
		}
		e.finished(h, states[i%5])
		all = append(all, h)
	}
	for name, x := range map[string]struct {
		f    store.HookFilter
		want []int
	}{
		"all":                  {store.HookFilter{}, []int{7, 6, 5, 4, 3, 2, 1, 0}},
		"before":               {store.HookFilter{Before: all[3].ID}, []int{2, 1, 0}},
		"integration":          {store.HookFilter{Integration: "slack"}, []int{7, 5, 3, 1}},
		"link":                 {store.HookFilter{Link: linkA}, []int{7, 4, 1}},
		"account":              {store.HookFilter{Account: "1"}, []int{5, 1}},
		"within":               {store.HookFilter{Within: "acme"}, []int{3, 2, 1}},
		"within deeper":        {store.HookFilter{Within: "acme/x"}, []int{3, 2}},
		"state":                {store.HookFilter{States: states[:1]}, []int{5, 0}},
		"states":               {store.HookFilter{States: states[:3]}, []int{7, 6, 5, 2, 1, 0}},
		"one state twice":      {store.HookFilter{States: []patchbay.HookState{"done", "done"}}, []int{6, 1}},
		"states before":        {store.HookFilter{States: states[:3], Before: all[6].ID}, []int{5, 2, 1, 0}},
		"states and link":      {store.HookFilter{States: states[:2], Link: linkA}, []int{1}},
		"states and account":   {store.HookFilter{States: states[2:3], Account: "3", Integration: "slack"}, []int{7}},
		"within, of a link":    {store.HookFilter{Within: "acme", Link: linkB}, []int{2}},
		"within, in states":    {store.HookFilter{Within: "acme", States: states[1:3]}, []int{2, 1}},
		"of another":           {store.HookFilter{Integration: "jira"}, nil},
		"of nobody's link":     {store.HookFilter{Link: linkC}, nil},
		"in a state of nobody": {store.HookFilter{States: []patchbay.HookState{"x"}}, nil},
	} {
		var want []patchbay.HookID
		for _, i := range x.want {
			want = append(want, all[i].ID)
		}
		e.same(name, e.hookIDs(x.f), want)
	}
}
