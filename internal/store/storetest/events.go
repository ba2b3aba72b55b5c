package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// population accepts n different events and returns them, the oldest first. Commits overtake each other, as they do
// in life.
func (e *env) population(n int) []*store.Acceptance {
	e.Helper()
	all := make([]*store.Acceptance, n)
	for i := range all {
		var links []patchbay.LinkID
		switch i % 10 {
		case 0, 1, 2, 3:
			links = []patchbay.LinkID{linkA}
		case 4:
			links = []patchbay.LinkID{linkA, linkB}
		case 5:
			links = []patchbay.LinkID{0}
		}
		a := e.event(links...)
		tenant := fmt.Sprintf("tenant%d", i%3)
		a.Event.Type = fmt.Sprintf("type.%d", i%7)
		a.Event.Scope = patchbay.Scope(fmt.Sprintf("%s/repos/%d", tenant, i%50))
		if i%11 == 0 {
			a.Event.Also = []patchbay.Scope{patchbay.Scope(tenant + "/teams/1"), patchbay.Scope(tenant + "/teams/10")}
		}
		if i%10 == 5 {
			a.Targets[0] = store.Target{Integration: "slack"}
		}
		if i%200 == 199 {
			a.Event.Type = "rare"
		}
		a.Missed = i%13 == 0
		all[i] = a
		if i%20 == 19 {
			e.clock.forward(time.Millisecond)
		}
	}
	const callers = 8
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := c; i < n; i += callers {
				if _, err := e.s.Accept(e.ctx, all[i]); err != nil {
					e.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return all
}

// inScope reports what Within means for events.
func inScope(within patchbay.Scope, a *store.Acceptance) bool {
	return within.Contains(a.Event.Scope) || slices.ContainsFunc(a.Event.Also, within.Contains)
}

// newestFirst returns the identifiers of those that are wanted, the newest first.
func newestFirst(all []*store.Acceptance, want func(*store.Acceptance) bool) []patchbay.EventID {
	var out []patchbay.EventID
	for _, a := range slices.Backward(all) {
		if want(a) {
			out = append(out, a.Event.ID)
		}
	}
	return out
}

// eventPages lists all events of a filter, some at a time.
func (e *env) eventPages(f store.EventFilter) []store.EventRecord {
	e.Helper()
	var out []store.EventRecord
	for {
		page, err := e.s.Events(e.ctx, f)
		e.must(err)
		if len(page) > f.Limit {
			e.Fatalf("%d events on a page of %d", len(page), f.Limit)
		}
		out = append(out, page...)
		if len(page) < f.Limit {
			return out
		}
		f.Before = page[len(page)-1].ID
	}
}

var eventTests = []test{
	{"lists by every filter", func(e *env) {
		all := e.population(700)
		middle := all[350].Event.ID.Time()
		filters := map[string]struct {
			f    store.EventFilter
			want func(*store.Acceptance) bool
		}{
			"all":         {store.EventFilter{}, func(*store.Acceptance) bool { return true }},
			"a type":      {store.EventFilter{Types: []string{"type.3"}}, func(a *store.Acceptance) bool { return a.Event.Type == "type.3" }},
			"a rare type": {store.EventFilter{Types: []string{"rare"}}, func(a *store.Acceptance) bool { return a.Event.Type == "rare" }},
			"types": {store.EventFilter{Types: []string{"rare", "type.1", "none"}}, func(a *store.Acceptance) bool {
				return a.Event.Type == "rare" || a.Event.Type == "type.1"
			}},
			"no such type": {store.EventFilter{Types: []string{"none"}}, func(*store.Acceptance) bool { return false }},
			"a tenant":     {store.EventFilter{Within: "tenant1"}, func(a *store.Acceptance) bool { return inScope("tenant1", a) }},
			"a scope that begins like others": {store.EventFilter{Within: "tenant2/repos/4"}, func(a *store.Acceptance) bool {
				return inScope("tenant2/repos/4", a)
			}},
			"a further scope": {store.EventFilter{Within: "tenant0/teams/1"}, func(a *store.Acceptance) bool { return inScope("tenant0/teams/1", a) }},
			"a half segment":  {store.EventFilter{Within: "tenant0/team"}, func(*store.Acceptance) bool { return false }},
			"type and scope": {store.EventFilter{Types: []string{"type.5"}, Within: "tenant1/repos"}, func(a *store.Acceptance) bool {
				return a.Event.Type == "type.5" && inScope("tenant1/repos", a)
			}},
			"since": {store.EventFilter{Since: middle}, func(a *store.Acceptance) bool { return !a.Event.ID.Time().Before(middle) }},
			"until": {store.EventFilter{Until: middle}, func(a *store.Acceptance) bool { return a.Event.ID.Time().Before(middle) }},
			"a span of a type": {store.EventFilter{Types: []string{"type.2"}, Since: middle, Until: middle.Add(5 * time.Millisecond)}, func(a *store.Acceptance) bool {
				return a.Event.Type == "type.2" && !a.Event.ID.Time().Before(middle) && a.Event.ID.Time().Before(middle.Add(5*time.Millisecond))
			}},
		}
		for round := range 3 {
			for name, c := range filters {
				for _, limit := range []int{1000, 7} {
					c.f.Limit = limit
					e.same(fmt.Sprintf("round %d: %s by %d", round, name, limit), ids(e.eventPages(c.f)), newestFirst(all, c.want))
				}
			}
			switch round {
			case 0:
				e.crash()
			case 1:
				all = append(all, e.population(300)...)
			}
		}
	}},
	{"an event that is committed late has its place in the lists", func(e *env) {
		late := e.event(linkA)
		late.Event.Type = "late"
		all := append([]*store.Acceptance{late}, e.population(200)...)
		e.clock.forward(2 * time.Second)
		all = append(all, e.population(200)...)
		e.accept(late)
		for range 2 {
			e.same("by type", ids(e.eventPages(store.EventFilter{Types: []string{"late"}, Limit: 10})), []patchbay.EventID{late.Event.ID})
			e.same("all", ids(e.eventPages(store.EventFilter{Limit: 100})), newestFirst(all, func(*store.Acceptance) bool { return true }))
			e.same("by scope", ids(e.eventPages(store.EventFilter{Within: "acme", Limit: 10})), []patchbay.EventID{late.Event.ID})
			e.crash()
		}
	}},
	{"lists whole events", func(e *env) {
		all := e.population(20)
		got, err := e.s.Events(e.ctx, store.EventFilter{Limit: 1, Types: []string{all[4].Event.Type}})
		e.must(err)
		want := all[18]
		e.same("event", got, []store.EventRecord{{Event: *want.Event, Targets: want.Targets, Missed: want.Missed}})
	}},
	{"replays have their origin's payload and a list of their own", func(e *env) {
		origin := e.accept(e.event(linkA))
		var replays []*store.Acceptance
		for range 3 {
			r := e.event(linkB)
			r.Event.Origin, r.Event.Payload = origin.Event.ID, origin.Event.Payload
			replays = append(replays, e.accept(r))
		}
		e.accept(e.event(linkA))
		got, err := e.s.Event(e.ctx, replays[1].Event.ID)
		e.must(err)
		e.same("replay", got, &store.EventRecord{Event: *replays[1].Event, Targets: replays[1].Targets})
		list, err := e.s.Replays(e.ctx, origin.Event.ID)
		e.must(err)
		e.same("replays", ids(list), []patchbay.EventID{replays[0].Event.ID, replays[1].Event.ID, replays[2].Event.ID})
		for _, r := range list {
			e.same("payload", r.Payload, json.RawMessage(nil))
			e.same("origin", r.Origin, origin.Event.ID)
		}
		none, err := e.s.Replays(e.ctx, replays[0].Event.ID)
		e.must(err)
		e.same("replays of a replay", ids(none), []patchbay.EventID{})
		for _, f := range []store.EventFilter{{Limit: 10}, {Limit: 10, Types: []string{"repo.push"}}, {Limit: 10, Within: "acme"}} {
			if got := ids(e.eventPages(f)); len(got) != 2 || got[1] != origin.Event.ID {
				e.Errorf("replays stand in the list: %v", got)
			}
		}
		claimed := e.event(linkC)
		claimed.Event.Origin, claimed.Event.Payload = origin.Event.ID, nil
		claimed.Queue = []store.Queued{e.place(claimed, 1, e.now())}
		e.accept(claimed)
		due := e.due(linkC, 1)
		if len(due) != 1 || string(due[0].Event.Payload) != string(origin.Event.Payload) {
			e.Errorf("a claimed replay does not have the origin's payload: %+v", due)
		}
	}},
}
