package storetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// marker stands in every secret of these tests, and nowhere else.
const marker = "HUSH-HUSH-"

// secretive makes a link that has every secret that a link can have.
func (e *env) secretive(id patchbay.LinkID, revision int) *patchbay.Link {
	l := e.link(id, revision)
	l.Settings = json.RawMessage(`{"url":"https://` + marker + `url.test","n":1e400}`)
	l.Previous = &patchbay.PreviousSecret{Setting: "secret", Value: marker + "previous", Until: e.now().Add(time.Hour)}
	l.Hook = &patchbay.LinkHook{Token: marker + "token", Secret: marker + "hook", Previous: marker + "hook before", Until: e.now().Add(day)}
	l.Attached = &patchbay.Attached{State: json.RawMessage(`{"id":"` + marker + `attached"}`), RenewAt: e.now().Add(day), At: e.now()}
	return l
}

// secretiveConnection is the same of a connection.
func (e *env) secretiveConnection() *patchbay.Connection {
	c := e.connection("acme")
	c.Credentials.Access, c.Credentials.Refresh, c.Credentials.TokenSecret = marker+"access", marker+"refresh", marker+"token secret"
	c.Credentials.Extra = map[string]patchbay.Secret{marker + "key": marker + "value"}
	return c
}

// sameLink compares secrets too.
func (e *env) sameLink(got, want *patchbay.Link) {
	e.Helper()
	e.same("link", got, want)
	secrets := func(l *patchbay.Link) string {
		var out []string
		if l.Previous != nil {
			out = append(out, l.Previous.Value.Reveal())
		}
		if l.Hook != nil {
			out = append(out, l.Hook.Token.Reveal(), l.Hook.Secret.Reveal(), l.Hook.Previous.Reveal())
		}
		if l.Attached != nil {
			out = append(out, string(l.Attached.State))
		}
		return fmt.Sprintf("%q", append(out, string(l.Settings)))
	}
	e.same("the link's secrets", secrets(got), secrets(want))
}

// hidden is what was stored with secrets in it.
type hidden struct {
	links       []*patchbay.Link // revisions
	connections []*patchbay.Connection
	flows       []*store.Flow
}

// hide stores n things of each kind.
func (e *env) hide(n int) (h hidden) {
	e.Helper()
	for i := range n {
		id := patchbay.LinkID(e.s.NewID(1))
		for revision := 1; revision <= 1+i%3; revision++ {
			l := e.secretive(id, revision)
			e.must(e.s.SaveLink(e.ctx, l))
			h.links = append(h.links, l)
		}
		h.connections = append(h.connections, e.connected(e.secretiveConnection()))
		f := e.flow(byte(i))
		e.flows++
		f.Hash = [32]byte{byte(e.flows * 37), 31: byte(e.flows)} // in another order than they are made in
		f.Data = []byte(marker + "verifier")
		e.must(e.s.SaveFlow(e.ctx, f))
		h.flows = append(h.flows, f)
	}
	return h
}

// check reads everything that was hidden. Flows are taken, which can be done once.
func (h *hidden) check(e *env, flows bool) {
	e.Helper()
	for _, l := range h.links {
		got, err := e.s.LinkRevision(e.ctx, l.ID, l.Revision)
		e.must(err)
		e.sameLink(got, l)
	}
	for _, c := range h.connections {
		e.wantConnection(c)
	}
	for _, f := range h.flows {
		if !flows {
			break
		}
		got, err := e.s.TakeFlow(e.ctx, f.Hash, e.now())
		e.must(err)
		e.same("flow", got, f)
	}
}

// resealAll walks through everything. It returns how much it looked at and how much it changed.
func (e *env) resealAll(limit int) (looked, changed int, failed error) {
	e.Helper()
	after := ""
	for range 10_000 {
		next, l, c, err := e.s.Reseal(e.ctx, after, limit)
		if err != nil && !errors.Is(err, store.ErrSealed) {
			e.Fatal(err)
		}
		if l > limit {
			e.Fatalf("a step of %d looked at %d", limit, l)
		}
		failed = errors.Join(failed, err)
		looked, changed = looked+l, changed+c
		if after = next; next == "" {
			return looked, changed, failed
		}
	}
	e.Fatal("resealing does not end")
	return 0, 0, nil
}

