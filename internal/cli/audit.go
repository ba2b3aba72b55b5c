package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
)

type auditCmd struct {
	connection
	Scope  string `name:"scope" help:"Only what lies at or below this scope."`
	Action string `name:"action" placeholder:"link.deleted|link." help:"Only this, or all that begins so when it ends in a dot."`
	Object string `name:"object" placeholder:"ID" help:"Only what was done to this: an identifier, or an event type's key."`
	Actor  string `name:"actor" placeholder:"ID|NAME" help:"Only what this key, session or person did."`
	Since  moment `name:"since" placeholder:"2h|TIME" help:"Only what was done since then."`
	Until  moment `name:"until" placeholder:"2h|TIME" help:"Only what was done before then."`
	CSV    bool   `name:"csv" xor:"form" help:"Print all of it as CSV, for a spreadsheet."`
	NDJSON bool   `name:"ndjson" xor:"form" help:"Print all of it as lines of JSON, for programs."`
	paging
}

// Run lists who changed what.
func (c *auditCmd) Run(p *program, conn *connection) error {
	f := client.AuditFilter{Action: c.Action, Object: c.Object, Actor: c.Actor, Paging: c.page()}
	var err error
	if f.Scope, err = scope(c.Scope); err != nil {
		return err
	}
	if f.Since, err = c.Since.time("--since", p.now()); err != nil {
		return err
	}
	if f.Until, err = c.Until.time("--until", p.now()); err != nil {
		return err
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	if c.CSV || c.NDJSON {
		return p.exportAudit(api, f, map[bool]string{true: "csv", false: "ndjson"}[c.CSV])
	}
	page, err := api.Audit(p.ctx, f)
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(page.Data))
	for i := range page.Data {
		e := &page.Data[i]
		rows[i] = []console.Cell{
			{Text: console.Ago(e.At, p.now()) + " ago", Style: console.Dim}, {Text: console.Clip(console.Line(actorName(&e.Actor)), 30), Style: console.Bold},
			{Text: e.Action}, {Text: e.Object}, {Text: console.Clip(console.Line(e.Title), 30)}, {Text: scopeName(e.Scope)},
			{Text: console.Clip(console.Line(changes(e.Changes)), 60), Style: console.Dim}, {Text: console.Line(e.Address), Style: console.Dim},
		}
	}
	p.table("Nothing like that was done.", []string{"WHEN", "WHO", "DID", "TO", "CALLED", "SCOPE", "CHANGED", "FROM"}, rows)
	p.more(page.Next)
	return nil
}

// exportAudit copies an export to where results go, as it comes.
func (p *program) exportAudit(api *client.Client, f client.AuditFilter, format string) error {
	body, err := api.ExportAudit(p.ctx, f, format)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(p.out.Writer(), body); err != nil {
		return fmt.Errorf("the export broke off and is not whole: %w", err)
	}
	return nil
}

// actorName is who did it, in a word.
func actorName(a *client.AuditActor) string {
	switch {
	case a.Kind == "system":
		return "Patchbay"
	case a.Name != "":
		return a.Name
	case a.ID != "":
		return a.ID
	}
	return a.Kind
}

// changes says what became something else, on one line.
func changes(all []client.AuditChange) string {
	parts := make([]string, len(all))
	for i, c := range all {
		from, to := plainJSON(c.From), plainJSON(c.To)
		switch {
		case from == "" && to == "":
			parts[i] = c.Field
		case from == "":
			parts[i] = c.Field + ": " + to
		default:
			parts[i] = c.Field + ": " + from + " → " + to
		}
	}
	return strings.Join(parts, ", ")
}

// plainJSON is a value for people: a text without its quotes, a list of texts with commas, and nothing for null.
func plainJSON(raw json.RawMessage) string {
	var text string
	var list []string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return ""
	case json.Unmarshal(raw, &text) == nil:
		return text
	case json.Unmarshal(raw, &list) == nil:
		return strings.Join(list, ", ")
	}
	return string(raw)
}
