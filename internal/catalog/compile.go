package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/catalog/outline"
	"github.com/patchbay/patchbay/internal/catalog/schema"
	"github.com/patchbay/patchbay/internal/catalog/tmpl"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// The limits of a type.
const (
	maxTitle       = 200
	maxDescription = 8 << 10
	maxAliases     = 20
	maxExample     = 128 << 10
	maxFields      = 50
	maxLinks       = 20
	maxLabels      = 20
	maxOverrides   = 50
	// maxEach bounds how many fields one FieldTemplate.Each makes.
	maxEach = 50
	// maxRenderedFields bounds the fields of a message.
	maxRenderedFields = 100
)

// fault is something that is wrong with a type.
type fault struct {
	path []string
	// line counts from 0 below the place, in a template of several lines.
	line    int
	message string
}

// where spells a path for a sentence or a detail.
func where(path []string) string { return strings.Join(path, ".") }

// compiler checks a type and collects what is wrong with it.
type compiler struct {
	t      *Type
	faults []fault
}

func (c *compiler) fail(path []string, format string, args ...any) {
	c.faults = append(c.faults, fault{path: path, message: fmt.Sprintf(format, args...)})
}

func at(steps ...string) []string { return steps }

func below(path []string, steps ...string) []string { return append(slices.Clone(path), steps...) }

// compile checks everything about a type that does not depend on other types. outside says that it comes from a file
// or the API, which cannot have types of Patchbay's own.
func compile(spec patchbay.EventType, outside bool) (*Type, []fault) {
	t := &Type{spec: spec}
	t.outline = sync.OnceValue(func() *outline.Outline { return outline.Of(t.spec.Schema) })
	c := &compiler{t: t}
	c.head(outside)
	c.payload()
	c.templates()
	if len(c.faults) == 0 {
		c.tryExample()
	}
	return t, c.faults
}

func (c *compiler) head(outside bool) {
	s := &c.t.spec
	c.name(at("key"), s.Key, outside)
	if s.Title == "" {
		s.Title = tmpl.Humanize(s.Key)
	}
	if len(s.Title) > maxTitle || s.Title != tmpl.OneLine(s.Title) {
		c.fail(at("title"), "a title is one line of at most %d bytes, without blanks at its ends", maxTitle)
	}
	if len(s.Description) > maxDescription {
		c.fail(at("description"), "the description is longer than %d bytes", maxDescription)
	}
	if len(s.Aliases) > maxAliases {
		c.fail(at("aliases"), "a type has at most %d aliases", maxAliases)
	}
	c.t.names = []string{s.Key}
	for i, alias := range s.Aliases {
		path := at("aliases", strconv.Itoa(i))
		c.name(path, alias, outside)
		if slices.Contains(c.t.names, alias) {
			c.fail(path, "the name %q stands here twice", alias)
		}
		c.t.names = append(c.t.names, alias)
	}
}

func (c *compiler) name(path []string, name string, outside bool) {
	switch {
	case name == "":
		c.fail(path, "a type needs a key, such as repo.push")
	case len(name) > patchbay.MaxTypeLength:
		c.fail(path, "the name %.20q… is longer than %d bytes", name, patchbay.MaxTypeLength)
	case strings.Trim(name, nameBytes) != "" || strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(nameBytes, r) }):
		c.fail(path, "the name %.80q may hold A–Z a–z 0–9 . _ - : and / only", name)
	case outside && strings.HasPrefix(name, patchbay.SystemPrefix):
		c.fail(path, "names that begin with %s are Patchbay's own", patchbay.SystemPrefix)
	}
}

const nameBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:/"

