package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/connect"
)

// Connections looks after accounts at partners.
type Connections interface {
	CookieName() string
	Cookie(r *connect.Redirect) *http.Cookie
	// Method says how accounts of an integration are connected; its error says why they cannot be.
	Method(key string) (*connect.Method, error)
	Begin(ctx context.Context, c *access.Caller, in connect.Start) (*connect.Redirect, error)
	Finish(ctx context.Context, c *access.Caller, in connect.Callback) (*connect.Finished, error)
	Create(ctx context.Context, c *access.Caller, in connect.Input) (v *connect.View, created bool, err error)
	Get(ctx context.Context, c *access.Caller, id patchbay.ConnectionID) (*connect.View, error)
	List(ctx context.Context, c *access.Caller, f connect.ListFilter) (views []connect.View, more bool, err error)
	Update(ctx context.Context, c *access.Caller, id patchbay.ConnectionID, in connect.Input, clear []string, ifMatch string) (*connect.View, error)
	Check(ctx context.Context, c *access.Caller, id patchbay.ConnectionID) (*connect.View, error)
	Delete(ctx context.Context, c *access.Caller, id patchbay.ConnectionID, force bool) (*connect.Deleted, error)
}

// connectPage asks for what is needed to connect an account: keys, or only to go on.
type connectPage struct {
	Key, Title string
	// Go, when not "", is where the partner's consent begins; then there is nothing to fill in.
	Go string
	// Apart says that it must not happen in the frame that the page is shown in.
	Apart bool
	// Whose is for whom the account is connected; it stands beside Go.
	Whose    string
	Action   string
	Back     string
	Problems []problemLine
	Fields   []*field
	Name     *field
	Scope    patchbay.Scope
	Return   string
}

// connectionPage is one connection, and what can be done with it.
type connectionPage struct {
	Row            connectionRow
	Title          string
	Back           string
	Again          string
	Action         string
	Name, Owner    *field
	Visible        bool
	Version        string
	Problems       []problemLine
	Confirm, Force bool
	// Uses are the links that use it.
	Uses     []linkUse
	MoreUses bool
}

// findConnections reads the connections that the link may use.
func (f *linkForm) findConnections() error {
	if _, ok := f.i.(integration.Connector); !ok || f.o.Connections == nil {
		return nil
	}
	views, _, err := f.o.Connections.List(f.r.Context(), f.who, connect.ListFilter{Serving: &f.scope, Integration: f.key, Limit: mostShown})
	if err != nil {
		return err
	}
	for i := range views {
		v := &views[i]
		o := option{Value: v.ID.String(), Title: v.Title()}
		if v.State == patchbay.ConnectionNeedsReauth {
			o.Help = "must be connected again"
		}
		f.connections = append(f.connections, o)
	}
	return nil
}

// connectFirst returns where to connect an account when the form makes no sense without one; "" when it does. Whoever
// does not want to says so by connection=none.
func (f *linkForm) connectFirst() string {
	if _, ok := f.i.(integration.Connector); !ok || f.o.Connections == nil || f.view != nil || len(f.connections) > 0 ||
		f.r.FormValue("connection") == "none" || !f.who.May(access.Secrets) {
		return ""
	}
	m, err := f.o.Connections.Method(f.key)
	if err != nil || !m.Browser && f.optional() {
		return ""
	}
	return f.connectAddress()
}

// connectAddress is where an account is connected for this form, and that leads back to it.
func (f *linkForm) connectAddress() string {
	back := url.Values{"scope": {string(f.scope)}}
	if f.view != nil {
		back = url.Values{"link": {f.view.ID.String()}}
	}
	return link("/auth/"+f.key, "scope", string(f.scope), "return", "/integrations/"+f.key+"/link?"+back.Encode())
}

// optional reports whether links of the integration can do without a connection: some setting takes its place.
func (f *linkForm) optional() bool {
	for i := range f.def.Settings {
		if f.def.Settings[i].UnlessConnected {
			return true
		}
	}
	return false
}

