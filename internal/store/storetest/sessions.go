package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

func hash(n byte) [32]byte { return [32]byte{n, 31: n} }

// session makes a customer's session that waits for its token to come.
func (e *env) session(n byte, scope patchbay.Scope) *store.Session {
	owner := scope + "/users/7"
	return &store.Session{
		ID: patchbay.SessionID(e.s.NewID(1)), Portal: true, Claim: hash(n), Scope: scope, User: "jané", OwnerScope: &owner, Permissions: []string{"view", "edit"},
		Key: 7, Return: "https://host.test/back", CreatedAt: e.now(), ClaimUntil: e.now().Add(time.Minute), ExpiresAt: e.now().Add(time.Hour),
	}
}

func (e *env) begun(s *store.Session) *store.Session {
	e.Helper()
	e.must(e.s.SaveSession(e.ctx, s))
	return s
}

func (e *env) sessionIDs(f store.SessionFilter) (out []patchbay.SessionID) {
	e.Helper()
	f.Limit = 2
	for range 100 {
		page, err := e.s.Sessions(e.ctx, f, e.now())
		e.must(err)
		for i := range page {
			out = append(out, page[i].ID)
			f.After = page[i].ID
		}
		if len(page) < f.Limit {
			return out
		}
	}
	e.Fatal("the list does not end")
	return nil
}

