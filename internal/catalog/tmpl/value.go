package tmpl

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay/internal/rawjson"
)

type kind uint8

const (
	kindNone kind = iota
	kindBool
	kindNumber
	kindString
	kindMarkup      // Markdown made by link, bold or code
	kindEncoded     // text that is percent-encoded, or a scope's path, already
	kindList        // an array of JSON, or a list that a function made
	kindObject      // an object of JSON
	kindRoot        // what a template sees: type, scope, payload, …
	kindIntegration // key, title and category of the integration that the message is for
)

// value is what an expression of a template comes to.
type value struct {
	kind kind
	// text is a string, a number as it is spelled, "true" or "false", or the plain text of markup.
	text string
	// markup is Markdown.
	markup string
	// node is the JSON of a list or object; list is a list that a function made.
	node *node
	list []value
}

func text(s string) value    { return value{kind: kindString, text: s} }
func encoded(s string) value { return value{kind: kindEncoded, text: s} }
func list(v []value) value   { return value{kind: kindList, list: v} }

func boolean(b bool) value { return value{kind: kindBool, text: strconv.FormatBool(b)} }

func number(f float64) value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return value{}
	}
	return value{kind: kindNumber, text: strconv.FormatFloat(f+0, 'f', -1, 64)} // + 0 makes -0 a 0
}

func integer(n int) value { return value{kind: kindNumber, text: strconv.Itoa(n)} }

// node is an object or an array of JSON, read when a template first looks into it.
type node struct {
	raw     []byte
	read    bool
	members []member
}

type member struct {
	key   []byte // of an object's field
	raw   []byte
	child *node // of an object or array, once it has been asked for
}

func (n *node) parts() []member {
	if n.read {
		return n.members
	}
	n.read = true
	n.members = make([]member, 0, 8)
	switch rawjson.KindOf(n.raw) {
	case rawjson.KindObject:
		for key, raw := range rawjson.Object(n.raw) {
			n.members = append(n.members, member{key: key, raw: raw})
		}
	case rawjson.KindArray:
		for raw := range rawjson.Array(n.raw) {
			n.members = append(n.members, member{raw: raw})
		}
	}
	return n.members
}

// value returns the member's value. Nodes are kept, so that a second look costs no second reading.
func (m *member) value() value {
	switch k := rawjson.KindOf(m.raw); k {
	case rawjson.KindObject, rawjson.KindArray:
		if m.child == nil {
			m.child = &node{raw: m.raw}
		}
		return fromNode(m.child, k)
	default:
		return scalar(m.raw, k)
	}
}

func fromNode(n *node, k rawjson.Kind) value {
	if k == rawjson.KindObject {
		return value{kind: kindObject, node: n}
	}
	return value{kind: kindList, node: n}
}

func scalar(raw []byte, k rawjson.Kind) value {
	switch k {
	case rawjson.KindBool:
		return boolean(raw[0] == 't')
	case rawjson.KindNumber:
		return value{kind: kindNumber, text: string(raw)}
	case rawjson.KindString:
		s, _ := rawjson.String(raw)
		return text(s)
	}
	return value{}
}

// fromJSON returns the value of a document.
func fromJSON(raw []byte) value {
	m := member{raw: bytes.TrimSpace(raw)}
	return m.value()
}

// truth is what "if" asks: nothing, false, zero, an empty text, list and object are not true.
func (v value) truth() bool {
	switch v.kind {
	case kindNone:
		return false
	case kindBool:
		return v.text == "true"
	case kindNumber:
		f, _ := strconv.ParseFloat(v.text, 64) // a number that is too large is true, and comes back as infinity
		return f != 0
	case kindList, kindObject:
		return v.len() > 0
	case kindRoot, kindIntegration:
		return true
	}
	return v.text != ""
}

func (v value) len() int {
	switch v.kind {
	case kindList, kindObject:
		if v.node != nil {
			return len(v.node.parts())
		}
		return len(v.list)
	case kindNone, kindRoot, kindIntegration:
		return 0
	}
	return len([]rune(v.text))
}

// at returns the i-th element of a list.
func (v value) at(i int) value {
	switch {
	case i < 0 || i >= v.len() || v.kind != kindList:
		return value{}
	case v.node != nil:
		return v.node.parts()[i].value()
	}
	return v.list[i]
}

// String returns the value as plain text. A list reads "a, b, c", an object as its JSON.
func (v value) String() string {
	switch v.kind {
	case kindList:
		var b strings.Builder
		for i := range v.len() {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(v.at(i).String())
			if b.Len() > maxValue {
				break
			}
		}
		return b.String()
	case kindObject:
		return string(v.node.raw)
	}
	return v.text
}

// float reads a number, or a text that is one.
func (v value) float() (float64, bool) {
	if v.kind != kindNumber && v.kind != kindString {
		return 0, false
	}
	if len(v.text) > 64 || rawjson.Check([]byte(v.text), 1) != nil || rawjson.KindOf([]byte(v.text)) != rawjson.KindNumber {
		return 0, false
	}
	f, err := strconv.ParseFloat(v.text, 64)
	return f, err == nil
}
