package links

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
)

// seesTitle reports whether a link exists for a caller: it lies at or below the caller's scope, or it lies above and its owner
// has made it visible.
func (s *Service) seesTitle(c *access.Caller, l *patchbay.Link) bool {
	return c.Sees(l.Scope) || c != nil && l.Visible && l.Scope.Contains(c.Scope)
}

// veil leaves of an inherited link what everybody may see for whom it is visible: that it is there and what it is called.
func veil(v *View) {
	v.Settings, v.Filter, v.Body, v.Health, v.HookURL, v.Connection, v.DeletePath = json.RawMessage("{}"), nil, nil, nil, nil, nil, ""
	v.Retry, v.Order, v.Concurrency, v.Rate, v.StateReason = nil, nil, 0, 0, nil
}

// withheld refuses settings with which a caller gives secrets who must not. A mask that is sent back gives nothing.
func withheld(c *access.Caller, def *integration.Definition, given json.RawMessage) error {
	if c.May(access.Secrets) || len(given) == 0 {
		return nil
	}
	in := map[string]any{}
	_ = json.Unmarshal(given, &in) // Check says what is wrong with it
	if path := secretIn(def.Settings, in, "settings"); path != "" {
		return &patchbay.Error{
			Code: patchbay.CodeForbidden, Message: path + ": you may not give secrets here: ask whoever looks after this page to do it, or use a connection",
			Details: []patchbay.Detail{{Path: path, Message: "is a secret, which you may not give here"}},
		}
	}
	return nil
}

// secretIn returns where in settings a secret is given, "" when none is.
func secretIn(spec integration.Spec, in map[string]any, path string) string {
	for i := range spec {
		set := &spec[i]
		v, ok := in[set.Key]
		if !ok || v == "" {
			continue
		}
		at := path + "." + set.Key
		if fields, ok := v.(map[string]any); ok && set.Type == integration.TypeObject {
			if found := secretIn(set.Fields, fields, at); found != "" {
				return found
			}
			continue
		}
		if set.Secret && !masked(v) {
			return at
		}
	}
	return ""
}

// masked reports whether a value is nothing but masks.
func masked(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.HasPrefix(v, "••••")
	case map[string]any:
		for _, e := range v {
			if !masked(e) {
				return false
			}
		}
		return true
	case []any:
		for _, e := range v {
			if !masked(e) {
				return false
			}
		}
		return true
	}
	return false
}

// sameJSON reports whether two settings say the same.
func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
