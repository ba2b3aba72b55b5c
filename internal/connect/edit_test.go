package connect

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
)

// who sees what: a connection lies at "acme" for all, one is visible, one lies in a team, one belongs to another tenant.
type places struct {
	*rig
	acme, visible, team, other *View
}

func newPlaces(t *testing.T) *places {
	p := newPartner(t)
	r := &places{rig: newRig(t, oauth2Thing("thing", p.URL, nil))}
	at := func(account string, scope patchbay.Scope) *View {
		p.set(func() { p.account = account })
		return r.connect(operator(), Start{Integration: "thing", Scope: &scope}).Connection
	}
	r.acme, r.visible, r.team, r.other = at("1", "acme"), at("2", "acme"), at("3", "acme/teams/1"), at("4", "other")
	var err error
	if r.visible, err = r.Update(t.Context(), operator(), r.visible.ID, Input{Visible: new(true), Owner: new("boss")}, nil, ""); err != nil {
		t.Fatal(err)
	}
	return r
}

func team1() *access.Caller {
	c := ann()
	c.Scope = "acme/teams/1"
	return c
}

// Which connections exist for whom, and what a link may use.
func TestWhoSees(t *testing.T) {
	r := newPlaces(t)
	below := patchbay.Scope("acme/teams/1/x")
	for name, tc := range map[string]struct {
		c       *access.Caller
		serving *patchbay.Scope
		want    []patchbay.ConnectionID
	}{
		"the operator":            {operator(), nil, []patchbay.ConnectionID{r.acme.ID, r.visible.ID, r.team.ID, r.other.ID}},
		"a tenant":                {ann(), nil, []patchbay.ConnectionID{r.acme.ID, r.visible.ID, r.team.ID}},
		"a team":                  {team1(), nil, []patchbay.ConnectionID{r.team.ID}},
		"for a link of the team":  {team1(), &below, []patchbay.ConnectionID{r.visible.ID, r.team.ID}},
		"for a link, by the boss": {ann(), &below, []patchbay.ConnectionID{r.acme.ID, r.visible.ID, r.team.ID}},
	} {
		views, more, err := r.List(t.Context(), tc.c, ListFilter{Serving: tc.serving, Limit: 10})
		var got []patchbay.ConnectionID
		for i := range views {
			got = append(got, views[i].ID)
		}
		if err != nil || more || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v; %v", name, got, tc.want, err)
		}
	}
	page, more, err := r.List(t.Context(), operator(), ListFilter{Integration: "thing", Limit: 1, After: r.acme.ID})
	if err != nil || !more || len(page) != 1 || page[0].ID != r.visible.ID {
		t.Errorf("%+v %v %v", page, more, err)
	}
	if _, _, err := r.List(t.Context(), team1(), ListFilter{Scope: new(patchbay.Scope("acme")), Limit: 1}); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Error(err)
	}

	inherited, err := r.Get(t.Context(), team1(), r.visible.ID)
	if err != nil || inherited.Owner != "" || inherited.ExpiresAt != nil || len(inherited.Grants) > 0 || inherited.Account.Name == "" {
		t.Errorf("%+v %v", inherited, err)
	}
	missing := notFound(r.acme.ID).Error()
	for name, id := range map[string]patchbay.ConnectionID{"not visible": r.acme.ID, "another portal's": r.other.ID, "none": 4711} {
		_, err := r.Get(t.Context(), team1(), id)
		if patchbay.CodeOf(err) != patchbay.CodeNotFound || err.Error() != strings.Replace(missing, r.acme.ID.String(), id.String(), 1) {
			t.Errorf("%s: %v", name, err)
		}
		_, forErr := r.For(t.Context(), team1(), id, "thing", "acme/teams/1")
		if forErr == nil || forErr.Error() != err.Error() {
			t.Errorf("%s: For says %v", name, forErr)
		}
	}
	if con, err := r.For(t.Context(), team1(), r.visible.ID, "thing", below); err != nil || con.Credentials.Access == "" {
		t.Errorf("%v", err)
	}
	_, err = r.For(t.Context(), ann(), r.team.ID, "thing", "acme/teams/2")
	refused(t, err, patchbay.CodeInvalidRequest, "only links there and below")
	_, err = r.For(t.Context(), ann(), r.team.ID, "slack", "acme/teams/1")
	refused(t, err, patchbay.CodeInvalidRequest, "one of thing")
	// What is only visible cannot be changed from below.
	for name, do := range map[string]func() error{
		"update": func() error {
			_, err := r.Update(t.Context(), team1(), r.visible.ID, Input{Name: new("x")}, nil, "")
			return err
		},
		"delete": func() error { _, err := r.Delete(t.Context(), team1(), r.visible.ID, true); return err },
		"check":  func() error { _, err := r.Check(t.Context(), team1(), r.visible.ID); return err },
		"reconnect": func() error {
			_, err := r.Begin(t.Context(), team1(), Start{Integration: "thing", Reconnect: r.visible.ID})
			return err
		},
	} {
		if err := do(); patchbay.CodeOf(err) != patchbay.CodeForbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, do := range map[string]func(id patchbay.ConnectionID) error{
		"update": func(id patchbay.ConnectionID) error {
			_, err := r.Update(t.Context(), team1(), id, Input{}, nil, "")
			return err
		},
		"delete": func(id patchbay.ConnectionID) error { _, err := r.Delete(t.Context(), team1(), id, true); return err },
	} {
		for _, id := range []patchbay.ConnectionID{r.acme.ID, r.other.ID} {
			if err := do(id); patchbay.CodeOf(err) != patchbay.CodeNotFound {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A connection is handed over, renamed and moved down; what does not make sense is refused.
func TestUpdate(t *testing.T) {
	r := newPlaces(t)
	id := r.acme.ID
	access := r.stored(id).Credentials.Access
	v, err := r.Update(t.Context(), operator(), id, Input{Owner: new("u2"), OwnerScope: new("acme/users/2"), Name: new("CI")}, nil, r.acme.Version())
	if err != nil || v.Owner != "u2" || *v.OwnerScope != "acme/users/2" || v.Name != "CI" || v.Version() == r.acme.Version() {
		t.Fatalf("%+v %v", v, err)
	}
	if _, err := r.Update(t.Context(), operator(), id, Input{Name: new("x")}, nil, r.acme.Version()); patchbay.CodeOf(err) != patchbay.CodeConflict {
		t.Errorf("an old version: %v", err)
	}
	if v, err = r.Update(t.Context(), operator(), id, Input{}, []string{"name", "owner", "owner_scope"}, v.Version()); err != nil || v.Owner != "" || v.OwnerScope != nil || v.Name != "" {
		t.Errorf("%+v %v", v, err)
	}
	r.uses[id] = []Use{{Link: 5, Scope: "acme/teams/1", Name: "one"}, {Link: 6, Scope: "acme/teams/2"}}
	for name, tc := range map[string]struct {
		in    Input
		clear []string
		code  patchbay.Code
		says  string
	}{
		"up":                  {Input{Scope: new("")}, nil, patchbay.CodeInvalidRequest, "can only become one below"},
		"aside":               {Input{Scope: new("other")}, nil, patchbay.CodeInvalidRequest, "can only become one below"},
		"away from its links": {Input{Scope: new("acme/teams/1")}, nil, patchbay.CodeConflict, "lie outside of the new scope: move them first: " + patchbay.LinkID(6).String()},
		"no scope":            {Input{Scope: new("a//b")}, nil, patchbay.CodeInvalidRequest, "scope"},
		"another integration": {Input{Integration: new("other")}, nil, patchbay.CodeInvalidRequest, "cannot be changed"},
		"settings":            {Input{Settings: json.RawMessage(`{}`)}, nil, patchbay.CodeInvalidRequest, "POST the keys"},
		"a long name":         {Input{Name: new(strings.Repeat("x", 201))}, nil, patchbay.CodeInvalidRequest, "longer than 200"},
		"two lines":           {Input{Owner: new("a\nb")}, nil, patchbay.CodeInvalidRequest, "one line"},
		"null":                {Input{}, []string{"scope"}, patchbay.CodeInvalidRequest, "cannot be null"},
		"another tenant":      {Input{OwnerScope: new("other/users/1")}, nil, patchbay.CodeInvalidRequest, "same tenant"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Update(t.Context(), operator(), id, tc.in, tc.clear, "")
			refused(t, err, tc.code, tc.says)
		})
	}
	r.uses[id] = r.uses[id][:1]
	if v, err = r.Update(t.Context(), operator(), id, Input{Scope: new("acme/teams/1")}, nil, ""); err != nil || v.Scope != "acme/teams/1" || v.Links != 1 {
		t.Errorf("%+v %v", v, err)
	}
	if r.stored(id).Credentials.Access != access {
		t.Error("the credentials have changed")
	}
	for _, in := range []Input{{Owner: new("bob")}, {OwnerScope: new("acme/users/1")}} {
		_, err := r.Update(t.Context(), ann(), id, in, nil, "")
		refused(t, err, patchbay.CodeForbidden, "the product itself can hand one over")
	}
	if _, err := r.Update(t.Context(), ann(), id, Input{}, []string{"owner_scope"}, ""); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Error(err)
	}
}

// revoker is an integration with a way of its own to take connections back.
type revoker struct {
	*thing
	answer func(c *integration.Connected) integration.Result
}

func (x *revoker) Revoke(_ context.Context, c *integration.Connected, _ *integration.Env) integration.Result {
	return x.answer(c)
}

// Deleting is refused while links use a connection, takes it back at the partner, and says what remains there.
func TestDelete(t *testing.T) {
	p := newPartner(t)
	own := &revoker{thing: oauth2Thing("own", p.URL, nil), answer: func(c *integration.Connected) integration.Result {
		if c.Credentials.Access == "" {
			return integration.Misconfigured("nothing to revoke")
		}
		return integration.Delivered()
	}}
	r := newRig(t, oauth2Thing("thing", p.URL, nil), oauth2Thing("without", p.URL, func(o *integration.OAuth2) { o.RevokeURL = "" }), own, keyThing(annsAccount))
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	r.uses[v.ID] = []Use{{Link: 5, Scope: "acme/x", Name: "deploys"}, {Link: 6, Scope: "acme/teams/1"}, {Link: 7, Scope: "acme/y"}}
	_, err := r.Delete(t.Context(), ann(), v.ID, false)
	refused(t, err, patchbay.CodeConflict, patchbay.LinkID(5).String()+" (deploys), "+patchbay.LinkID(6).String())
	if len(p.revoked) > 0 {
		t.Error("it was taken back all the same")
	}
	editor := ann()
	editor.Permissions = editor.Permissions[:2] // a portal that could not connect the account again
	if _, err := r.Delete(t.Context(), editor, v.ID, true); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("a portal without secrets: %v", err)
	}
	con := r.stored(v.ID)
	d, err := r.Delete(t.Context(), ann(), v.ID, true)
	if err != nil || !d.Revoked || d.Notice != "" || !slices.Equal(p.revoked, []string{con.Credentials.Refresh.Reveal(), con.Credentials.Access.Reveal()}) {
		t.Errorf("%+v %v, %d revoked", d, err, len(p.revoked))
	}
	_, err = r.Use(t.Context(), v.ID, "acme")
	refused(t, err, patchbay.CodeUserConfigurationError, "was deleted")
	if _, err := r.Delete(t.Context(), ann(), v.ID, true); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Error(err)
	}

	remove := func(key string, revoked bool, says string) {
		t.Helper()
		var id patchbay.ConnectionID
		if key == "keyed" {
			v, _, err := r.Create(t.Context(), ann(), keyInput(annsKey))
			if err != nil {
				t.Fatal(err)
			}
			id = v.ID
		} else {
			id = r.connect(ann(), Start{Integration: key}).Connection.ID
		}
		d, err := r.Delete(t.Context(), ann(), id, false)
		if err != nil || d.Revoked != revoked || !strings.Contains(d.Notice, says) || says == "" != (d.Notice == "") {
			t.Errorf("%s: %+v %v", key, d, err)
		}
		if _, known := r.Known(id); known {
			t.Errorf("%s is still there", key)
		}
	}
	remove("own", true, "")
	own.answer = func(c *integration.Connected) integration.Result {
		return integration.Retry("%s is busy", c.Credentials.Access.Reveal())
	}
	remove("own", false, "[redacted] is busy")
	own.answer = func(*integration.Connected) integration.Result { return integration.Expired("unknown") }
	remove("own", true, "")
	own.answer = func(c *integration.Connected) integration.Result { panic(c.Credentials.Access.Reveal()) }
	remove("own", false, "unexpected")
	remove("without", false, "Thing has no way to take the credentials back")
	remove("keyed", false, "still work: delete them at Thing")
	r.silent()
}