// account draws the choice of a connection; nil when the integration has none.
func (f *linkForm) account() *accountPart {
	if _, ok := f.i.(integration.Connector); !ok || f.o.Connections == nil {
		return nil
	}
	a := &accountPart{Title: f.def.Title, Error: f.errors["connection"], Optional: f.optional()}
	chosen := f.sent.Get("connection")
	if a.Optional || len(f.connections) == 0 {
		a.Options = append(a.Options, option{Title: "None", Chosen: chosen == ""})
	}
	known := chosen == ""
	for _, o := range f.connections {
		if o.Help != "" {
			o.Title += " (" + o.Help + ")"
		}
		o.Chosen = o.Value == chosen
		known = known || o.Chosen
		a.Options = append(a.Options, o)
	}
	if !known && f.view != nil && f.view.Connection != nil && f.view.Connection.String() == chosen {
		a.Options = append(a.Options, option{Value: chosen, Title: "The one that it has", Chosen: true})
	}
	if _, err := f.o.Connections.Method(f.key); err != nil {
		a.NotHere = sentence(err.Error())
	} else if f.who.May(access.Secrets) {
		a.Connect, a.Another = f.connectAddress(), len(f.connections) > 0
	}
	return a
}

// auth begins to connect an account: it goes to the partner's consent, or asks for keys.
func (c *call) auth() error {
	p, m, err := c.connecting()
	if err != nil {
		return err
	}
	if !m.Browser {
		return c.showKeys(http.StatusOK, p, m, url.Values{}, nil, nil)
	}
	if c.r.Header.Get("Sec-Fetch-Dest") == "iframe" { // partners do not let their consent be framed, and are right
		p.Apart = true
		token, err := c.o.Sessions.Handoff(c.r.Context(), c.who)
		if err != nil {
			return err
		}
		p.Go = link("/portal", "next", c.r.URL.RequestURI()) + "#" + token
	} else if q := c.r.URL.Query(); c.r.Header.Get("Sec-Fetch-Site") == "cross-site" || q.Has("ask") {
		// Somebody else's page wants this: its visitor has to want it too. So has whoever opens a portal that leads straight
		// here, because its address may come from somebody who wants an account that is not theirs.
		q.Del("ask")
		p.Go = (&url.URL{Path: c.r.URL.Path, RawQuery: q.Encode()}).RequestURI()
	}
	if p.Go != "" {
		p.Whose = scopeName(p.Scope)
		if c.who.User != "" {
			p.Whose = c.who.User + ", in " + p.Whose
		}
		return c.show(http.StatusOK, "connect", &page{Title: "Connect " + p.Title, Nav: "integrations", Narrow: true, Body: p})
	}
	in := connect.Start{Integration: p.Key, Scope: &p.Scope, Return: p.Return}
	if text := c.r.FormValue("connection"); text != "" {
		if in.Reconnect.UnmarshalText([]byte(text)) != nil {
			return patchbay.Errorf(patchbay.CodeNotFound, "there is no connection %q", clip(text))
		}
	}
	if cookie, err := c.r.Cookie(c.o.Connections.CookieName()); err == nil {
		in.Cookie = cookie.Value
	}
	to, err := c.o.Connections.Begin(c.r.Context(), c.who, in)
	if err != nil {
		return err
	}
	http.SetCookie(c.w, c.o.Connections.Cookie(to))
	return c.redirect(to.URL)
}

// connecting reads what an account is to be connected for.
func (c *call) connecting() (*connectPage, *connect.Method, error) {
	p := &connectPage{Key: c.r.PathValue("key"), Scope: c.who.Scope}
	d := c.definitions[p.Key]
	if d == nil || c.o.Connections == nil {
		return nil, nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no integration %q whose accounts could be connected", clip(p.Key))
	}
	p.Title = d.Title
	if err := c.who.Require(access.Secrets); err != nil {
		return nil, nil, patchbay.Errorf(patchbay.CodeForbidden, "you may not connect accounts here: ask whoever gave you this page")
	}
	if text := c.r.FormValue("scope"); text != "" {
		scope, err := patchbay.ParseScope(text)
		if err != nil {
			return nil, nil, err
		}
		if err := c.who.Reach(scope); err != nil {
			return nil, nil, patchbay.Errorf(patchbay.CodeForbidden, "%s is not yours to connect accounts for", scopeName(scope))
		}
		p.Scope = scope
	}
	p.Return = local(c.r.FormValue("return"), "")
	p.Back = local(p.Return, settingsPath(p.Scope))
	p.Action = "/auth/" + p.Key
	m, err := c.o.Connections.Method(p.Key)
	return p, m, err
}

