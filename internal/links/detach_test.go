package links

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/deliver"
)

// TestDetach deletes a link at once, and takes its side at the partner down over failures and a restart.
func TestDetach(t *testing.T) {
	dir := t.TempDir()
	var tries atomic.Int32
	var broken atomic.Bool
	broken.Store(true)
	h := &hub{attach: works, detach: func(context.Context, *integration.Attachment) integration.Result {
		tries.Add(1)
		if broken.Load() {
			return integration.Retry("the hub failed with status 500")
		}
		return integration.Delivered()
	}}
	f := newHub(t, dir, h)
	v := f.must(f.create(admin, strings.Replace(aHub, `"settings"`, `"events":["a"],"settings"`, 1)))
	token := (*v.HookURL)[strings.LastIndexByte(*v.HookURL, '/')+1:]
	if err := f.Delete(t.Context(), admin, v.ID); err != nil {
		t.Fatal(err)
	}
	if got := f.state(v.ID); got != patchbay.LinkDetaching || f.matched("a", "acme/teams/1") != nil || len(f.engine.removed) != 1 {
		t.Errorf("after the deletion it is %q", got)
	}
	if _, ok := f.HookLink("hub", token); ok {
		t.Error("its hook still leads to it")
	}
	if err := f.Delete(t.Context(), admin, v.ID); err != nil {
		t.Errorf("deleting it again: %v", err)
	}
	if _, err := f.Update(t.Context(), admin, v.ID, Input{Name: new("x")}, nil, 0); patchbay.CodeOf(err) != patchbay.CodeConflict {
		t.Errorf("changing it: %v", err)
	}
	f.until("it is tried again", func() bool { return tries.Load() > 2 && strings.Contains(f.reason(v.ID), "status 500") })
	if err := f.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	f = newHub(t, dir, h)
	if f.matched("a", "acme/teams/1") != nil || f.engine.links[v.ID] != nil {
		t.Error("after a restart it is in use")
	}
	broken.Store(false)
	f.until("it is gone", func() bool { return f.state(v.ID) == "" })
	if d := h.detachments(); string(d[len(d)-1].State) != `{"hook":1}` {
		t.Errorf("taken down was %s", d[len(d)-1].State)
	}
}

// TestDetachGivenUp ends a removal that cannot succeed, and says what may remain.
func TestDetachGivenUp(t *testing.T) {
	dead := integration.Expired("the hub does not take the token any more")
	for name, test := range map[string]struct {
		answer   integration.Result
		patience time.Duration
		want     string
	}{
		"refused":    {coded(http.StatusForbidden), time.Hour, "the hub answered 403"},
		"not found":  {coded(http.StatusNotFound), time.Hour, "the hub answered 404"},
		"dead token": {dead, time.Hour, "does not take the token"},
		"too long":   {integration.Retry("the hub is down"), 50 * time.Millisecond, "the hub is down"},
	} {
		t.Run(name, func(t *testing.T) {
			var told raised
			h := &hub{attach: works, detach: func(context.Context, *integration.Attachment) integration.Result { return test.answer }}
			f := newHub(t, t.TempDir(), h, told.option)
			f.rhythm.patience = test.patience
			v := f.must(f.create(admin, aHub))
			if err := f.Delete(t.Context(), admin, v.ID); err != nil {
				t.Fatal(err)
			}
			f.until("it is gone", func() bool { return f.state(v.ID) == "" })
			n := told.all()
			if len(n) != 1 || n[0].Type != deliver.NoticeDetached || n[0].Link != v.ID || !strings.Contains(n[0].Why, test.want) || !strings.Contains(n[0].Why, "remove it there by hand") {
				t.Errorf("told was %+v", n)
			}
		})
	}
}

