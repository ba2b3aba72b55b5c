package web

import (
	"html/template"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/markup"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// previewPart is what the partner will show for the example of an event type.
type previewPart struct {
	// Types can be looked at.
	Types   []option
	Message *messagePart
	Request *links.PreviewRequest
	Body    string
	// Trouble says why there is less to see than there could be.
	Trouble string
}

// messagePart is a neutral message, drawn.
type messagePart struct {
	Severity string
	Title    string
	Text     template.HTML
	Fields   []messageField
	Links    []patchbay.URL
	Actor    string
	Labels   []string
	Status   string
}

type messageField struct {
	Title string
	Value template.HTML
	Short bool
}

// maxShown bounds a body that is shown.
const maxShown = 64 << 10

// preview makes the preview of the chosen event type: the request that would be made, where the settings are complete, and
// otherwise the message alone.
func (f *linkForm) preview() *previewPart {
	p := &previewPart{}
	now := f.sent.Get("preview")
	for _, key := range f.previewTypes() {
		t := f.o.Catalog.Type(key)
		p.Types = append(p.Types, option{Value: key, Title: t.Title(), Chosen: key == now})
	}
	if len(p.Types) == 0 {
		return nil
	}
	if !slices.ContainsFunc(p.Types, func(o option) bool { return o.Chosen }) {
		p.Types[0].Chosen = true
		now = p.Types[0].Value
	}
	in, _, err := f.input()
	if err == nil {
		in.Integration = &f.key
		var made *links.Preview
		if made, err = f.o.Links.Preview(f.r.Context(), f.who, in, now); err == nil {
			p.fill(made)
			return p
		}
	}
	code, text, _, _ := f.explain(err)
	p.Trouble = "The exact request shows here once the form is complete."
	if code != patchbay.CodeInvalidRequest && code != patchbay.CodeMisconfiguredIntegration {
		p.Trouble = text
	}
	if e := f.example(f.r.Context(), now); e != nil {
		to := catalog.Target{Key: f.def.Key, Category: f.def.Category, Title: f.def.Title}
		if m, err := f.o.Catalog.Type(now).Render(e, to); err == nil {
			p.Message = drawMessage(m)
		}
	}
	return p
}

// previewTypes are the types that the patterns select, or all that there are when they select none.
func (f *linkForm) previewTypes() []string {
	var all, selected []string
	var patterns []patchbay.Pattern
	for _, text := range f.events() {
		if p, err := patchbay.ParsePattern(text); err == nil {
			patterns = append(patterns, p)
		}
	}
	for _, t := range f.o.Catalog.Types() {
		if !f.offers(t) {
			continue
		}
		all = append(all, t.Key())
		if slices.ContainsFunc(patterns, t.Matches) {
			selected = append(selected, t.Key())
		}
	}
	if len(selected) == 0 {
		return all
	}
	return selected
}

func (p *previewPart) fill(made *links.Preview) {
	if made.Message != nil {
		p.Message = drawMessage(made.Message)
	}
	p.Request, p.Trouble = made.Request, sentence(made.Error)
	if made.Request != nil {
		p.Body = prettyBody(made.Request.Body)
	}
}

// prettyBody indents JSON; anything else stays as it is, and so does what would become mostly blanks by that.
func prettyBody(body string) string {
	if b, ok := rawjson.Indent([]byte(body), 16*len(body)+maxShown); ok {
		body = string(b)
	}
	return markup.Clip(body, maxShown)
}

// drawMessage turns a neutral message into HTML. The markup package makes every character of an event harmless.
func drawMessage(m *patchbay.Message) *messagePart {
	out := &messagePart{
		Severity: string(m.Severity), Title: m.Title, Text: template.HTML(markup.HTML(m.Text)), Links: m.Links, Labels: m.Labels,
		Status: string(m.Status),
	}
	if m.Actor != nil {
		out.Actor = m.Actor.Name
	}
	for _, f := range m.Fields {
		value := strings.TrimSuffix(strings.TrimPrefix(markup.Inline(f.Value).HTML(), "<p>"), "</p>")
		out.Fields = append(out.Fields, messageField{Title: f.Title, Value: template.HTML(value), Short: f.Short})
	}
	return out
}