// keysForm reads the keys of a partner that has no consent page.
func keysForm(m *connect.Method, sent url.Values, errs map[string]string) *settingsForm {
	return &settingsForm{spec: m.Keys, prefix: "settings.", sent: sent, errors: errs}
}

func (c *call) showKeys(status int, p *connectPage, m *connect.Method, sent url.Values, errs map[string]string, general []string) error {
	f := keysForm(m, sent, errs)
	if len(sent) == 0 {
		f.fill()
	}
	p.Fields = f.fields()
	p.Name = &field{ID: "f-name", Name: "name", Path: "name", Type: integration.TypeString, Title: "Name", Value: sent.Get("name"),
		Help: "What you want to call this account here.", Error: errs["name"]}
	for _, text := range general {
		p.Problems = append(p.Problems, problemLine{Text: text})
	}
	for _, x := range append(p.Fields, p.Name) {
		if x.Error != "" {
			p.Problems = append(p.Problems, problemLine{Href: "#" + x.ID, Text: x.Title + ": " + x.Error})
		}
	}
	return c.show(status, "connect", &page{Title: "Connect " + p.Title, Nav: "integrations", Narrow: true, Body: p})
}

// giveKeys takes the keys of a partner that has no consent page.
func (c *call) giveKeys() error {
	if err := c.form(); err != nil {
		return err
	}
	p, m, err := c.connecting()
	if err != nil {
		return err
	}
	if m.Browser {
		return c.redirect(c.r.URL.Path + "?" + c.r.PostForm.Encode())
	}
	raw, _, err := keysForm(m, c.r.PostForm, nil).settings()
	if err != nil {
		return err
	}
	scope, name := string(p.Scope), strings.TrimSpace(c.r.PostForm.Get("name"))
	in := connect.Input{Integration: &p.Key, Scope: &scope, Settings: raw}
	if name != "" {
		in.Name = &name
	}
	v, _, err := c.o.Connections.Create(c.r.Context(), c.who, in)
	if err != nil {
		code, text, details, _ := c.explain(err)
		status := code.HTTPStatus()
		errs := map[string]string{}
		var general []string
		for _, d := range details {
			errs[d.Path] = sentence(plain(d.Message))
		}
		if len(details) == 0 {
			general = append(general, text)
		}
		return c.showKeys(status, p, m, c.r.PostForm, errs, general)
	}
	return c.connected(v, p.Return)
}

// connected goes back to where the connection was wanted.
func (c *call) connected(v *connect.View, back string) error {
	c.leave(&note{Kind: "ok", Title: v.Title() + " is connected."})
	back = local(back, settingsPath(v.Scope))
	u, err := url.Parse(back)
	if err != nil {
		return c.redirect(settingsPath(v.Scope))
	}
	if strings.HasPrefix(u.Path, "/integrations/") {
		q := u.Query()
		q.Set("connection", v.ID.String())
		u.RawQuery = q.Encode()
	}
	return c.redirect(u.String())
}

// callback takes a browser that comes back from a partner's consent.
func (c *call) callback() error {
	key := c.r.PathValue("key")
	if c.o.Connections == nil {
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no integration %q whose accounts could be connected", clip(key))
	}
	in := connect.Callback{Integration: key, Query: c.r.URL.Query()}
	if cookie, err := c.r.Cookie(c.o.Connections.CookieName()); err == nil {
		in.Cookie = cookie.Value
	}
	done, err := c.o.Connections.Finish(c.r.Context(), c.who, in)
	if err == nil {
		return c.connected(done.Connection, done.Return)
	}
	code, text, _, _ := c.explain(err)
	status := code.HTTPStatus()
	body := &problemPage{Status: status, Title: "The account was not connected", Text: text, Next: settingsPath(c.who.Scope), NextTitle: "Go to your integrations"}
	if done != nil && local(done.Return, "") != "" {
		body.Next, body.NextTitle = done.Return, "Go back and try again"
		if u, err := url.Parse(done.Return); err == nil && strings.HasSuffix(u.Path, "/link") { // which would begin the consent anew
			q := u.Query()
			q.Set("connection", "none")
			u.RawQuery = q.Encode()
			body.Next, body.NextTitle = u.String(), "Go back to the form"
		}
	}
	c.showProblem(body)
	return nil
}

