package bench

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
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

// Part is what arrived in one group of measurements.
type Part struct {
	Group string `json:"group"`
	Totals
}

// note adds a measurement to the totals.
func (b *bench) note(p phase) {
	b.totals.add(p)
	if n := len(b.parts); n == 0 || b.parts[n-1].Group != b.group {
		b.parts = append(b.parts, Part{Group: b.group})
	}
	b.parts[len(b.parts)-1].add(p)
}

func (t *Totals) add(p phase) {
	t.Events += p.accepted
	t.Deliveries += p.report.Distinct
	t.Lost += p.lost
	t.Duplicates += p.report.Duplicates
	t.Verified += p.report.Verified
	t.Forged += p.report.Forged + p.report.Unreadable
}

// Result is what a run came to.
type Result struct {
	Machine string        `json:"machine"`
	Quick   bool          `json:"quick"`
	Runs    int           `json:"runs"`
	Took    time.Duration `json:"took_ns"`
	Rows    []Row         `json:"rows"`
	Totals  Totals        `json:"totals"`
	// Parts are the totals of each group.
	Parts []Part `json:"parts"`
	// At is when it began; Load what the machine was busy with then and at the end: the average over the last minute.
	At   time.Time  `json:"at"`
	Load [2]float64 `json:"load"`
	// Passed says that every row that was measured reaches its must, and nothing was lost or forged.
	Passed bool `json:"passed"`
}

func (b *bench) result(took time.Duration) *Result {
	out := &Result{
		Machine: fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
		Quick:   b.o.Quick, Runs: b.o.Runs, Took: took, Totals: b.totals, Parts: b.parts, At: b.began, Load: [2]float64{b.load, loadAverage()}, Passed: b.totals.Lost == 0 && b.totals.Forged == 0,
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

// loadAverage is how many processes wanted a processor over the last minute; 0 where that cannot be told.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, _ := strconv.ParseFloat(first, 64) // a number, by the kernel's word
	return load
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
	c.Printf("\n%s; %s; %s; load %.1f at the start, %.1f at the end\n", r.Machine, kind, r.Took.Round(time.Second), r.Load[0], r.Load[1])
	for i := range r.Parts {
		if p := &r.Parts[i]; p.Lost > 0 || p.Duplicates > 0 {
			c.Printf("%s: %d of %d deliveries lost, %d came twice\n", p.Group, p.Lost, p.Deliveries+p.Lost, p.Duplicates)
		}
	}
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
