package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/catalog/tmpl"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// Target is the integration that a message is for. The zero Target is for nobody in particular.
type Target struct{ Key, Category, Title string }

// parts are the compiled templates of a message. What is nil is not set.
type parts struct {
	title, text, severity, thread, status *tmpl.Template
	fields                                []fieldParts
	links                                 []linkParts
	labels                                []*tmpl.Template
	actor                                 *actorParts
}

type fieldParts struct {
	title, value *tmpl.Template
	short        bool
	each         tmpl.Path
}

type linkParts struct{ title, url *tmpl.Template }

type actorParts struct{ name, avatar, url *tmpl.Template }

// override replaces parts for one integration or category.
type override struct {
	parts
	skip bool
}

// over returns p with what o sets in place of its own.
func (p parts) over(o *override) parts {
	if o == nil {
		return p
	}
	for _, pair := range [...]struct{ to, from **tmpl.Template }{
		{&p.title, &o.title}, {&p.text, &o.text}, {&p.severity, &o.severity}, {&p.thread, &o.thread}, {&p.status, &o.status},
	} {
		if *pair.from != nil {
			*pair.to = *pair.from
		}
	}
	if o.fields != nil {
		p.fields = o.fields
	}
	if o.links != nil {
		p.links = o.links
	}
	if o.labels != nil {
		p.labels = o.labels
	}
	if o.actor != nil {
		p.actor = o.actor
	}
	return p
}

// partsFor returns the templates that hold for an integration.
func (t *Type) partsFor(to Target) parts {
	return t.message.over(t.overrides[to.Category]).over(t.overrides[to.Key])
}

// Skips reports whether the type's message leaves the integration out. An override for its key decides, and without
// one that for its category.
func (t *Type) Skips(to Target) bool {
	if o, ok := t.overrides[to.Key]; ok {
		return o.skip
	}
	o, ok := t.overrides[to.Category]
	return ok && o.skip
}

// Render says an event of this type to a person. Whatever is in the event, it does not become markup, and no template
// fails on what it does not find; an error is a template that does too much work.
func (t *Type) Render(e *patchbay.Event, to Target) (*patchbay.Message, error) {
	r := t.renderer(e, to)
	return r.message()
}

// Thread returns what the event is about, as Render does, and nothing else: it costs less.
func (t *Type) Thread(e *patchbay.Event, to Target) (string, error) {
	thread := t.partsFor(to).thread
	if thread == nil {
		return "", nil
	}
	text, err := thread.Render(tmpl.NewDataOnce(t.source(e, to)))
	return short(text), err
}

// Headline says an event in one line, and how grave it is. It is Render for lists, of which most is left out: it costs less.
func (t *Type) Headline(e *patchbay.Event) (string, patchbay.Severity) {
	r := t.renderer(e, Target{})
	title, severity := r.text(r.parts.title), patchbay.Severity(r.text(r.parts.severity))
	if title == "" || r.err != nil {
		title = t.spec.Title
	}
	if !severity.Valid() {
		severity = patchbay.SeverityInfo
	}
	return title, severity
}

// source is what templates see of an event.
func (t *Type) source(e *patchbay.Event, to Target) tmpl.Source {
	return tmpl.Source{
		Type: e.Type, Title: t.spec.Title, Scope: string(e.Scope), Payload: e.Payload, Actor: e.Actor, OccurredAt: e.OccurredAt,
		Integration: tmpl.Integration{Key: to.Key, Category: to.Category, Title: to.Title},
	}
}

// renderer makes one message.
type renderer struct {
	t     *Type
	event *patchbay.Event
	parts parts
	data  *tmpl.Data
	err   error // the first that happened
}

func (t *Type) renderer(e *patchbay.Event, to Target) *renderer {
	return &renderer{t: t, event: e, parts: t.partsFor(to), data: tmpl.NewData(t.source(e, to))}
}

// text runs a template; one that is not set makes nothing.
func (r *renderer) text(t *tmpl.Template) string {
	if t == nil || r.err != nil {
		return ""
	}
	s, err := t.Render(r.data)
	if err != nil {
		r.err = err
	}
	return s
}

