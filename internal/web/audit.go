package web

import (
	"context"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/markup"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/audit"
)

// Audit says who changed what.
type Audit interface {
	// List lists entries, the newest first, and says whether there are more.
	List(ctx context.Context, c *access.Caller, q audit.Query) (entries []audit.Entry, more bool, err error)
	// Each calls do with all that a query selects.
	Each(ctx context.Context, c *access.Caller, q audit.Query, do func(*audit.Entry) error) error
}

// auditPage is who changed what, by day.
type auditPage struct {
	Filter   auditFilter
	Families []option
	Windows  []option
	Days     []auditDay
	// Filtered says that something is left out; Shown says in words what is shown alone, "" for all.
	Filtered     bool
	Next, Newest string
	// CSV and NDJSON are the addresses of everything that is selected, as files.
	CSV, NDJSON string
}

// auditFilter is what the address selects, as it was written.
type auditFilter struct{ Action, Actor, Object, Scope, Window, Since, Until string }

// auditDay is what was done on a day of UTC, the newest first.
type auditDay struct {
	At   time.Time
	Acts []act
}

// act is one entry.
type act struct {
	audit.Entry
	Icon template.HTML
	// Kind colours it: what was lost, refused, or made.
	Kind string
	// Who did it, and the address of what else they did; Did is what, in words.
	Who, WhoHref, Did string
	// Called is what it was done to, ObjectHref its page and History the address of all that was done to it; "" where there is none.
	Called, ObjectHref, History string
	// How says by which way and with which program.
	How     string
	Changes []actChange
	// Fields names those that changed.
	Fields string
}

// actChange is a field that became something else, as text.
type actChange struct {
	Field    string
	From, To string
	// Made and Gone say that it was nothing before, or is nothing now; Secret that it is not shown.
	Made, Gone, Secret bool
}

// fieldsNamed is how many fields are named that changed.
const fieldsNamed = 5

// valueShown is how much of a value a page shows, in characters.
const valueShown = 400

// auditSpans are the stretches of time that the page offers.
var auditSpans = []struct {
	key, title string
	span       time.Duration
}{
	{"", "Any time", 0}, {"24h", "Last 24 hours", 24 * time.Hour}, {"7d", "Last 7 days", 7 * 24 * time.Hour},
	{"30d", "Last 30 days", 30 * 24 * time.Hour},
}

// families are the kinds of actions, by what they begin with.
var families = []struct {
	prefix, title string
	icon          template.HTML
}{
	{"link.", "Links", icon(`<path d="M9.5 14.5l5-5M8 11l-2.5 2.5a3.9 3.9 0 0 0 5.5 5.5L13.5 16.5M16 13l2.5-2.5A3.9 3.9 0 0 0 13 5l-2.5 2.5"/>`)},
	{"connection.", "Connections", icon(`<path d="M12 3v5M7 8h10v4a5 5 0 0 1-10 0zM12 17v4M9 3v5M15 3v5"/>`)},
	{"key.", "Keys", icon(`<path d="M8 11.5a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM11 12.5 19 4.5M15.5 8l3 3M13 10.5l2 2"/>`)},
	{"session.", "Sign-ins", icon(`<path d="M14 4h5v16h-5M4 12h10m-4-4 4 4-4 4"/>`)},
	{"portal.", "Portals", icon(`<path d="M4 5h16v14H4zM4 9h16M7 7h.01M10 7h.01"/>`)},
	{"event_type.", "Catalog", icon(`<path d="M5 4.5h10a4 4 0 0 1 4 4v11H9a4 4 0 0 1-4-4zM5 15.5a4 4 0 0 1 4-4h10"/>`)},
	{"event.", "Events", icon(`<path d="M4 6h16M4 12h16M4 18h9"/>`)},
	{"delivery.", "Deliveries", icon(`<path d="M4 12 20 4l-6 16-3-7-7-1z"/>`)},
	{"hook.", "Hooks", icon(`<path d="M12 3v8m0 0 4-4m-4 4L8 7M5 14v3a3 3 0 0 0 3 3h8a3 3 0 0 0 3-3v-3"/>`)},
	{"job.", "Jobs", icon(`<path d="M4 5h16v4H4zM4 15h16v4H4zM8 9v6m8-6v6"/>`)},
	{"payloads.", "Erased payloads", icon(`<path d="M4 18h16M8 18 5 13l9-9 6 6-8 8M9 8l6 6"/>`)},
	{"tenant.", "Erased tenants", icon(`<path d="M4 18h16M8 18 5 13l9-9 6 6-8 8M9 8l6 6"/>`)},
	{"secrets.", "Secrets at rest", icon(`<path d="M6 11h12v9H6zM9 11V8a3 3 0 0 1 6 0v3"/>`)},
}

