package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/session"
)

// Keys looks after API keys.
type Keys interface {
	Create(ctx context.Context, c *access.Caller, in access.KeyInput) (*access.KeyView, error)
	List(ctx context.Context, c *access.Caller, after patchbay.KeyID, limit int) (views []access.KeyView, more bool, err error)
	Get(ctx context.Context, c *access.Caller, id patchbay.KeyID) (*access.KeyView, error)
	Delete(ctx context.Context, c *access.Caller, id patchbay.KeyID) error
}

// SignedIn knows who is signed in.
type SignedIn interface {
	// Sessions lists sessions, the oldest first, and says whether there are more.
	Sessions(ctx context.Context, c *access.Caller, f session.SessionFilter) (views []session.SessionView, more bool, err error)
	// OfKey lists some of the sessions that end with a key, and says whether there are more.
	OfKey(ctx context.Context, c *access.Caller, key patchbay.KeyID, limit int) (views []session.SessionView, more bool, err error)
	// EndSession ends one at once.
	EndSession(ctx context.Context, c *access.Caller, id patchbay.SessionID) error
}

// keysPage lists API keys.
type keysPage struct {
	Rows []keyRow
	// Next is the address of the next page, First that of the first one when this is another.
	Next, First string
}

type keyRow struct {
	*access.KeyView
	Name string
	// Own says that the viewer has signed in with it; it cannot be deleted then.
	Own, Expired, Soon bool
	Expires            time.Time
}

// newKeyPage makes a key.
type newKeyPage struct {
	Name, Scope, Expires string
	// Within is the viewer's own scope.
	Within   patchbay.Scope
	Grants   []grantRow
	Earliest string
	// Errors are by field; Problems are all of them.
	Errors   map[string]string
	Problems []problemLine
}

type grantRow struct {
	access.Permission
	Title, Help string
	Chosen      bool
}

// keyPage asks whether a key is to be deleted.
type keyPage struct {
	Key      keyRow
	Sessions []session.SessionView
	More     bool
}

// The bounds of a page of keys, of the sessions that are named, and of a form.
const (
	keysShown     = 50
	sessionsNamed = 10
	// expiresSoon is when a key that expires is worth a second look.
	expiresSoon = 14 * 24 * time.Hour
)

// grantWords say what a permission allows.
var grantWords = map[access.Permission][2]string{
	access.Publish: {"Publish", "Say what happened: events that go over links."},
	access.Inline:  {"Publish with settings", "Say what happened, and where to send it, in the same call."},
	access.Read:    {"Look", "See events, links and deliveries."},
	access.Manage:  {"Manage", "Look, and change links and connections, retry, cancel, replay and recover."},
	access.Admin:   {"Administer", "Everything, keys, sessions and event types too."},
}

// administrators answers everybody else as if a page did not exist, or says that it is not for them.
func (c *call) administrators() error {
	if c.who.Portal || c.o.Keys == nil || c.o.SignedIn == nil {
		return patchbay.Errorf(patchbay.CodeNotFound, "the page that you wanted does not exist")
	}
	return c.who.Require(access.Admin)
}

func (c *call) keyRow(v *access.KeyView) keyRow {
	r := keyRow{KeyView: v, Name: v.Name, Own: c.who.Key == v.ID}
	if r.Name == "" {
		r.Name = "Key …" + v.Hint
	}
	if v.ExpiresAt != nil {
		r.Expires = *v.ExpiresAt
		left := r.Expires.Sub(c.o.Now())
		r.Expired, r.Soon = left <= 0, left > 0 && left < expiresSoon
	}
	return r
}

func (c *call) keys() error {
	if err := c.administrators(); err != nil {
		return err
	}
	var after patchbay.KeyID
	if text := c.r.FormValue("after"); text != "" && after.UnmarshalText([]byte(text)) != nil {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not the identifier of a key", clip(text))
	}
	views, more, err := c.o.Keys.List(c.r.Context(), c.who, after, keysShown)
	if err != nil {
		return err
	}
	body := &keysPage{}
	for i := range views {
		body.Rows = append(body.Rows, c.keyRow(&views[i]))
	}
	if more {
		body.Next = link("/keys", "after", views[len(views)-1].ID.String())
	}
	if after != 0 {
		body.First = "/keys"
	}
	return c.show(http.StatusOK, "keys", &page{Title: "Keys", Nav: "keys", Body: body})
}

