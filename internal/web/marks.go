package web

import (
	"fmt"
	"hash/fnv"
	"html/template"
	"strings"
	"unicode"
)

// glyph is the mark of an integration: a tile in a colour with a drawing in white. They are our own drawings of what the
// partner is about, nobody's trademark.
type glyph struct{ colour, drawing string }

// glyphs are drawn on 48 × 48, in strokes of 3 with round ends unless they say otherwise.
var glyphs = map[string]glyph{
	"slack":           {"#7a2e7e", `<path d="M19 11v26M29 11v26M11 19h26M11 29h26"/>`},
	"github":          {"#2a2f36", `<circle cx="16" cy="14" r="3.5"/><circle cx="16" cy="34" r="3.5"/><circle cx="32" cy="18" r="3.5"/><path d="M16 17.5v13M32 21.5c0 7-16 4-16 9"/>`},
	"jira":            {"#1f5fc4", `<path d="M24 9l15 15-15 15L9 24z"/><path d="M24 18l6 6-6 6-6-6z"/>`},
	"email":           {"#a63f1d", `<rect x="9" y="13" width="30" height="22" rx="3"/><path d="M10 15.5L24 27l14-11.5"/>`},
	"webhook":         {"#0d6b5f", `<path d="M18 15l-6 9 6 9M30 15l6 9-6 9M26.5 12l-5 24"/>`},
	"incoming":        {"#5a4bb0", `<path d="M24 10v19M16 22l8 8 8-8M11 37h26"/>`},
	"inbox":           {"#4c5a12", `<path d="M10 27l5-15h18l5 15v9H10zM10 27h8l2.5 4h7l2.5-4h8"/>`},
	"hip_chat":        {"#155e85", `<path d="M38 23c0 7-6.3 12-14 12-2 0-4-.3-5.7-1L11 36l1.6-5.5C11 28.3 10 25.8 10 23c0-7 6.3-12 14-12s14 5 14 12z"/><path d="M18 24c3 4 9 4 12 0"/>`},
	"pivotal_tracker": {"#93500a", `<path d="M12 35l8-10 6 5 10-16M29 14h7v7"/>`},
}

// palette colours the tiles of integrations that have no drawing here. White can be read on each.
var palette = []string{"#1f5fc4", "#0d6b5f", "#93500a", "#7a2e7e", "#a63f1d", "#4c5a12", "#5a4bb0", "#155e85"}

// mark draws an integration's tile. It says nothing: the title stands beside it. Presentation attributes rather than a
// style, which the Content-Security-Policy would refuse.
func (s *Site) mark(key, size string) template.HTML {
	class := "mark"
	if size != "" {
		class += " " + template.HTMLEscapeString(size)
	}
	g, ok := glyphs[key]
	if !ok {
		sum := fnv.New32a()
		_, _ = sum.Write([]byte(key)) // it never fails
		g.colour = palette[sum.Sum32()%uint32(len(palette))]
		g.drawing = fmt.Sprintf(`<text x="24" y="31.5" text-anchor="middle" font-size="21" font-weight="650" fill="#fff" stroke="none">%s</text>`,
			template.HTMLEscapeString(initial(s.titleOf(key))))
	}
	return template.HTML(fmt.Sprintf(`<svg class="%s" viewBox="0 0 48 48" aria-hidden="true" focusable="false"><rect width="48" height="48" rx="12" fill="%s"/>`+
		`<g fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" stroke-linejoin="round">%s</g></svg>`, class, g.colour, g.drawing))
}

// titleOf is what people call an integration; its key when it is gone.
func (s *Site) titleOf(key string) string {
	if d := s.definitions[key]; d != nil {
		return d.Title
	}
	return key
}

func initial(title string) string {
	for _, r := range strings.TrimSpace(title) {
		return string(unicode.ToUpper(r))
	}
	return "?"
}