// doings say in words what was done, before what it was done to, and colour it.
var doings = map[string]struct{ words, kind string }{
	"link.created": {"made the link", "ok"}, "link.updated": {"changed the link", ""}, "link.deleted": {"deleted the link", "bad"},
	"link.paused": {"paused the link", "warn"}, "link.resumed": {"resumed the link", "ok"}, "link.disabled": {"disabled the link", "warn"},
	"link.secret_rotated": {"rotated the secret of the link", ""}, "link.opted_out": {"opted out of the link", "warn"},
	"link.opted_in": {"opted into the link again", "ok"}, "link.restored": {"took back a change of the link", "warn"},
	"connection.connected": {"connected the account", "ok"}, "connection.reconnected": {"connected the account again", "ok"},
	"connection.updated": {"changed the connection", ""}, "connection.deleted": {"removed the connection", "bad"},
	"connection.expired": {"noticed that the account needs its owner again:", "warn"},
	"key.created":        {"made the key", "ok"}, "key.deleted": {"deleted the key", "bad"},
	"session.signed_in": {"signed in", ""}, "session.signed_out": {"signed out", ""}, "session.revoked": {"ended the session of", "warn"},
	"session.refused": {"was not let in", "bad"},
	"portal.created":  {"opened a portal for", ""}, "portal.deleted": {"closed the portal of", ""},
	"event_type.created": {"added the event type", "ok"}, "event_type.updated": {"changed the event type", ""},
	"event_type.deleted": {"deleted the event type", "bad"},
	"event.replayed":     {"replayed the event", ""}, "delivery.retried": {"retried the delivery of", ""},
	"delivery.cancelled": {"cancelled the delivery of", "warn"}, "hook.replayed": {"had the hook read again:", ""},
	"job.created": {"began the job", ""}, "job.cancelled": {"cancelled the job", "warn"},
	"payloads.erased": {"erased what events say", "bad"}, "tenant.erased": {"erased a tenant", "bad"},
	"secrets.rotated": {"made another key seal the secrets:", ""},
}

// aboutSelf are actions of sessions on themselves: whom they are about is who did it.
var aboutSelf = []string{"session.signed_in", "session.signed_out", "session.refused"}

func readAuditFilter(q url.Values) auditFilter {
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	return auditFilter{
		Action: get("action"), Actor: get("actor"), Object: get("object"), Scope: get("scope"), Window: get("window"), Since: get("since"), Until: get("until"),
	}
}

func (f *auditFilter) pairs(more ...string) []string {
	return append([]string{
		"action", f.Action, "actor", f.Actor, "object", f.Object, "scope", f.Scope, "window", f.Window, "since", f.Since, "until", f.Until,
	}, more...)
}

// auditQuery reads what the filters say.
func (c *call) auditQuery(f *auditFilter) (q audit.Query, err error) {
	if c.o.Audit == nil {
		return q, notKept("audit log")
	}
	if err := c.forOperators(); err != nil {
		return q, err
	}
	q = audit.Query{Action: f.Action, Actor: f.Actor, Object: f.Object, Limit: rowsShown}
	if f.Scope != "" {
		scope, err := c.scopeParameter(f.Scope)
		if err != nil {
			return q, err
		}
		q.Scope = &scope
	}
	if q.Since, err = exactTime("since", f.Since); err != nil {
		return q, err
	}
	if q.Until, err = exactTime("until", f.Until); err != nil {
		return q, err
	}
	i := slices.IndexFunc(auditSpans, func(w struct {
		key, title string
		span       time.Duration
	}) bool {
		return w.key == f.Window
	})
	if i < 0 {
		return q, patchbay.Invalid("window", "must be one of 24h, 7d and 30d, or be left out")
	}
	if begin := c.o.Now().Add(-auditSpans[i].span).UTC(); i > 0 && begin.After(q.Since) {
		q.Since = begin
	}
	return q, nil
}

