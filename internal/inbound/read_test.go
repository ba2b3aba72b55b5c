package inbound

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/store"
)

const appPath = "/integrations/partner/hook"

// A shared app's call reaches the links of the account that was signed for, each in its own scope, and nobody else's.
func TestAppCallsReachTheirAccount(t *testing.T) {
	r := newRig(t).start()
	r.connection(11, "acme", "A")
	r.connection(12, "acme/teams/2", "A")
	r.connection(21, "globex", "B")
	r.connection(31, "initech", "A") // the same account, connected by another tenant
	r.link(1, "acme/teams/1", 11)
	r.link(2, "acme/teams/2", 12)
	r.link(3, "globex", 21)
	r.link(4, "initech", 31)
	// Links that claim a connection that is not theirs, as after a mistake elsewhere.
	r.link(5, "umbrella", 11)
	stolen, _ := r.link(6, "globex", 21)
	stolen.Link.Connection = 11
	off, _ := r.link(7, "acme", 11)
	off.Link.Enabled = false
	if status := r.post(appPath, body(message{ID: "m1", Account: "A", Text: "hello"}), appSecret); status != 202 {
		t.Fatal(status)
	}
	v := r.settled(1)[0]
	var scopes []string
	for _, e := range r.brought() {
		scopes = append(scopes, string(e.Scope))
	}
	slices.Sort(scopes)
	if want := []string{"acme/teams/1", "acme/teams/2", "initech"}; !slices.Equal(scopes, want) {
		t.Fatalf("it became events in %q, want %q", scopes, want)
	}
	if v.State != patchbay.HookDone || len(v.Links) != 3 || v.Scope == nil || *v.Scope != "" {
		t.Fatalf("%+v", v)
	}
	// What reached several tenants is shown to none of them.
	if _, err := r.service.Get(t.Context(), callerOf("acme", access.Read), v.ID); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Fatalf("a tenant sees a call that reached another one too: %v", err)
	}
}

func TestUnplacedCallsAreKeptAndReplayed(t *testing.T) {
	r := newRig(t).start()
	text := body(message{ID: "m1", Account: "A", Text: "hello"})
	if status := r.post(appPath, text, appSecret); status != 202 {
		t.Fatal(status)
	}
	v := r.settled(1)[0]
	if v.State != patchbay.HookUnplaced || v.Scope != nil || v.Account != "A" || v.Reason == "" {
		t.Fatalf("%+v", v)
	}
	for _, c := range []*access.Caller{callerOf("acme", access.Manage), callerOf("", access.Publish)} {
		if _, err := r.service.Replay(t.Context(), c, v.ID); err == nil {
			t.Fatalf("%+v replays what nobody can place", c)
		}
		views, _, _ := r.service.List(t.Context(), c, Query{Limit: 10})
		if len(views) != 0 {
			t.Fatalf("%+v lists what nobody can place", c)
		}
	}
	if _, err := r.service.Replay(t.Context(), callerOf("", access.Read), v.ID); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Fatalf("who may only read replays: %v", err)
	}
	r.connection(11, "acme", "A")
	r.link(1, "acme/teams/1", 11)
	for range 2 { // the second time it is what it was
		again, err := r.service.Replay(t.Context(), callerOf("", access.Manage), v.ID)
		if err != nil {
			t.Fatal(err)
		}
		if again.State != patchbay.HookDone || *again.Scope != "acme/teams/1" || len(again.Events) != 1 {
			t.Fatalf("%+v", again)
		}
	}
	if n := len(r.brought()); n != 1 {
		t.Fatalf("it became %d events", n)
	}
	if _, err := r.service.Get(t.Context(), callerOf("acme", access.Read), v.ID); err != nil {
		t.Fatalf("its tenant does not see it now: %v", err)
	}
	if _, err := r.service.Get(t.Context(), callerOf("globex", access.Read), v.ID); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Fatalf("another tenant sees it: %v", err)
	}
}

