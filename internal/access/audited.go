package access

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// The kinds of actors, as the audit log names them.
const (
	ActorKey         = "key"
	ActorSession     = "session"
	ActorPortal      = "portal"
	ActorSignature   = "signature"
	ActorDevelopment = "development"
	ActorStranger    = "stranger" // who was not let in
	ActorSystem      = "system"   // Patchbay itself
)

// What an entry of the audit log keeps at most: of a name, in bytes; of one value as JSON; and how many fields.
const (
	auditName   = 255
	auditValue  = 1000
	auditFields = 60
)

// agentLength is how much is kept of what a program calls itself, in bytes.
const agentLength = 200

// ClipAgent returns what is kept of what a program calls itself (the header User-Agent).
func ClipAgent(s string) string {
	return cut(oneLine(strings.ToValidUTF8(cut(s, agentLength), "")), agentLength)
}

// Change is what is written down of a change, or of something that was done by hand.
type Change struct {
	// Action says what was done, such as "link.created"; Object to what, by its identifier, and Title how that is called.
	Action, Object, Title string
	// Scope is that of what was changed.
	Scope patchbay.Scope
	// Fields are what became something else. Nothing secret may stand in them; see Hidden.
	Fields []Field
}

// Field is a field that became something else. From and To are what JSON can be made of; nil is nothing.
type Field struct {
	Name string `json:"field"`
	From any    `json:"from"`
	To   any    `json:"to"`
}

// Hidden stands for a secret in the fields of a Change.
const Hidden = "••••"

// Audited returns a context with which the next change is written down as the caller's: in the transaction of the change, so
// that neither is without the other. It is for the one call of the store that makes the change. A nil Caller is Patchbay
// itself.
func Audited(ctx context.Context, c *Caller, x Change) context.Context {
	return store.Audited(ctx, AuditEntry(ctx, c, x))
}

// AuditEntry makes the entry about what a caller does.
func AuditEntry(ctx context.Context, c *Caller, x Change) *store.AuditEntry {
	e := &store.AuditEntry{Scope: x.Scope, Action: x.Action, Object: oneLine(x.Object), Title: oneLine(x.Title), Changes: encodeFields(x.Fields)}
	e.ActorKind, e.Actor, e.ActorName = c.actor()
	if e.ActorKind == ActorSystem {
		return e
	}
	o := OriginOf(ctx)
	e.Via, e.Address, e.Agent = o.Via, oneLine(o.Address), oneLine(o.Agent)
	return e
}

// actor is who the caller is, as the audit log says it.
func (c *Caller) actor() (kind, id, name string) {
	switch {
	case c == nil:
		return ActorSystem, "", ""
	case c.Portal:
		return ActorPortal, c.Session.String(), oneLine(c.User)
	case c.Session != 0:
		return ActorSession, c.Session.String(), oneLine(c.Known)
	case c.Key != 0:
		return ActorKey, c.Key.String(), oneLine(c.Known)
	case c.Name == ActorSignature, c.Name == ActorDevelopment, c.Name == ActorStranger:
		return c.Name, "", ""
	}
	return ActorSystem, "", ""
}

// Compare returns the fields, of two structs or pointers to structs of one type, that are not the same, by the names that they
// have in JSON. without names those that do not count.
func Compare(before, after any, without ...string) []Field {
	return CompareMaps(fieldsOf(before), fieldsOf(after), without...)
}

// CompareMaps is Compare for objects.
func CompareMaps(before, after map[string]any, without ...string) (out []Field) {
	skip := map[string]bool{}
	for _, name := range without {
		skip[name] = true
	}
	seen := map[string]bool{}
	for _, m := range []map[string]any{before, after} {
		for name := range m {
			if seen[name] || skip[name] {
				continue
			}
			seen[name] = true
			if x, y := before[name], after[name]; !reflect.DeepEqual(x, y) && !(Blank(x) && Blank(y)) {
				out = append(out, Field{name, told(x), told(y)})
			}
		}
	}
	slices.SortFunc(out, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// told is a value, or nil for one that is as good as none.
func told(v any) any {
	if _, yesOrNo := v.(bool); !yesOrNo && Blank(v) {
		return nil
	}
	return v
}

// Blank reports whether a value of JSON says nothing, as one that is not there.
func Blank(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case float64:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// fieldsOf returns what JSON makes of a value.
func fieldsOf(v any) map[string]any {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var out map[string]any
	_ = json.Unmarshal(raw, &out) // nil of what is no object
	return out
}

// encodeFields makes the JSON of fields, cut where it is long; nil of none.
func encodeFields(fields []Field) json.RawMessage {
	if len(fields) == 0 {
		return nil
	}
	if len(fields) > auditFields {
		fields = fields[:auditFields]
	}
	short := make([]Field, len(fields))
	for i, f := range fields {
		short[i] = Field{oneLine(f.Name), shortened(f.From), shortened(f.To)}
	}
	raw, err := json.Marshal(short)
	if err != nil {
		return nil // every value was encoded before
	}
	return raw
}

// shortened is a value, or the beginning of its text when that is long.
func shortened(v any) any {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	if len(raw) <= auditValue {
		return json.RawMessage(raw)
	}
	text, ok := v.(string)
	if !ok {
		text = string(raw)
	}
	return cut(text, auditValue/2) + "…"
}

// oneLine is a name as it is kept: of what can be shown, and not too long.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unseen(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(cut(s, auditName), "\uFFFD"))
	return cut(strings.TrimSpace(s), auditName)
}

// unseen reports whether a character only controls others: with it a line reads as what it is not.
func unseen(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == 0x7f
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// cut is the beginning of a text, without half a character at its end.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
