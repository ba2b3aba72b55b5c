package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/rawjson"
	"github.com/patchbay/patchbay/internal/stream"
)

// Inbox shows what the integration of that name keeps. In a portal it knows what came over the portal's own links.
type Inbox interface {
	// Kept lists deliveries, newest first, with what was kept of each, and says whether there are more.
	Kept(ctx context.Context, c *access.Caller, q deliver.Query) ([]deliver.Kept, bool, error)
}

const (
	// inboxKey is the integration, and the name of an inbox that has none of its own.
	inboxKey = "inbox"
	// messagesShown is how many messages a page has; each may take 8 KiB.
	messagesShown = 20
	// inboxesNamed is how many links are looked at for the names of inboxes.
	inboxesNamed = 250
)

// inboxPage lists messages.
type inboxPage struct {
	Filter inboxFilter
	// Names are the inboxes that there are, all of them first.
	Names   []tab
	Types   []option
	Windows []option
	Rows    []keptMessage
	// Any says that there is an inbox at all; Add is the form of another one, "" for those who may not make it.
	Any, Filtered bool
	Add           string
	Next, Newest  string
	Live, Here    string
	Operator      bool
}

type inboxFilter struct{ Name, Type, Scope, Window string }

// keptMessage is one message that was kept.
type keptMessage struct {
	At                 time.Time
	Delivery           patchbay.DeliveryID
	Event              patchbay.EventID
	TypeTitle, Inbox   string
	Scope              patchbay.Scope
	LinkName, LinkEdit string
	// Message is a message, Other what a link with a body of its own sends; neither is there when it is no longer kept.
	Message *messagePart
	Other   *jsonPart
}

func (f *inboxFilter) pairs(more ...string) []string {
	return append([]string{"name", f.Name, "type", f.Type, "scope", f.Scope, "window", f.Window}, more...)
}

// inboxLink is a link to an inbox.
type inboxLink struct{ name, title, edit string }

// inboxQuery reads what the address selects; none says that nothing can be like that, and one that all of it comes over one
// link, or over any.
func (c *call) inboxQuery(f *inboxFilter, known map[patchbay.LinkID]inboxLink) (q deliver.Query, none bool, err error) {
	q = deliver.Query{Integration: inboxKey, States: []patchbay.DeliveryState{patchbay.DeliverySucceeded}, Limit: messagesShown}
	if q.Scope, err = c.scopeParameter(f.Scope); err != nil {
		return q, false, err
	}
	if q.Since, err = c.sinceOf(f.Window, ""); err != nil {
		return q, false, err
	}
	if q.Types, none, err = c.typesOf(f.Type); err != nil || none {
		return q, none, err
	}
	if text := c.r.FormValue("before"); text != "" && q.Before.UnmarshalText([]byte(text)) != nil {
		return q, false, patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not the identifier of a delivery", clip(text))
	}
	if f.Name == "" && !c.who.Portal {
		return q, false, nil
	}
	for id, l := range known {
		if f.Name == "" || l.name == f.Name {
			q.Links = append(q.Links, id)
		}
	}
	slices.Sort(q.Links)
	return q, len(q.Links) == 0, nil
}

// inboxes are the links to inboxes that the viewer sees.
func (c *call) inboxes() (map[patchbay.LinkID]inboxLink, error) {
	views, _, err := c.o.Links.List(c.r.Context(), c.who, links.ListFilter{Integration: inboxKey, Limit: inboxesNamed})
	if err != nil {
		return nil, err
	}
	out := make(map[patchbay.LinkID]inboxLink, len(views))
	for i := range views {
		v := &views[i]
		name, ok := decode(v.Settings)["name"].(string)
		if !ok {
			name = inboxKey
		}
		out[v.ID] = inboxLink{name: name, title: v.ShortName, edit: "/links/" + v.ID.String()}
	}
	return out, nil
}

func readInboxFilter(q url.Values) inboxFilter {
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	return inboxFilter{Name: get("name"), Type: get("type"), Scope: get("scope"), Window: get("window")}
}

