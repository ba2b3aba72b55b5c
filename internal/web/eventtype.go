package web

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/verification"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/catalog/outline"
	"github.com/patchbay/patchbay/internal/reference"
)

// typePage is an event type as documentation: what is in an event, and how receivers get it.
type typePage struct {
	Key, Title, Description, ScopeFrom string
	Aliases                            []string
	// Group is where it comes from, Index the list that it stands in, Bringer the page of the integration that brings it in.
	Group          catalogGroup
	Index, Bringer string
	// Try is the playground with an event of the type; "" for those who do not come there.
	Try   string
	Added bool
	// Outline is the payload, Any says that nothing is said about it.
	Outline       *outline.Outline
	Any           bool
	Schema        string // where the schema can be had
	Example       *jsonPart
	Slack         *reference.Slack
	Mail          *reference.Mail
	MailPage      string // where the mail's HTML is
	Webhook       *webhookPart
	Samples       []verification.Sample
	SamplesSecret string
}

// webhookPart is the request of a webhook in each format.
type webhookPart struct {
	reference.Part
	Formats []formatPart
}

type formatPart struct {
	ID, Key, Title, Method, Target, Host string
	Header                               [][2]string
	// Body is indented for people, Exact is where it can be had as it is sent.
	Body, Exact string
}

// addresses are where the files that belong to a type's page are.
type typeAddresses struct {
	index, example, schema, mail string
	body                         func(format string) string
}

// served are the addresses of a type that this site answers itself.
func served(key string) typeAddresses {
	as := func(what string) string {
		address := typePath(key)
		if strings.Contains(address, "?") {
			return address + "&as=" + what
		}
		return address + "?as=" + what
	}
	return typeAddresses{
		index: "/catalog", example: as("example"), schema: as("schema"), mail: as("mail"),
		body: func(format string) string { return as("webhook&format=" + url.QueryEscape(format)) },
	}
}

// typeDocs makes the page of a type.
func (s *Site) typeDocs(ctx context.Context, t *catalog.Type, at typeAddresses) (*typePage, *reference.Shown) {
	spec := t.Spec()
	p := &typePage{
		Key: t.Key(), Title: t.Title(), Description: spec.Description, Aliases: spec.Aliases, ScopeFrom: spec.ScopeFrom, Index: at.index,
		Added: t.FromAPI(), Outline: t.Outline(), SamplesSecret: reference.Secret,
	}
	p.Group, _ = s.groupFor(t)
	p.Any = len(p.Outline.Rows) == 0
	if len(spec.Schema) > 0 {
		p.Schema = at.schema
	}
	if len(spec.Example) > 0 {
		p.Example = jsonOf("example-json", "Example", at.example, spec.Example)
	}
	shown := reference.Integrations(s.o.Integrations).Show(ctx, t)
	p.Slack, p.Mail, p.MailPage = shown.Slack, shown.Mail, at.mail
	if w := shown.Webhook; w != nil {
		p.Samples = verification.Samples()
		p.Webhook = &webhookPart{Part: w.Part}
		for i := range w.Formats {
			p.Webhook.Formats = append(p.Webhook.Formats, drawFormat(i, &w.Formats[i], at))
		}
	}
	return p, shown
}

// drawFormat makes what is shown of a webhook's request.
func drawFormat(n int, f *reference.Format, at typeAddresses) formatPart {
	out := formatPart{
		ID: "format-" + strconv.Itoa(n), Key: f.Key, Title: f.Title, Method: f.Method, Target: f.URL, Exact: at.body(f.Key), Body: prettyBody(string(f.Body)),
	}
	if u, err := url.Parse(f.URL); err == nil {
		out.Target, out.Host = u.RequestURI(), u.Host
	}
	for _, h := range f.Header {
		out.Header = append(out.Header, [2]string{h.Name, h.Value})
	}
	return out
}

// eventType shows one event type.
func (c *call) eventType() error { return c.showType(c.r.PathValue("type")) }

func (c *call) showType(key string) error {
	t := c.o.Catalog.Type(key)
	if t == nil {
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no event type %q; the catalog lists those that there are", clip(key))
	}
	if t.Key() != key { // an alias
		return c.redirect(typePath(t.Key()))
	}
	what := c.r.FormValue("as")
	if what == "example" || what == "schema" {
		content := t.Spec().Example
		if what == "schema" {
			content = t.Spec().Schema
		}
		return c.file(fileName(key)+"."+what+".json", content)
	}
	body, shown := c.typeDocs(c.r.Context(), t, served(key))
	switch what {
	case "mail":
		return c.mailPage(shown.Mail)
	case "webhook":
		return c.webhookBody(fileName(key), shown.Webhook)
	case "":
		c.frames = true
		if !c.who.Portal && c.o.Playground != nil && !strings.HasPrefix(key, patchbay.SystemPrefix) {
			body.Try = link("/playground", "type", key)
		}
		if body.Group.Integration != "" {
			body.Bringer = "/integrations/" + body.Group.Integration
		}
		return c.show(http.StatusOK, "type", &page{Title: body.Title, Nav: "catalog", Body: body})
	}
	return patchbay.Errorf(patchbay.CodeNotFound, "there is no %q of an event type", clip(what))
}

// file answers with JSON to be kept.
func (c *call) file(name string, content []byte) error {
	if len(content) == 0 {
		return patchbay.Errorf(patchbay.CodeNotFound, "the catalog does not say that of this event type")
	}
	c.secure()
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = c.w.Write(content) // an error means that the browser is gone
	return nil
}

// webhookBody answers with the body of a webhook, to the byte.
func (c *call) webhookBody(name string, w *reference.Webhook) error {
	format := c.r.FormValue("format")
	if w != nil {
		for i := range w.Formats {
			if f := &w.Formats[i]; f.Key == format {
				return c.file(name+"."+fileName(format)+".json", f.Body)
			}
		}
	}
	return patchbay.Errorf(patchbay.CodeNotFound, "there is no webhook in a format %q", clip(format))
}

// mailPage answers with a mail's HTML, for a frame of the type's page. It is drawn by its own styles and can do nothing:
// no scripts, no forms, nothing is loaded, and it is of no origin (https://www.w3.org/TR/CSP3/#directive-sandbox).
func (c *call) mailPage(m *reference.Mail) error {
	if m == nil || m.HTML == "" {
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no mail of this event type")
	}
	frames := "'self'"
	if c.framed() {
		frames += " " + strings.Join(c.o.FrameAncestors, " ")
	} else {
		c.w.Header().Set("X-Frame-Options", "SAMEORIGIN")
	}
	h := c.w.Header()
	h.Set("Content-Security-Policy", mailPolicy+"; frame-ancestors "+frames)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	_, _ = c.w.Write([]byte(m.HTML)) // an error means that the browser is gone
	return nil
}

// mailPolicy is what a mail that is shown may do.
const mailPolicy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; sandbox"

// fileName makes a name of a file of a type's key, which may hold what names cannot.
func fileName(key string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_':
			return r
		}
		return '-'
	}, key)
	if name = strings.TrimLeft(name, ".-"); name == "" {
		return "type"
	}
	return name
}