// What was erased stays erased, and what it became stays what it was.
func TestErasedCallsAreNotReplayed(t *testing.T) {
	r := newRig(t)
	r.link(1, "acme", 0, "secret")
	h := &store.Hook{ID: patchbay.HookID(r.store.NewID(1)), Integration: "partner", Link: 1, Placed: true, Scope: "acme", ReceivedAt: time.Now(), Key: [16]byte{1}}
	if _, err := r.store.SaveHook(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	h.State, h.Events = patchbay.HookDone, []patchbay.EventID{1}
	if err := r.store.FinishHook(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if _, err := r.service.Replay(t.Context(), admin, h.ID); patchbay.CodeOf(err) != patchbay.CodeConflict {
		t.Fatalf("an erased call is read again: %v", err)
	}
	if v, err := r.service.Get(t.Context(), admin, h.ID); err != nil || v.State != patchbay.HookDone || len(v.Events) != 1 {
		t.Fatalf("%+v %v", v, err)
	}
}

func TestEntries(t *testing.T) {
	r := newRig(t).start()
	_, path := r.link(1, "acme/teams/1", 0, "secret")
	elsewhere := r.connection(21, "globex", "ann") // of another tenant: not the same person for anybody here
	elsewhere.Owner, elsewhere.OwnerScope = "mallory", new(patchbay.Scope("globex/users/mallory"))
	r.connection(22, "acme", "ann") // of nobody in particular
	ann := r.connection(23, "acme/users/ann", "ann")
	ann.Owner, ann.OwnerScope = "user-7", new(patchbay.Scope("acme/users/ann"))
	actor := &integration.Person{ID: "ann", Name: "Ann", Email: "ann@example.com", Avatar: "https://x/a.png", URL: "https://x/ann"}
	if status := r.post(path, body(message{ID: "m1", Entry: "Shipped it", Actor: actor}), "secret"); status != 202 {
		t.Fatal(status)
	}
	r.settled(1)
	events := r.brought()
	if len(events) != 2 {
		t.Fatalf("%d events", len(events))
	}
	e := events[1]
	if e.Type != "entry.created" || e.Scope != "acme/teams/1" || !slices.Equal(e.Also, []patchbay.Scope{"acme/users/ann"}) {
		t.Fatalf("%+v", e)
	}
	day := time.Now().UTC().Format(time.DateOnly)
	want := `{"text":"Shipped it","occurred_on":"` + day + `","source":"partner","external_id":"m1","author":{"external_id":"ann","name":"Ann","email":"ann@example.com"}}`
	if string(e.Payload) != want {
		t.Fatalf("payload %s\nwant %s", e.Payload, want)
	}
	if want := `{"name":"Ann","avatar":"https://x/a.png","url":"https://x/ann","id":"ann","email":"ann@example.com","user":"user-7"}`; string(e.Actor) != want || string(events[0].Actor) != want {
		t.Fatalf("actor %s\nwant %s", e.Actor, want)
	}
	if len(events[0].Also) != 0 {
		t.Fatalf("the partner's own event is told to the person's scope too: %+v", events[0])
	}
}

// In a workspace that many people share, the person is found by what their own connection knows.
func TestSharedAccounts(t *testing.T) {
	r := newRig(t, func(r *rig) { r.all["partner"] = recognizing{r.partner} }).start()
	for i, name := range []string{"bob", "ann"} {
		con := r.connection(patchbay.ConnectionID(11+i), "acme", "workspace")
		con.Owner, con.OwnerScope, con.Data = name, new(patchbay.Scope("acme/users/"+name)), json.RawMessage(`{"person":"U-`+name+`"}`)
	}
	r.link(1, "acme/teams/1", 11)
	if status := r.post(appPath, body(message{Account: "workspace", Entry: "x", Actor: &integration.Person{ID: "U-ann"}}), appSecret); status != 202 {
		t.Fatal(status)
	}
	r.settled(1)
	if e := r.brought()[1]; !slices.Equal(e.Also, []patchbay.Scope{"acme/users/ann"}) || !strings.Contains(string(e.Actor), `"user":"ann"`) {
		t.Fatalf("%+v %s", e, e.Actor)
	}
}

func TestWhatBecomesNothing(t *testing.T) {
	r := newRig(t).start()
	target, path := r.link(1, "acme/teams/1", 0, "secret")
	for _, x := range []struct {
		name string
		m    message
		text string
		set  func(l *patchbay.Link)
		want patchbay.HookState
	}{
		{name: "our own", m: message{Own: true}, want: patchbay.HookIgnored},
		{name: "the last hop", m: message{Hops: 3}, want: patchbay.HookIgnored},
		{name: "one hop before", m: message{Hops: 2}, want: patchbay.HookDone},
		{name: "negative hops", m: message{Hops: -5}, want: patchbay.HookDone},
		{name: "another tenant's scope", m: message{Scope: new(patchbay.Scope("globex"))}, want: patchbay.HookFailed},
		{name: "a scope above", m: message{Scope: new(patchbay.Scope("acme"))}, want: patchbay.HookFailed},
		{name: "a scope beside", m: message{Scope: new(patchbay.Scope("acme/teams/10"))}, want: patchbay.HookFailed},
		{name: "a scope below", m: message{Scope: new(patchbay.Scope("acme/teams/1/x"))}, want: patchbay.HookDone},
		{name: "unreadable", text: "{", want: patchbay.HookFailed},
		{name: "not text", text: "\xff\x00", want: patchbay.HookFailed},
		{name: "panic", m: message{Panic: true}, want: patchbay.HookFailed},
		{name: "paused", set: func(l *patchbay.Link) { l.State = patchbay.LinkPaused }, want: patchbay.HookDone},
		{name: "attaching", set: func(l *patchbay.Link) { l.State = patchbay.LinkAttaching }, want: patchbay.HookDone},
		{name: "disabled", set: func(l *patchbay.Link) { l.Enabled = false }, want: patchbay.HookIgnored},
		{name: "detaching", set: func(l *patchbay.Link) { l.State = patchbay.LinkDetaching }, want: patchbay.HookIgnored},
	} {
		*target.Link = patchbay.Link{ID: 1, Integration: "partner", Scope: "acme/teams/1", Enabled: true, State: patchbay.LinkActive}
		if x.set != nil {
			x.set(target.Link)
		}
		before := len(r.list(Query{}))
		x.m.ID = x.name
		if x.text == "" {
			x.text = body(x.m)
		}
		if status := r.post(path, x.text, "secret"); status >= 300 {
			t.Fatalf("%s: answered %d", x.name, status)
		}
		v := r.settled(before + 1)[0]
		if v.State != x.want || v.State != patchbay.HookDone && v.Reason == "" {
			t.Errorf("%s: %s %q, want %s", x.name, v.State, v.Reason, x.want)
		}
		if v.State != patchbay.HookDone && len(v.Events) > 0 {
			t.Errorf("%s became events", x.name)
		}
	}
	for _, e := range r.brought() {
		if e.Hops < 1 || e.Hops > patchbay.MaxHops {
			t.Errorf("%d hops", e.Hops)
		}
	}
}

// What was set up for a link at the partner is known when a call for it is read.
func TestReadingKnowsWhatWasSetUp(t *testing.T) {
	r := newRig(t).start()
	target, path := r.link(1, "acme", 0, "secret")
	target.Link.Attached = &patchbay.Attached{State: []byte(`{"id":1001}`)}
	var state string
	r.partner.read = func(_ context.Context, c *integration.HookCall) (*integration.Reading, error) {
		state = string(c.State)
		return &integration.Reading{Ignored: "Read."}, nil
	}
	if status := r.post(path, body(message{ID: "a"}), "secret"); status >= 300 {
		t.Fatalf("answered %d", status)
	}
	if r.settled(1); state != `{"id":1001}` {
		t.Errorf("the state %q", state)
	}
}

// A payload that the catalog refuses is kept with what is wrong with it, and can be replayed.
func TestRefusedEventsAreKept(t *testing.T) {
	r := newRig(t).start()
	_, path := r.link(1, "acme", 0, "secret")
	r.refuse = func(e *ingest.Brought) error {
		if e.Type == "partner.message" {
			return patchbay.Invalid("payload.text", "is required")
		}
		return nil
	}
	r.post(path, body(message{ID: "m1", Entry: "x"}), "secret")
	v := r.settled(1)[0]
	if v.State != patchbay.HookFailed || !strings.Contains(v.Reason, "payload.text: is required") || len(v.Events) != 1 {
		t.Fatalf("%+v", v)
	}
	r.mu.Lock()
	r.refuse = nil
	r.mu.Unlock()
	again, err := r.service.Replay(t.Context(), admin, v.ID)
	if err != nil || again.State != patchbay.HookDone || len(again.Events) != 2 || again.Reason != "" {
		t.Fatalf("%+v %v", again, err)
	}
	if len(r.brought()) != 2 {
		t.Fatalf("%d events", len(r.brought()))
	}
}

// What may work later is tried again, and says so meanwhile.
func TestLater(t *testing.T) {
	var offset atomic.Int64
	r := newRig(t, func(r *rig) {
		r.now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	}).start()
	_, path := r.link(1, "acme", 0, "secret")
	r.refuse = func(*ingest.Brought) error {
		return &patchbay.Error{Code: patchbay.CodeRateLimited, Message: "quota", RetryAfter: 3600, Err: errors.New("internal detail")}
	}
	r.post(path, body(message{ID: "m1"}), "secret")
	var v View
	eventually(t, func() bool { v = r.list(Query{})[0]; return v.Reads == 1 }, "the first try")
	if v.State != patchbay.HookPending || !strings.Contains(v.Reason, "quota") || strings.Contains(v.Reason, "detail") {
		t.Fatalf("%+v", v)
	}
	offset.Add(int64(30 * time.Minute))
	r.service.wake()
	_, other := r.link(2, "acme", 0, "secret")
	r.mu.Lock()
	r.refuse = nil
	r.mu.Unlock()
	r.post(other, body(message{ID: "m2"}), "secret") // what waits holds up nobody
	eventually(t, func() bool { return r.list(Query{Link: 2})[0].State == patchbay.HookDone }, "another call")
	if v = r.list(Query{Link: 1})[0]; v.Reads != 1 {
		t.Fatalf("it was read before its time: %+v", v)
	}
	offset.Add(int64(time.Hour))
	r.service.wake()
	if v = r.settled(2)[1]; v.State != patchbay.HookDone || v.Reads != 2 {
		t.Fatalf("%+v", v)
	}
}

// What keeps failing ends as failed, where it can be replayed.
func TestTriesEnd(t *testing.T) {
	r := newRig(t)
	_, path := r.link(1, "acme", 0, "secret")
	r.refuse = func(*ingest.Brought) error { return errors.New("broken") }
	r.post(path, body(message{ID: "m1"}), "secret")
	h, err := r.store.Hook(t.Context(), r.list(Query{})[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	total := time.Duration(0)
	for range readsMost - 1 {
		again := r.service.read(t.Context(), h, nil)
		if again.IsZero() || h.State != patchbay.HookPending {
			t.Fatalf("read %d times: %s, again at %s", h.Reads, h.State, again)
		}
		total += time.Until(again)
	}
	if total < 3*time.Hour || total > 6*time.Hour {
		t.Errorf("the tries are spread over %s", total)
	}
	if again := r.service.read(t.Context(), h, nil); !again.IsZero() || h.State != patchbay.HookFailed {
		t.Fatalf("it ends %s", h.State)
	}
}

// Killed between the answer and the events: the next run makes them, once.
func TestKilledBeforeReading(t *testing.T) {
	b := &broken{}
	r := newRig(t, func(r *rig) { r.hooks = b })
	_, path := r.link(1, "acme", 0, "secret")
	for i := range 20 { // nothing is started, so nothing is read
		if status := r.post(path, body(message{ID: fmt.Sprint(i)}), "secret"); status != 202 {
			t.Fatal(status)
		}
	}
	// One became its event, and the process died before it could note that.
	h, err := r.store.Hook(t.Context(), r.list(Query{})[5].ID)
	if err != nil {
		t.Fatal(err)
	}
	b.set(nil, store.ErrUnavailable)
	if again := r.service.read(t.Context(), h, nil); again.IsZero() || len(r.brought()) != 1 {
		t.Fatal("what could not be noted is not read again")
	}
	b.set(nil, nil)
	r.server.Close()
	r.stop()
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.serve()
	r.start()
	for _, v := range r.settled(20) {
		if v.State != patchbay.HookDone || len(v.Events) != 1 {
			t.Fatalf("%+v", v)
		}
	}
	if n := len(r.brought()); n != 20 {
		t.Fatalf("20 calls became %d events", n)
	}
}

// What another node has taken in is left to it for a while.
func TestOtherNodes(t *testing.T) {
	var offset atomic.Int64
	r := newRig(t, func(r *rig) { r.now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) } })
	r.link(1, "acme", 0, "secret")
	now := r.now()
	theirs := &store.Hook{ID: patchbay.HookID(r.store.NewID(1) + 1), Integration: "partner", Link: 1, ReceivedAt: now, Body: []byte(`{}`), Key: [16]byte{1}}
	if _, err := r.store.SaveHook(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	if skipped, err := r.service.find(t.Context()); err != nil || skipped != 1 || r.service.Pending() != 0 {
		t.Fatalf("another node's call is taken at once: %d %v", skipped, err)
	}
	offset.Add(int64(othersAge + time.Second))
	r.start()
	r.settled(1)
}

// Ten thousand calls that wait are read with a few in memory.
func TestManyPending(t *testing.T) {
	b := &broken{}
	r := newRig(t, func(r *rig) { r.hooks = b })
	const links, size = 5, 8 << 10
	calls := 10_000
	if underRace { // which takes many times as long, and shows the same of what is in memory at one time
		calls = 3_000
	}
	for i := range links {
		r.link(patchbay.LinkID(i+1), "acme", 0, "secret")
	}
	filler := strings.Repeat("x", size)
	var saving sync.WaitGroup
	for worker := range 16 {
		saving.Go(func() {
			for i := worker; i < calls; i += 16 {
				h := &store.Hook{ID: patchbay.HookID(r.store.NewID(1)), Integration: "partner", Link: patchbay.LinkID(i%links + 1), Placed: true,
					Scope: "acme", ReceivedAt: time.Now(), Body: []byte(body(message{ID: fmt.Sprint(i), Text: filler}))}
				h.Key[0], h.Key[1] = byte(i), byte(i>>8)
				if _, err := r.store.SaveHook(context.Background(), h); err != nil {
					t.Error(err)
				}
			}
		})
	}
	saving.Wait()
	var count atomic.Int64
	var peak uint64
	r.partner.read = func(context.Context, *integration.HookCall) (*integration.Reading, error) {
		r.partner.mu.Lock()
		r.partner.calls = nil
		if n := count.Add(1); n%500 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
		r.partner.mu.Unlock()
		return &integration.Reading{Ignored: "no"}, nil
	}
	r.start()
	eventually(t, func() bool { return count.Load() >= int64(calls) && r.service.Pending() == 0 }, "all to be read")
	if n := len(r.list(Query{States: []patchbay.HookState{patchbay.HookPending}})); n != 0 || count.Load() != int64(calls) {
		t.Fatalf("%d pending; %d reads of %d calls", n, count.Load(), calls)
	}
	if b.page > findPage {
		t.Errorf("%d calls were in memory at one time", b.page)
	}
	if peak > 64<<20 {
		t.Errorf("the heap grew to %d MiB for %d MiB of calls", peak>>20, calls*size>>20)
	}
}

// The calls of one link are read in the order in which they came in.
func TestOrderOfOneLink(t *testing.T) {
	r := newRig(t)
	_, path := r.link(1, "acme", 0, "secret")
	for i := range 30 {
		r.post(path, body(message{ID: fmt.Sprint(i), Text: fmt.Sprint(i)}), "secret")
	}
	r.start()
	for i := 30; i < 60; i++ {
		r.post(path, body(message{ID: fmt.Sprint(i), Text: fmt.Sprint(i)}), "secret")
	}
	r.settled(60)
	for i, e := range r.brought()[:30] { // what is found at the start stands before what comes later
		if want := fmt.Sprintf(`{"text":"%d"}`, i); string(e.Payload) != want {
			t.Fatalf("event %d is %s", i, e.Payload)
		}
	}
}