// TestDetachWhatIsBeingAttached deletes a link in the middle of its creation: what comes of that is taken down too.
func TestDetachWhatIsBeingAttached(t *testing.T) {
	release := make(chan struct{})
	h := &hub{attach: func(ctx context.Context, a *integration.Attachment) (*integration.Attached, integration.Result) {
		<-release
		return works(ctx, a)
	}}
	f := newHub(t, t.TempDir(), h)
	f.rhythm.answer = time.Millisecond
	v := f.must(f.create(admin, aHub))
	if err := f.Delete(t.Context(), admin, v.ID); err != nil {
		t.Fatal(err)
	}
	if got := f.state(v.ID); got != patchbay.LinkDetaching {
		t.Errorf("it is %q", got)
	}
	close(release)
	f.until("it is gone", func() bool { return f.state(v.ID) == "" })
	if d := h.detachments(); len(d) != 1 || string(d[0].State) != `{"hook":1}` {
		t.Errorf("taken down was %+v", d)
	}
}

// TestOthersLinks leaves alone what other nodes see to, until it is this node's.
func TestOthersLinks(t *testing.T) {
	var mine atomic.Bool
	var tries atomic.Int32
	h := &hub{attach: func(ctx context.Context, a *integration.Attachment) (*integration.Attached, integration.Result) {
		if tries.Add(1) == 1 {
			return nil, integration.Retry("not yet")
		}
		return works(ctx, a)
	}}
	f := newHub(t, t.TempDir(), h, func(o *Options) { o.Owns = func(patchbay.LinkID) bool { return mine.Load() } })
	v := f.must(f.create(admin, aHub))
	time.Sleep(100 * time.Millisecond)
	if tries.Load() != 1 {
		t.Fatalf("it was tried %d times", tries.Load())
	}
	mine.Store(true)
	f.until("it is attached", func() bool { return f.state(v.ID) == patchbay.LinkActive })
}

// TestTwoNodes makes a link at one node and deletes it there; the other one, whose link it is, does the rest.
func TestTwoNodes(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	h := &hub{
		attach: func(ctx context.Context, a *integration.Attachment) (*integration.Attached, integration.Result) {
			if broken.Load() {
				return nil, integration.Retry("the hub failed with status 500")
			}
			return works(ctx, a)
		},
		detach: func(context.Context, *integration.Attachment) integration.Result { return integration.Delivered() },
	}
	a := newHub(t, t.TempDir(), h, func(o *Options) { o.Owns = func(patchbay.LinkID) bool { return false } })
	b := &fixture{t: t, db: a.db, engine: &engine{links: map[patchbay.LinkID]*deliver.Link{}}}
	o := a.o
	o.Owns, o.Engine = nil, b.engine
	b.Service = New(o)
	b.rhythm = hasty
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Stop(context.Background()) })
	hear := func(f *fixture, id patchbay.LinkID) func() bool {
		return func() bool {
			if err := f.Refresh(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			return f.state(id) == patchbay.LinkActive
		}
	}
	v := a.must(a.create(admin, aHub))
	if v.State != patchbay.LinkAttaching {
		t.Fatalf("it is %s", v.State)
	}
	target, ok := a.HookTarget(v.ID)
	if !ok {
		t.Fatal("it does not receive")
	}
	if err := b.Refresh(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	if got, ok := b.HookLink("hub", target.Link.Hook.Token.Reveal()); !ok || got.Link.ID != v.ID {
		t.Error("the other node does not know its hook")
	}
	broken.Store(false)
	b.until("the owner attaches it", hear(b, v.ID))
	a.until("the first hears of it", hear(a, v.ID))
	if err := a.Delete(t.Context(), admin, v.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.Refresh(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	b.until("the owner takes it down", func() bool { return b.state(v.ID) == "" })
	if err := a.Refresh(t.Context(), v.ID); err != nil || a.state(v.ID) != "" {
		t.Errorf("the first still has it: %v", err)
	}
	if n := len(h.detachments()); n != 1 {
		t.Errorf("it was taken down %d times", n)
	}
}
