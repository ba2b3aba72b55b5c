package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// entry makes an entry about an object.
func entry(action string, scope patchbay.Scope, object string) *store.AuditEntry {
	return &store.AuditEntry{
		Scope: scope, Action: action, Object: object, Title: "Slack #dévelop", ActorKind: "key", Actor: "key_1", ActorName: "CI of acme",
		Via: "api", Address: "192.0.2.7", Agent: "curl/8 \xff", Changes: json.RawMessage(`[{"field": "name", "from": "a", "to": "\u0000b"}]`),
	}
}

// written writes an entry and returns what is kept of it.
func (e *env) written(x *store.AuditEntry) store.AuditEntry {
	e.Helper()
	e.must(e.s.WriteAudit(e.ctx, x))
	return e.entries(store.AuditFilter{Limit: 1})[0]
}

func (e *env) entries(f store.AuditFilter) []store.AuditEntry {
	e.Helper()
	out, err := e.s.AuditEntries(e.ctx, f)
	e.must(err)
	return out
}

// actions lists all of what a filter finds, in pages of two, by what was done to what.
func (e *env) actions(f store.AuditFilter) (out []string) {
	e.Helper()
	f.Limit = 2
	for range 1000 {
		page := e.entries(f)
		for i := range page {
			out = append(out, page[i].Action+" "+page[i].Object)
			f.Before = page[i].ID
		}
		if len(page) < f.Limit {
			return out
		}
	}
	e.Fatal("the list does not end")
	return nil
}

// changes are all writes that somebody makes by hand, and what their objects are called.
func (e *env) changes() map[string]func(context.Context) error {
	l := e.link(linkA, 1)
	c := e.connection("acme")
	a := e.accept(e.held(linkB))
	job := &store.Job{ID: patchbay.JobID(e.s.NewID(1)), Action: "retry", State: store.JobPending, CreatedAt: e.now(), UpdatedAt: e.now(), Filter: json.RawMessage("{}")}
	return map[string]func(context.Context) error{
		"SaveLink":       func(ctx context.Context) error { return e.s.SaveLink(ctx, l) },
		"SaveConnection": func(ctx context.Context) error { return e.s.SaveConnection(ctx, c) },
		"SaveKey": func(ctx context.Context) error {
			return e.s.SaveKey(ctx, &store.Key{ID: 7, Hash: hash(7), CreatedAt: e.now()})
		},
		"SaveSession": func(ctx context.Context) error { return e.s.SaveSession(ctx, e.session(9, "acme")) },
		"PutType":     func(ctx context.Context) error { return e.s.PutType(ctx, &patchbay.EventType{Key: "k"}) },
		"CreateJob":   func(ctx context.Context) error { return e.s.CreateJob(ctx, job) },
		"SaveLane":    func(ctx context.Context) error { return e.s.SaveLane(ctx, store.Lane{Link: linkA, Failures: 1}) },
		"Enqueue":     func(ctx context.Context) error { return e.s.Enqueue(ctx, a.Queue) },
		"SetMeta":     func(ctx context.Context) error { return e.s.SetMeta(ctx, "x", "y") },
		"SwapMeta": func(ctx context.Context) error {
			_, err := e.s.SwapMeta(ctx, "swapped", "", "y")
			return err
		},
		"EraseEvents": func(ctx context.Context) error {
			return e.s.EraseEvents(ctx, []patchbay.EventID{a.Event.ID}, e.now())
		},
	}
}

