package bench

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/patchbay/patchbay/internal/console"
)

// Totals are what arrived, over all measurements.
type Totals struct {
	// Events counts accepted events that were measured, Lost deliveries that never arrived, Duplicates those that came
	// more than once.
	Events     int64 `json:"events"`
	Deliveries int64 `json:"deliveries"`
	Lost       int64 `json:"lost"`
	Duplicates int64 `json:"duplicates"`
	// Verified counts signatures that were checked, Forged those that were wrong.
	Verified int64 `json:"verified"`
	Forged   int64 `json:"forged"`
}

// note adds a measurement to the totals.
func (b *bench) note(p phase) {
	b.totals.Events += p.accepted
	b.totals.Deliveries += p.report.Distinct
	b.totals.Lost += p.lost
	b.totals.Duplicates += p.report.Duplicates
	b.totals.Verified += p.report.Verified
	b.totals.Forged += p.report.Forged + p.report.Unreadable
}

// Result is what a run came to.
type Result struct {
	Machine string        `json:"machine"`
	Quick   bool          `json:"quick"`
	Runs    int           `json:"runs"`
	Took    time.Duration `json:"took_ns"`
	Rows    []Row         `json:"rows"`
	Totals  Totals        `json:"totals"`
	// Passed says that every row that was measured reaches its must, and nothing was lost or forged.
	Passed bool `json:"passed"`
}

func (b *bench) result(took time.Duration) *Result {
	out := &Result{
		Machine: fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
		Quick:   b.o.Quick, Runs: b.o.Runs, Took: took, Totals: b.totals, Passed: b.totals.Lost == 0 && b.totals.Forged == 0,
	}
	for _, r := range rows() {
		row := b.rows[r.ID]
		if len(row.Samples) == 0 && row.Problem == "" {
			continue // was not asked for
		}
		if len(row.Samples) > 0 {
			row.Value = median(row.Samples)
			row.Passed = row.Value <= row.Must
			if row.Higher {
				row.Passed = row.Value >= row.Must
			}
		}
		out.Passed = out.Passed && (row.Passed || row.Problem != "")
		out.Rows = append(out.Rows, *row)
	}
	return out
}

// Print writes the result as a table.
func (r *Result) Print(c *console.Console) {
	cells := make([][]console.Cell, len(r.Rows))
	for i := range r.Rows {
		cells[i] = r.Rows[i].cells()
	}
	c.Table([]string{"", "ROW", "MUST", "AIM", "VALUE", "WHAT STANDS BEHIND IT"}, cells)
	kind := fmt.Sprintf("median of %d", r.Runs)
	if r.Quick {
		kind = "quick: one short run, for orientation"
	}
	c.Printf("\n%s; %s; %s\n", r.Machine, kind, r.Took.Round(time.Second))
	look := console.Look{Sign: "✓", Style: console.Green}
	if r.Totals.Lost > 0 || r.Totals.Forged > 0 {
		look = console.Look{Sign: "✗", Style: console.Red}
	}
	c.Printf("%s\n", look.Paint(c, fmt.Sprintf("%d events, %d deliveries: %d lost, %d came twice; %d signatures checked, %d wrong",
		r.Totals.Events, r.Totals.Deliveries, r.Totals.Lost, r.Totals.Duplicates, r.Totals.Verified, r.Totals.Forged)))
}

func (r *Row) cells() []console.Cell {
	than := "≤ "
	if r.Higher {
		than = "≥ "
	}
	mark, value := console.Cell{Text: "✓", Style: console.Green}, console.Cell{Text: r.number(r.Value), Style: console.Bold}
	switch {
	case len(r.Samples) == 0:
		mark, value = console.Cell{Text: "–", Style: console.Dim}, console.Cell{Text: "–", Style: console.Dim}
	case !r.Passed:
		mark = console.Cell{Text: "✗", Style: console.Red}
	}
	note := r.Note
	if r.Problem != "" {
		note = r.Problem
	}
	aim := ""
	if r.Aim != 0 {
		aim = than + r.number(r.Aim)
	}
	return []console.Cell{mark, {Text: r.Title}, {Text: than + r.number(r.Must), Style: console.Dim}, {Text: aim, Style: console.Dim}, value, {Text: note, Style: console.Dim}}
}

// number writes a value with as many digits as mean something.
func (r *Row) number(v float64) string {
	text := fmt.Sprintf("%.2f", v)
	if v >= 10 {
		text = fmt.Sprintf("%.0f", v)
	}
	return strings.TrimSpace(text + " " + r.Unit)
}
