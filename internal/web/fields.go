package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// maxPairs bounds the rows of a map that a form may send.
const maxPairs = 100

// field is one setting as a form shows it.
type field struct {
	// ID and Name are the element's, Path is what errors call it, such as settings.basic.username.
	ID, Name, Path string
	Type           integration.SettingType
	Title, Help    string
	Example        string
	Required       bool
	Secret         bool
	// Locked secrets may not be given by whoever looks.
	Locked  bool
	Value   string
	Checked bool
	// Kept says that there is a value already, which is not shown; Mask is what may be seen of it.
	Kept bool
	Mask string
	// Removable says that what is kept can be taken away.
	Removable bool
	Options   []option
	Pairs     []pair
	Fields    []*field
	// Open unfolds an object.
	Open  bool
	Error string
	// Dynamic fields can be looked up at the partner. Search is what was typed for that, Found what came back, once
	// Asked, and Trouble why nothing did.
	Dynamic bool
	Asked   bool
	Search  string
	Found   []option
	Trouble string
}

// option is one value that can be chosen.
type option struct {
	Value, Title, Help string
	Chosen             bool
}

// pair is one row of a map.
type pair struct{ Key, Value, Mask string }

// Describedby lists the elements that say more about the field.
func (f *field) Describedby() string {
	var ids []string
	if f.Error != "" {
		ids = append(ids, f.ID+"-error")
	}
	if f.Help != "" || f.Example != "" {
		ids = append(ids, f.ID+"-hint")
	}
	if f.Kept {
		ids = append(ids, f.ID+"-kept")
	}
	return strings.Join(ids, " ")
}

// SettingKey is the setting's key.
func (f *field) SettingKey() string { return f.Path[strings.LastIndexByte(f.Path, '.')+1:] }

// Rows are those of a map, and an empty one.
func (f *field) Rows() []pair { return append(slices.Clone(f.Pairs), pair{}) }

// settingsForm turns settings into fields and what was sent back into settings.
type settingsForm struct {
	spec integration.Spec
	// prefix begins the names of inputs.
	prefix string
	// sent is what the form holds; for a page that was not sent yet it is made by fill.
	sent url.Values
	// stored are the masked settings of what is being edited; nil for something new.
	stored map[string]any
	// drafts are secrets that were typed into the form before, by the names of their inputs.
	drafts map[string]string
	// connected says that a connection takes the place of what is required without one.
	connected bool
	// locked says that whoever looks may give no secrets.
	locked bool
	// errors are sentences by paths.
	errors map[string]string
}

// decode reads JSON whose numbers stay as they are spelled; nil when it is no object.
func decode(raw json.RawMessage) map[string]any {
	var out map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&out) != nil {
		return nil
	}
	return out
}

// fill makes what a form holds that nobody has sent yet: what is stored, or the defaults.
func (f *settingsForm) fill() {
	f.sent = url.Values{}
	f.fillSpec(f.spec, f.prefix, f.stored)
}

func (f *settingsForm) fillSpec(spec integration.Spec, prefix string, stored map[string]any) {
	for i := range spec {
		set := &spec[i]
		name := prefix + set.Key
		v, ok := stored[set.Key]
		if !ok && f.stored == nil && set.Default != nil {
			v, ok = plainJSON(set.Default), true
		}
		if !ok || set.Secret && set.Type != integration.TypeMap {
			if set.Type == integration.TypeObject {
				f.fillSpec(set.Fields, name+".", nil)
			}
			continue
		}
		switch x := v.(type) {
		case map[string]any:
			if set.Type == integration.TypeObject {
				f.fillSpec(set.Fields, name+".", x)
				continue
			}
			for n, k := range sortedKeys(x) {
				f.sent.Set(fmt.Sprintf("%s.k.%d", name, n), k)
				if !set.Secret {
					f.sent.Set(fmt.Sprintf("%s.v.%d", name, n), fmt.Sprint(x[k]))
				}
			}
		case []any:
			for _, e := range x {
				f.sent.Add(name, fmt.Sprint(e))
			}
		default:
			f.sent.Set(name, fmt.Sprint(x))
		}
	}
}

// plainJSON turns a default, which has the type that a Check sees, into what JSON would be decoded to.
func plainJSON(v any) any {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var out any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&out) != nil {
		return nil
	}
	return out
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// fields returns what the form shows.
func (f *settingsForm) fields() []*field { return f.fieldsOf(f.spec, f.prefix, "settings", f.stored) }

func (f *settingsForm) fieldsOf(spec integration.Spec, prefix, path string, stored map[string]any) []*field {
	out := make([]*field, 0, len(spec))
	for i := range spec {
		set := &spec[i]
		x := &field{
			Name: prefix + set.Key, Path: path + "." + set.Key, Type: set.Type, Title: set.Title, Help: set.Help, Example: set.Example,
			Required: set.Required && !(set.UnlessConnected && f.connected), Secret: set.Secret, Dynamic: set.Dynamic,
		}
		x.ID, x.Locked = elementID(x.Path), set.Secret && f.locked
		x.Error = f.errors[x.Path]
		was, has := stored[set.Key]
		switch set.Type {
		case integration.TypeObject:
			inner, _ := was.(map[string]any)
			x.Fields = f.fieldsOf(set.Fields, x.Name+".", x.Path, inner)
			x.Removable = has && !set.Required
			x.Open = has || set.Required || slices.ContainsFunc(x.Fields, func(in *field) bool { return in.Error != "" || in.Value != "" || in.Kept })
		case integration.TypeMap:
			x.Pairs = f.pairs(set, x.Name, was)
		case integration.TypeBoolean:
			x.Checked = f.sent.Get(x.Name) == "true"
		case integration.TypeList:
			x.Value = strings.Join(f.sent[x.Name], "\n")
		case integration.TypeSelect:
			x.Options = chosen(set, f.sent.Get(x.Name))
		default:
			f.text(x, set, was, has)
		}
		out = append(out, x)
	}
	return out
}

