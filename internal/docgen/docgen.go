// Package docgen writes the catalog and the integrations as Markdown, from the declarations that the program itself
// works with: pages of their own, and the tables in a README between two comments.
package docgen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// Events returns the page about the event types.
func Events(types []patchbay.EventType) []byte {
	var b bytes.Buffer
	b.WriteString("# Event types\n\nWhat can happen. An event is published with `POST /events`; its payload must satisfy the type's schema.\n")
	for _, group := range byOrigin(types) {
		fmt.Fprintf(&b, "\n## %s\n\n", cell(group.origin))
		b.WriteString(EventTable(group.types))
		for i := range group.types {
			event(&b, &group.types[i])
		}
	}
	return b.Bytes()
}

type originGroup struct {
	origin string
	types  []patchbay.EventType
}

// byOrigin keeps the order in which origins and types come.
func byOrigin(types []patchbay.EventType) []originGroup {
	var groups []originGroup
	for _, t := range types {
		at := slices.IndexFunc(groups, func(g originGroup) bool { return g.origin == t.Origin })
		if at < 0 {
			groups = append(groups, originGroup{origin: t.Origin})
			at = len(groups) - 1
		}
		groups[at].types = append(groups[at].types, t)
	}
	return groups
}

// EventTable returns a table of event types.
func EventTable(types []patchbay.EventType) string {
	var b strings.Builder
	b.WriteString("| type | title | payload |\n|---|---|---|\n")
	for _, t := range types {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", t.Key, cell(t.Title), strings.Join(quoted(properties(t.Schema)), ", "))
	}
	return b.String()
}

func event(b *bytes.Buffer, t *patchbay.EventType) {
	fmt.Fprintf(b, "\n### `%s`\n\n%s", t.Key, cell(t.Title))
	if t.Description != "" {
		fmt.Fprintf(b, ". %s", cell(t.Description))
	}
	b.WriteString("\n")
	if len(t.Aliases) > 0 {
		fmt.Fprintf(b, "\nAlso accepted as %s.\n", strings.Join(quoted(t.Aliases), ", "))
	}
	if fields := describe(t.Schema, ""); len(fields) > 0 {
		b.WriteString("\n| payload | type | |\n|---|---|---|\n")
		for _, f := range fields {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.path, cell(f.kind), cell(f.about))
		}
	}
	if len(t.Example) > 0 {
		fmt.Fprintf(b, "\n```json\n%s\n```\n", indent(t.Example))
	}
}

// jsonSchema is what is shown of a schema.
type jsonSchema struct {
	Type        any             `json:"type"`
	Enum        []any           `json:"enum"`
	Description string          `json:"description"`
	Required    []string        `json:"required"`
	Properties  json.RawMessage `json:"properties"`
	Items       json.RawMessage `json:"items"`
}

type field struct{ path, kind, about string }

// deepest is how many levels of a schema are shown; below, the schema itself is clearer.
const deepest = 3

func describe(raw json.RawMessage, prefix string) []field {
	var s jsonSchema
	if json.Unmarshal(raw, &s) != nil || strings.Count(prefix, ".") >= deepest {
		return nil
	}
	var out []field
	for _, name := range keys(s.Properties) {
		var all map[string]json.RawMessage
		var p jsonSchema
		if json.Unmarshal(s.Properties, &all) != nil || json.Unmarshal(all[name], &p) != nil {
			continue
		}
		about := p.Description
		if slices.Contains(s.Required, name) {
			about = strings.TrimSpace("Required. " + about)
		}
		out = append(out, field{prefix + name, kind(&p), about})
		if len(p.Properties) > 0 {
			out = append(out, describe(all[name], prefix+name+".")...)
		}
		if len(p.Items) > 0 {
			out = append(out, describe(p.Items, prefix+name+"[].")...)
		}
	}
	return out
}

func kind(s *jsonSchema) string {
	if len(s.Enum) > 0 {
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprintf("`%v`", v)
		}
		return strings.Join(values, " or ")
	}
	switch t := s.Type.(type) {
	case string:
		return t
	case []any:
		names := make([]string, len(t))
		for i, v := range t {
			names[i] = fmt.Sprint(v)
		}
		return strings.Join(names, " or ")
	}
	return "anything"
}

func properties(schema json.RawMessage) []string {
	var s jsonSchema
	if json.Unmarshal(schema, &s) != nil {
		return nil
	}
	return keys(s.Properties)
}

