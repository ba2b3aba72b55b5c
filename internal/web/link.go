package web

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/links"
)

// testPart is what came of a test.
type testPart struct {
	OK     bool
	Text   string
	Answer string
}

// newLink shows the form of a new link, or of one that is there. Where the integration's accounts can be connected and
// nobody has, connecting comes first.
func (c *call) newLink() error {
	f, err := c.linkForm()
	if err != nil {
		return err
	}
	if asked := c.r.URL.Query(); f.view == nil && asked.Has("scope") {
		if err := f.place(asked.Get("scope")); err != nil {
			return err
		}
	}
	if err := f.findConnections(); err != nil {
		return err
	}
	if to := f.connectFirst(); to != "" {
		return c.redirect(to)
	}
	f.begin()
	return f.show(http.StatusOK)
}

func (f *linkForm) show(status int) error {
	title := "Add " + f.def.Title
	if f.view != nil {
		title = "Change " + f.view.ShortName
	}
	p := f.page()
	if len(p.Problems) > 0 {
		title = "Problem: " + title
	}
	return f.call.show(status, "link", &page{Title: title, Nav: "integrations", Status: f.status, Body: p})
}

// saveLink takes a form: to save it, or to show it again with what one of its other buttons asks for.
func (c *call) saveLink() error {
	if err := c.form(); err != nil {
		return err
	}
	f, err := c.linkForm()
	if err != nil {
		return err
	}
	f.sent = c.r.PostForm
	f.drafts = f.Site.drafts.open(f.r.Context(), f.sent.Get("draft"), f.draftPlace(), c.o.Now())
	var placed error
	if f.sent.Has("scope") { // otherwise the link stays where it is, or belongs to the viewer's own
		placed = f.place(f.sent.Get("scope"))
	}
	if err := f.findConnections(); err != nil {
		return err
	}
	in, secrets, err := f.input()
	if err != nil {
		return err
	}
	if f.drafts == nil {
		f.drafts = map[string]string{}
	}
	maps.Copy(f.drafts, secrets)
	if placed != nil {
		f.errors["scope"] = sentence(plainMessage(placed))
		return f.show(http.StatusBadRequest)
	}
	switch action, arg, _ := strings.Cut(f.action(), ":"); action {
	case "choices":
		f.lookUp(arg)
		return f.show(http.StatusOK)
	case "preview":
		f.status = "The preview was made anew."
		return f.show(http.StatusOK)
	case "test":
		f.try(in)
		return f.show(http.StatusOK)
	}
	return f.save(in)
}

// action says which button was pressed. The Enter key presses the first one, whatever field it was pressed in; in the
// search for a setting's values it means to search.
func (f *linkForm) action() string {
	action := f.sent.Get("action")
	if action != "enter" {
		return action
	}
	for i := range f.def.Settings {
		set := &f.def.Settings[i]
		if q := f.sent.Get("q." + set.Key); set.Dynamic && q != f.sent.Get("was."+set.Key) {
			return "choices:" + set.Key
		}
	}
	return "save"
}

// plainMessage is an error's own sentence.
func plainMessage(err error) string { return err.Error() }

func (f *linkForm) save(in links.Input) error {
	ctx := f.r.Context()
	var v *links.View
	var err error
	switch {
	case f.view == nil:
		v, err = f.o.Links.Create(ctx, f.who, in)
	case f.changedSince():
		f.general = append(f.general, "Somebody else has changed this link since you opened the form. Save again to put what you see here in its place, or leave the page to keep theirs.")
		return f.show(http.StatusConflict)
	default:
		v, err = f.o.Links.Update(ctx, f.who, f.view.ID, in, nil, 0)
	}
	if err != nil {
		status := f.refuse(err)
		f.inspect(in)
		return f.show(status)
	}
	n := &note{Kind: "ok", Title: v.ShortName + " was saved."}
	if f.view == nil {
		n.Title = v.ShortName + " is linked."
	}
	switch v.State {
	case patchbay.LinkAttaching:
		n.Text = "It is being set up at " + f.def.Title + " now, which takes a moment."
	case patchbay.LinkActive:
		n.Text = v.Summary
	}
	for _, key := range slices.Sorted(maps.Keys(v.Secrets)) {
		n.Secrets = append(n.Secrets, [2]string{secretTitle(f.def, key), v.Secrets[key]})
	}
	f.leave(n)
	return f.redirect(settingsPath(v.Scope))
}

// secretTitle is what people call a secret that was made.
func secretTitle(d *integration.Definition, key string) string {
	if d == nil {
		return key
	}
	for i := range d.Settings {
		if d.Settings[i].Key == key {
			return d.Settings[i].Title
		}
	}
	if key == "hook_secret" {
		return "Secret that " + d.Title + " signs with"
	}
	return key
}

// changedSince reports whether somebody has changed the link since its form was drawn.
func (f *linkForm) changedSince() bool {
	at, err := time.Parse(time.RFC3339Nano, f.sent.Get("updated"))
	return err == nil && !at.Equal(f.view.UpdatedAt)
}

