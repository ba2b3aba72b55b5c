package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
)

// maskDots begins every mask; a setting cannot hold it.
const maskDots = "••••"

// MaskText shows a secret's last four characters when it is long enough that they give nothing away.
func MaskText(s string) string {
	r := []rune(s)
	switch {
	case len(r) == 0:
		return ""
	case len(r) < 12:
		return maskDots
	}
	return maskDots + string(r[len(r)-4:])
}

// MaskUserinfo hides the user information in a URL and nothing else.
func MaskUserinfo(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	at := strings.Index(s, "@")
	start := strings.Index(s, "//")
	if start < 0 || at < start {
		return MaskText(s)
	}
	// The last @ before the path ends the user information, as url.Parse reads it.
	end := start + 2 + strings.IndexAny(s[start+2:]+"/", "/?#")
	at = strings.LastIndex(s[:min(end, len(s))], "@")
	return s[:start+2] + maskDots + s[at:]
}

// Mask returns settings as they may be shown.
func (s Spec) Mask(raw json.RawMessage) json.RawMessage {
	in, err := object(raw)
	if err != nil || in == nil {
		return json.RawMessage("{}")
	}
	out, err := json.Marshal(s.mask(in))
	if err != nil {
		return json.RawMessage("{}")
	}
	return out
}

// mask keeps only what the Spec knows: a stored setting that the program no longer knows might be a secret.
func (s Spec) mask(in map[string]any) map[string]any {
	out := make(map[string]any, len(in))
	for i := range s {
		set := &s[i]
		v, ok := in[set.Key]
		if !ok {
			continue
		}
		out[set.Key] = set.mask(v)
	}
	return out
}

func (set *Setting) mask(v any) any {
	if m, ok := v.(map[string]any); ok && set.Type == TypeObject {
		return set.Fields.mask(m)
	}
	if !set.Secret && set.Mask == nil {
		return v
	}
	show := set.Mask
	if show == nil {
		show = MaskText
	}
	switch x := v.(type) {
	case string:
		return show(x)
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = show(fmt.Sprint(x[i]))
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = show(fmt.Sprint(e))
		}
		return out
	}
	return show(fmt.Sprint(v))
}

// Merge applies a PATCH to stored settings: a key that is given replaces, null removes, an absent one stays, and a
// mask that is sent back keeps what it masks. Where a Target changes, every secret that would be sent there must be
// given again. The result still has to pass Check.
func (s Spec) Merge(stored, patch json.RawMessage) (json.RawMessage, error) {
	old, err := object(stored)
	if err != nil {
		return nil, patchbay.Internal("reading a link's settings", err)
	}
	in, err := object(patch)
	if err != nil {
		return nil, patchbay.Invalid("settings", "%v", err)
	}
	m := merger{}
	out := m.merge(s, old, in, "settings")
	if len(m.wrong) == 0 && m.moved != "" {
		for _, path := range m.kept {
			m.wrong = append(m.wrong, patchbay.Detail{Path: path, Message: "must be given again, because it would be sent to a new " + m.moved})
		}
	}
	if len(m.wrong) > 0 {
		return nil, &patchbay.Error{Code: patchbay.CodeInvalidRequest, Message: sentence(m.wrong), Details: m.wrong}
	}
	return json.Marshal(out)
}

type merger struct {
	wrong []patchbay.Detail
	kept  []string // secrets that stayed and are sent
	moved string   // the title of a Target that changed
}

