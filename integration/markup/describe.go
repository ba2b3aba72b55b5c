package markup

import (
	"strings"

	"github.com/patchbay/patchbay"
)

// Describe writes what a message says below its title, its text, then its fields, then its links, as one Markdown
// text, for partners whose things have one body: an issue, a story, a ticket.
func Describe(m *patchbay.Message) patchbay.Markdown {
	parts := make([]string, 0, 3)
	if text := strings.TrimSpace(string(m.Text)); text != "" {
		parts = append(parts, text)
	}
	if len(m.Fields) > 0 {
		lines := make([]string, len(m.Fields))
		for i, f := range m.Fields {
			lines[i] = strings.TrimSpace(string(f.Value))
			if title := Line(f.Title); title != "" {
				lines[i] = "**" + string(Escape(title)) + ":** " + lines[i]
			}
		}
		parts = append(parts, strings.Join(lines, "\n"))
	}
	if len(m.Links) > 0 {
		lines := make([]string, len(m.Links))
		for i, l := range m.Links {
			lines[i] = string(Link(l.Title, l.URL))
		}
		parts = append(parts, strings.Join(lines, "\n"))
	}
	return patchbay.Markdown(strings.Join(parts, "\n\n"))
}