// A grant that other connections may live from is not taken back.
func TestDeleteOneOfTwo(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	other := patchbay.Scope("other")
	a, b := r.connect(ann(), Start{Integration: "thing"}).Connection, r.connect(operator(), Start{Integration: "thing", Scope: &other}).Connection
	d, err := r.Delete(t.Context(), ann(), a.ID, false)
	if err != nil || d.Revoked || !strings.Contains(d.Notice, "left in place") || len(p.revoked) > 0 || strings.Contains(d.Notice, b.ID.String()) {
		t.Errorf("%+v %v", d, err)
	}
	if d, err = r.Delete(t.Context(), operator(), b.ID, false); err != nil || !d.Revoked {
		t.Errorf("%+v %v", d, err)
	}
}

// A partner that cannot be reached keeps nobody from deleting.
func TestDeleteUnreachable(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	p.Close()
	d, err := r.Delete(t.Context(), ann(), v.ID, false)
	if err != nil || d.Revoked || !strings.Contains(d.Notice, "could not be taken back") || !strings.Contains(d.Notice, "settings at Thing") {
		t.Errorf("%+v %v", d, err)
	}
	if _, known := r.Known(v.ID); known {
		t.Error("it is still there")
	}
}

// What another node makes, changes and deletes is known once it was said.
func TestOtherNodeChanges(t *testing.T) {
	p := newPartner(t)
	a := newRig(t, oauth2Thing("thing", p.URL, nil))
	b := rigAt(t, a.store, a.clock, oauth2Thing("thing", p.URL, nil))
	v := a.connect(ann(), Start{Integration: "thing"}).Connection
	if got, err := b.Get(t.Context(), ann(), v.ID); err != nil || got.Account.ID != "1" {
		t.Fatalf("what was made a moment ago: %v", err)
	}
	if _, err := a.Update(t.Context(), ann(), v.ID, Input{Name: new("new name")}, nil, ""); err != nil {
		t.Fatal(err)
	}
	if err := b.Refresh(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	if con, _ := b.Known(v.ID); con.Name != "new name" {
		t.Errorf("%+v", con)
	}
	if _, err := a.Delete(t.Context(), ann(), v.ID, false); err != nil {
		t.Fatal(err)
	}
	if err := b.Refresh(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	if _, known := b.Known(v.ID); known || len(b.ByAccount("thing", "1")) > 0 {
		t.Error("it is still known")
	}
	c := rigAt(t, a.store, a.clock)
	a.connect(ann(), Start{Integration: "thing"})
	if err := c.Load(t.Context()); err != nil || len(c.ByAccount("thing", "1")) != 1 {
		t.Errorf("%v", err)
	}
}

// A tenant that is forgotten leaves nothing here and no grant at the partner.
func TestForgetTenant(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	team, other := patchbay.Scope("acme/teams/1"), patchbay.Scope("other")
	for _, in := range []Start{{Integration: "thing"}, {Integration: "thing", Scope: &team}} {
		v := r.connect(ann(), in).Connection
		r.uses[v.ID] = []Use{{Link: 5, Scope: "acme"}}
	}
	p.set(func() { p.account = "2" })
	kept := r.connect(operator(), Start{Integration: "thing", Scope: &other}).Connection
	for n := 0; ; n++ {
		more, err := r.ForgetNext(t.Context(), "acme")
		if err != nil || n > 2 {
			t.Fatalf("%d: %v", n, err)
		}
		if !more {
			break
		}
	}
	all, _, err := r.List(t.Context(), operator(), ListFilter{Limit: 10})
	if err != nil || len(all) != 1 || all[0].ID != kept.ID {
		t.Errorf("%+v %v", all, err)
	}
	if len(p.revoked) != 2 { // the last grant's two tokens
		t.Errorf("%d tokens were revoked", len(p.revoked))
	}
	if _, err := r.Use(t.Context(), kept.ID, "other"); err != nil {
		t.Error(err)
	}
}

// Deleting waits for a renewal that is under way, and takes back what that brought.
func TestDeleteDuringRefresh(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	r.pace.look = time.Millisecond
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	arrived, answer := make(chan struct{}), make(chan struct{})
	p.set(func() {
		p.answer = func(http.ResponseWriter, *http.Request) bool { close(arrived); <-answer; return false }
	})
	r.clock.add(time.Hour)
	var running sync.WaitGroup
	running.Go(func() { _, _ = r.Use(t.Context(), v.ID, "acme") }) // whether it is still in time is not the point
	<-arrived
	running.Go(func() {
		if d, err := r.Delete(t.Context(), ann(), v.ID, false); err != nil || !d.Revoked {
			t.Errorf("%+v %v", d, err)
		}
	})
	close(answer)
	running.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for token, f := range p.refreshes {
		if !f.ended {
			t.Errorf("the grant of %s lives on", token)
		}
	}
}
