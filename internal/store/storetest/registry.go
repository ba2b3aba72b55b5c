package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

func (e *env) link(id patchbay.LinkID, revision int) *patchbay.Link {
	return &patchbay.Link{
		ID: id, Revision: revision, Integration: "webhook", Scope: "acme", Reach: patchbay.ReachSubtree, Events: []patchbay.Pattern{"*"},
		Settings: json.RawMessage(fmt.Sprintf(`{"revision":%d}`, revision)), Enabled: true, State: patchbay.LinkActive,
		CreatedAt: e.now(), UpdatedAt: e.now(),
	}
}

var linkTests = []test{
	{"keeps every field, secrets too", func(e *env) {
		l := &patchbay.Link{
			ID: linkA, Integration: "slack", Scope: "acme/x", Reach: patchbay.ReachExact, Events: []patchbay.Pattern{"a.*", "*b"},
			Filter: "payload.a == 1", Body: "payload", Settings: json.RawMessage(`{"secret":"whsec_x","n":1e400}`), Slot: "s", Connection: 7,
			Enabled: true, State: patchbay.LinkPaused, StateReason: "because", Visible: true, Name: "Né",
			Retry:       &patchbay.RetryPolicy{Schedule: []patchbay.Duration{patchbay.Duration(time.Second), patchbay.Duration(90 * time.Minute)}, MaxAge: patchbay.Duration(time.Hour)},
			Concurrency: 3, Rate: 0.5,
			Previous:  &patchbay.PreviousSecret{Setting: "secret", Value: "whsec_old", Until: e.now().Add(time.Hour)},
			CreatedAt: e.now(), UpdatedAt: e.now().Add(time.Second), Revision: 1,
		}
		e.must(e.s.SaveLink(e.ctx, l))
		for range 2 {
			got, err := e.s.LinkRevision(e.ctx, linkA, 1)
			e.must(err)
			e.same("link", got, l)
			if got.Previous.Value.Reveal() != "whsec_old" {
				e.Error("the previous secret is lost")
			}
			all, err := e.s.AllLinks(e.ctx)
			e.must(err)
			e.same("links", all, []patchbay.Link{*l})
			e.crash()
		}
	}},
	{"a retry schedule that is empty is not none", func(e *env) {
		l := e.link(linkA, 1)
		l.Retry = &patchbay.RetryPolicy{Schedule: []patchbay.Duration{}, MaxAge: 1}
		e.must(e.s.SaveLink(e.ctx, l))
		got, err := e.s.LinkRevision(e.ctx, linkA, 1)
		e.must(err)
		if got.Retry == nil || got.Retry.MaxAge != 1 {
			e.Errorf("got %+v", got.Retry)
		}
	}},
	{"every revision stays, the last is current", func(e *env) {
		for r := 1; r <= 3; r++ {
			e.must(e.s.SaveLink(e.ctx, e.link(linkA, r)))
		}
		e.must(e.s.SaveLink(e.ctx, e.link(linkB, 1)))
		e.crash()
		all, err := e.s.AllLinks(e.ctx)
		e.must(err)
		e.same("links", all, []patchbay.Link{*e.link(linkA, 3), *e.link(linkB, 1)})
		for r := 1; r <= 3; r++ {
			got, err := e.s.LinkRevision(e.ctx, linkA, r)
			e.must(err)
			e.same("revision", got, e.link(linkA, r))
		}
		now, err := e.s.LinkNow(e.ctx, linkA)
		e.must(err)
		e.same("the current one", now, e.link(linkA, 3))
		if _, err := e.s.LinkNow(e.ctx, linkC); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("a link that never was: got %v, want ErrNotFound", err)
		}
		for _, r := range []int{0, 4, -1} {
			if _, err := e.s.LinkRevision(e.ctx, linkA, r); !errors.Is(err, store.ErrNotFound) {
				e.Errorf("revision %d: got %v, want ErrNotFound", r, err)
			}
		}
		if _, err := e.s.LinkRevision(e.ctx, linkC, 1); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("got %v, want ErrNotFound", err)
		}
	}},
	{"a revision that does not follow is a conflict", func(e *env) {
		for _, r := range []int{0, 2} {
			if err := e.s.SaveLink(e.ctx, e.link(linkA, r)); !errors.Is(err, store.ErrConflict) {
				e.Errorf("a new link with revision %d: got %v, want ErrConflict", r, err)
			}
		}
		e.must(e.s.SaveLink(e.ctx, e.link(linkA, 1)))
		for _, r := range []int{0, 1, 3} {
			if err := e.s.SaveLink(e.ctx, e.link(linkA, r)); !errors.Is(err, store.ErrConflict) {
				e.Errorf("revision %d after 1: got %v, want ErrConflict", r, err)
			}
		}
		e.must(e.s.SaveLink(e.ctx, e.link(linkA, 2)))
	}},
	{"of concurrent changes one wins", func(e *env) {
		e.must(e.s.SaveLink(e.ctx, e.link(linkA, 1)))
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for range 8 {
			wg.Go(func() {
				err := e.s.SaveLink(e.ctx, e.link(linkA, 2))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case !errors.Is(err, store.ErrConflict):
					e.Error(err)
				}
			})
		}
		wg.Wait()
		e.same("won", won, 1)
	}},
	{"a deleted link keeps its revisions and does not come back", func(e *env) {
		e.must(e.s.SaveLink(e.ctx, e.link(linkA, 1)))
		e.must(e.s.SaveLink(e.ctx, e.link(linkA, 2)))
		e.must(e.s.DeleteLink(e.ctx, linkA, e.now()))
		e.crash()
		all, err := e.s.AllLinks(e.ctx)
		e.must(err)
		e.same("links", all, []patchbay.Link{})
		if _, err := e.s.LinkNow(e.ctx, linkA); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("the current revision of a deleted link: got %v, want ErrNotFound", err)
		}
		for r := 1; r <= 2; r++ {
			got, err := e.s.LinkRevision(e.ctx, linkA, r)
			e.must(err)
			e.same("revision", got, e.link(linkA, r))
		}
		if err := e.s.DeleteLink(e.ctx, linkA, e.now()); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("deleting it again: got %v, want ErrNotFound", err)
		}
		for _, r := range []int{1, 2, 3} {
			if err := e.s.SaveLink(e.ctx, e.link(linkA, r)); !errors.Is(err, store.ErrConflict) {
				e.Errorf("saving revision %d of a deleted link: got %v, want ErrConflict", r, err)
			}
		}
	}},
}

