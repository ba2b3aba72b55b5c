package links

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

func rejected(text string) integration.Result {
	return integration.UserError("%s", text)
}

func coded(code int) integration.Result {
	r := integration.UserError("the hub answered %d", code)
	r.Code = code
	return r
}

// TestAttach creates a link whose partner calls back while the hook is being registered.
func TestAttach(t *testing.T) {
	dir, h := t.TempDir(), &hub{}
	var f *fixture
	h.attach = func(ctx context.Context, a *integration.Attachment) (*integration.Attached, integration.Result) {
		token := a.HookURL[strings.LastIndexByte(a.HookURL, '/')+1:]
		target, ok := f.HookLink("hub", token)
		if !ok || !target.Attaching || target.Link.ID != a.Link {
			t.Errorf("while it is being attached its hook leads to %+v, %v", target, ok)
		}
		if f.matched("x", "acme/teams/1") != nil {
			t.Error("it matches while it is being attached")
		}
		if err := f.Learn(ctx, a.Link, "told-by-the-partner"); err != nil {
			t.Errorf("learning the secret: %v", err)
		}
		return &integration.Attached{State: json.RawMessage(`{"hook":1}`)}, integration.Delivered()
	}
	f = newHub(t, dir, h)
	v := f.must(f.create(admin, aHub))
	if v.State != patchbay.LinkActive || v.StateReason != nil {
		t.Errorf("it is %s, %v", v.State, v.StateReason)
	}
	if v.HookURL == nil || !strings.HasPrefix(*v.HookURL, "https://patchbay.example/integrations/hub/hook/") || len(*v.HookURL) < 70 {
		t.Errorf("its hook is %v", v.HookURL)
	}
	if v.Summary != "hub.push from acme/web → acme/teams/1" || v.ShortName != "Hub acme/web" {
		t.Errorf("it reads %q, %q", v.Summary, v.ShortName)
	}
	check := func(f *fixture) {
		t.Helper()
		target, ok := f.HookTarget(v.ID)
		if !ok || target.Attaching || target.Target != "acme/web" || target.Short != "Hub acme/web" || target.Settings.(*hubSettings).Place != "acme/web" {
			t.Fatalf("the hook leads to %+v, %v", target, ok)
		}
		if got := target.Secrets(time.Now()); len(got) != 1 || got[0] != "told-by-the-partner" {
			t.Errorf("the secrets are %d", len(got))
		}
		if a := target.Link.Attached; a == nil || string(a.State) != `{"hook":1}` || a.Stale {
			t.Errorf("what was set up is %+v", a)
		}
		if err := f.Learn(t.Context(), v.ID, "forged"); patchbay.CodeOf(err) != patchbay.CodeConflict {
			t.Errorf("a secret that comes too late: %v", err)
		}
	}
	check(f)
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	f = newHub(t, dir, h)
	check(f)
	if n := len(h.attachments()); n != 1 {
		t.Errorf("it was attached %d times", n)
	}
}

// TestAttachRefused shows that a link that the partner refuses is not left behind, and what was made for it is not either.
func TestAttachRefused(t *testing.T) {
	var told raised
	h := &hub{attach: func(context.Context, *integration.Attachment) (*integration.Attached, integration.Result) {
		return nil, rejected("there is no place acme/web, says token-123456")
	}}
	f := newHub(t, t.TempDir(), h, told.option)
	_, err := f.create(admin, aHub)
	if patchbay.CodeOf(err) != patchbay.CodeUserConfigurationError || !strings.Contains(err.Error(), "no place acme/web") || strings.Contains(err.Error(), "token-123456") {
		t.Errorf("the answer is %v", err)
	}
	none := func() bool {
		views, _, err := f.List(t.Context(), admin, ListFilter{Limit: 10})
		return err == nil && len(views) == 0
	}
	if !none() || len(h.detachments()) != 0 {
		t.Error("it was left behind")
	}
	h.attach = func(context.Context, *integration.Attachment) (*integration.Attached, integration.Result) {
		return &integration.Attached{State: json.RawMessage(`"half"`)}, rejected("it stopped half way")
	}
	if _, err := f.create(admin, aHub); patchbay.CodeOf(err) != patchbay.CodeUserConfigurationError {
		t.Errorf("the answer is %v", err)
	}
	f.until("what was made is taken down", none)
	if d := h.detachments(); len(d) != 1 || string(d[0].State) != `"half"` {
		t.Errorf("taken down was %+v", d)
	}
	if n := told.all(); len(n) != 0 {
		t.Errorf("told was %+v", n)
	}
}

