package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/audit"
)

// Audit says who changed what.
type Audit interface {
	// List lists entries, the newest first, and says whether there are more.
	List(ctx context.Context, c *access.Caller, q audit.Query) (entries []audit.Entry, more bool, err error)
	// Each calls do with all that a query selects.
	Each(ctx context.Context, c *access.Caller, q audit.Query, do func(*audit.Entry) error) error
}

// auditRoutes registers the route of the audit log.
func (a *api) auditRoutes() {
	text := &huma.Schema{Type: huma.TypeString}
	param := func(name, about string, schema *huma.Schema) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: about, Schema: schema}
	}
	at := &huma.Schema{Type: huma.TypeString, Format: "date-time"}
	least, most := 1.0, float64(maxLimit)
	ok := jsonResponse("A page of entries; or everything that is selected, as NDJSON or CSV.", schemaOf[page[audit.Entry]](a.document),
		newPage([]audit.Entry{exampleAudit}, idCursor(cursorAudit, int64(exampleAudit.ID))))
	ok.Content["application/x-ndjson"] = &huma.MediaType{Schema: text}
	ok.Content["text/csv"] = &huma.MediaType{Schema: text}
	a.plain(&huma.Operation{OperationID: "list-audit", Method: http.MethodGet, Path: "/v1/audit", Summary: "Who changed what", Tags: []string{tagKeys},
		Description: "The newest first: every change of the configuration and everything done by hand, with who did it, when and from where. " +
			"With `format=csv` or `format=ndjson` (or such an `Accept`) the answer is not a page but everything that is selected, for export; " +
			"a cell of the CSV that a spreadsheet would take for a formula begins with an apostrophe.\n\n" +
			"Needs the permission `manage` or `admin`, and shows what lies at or below the key's scope.",
		Security: a.document.withKey(),
		Parameters: []*huma.Param{
			param("scope", "Of what lies at or below it.", text), param("action", "Such as link.created, or link. for all that begin so.", text),
			param("object", "An identifier, or an event type's key.", text), param("actor", "A key's or a session's identifier, or a name.", text),
			param("since", "At or after it.", at), param("until", "Before it.", at),
			param("format", "csv or ndjson.", &huma.Schema{Type: huma.TypeString, Enum: []any{"json", "csv", "ndjson"}}),
			param("limit", "How many at most. Not with an export.", &huma.Schema{Type: huma.TypeInteger, Minimum: &least, Maximum: &most, Default: defaultLimit}),
			param("cursor", "The next of the page before.", text),
		},
		Responses: map[string]*huma.Response{"200": ok}}, a.listAudit)
}

// listAudit answers GET /v1/audit.
func (a *api) listAudit(w http.ResponseWriter, r *http.Request) {
	c, err := a.Access.Caller(r.Header)
	if err == nil {
		err = c.Require(access.Manage)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	q, err := auditQuery(c, r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	format, err := auditFormat(r)
	switch {
	case err != nil:
		a.fail(w, r, err)
		return
	case format != "":
		a.exportAudit(w, r, c, q, audit.Formats[format])
		return
	}
	entries, more, err := a.Audit.List(r.Context(), c, q)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	next := ""
	if more && len(entries) > 0 {
		next = idCursor(cursorAudit, int64(entries[len(entries)-1].ID))
	}
	w.Header()["Cache-Control"] = noStore
	writeJSON(w, http.StatusOK, newPage(entries, next))
}

// auditQuery reads what is asked for.
func auditQuery(c *access.Caller, r *http.Request) (q audit.Query, err error) {
	values, err := query(r, "scope", "action", "object", "actor", "since", "until", "format", "limit", "cursor")
	if err != nil {
		return q, err
	}
	q = audit.Query{Action: values.Get("action"), Object: values.Get("object"), Actor: values.Get("actor"), Limit: defaultLimit}
	scope, err := reachable(c, values.Get("scope"))
	if err != nil {
		return q, err
	}
	q.Scope = &scope
	if q.Since, err = timeOf("since", values.Get("since")); err != nil {
		return q, err
	}
	if q.Until, err = timeOf("until", values.Get("until")); err != nil {
		return q, err
	}
	if values.Has("limit") {
		if q.Limit, err = strconv.Atoi(values.Get("limit")); err != nil || q.Limit < 1 || q.Limit > maxLimit {
			return q, patchbay.Invalid("limit", "must be a number from 1 to %d", maxLimit)
		}
	}
	before, err := Paging{Cursor: values.Get("cursor")}.idOf(cursorAudit)
	q.Before = patchbay.AuditID(before)
	return q, err
}

// auditFormat returns the format of an export, "" for a page. The parameter goes before what the caller accepts.
func auditFormat(r *http.Request) (string, error) {
	values, _ := url.ParseQuery(r.URL.RawQuery) // it was read before
	switch format := values.Get("format"); {
	case format == "json":
		return "", nil
	case format != "":
		if _, ok := audit.Formats[format]; !ok {
			return "", patchbay.Invalid("format", "must be json, csv or ndjson")
		}
		return format, nil
	}
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			kind, _, _ := strings.Cut(part, ";")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "application/json", "*/*":
				return "", nil
			case "text/csv":
				return "csv", nil
			case "application/x-ndjson":
				return "ndjson", nil
			}
		}
	}
	return "", nil
}

// exportAudit answers with everything that a query selects.
func (a *api) exportAudit(w http.ResponseWriter, r *http.Request, c *access.Caller, q audit.Query, f audit.Format) {
	begun, err := audit.Serve(w, f, func(do func(*audit.Entry) error) error { return a.Audit.Each(r.Context(), c, q, do) })
	switch {
	case err == nil:
	case begun:
		a.Log.LogAttrs(r.Context(), slog.LevelWarn, "an export of the audit log broke off", slog.Any("error", err))
		panic(http.ErrAbortHandler)
	default:
		a.fail(w, r, err)
	}
}

// exampleAudit is the example of an entry.
var exampleAudit = audit.Entry{
	ID: patchbay.AuditID(251_000_000_000_001_024), At: exampleTime, Action: "link.updated", Object: exampleLinkID.String(), Title: "Slack #develop",
	Scope: "acme/repos/1", Actor: audit.Actor{Kind: access.ActorKey, ID: exampleKeyID.String(), Name: "CI"}, Via: "api", Address: "192.0.2.7",
	Agent: "curl/8.14.1", Changes: []audit.Change{{Field: "settings.channel", From: []byte(`"#general"`), To: []byte(`"#develop"`)}},
}
