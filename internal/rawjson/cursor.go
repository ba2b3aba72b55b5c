package rawjson

import (
	"bytes"
	"iter"
	"strconv"
)

// Kind is what a JSON value is.
type Kind byte

// The kinds. KindInvalid is what is no JSON at all, nothing included.
const (
	KindInvalid Kind = iota
	KindNull
	KindBool
	KindNumber
	KindString
	KindArray
	KindObject
)

var kindNames = [...]string{"nothing", "null", "a boolean", "a number", "a string", "an array", "an object"}

// String names the kind for a sentence: "a number".
func (k Kind) String() string { return kindNames[k] }

// KindOf looks at the first byte of a value.
func KindOf(raw []byte) Kind {
	c := Cursor{data: raw}
	return c.Kind()
}

// Cursor walks over a document from its beginning to its end. Its zero value stands before nothing; see NewCursor.
//
// The caller looks at the Kind of the value at hand and consumes it: either whole, with Skip, or with Enter and then
// NextField or NextElement until they return false, consuming each value on the way.
type Cursor struct {
	data []byte
	at   int
	// fresh says that the object or array at hand has been entered and none of its parts read.
	fresh bool
}

// NewCursor returns a Cursor before the first value of data.
func NewCursor(data []byte) Cursor { return Cursor{data: data} }

// Kind returns the kind of the value at hand without consuming it.
func (c *Cursor) Kind() Kind {
	c.at = skipSpace(c.data, c.at)
	if c.at >= len(c.data) {
		return KindInvalid
	}
	switch c.data[c.at] {
	case '{':
		return KindObject
	case '[':
		return KindArray
	case '"':
		return KindString
	case 't', 'f':
		return KindBool
	case 'n':
		return KindNull
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return KindNumber
	}
	return KindInvalid
}

// Rest returns what has not been consumed. The value at hand stands at its beginning.
func (c *Cursor) Rest() []byte {
	c.at = skipSpace(c.data, c.at)
	return c.data[c.at:]
}

// Skip consumes the value at hand and returns it as it is spelled; nil when there is none.
func (c *Cursor) Skip() []byte {
	kind := c.Kind()
	start := c.at
	switch kind {
	case KindInvalid:
		c.at = len(c.data)
		return nil
	case KindString:
		c.at = skipString(c.data, c.at)
	case KindArray, KindObject:
		c.at = skipNested(c.data, c.at)
	default:
		for c.at < len(c.data) && !endsScalar[c.data[c.at]] {
			c.at++
		}
	}
	c.fresh = false
	return c.data[start:c.at]
}

// endsScalar says which bytes end a number or a literal.
var endsScalar = [256]bool{' ': true, '\n': true, '\t': true, '\r': true, ',': true, ']': true, '}': true, ':': true, '"': true, '[': true, '{': true}

// skipString returns the place behind the string that begins at the place.
func skipString(data []byte, at int) int {
	at++
	for at < len(data) {
		i := bytes.IndexByte(data[at:], '"')
		if i < 0 {
			return len(data)
		}
		// The quote ends the string unless an odd number of backslashes stands before it.
		end := at + i
		slashes := 0
		for end-slashes > at && data[end-slashes-1] == '\\' {
			slashes++
		}
		at = end + 1
		if slashes%2 == 0 {
			return at
		}
	}
	return len(data)
}

// skipNested returns the place behind the object or array that begins at the place.
func skipNested(data []byte, at int) int {
	depth := 0
	for at < len(data) {
		switch data[at] {
		case '"':
			at = skipString(data, at)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return at + 1
			}
		}
		at++
	}
	return len(data)
}

// Enter opens the object or array at hand.
func (c *Cursor) Enter() {
	c.at = min(len(c.data), skipSpace(c.data, c.at)+1)
	c.fresh = true
}

// NextField consumes the next key of the object that was entered and returns it without its quotes; escaped says
// that it still holds escapes, see Unescape. Behind the last one it consumes the object's end and returns false.
func (c *Cursor) NextField() (key []byte, escaped, ok bool) {
	if !c.next() || c.data[c.at] != '"' {
		return nil, false, false
	}
	start := c.at
	c.at = skipString(c.data, c.at)
	key = c.data[start+1 : max(start+1, c.at-1)]
	c.at = skipSpace(c.data, c.at)
	if c.at < len(c.data) && c.data[c.at] == ':' {
		c.at++
	}
	return key, bytes.IndexByte(key, '\\') >= 0, true
}

// NextElement moves to the next element of the array that was entered. Behind the last one it consumes the array's
// end and returns false.
func (c *Cursor) NextElement() bool { return c.next() }

// next moves over a comma, or over the end of the object or array, of which it returns false.
func (c *Cursor) next() bool {
	c.at = skipSpace(c.data, c.at)
	first := c.fresh
	c.fresh = false
	if c.at >= len(c.data) {
		return false
	}
	switch b := c.data[c.at]; {
	case b == '}' || b == ']':
		c.at++
		return false
	case first:
		return true
	case b != ',':
		c.at = len(c.data)
		return false
	}
	c.at = skipSpace(c.data, c.at+1)
	return c.at < len(c.data)
}

// Unescape appends the text of a key of which NextField says that it is escaped.
func Unescape(dst, key []byte) []byte { return unescape(dst, key) }

// Object yields the fields of a raw object in their order: the key as text, and the value as it is spelled. Anything
// else has no fields.
func Object(raw []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) { eachField(raw, yield) }
}

func eachField(raw []byte, yield func(key, value []byte) bool) {
	c := NewCursor(raw)
	if c.Kind() != KindObject {
		return
	}
	c.Enter()
	for {
		key, escaped, ok := c.NextField()
		if !ok {
			return
		}
		if escaped {
			key = unescape(nil, key)
		}
		if value := c.Skip(); value == nil || !yield(key, value) {
			return
		}
	}
}

// Array yields the elements of a raw array, as they are spelled. Anything else has none.
func Array(raw []byte) iter.Seq[[]byte] {
	return func(yield func(value []byte) bool) { eachElement(raw, yield) }
}

func eachElement(raw []byte, yield func(value []byte) bool) {
	c := NewCursor(raw)
	if c.Kind() != KindArray {
		return
	}
	c.Enter()
	for c.NextElement() {
		if value := c.Skip(); value == nil || !yield(value) {
			return
		}
	}
}

// Get returns the value, as it is spelled, to which the path leads: a key in an object, an index from 0 in an array.
// Without a path it is data itself. It returns false when there is no such value.
func Get(data []byte, path ...string) ([]byte, bool) {
	c := NewCursor(data)
	for _, step := range path {
		switch c.Kind() {
		case KindObject:
			if !c.seekField(step) {
				return nil, false
			}
		case KindArray:
			if !c.seekElement(step) {
				return nil, false
			}
		default:
			return nil, false
		}
	}
	value := c.Skip()
	return value, value != nil
}

func (c *Cursor) seekField(name string) bool {
	c.Enter()
	for {
		key, escaped, ok := c.NextField()
		if !ok {
			return false
		}
		if escaped {
			key = unescape(nil, key)
		}
		if string(key) == name {
			return true
		}
		c.Skip()
	}
}

func (c *Cursor) seekElement(index string) bool {
	n, err := strconv.Atoi(index)
	if err != nil || n < 0 || index[0] == '+' {
		return false
	}
	c.Enter()
	for ; c.NextElement(); n-- {
		if n == 0 {
			return true
		}
		c.Skip()
	}
	return false
}