// TestAttachLater lets the partner fail, panic and hang, and then work.
func TestAttachLater(t *testing.T) {
	var tries atomic.Int32
	release := make(chan struct{})
	h := &hub{attach: func(ctx context.Context, a *integration.Attachment) (*integration.Attached, integration.Result) {
		switch tries.Add(1) {
		case 1:
			return nil, integration.Retry("the hub failed with status 500")
		case 2:
			panic("a bug with token-123456 in it")
		case 3:
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil, integration.Retry("the hub did not answer in time")
		}
		return works(ctx, a)
	}}
	f := newHub(t, t.TempDir(), h)
	v := f.must(f.create(admin, aHub))
	if v.State != patchbay.LinkAttaching || v.StateReason == nil || !strings.Contains(*v.StateReason, "status 500") {
		t.Errorf("it is %s, %v", v.State, v.StateReason)
	}
	f.until("it hangs", func() bool { return tries.Load() == 3 })
	if got := f.state(v.ID); got != patchbay.LinkAttaching {
		t.Errorf("while the partner hangs it is %s", got)
	}
	if _, err := f.Pause(t.Context(), admin, v.ID); patchbay.CodeOf(err) != patchbay.CodeConflict {
		t.Errorf("pausing it: %v", err)
	}
	close(release)
	f.until("it is attached", func() bool { return f.state(v.ID) == patchbay.LinkActive && f.reason(v.ID) == "" })
}

// TestAttachOutlivesTheRequest answers a request before a slow partner has, and goes on without it.
func TestAttachOutlivesTheRequest(t *testing.T) {
	release := make(chan struct{})
	h := &hub{attach: func(ctx context.Context, a *integration.Attachment) (*integration.Attached, integration.Result) {
		<-release
		return works(ctx, a)
	}}
	f := newHub(t, t.TempDir(), h)
	f.rhythm.answer, f.rhythm.grace = time.Millisecond, time.Hour
	v := f.must(f.create(admin, aHub))
	if v.State != patchbay.LinkAttaching {
		t.Errorf("it is %s", v.State)
	}
	close(release)
	f.until("it is attached", func() bool { return f.state(v.ID) == patchbay.LinkActive })
	if n := len(h.attachments()); n != 1 {
		t.Errorf("it was attached %d times", n)
	}
}

// TestAttachAfterACrash takes up again what a node began that died: the link was committed, and perhaps the hook made.
func TestAttachAfterACrash(t *testing.T) {
	dir := t.TempDir()
	h := &hub{attach: func(ctx context.Context, _ *integration.Attachment) (*integration.Attached, integration.Result) {
		<-ctx.Done() // the node is killed here
		return nil, integration.Retry("cut short")
	}}
	f := newHub(t, dir, h)
	f.rhythm.answer = time.Millisecond
	v := f.must(f.create(admin, aHub))
	if err := f.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	first := h.attachments()[0]
	h.attach = works
	f = newHub(t, dir, h)
	f.until("it is attached", func() bool { return f.state(v.ID) == patchbay.LinkActive })
	if last := h.attachments()[len(h.attachments())-1]; last.HookURL != first.HookURL || last.HookSecret != first.HookSecret {
		t.Error("the second try has another address than the first, so it cannot find what that one made")
	}
}