// keys returns the keys of a JSON object in the order in which they stand.
func keys(object json.RawMessage) []string {
	dec := json.NewDecoder(bytes.NewReader(object))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var out []string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return out
		}
		out = append(out, key.(string))
		var skipped json.RawMessage
		if dec.Decode(&skipped) != nil {
			return out
		}
	}
	return out
}

// Integrations returns the page about the integrations.
func Integrations(all []integration.Integration) []byte {
	var b bytes.Buffer
	b.WriteString("# Integrations\n\nWhere events can go.\n\n")
	b.WriteString(IntegrationTable(all))
	for _, i := range all {
		d := i.Definition()
		fmt.Fprintf(&b, "\n## %s (`%s`)\n\n%s\n", cell(d.Title), d.Key, strings.TrimSpace(d.Description))
		settings(&b, "Setting", d.Settings)
		if len(d.Config) > 0 {
			fmt.Fprintf(&b, "\nThe operator sets below `integrations.%s` in `patchbay.yaml`:\n", d.Key)
			settings(&b, "Operator's setting", d.Config)
		}
		if docs := strings.TrimSpace(d.Docs); docs != "" {
			fmt.Fprintf(&b, "\n%s\n", below(docs))
		}
	}
	return b.Bytes()
}

// IntegrationTable returns a table of integrations.
func IntegrationTable(all []integration.Integration) string {
	var b strings.Builder
	b.WriteString("| integration | title | category | what it does |\n|---|---|---|---|\n")
	for _, i := range all {
		d := i.Definition()
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Key, cell(d.Title), cell(d.Category), cell(d.Description))
	}
	return b.String()
}

func settings(b *bytes.Buffer, title string, spec integration.Spec) {
	if len(spec) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| %s | type | | |\n|---|---|---|---|\n", title)
	for _, row := range settingRows("", spec) {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", row[0], row[1], cell(row[2]), cell(row[3]))
	}
}

func settingRows(prefix string, spec integration.Spec) [][4]string {
	var out [][4]string
	for _, s := range spec.Info() {
		kind := string(s.Type)
		if s.Secret {
			kind += ", secret"
		}
		var need string
		switch {
		case s.Required:
			need = "required"
		case s.Default != nil:
			need = fmt.Sprintf("default `%v`", s.Default)
		}
		what := s.Title
		if s.Help != "" {
			what += ". " + s.Help
		}
		if len(s.Options) > 0 {
			values := make([]string, len(s.Options))
			for i, o := range s.Options {
				values[i] = "`" + o.Value + "`"
			}
			what += ". One of " + strings.Join(values, ", ")
		}
		out = append(out, [4]string{prefix + s.Key, kind, need, what})
	}
	for i := range spec {
		if len(spec[i].Fields) > 0 {
			at := slices.IndexFunc(out, func(r [4]string) bool { return r[0] == prefix+spec[i].Key })
			out = slices.Insert(out, at+1, settingRows(prefix+spec[i].Key+".", spec[i].Fields)...)
		}
	}
	return out
}

// below moves the headings of a text two levels down, so that they stand below the integration's own.
func below(markdown string) string {
	lines := strings.Split(markdown, "\n")
	fenced := false
	for i, line := range lines {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if !fenced && strings.HasPrefix(line, "#") {
			lines[i] = "##" + line
		}
	}
	return strings.Join(lines, "\n")
}

// cell makes text fit into one cell of a table, and one line of a page.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}

func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = "`" + n + "`"
	}
	return out
}

func indent(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// The comments in a page between which Fill puts its tables.
const (
	begin = "<!-- %s: made by \"patchbay catalog docs --readme\" -->\n"
	end   = "<!-- end of %s -->\n"
)

// Fill returns a page with its tables of events and integrations made anew. They stand between comments such as
// "<!-- events: made by "patchbay catalog docs --readme" -->" and "<!-- end of events -->".
func Fill(page []byte, types []patchbay.EventType, all []integration.Integration) ([]byte, error) {
	text := string(page)
	for name, table := range map[string]string{"events": EventTable(types), "integrations": IntegrationTable(all)} {
		first, last := fmt.Sprintf(begin, name), fmt.Sprintf(end, name)
		before, rest, found := strings.Cut(text, first)
		_, after, closed := strings.Cut(rest, last)
		if !found || !closed {
			return nil, fmt.Errorf("the page has no place for the table of %s: it stands between the lines %q and %q",
				name, strings.TrimSpace(first), strings.TrimSpace(last))
		}
		text = before + first + "\n" + table + "\n" + last + after
	}
	return []byte(text), nil
}
