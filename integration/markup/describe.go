package markup

import (
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
)

// Describe writes what a message says below its title, its text, then its fields, then the links that are in neither,
// as one Markdown text, for partners whose things have one body: an issue, a story, a ticket. A message that has
// nothing but a title is described by that, because a body is wanted.
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
	if lines := otherLinks(m, strings.Join(parts, "\n\n")); len(lines) > 0 {
		parts = append(parts, strings.Join(lines, "\n"))
	}
	if len(parts) == 0 {
		return Escape(Line(m.Title))
	}
	return patchbay.Markdown(strings.Join(parts, "\n\n"))
}

// otherLinks returns the links of a message that lead to where what has been written does not.
func otherLinks(m *patchbay.Message, written string) []string {
	if len(m.Links) == 0 {
		return nil
	}
	there := Parse(patchbay.Markdown(written)).Links()
	var lines []string
	for _, l := range m.Links {
		if to, ok := Address(l.URL); ok && !slices.Contains(there, to) {
			there = append(there, to)
			lines = append(lines, string(Link(l.Title, to)))
		}
	}
	return lines
}
