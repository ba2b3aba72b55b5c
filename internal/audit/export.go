package audit

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// Formats are the formats of an export, by how they are asked for.
var Formats = map[string]Format{
	"csv":    {"csv", "text/csv; charset=utf-8"},
	"ndjson": {"ndjson", "application/x-ndjson"},
}

// Format is a format of an export.
type Format struct{ Name, Type string }

// Writer writes an export.
type Writer struct {
	rows *csv.Writer // nil for NDJSON
	json *json.Encoder
}

// NewWriter returns a Writer that has written what stands at the top.
func NewWriter(w io.Writer, f Format) (*Writer, error) {
	if f.Name != "csv" {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return &Writer{json: e}, nil
	}
	rows := csv.NewWriter(w)
	rows.UseCRLF = true // RFC 4180 §2
	return &Writer{rows: rows}, rows.Write(columns)
}

// columns are those of the CSV.
var columns = []string{
	"at", "id", "action", "object", "title", "scope", "actor_kind", "actor", "actor_name", "via", "address", "agent", "changes",
}

// Write writes an entry.
func (w *Writer) Write(e *Entry) error {
	if w.rows == nil {
		return w.json.Encode(e)
	}
	changes := ""
	if len(e.Changes) > 0 {
		raw, err := json.Marshal(e.Changes)
		if err != nil {
			return err
		}
		changes = string(raw)
	}
	row := []string{
		e.At.Format("2006-01-02T15:04:05.000Z"), e.ID.String(), e.Action, e.Object, e.Title, string(e.Scope), e.Actor.Kind, e.Actor.ID, e.Actor.Name,
		e.Via, e.Address, e.Agent, changes,
	}
	for i := range row {
		row[i] = cell(row[i])
	}
	return w.rows.Write(row)
}

// Flush hands on what is still in memory.
func (w *Writer) Flush() error {
	if w.rows == nil {
		return nil
	}
	w.rows.Flush()
	return w.rows.Error()
}

// cell is a text as a cell that no spreadsheet takes for a formula: names of links and of programs come from anywhere. OWASP
// lists the characters by which spreadsheets recognise one, and has such a cell begin with an apostrophe
// (https://owasp.org/www-community/attacks/CSV_Injection). Where lists are separated by semicolons a spreadsheet begins a cell
// behind each of them, so the same goes for what follows one.
func cell(s string) string {
	const formulas = "=+-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20"
	if !strings.ContainsAny(s, formulas) {
		return s
	}
	var b strings.Builder
	begins := true
	for _, r := range s {
		if begins && strings.ContainsRune(formulas, r) {
			b.WriteByte('\'')
		}
		b.WriteRune(r)
		begins = r == ';' || begins && (r == '"' || r == ' ')
	}
	return b.String()
}

// writeWithin is how long whoever downloads may take to take what was written, before it is cut off.
const writeWithin = time.Minute

// Serve answers a request with all entries that each gives out, as a file. begun says that the answer had begun when the error
// came: then nothing can be said any more, and it is to be broken off, so that nobody takes half of the log for all of it.
func Serve(w http.ResponseWriter, f Format, each func(do func(*Entry) error) error) (begun bool, err error) {
	conn := http.NewResponseController(w)
	var out *Writer
	begin := func() (err error) {
		h := w.Header()
		h.Set("Content-Type", f.Type)
		h.Set("Content-Disposition", `attachment; filename="patchbay-audit-`+time.Now().UTC().Format(time.DateOnly)+"."+f.Name+`"`)
		h.Set("Cache-Control", "no-store")
		out, err = NewWriter(w, f)
		return err
	}
	err = each(func(e *Entry) error {
		if out == nil {
			if err := begin(); err != nil {
				return err
			}
		}
		_ = conn.SetWriteDeadline(time.Now().Add(writeWithin)) // not every connection can; then the server's own limits hold
		return out.Write(e)
	})
	if err == nil && out == nil { // there is nothing
		err = begin()
	}
	if err == nil {
		err = out.Flush()
		_ = conn.SetWriteDeadline(time.Time{}) // the next request on the connection has its own
	}
	return out != nil, err
}