// TestAttachAnew brings the partner's side up to date when settings and secrets change, and takes back what it refuses.
func TestAttachAnew(t *testing.T) {
	h := &hub{attach: works}
	f := newHub(t, t.TempDir(), h)
	v := f.must(f.create(admin, aHub))
	change := func(settings string) (*View, error) {
		return f.Update(t.Context(), admin, v.ID, Input{Settings: json.RawMessage(settings)}, nil, 0)
	}
	f.must(change(`{"place":"acme/app"}`))
	if a := h.attachments(); len(a) != 2 || a[1].Settings.(*hubSettings).Place != "acme/app" || string(a[1].State) != `{"hook":1}` {
		t.Fatalf("attached was %+v", a)
	}
	f.must(f.Update(t.Context(), admin, v.ID, Input{Name: new("x")}, nil, 0))
	if n := len(h.attachments()); n != 2 {
		t.Errorf("a new name had it attached again")
	}
	secret := h.attachments()[1].HookSecret
	r := f.must(f.RotateSecret(t.Context(), admin, v.ID))
	a := h.attachments()
	if len(a) != 3 || a[2].HookSecret == secret || r.Secrets[hookSecret] != a[2].HookSecret.Reveal() {
		t.Errorf("after the rotation attached was %d times", len(a))
	}
	target, _ := f.HookTarget(v.ID)
	if got := target.Secrets(time.Now()); len(got) != 2 || got[1] != secret {
		t.Errorf("during the rotation there are %d secrets", len(got))
	}
	if got := target.Secrets(time.Now().Add(25 * time.Hour)); len(got) != 1 {
		t.Errorf("after it there are %d secrets", len(got))
	}
	h.attach = func(_ context.Context, a *integration.Attachment) (*integration.Attached, integration.Result) {
		if a.Settings.(*hubSettings).Place == "acme/gone" {
			return nil, rejected("there is no place acme/gone")
		}
		return works(nil, a) //nolint:staticcheck // it does not use it
	}
	if _, err := change(`{"place":"acme/gone"}`); patchbay.CodeOf(err) != patchbay.CodeUserConfigurationError {
		t.Errorf("a place that is not there: %v", err)
	}
	if v := f.must(f.Get(t.Context(), admin, v.ID)); !strings.Contains(string(v.Settings), "acme/app") || v.State != patchbay.LinkActive {
		t.Errorf("the change was kept: %s", v.Settings)
	}
	f.until("the partner has what was", func() bool {
		t, _ := f.HookTarget(v.ID)
		return !t.Link.Attached.Stale
	})
	if _, err := change(`{"receive":false}`); err == nil {
		t.Error("a link without events that does not receive was accepted")
	}
}

// TestUndo takes down what a link does not need any more.
func TestUndo(t *testing.T) {
	h := &hub{attach: works}
	f := newHub(t, t.TempDir(), h)
	v := f.must(f.create(admin, strings.Replace(aHub, `"settings"`, `"events":["a"],"settings"`, 1)))
	f.must(f.Update(t.Context(), admin, v.ID, Input{Settings: json.RawMessage(`{"receive":false}`)}, nil, 0))
	f.until("it is taken down", func() bool { return len(h.detachments()) == 1 })
	f.until("it is forgotten", func() bool {
		f.mu.RLock()
		defer f.mu.RUnlock()
		return f.stored[v.ID].Attached == nil
	})
	if len(f.matched("a", "acme/teams/1")) != 1 {
		t.Error("the link does not send any more")
	}
	if _, ok := f.HookTarget(v.ID); ok {
		t.Error("the link still receives")
	}
}

// TestRenew renews what ends well before it does, over failures, and also after a restart.
func TestRenew(t *testing.T) {
	dir := t.TempDir()
	var tries atomic.Int32
	h := &hub{attach: func(context.Context, *integration.Attachment) (*integration.Attached, integration.Result) {
		if n := tries.Add(1); n == 2 || n == 3 {
			return nil, coded(http.StatusForbidden)
		}
		return &integration.Attached{State: json.RawMessage(`1`), RenewAt: time.Now().Add(400 * time.Millisecond)}, integration.Delivered()
	}}
	f := newHub(t, dir, h)
	v := f.must(f.create(admin, aHub))
	f.until("it is renewed", func() bool { return tries.Load() >= 4 && f.reason(v.ID) == "" && f.state(v.ID) == patchbay.LinkActive })
	if err := f.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	n := tries.Load()
	newHub(t, dir, h)
	f.until("it is renewed after a restart", func() bool { return tries.Load() > n })
}

// TestRenewal says when something that ends is renewed: in the third fifth of its life, each link at its own time.
func TestRenewal(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	month := 30 * 24 * time.Hour
	seen := map[time.Duration]bool{}
	for id := range 1000 {
		l := &patchbay.Link{ID: patchbay.LinkID(250_000_000_000_000_000 + id*patchbay.IDStep), Attached: &patchbay.Attached{At: at, RenewAt: at.Add(month)}}
		after := renewal(l, time.Minute).Sub(at)
		if after < 18*24*time.Hour || after > 24*24*time.Hour {
			t.Fatalf("the link %s is renewed after %s", l.ID, after)
		}
		seen[after.Truncate(time.Hour)] = true
	}
	short := &patchbay.Link{Attached: &patchbay.Attached{At: at, RenewAt: at.Add(-time.Hour)}}
	if after := renewal(short, time.Minute).Sub(at); after < 30*time.Second {
		t.Errorf("what ends at once is renewed after %s", after)
	}
	if len(seen) < 100 {
		t.Errorf("a thousand links are renewed within %d different hours", len(seen))
	}
}

