package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	source "github.com/yuin/goldmark/text"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
)

// integrationPage is an integration's page of documentation, drawn from its declaration.
type integrationPage struct {
	Key, Title, Category, Description string
	Supports                          []ability
	Docs                              template.HTML
	Settings                          []settingRow
	// All says that it takes events of every type but Not; otherwise Types are those that it takes. Sends is false when it
	// only brings something in.
	Sends, All bool
	Types, Not []typeRow
	// Brings are the types that its partner's calls become.
	Brings []typeRow
	// Add is the address of the form; "" for those who may not add links.
	Add string
}

type settingRow struct{ Path, Title, Type, Need, Help, Example string }

// typeRow is an event type; Href is "" when the catalog has none like it.
type typeRow struct{ Key, Title, Description, Href string }

// ability is something that an integration can do, in words.
type ability struct{ Title, Text string }

// abilities say what each capability means for those who set up links.
var abilities = map[integration.Capability]ability{
	integration.CanSend:    {"Sends", "Events go there over links."},
	integration.CanHook:    {"Receives", "What happens there comes in, as events that links can send on."},
	integration.CanConnect: {"Connects accounts", "An account is connected once; links then act as it."},
	integration.CanTest:    {"Can be tested", "A test says whether the settings are right."},
	integration.CanThread:  {"Keeps threads", "What is about the same matter stands together there."},
	integration.CanAttach:  {"Sets itself up", "What a link needs there is made with it, and taken down with it."},
	integration.CanChoose:  {"Offers choices", "Settings are chosen from what there is."},
}

// integrationDocs shows what an integration does and needs.
func (c *call) integrationDocs() error {
	i := c.integrations[c.r.PathValue("key")]
	if i == nil {
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no integration %q", clip(c.r.PathValue("key")))
	}
	d := i.Definition()
	docs, err := markdown(d.Docs)
	if err != nil {
		return patchbay.Internal("drawing the documentation of "+d.Key, err)
	}
	body := &integrationPage{
		Key: d.Key, Title: d.Title, Category: categoryTitle(d.Category), Description: d.Description,
		Docs: docs, Settings: settingRows(nil, "", d.Settings), All: d.Events == nil,
	}
	if c.who.May(access.Manage) {
		body.Add = link("/integrations/"+d.Key+"/link", "scope", string(c.who.Scope))
	}
	for _, can := range integration.Supports(i) {
		if a, ok := abilities[can]; ok {
			body.Supports = append(body.Supports, a)
		}
	}
	_, body.Sends = i.(integration.Sender)
	to := catalog.Target{Key: d.Key, Category: d.Category, Title: d.Title}
	for _, t := range c.o.Catalog.Types() {
		switch {
		case !body.All && slices.ContainsFunc(d.Events, t.Matches) && !t.Skips(to):
			body.Types = append(body.Types, c.typeRow(t.Spec()))
		case body.All && t.Skips(to):
			body.Not = append(body.Not, c.typeRow(t.Spec()))
		}
	}
	for i := range d.Types {
		body.Brings = append(body.Brings, c.typeRow(&d.Types[i]))
	}
	return c.show(http.StatusOK, "integration", &page{Title: d.Title, Nav: "integrations", Body: body})
}

// typeRow makes the row of a type. A catalog file may have said more about one that an integration brings in.
func (c *call) typeRow(spec *patchbay.EventType) typeRow {
	row := typeRow{Key: spec.Key, Title: spec.Title, Description: spec.Description}
	if t := c.o.Catalog.Type(spec.Key); t != nil {
		row.Title, row.Description, row.Href = t.Title(), t.Spec().Description, typePath(t.Key())
	}
	return row
}

// settingRows lists settings, those of an object after it, with the object's name before theirs.
func settingRows(rows []settingRow, before string, spec integration.Spec) []settingRow {
	for i := range spec {
		s := &spec[i]
		r := settingRow{Path: before + s.Key, Title: s.Title, Type: string(s.Type), Help: s.Help, Example: s.Example, Need: "optional"}
		switch {
		case s.UnlessConnected:
			r.Need = "required without a connected account"
		case s.Required:
			r.Need = "required"
		case s.Generate != nil:
			r.Need = "made when left out"
		case s.Default != nil && !s.Secret && s.Default != "":
			r.Need = fmt.Sprintf("%v when left out", s.Default)
		}
		if s.Secret {
			r.Type += ", secret"
		}
		for _, o := range s.Options {
			r.Help += "\n" + o.Value + ": " + o.Title
		}
		r.Help = strings.TrimSpace(r.Help)
		rows = settingRows(append(rows, r), r.Path+".", s.Fields)
	}
	return rows
}

// markdown draws an integration's documentation. goldmark leaves out HTML and addresses that run scripts, unless it is told
// otherwise (https://pkg.go.dev/github.com/yuin/goldmark/renderer/html#WithUnsafe). Headings go below those of the page.
func markdown(written string) (template.HTML, error) {
	md := goldmark.New(goldmark.WithExtensions(extension.Table))
	raw := []byte(written)
	doc := md.Parser().Parse(source.NewReader(raw))
	last := 2
	for n := doc.FirstChild(); n != nil; {
		next := n.NextSibling()
		if h, ok := n.(*ast.Heading); ok {
			if h.Level == 1 {
				doc.RemoveChild(doc, n) // the page has the title
			} else {
				h.Level = min(h.Level+1, last+1)
				last = h.Level
			}
		}
		n = next
	}
	var b bytes.Buffer
	if err := md.Renderer().Render(&b, raw, doc); err != nil {
		return "", err
	}
	// What can be scrolled can be reached with the keyboard.
	drawn := strings.NewReplacer("<pre>", `<pre tabindex="0">`, "<table>", `<div class="table-wrap" tabindex="0"><table>`,
		"</table>", "</table></div>", "<th></th>", "<td></td>").Replace(b.String())
	return template.HTML(drawn), nil
}
