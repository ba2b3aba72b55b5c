package compose

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// Step is what somebody wants done to the document beside what they wrote: "add" makes the value At, or another element of
// the list that it is, "key" adds the key that is written beside the object At, "remove" takes At away.
type Step struct{ Do, At string }

// ParseStep reads a step as the buttons of a form send it, such as add:/commits; zero when it is none.
func ParseStep(text string) Step {
	do, at, ok := strings.Cut(text, ":")
	if !ok || do != "add" && do != "key" && do != "remove" {
		return Step{}
	}
	return Step{do, at}
}

// Read makes the document of what was sent. What is no JSON where some was asked for leaves the document as it was, and is
// told by the inputs' At.
func (f *Form) Read(sent url.Values, step Step) ([]byte, map[string]Broken) {
	r := &reader{f: f, sent: sent, step: step, broken: map[string]Broken{}}
	out := r.value(f.Root)
	if rawjson.Check(out, 0) != nil || rawjson.KindOf(out) != rawjson.KindObject {
		return f.Document, r.broken
	}
	return out, r.broken
}

type reader struct {
	f      *Form
	sent   url.Values
	step   Step
	broken map[string]Broken
}

// does reports whether the step is about an input.
func (r *reader) does(what string, in *Input) bool { return r.step.Do == what && r.step.At == in.At }

// written is what stands in the control of an input; false when the form had none.
func (r *reader) written(in *Input) (string, bool) {
	values, ok := r.sent["v"+in.At]
	if !ok {
		return "", false
	}
	return normal(strings.ToValidUTF8(values[0], "\uFFFD")), true
}

// value returns what an input stands for now; nil is nothing.
func (r *reader) value(in *Input) []byte {
	if r.does("remove", in) && in.At != "" {
		return nil
	}
	if v, to, ok := r.turned(in); ok {
		if v == nil {
			return nil
		}
		return r.convert(in, v, to)
	}
	switch in.Control {
	case Object:
		return r.object(in)
	case List:
		return r.list(in)
	case None:
		return r.none(in)
	case Raw:
		return r.asJSON(in)
	}
	text, ok := r.written(in)
	if !ok {
		return in.raw
	}
	null := in.Nullable && r.sent.Get("n"+in.At) != ""
	switch {
	case null && (!in.Null || text == in.Value):
		return []byte("null")
	case text != in.Value:
		return r.typed(in, text)
	case in.Null && in.Control == Text && in.Required:
		return []byte(`""`)
	case in.Null:
		return nil
	}
	return in.raw
}

// turned reports whether another kind of value was chosen, and which: v is nil when the value is to go.
func (r *reader) turned(in *Input) (v *variant, to int, ok bool) {
	chosen := r.sent.Get("t" + in.At)
	if len(in.Kinds) == 0 || chosen == "" || chosen == "=" {
		return nil, 0, false
	}
	if chosen == "-" {
		return nil, 0, in.raw != nil
	}
	to, err := strconv.Atoi(chosen)
	if err != nil || to < 0 || to >= len(in.variants) || to == in.now {
		return nil, 0, false
	}
	return &in.variants[to], to, true
}

// convert makes a value of another kind, of what was written so far where that makes sense.
func (r *reader) convert(in *Input, v *variant, to int) []byte {
	text, ok := r.written(in)
	if !ok || in.Control == Raw || in.Control == Select {
		text, _ = rawjson.String(in.raw)
	}
	switch v.kind {
	case rawjson.KindString:
		return rawjson.AppendQuoted(nil, text)
	case rawjson.KindNumber:
		if text = strings.TrimSpace(text); isNumber(text) {
			return []byte(text)
		}
	case rawjson.KindObject:
		return r.merge(in, v)
	}
	return r.f.s.skeletonOf(&in.variants[to], 0)
}

// merge keeps of an object what another form of it has too.
func (r *reader) merge(in *Input, v *variant) []byte {
	fresh := r.f.s.skeletonOf(v, 0)
	if rawjson.KindOf(in.raw) != rawjson.KindObject {
		return fresh
	}
	known := map[string]bool{}
	for i := range in.variants {
		if sh := in.variants[i].sh; sh != nil {
			for _, p := range sh.properties {
				known[p.name] = true
			}
		}
	}
	now := map[string]*property{}
	for i := range v.sh.properties {
		now[v.sh.properties[i].name] = &v.sh.properties[i]
	}
	out, has := []byte{'{'}, map[string]bool{}
	put := func(key string, value []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(rawjson.AppendQuoted(out, key), ':'), value...)
		has[key] = true
	}
	for key, value := range rawjson.Object(in.raw) {
		p := now[string(key)]
		if p == nil && (known[string(key)] || v.sh.closed) {
			continue
		}
		if p != nil {
			if sh := r.f.s.shape(p.schema); sh.enum != nil && sh.choice(value) < 0 {
				continue // it told the alternatives apart
			}
		}
		put(string(key), value)
	}
	for key, value := range rawjson.Object(fresh) {
		if !has[string(key)] {
			put(string(key), value)
		}
	}
	return append(out, '}')
}