func (r *renderer) message() (*patchbay.Message, error) {
	p := &r.parts
	m := &patchbay.Message{
		Title:    r.text(p.title),
		Text:     patchbay.Markdown(r.text(p.text)),
		Severity: patchbay.Severity(r.text(p.severity)),
		Status:   patchbay.Status(r.text(p.status)),
		Thread:   r.thread(),
	}
	if m.Title == "" {
		m.Title = r.t.spec.Title
	}
	if !m.Severity.Valid() {
		m.Severity = patchbay.SeverityInfo
	}
	if !m.Status.Valid() {
		m.Status = ""
	}
	if p.text == nil && p.fields == nil {
		m.Fields = r.t.defaultFields(r.event.Payload)
	} else {
		m.Fields = r.fields()
	}
	for _, l := range p.links {
		if url := r.text(l.url); url != "" {
			title := r.text(l.title)
			if title == "" {
				title = url
			}
			m.Links = append(m.Links, patchbay.URL{Title: title, URL: url})
		}
	}
	for _, l := range p.labels {
		if label := short(r.text(l)); label != "" {
			m.Labels = append(m.Labels, label)
		}
	}
	m.Actor = r.actor()
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

func (r *renderer) fields() []patchbay.Field {
	var out []patchbay.Field
	for _, f := range r.parts.fields {
		add := func() error {
			value := r.text(f.value)
			if value == "" || len(out) == maxRenderedFields {
				return r.err
			}
			out = append(out, patchbay.Field{Title: r.text(f.title), Value: patchbay.Markdown(value), Short: f.short})
			return r.err
		}
		var err error
		if f.each != nil {
			err = r.data.Each(f.each, maxEach, add)
		} else {
			err = add()
		}
		if err != nil {
			return nil
		}
	}
	return out
}

func (r *renderer) thread() string { return short(r.text(r.parts.thread)) }

// short bounds a thread or a label. A long one keeps its beginning and gets a digest of the whole, so that different
// ones stay different.
func short(s string) string {
	if len(s) <= patchbay.MaxThreadLength {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	digest := "~" + hex.EncodeToString(sum[:8])
	cut := patchbay.MaxThreadLength - len(digest)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + digest
}

// actor is what the template says, or else what the event says.
func (r *renderer) actor() *patchbay.Actor {
	var a patchbay.Actor
	if p := r.parts.actor; p != nil {
		a = patchbay.Actor{Name: r.text(p.name), Avatar: r.text(p.avatar), URL: r.text(p.url)}
	} else {
		for key, raw := range rawjson.Object(r.event.Actor) {
			value, ok := rawjson.String(raw)
			if !ok {
				continue
			}
			switch string(key) {
			case "name":
				a.Name = tmpl.OneLine(value)
			case "avatar":
				a.Avatar = tmpl.CleanURL(value)
			case "url":
				a.URL = tmpl.CleanURL(value)
			}
		}
	}
	if a.Name == "" {
		return nil
	}
	return &a
}

// How a message without templates looks.
const (
	defaultFieldCount = 8
	defaultFieldSize  = 300
	// shortField is up to how many bytes a field may share a line.
	shortField = 40
)

// defaultFields shows the first scalar values of a payload.
func (t *Type) defaultFields(payload []byte) []patchbay.Field {
	var out []patchbay.Field
	for _, f := range tmpl.Scalars(payload, defaultFieldCount) {
		title := t.titles[strings.Join(f.Path, ".")]
		if title == "" {
			title = tmpl.OneLine(tmpl.Humanize(strings.Join(f.Path, "_")))
		}
		value := tmpl.Escape(cut(f.Text, defaultFieldSize))
		if value == "" {
			continue
		}
		out = append(out, patchbay.Field{Title: cut(title, maxTitle), Value: patchbay.Markdown(value), Short: len(f.Text) <= shortField})
	}
	return out
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