func (c *call) newKey() error {
	if err := c.administrators(); err != nil {
		return err
	}
	return c.showNewKey(http.StatusOK, url.Values{"scope": {string(c.who.Scope)}, "permission": {string(access.Publish)}}, nil)
}

// showNewKey shows the form as it was sent, with what is wrong in it.
func (c *call) showNewKey(status int, sent url.Values, wrong map[string]string) error {
	body := &newKeyPage{
		Name: sent.Get("name"), Scope: sent.Get("scope"), Expires: sent.Get("expires"), Within: c.who.Scope, Errors: wrong,
		Earliest: c.o.Now().UTC().Format(time.DateOnly),
	}
	for _, p := range access.Permissions() {
		w := grantWords[p]
		body.Grants = append(body.Grants, grantRow{p, w[0], w[1], slices.Contains(sent["permission"], string(p))})
	}
	title := "New key"
	for _, field := range []string{"name", "scope", "permissions", "expires"} {
		if text := wrong[field]; text != "" {
			title = "Problem: New key"
			body.Problems = append(body.Problems, problemLine{Href: "#f-" + field, Text: text})
		}
	}
	return c.show(status, "key-new", &page{Title: title, Nav: "keys", Narrow: true, Body: body})
}

func (c *call) createKey() error {
	if err := c.administrators(); err != nil {
		return err
	}
	if err := c.form(); err != nil {
		return err
	}
	f := c.r.PostForm
	in := access.KeyInput{Name: f.Get("name"), Scope: strings.TrimSpace(f.Get("scope")), Permissions: f["permission"]}
	wrong := map[string]string{}
	if text := f.Get("expires"); text != "" {
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			wrong["expires"] = "Write the day as 2027-01-31, or nothing for a key that does not expire."
		}
		in.ExpiresAt = day.Add(24 * time.Hour) // the day itself is still good
	}
	if len(wrong) > 0 {
		return c.showNewKey(http.StatusBadRequest, f, wrong)
	}
	v, err := c.o.Keys.Create(c.r.Context(), c.who, in)
	if code := patchbay.CodeOf(err); code == patchbay.CodeInvalidRequest || code == patchbay.CodeForbidden {
		_, text, details, _ := c.explain(err)
		if len(details) == 0 {
			details = []patchbay.Detail{{Path: "scope", Message: text}}
		}
		for _, d := range details {
			field, _, _ := strings.Cut(strings.TrimSuffix(d.Path, "_at"), "[")
			wrong[field] = sentence(d.Message)
		}
		return c.showNewKey(code.HTTPStatus(), f, wrong)
	}
	if err != nil {
		return err
	}
	row := c.keyRow(v)
	c.leave(&note{Kind: "ok", Title: row.Name + " is made.", Text: "Send it as Authorization: Bearer, or sign in with it.", Secrets: [][2]string{{row.Name, v.Token}}})
	return c.redirect("/keys")
}

func (c *call) keyOf() (*keyRow, error) {
	if err := c.administrators(); err != nil {
		return nil, err
	}
	var id patchbay.KeyID
	if id.UnmarshalText([]byte(c.r.PathValue("id"))) != nil || id == 0 {
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no API key %q", clip(c.r.PathValue("id")))
	}
	v, err := c.o.Keys.Get(c.r.Context(), c.who, id)
	if err != nil {
		return nil, err
	}
	row := c.keyRow(v)
	return &row, nil
}

func (c *call) confirmDeleteKey() error {
	row, err := c.keyOf()
	if err != nil {
		return err
	}
	if row.Own {
		return patchbay.Errorf(patchbay.CodeConflict, "this is the key that you have signed in with: sign in with another one to delete it")
	}
	body := &keyPage{Key: *row}
	if body.Sessions, body.More, err = c.o.SignedIn.OfKey(c.r.Context(), c.who, row.ID, sessionsNamed); err != nil {
		return err
	}
	return c.show(http.StatusOK, "key-delete", &page{Title: "Delete " + row.Name, Nav: "keys", Narrow: true, Body: body})
}

func (c *call) deleteKey() error {
	row, err := c.keyOf()
	if err != nil {
		return err
	}
	if err := c.o.Keys.Delete(c.r.Context(), c.who, row.ID); err != nil {
		return err
	}
	c.leave(&note{Kind: "ok", Title: row.Name + " is deleted.", Text: "Calls with it are refused, and sessions that stood on it have ended."})
	return c.redirect("/keys")
}