// none is a value that is not there, or null.
func (r *reader) none(in *Input) []byte {
	if r.does("add", in) && len(in.variants) > 0 {
		v := &in.variants[0]
		if v.kind == rawjson.KindArray && v.sh.minItems == 0 {
			return append(append([]byte{'['}, r.f.s.skeleton(v.sh.item(0), 1)...), ']')
		}
		return r.f.s.skeletonOf(v, 0)
	}
	if _, shown := r.sent["v"+in.At]; shown && in.Nullable {
		if r.sent.Get("n"+in.At) != "" {
			return []byte("null")
		}
		if in.Null {
			return nil
		}
	}
	return in.raw
}

// typed is what somebody wrote anew.
func (r *reader) typed(in *Input, text string) []byte {
	switch in.Control {
	case Select:
		return r.chosen(in, text)
	case Number:
		text = strings.TrimSpace(text)
		switch {
		case text == "" && in.inList:
			return []byte("null")
		case text == "":
			return nil
		case isNumber(text):
			return []byte(text)
		}
	default:
		if text == "" && !in.Required && !in.inList {
			return nil
		}
	}
	return rawjson.AppendQuoted(nil, text)
}

func (r *reader) chosen(in *Input, text string) []byte {
	if text == "" {
		return nil
	}
	i, err := strconv.Atoi(text)
	v := &in.variants[max(0, in.now)]
	switch {
	case err != nil || i < 0:
		return in.raw
	case v.kind == rawjson.KindBool && i == 0:
		return []byte("true")
	case v.kind == rawjson.KindBool:
		return []byte("false")
	case i < len(v.sh.enum):
		return v.sh.enum[i]
	}
	return in.raw
}

func (r *reader) asJSON(in *Input) []byte {
	text, ok := r.written(in)
	if !ok || text == normal(in.Value) && in.Error == "" {
		return in.raw
	}
	if text = strings.TrimSpace(text); text == "" {
		if in.inList {
			return []byte("null")
		}
		return nil
	}
	if err := rawjson.Check([]byte(text), 0); err != nil {
		r.broken[in.At] = Broken{Text: text, Message: "is not JSON that can be read: " + err.Error()}
		return in.raw
	}
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return in.raw
	}
	return b.Bytes()
}

func (r *reader) object(in *Input) []byte {
	out, parts := []byte{'{'}, map[string]*Input{}
	inputs := append(append([]*Input{}, in.Children...), in.More...)
	for _, child := range inputs {
		parts[child.Key] = child
	}
	put := func(key, value []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(append(out, '"'), key...), `":`...), value...)
	}
	has := map[string]bool{}
	c := rawjson.NewCursor(in.raw)
	c.Enter()
	for {
		key, escaped, ok := c.NextField()
		if !ok {
			break
		}
		value := c.Skip()
		name := string(key)
		if escaped {
			name = string(rawjson.Unescape(nil, key))
		}
		has[name] = true
		if child := parts[name]; child != nil {
			if value = r.value(child); value == nil {
				continue
			}
		}
		put(key, value)
	}
	for _, child := range inputs {
		if has[child.Key] {
			continue
		}
		if value := r.value(child); value != nil {
			quoted := rawjson.AppendQuoted(nil, child.Key)
			put(quoted[1:len(quoted)-1], value)
			has[child.Key] = true
		}
	}
	if name := r.sent.Get("k" + in.At); r.does("key", in) && !has[name] && name != "" {
		quoted := rawjson.AppendQuoted(nil, name)
		put(quoted[1:len(quoted)-1], r.initial(in, name))
	}
	return append(out, '}')
}

// initial is the value of a key that is added.
func (r *reader) initial(in *Input, name string) []byte {
	if in.now < 0 {
		return []byte(`""`)
	}
	sh := in.variants[in.now].sh
	for _, p := range sh.properties {
		if p.name == name {
			return r.f.s.skeleton(p.schema, 0)
		}
	}
	return r.f.s.skeleton(sh.additional, 0)
}

func (r *reader) list(in *Input) []byte {
	out := []byte{'['}
	put := func(value []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, value...)
	}
	for _, child := range in.Children {
		if value := r.value(child); value != nil {
			put(value)
		} else if !r.does("remove", child) {
			put([]byte("null")) // the others keep their places
		}
	}
	if r.does("add", in) && in.now >= 0 {
		put(r.f.s.skeleton(in.variants[in.now].sh.item(len(in.Children)), 1))
	}
	return append(out, ']')
}
