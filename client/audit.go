package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/patchbay/patchbay"
)

// AuditEntry says who changed what, when and from where.
type AuditEntry struct {
	ID patchbay.AuditID `json:"id"`
	At time.Time        `json:"at"`
	// Action is what was done, such as link.created; Object to what, by its identifier, and Title how that was called.
	Action string         `json:"action"`
	Object string         `json:"object"`
	Title  string         `json:"title"`
	Scope  patchbay.Scope `json:"scope"`
	Actor  AuditActor     `json:"actor"`
	// Via is api or web, "" for what Patchbay did by itself; Address and Agent are the caller's.
	Via     string        `json:"via"`
	Address string        `json:"address"`
	Agent   string        `json:"agent"`
	Changes []AuditChange `json:"changes"`
}

// AuditActor is who did it.
type AuditActor struct {
	// Kind is key, session, portal, signature, development, stranger or system.
	Kind string `json:"kind"`
	// ID is the key's or the session's identifier, "" where there is none; Name is what people know it by.
	ID   string `json:"id"`
	Name string `json:"name"`
}

// AuditChange is a field that became something else. Of a secret it says only that it did.
type AuditChange struct {
	Field string          `json:"field"`
	From  json.RawMessage `json:"from"`
	To    json.RawMessage `json:"to"`
}

// AuditFilter selects entries. Zero fields select everything.
type AuditFilter struct {
	// Scope selects what lies at or below it.
	Scope patchbay.Scope
	// Action is one, or all that begin so when it ends in a dot: "link.".
	Action string
	// Object is an identifier or an event type's key; Actor an identifier or a name.
	Object, Actor string
	Since, Until  time.Time
	Paging
}

func (f *AuditFilter) values() url.Values {
	q := f.query()
	set(q, "scope", string(f.Scope))
	set(q, "action", f.Action)
	set(q, "object", f.Object)
	set(q, "actor", f.Actor)
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			q.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return q
}

// Audit lists who changed what, newest first.
func (c *Client) Audit(ctx context.Context, f AuditFilter) (*Page[AuditEntry], error) {
	return call[Page[AuditEntry]](ctx, c, http.MethodGet, "/v1/audit", f.values(), nil)
}

// ExportAudit returns everything that the filter selects, but for its Paging, as "csv" or "ndjson". The caller closes it; an
// error of a read means that it is not whole.
func (c *Client) ExportAudit(ctx context.Context, f AuditFilter, format string) (io.ReadCloser, error) {
	f.Paging = Paging{}
	q := f.values()
	q.Set("format", format)
	resp, err := c.send(ctx, request{method: http.MethodGet, path: "/v1/audit", query: q})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what arrived of a refusal is good enough
		return nil, c.failure(resp, body)
	}
	return resp.Body, nil
}