func (c *compiler) payload() {
	s := &c.t.spec
	if absent(s.Schema) {
		s.Schema = nil
	}
	if absent(s.Example) {
		s.Example = nil
	}
	if s.Schema != nil && c.json(at("schema"), s.Schema) {
		compiled, problems := schema.Compile(s.Schema)
		for _, p := range problems {
			c.fail(below(at("schema"), p.Path...), "%s", p.Message)
		}
		c.t.schema = compiled
		c.t.properties = schema.Properties(s.Schema)
		c.t.titles = map[string]string{}
		collectTitles(c.t.titles, c.t.properties, "", 0)
	}
	if s.Example == nil || !c.json(at("example"), s.Example) {
		return
	}
	if len(s.Example) > maxExample {
		c.fail(at("example"), "the example is longer than %d bytes", maxExample)
		return
	}
	if c.t.schema == nil && s.Schema != nil {
		return // the schema's problems come first
	}
	for _, p := range c.t.schema.Problems(s.Example) {
		c.fail(below(at("example"), p.Path...), "%s", p.Message)
	}
}

// json checks raw JSON that may come from the API.
func (c *compiler) json(path []string, raw []byte) bool {
	if err := rawjson.Check(raw, 0); err != nil {
		var e *rawjson.Error
		if errors.As(err, &e) && e.Path != "" {
			path = below(path, e.Path)
		}
		c.fail(path, "%v", err)
		return false
	}
	return true
}

// collectTitles notes the titles of the two upper levels, which a default message shows.
func collectTitles(titles map[string]string, list []schema.Property, prefix string, depth int) {
	for _, p := range list {
		if p.Title != "" {
			titles[prefix+p.Name] = p.Title
		}
		if depth == 0 {
			collectTitles(titles, p.Properties, p.Name+".", depth+1)
		}
	}
}

// template compiles one template.
func (c *compiler) template(path []string, source string, mode tmpl.Mode) *tmpl.Template {
	t, err := tmpl.Parse(source, mode)
	if err == nil {
		return t
	}
	f := fault{path: path, message: err.Error()}
	var e *tmpl.Error
	if errors.As(err, &e) {
		f.line, f.message = e.Line-1, e.Message
	}
	c.faults = append(c.faults, f)
	return nil
}

// optional compiles a template unless it is empty.
func (c *compiler) optional(path []string, source string, mode tmpl.Mode) *tmpl.Template {
	if source == "" {
		return nil
	}
	return c.template(path, source, mode)
}

func (c *compiler) templates() {
	s := &c.t.spec
	c.t.scopeFrom = c.optional(at("scope_from"), s.ScopeFrom, tmpl.Scope)
	m := s.Message
	if m == nil {
		return
	}
	path := at("message")
	p := &c.t.message
	p.title = c.optional(below(path, "title"), m.Title, tmpl.Plain)
	p.text = c.optional(below(path, "text"), m.Text, tmpl.Markdown)
	p.severity = c.optional(below(path, "severity"), m.Severity, tmpl.Plain)
	p.thread = c.optional(below(path, "thread"), m.Thread, tmpl.Plain)
	p.status = c.optional(below(path, "status"), m.Status, tmpl.Plain)
	p.fields = c.fields(below(path, "fields"), m.Fields)
	p.links = c.links(below(path, "links"), m.Links)
	p.labels = c.labels(below(path, "labels"), m.Labels)
	p.actor = c.actor(below(path, "actor"), m.Actor)
	if len(m.Overrides) > maxOverrides {
		c.fail(below(path, "overrides"), "a message has at most %d overrides", maxOverrides)
	}
	c.t.overrides = make(map[string]*override, len(m.Overrides))
	for _, key := range slices.Sorted(maps.Keys(m.Overrides)) {
		o := m.Overrides[key]
		path := below(path, "overrides", key)
		if key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			c.fail(path, "an override is for an integration or a category, such as slack or tracker: a–z, 0–9 and _")
		}
		c.t.overrides[key] = c.override(path, &o)
	}
}

func (c *compiler) override(path []string, o *patchbay.MessageOverride) *override {
	text := func(name string, source *string, mode tmpl.Mode) *tmpl.Template {
		if source == nil {
			return nil
		}
		return c.template(below(path, name), *source, mode) // an empty one is a choice too
	}
	return &override{skip: o.Skip, parts: parts{
		title:    text("title", o.Title, tmpl.Plain),
		text:     text("text", o.Text, tmpl.Markdown),
		severity: text("severity", o.Severity, tmpl.Plain),
		thread:   text("thread", o.Thread, tmpl.Plain),
		status:   text("status", o.Status, tmpl.Plain),
		fields:   c.fields(below(path, "fields"), o.Fields),
		links:    c.links(below(path, "links"), o.Links),
		labels:   c.labels(below(path, "labels"), o.Labels),
		actor:    c.actor(below(path, "actor"), o.Actor),
	}}
}