func (m *merger) merge(s Spec, old, in map[string]any, path string) map[string]any {
	out := maps.Clone(old)
	if out == nil {
		out = map[string]any{}
	}
	for _, key := range slices.Sorted(maps.Keys(in)) {
		if !slices.ContainsFunc(s, func(set Setting) bool { return set.Key == key }) {
			out[key] = in[key] // Check names what is unknown
		}
	}
	for i := range s {
		set := &s[i]
		here := path + "." + set.Key
		was, had := old[set.Key]
		given, patched := in[set.Key]
		switch {
		case !patched:
		case given == nil:
			delete(out, set.Key)
		case set.Type == TypeObject:
			if fields, ok := given.(map[string]any); ok {
				before, _ := was.(map[string]any)
				out[set.Key] = m.merge(set.Fields, before, fields, here)
				continue // its own secrets have been looked at
			}
			out[set.Key] = given
		default:
			out[set.Key] = m.unmask(set, was, given, here)
		}
		now, has := out[set.Key]
		switch {
		case set.Target && had && !reflect.DeepEqual(was, now):
			m.moved = set.Title
		case set.Type == TypeObject && had && has && !patched:
			m.keepObject(set, now, here)
		case set.Secret && !set.Signing && !set.Target && had && has && anyKept(was, now, given, patched):
			m.kept = append(m.kept, here)
		}
	}
	return out
}

func (m *merger) keepObject(set *Setting, v any, path string) {
	fields, _ := v.(map[string]any)
	for i := range set.Fields {
		f := &set.Fields[i]
		if _, ok := fields[f.Key]; ok && f.Secret && !f.Signing {
			m.kept = append(m.kept, path+"."+f.Key)
		}
	}
}

// anyKept reports whether a stored secret stays although it was not given: the key was absent, or a mask was sent.
func anyKept(was, now, given any, patched bool) bool {
	if !patched {
		return true
	}
	nowMap, ok := now.(map[string]any)
	givenMap, _ := given.(map[string]any)
	if !ok {
		return reflect.DeepEqual(was, now) && !reflect.DeepEqual(given, now)
	}
	for k := range nowMap {
		if !reflect.DeepEqual(nowMap[k], givenMap[k]) {
			return true
		}
	}
	return false
}

// unmask puts stored values where their masks were sent back. Anything else that looks like a mask is refused.
func (m *merger) unmask(set *Setting, was, given any, path string) any {
	if !set.Secret && set.Mask == nil {
		return given
	}
	if reflect.DeepEqual(given, set.mask(was)) && was != nil {
		return was
	}
	if fields, ok := given.(map[string]any); ok {
		before, _ := was.(map[string]any)
		out := make(map[string]any, len(fields))
		for k, v := range fields {
			out[k] = v
			if stored, ok := before[k]; ok && v == set.mask(stored) {
				out[k] = stored
			} else if text, _ := v.(string); strings.Contains(text, maskDots) {
				m.refuse(path + "." + clip(k))
			}
		}
		return out
	}
	if text, _ := given.(string); strings.Contains(text, maskDots) {
		m.refuse(path)
	}
	return given
}

func (m *merger) refuse(path string) {
	m.wrong = append(m.wrong, patchbay.Detail{Path: path, Message: "looks like a mask but is not that of the stored value: leave it out to keep the value, or give a new one"})
}

// Secrets returns every secret text in the settings, so that it can be hidden wherever it turns up. Texts under four
// bytes are left out: hiding them would garble everything else.
func (s Spec) Secrets(raw json.RawMessage) []string {
	in, err := object(raw)
	if err != nil {
		return nil
	}
	var out []string
	s.secrets(in, &out)
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(out)
}

func (s Spec) secrets(in map[string]any, out *[]string) {
	add := func(v any) {
		if text, ok := v.(string); ok && len(text) >= 4 {
			*out = append(*out, text)
		}
	}
	for i := range s {
		set := &s[i]
		v := in[set.Key]
		switch x := v.(type) {
		case map[string]any:
			if set.Type == TypeObject {
				set.Fields.secrets(x, out)
			} else if set.Secret {
				for _, e := range x {
					add(e)
				}
			}
		case []any:
			if set.Secret {
				for _, e := range x {
					add(e)
				}
			}
		case string:
			if set.Secret {
				add(x)
			} else if u, err := url.Parse(x); set.Type == TypeURL && err == nil && u.User != nil {
				add(u.User.String())
				if p, ok := u.User.Password(); ok {
					add(p)
				}
			}
		}
	}
}