// lookAll counts what is sealed, by the first byte, which with Keys is the key; 0 counts what is in the open.
func (e *env) lookAll() map[byte]int {
	e.Helper()
	out := map[byte]int{}
	after := ""
	for range 10_000 {
		next, err := e.s.LookSealed(e.ctx, after, 3, func(sealed []byte) {
			if sealed == nil {
				out[0]++
			} else {
				out[sealed[0]]++
			}
		})
		e.must(err)
		if after = next; next == "" {
			return out
		}
	}
	e.Fatal("looking does not end")
	return nil
}

// unsealed begins anew with a store that seals nothing.
func (e *env) unsealed() {
	e.Helper()
	e.s = e.h.Open(e.t, e.clock.now, nil)
}

// wantStored checks whether secrets can be read in what the store has written.
func (e *env) wantStored(readable bool) {
	e.Helper()
	if got := bytes.Contains(e.h.Stored(e.t, e.s), []byte(marker)); got != readable {
		e.Errorf("secrets can be read in the database: %t, want %t", got, readable)
	}
}

var sealedTests = []test{
	{"what is secret is kept, and cannot be read in the database", func(e *env) {
		h := e.hide(4)
		h.check(e, false)
		e.wantStored(false)
		c := *h.connections[0]
		fence, _, err := e.s.LeaseConnection(e.ctx, c.ID, time.Hour)
		e.must(err)
		c.Credentials.Access = marker + "of a refresh"
		_, err = e.s.SaveRefreshed(e.ctx, fence, &c)
		e.must(err)
		c.Revision = 2
		h.connections[0] = &c
		e.wantStored(false)
		e.crash()
		h.check(e, true)
		e.same("sealed", e.lookAll(), map[byte]int{1: len(h.links) + len(h.connections)})
	}},
	{"without a Sealer it stands in the open, and a later one seals it", func(e *env) {
		e.unsealed()
		h := e.hide(5)
		h.check(e, false)
		e.wantStored(true)
		n := len(h.links) + len(h.connections) + len(h.flows)
		e.same("in the open", e.lookAll(), map[byte]int{0: n})
		if _, _, _, err := e.s.Reseal(e.ctx, "", 10); err == nil || errors.Is(err, store.ErrSealed) {
			e.Errorf("sealing without a key: %v", err)
		}
		e.reopen() // with one
		h.check(e, false)
		looked, changed, err := e.resealAll(2)
		e.must(err)
		e.same("looked at and changed", []int{looked, changed}, []int{n, n})
		e.same("sealed", e.lookAll(), map[byte]int{1: n})
		looked, changed, err = e.resealAll(100)
		e.must(err)
		e.same("looked at and changed again", []int{looked, changed}, []int{n, 0})
		e.must(e.s.Scrub(e.ctx))
		e.wantStored(false)
		e.crash()
		h.check(e, true)
	}},
	{"with a new key everything is sealed anew, and the old one can go", func(e *env) {
		h := e.hide(7)
		n := len(h.links) + len(h.connections) + len(h.flows)
		e.keys.Rotate()
		h.check(e, false)
		more := e.secretive(patchbay.LinkID(e.s.NewID(1)), 1)
		e.must(e.s.SaveLink(e.ctx, more))
		h.links = append(h.links, more)
		e.same("sealed by the keys", e.lookAll(), map[byte]int{1: n, 2: 1})
		looked, changed, err := e.resealAll(1)
		e.must(err)
		e.same("looked at and changed", []int{looked, changed}, []int{n + 1, n})
		e.same("sealed by the keys", e.lookAll(), map[byte]int{2: n + 1})
		for i, limit := range []int{2, 3, n + 1, 1000} {
			e.keys.Rotate()
			looked, changed, err = e.resealAll(limit)
			e.must(err)
			e.same("looked at and changed", []int{looked, changed}, []int{n + 1, n + 1})
			e.same("sealed by the keys", e.lookAll(), map[byte]int{byte(3 + i): n + 1})
		}
		e.keys.Forget()
		e.crash()
		h.check(e, true)
	}},
	{"what was sealed with a key that is lost says so, and stops nothing else", func(e *env) {
		lost := e.hide(2)
		e.keys.Rotate()
		e.keys.Rotate()
		e.keys.Forget()
		kept := e.hide(3)
		e.keys.Rotate()
		_, err := e.s.LinkNow(e.ctx, lost.links[0].ID)
		e.wantErr("a link", err, store.ErrSealed)
		_, err = e.s.AllLinks(e.ctx)
		e.wantErr("links", err, store.ErrSealed)
		_, err = e.s.Connection(e.ctx, lost.connections[0].ID)
		e.wantErr("a connection", err, store.ErrSealed)
		all, err := e.s.Connections(e.ctx, store.ConnectionFilter{Limit: 10})
		e.must(err)
		for i := range all { // two are lost, three are kept
			lost := i < 2
			if (all[i].State == patchbay.ConnectionNeedsReauth && all[i].StateReason != "") != lost || (all[i].Credentials.Access == "") != lost {
				e.Errorf("connection %d is listed as %+v", i, all[i])
			}
		}
		_, err = e.s.TakeFlow(e.ctx, lost.flows[0].Hash, e.now())
		e.wantErr("a sign-in", err, store.ErrSealed)
		_, changed, err := e.resealAll(2)
		e.wantErr("sealing anew", err, store.ErrSealed)
		if err != nil && !strings.Contains(err.Error(), lost.connections[1].ID.String()) {
			e.Errorf("the error does not name what cannot be opened: %v", err)
		}
		e.same("changed", changed, len(kept.links)+len(kept.connections)+len(kept.flows))
		kept.check(e, true)
		// A new consent makes such a connection good again.
		anew := e.secretiveConnection()
		anew.ID, anew.Revision = lost.connections[0].ID, 2
		e.connected(anew)
		e.wantConnection(anew)
	}},
	{"what is moved to another row cannot be opened", func(e *env) {
		h := e.hide(3)
		a, b, l := h.connections[0].ID, h.connections[1].ID, h.links[0]
		e.h.Exec(e.t, e.s, fmt.Sprintf("UPDATE connection SET credentials = (SELECT credentials FROM connection WHERE id = %d) WHERE id = %d", a, b))
		_, err := e.s.Connection(e.ctx, b)
		e.wantErr("the credentials of another connection", err, store.ErrSealed)
		e.wantConnection(h.connections[0])
		e.h.Exec(e.t, e.s, fmt.Sprintf("UPDATE connection SET id = %d WHERE id = %d", int64(b)+1, a))
		_, err = e.s.Connection(e.ctx, b+1)
		e.wantErr("a connection under another identifier", err, store.ErrSealed)

		e.must(e.s.SaveLink(e.ctx, e.secretive(linkC, 1)))
		e.h.Exec(e.t, e.s, fmt.Sprintf("UPDATE link SET data = (SELECT data FROM link WHERE id = %d) WHERE id = %d", linkC, l.ID))
		_, err = e.s.LinkNow(e.ctx, l.ID)
		e.wantErr("the document of another link", err, store.ErrSealed)
		forged := strings.ReplaceAll(l.ID.String(), "lnk_", "")
		e.h.Exec(e.t, e.s, fmt.Sprintf("UPDATE link SET data = replace(data, '%s', '%s') WHERE id = %d",
			strings.TrimPrefix(linkC.String(), "lnk_"), forged, l.ID))
		_, err = e.s.LinkNow(e.ctx, l.ID)
		e.wantErr("the document of another link with a forged identifier", err, store.ErrSealed)
	}},
	{"rows that change while all are sealed anew keep what was written", func(e *env) {
		h := e.hide(20)
		e.keys.Rotate()
		p := e.s
		var wg sync.WaitGroup
		stop := make(chan struct{})
		last := make([]*patchbay.Connection, 4)
		for i := range last {
			wg.Go(func() {
				c := *h.connections[i]
				for n := 2; ; n++ {
					select {
					case <-stop:
						last[i] = &c
						return
					default:
					}
					c.Revision, c.Credentials.Access = n, patchbay.Secret(fmt.Sprint(marker, n))
					if err := p.SaveConnection(e.ctx, &c); err != nil {
						e.Error(err)
						return
					}
				}
			})
		}
		for range 5 {
			_, _, err := e.resealAll(3)
			e.must(err)
			e.keys.Rotate()
		}
		close(stop)
		wg.Wait()
		_, _, err := e.resealAll(3)
		e.must(err)
		e.keys.Forget()
		for i, c := range last {
			if c != nil {
				h.connections[i] = c
			}
		}
		h.check(e, true)
	}},
	{"a cursor that is none is an error", func(e *env) {
		for _, after := range []string{"x", "x 1", "link x", "connection x", "flow x"} {
			if _, _, _, err := e.s.Reseal(e.ctx, after, 10); err == nil {
				e.Errorf("%q was taken for a cursor", after)
			}
		}
	}},
}