func (c *call) auditLog() error {
	f := readAuditFilter(c.r.URL.Query())
	q, err := c.auditQuery(&f)
	if err != nil {
		return err
	}
	if text := c.r.FormValue("before"); text != "" && q.Before.UnmarshalText([]byte(text)) != nil {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not the identifier of an entry", clip(text))
	}
	entries, more, err := c.o.Audit.List(c.r.Context(), c.who, q)
	if err != nil {
		return err
	}
	body := &auditPage{
		Filter: f, Filtered: f != auditFilter{}, CSV: link("/audit/export", f.pairs("format", "csv")...), NDJSON: link("/audit/export", f.pairs("format", "ndjson")...),
	}
	body.Families = append(body.Families, option{Title: "Everything", Chosen: f.Action == ""})
	known := f.Action == ""
	for _, x := range families {
		body.Families = append(body.Families, option{Value: x.prefix, Title: x.title, Chosen: f.Action == x.prefix})
		known = known || f.Action == x.prefix
	}
	if !known {
		body.Families = append(body.Families, option{Value: f.Action, Title: f.Action, Chosen: true})
	}
	for _, w := range auditSpans {
		body.Windows = append(body.Windows, option{Value: w.key, Title: w.title, Chosen: w.key == f.Window})
	}
	for i := range entries {
		a := actOf(&entries[i])
		if a.ObjectHref == "/keys" && !c.who.May(access.Admin) {
			a.ObjectHref = ""
		}
		body.add(a)
	}
	if more {
		body.Next = link("/audit", f.pairs("before", entries[len(entries)-1].ID.String())...)
	}
	if q.Before != 0 {
		body.Newest = link("/audit", f.pairs()...)
	}
	return c.show(http.StatusOK, "audit", &page{Title: "Audit", Nav: "audit", Body: body})
}

// add puts an entry under its day.
func (p *auditPage) add(a act) {
	day := a.At.UTC().Truncate(24 * time.Hour)
	if n := len(p.Days); n == 0 || !p.Days[n-1].At.Equal(day) {
		p.Days = append(p.Days, auditDay{At: day})
	}
	last := &p.Days[len(p.Days)-1]
	last.Acts = append(last.Acts, a)
}

// exportAudit answers with all that the filters select, as a file.
func (c *call) exportAudit() error {
	f := readAuditFilter(c.r.URL.Query())
	q, err := c.auditQuery(&f)
	if err != nil {
		return err
	}
	format, ok := audit.Formats[c.r.FormValue("format")]
	if !ok {
		return patchbay.Invalid("format", "must be csv or ndjson")
	}
	c.secure()
	begun, err := audit.Serve(c.w, format, func(do func(*audit.Entry) error) error { return c.o.Audit.Each(c.r.Context(), c.who, q, do) })
	if err != nil && begun {
		c.o.Log.WarnContext(c.r.Context(), "an export of the audit log broke off", "error", err)
		panic(http.ErrAbortHandler) // half of the log must not be taken for all of it
	}
	return err
}

// actOf says an entry in words.
func actOf(e *audit.Entry) act {
	a := act{Entry: *e, Icon: families[0].icon, Did: e.Action, Called: e.Title}
	for _, x := range families {
		if strings.HasPrefix(e.Action, x.prefix) {
			a.Icon = x.icon
		}
	}
	if d, ok := doings[e.Action]; ok {
		a.Did, a.Kind = d.words, d.kind
	}
	a.Who, a.WhoHref = actorOf(&e.Actor)
	switch {
	case slices.Contains(aboutSelf, e.Action):
		a.Called = ""
	case a.Called == "":
		a.Called = e.Object
	}
	if a.Called != "" {
		a.ObjectHref = objectPath(e)
		if e.Object != "" {
			a.History = link("/audit", "object", e.Object)
		}
	}
	a.How = wayOf(e)
	var fields []string
	for i := range e.Changes {
		if implied(e, e.Changes[i].Field) {
			continue
		}
		change := changeOf(&e.Changes[i])
		a.Changes, fields = append(a.Changes, change), append(fields, change.Field)
	}
	a.Fields = strings.Join(fields[:min(len(fields), fieldsNamed)], ", ")
	if more := len(fields) - fieldsNamed; more > 0 {
		a.Fields += " and " + count(more, "other", "others")
	}
	return a
}

