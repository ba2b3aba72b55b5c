package links

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
)

// noted is what is written down of something that was done to a link.
func (s *Service) noted(action string, l *patchbay.Link, c *compiled, fields []access.Field) access.Change {
	short, _ := s.summary(l, c)
	return access.Change{Action: action, Object: l.ID.String(), Title: short, Scope: l.Scope, Fields: fields}
}

// created returns a context with which a link is stored that somebody has made.
func (s *Service) created(ctx context.Context, c *access.Caller, l *patchbay.Link, compiled *compiled) context.Context {
	action := "link.created"
	if l.OptOut {
		action = "link.opted_out"
	}
	return access.Audited(ctx, c, s.noted(action, l, compiled, s.differences(&patchbay.Link{}, l)))
}

// skipping is the key of contexts in which what waits for a link is cancelled before it is resumed.
type skipping struct{}

// changed returns a context with which a link's next revision is stored.
func (s *Service) changed(ctx context.Context, c *access.Caller, before, next *patchbay.Link, compiled *compiled) context.Context {
	if c == keeper { // what it notes down is no change of the link
		return ctx
	}
	fields := s.differences(before, next)
	action := doneTo(before, next, fields)
	if ctx.Value(skipping{}) != nil {
		fields = append(fields, access.Field{Name: "waiting", To: "cancelled"})
	}
	return access.Audited(ctx, c, s.noted(action, next, compiled, fields))
}

// removed returns a context with which a link is deleted.
func (s *Service) removed(ctx context.Context, c *access.Caller, l *patchbay.Link, compiled *compiled, fields ...access.Field) context.Context {
	action := "link.deleted"
	if l.OptOut {
		action = "link.opted_in"
	}
	return access.Audited(ctx, c, s.noted(action, l, compiled, fields))
}

// takenBack returns a context with which it is stored that the partner has refused what somebody wanted.
func (s *Service) takenBack(ctx context.Context, action string, r *side) context.Context {
	s.mu.RLock()
	compiled := s.links[r.asked.ID]
	s.mu.RUnlock()
	why := access.Field{Name: "state_reason", To: r.res.Error}
	return access.Audited(ctx, nil, s.noted(action, r.asked, compiled, []access.Field{why}))
}

// doneTo says in a word what was done to a link.
func doneTo(before, next *patchbay.Link, fields []access.Field) string {
	only := true // its being on or off
	for i := range fields {
		switch fields[i].Name {
		case "state", "state_reason", "enabled", "opt_out":
		default:
			only = false
		}
	}
	paused, off := next.State == patchbay.LinkPaused, !next.Enabled
	switch {
	case next.State == patchbay.LinkDetaching:
		return "link.deleted"
	case rotated(before, next):
		return "link.secret_rotated"
	case !only || len(fields) == 0:
	case paused && before.State != patchbay.LinkPaused:
		return "link.paused"
	case off && before.Enabled:
		return "link.disabled"
	case !off && !before.Enabled, !paused && before.State == patchbay.LinkPaused, !next.OptOut && before.OptOut:
		return "link.resumed"
	}
	return "link.updated"
}

// rotated reports whether one of a link's secrets was made anew.
func rotated(before, next *patchbay.Link) bool {
	return next.Previous != nil && (before.Previous == nil || *before.Previous != *next.Previous) || hookRotated(before, next)
}

func hookRotated(before, next *patchbay.Link) bool {
	return before.Hook != nil && next.Hook != nil && before.Hook.Secret != next.Hook.Secret
}

// differences says what of a link became something else. Of what is secret it says only that it did.
func (s *Service) differences(before, next *patchbay.Link) []access.Field {
	var was any
	if before.ID != 0 {
		was = before
	}
	out := access.Compare(was, next, "id", "revision", "settings", "previous", "hook", "attached", "created_at", "updated_at")
	if hookRotated(before, next) {
		out = append(out, access.Field{Name: "hook_secret", From: access.Hidden, To: access.Hidden})
	}
	i, ok := s.o.Integrations[next.Integration]
	if !ok {
		return out
	}
	return append(out, settingsChanged(i.Definition().Settings, before.Settings, next.Settings)...)
}

// settingsChanged says which settings became something else.
func settingsChanged(spec integration.Spec, before, next json.RawMessage) (out []access.Field) {
	was, is := objectOf(before), objectOf(next)
	shownBefore, shown := objectOf(spec.Mask(before)), objectOf(spec.Mask(next))
	for i := range spec {
		set := &spec[i]
		if x, y := was[set.Key], is[set.Key]; reflect.DeepEqual(x, y) || access.Blank(x) && access.Blank(y) {
			continue
		}
		f := access.Field{Name: "settings." + set.Key, From: shownBefore[set.Key], To: shown[set.Key]}
		if hides(set) {
			f.From, f.To = hidden(f.From), hidden(f.To)
		}
		out = append(out, f)
	}
	return out
}

// hides reports whether there is anything secret in a setting. Of others that are masked in part, what is written down is what
// everybody sees of them.
func hides(set *integration.Setting) bool {
	if set.Secret || set.Type == integration.TypeObject && len(set.Fields) == 0 {
		return true
	}
	for i := range set.Fields {
		if hides(&set.Fields[i]) {
			return true
		}
	}
	return false
}

func hidden(v any) any {
	if text, ok := v.(string); v == nil || ok && strings.TrimSpace(text) == "" {
		return nil
	}
	return access.Hidden
}

func objectOf(raw json.RawMessage) map[string]any {
	var out map[string]any
	_ = json.Unmarshal(raw, &out) // nil of what is no object
	return out
}
