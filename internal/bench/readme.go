package bench

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// Between these lines of a README stand the figures.
const (
	readmeBegin = "<!-- bench -->\n"
	readmeEnd   = "<!-- /bench -->"
)

// Markdown writes the figures as they stand in the README.
func (r *Result) Markdown() string {
	var b strings.Builder
	b.WriteString("`patchbay bench` measures an installation beside \"no-store\", a program that accepts and forwards in memory with the same\n" +
		"HTTP client and promises nothing, in the same run. Every event is durable before its answer. `patchbay bench --readme README.md`\n" +
		"writes this table.\n\n| what | must | measured | behind it |\n|---|---|---|---|\n")
	for i := range r.Rows {
		row := &r.Rows[i]
		than := "≤ "
		if row.Higher {
			than = "≥ "
		}
		value, note := "–", row.Problem
		if len(row.Samples) > 0 {
			value, note = row.number(row.Value), row.Note
			if !row.Passed {
				value += " ✗"
			}
		}
		fmt.Fprintf(&b, "| %s | %s%s | %s | %s |\n", row.Title, than, row.number(row.Must), value, strings.ReplaceAll(note, "|", "/"))
	}
	kind := fmt.Sprintf("medians of %d runs", r.Runs)
	if r.Quick {
		kind = "one short run, for orientation"
	} else if r.Runs == 1 {
		kind = "one run"
	}
	fmt.Fprintf(&b, "\n%s; %s; %s. The machine's load was %.1f at the start and %.1f at the end. %d deliveries, %d lost, %d came twice.\n",
		r.At.UTC().Format("2 January 2006"), r.Machine, kind, r.Load[0], r.Load[1], r.Totals.Deliveries, r.Totals.Lost, r.Totals.Duplicates)
	return b.String()
}

// WriteReadme puts the figures between the markers of a file.
func (r *Result) WriteReadme(path string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("the figures cannot be put into a file that cannot be read: %w", err)
	}
	before, rest, ok := bytes.Cut(old, []byte(readmeBegin))
	_, after, closed := bytes.Cut(rest, []byte(readmeEnd))
	if !ok || !closed {
		return fmt.Errorf("%s has no lines %s and %s for the figures to stand between", path, strings.TrimSpace(readmeBegin), readmeEnd)
	}
	text := string(before) + readmeBegin + r.Markdown() + readmeEnd + string(after)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // a README is for everybody
		return fmt.Errorf("the figures cannot be written: %w", err)
	}
	return nil
}
