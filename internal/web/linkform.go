package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/links"
)

// linkPage is the form of a link, new or not.
type linkPage struct {
	Key, Title, Description string
	// Action is where the form is sent, Back where one goes without it.
	Action, Back string
	Editing      *links.View
	// Problems are what is wrong, with the fields that they are about.
	Problems []problemLine
	Account  *accountPart
	// Fields are the settings that have to be looked at, Rest those that can be left alone.
	Fields, Rest []*field
	RestOpen     bool
	Events       *eventsPart
	Scope        *field
	Scopes       []option
	Reaches      []option
	// Name, Filter and Slot are the rest of a link; More unfolds them.
	Name, Filter, Slot *field
	Visible            bool
	More               bool
	Draft              string
	Updated            string
	Preview            *previewPart
	Test               *testPart
	// CanTest says that there is something to test, Sends and Receives what the integration does.
	CanTest, Sends, Receives bool
}

// problemLine is one line of the summary of what is wrong.
type problemLine struct{ Href, Text string }

// accountPart is the choice of a connection.
type accountPart struct {
	// Title is the partner's.
	Title    string
	Options  []option
	Connect  string
	Another  bool
	Error    string
	NotHere  string
	Optional bool
}

// linkForm is a request for a link's form, or with one.
type linkForm struct {
	*call
	key     string
	i       integration.Integration
	def     *integration.Definition
	scope   patchbay.Scope
	view    *links.View // of the link that is edited; nil for a new one
	sent    url.Values
	drafts  map[string]string
	errors  map[string]string
	general []string
	// connections are those that the link may use.
	connections []option
	searched    map[string]search
	test        *testPart
	status      string
}

// search is what came of looking values up at the partner.
type search struct {
	query   string
	found   []integration.Choice
	trouble string
}

// linkForm finds out what a request is about: the integration, and the link where one is named.
func (c *call) linkForm() (*linkForm, error) {
	f := &linkForm{call: c, key: c.r.PathValue("key"), errors: map[string]string{}, searched: map[string]search{}, scope: c.who.Scope}
	f.i, f.def = c.integrations[f.key], c.definitions[f.key]
	if f.i == nil {
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no integration %q: the gallery shows those that there are", clip(f.key))
	}
	if err := c.who.Require(access.Manage); err != nil {
		return nil, patchbay.Errorf(patchbay.CodeForbidden, "you may look at what is linked here, but not change it: ask whoever gave you this page")
	}
	if id := c.r.FormValue("link"); id != "" {
		var lid patchbay.LinkID
		if lid.UnmarshalText([]byte(id)) != nil {
			return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no link %q", clip(id))
		}
		v, err := c.o.Links.Get(c.r.Context(), c.who, lid)
		if err != nil {
			return nil, err
		}
		if v.Integration != f.key {
			return nil, patchbay.Errorf(patchbay.CodeNotFound, "the link %s is not one of %s", lid, f.def.Title)
		}
		f.view, f.scope = v, v.Scope
	}
	return f, nil
}

// place reads the scope that the request names. It is the viewer's own, or lies below it.
func (f *linkForm) place(text string) error {
	scope, err := patchbay.ParseScope(strings.Trim(strings.TrimSpace(text), "/"))
	if err != nil {
		return err
	}
	if err := f.who.Reach(scope); err != nil {
		return patchbay.Errorf(patchbay.CodeForbidden, "%s is not yours to change: a link of yours belongs to %s, or below it", scopeName(scope), scopeName(f.who.Scope))
	}
	f.scope = scope
	return nil
}

// stored returns the masked settings of the link that is edited; nil for a new one.
func (f *linkForm) stored() map[string]any {
	if f.view == nil {
		return nil
	}
	if m := decode(f.view.Settings); m != nil {
		return m
	}
	return map[string]any{}
}

// settingsForm is the part of the form that the integration's Spec describes.
func (f *linkForm) settingsForm() *settingsForm {
	return &settingsForm{
		spec: f.def.Settings, prefix: "settings.", sent: f.sent, stored: f.stored(), drafts: f.drafts, connected: f.sent.Get("connection") != "",
		locked: !f.who.May(access.Secrets), errors: f.errors,
	}
}