// draft is the form as what it is before it is saved.
func (f *linkForm) draft(in links.Input) links.Draft {
	d := links.Draft{Settings: in.Settings, Connection: in.Connection, Scope: in.Scope}
	if f.view != nil {
		d.Link = &f.view.ID
	}
	return d
}

// lookUp asks the partner for the values of a setting.
func (f *linkForm) lookUp(key string) {
	s := search{query: strings.TrimSpace(f.sent.Get("q." + key))}
	raw, err := f.raw()
	if err == nil {
		in := links.ChoiceInput{Settings: raw, Search: s.query}
		scope := string(f.scope)
		in.Scope = &scope
		if con := f.sent.Get("connection"); con != "" {
			in.Connection = &con
		}
		if f.view != nil {
			in.Link = &f.view.ID
		}
		s.found, err = f.o.Links.Choices(f.r.Context(), f.who, f.key, key, in)
	}
	switch {
	case err != nil:
		_, s.trouble, _, _ = f.explain(err)
		f.status = s.trouble
	case len(s.found) == 0:
		f.status = "Nothing was found."
	default:
		f.status = count(len(s.found), "choice", "choices") + " found."
	}
	f.searched[key] = s
}

// try tests what is in the form.
func (f *linkForm) try(in links.Input) {
	r, err := f.o.Links.TestSettings(f.r.Context(), f.who, f.key, f.draft(in))
	if err != nil {
		f.refuse(err)
		f.status = "The test could not be made."
		return
	}
	f.test = testWords(r, f.def.Title)
	f.status = f.test.Text
}

// testWords says what came of a test.
func testWords(r *links.TestResult, partner string) *testPart {
	if r.Status == "sent" {
		took := time.Duration(max(1, r.DurationMS)) * time.Millisecond
		return &testPart{OK: true, Text: "The test went through: " + partner + " took it within " + took.String() + "."}
	}
	return &testPart{Text: "The test failed: " + sentence(r.Error), Answer: r.ResponseBody}
}

// deletePage asks whether a link is really to be deleted.
type deletePage struct {
	Link         *links.View
	Title        string
	Back, Action string
	// Attached says that something is taken down at the partner.
	Attached bool
}

// theLink returns the link that the path names.
func (c *call) theLink() (*links.View, error) {
	var id patchbay.LinkID
	if id.UnmarshalText([]byte(c.r.PathValue("id"))) != nil || id == 0 {
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no link %q", clip(c.r.PathValue("id")))
	}
	v, err := c.o.Links.Get(c.r.Context(), c.who, id)
	if err != nil {
		return nil, err
	}
	if v.Integration != c.r.PathValue("key") {
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "the link %s is not one of the integration %q", id, clip(c.r.PathValue("key")))
	}
	return v, nil
}

func (c *call) confirmDelete() error {
	v, err := c.theLink()
	if err != nil {
		return err
	}
	if err := c.who.Require(access.Manage); err != nil {
		return patchbay.Errorf(patchbay.CodeForbidden, "you may look at this link, but not remove it")
	}
	_, attaches := c.integrations[v.Integration].(integration.Linker)
	return c.show(http.StatusOK, "delete", &page{Title: "Remove " + v.ShortName, Nav: "settings", Narrow: true, Body: &deletePage{
		Link: v, Title: c.titleOf(v.Integration), Back: settingsPath(v.Scope), Action: v.DeletePath + "/delete", Attached: attaches,
	}})
}

// deleteLink removes a link. DELETE is answered for programs, the form for people.
func (c *call) deleteLink() error {
	v, err := c.theLink()
	if err != nil {
		return err
	}
	if err := c.o.Links.Delete(c.r.Context(), c.who, v.ID); err != nil {
		return err
	}
	if c.r.Method == http.MethodDelete {
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	n := &note{Kind: "ok", Title: v.ShortName + " was removed."}
	if now, err := c.o.Links.Get(c.r.Context(), c.who, v.ID); err == nil && now.State == patchbay.LinkDetaching {
		n.Text = "What was set up at " + c.titleOf(v.Integration) + " is being taken down. Until that is done the link stays in the list."
	}
	c.leave(n)
	return c.redirect(settingsPath(v.Scope))
}

// formAddress is the address of the form of a new link.
func formAddress(key string, scope patchbay.Scope, more url.Values) string {
	q := url.Values{}
	for k, v := range more {
		q[k] = v
	}
	q.Set("scope", string(scope))
	return "/integrations/" + key + "/link?" + q.Encode()
}

// example returns the example of an event type as an event.
func (f *linkForm) example(ctx context.Context, key string) *patchbay.Event {
	t := f.o.Catalog.Type(key)
	if t == nil || ctx.Err() != nil {
		return nil
	}
	payload := t.Spec().Example
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	now := f.o.Now().UTC()
	return &patchbay.Event{Type: t.Key(), Scope: f.scope, Payload: payload, OccurredAt: now, ReceivedAt: now}
}