// implied reports whether what was done says a change already.
func implied(e *audit.Entry, field string) bool {
	switch e.Action {
	case "link.paused", "link.resumed", "link.disabled":
		return field == "state" || field == "enabled"
	case "link.created":
		return slices.Contains([]string{"state", "enabled", "name", "scope"}, field)
	case "link.deleted", "link.opted_out":
		return field == "state" || field == "opt_out"
	case "connection.connected":
		return slices.Contains([]string{"state", "account", "scope", "integration"}, field)
	case "connection.expired":
		return field == "state"
	}
	return false
}

// actorOf is what whoever did it is called, and where all stands that they did.
func actorOf(a *audit.Actor) (name, href string) {
	switch a.Kind {
	case access.ActorSystem:
		return "Patchbay", ""
	case access.ActorStranger:
		return "Somebody", ""
	case access.ActorSignature:
		return "The signing key", ""
	case access.ActorDevelopment:
		return "A developer", ""
	}
	if name = a.Name; name == "" {
		name = a.ID
	}
	return name, link("/audit", "actor", name)
}

// wayOf says which way it came, from where and with what.
func wayOf(e *audit.Entry) string {
	var parts []string
	switch {
	case e.Actor.Kind == access.ActorPortal:
		parts = append(parts, "in a portal")
	case e.Via == "web":
		parts = append(parts, "in a browser")
	case e.Via == "api":
		parts = append(parts, "by the API")
	}
	if e.Address != "" {
		parts = append(parts, "from "+e.Address)
	}
	if program := programOf(e.Agent); program != "" {
		parts = append(parts, "with "+program)
	}
	return strings.Join(parts, " ")
}

// browsers are told by these words in what they call themselves, in this order: most pretend to be others as well.
var browsers = [][2]string{{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}}

// programOf is the name of a program, from what it calls itself.
func programOf(agent string) string {
	if strings.HasPrefix(agent, "Mozilla/") {
		for _, b := range browsers {
			if strings.Contains(agent, b[0]) {
				return b[1]
			}
		}
		return ""
	}
	name, _, _ := strings.Cut(agent, " ")
	name, _, _ = strings.Cut(name, "/")
	return markup.Clip(name, 40)
}

// objectPath is the page of what something was done to; "" when there is none any more.
func objectPath(e *audit.Entry) string {
	if strings.HasSuffix(e.Action, ".deleted") || e.Action == "link.opted_in" {
		return ""
	}
	if strings.HasPrefix(e.Action, "event_type.") {
		return "/catalog/" + e.Object
	}
	prefix, _, _ := strings.Cut(e.Object, "_")
	switch prefix {
	case "lnk":
		return "/links/" + e.Object
	case "con":
		return "/connections/" + e.Object
	case "evt":
		return "/events/" + e.Object
	case "dlv":
		return "/deliveries/" + e.Object
	case "job":
		return "/jobs/" + e.Object
	case "hok":
		return "/hooks/" + e.Object
	case "key":
		return "/keys"
	}
	return ""
}

func changeOf(x *audit.Change) actChange {
	from, to := valueText(x.From), valueText(x.To)
	return actChange{
		Field: strings.ReplaceAll(strings.TrimPrefix(x.Field, "settings."), "_", " "), From: from, To: to,
		Made: from == "", Gone: to == "", Secret: from == access.Hidden || to == access.Hidden || from == to,
	}
}

// valueText is a value of JSON as people read it; "" for nothing.
func valueText(raw json.RawMessage) string {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
		return ""
	}
	text := ""
	switch v := v.(type) {
	case nil:
	case string:
		text = v
	case bool:
		text = map[bool]string{true: "yes", false: "no"}[v]
	case []any:
		words := make([]string, len(v))
		for i := range v {
			item, ok := v[i].(string)
			if !ok {
				words = nil
				break
			}
			words[i] = item
		}
		if text = strings.Join(words, ", "); words == nil {
			text = string(raw)
		}
	default:
		text = string(raw)
	}
	return markup.Clip(text, valueShown)
}