// begin fills the form of a page that nobody has sent yet.
func (f *linkForm) begin() {
	s := f.settingsForm()
	s.fill()
	f.sent = s.sent
	f.sent.Set("scope", string(f.scope))
	f.sent.Set("reach", string(patchbay.ReachSubtree))
	f.sent.Set("connection", f.firstConnection())
	v := f.view
	if v == nil {
		return
	}
	f.sent.Set("reach", string(v.Reach))
	f.sent.Set("name", v.Name)
	f.sent.Set("filter", text(v.Filter))
	f.sent.Set("slot", text(v.Slot))
	f.sent.Set("connection", "")
	if v.Connection != nil {
		f.sent.Set("connection", v.Connection.String())
	}
	if v.Visible {
		f.sent.Set("visible", "true")
	}
	var free []string
	for _, p := range v.Events {
		if f.listed(p) {
			f.sent.Add("events", string(p))
		} else {
			free = append(free, string(p))
		}
	}
	f.sent.Set("patterns", strings.Join(free, "\n"))
}

// firstConnection is the connection that a new link would use: the one that the address names, as after a consent, or the
// first.
func (f *linkForm) firstConnection() string {
	asked := f.r.FormValue("connection")
	if asked == "none" || len(f.connections) == 0 {
		return ""
	}
	for _, o := range f.connections {
		if o.Value == asked {
			return asked
		}
	}
	return f.connections[0].Value
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// events returns the patterns that were chosen and written.
func (f *linkForm) events() []string {
	out := []string{}
	if slices.Contains(f.sent["events"], "*") {
		out = append(out, "*")
	} else {
		out = append(out, f.sent["events"]...)
	}
	for _, p := range lines(strings.Split(strings.ReplaceAll(f.sent.Get("patterns"), ",", "\n"), "\n")) {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// input is the form as the service takes it, and the secrets that were typed.
func (f *linkForm) input() (links.Input, map[string]string, error) {
	settings, secrets, err := f.settingsForm().settings()
	if err != nil {
		return links.Input{}, nil, err
	}
	get := func(name string) *string {
		v := strings.TrimSpace(f.sent.Get(name))
		return &v
	}
	scope, visible := string(f.scope), f.sent.Get("visible") == "true"
	in := links.Input{
		Scope: &scope, Reach: get("reach"), Events: f.events(), Filter: get("filter"), Settings: settings, Slot: get("slot"),
		Connection: get("connection"), Visible: &visible, Name: get("name"),
	}
	if f.view == nil {
		in.Integration = &f.key
	} else {
		in.Base = f.view.ID
	}
	if *in.Connection == "" && (f.view == nil || f.view.Connection == nil) {
		in.Connection = nil
	}
	return in, secrets, nil
}

// refuse keeps an error for the fields that it is about. Those that it does not name, and internal ones, are said above
// the form.
func (f *linkForm) refuse(err error) (status int) {
	code, text, details, _ := f.explain(err)
	status = code.HTTPStatus()
	if len(details) == 0 {
		f.general = append(f.general, text)
		return status
	}
	known := f.paths()
	for _, d := range details {
		at := d.Path
		for at != "" && !known[at] {
			cut := strings.LastIndexByte(at, '.')
			at = at[:max(cut, 0)]
		}
		message := sentence(plain(d.Message))
		if at != d.Path && at != "" {
			message = strings.TrimPrefix(d.Path, at+".") + ": " + message
		}
		switch {
		case at == "":
			f.general = append(f.general, sentence(d.Path+" "+d.Message))
		case f.errors[at] == "":
			f.errors[at] = message
		case at != d.Path:
			f.errors[at] += " " + message
		}
	}
	return status
}

// inspect looks for what else is wrong with a form that was refused: the service names the first mistake, a person wants to
// hear of all of them.
func (f *linkForm) inspect(in links.Input) {
	connected := f.sent.Get("connection") != ""
	if f.view == nil {
		if _, err := f.def.Settings.Check(in.Settings, integration.CheckOptions{IgnoreUnknown: true, Connected: connected}); err != nil {
			f.refuse(err)
		}
	}
	given, stored := decode(in.Settings), f.stored()
	for i := range f.def.Settings {
		set := &f.def.Settings[i]
		path := "settings." + set.Key
		v, sent := given[set.Key]
		if set.Required && !(set.UnlessConnected && connected) && set.Default == nil && set.Generate == nil && f.errors[path] == "" &&
			v == nil && (sent || stored[set.Key] == nil) {
			f.errors[path] = "This is required."
		}
	}
	_, sends := f.i.(integration.Sender)
	_, receives := f.i.(integration.Receiver)
	if sends && !receives && len(in.Events) == 0 && f.errors["events"] == "" {
		f.errors["events"] = "This needs at least one type, or everything."
	}
}

// plain shortens what is said of a required setting by its title, which stands above the field anyway.
func plain(message string) string {
	if strings.HasPrefix(message, "is required (") {
		return "is required"
	}
	return message
}

// paths are what details of an error can be about.
func (f *linkForm) paths() map[string]bool {
	out := map[string]bool{"scope": true, "reach": true, "events": true, "filter": true, "slot": true, "name": true, "connection": true}
	var walk func(spec integration.Spec, path string)
	walk = func(spec integration.Spec, path string) {
		for i := range spec {
			out[path+"."+spec[i].Key] = true
			walk(spec[i].Fields, path+"."+spec[i].Key)
		}
	}
	walk(f.def.Settings, "settings")
	return out
}

// page draws the form.
func (f *linkForm) page() *linkPage {
	_, sends := f.i.(integration.Sender)
	_, receives := f.i.(integration.Receiver)
	_, tests := f.i.(integration.Tester)
	s := f.settingsForm()
	p := &linkPage{
		Key: f.key, Title: f.def.Title, Description: f.def.Description, Editing: f.view, Fields: s.fields(), Sends: sends, Receives: receives,
		CanTest: sends || tests, Test: f.test, Account: f.account(),
		Action: "/integrations/" + f.key + "/link", Back: settingsPath(f.scope),
		Reaches: reaches(f.sent.Get("reach")), Visible: f.sent.Get("visible") == "true",
		Scope:  f.plainField("scope", "Where it belongs", ""),
		Name:   f.plainField("name", "Name", "What you want to call this link. It shows in lists, and nowhere at "+f.def.Title+"."),
		Filter: f.plainField("filter", "Only when", "A condition in CEL over type, scope, payload, actor and source. Empty: always."),
		Slot:   f.plainField("slot", "Slot", "A scope below can replace this link, or opt out of it, with a link of its own in the same slot."),
	}
	p.Filter.Example = "payload.branch == 'main'"
	p.Scopes = f.knownScopes()
	all := p.Fields
	for key, found := range f.searched {
		if x := find(all, key); x != nil {
			show(x, found, f.sent)
		}
	}
	p.Fields, p.Rest, p.RestOpen = f.split(all)
	if sends {
		p.Events = f.eventsPart(receives)
		p.Preview = f.preview()
	}
	if f.view != nil {
		p.Updated = f.view.UpdatedAt.Format(time.RFC3339Nano)
	}
	p.More = f.errors["filter"] != "" || f.errors["slot"] != "" || f.sent.Get("filter") != "" || f.sent.Get("slot") != "" || p.Visible ||
		f.errors["reach"] != "" || f.sent.Get("reach") != string(patchbay.ReachSubtree)
	p.Draft = f.sealed()
	p.Problems = f.problems(p)
	return p
}

// split parts the settings that have to be looked at from those that can be left alone, and says whether something among the
// latter was filled in.
func (f *linkForm) split(all []*field) (first, rest []*field, open bool) {
	for i, x := range all {
		set := &f.def.Settings[i]
		if set.Required || set.UnlessConnected || set.Dynamic || set.Main {
			first = append(first, x)
			continue
		}
		rest = append(rest, x)
		usual := ""
		if set.Default != nil {
			usual = fmt.Sprint(set.Default)
		}
		open = open || x.Error != "" || x.Kept || len(x.Pairs) > 0 || x.Type == integration.TypeObject && x.Open ||
			x.Type == integration.TypeBoolean && x.Checked != (set.Default == true) ||
			x.Type != integration.TypeSelect && x.Value != "" && x.Value != usual ||
			slices.ContainsFunc(x.Options, func(o option) bool { return o.Chosen && o.Value != usual })
	}
	if len(rest) == 1 { // which is not worth folding
		return all, nil, false
	}
	return first, rest, open
}

func (f *linkForm) plainField(name, title, help string) *field {
	return &field{ID: elementID(name), Name: name, Path: name, Type: integration.TypeString, Title: title, Help: help, Value: f.sent.Get(name), Error: f.errors[name]}
}

// problems lists what is wrong in the order in which the page shows it.
func (f *linkForm) problems(p *linkPage) []problemLine {
	var out []problemLine
	for _, text := range f.general {
		out = append(out, problemLine{Text: text})
	}
	left := maps.Clone(f.errors)
	add := func(path, title, id string) {
		if text := left[path]; text != "" {
			out = append(out, problemLine{Href: "#" + id, Text: title + ": " + text})
			delete(left, path)
		}
	}
	add("connection", "Account", "f-connection")
	var walk func(fields []*field)
	walk = func(fields []*field) {
		for _, x := range fields {
			id := x.ID
			if x.Type == integration.TypeMap {
				id += "-k-0"
			}
			add(x.Path, x.Title, id)
			walk(x.Fields)
		}
	}
	walk(p.Fields)
	walk(p.Rest)
	add("events", "Events", "f-events")
	for _, x := range []*field{p.Scope, p.Name, p.Filter, p.Slot} {
		add(x.Path, x.Title, x.ID)
	}
	for _, path := range slices.Sorted(maps.Keys(left)) {
		out = append(out, problemLine{Text: sentence(path + ": " + left[path])})
	}
	return out
}

func reaches(now string) []option {
	out := []option{
		{Value: string(patchbay.ReachSubtree), Title: "What happens here, and everywhere below"},
		{Value: string(patchbay.ReachExact), Title: "Only what happens here"},
		{Value: string(patchbay.ReachChildren), Title: "Only what happens exactly one level below"},
	}
	for i := range out {
		out[i].Chosen = out[i].Value == now
	}
	return out
}

// maxScopes bounds the scopes that are proposed.
const maxScopes = 200

// knownScopes are the viewer's own scope, the one that was asked for, and those below that something is linked in.
func (f *linkForm) knownScopes() []option {
	scopes := []patchbay.Scope{f.who.Scope}
	if views, _, err := f.o.Links.List(f.r.Context(), f.who, links.ListFilter{Limit: maxScopes}); err == nil {
		for _, v := range views {
			scopes = append(scopes, v.Scope)
		}
	}
	scopes = append(scopes, f.scope)
	slices.Sort(scopes)
	var out []option
	for _, s := range slices.Compact(scopes) {
		if f.who.Sees(s) && f.o.Kinds.Takes(f.def, s) {
			out = append(out, option{Value: string(s), Title: scopeName(s), Chosen: s == f.scope})
		}
	}
	return out
}

// show puts what was found at the partner into the field that it was looked up for.
func show(x *field, s search, sent url.Values) {
	x.Asked, x.Search, x.Trouble = true, s.query, s.trouble
	now := sent[x.Name]
	if x.Type == integration.TypeList {
		now = lines(now)
	}
	for _, value := range now {
		if value != "" && !slices.ContainsFunc(s.found, func(c integration.Choice) bool { return c.Value == value }) {
			x.Found = append(x.Found, option{Value: value, Title: value, Help: "chosen before", Chosen: true})
		}
	}
	for _, c := range s.found {
		title := c.Title
		if title == "" {
			title = c.Value
		}
		x.Found = append(x.Found, option{Value: c.Value, Title: title, Help: c.Help, Chosen: slices.Contains(now, c.Value)})
	}
}

// raw returns the settings as they are, for what needs no complete form.
func (f *linkForm) raw() (json.RawMessage, error) {
	raw, _, err := f.settingsForm().settings()
	return raw, err
}