var registryTests = []test{
	{"event types", func(e *env) {
		title := "T"
		b := patchbay.EventType{
			Key: "b.type", Title: "B", Description: "d", Aliases: []string{"x"}, Schema: json.RawMessage(`{"type":"object"}`),
			Example: json.RawMessage(`{"a":1}`), ScopeFrom: "{{.payload.a}}", Origin: "api",
			Message: &patchbay.MessageTemplate{Title: "t", Labels: []string{"l"}, Overrides: map[string]patchbay.MessageOverride{"slack": {Skip: true, Title: &title}}},
		}
		a := patchbay.EventType{Key: "a.type", Title: "A"}
		all := func(want ...patchbay.EventType) {
			e.Helper()
			got, err := e.s.AllTypes(e.ctx)
			e.must(err)
			e.same("types", got, want)
		}
		all()
		e.must(e.s.PutType(e.ctx, &b))
		e.must(e.s.PutType(e.ctx, &a))
		all(a, b)
		a.Title = "changed"
		e.must(e.s.PutType(e.ctx, &a))
		e.crash()
		all(a, b)
		e.must(e.s.DeleteType(e.ctx, "a.type"))
		if err := e.s.DeleteType(e.ctx, "a.type"); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("got %v, want ErrNotFound", err)
		}
		all(b)
	}},
	{"API keys", func(e *env) {
		a := store.Key{
			ID: patchbay.KeyID(e.s.NewID(1)), Name: "n", Hash: [32]byte{1, 2}, Scope: "acme", Permissions: []string{"read", "publish"}, Hint: "abcd",
			CreatedAt: e.now(), ExpiresAt: e.now().Add(time.Hour),
		}
		b := store.Key{ID: patchbay.KeyID(e.s.NewID(1)), Hash: [32]byte{3}, CreatedAt: e.now()}
		e.must(e.s.SaveKey(e.ctx, &b))
		e.must(e.s.SaveKey(e.ctx, &a))
		sameHash := b
		sameHash.ID = patchbay.KeyID(e.s.NewID(1))
		for _, k := range []store.Key{a, b, sameHash} {
			if err := e.s.SaveKey(e.ctx, &k); !errors.Is(err, store.ErrConflict) {
				e.Errorf("got %v, want ErrConflict", err)
			}
		}
		e.crash()
		got, err := e.s.AllKeys(e.ctx)
		e.must(err)
		e.same("keys", got, []store.Key{a, b})
		e.must(e.s.DeleteKey(e.ctx, a.ID))
		if err := e.s.DeleteKey(e.ctx, a.ID); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("got %v, want ErrNotFound", err)
		}
		if id := patchbay.KeyID(e.s.NewID(1)); id <= b.ID {
			e.Errorf("%s comes after %s", id, b.ID)
		}
	}},
	{"facts about the installation", func(e *env) {
		get := func(key, want string) {
			e.Helper()
			got, err := e.s.Meta(e.ctx, key)
			e.must(err)
			e.same(key, got, want)
		}
		get("a", "")
		e.must(e.s.SetMeta(e.ctx, "a", "1"))
		e.must(e.s.SetMeta(e.ctx, "b", "é"))
		e.must(e.s.SetMeta(e.ctx, "a", "2"))
		e.crash()
		get("a", "2")
		get("b", "é")
		e.must(e.s.SetMeta(e.ctx, "a", ""))
		get("a", "")
		now, err := e.s.SwapMeta(e.ctx, "a", "", "first")
		e.same("a fact that was not there", now+fmt.Sprint(err), "first<nil>")
		now, err = e.s.SwapMeta(e.ctx, "a", "", "second")
		e.same("one that is", now+fmt.Sprint(err), "first<nil>")
		now, err = e.s.SwapMeta(e.ctx, "c", "first", "second")
		e.same("one that was never set", now+fmt.Sprint(err), "<nil>")
		e.crash()
		get("a", "first")
		get("c", "")
		var wg sync.WaitGroup
		var won atomic.Int32
		for i := range 8 {
			wg.Go(func() {
				mine := fmt.Sprint("of ", i)
				now, err := e.s.SwapMeta(e.ctx, "a", "first", mine)
				if err == nil && now == mine {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		e.same("winners", won.Load(), int32(1))
	}},
	{"identifiers are consecutive and rise", func(e *env) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[int64]bool{}
		for range 8 {
			wg.Go(func() {
				last := int64(0)
				for n := 1; n < 50; n++ {
					first := e.s.NewID(n)
					if first <= last {
						e.Errorf("%d comes after %d", first, last)
					}
					mu.Lock()
					for i := range n {
						last = first + int64(i)*patchbay.IDStep
						if seen[last] {
							e.Errorf("%d was made twice", last)
						}
						seen[last] = true
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
	}},
	{"is healthy and describes itself", func(e *env) {
		e.must(e.s.Healthy(e.ctx))
		before, err := e.s.Stats(e.ctx)
		e.must(err)
		a := e.accept(e.held(linkA))
		e.record(e.retry(a, 1, 1, e.now()))
		e.must(e.s.Healthy(e.ctx))
		after, err := e.s.Stats(e.ctx)
		e.must(err)
		if after.Engine == "" || after.Schema < 1 || after.Bytes <= 0 || after.Queued != 1 {
			e.Errorf("stats: %+v", after)
		}
		if after.Commits < before.Commits+2 || after.Committed < before.Committed+2 || after.Busy <= before.Busy {
			e.Errorf("after two commits: %+v, before: %+v", after, before)
		}
	}},
}