func (c *compiler) fields(path []string, list []patchbay.FieldTemplate) []fieldParts {
	if list == nil {
		return nil
	}
	if len(list) > maxFields {
		c.fail(path, "a message has at most %d fields", maxFields)
	}
	out := make([]fieldParts, 0, len(list))
	for i, f := range list {
		path := below(path, strconv.Itoa(i))
		if f.Title == "" || f.Value == "" {
			c.fail(path, "a field needs a title and a value")
		}
		p := fieldParts{
			title: c.template(below(path, "title"), f.Title, tmpl.Plain),
			value: c.template(below(path, "value"), f.Value, tmpl.Markdown),
			short: f.Short,
		}
		if f.Each != "" {
			each, err := tmpl.ParsePath(f.Each)
			if err != nil {
				c.fail(below(path, "each"), "%v", err)
			}
			p.each = each
		}
		out = append(out, p)
	}
	return out
}

func (c *compiler) links(path []string, list []patchbay.LinkTemplate) []linkParts {
	if list == nil {
		return nil
	}
	if len(list) > maxLinks {
		c.fail(path, "a message has at most %d links", maxLinks)
	}
	out := make([]linkParts, 0, len(list))
	for i, l := range list {
		path := below(path, strconv.Itoa(i))
		if l.Title == "" || l.URL == "" {
			c.fail(path, "a link needs a title and a url")
		}
		out = append(out, linkParts{
			title: c.template(below(path, "title"), l.Title, tmpl.Plain),
			url:   c.template(below(path, "url"), l.URL, tmpl.URL),
		})
	}
	return out
}

func (c *compiler) labels(path []string, list []string) []*tmpl.Template {
	if list == nil {
		return nil
	}
	if len(list) > maxLabels {
		c.fail(path, "a message has at most %d labels", maxLabels)
	}
	out := make([]*tmpl.Template, 0, len(list))
	for i, l := range list {
		out = append(out, c.template(below(path, strconv.Itoa(i)), l, tmpl.Plain))
	}
	return out
}

func (c *compiler) actor(path []string, a *patchbay.ActorTemplate) *actorParts {
	if a == nil {
		return nil
	}
	return &actorParts{
		name:   c.template(below(path, "name"), a.Name, tmpl.Plain),
		avatar: c.template(below(path, "avatar"), a.Avatar, tmpl.URL),
		url:    c.template(below(path, "url"), a.URL, tmpl.URL),
	}
}

// tryExample renders the example for everybody, so that what can go wrong does so now.
func (c *compiler) tryExample() {
	if c.t.spec.Example == nil {
		return
	}
	if c.t.scopeFrom != nil {
		if _, _, err := c.t.ScopeFrom(c.t.spec.Example); err != nil {
			c.fail(at("scope_from"), "over the example: %v", err)
		}
	}
	c.tryMessage(at("message"), Target{})
	for _, key := range slices.Sorted(maps.Keys(c.t.overrides)) {
		c.tryMessage(at("message", "overrides", key), Target{Key: key})
	}
}

func (c *compiler) tryMessage(path []string, to Target) {
	e := &patchbay.Event{Type: c.t.spec.Key, Payload: c.t.spec.Example}
	r := c.t.renderer(e, to)
	if _, err := r.message(); err != nil {
		c.fail(path, "over the example: %v", err)
		return
	}
	if p := r.parts.severity; p != nil {
		if s := patchbay.Severity(r.text(p)); s != "" && !s.Valid() {
			c.fail(below(path, "severity"), "over the example it is %q, but it is one of info, success, warning, error and critical", s)
		}
	}
	if p := r.parts.status; p != nil {
		if s := patchbay.Status(r.text(p)); !s.Valid() {
			c.fail(below(path, "status"), "over the example it is %q, but it is one of open, acknowledged and resolved, or empty", s)
		}
	}
}
