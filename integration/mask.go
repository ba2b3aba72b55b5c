package integration

import (
	"cmp"
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

// MaskUserinfo hides the user information in a URL and nothing else. It does so in text that is not a valid URL too:
// everything between the two slashes and the last @ before the path.
func MaskUserinfo(s string) string {
	slashes := strings.Index(s, "//")
	if slashes < 0 {
		return s
	}
	start := slashes + 2
	end := len(s)
	if i := strings.IndexAny(s[start:], "/?#"); i >= 0 {
		end = start + i
	}
	at := strings.LastIndexByte(s[start:end], '@')
	if at < 0 {
		return s
	}
	return s[:start] + maskDots + s[start+at:]
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

// show returns what hides the setting's values, nil when they are shown as they are.
func (set *Setting) show() func(string) string {
	switch {
	case set.Mask != nil:
		return set.Mask
	case set.Secret:
		return MaskText
	case set.Type == TypeURL:
		return MaskUserinfo
	}
	return nil
}

func (set *Setting) mask(v any) any {
	if set.Type == TypeObject {
		if m, ok := v.(map[string]any); ok {
			return set.Fields.mask(m)
		}
		return maskDots // what it is nobody knows
	}
	show := set.show()
	if show == nil {
		return v
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
// given again. Stored settings that the Spec does not know are dropped. The result still has to pass Check.
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
	kept  []string // secrets that stayed, or a part of which did, and that are sent
	moved string   // the title of a Target that changed
}

func (m *merger) merge(s Spec, old, in map[string]any, path string) map[string]any {
	out := make(map[string]any, len(s))
	for key, v := range in {
		if !s.knows(key) {
			out[key] = v // Check names what is unknown
		}
	}
	for i := range s {
		set := &s[i]
		was := old[set.Key]
		given, patched := in[set.Key]
		now := m.setting(set, was, given, patched, path+"."+set.Key)
		if now != nil {
			out[set.Key] = now
		}
		removed := set.Required && now == nil // nothing is sent anywhere then: Check says what is missing
		if set.Target && !removed && !reflect.DeepEqual(set.orDefault(was), set.orDefault(now)) {
			m.moved = set.Title
		}
	}
	return out
}

func (s Spec) knows(key string) bool {
	return slices.ContainsFunc(s, func(set Setting) bool { return set.Key == key })
}

func (set *Setting) orDefault(v any) any {
	if v == nil {
		return set.Default
	}
	return v
}

// setting returns what a setting is after the PATCH, nil when it is absent.
func (m *merger) setting(set *Setting, was, given any, patched bool, path string) any {
	if set.Type == TypeObject {
		return m.object(set, was, given, patched, path)
	}
	now := was
	if patched {
		now = m.unmask(set, was, given, path)
	}
	if set.Secret && !set.Signing && !set.Target && anyKept(now, given, patched) {
		m.kept = append(m.kept, path)
	}
	return now
}

func (m *merger) object(set *Setting, was, given any, patched bool, path string) any {
	before, stored := was.(map[string]any)
	fields, isObject := given.(map[string]any)
	switch {
	case !patched && !stored:
		return was
	case patched && !isObject:
		return given // removed, or something that Check refuses
	}
	return m.merge(set.Fields, before, fields, path)
}

// anyKept reports whether something of a secret stays although it was not given: the key was absent, or a mask was
// sent.
func anyKept(now, given any, patched bool) bool {
	if now == nil || !patched {
		return now != nil
	}
	switch now := now.(type) {
	case map[string]any:
		fields, _ := given.(map[string]any)
		for k, v := range now {
			if !reflect.DeepEqual(v, fields[k]) {
				return true
			}
		}
		return false
	case []any:
		elements, _ := given.([]any)
		return !slices.EqualFunc(now, elements, reflect.DeepEqual)
	}
	return !reflect.DeepEqual(now, given)
}

// unmask puts stored values where their masks were sent back. Anything else that looks like a mask is refused.
func (m *merger) unmask(set *Setting, was, given any, path string) any {
	if given == nil || set.show() == nil {
		return given
	}
	if was != nil && reflect.DeepEqual(given, set.mask(was)) {
		return was
	}
	switch given := given.(type) {
	case map[string]any:
		before, _ := was.(map[string]any)
		out := make(map[string]any, len(given))
		for _, k := range slices.Sorted(maps.Keys(given)) {
			out[k] = given[k]
			if stored, ok := before[k]; ok && reflect.DeepEqual(given[k], set.mask(stored)) {
				out[k] = stored
			} else if holdsMask(given[k]) {
				m.refuse(path + "." + clip(k))
			}
		}
		return out
	case []any:
		before, _ := was.([]any)
		out := slices.Clone(given)
		for i, v := range given {
			if !holdsMask(v) {
				continue
			}
			var ok bool
			if out[i], ok = set.masked(before, i, v); !ok {
				m.refuse(fmt.Sprintf("%s[%d]", path, i))
			}
		}
		return out
	}
	if holdsMask(given) {
		m.refuse(path)
	}
	return given
}

// masked finds the stored element of a list of which v is the mask: the one at the same place, or else the only one.
func (set *Setting) masked(stored []any, at int, v any) (any, bool) {
	if at < len(stored) && v == set.mask(stored[at]) {
		return stored[at], true
	}
	var found any
	for _, s := range stored {
		if v != set.mask(s) {
			continue
		}
		if found != nil && !reflect.DeepEqual(found, s) {
			return nil, false
		}
		found = s
	}
	return found, found != nil
}

// holdsMask reports whether a value cannot be meant, because it is a mask or has one in it.
func holdsMask(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, maskDots)
	case []any:
		return slices.ContainsFunc(v, holdsMask)
	case map[string]any:
		for _, e := range v {
			if holdsMask(e) {
				return true
			}
		}
	}
	return false
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
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(out)
}

func (s Spec) secrets(in map[string]any, out *[]string) {
	add := func(v any) {
		text, _ := v.(string)
		if n, ok := v.(json.Number); ok {
			text = n.String()
		}
		if len(text) >= 4 {
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
		case json.Number:
			if set.Secret {
				add(x)
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
