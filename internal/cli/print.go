package cli

import (
	"bytes"
	"encoding/json"

	"github.com/patchbay/patchbay/internal/console"
)

// printRaw prints an answer of the API as it came, indented where a person reads it.
func (p *program) printRaw(body []byte) {
	var b bytes.Buffer
	if p.out.Terminal && json.Indent(&b, body, "", "  ") == nil {
		body = b.Bytes()
	}
	p.out.Printf("%s\n", bytes.TrimSpace(body))
}

// table prints rows, or a sentence when there are none.
func (p *program) table(none string, header []string, rows [][]console.Cell) {
	if len(rows) == 0 {
		p.err.Printf("%s\n", none)
		return
	}
	p.out.Table(header, rows)
}

// field prints a named value.
func (p *program) field(name, value string) {
	p.out.Printf("  %s %s\n", p.out.Paint(console.Dim, console.Pad(name, 12)), value)
}
