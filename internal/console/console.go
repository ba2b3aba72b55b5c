// Package console writes for people: tables and lines with colours where there is a terminal, plain text elsewhere.
// It knows what a state looks like, so that one state has one colour and one sign everywhere.
package console

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// defaultWidth is for output that is not a terminal.
const defaultWidth = 100

// Style is how text looks. All styles are escape sequences of the same length, so that text/tabwriter, which counts
// them as text, still aligns a column whose every cell has one.
type Style string

// The styles.
const (
	Plain   Style = "\x1b[39m"
	Bold    Style = "\x1b[01m"
	Dim     Style = "\x1b[90m"
	Red     Style = "\x1b[31m"
	Green   Style = "\x1b[32m"
	Yellow  Style = "\x1b[33m"
	Blue    Style = "\x1b[34m"
	Magenta Style = "\x1b[35m"
	Cyan    Style = "\x1b[36m"

	reset = "\x1b[0m"
)

// Console is where a program writes for people. The zero Console discards.
type Console struct {
	w io.Writer
	// Color says that styles are shown.
	Color bool
	// Width is how many columns a line has.
	Width int
	// Terminal says that a person is looking at it.
	Terminal bool
}

// New returns a Console that writes to w. It has colours when w is a terminal and NO_COLOR is not set.
func New(w io.Writer) *Console {
	c := &Console{w: w, Width: defaultWidth}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		c.Terminal = true
		c.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			c.Width = width
		}
	}
	return c
}

// Write writes bytes as they are.
func (c *Console) Write(b []byte) (int, error) {
	if c.w == nil {
		return len(b), nil
	}
	return c.w.Write(b)
}

// Printf writes formatted text.
func (c *Console) Printf(format string, args ...any) { fmt.Fprintf(c, format, args...) }

// Paint gives text a style.
func (c *Console) Paint(s Style, text string) string {
	if !c.Color || text == "" {
		return text
	}
	return string(s) + text + reset
}

// JSON writes a value, indented where a person reads it.
func (c *Console) JSON(v any) error {
	enc := json.NewEncoder(c)
	enc.SetEscapeHTML(false)
	if c.Terminal {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}

// Table writes rows below a header, in columns.
func (c *Console) Table(header []string, rows [][]Cell) {
	tw := tabwriter.NewWriter(c, 0, 0, 2, ' ', 0)
	for i, title := range header {
		fmt.Fprint(tw, c.cell(Cell{title, Dim}, i == len(header)-1))
	}
	for _, row := range rows {
		for i, cell := range row {
			fmt.Fprint(tw, c.cell(cell, i == len(row)-1))
		}
	}
	_ = tw.Flush() // a closed terminal is noticed by the next thing that is written
}

// Cell is text in a table. Its zero style is Plain.
type Cell struct {
	Text  string
	Style Style
}

func (c *Console) cell(cell Cell, last bool) string {
	text := strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, Printable(cell.Text))
	if cell.Style == "" {
		cell.Style = Plain
	}
	if c.Color {
		text = string(cell.Style) + text + reset
	}
	if last {
		return text + "\n"
	}
	return text + "\t"
}

// Printable removes what could move the cursor or change colours: text of an event is somebody else's.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069):
			return -1
		}
		return r
	}, s)
}

// Line removes line breaks too.
func Line(s string) string {
	return strings.Join(strings.Fields(Printable(s)), " ")
}

// Clip shortens text to a number of columns.
func Clip(s string, columns int) string {
	if columns <= 0 {
		return ""
	}
	if utf8.RuneCountInString(s) <= columns {
		return s
	}
	runes := []rune(s)
	return string(runes[:columns-1]) + "…"
}

// Wrap breaks a text into lines of at most so many columns, between words. A longer word has a line of its own.
func Wrap(s string, columns int) []string {
	var lines []string
	for _, word := range strings.Fields(s) {
		if n := len(lines) - 1; n >= 0 && utf8.RuneCountInString(lines[n])+1+utf8.RuneCountInString(word) <= columns {
			lines[n] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

// Pad makes text exactly as wide as columns.
func Pad(s string, columns int) string {
	s = Clip(s, columns)
	return s + strings.Repeat(" ", max(0, columns-utf8.RuneCountInString(s)))
}

// Ago says how long ago t was, in one unit: "12s", "3m", "5h", "9d".
func Ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return Length(now.Sub(t))
}

// Length writes a duration in its largest unit that is not 0.
func Length(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Writer returns what the Console writes to, for what does its own formatting.
func (c *Console) Writer() io.Writer {
	if c.w == nil {
		return io.Discard
	}
	return c.w
}