// forgetful is a store that fails some writes of links.
type forgetful struct {
	*sqlite.Store
	fails func(l *patchbay.Link) bool
}

func (f forgetful) SaveLink(ctx context.Context, l *patchbay.Link) error {
	if f.fails(l) {
		return store.ErrUnavailable
	}
	return f.Store.SaveLink(ctx, l)
}

// TestAttachedAndNotStored keeps a link whose hook was made when that could not be stored, and finds the hook again.
func TestAttachedAndNotStored(t *testing.T) {
	hooks := map[string]int{} // by address; the keeper and the request take turns
	h := &hub{attach: func(_ context.Context, a *integration.Attachment) (*integration.Attached, integration.Result) {
		if hooks[a.HookURL] == 0 {
			hooks[a.HookURL] = len(hooks) + 1
		}
		return &integration.Attached{State: json.RawMessage(strconv.Itoa(hooks[a.HookURL]))}, integration.Delivered()
	}}
	var failures atomic.Int32
	f := newHub(t, t.TempDir(), h, func(o *Options) {
		o.Store = forgetful{o.Store.(*sqlite.Store), func(l *patchbay.Link) bool { return l.Attached != nil && failures.Add(1) <= 3 }}
	})
	v := f.must(f.create(admin, aHub))
	if v.State != patchbay.LinkAttaching {
		t.Errorf("it is %s", v.State)
	}
	f.until("it is attached", func() bool { return f.state(v.ID) == patchbay.LinkActive })
	if a := h.attachments(); len(a) != 4 || len(hooks) != 1 {
		t.Errorf("after %d tries there are %d hooks", len(a), len(hooks))
	}
}

// TestWaitsForTheConnection asks no partner while the connection is known not to work, and goes on soon after it does.
func TestWaitsForTheConnection(t *testing.T) {
	a := newAccounts()
	var tries atomic.Int32
	h := &hub{attach: func(ctx context.Context, at *integration.Attachment) (*integration.Attached, integration.Result) {
		if tries.Add(1) == 1 {
			a.change(func(a *accounts) { a.con.State = patchbay.ConnectionNeedsReauth })
			return nil, integration.Retry("not now")
		}
		return works(ctx, at)
	}}
	f := newHub(t, t.TempDir(), h, a.option)
	v := f.must(f.create(admin, `{"integration":"hub","scope":"acme","connection":"`+anAccount.String()+`","settings":{}}`))
	time.Sleep(100 * time.Millisecond)
	if n := tries.Load(); n != 1 || f.state(v.ID) != patchbay.LinkAttaching {
		t.Errorf("it was tried %d times and is %s", n, f.state(v.ID))
	}
	a.change(func(a *accounts) { a.con.State = patchbay.ConnectionActive })
	f.until("it is attached", func() bool { return f.state(v.ID) == patchbay.LinkActive })
}

// TestMoved tells partners where an installation is now whose public address was changed.
func TestMoved(t *testing.T) {
	dir, h := t.TempDir(), &hub{attach: works}
	f := newHub(t, dir, h)
	v := f.must(f.create(admin, aHub))
	if err := f.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	f = newHub(t, dir, h, func(o *Options) { o.PublicURL = "https://moved.example" })
	f.until("the partner hears of it", func() bool { return len(h.attachments()) == 2 })
	if a := h.attachments()[1]; !strings.HasPrefix(a.HookURL, "https://moved.example/") || a.State == nil {
		t.Errorf("attached was %+v", a)
	}
	f.until("that is remembered", func() bool {
		t, _ := f.HookTarget(v.ID)
		return t.Link.Attached.Base == "https://moved.example"
	})
}

// TestNothingNewToRemember brings a partner's side up to date whose integration has nothing more to say about it.
func TestNothingNewToRemember(t *testing.T) {
	h := &hub{attach: works}
	f := newHub(t, t.TempDir(), h)
	v := f.must(f.create(admin, aHub))
	h.attach = func(context.Context, *integration.Attachment) (*integration.Attached, integration.Result) {
		return nil, integration.Delivered()
	}
	f.must(f.Update(t.Context(), admin, v.ID, Input{Settings: json.RawMessage(`{"place":"acme/app"}`)}, nil, 0))
	target, _ := f.HookTarget(v.ID)
	if a := target.Link.Attached; a.Stale || string(a.State) != `{"hook":1}` {
		t.Errorf("remembered is %+v", a)
	}
	time.Sleep(50 * time.Millisecond)
	if n := len(h.attachments()); n != 2 {
		t.Errorf("it was attached %d times", n)
	}
}
