package email

import (
	_ "embed"
	"html/template"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

//go:embed page.html
var pageSource string

// page draws the HTML part. A template that does not parse fails when the program starts.
var page = template.Must(template.New("page").Parse(pageSource))

// view is a message as both parts of a mail show it.
type view struct {
	// Subject is the title, Title what stands above the text: nothing, when the text says it.
	Subject, Title string

	Text   template.HTML // made by markup
	Fields []viewField
	Links  []viewLink
	Actor  *viewActor
	// Color is that of the bar, Word says the same for those who do not see it.
	Color, Word string
	Footer      string

	plain string
}

type viewField struct {
	Title string
	Value template.HTML // made by markup
	plain string
}

type viewLink struct{ Title, URL string }

type viewActor struct{ Name, URL string }

func newView(d *integration.Delivery, msg *integration.Message) *view {
	text := markup.Parse(msg.Text).Limit(maxText)
	v := &view{Subject: markup.Line(msg.Title), Text: template.HTML(text.HTML()), plain: text.Text()}
	v.Color, v.Word = severity(msg.Severity)
	if text.Empty() || !text.Says(msg.Title) {
		v.Title = v.Subject
	}
	for _, f := range msg.Fields[:min(len(msg.Fields), maxFields)] {
		if value := markup.Inline(f.Value).Limit(maxValue); !value.Empty() {
			v.Fields = append(v.Fields, viewField{
				Title: markup.Clip(markup.Line(f.Title), maxLabel), Value: template.HTML(value.BasicHTML()), plain: value.Text(),
			})
		}
	}
	for _, l := range msg.Links[:min(len(msg.Links), maxLinks)] {
		if address, ok := markup.Address(l.URL); ok {
			v.Links = append(v.Links, viewLink{markup.Clip(markup.Line(l.Title), maxLabel), address})
		}
	}
	if a := msg.Actor; a != nil && markup.Line(a.Name) != "" {
		address, _ := markup.Address(a.URL)
		v.Actor = &viewActor{markup.Clip(markup.Line(a.Name), maxLabel), address}
	}
	v.Footer = footer(d)
	return v
}

// footer says why the mail came.
func footer(d *integration.Delivery) string {
	if d.Event == nil || d.Event.Type == "" {
		return "Sent by Patchbay"
	}
	out := "Sent by Patchbay because of " + markup.Line(d.Event.Type)
	if !d.Event.OccurredAt.IsZero() {
		out += ", " + d.Event.OccurredAt.UTC().Format("2 January 2006 15:04 UTC")
	}
	return out
}

// severity returns the color of the bar and a word.
func severity(s patchbay.Severity) (color, word string) {
	switch s {
	case patchbay.SeveritySuccess:
		return "#1a7f37", "Success"
	case patchbay.SeverityWarning:
		return "#b86e00", "Warning"
	case patchbay.SeverityError:
		return "#cf222e", "Error"
	case patchbay.SeverityCritical:
		return "#82071e", "Critical"
	}
	return "#2563c9", ""
}

// html draws the HTML part.
func (v *view) html() (string, error) {
	var b strings.Builder
	err := page.Execute(&b, v)
	return b.String(), err
}

// text draws the plain part.
func (v *view) text() string {
	fields, links := make([]string, 0, len(v.Fields)), make([]string, 0, len(v.Links))
	for _, f := range v.Fields {
		line := f.Title + ": " + f.plain
		if strings.Contains(f.plain, "\n") {
			line = f.Title + ":\n    " + strings.ReplaceAll(f.plain, "\n", "\n    ")
		}
		fields = append(fields, strings.TrimPrefix(line, ": "))
	}
	for _, l := range v.Links {
		links = append(links, strings.TrimPrefix(l.Title+": "+l.URL, ": "))
	}
	actor := ""
	if v.Actor != nil {
		actor = "By " + v.Actor.Name
	}
	var parts []string
	for _, part := range []string{v.Title, v.plain, strings.Join(fields, "\n"), strings.Join(links, "\n"), actor, "-- \n" + v.Footer} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "\n\n") + "\n"
}
