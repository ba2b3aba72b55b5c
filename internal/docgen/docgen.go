// Package docgen writes the integrations as Markdown, from the declarations that the program itself works with, and
// puts what is made so into a page that people write, such as a README.
package docgen

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// Integrations returns the page about the integrations.
func Integrations(all []integration.Integration) []byte {
	var b bytes.Buffer
	b.WriteString("# Integrations\n\nWhere events can go, and where they can come from.\n\n")
	b.WriteString(IntegrationTable(all))
	for _, i := range all {
		d := i.Definition()
		fmt.Fprintf(&b, "\n## %s (`%s`)\n\n%s\n", cell(d.Title), d.Key, strings.TrimSpace(d.Description))
		settings(&b, "Setting", d.Settings)
		if len(d.Config) > 0 {
			fmt.Fprintf(&b, "\nThe operator sets below `integrations.%s` in `patchbay.yaml`:\n", d.Key)
			settings(&b, "Operator's setting", d.Config)
		}
		types(&b, d.Types)
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

// types writes what an integration's hooks bring in.
func types(b *bytes.Buffer, all []patchbay.EventType) {
	if len(all) == 0 {
		return
	}
	b.WriteString("\n| Event that it brings in | | |\n|---|---|---|\n")
	for i := range all {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", all[i].Key, cell(all[i].Title), cell(all[i].Description))
	}
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

// Fill returns a page with its sections made anew. A section stands between the lines "<!-- name -->" and
// "<!-- /name -->".
func Fill(page []byte, sections map[string]string) ([]byte, error) {
	text := string(page)
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
		before, rest, found := strings.Cut(text, begin)
		_, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			return nil, fmt.Errorf("the page has no place for %s: it stands between the lines <!-- %s --> and <!-- /%s -->", name, name, name)
		}
		text = before + begin + sections[name] + end + after
	}
	return []byte(text), nil
}