var auditTests = []test{
	{"keeps every field", func(e *env) {
		x := entry("link.updated", "acme/repos/1", "lnk_1")
		got := e.written(x)
		if got.ID == 0 || !got.ID.Time().Equal(e.now()) {
			e.Errorf("the identifier is %s of %s, want one of %s", got.ID, got.ID.Time(), e.now())
		}
		bare := e.written(&store.AuditEntry{Action: "node.started", ActorKind: "system"})
		want := *x
		want.ID = got.ID
		for range 2 {
			e.same("entries", e.entries(store.AuditFilter{Limit: 10}), []store.AuditEntry{{ID: bare.ID, Action: "node.started", ActorKind: "system"}, want})
			e.crash()
		}
	}},
	{"long names are found by what is looked for", func(e *env) {
		long := strings.Repeat("é", 3000)
		x := entry("link.updated", patchbay.Scope(strings.Repeat(strings.Repeat("s", 64)+"/", 15)+strings.Repeat("s", 64)), long)
		x.ActorName = long
		e.written(x)
		for _, f := range []store.AuditFilter{{Within: x.Scope}, {Object: long}, {Actor: long}} {
			f.Limit = 10
			e.same("found", len(e.entries(f)), 1)
		}
	}},
	{"lists by every filter, the newest first, in pages", func(e *env) {
		at := map[int]time.Time{}
		for i, x := range []*store.AuditEntry{
			entry("link.created", "acme/x", "lnk_1"), entry("link.deleted", "acme", "lnk_2"), entry("linked.created", "acmex", "lnk_3"),
			entry("key.created", "", "key_9"), entry("link.created", "acme/x/y", "lnk_1"), entry("link.secret.rotated", "acm", "lnk_4"),
		} {
			if x.Actor = fmt.Sprint("key_", i%2); i == 5 {
				x.Actor, x.ActorName = "ses_1", "key_0"
			}
			at[i] = e.now()
			e.written(x)
			e.clock.forward(time.Minute)
		}
		all := []string{
			"link.secret.rotated lnk_4", "link.created lnk_1", "key.created key_9", "linked.created lnk_3", "link.deleted lnk_2", "link.created lnk_1",
		}
		pick := func(which ...int) (out []string) {
			for _, i := range which {
				out = append(out, all[len(all)-1-i])
			}
			return out
		}
		for name, x := range map[string]struct {
			f    store.AuditFilter
			want []string
		}{
			"all":             {store.AuditFilter{}, all},
			"within":          {store.AuditFilter{Within: "acme"}, pick(4, 1, 0)},
			"deeper":          {store.AuditFilter{Within: "acme/x"}, pick(4, 0)},
			"an action":       {store.AuditFilter{Action: "link.created"}, pick(4, 0)},
			"a family":        {store.AuditFilter{Action: "link."}, pick(5, 4, 1, 0)},
			"a deeper family": {store.AuditFilter{Action: "link.secret."}, pick(5)},
			"half a word":     {store.AuditFilter{Action: "link"}, nil},
			"an object":       {store.AuditFilter{Object: "lnk_1"}, pick(4, 0)},
			"an actor":        {store.AuditFilter{Actor: "key_0"}, pick(5, 4, 2, 0)},
			"an actor's name": {store.AuditFilter{Actor: "CI of acme"}, pick(4, 3, 2, 1, 0)},
			"since":           {store.AuditFilter{Since: at[4]}, pick(5, 4)},
			"until":           {store.AuditFilter{Until: at[1]}, pick(0)},
			"between":         {store.AuditFilter{Since: at[1], Until: at[3]}, pick(2, 1)},
			"some of these":   {store.AuditFilter{Within: "acme", Actor: "key_0", Since: at[1]}, pick(4)},
			"all of these":    {store.AuditFilter{Within: "acme", Actor: "key_0", Object: "lnk_1", Action: "link.", Until: at[2]}, pick(0)},
			"none":            {store.AuditFilter{Within: "acme", Object: "lnk_3"}, nil},
		} {
			e.same(name, e.actions(x.f), x.want)
		}
	}},
	{"an entry is written with the change that it is about", func(e *env) {
		for name, change := range e.changes() {
			x := entry("did."+name, "acme", name)
			ctx := store.Audited(e.ctx, x)
			e.must(change(ctx))
			e.same("entries of "+name, e.actions(store.AuditFilter{Object: name}), []string{"did." + name + " " + name})
			e.must(e.s.SetMeta(ctx, name, "once more"))
			e.same("entries of "+name+" after another change", len(e.actions(store.AuditFilter{Object: name})), 1)
		}
		e.crash()
		e.same("entries", len(e.actions(store.AuditFilter{})), len(e.changes()))
	}},
	{"an entry is written with an event or a result that has it", func(e *env) {
		a := e.event(linkA)
		a.Audit = entry("event.replayed", "acme/repos/1", "evt_1")
		e.accept(a)
		e.accept(e.event(linkB))
		again := *a
		again.Audit = entry("event.replayed", "acme", "evt_2")
		if _, err := e.s.Accept(e.ctx, &again); !errors.Is(err, store.ErrConflict) {
			e.Errorf("the same event: got %v, want ErrConflict", err)
		}
		b := e.accept(e.held(linkA, linkB))
		for i := range 2 {
			o := e.outcome(b, i+1, 0, patchbay.DeliveryCancelled)
			o.WasQueued, o.Audit = true, entry("delivery.cancelled", "acme/repos/1", fmt.Sprint("dlv_", i))
			e.s.Record([]store.Outcome{e.outcome(a, 1, 1, patchbay.DeliverySucceeded), o}, nil)
		}
		e.must(e.s.Flush(e.ctx))
		for range 2 {
			e.same("entries", e.actions(store.AuditFilter{Within: "acme/repos"}), []string{"delivery.cancelled dlv_1", "delivery.cancelled dlv_0", "event.replayed evt_1"})
			e.same("all", len(e.actions(store.AuditFilter{})), 3)
			want := entry("event.replayed", "acme/repos/1", "evt_1")
			got := e.entries(store.AuditFilter{Object: "evt_1", Limit: 2})
			want.ID = got[0].ID
			e.same("entry", got, []store.AuditEntry{*want})
			e.crash()
		}
	}},
	{"neither is there an entry without a change", func(e *env) {
		e.must(e.s.SaveLink(e.ctx, e.link(linkA, 1)))
		ctx := func() context.Context { return store.Audited(e.ctx, entry("link.updated", "acme", "lnk_1")) }
		e.wantErr("a revision that is not the next", e.s.SaveLink(ctx(), e.link(linkA, 3)), store.ErrConflict)
		e.wantErr("a link that is not there", e.s.DeleteLink(ctx(), linkB, e.now()), store.ErrNotFound)
		e.wantErr("a key that is not there", e.s.DeleteKey(ctx(), 7), store.ErrNotFound)
		e.wantErr("a session that is not there", e.s.DeleteSession(ctx(), 7), store.ErrNotFound)
		_, err := e.s.SwapMeta(ctx(), "meta", "what it is not", "b")
		e.must(err)
		e.same("entries", len(e.actions(store.AuditFilter{})), 0)
		e.wantErr("a type that is not there", e.s.DeleteType(ctx(), "k"), store.ErrNotFound)
		gone, cancel := context.WithCancel(ctx())
		cancel()
		if err := e.s.SetMeta(gone, "a", "b"); err != nil && !errors.Is(err, context.Canceled) {
			e.Errorf("got %v, want context.Canceled", err)
		} else if err != nil {
			e.same("entries", len(e.actions(store.AuditFilter{})), 0)
		}
	}},
	{"nor a change without its entry", func(e *env) {
		e.h.Exec(e.t, e.s, "DROP TABLE audit_word")
		err := e.s.SaveLink(store.Audited(e.ctx, entry("link.created", "acme", "lnk_1")), e.link(linkA, 1))
		if err == nil {
			e.Error("a change was made whose entry cannot be written")
		}
		if _, err := e.s.LinkNow(e.ctx, linkA); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("the link: got %v, want ErrNotFound", err)
		}
		e.must(e.s.SaveLink(e.ctx, e.link(linkA, 1)))
	}},
	{"a context's entry is written once that a transaction commits", func(e *env) {
		ctx := store.Audited(e.ctx, entry("link.created", "acme", "lnk_1"))
		e.wantErr("a revision that is not the next", e.s.SaveLink(ctx, e.link(linkA, 3)), store.ErrConflict)
		e.must(e.s.SaveLink(ctx, e.link(linkA, 1)))
		e.must(e.s.SaveLink(ctx, e.link(linkA, 2)))
		e.same("entries", e.actions(store.AuditFilter{}), []string{"link.created lnk_1"})
	}},
	{"concurrent changes each have their own", func(e *env) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				name := fmt.Sprint("meta ", i)
				if err := e.s.SetMeta(store.Audited(e.ctx, entry("meta.set", "acme", name)), name, "x"); err != nil {
					e.Error(err)
				}
			})
		}
		wg.Wait()
		seen := map[string]bool{}
		for _, x := range e.actions(store.AuditFilter{Action: "meta."}) {
			seen[x] = true
		}
		e.same("entries", len(seen), 20)
	}},
	{"old entries are forgotten", func(e *env) {
		for i := range 5 {
			e.written(entry("link.updated", "acme", fmt.Sprint("lnk_", i)))
			e.clock.forward(time.Hour)
		}
		before := e.now().Add(-2 * time.Hour)
		more, err := e.s.PruneAudit(e.ctx, before, 2)
		e.must(err)
		e.same("there is more", more, true)
		for more {
			more, err = e.s.PruneAudit(e.ctx, before, 2)
			e.must(err)
		}
		for range 2 {
			e.same("left", e.actions(store.AuditFilter{Within: "acme"}), []string{"link.updated lnk_4", "link.updated lnk_3"})
			e.same("left of all", len(e.actions(store.AuditFilter{})), 2)
			e.crash()
		}
	}},
	{"an erasure of a tenant takes its entries", func(e *env) {
		for i := range 700 {
			e.must(e.s.WriteAudit(e.ctx, entry("link.updated", patchbay.Scope([]string{"acme", "acme/x", "acmex", "", "acm"}[i%5]), "lnk_1")))
		}
		e.written(entry("tenant.erased", "", "job_1"))
		for more := true; more; {
			var err error
			_, more, err = e.s.EraseTenant(e.ctx, "acme")
			e.must(err)
		}
		for range 2 {
			e.same("of the tenant", e.actions(store.AuditFilter{Within: "acme"}), []string(nil))
			e.same("of another", len(e.actions(store.AuditFilter{Within: "acmex"})), 140)
			e.same("of all", len(e.actions(store.AuditFilter{})), 3*140+1)
			e.crash()
		}
	}},
	{"after Close", func(e *env) {
		e.must(e.s.Close())
		_, list := e.s.AuditEntries(e.ctx, store.AuditFilter{Limit: 1})
		_, prune := e.s.PruneAudit(e.ctx, e.now(), 1)
		for _, err := range []error{e.s.WriteAudit(e.ctx, entry("a.b", "", "c")), list, prune} {
			e.wantErr("after Close", err, store.ErrClosed)
		}
	}},
}