// theConnection returns the connection that the path names.
func (c *call) theConnection() (*connect.View, error) {
	var id patchbay.ConnectionID
	if id.UnmarshalText([]byte(c.r.PathValue("id"))) != nil || id == 0 || c.o.Connections == nil {
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no connection %q", clip(c.r.PathValue("id")))
	}
	return c.o.Connections.Get(c.r.Context(), c.who, id)
}

func (c *call) connection() error {
	v, err := c.theConnection()
	if err != nil {
		return err
	}
	return c.showConnection(http.StatusOK, v, nil, nil)
}

func (c *call) showConnection(status int, v *connect.View, sent url.Values, problem error) error {
	p := &connectionPage{
		Row: c.connectionRow(v, "/connections/"+v.ID.String()), Title: c.titleOf(v.Integration), Back: settingsPath(v.Scope), Action: "/connections/" + v.ID.String(),
		Again:   link("/auth/"+v.Integration, "connection", v.ID.String(), "return", "/connections/"+v.ID.String()),
		Name:    &field{ID: "f-name", Name: "name", Title: "Name", Type: integration.TypeString, Value: v.Name, Help: "What you want to call this account here."},
		Owner:   &field{ID: "f-owner", Name: "owner", Title: "Belongs to", Type: integration.TypeString, Value: v.Owner, Help: "The user of your product who answers for it. Write another one to hand it over."},
		Visible: v.Visible, Version: v.Version(),
	}
	p.Uses, p.MoreUses = c.usedBy(v.ID)
	if sent != nil {
		p.Name.Value, p.Owner.Value, p.Visible = sent.Get("name"), sent.Get("owner"), sent.Get("visible") == "true"
	}
	if problem != nil {
		_, text, details, _ := c.explain(problem)
		for _, d := range details {
			for _, f := range []*field{p.Name, p.Owner} {
				if f.Name == d.Path {
					f.Error = sentence(d.Message)
				}
			}
		}
		p.Problems = append(p.Problems, problemLine{Text: text})
	}
	return c.show(status, "connection", &page{Title: v.Title(), Nav: "settings", Narrow: true, Body: p})
}

// changeConnection does what a button on a connection's page asks for.
func (c *call) changeConnection() error {
	if err := c.form(); err != nil {
		return err
	}
	v, err := c.theConnection()
	if err != nil {
		return err
	}
	ctx, sent := c.r.Context(), c.r.PostForm
	switch sent.Get("action") {
	case "check":
		now, err := c.o.Connections.Check(ctx, c.who, v.ID)
		if err != nil {
			return err
		}
		kind, _, words := connectionHealth(now, c.titleOf(v.Integration))
		if kind == "ok" {
			words = c.titleOf(v.Integration) + " accepts it."
		}
		c.leave(&note{Kind: kind, Title: "Checked.", Text: words})
		return c.redirect(c.r.URL.Path)
	case "remove":
		return c.show(http.StatusOK, "connection", &page{Title: "Remove " + v.Title(), Nav: "settings", Narrow: true, Body: &connectionPage{
			Row: c.connectionRow(v, c.r.URL.Path), Title: c.titleOf(v.Integration), Back: c.r.URL.Path, Action: c.r.URL.Path, Confirm: true, Force: v.Links > 0,
		}})
	case "delete":
		gone, err := c.o.Connections.Delete(ctx, c.who, v.ID, sent.Get("force") == "true")
		if err != nil {
			return err
		}
		n := &note{Kind: "ok", Title: v.Title() + " was removed.", Text: sentence(gone.Notice)}
		if gone.Notice != "" {
			n.Kind = "warn"
		}
		c.leave(n)
		return c.redirect(settingsPath(v.Scope))
	}
	name, owner, visible := strings.TrimSpace(sent.Get("name")), strings.TrimSpace(sent.Get("owner")), sent.Get("visible") == "true"
	in := connect.Input{Name: &name, Visible: &visible}
	if owner != v.Owner {
		in.Owner = &owner
	}
	saved, err := c.o.Connections.Update(ctx, c.who, v.ID, in, nil, sent.Get("version"))
	if err != nil {
		code, _, _, _ := c.explain(err)
		status := code.HTTPStatus()
		return c.showConnection(status, v, sent, err)
	}
	c.leave(&note{Kind: "ok", Title: saved.Title() + " was saved."})
	return c.redirect(settingsPath(saved.Scope))
}
