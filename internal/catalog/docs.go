package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/catalog/schema"
	"github.com/patchbay/patchbay/internal/catalog/tmpl"
)

// WriteDocs writes types as a page of Markdown: a table of them, and for each its payload, an example, and how that
// reads.
func WriteDocs(w io.Writer, types []*Type) error {
	var b bytes.Buffer
	b.WriteString("# Event types\n\n")
	writeTable(&b, types)
	for _, t := range types {
		t.writeDocs(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteTable writes the table alone, without links.
func WriteTable(w io.Writer, types []*Type) error {
	var b bytes.Buffer
	b.WriteString("| Event type | Title | Description | Payload |\n|---|---|---|---|\n")
	for _, t := range types {
		keys := make([]string, len(t.properties))
		for i, p := range t.properties {
			keys[i] = "`" + p.Name + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", t.Key(), Cell(t.Title()), Cell(t.spec.Description), strings.Join(keys, ", "))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteFunctions writes the functions that message templates can call as a table of Markdown.
func WriteFunctions(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString("| Function | What it makes |\n|---|---|\n")
	for _, f := range tmpl.Functions() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.Usage, Cell(f.Help))
	}
	_, err := w.Write(b.Bytes())
	return err
}

func writeTable(b *bytes.Buffer, types []*Type) {
	b.WriteString("| Event type | Title | Description |\n|---|---|---|\n")
	for _, t := range types {
		fmt.Fprintf(b, "| [`%s`](#%s) | %s | %s |\n", t.Key(), anchor(t.Key()), Cell(t.Title()), Cell(t.spec.Description))
	}
}

// anchor is what a heading with the key is called on the usual hosts of Markdown.
func anchor(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return -1
	}, key)
}

// Cell makes a text fit into a cell of a table.
func Cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\r\n", " ", "\n", " ").Replace(strings.TrimSpace(s))
}

func (t *Type) writeDocs(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## `%s`\n\n%s.", t.Key(), strings.TrimSuffix(Cell(t.Title()), "."))
	if t.spec.Description != "" {
		b.WriteString(" " + Cell(t.spec.Description))
	}
	b.WriteString("\n")
	if len(t.spec.Aliases) > 0 {
		fmt.Fprintf(b, "\nAlso accepted as `%s`.\n", strings.Join(t.spec.Aliases, "`, `"))
	}
	if t.spec.ScopeFrom != "" {
		fmt.Fprintf(b, "\nWithout a scope of its own, an event gets `%s`.\n", strings.ReplaceAll(t.spec.ScopeFrom, "`", "'"))
	}
	if len(t.properties) > 0 {
		b.WriteString("\n| Field | Type | Required | Description |\n|---|---|---|---|\n")
		writeProperties(b, t.properties, "")
	}
	if t.spec.Example != nil {
		b.WriteString("\nAn example:\n\n```json\n")
		if err := json.Indent(b, t.spec.Example, "", "  "); err != nil {
			b.Write(t.spec.Example)
		}
		b.WriteString("\n```\n")
	}
	t.writeReading(b)
}

func writeProperties(b *bytes.Buffer, list []schema.Property, prefix string) {
	for i := range list {
		p := &list[i]
		required := ""
		if p.Required {
			required = "yes"
		}
		about := p.Description
		if about == "" {
			about = p.Title
		}
		fmt.Fprintf(b, "| `%s%s` | %s | %s | %s |\n", prefix, p.Name, Cell(p.TypeNames()), required, Cell(about))
		next := prefix + p.Name + "."
		if len(p.Of) > 0 {
			next = prefix + p.Name + "[]."
		}
		writeProperties(b, p.Properties, next)
	}
}

// writeReading shows how the example reads to a person.
func (t *Type) writeReading(b *bytes.Buffer) {
	if t.spec.Example == nil {
		return
	}
	m, err := t.Render(&patchbay.Event{Type: t.Key(), Payload: t.spec.Example}, Target{})
	if err != nil {
		return // the example has been rendered before; it cannot fail now
	}
	fmt.Fprintf(b, "\nIt reads (%s", m.Severity)
	if m.Thread != "" {
		fmt.Fprintf(b, ", thread `%s`", strings.ReplaceAll(m.Thread, "`", "'"))
	}
	if m.Status != "" {
		fmt.Fprintf(b, ", %s", m.Status)
	}
	fmt.Fprintf(b, "):\n\n> **%s**\n", Cell(m.Title))
	if m.Text != "" {
		b.WriteString(">\n" + quoted(string(m.Text)))
	}
	if len(m.Fields) > 0 {
		b.WriteString(">\n")
		for _, f := range m.Fields {
			b.WriteString(quoted("- " + Cell(f.Title) + ": " + string(f.Value)))
		}
	}
	if len(m.Links) > 0 {
		b.WriteString(">\n")
		for _, l := range m.Links {
			b.WriteString(quoted(fmt.Sprintf("- [%s](%s)", strings.NewReplacer("[", `\[`, "]", `\]`).Replace(Cell(l.Title)), l.URL)))
		}
	}
}

// quoted puts a text into a block quote.
func quoted(s string) string {
	return "> " + strings.ReplaceAll(s, "\n", "\n> ") + "\n"
}