var sessionTests = []test{
	{"keeps every field", func(e *env) {
		x := e.begun(e.session(1, "acme"))
		operator := e.begun(&store.Session{
			ID: patchbay.SessionID(e.s.NewID(1)), Cookie: hash(2), ExpiresAt: e.now().Add(time.Hour), CreatedAt: e.now(),
			Via: "https://id.example", Subject: "sübject \xff", Address: "2001:db8::7", Agent: "Mozilla/5.0 \xff",
		})
		for range 2 {
			got, err := e.s.Session(e.ctx, x.ID, e.now())
			e.must(err)
			e.same("session", got, x)
			got, err = e.s.SessionByCookie(e.ctx, hash(2), e.now())
			e.must(err)
			e.same("operator's session", got, operator)
			list, err := e.s.Sessions(e.ctx, store.SessionFilter{Limit: 10}, e.now())
			e.must(err)
			e.same("list", list, []store.Session{*x, *operator})
			e.crash()
		}
	}},
	{"a token is good for one cookie", func(e *env) {
		x := e.begun(e.session(1, "acme"))
		_, err := e.s.SessionByCookie(e.ctx, [32]byte{}, e.now())
		e.wantErr("no cookie", err, store.ErrNotFound)
		got, err := e.s.ClaimSession(e.ctx, hash(1), hash(2), e.now())
		e.must(err)
		x.Claim, x.Cookie = [32]byte{}, hash(2)
		e.same("claimed", got, x)
		for range 2 {
			for _, claim := range [][32]byte{hash(1), hash(9), {}} {
				_, err = e.s.ClaimSession(e.ctx, claim, hash(3), e.now())
				e.wantErr("claiming again", err, store.ErrNotFound)
			}
			got, err = e.s.SessionByCookie(e.ctx, hash(2), e.now())
			e.must(err)
			e.same("by its cookie", got, x)
			e.crash()
		}
	}},
	{"of those who bring a token at the same time one gets in", func(e *env) {
		p := e.s
		for n := range byte(10) {
			e.begun(e.session(n+1, "acme"))
			var wg sync.WaitGroup
			var mu sync.Mutex
			in := 0
			for i := range byte(8) {
				wg.Go(func() {
					_, err := p.ClaimSession(e.ctx, hash(n+1), [32]byte{n, i, 1}, e.now())
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						in++
					case !errors.Is(err, store.ErrNotFound):
						e.Error(err)
					}
				})
			}
			wg.Wait()
			e.same("got in", in, 1)
		}
	}},
	{"hashes are one session's each", func(e *env) {
		x := e.begun(e.session(1, "acme"))
		same := e.session(1, "acme")
		e.wantErr("the same token", e.s.SaveSession(e.ctx, same), store.ErrConflict)
		same.Claim, same.ID = hash(2), x.ID
		e.wantErr("the same identifier", e.s.SaveSession(e.ctx, same), store.ErrConflict)
		_, err := e.s.ClaimSession(e.ctx, hash(1), hash(5), e.now())
		e.must(err)
		same.ID, same.Claim, same.Cookie = patchbay.SessionID(e.s.NewID(1)), [32]byte{}, hash(5)
		e.wantErr("the same cookie", e.s.SaveSession(e.ctx, same), store.ErrConflict)
		e.begun(e.session(3, "acme"))
		_, err = e.s.ClaimSession(e.ctx, hash(3), hash(5), e.now())
		e.wantErr("claiming with a cookie that is another's", err, store.ErrConflict)
		_, err = e.s.ClaimSession(e.ctx, hash(3), hash(6), e.now())
		e.must(err)
	}},
	{"a token ends before its session, and a session ends", func(e *env) {
		late, x := e.begun(e.session(1, "acme")), e.begun(e.session(2, "acme"))
		p := e.s
		_, err := p.ClaimSession(e.ctx, hash(2), hash(3), e.now())
		e.must(err)
		e.clock.forward(time.Minute + time.Second)
		_, err = p.ClaimSession(e.ctx, hash(1), hash(4), e.now())
		e.wantErr("a token that is over", err, store.ErrNotFound)
		e.same("sessions", e.sessionIDs(store.SessionFilter{}), []patchbay.SessionID{late.ID, x.ID})
		e.prune(retention)
		_, err = p.SessionByCookie(e.ctx, hash(3), e.now())
		e.must(err)
		e.clock.forward(time.Hour)
		ended := func() {
			e.Helper()
			_, err = p.SessionByCookie(e.ctx, hash(3), e.now())
			e.wantErr("by its cookie", err, store.ErrNotFound)
			_, err = p.Session(e.ctx, x.ID, e.now())
			e.wantErr("by its identifier", err, store.ErrNotFound)
			_, err = p.ClaimSession(e.ctx, hash(1), hash(4), e.now())
			e.wantErr("by its token", err, store.ErrNotFound)
			e.same("sessions", len(e.sessionIDs(store.SessionFilter{})), 0)
		}
		ended()
		e.prune(retention)
		ended()
		e.wantErr("what was pruned", p.DeleteSession(e.ctx, x.ID), store.ErrNotFound)
	}},
	{"a deleted session is over", func(e *env) {
		x, other := e.begun(e.session(1, "acme")), e.begun(e.session(2, "acme"))
		p := e.s
		_, err := p.ClaimSession(e.ctx, hash(1), hash(3), e.now())
		e.must(err)
		e.must(p.DeleteSession(e.ctx, x.ID))
		e.crash()
		p = e.s
		_, err = p.SessionByCookie(e.ctx, hash(3), e.now())
		e.wantErr("by its cookie", err, store.ErrNotFound)
		e.wantErr("deleting it again", p.DeleteSession(e.ctx, x.ID), store.ErrNotFound)
		e.same("left", e.sessionIDs(store.SessionFilter{}), []patchbay.SessionID{other.ID})
	}},
	{"lists by every filter, the oldest first, in pages", func(e *env) {
		var all []*store.Session
		for i, scope := range []patchbay.Scope{"", "acme", "acme/x", "acme/x/y", "acmex", "acme-x", "other"} {
			x := e.session(byte(i+1), scope)
			x.Portal, x.User, x.Key = i%2 == 0, fmt.Sprint("user ", i%3), patchbay.KeyID(i%4)
			all = append(all, e.begun(x))
		}
		yes, no := true, false
		for name, x := range map[string]struct {
			f    store.SessionFilter
			want []int
		}{
			"all":              {store.SessionFilter{}, []int{0, 1, 2, 3, 4, 5, 6}},
			"portal":           {store.SessionFilter{Portal: &yes}, []int{0, 2, 4, 6}},
			"operators":        {store.SessionFilter{Portal: &no}, []int{1, 3, 5}},
			"within":           {store.SessionFilter{Within: "acme"}, []int{1, 2, 3}},
			"of a user":        {store.SessionFilter{User: "user 1"}, []int{1, 4}},
			"of a key":         {store.SessionFilter{Key: 2}, []int{2, 6}},
			"of a key within":  {store.SessionFilter{Key: 2, Within: "acme", Portal: &yes}, []int{2}},
			"operators within": {store.SessionFilter{Portal: &no, Within: "acme"}, []int{1, 3}},
			"all of these":     {store.SessionFilter{User: "user 0", Within: "acme", Portal: &no}, []int{3}},
		} {
			var want []patchbay.SessionID
			for _, i := range x.want {
				want = append(want, all[i].ID)
			}
			e.same(name, e.sessionIDs(x.f), want)
		}
	}},
	{"after Close", func(e *env) {
		p, x := e.s, e.session(1, "acme")
		e.must(e.s.Close())
		_, cookie := p.SessionByCookie(e.ctx, hash(1), e.now())
		_, claim := p.ClaimSession(e.ctx, hash(1), hash(2), e.now())
		for _, err := range []error{p.SaveSession(e.ctx, x), p.DeleteSession(e.ctx, x.ID), cookie, claim} {
			e.wantErr("after Close", err, store.ErrClosed)
		}
	}},
}