// text fills a field that holds text. A secret stays out of the page.
func (f *settingsForm) text(x *field, set *integration.Setting, was any, has bool) {
	if !set.Secret {
		x.Value = f.sent.Get(x.Name)
		return
	}
	if f.drafts[x.Name] != "" {
		x.Kept = true
		return
	}
	if has {
		x.Kept, x.Mask, x.Removable = true, fmt.Sprint(was), !set.Required && set.Generate == nil
	}
}

// pairs returns the rows of a map; the values of a secret one are not shown.
func (f *settingsForm) pairs(set *integration.Setting, name string, was any) []pair {
	stored, _ := was.(map[string]any)
	var out []pair
	for n := range maxPairs {
		row := strconv.Itoa(n)
		key := f.sent.Get(name + ".k." + row)
		if key == "" {
			continue
		}
		p := pair{Key: key}
		switch {
		case !set.Secret:
			p.Value = f.sent.Get(name + ".v." + row)
		case f.drafts[name+"."+key] != "":
			p.Mask = "entered before"
		case stored[key] != nil:
			p.Mask = fmt.Sprint(stored[key])
		}
		out = append(out, p)
	}
	return out
}

// chosen returns a select's options. One that is neither required nor has a default can be left out.
func chosen(set *integration.Setting, value string) []option {
	var out []option
	if set.Default == nil {
		out = append(out, option{Title: "Please choose", Chosen: value == ""})
	}
	for _, o := range set.Options {
		out = append(out, option{Value: o.Value, Title: o.Title, Chosen: o.Value == value})
	}
	return out
}

// settings returns what was sent, as JSON for a new link or for a PATCH, and the secrets among it by their names.
func (f *settingsForm) settings() (json.RawMessage, map[string]string, error) {
	secrets := map[string]string{}
	out := f.read(f.spec, f.prefix, f.stored, secrets)
	raw, err := json.Marshal(out)
	if err != nil {
		return nil, nil, patchbay.Internal("reading the form", err)
	}
	return raw, secrets, nil
}

// read returns the settings of one level. A value that is empty is left out, or, where something is stored, taken away by
// null; a secret that is empty stays what it is.
func (f *settingsForm) read(spec integration.Spec, prefix string, stored map[string]any, secrets map[string]string) map[string]any {
	out := map[string]any{}
	for i := range spec {
		set := &spec[i]
		name := prefix + set.Key
		was, has := stored[set.Key]
		if f.sent.Get(name+".remove") == "true" {
			if has {
				out[set.Key] = nil
			}
			continue
		}
		var v any
		switch set.Type {
		case integration.TypeObject:
			inner, _ := was.(map[string]any)
			if m := f.read(set.Fields, name+".", inner, secrets); filled(m) {
				v = m
			} else if has {
				continue // nothing in it was changed, or everything was emptied: what is required in it says so
			}
		case integration.TypeMap:
			if m := f.readPairs(set, name, was, secrets); len(m) > 0 {
				v = m
			}
		case integration.TypeBoolean:
			v = f.sent.Get(name) == "true"
		case integration.TypeList:
			if l := lines(f.sent[name]); len(l) > 0 {
				v = l
			} else if set.Secret {
				continue
			}
		default:
			text := f.sent.Get(name)
			if set.Type == integration.TypeText {
				text = strings.ReplaceAll(text, "\r\n", "\n") // which is how forms send lines (HTML, 4.10.21.7)
			}
			if set.Secret {
				if text == "" {
					text = f.drafts[name]
				}
				if text == "" {
					continue
				}
				secrets[name] = text
			}
			if strings.TrimSpace(text) != "" {
				v = text
			}
		}
		if v != nil || has {
			out[set.Key] = v
		}
	}
	return out
}

// filled reports whether an object says anything; what is off or empty says nothing.
func filled(m map[string]any) bool {
	for _, v := range m {
		if v != nil && v != false {
			return true
		}
	}
	return false
}

func (f *settingsForm) readPairs(set *integration.Setting, name string, was any, secrets map[string]string) map[string]any {
	stored, _ := was.(map[string]any)
	out := map[string]any{}
	for n := range maxPairs {
		row := strconv.Itoa(n)
		key, value := strings.TrimSpace(f.sent.Get(name+".k."+row)), f.sent.Get(name+".v."+row)
		if key == "" {
			continue
		}
		if set.Secret {
			if value == "" {
				value = f.drafts[name+"."+key]
			}
			if value != "" {
				secrets[name+"."+key] = value
			} else if mask, ok := stored[key]; ok {
				out[key] = mask // sent back, it keeps what it masks
				continue
			}
		}
		out[key] = value
	}
	return out
}

// lines splits what was typed into a list, one value on a line, or chosen from one.
func lines(sent []string) []string {
	var out []string
	for _, s := range sent {
		for _, line := range strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }) {
			if line = strings.TrimSpace(line); line != "" && !slices.Contains(out, line) {
				out = append(out, line)
			}
		}
	}
	return out
}

// elementID makes an element's id of a path.
func elementID(path string) string { return "f-" + strings.ReplaceAll(path, ".", "-") }

// find returns the field with a setting's key at the first level.
func find(fields []*field, key string) *field {
	for _, f := range fields {
		if f.Path == "settings."+key {
			return f
		}
	}
	return nil
}