func (c *call) inbox() error {
	if c.o.Inbox == nil {
		return notKept("messages")
	}
	if err := c.who.Require(access.Read); err != nil {
		return err
	}
	f := readInboxFilter(c.r.URL.Query())
	known, err := c.inboxes()
	if err != nil {
		return err
	}
	q, none, err := c.inboxQuery(&f, known)
	if err != nil {
		return err
	}
	body := &inboxPage{
		Filter: f, Windows: windowOptions(f.Window), Filtered: f != inboxFilter{}, Any: len(known) > 0, Operator: !c.who.Portal,
		Here: link("/inbox", f.pairs()...), Names: inboxNames(&f, known),
	}
	for _, t := range c.o.Catalog.Types() {
		body.Types = append(body.Types, option{Value: t.Key(), Title: t.Title()})
	}
	if c.who.May(access.Manage) {
		body.Add = link("/integrations/"+inboxKey+"/link", "scope", f.Scope)
	}
	var kept []deliver.Kept
	var more bool
	if !none {
		if kept, more, err = c.o.Inbox.Kept(c.r.Context(), c.who, q); err != nil {
			return err
		}
	}
	for i := range kept {
		body.Rows = append(body.Rows, c.keptMessage(&kept[i], known))
	}
	if more && len(kept) > 0 {
		body.Next = link("/inbox", f.pairs("before", kept[len(kept)-1].ID.String())...)
	}
	switch {
	case q.Before != 0:
		body.Newest = body.Here
	case c.o.Stream != nil && !none && (f.Name == "" || len(q.Links) == 1 || len(q.Links) == len(known)):
		body.Live = link("/inbox/live", f.pairs()...)
	}
	return c.show(http.StatusOK, "inbox", &page{Title: "Inbox", Nav: "inbox", Body: body})
}

// inboxNames are the inboxes beside each other.
func inboxNames(f *inboxFilter, known map[patchbay.LinkID]inboxLink) []tab {
	var names []string
	for _, l := range known {
		if !slices.Contains(names, l.name) {
			names = append(names, l.name)
		}
	}
	slices.Sort(names)
	if f.Name != "" && !slices.Contains(names, f.Name) {
		names = append(names, f.Name)
	}
	if len(names) < 2 && f.Name == "" {
		return nil
	}
	all := *f
	all.Name = ""
	out := []tab{{"All", link("/inbox", all.pairs()...), f.Name == ""}}
	for _, name := range names {
		one := *f
		one.Name = name
		out = append(out, tab{name, link("/inbox", one.pairs()...), f.Name == name})
	}
	return out
}

// keptMessage draws one message.
func (c *call) keptMessage(k *deliver.Kept, known map[patchbay.LinkID]inboxLink) keptMessage {
	out := keptMessage{At: k.ID.Time(), Delivery: k.ID, Event: k.Event, TypeTitle: c.typeTitle(k.EventType), Scope: k.Scope, LinkName: c.titleOf(inboxKey)}
	if k.Last != nil {
		out.At = k.Last.At
	}
	if k.Link != nil {
		if l, ok := known[*k.Link]; ok {
			out.LinkName, out.LinkEdit, out.Inbox = l.title, l.edit, l.name
		}
	}
	if k.Body == "" {
		return out
	}
	var m patchbay.Message
	raw := []byte(k.Body)
	if title, ok := rawjson.Get(raw, "title"); ok && rawjson.KindOf(title) == rawjson.KindString && json.Unmarshal(raw, &m) == nil && m.Title != "" {
		out.Message = drawMessage(&m)
		return out
	}
	out.Other = jsonOf("kept-"+k.ID.String(), "What was kept", "", raw)
	return out
}

// inboxLive tells the list how much has arrived since.
func (c *call) inboxLive() error {
	f := readInboxFilter(c.r.URL.Query())
	known, err := c.inboxes()
	if err != nil {
		return err
	}
	q, none, err := c.inboxQuery(&f, known)
	if err != nil {
		return err
	}
	if none {
		return notKept("messages")
	}
	filter := stream.Filter{Kinds: []string{stream.KindAttempt}, Integration: inboxKey, Scope: q.Scope}
	if f.Type != "" {
		filter.Types = patterns(q.Types)
	}
	if len(q.Links) == 1 {
		filter.Link = q.Links[0]
	}
	return c.watch(filter)
}
