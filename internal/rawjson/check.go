package rawjson

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// Check returns an *Error unless data is exactly one JSON value, in valid UTF-8, with no key twice in one object
// (however its characters are escaped), every surrogate escape in a pair, and nested at most maxDepth deep; maxDepth
// 0 stands for MaxDepth. It allocates nothing when the document is good.
func Check(data []byte, maxDepth int) error {
	if maxDepth <= 0 {
		maxDepth = MaxDepth
	}
	c := checkers.Get().(*checker)
	c.data, c.depth = data, maxDepth
	err := c.document()
	c.reset()
	checkers.Put(c)
	if err != nil {
		return err.public()
	}
	return nil
}

// checkers keeps the scratch space of checks: the tables that find duplicate keys.
var checkers = sync.Pool{New: func() any { return new(checker) }}

// fault is an Error in the making: on the way out of the recursion each level adds its step of the path.
type fault struct {
	offset  int
	message string
	steps   []string // innermost first
}

// maxPathSteps keeps the path of an error readable: of a deeper one only the outermost steps are shown.
const maxPathSteps = 16

func (f *fault) public() *Error {
	var path strings.Builder
	for i := len(f.steps) - 1; i >= 0; i-- {
		if len(f.steps)-i > maxPathSteps {
			path.WriteString("…")
			break
		}
		if path.Len() > 0 && f.steps[i][0] != '[' {
			path.WriteByte('.')
		}
		path.WriteString(f.steps[i])
	}
	return &Error{Path: path.String(), Offset: f.offset, Message: f.message}
}

// checker is one pass over a document.
type checker struct {
	data  []byte
	at    int
	depth int // how many levels may still be opened
	keys  keySet
}

func (c *checker) reset() {
	c.data, c.at = nil, 0
	c.keys.reset()
}

func (c *checker) fail(offset int, format string, args ...any) *fault {
	return &fault{offset: offset, message: fmt.Sprintf(format, args...)}
}

func (c *checker) document() *fault {
	if len(c.data) > maxDocument {
		return c.fail(0, "the JSON is larger than %d bytes", maxDocument)
	}
	c.space()
	if c.at == len(c.data) {
		return c.fail(c.at, "there is no JSON here")
	}
	if err := c.value(); err != nil {
		return err
	}
	c.space()
	if c.at < len(c.data) {
		return c.fail(c.at, "something follows the end of the JSON")
	}
	return nil
}

func (c *checker) space() { c.at = skipSpace(c.data, c.at) }

// peek returns the byte at hand, and 0, which no JSON holds outside of strings, at the end.
func (c *checker) peek() byte {
	if c.at < len(c.data) {
		return c.data[c.at]
	}
	return 0
}

func (c *checker) value() *fault {
	switch b := c.peek(); b {
	case '{':
		return c.object()
	case '[':
		return c.array()
	case '"':
		_, err := c.text()
		return err
	case 't':
		return c.literal("true")
	case 'f':
		return c.literal("false")
	case 'n':
		return c.literal("null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return c.number()
	}
	return c.unexpected("a value")
}

// unexpected says what should stand here instead of what does.
func (c *checker) unexpected(want string) *fault {
	if c.at >= len(c.data) {
		return c.fail(len(c.data), "the JSON ends where %s should stand", want)
	}
	r, size := utf8.DecodeRune(c.data[c.at:])
	if r == utf8.RuneError && size == 1 {
		return c.fail(c.at, "the byte 0x%02X stands where %s should", c.data[c.at], want)
	}
	return c.fail(c.at, "%q stands where %s should", r, want)
}

func (c *checker) enter() *fault {
	if c.depth == 0 {
		return c.fail(c.at, "the JSON is nested too deep")
	}
	c.depth--
	c.at++
	c.space()
	return nil
}

func (c *checker) leave() {
	c.depth++
	c.at++
}

func (c *checker) object() *fault {
	if err := c.enter(); err != nil {
		return err
	}
	var seen fields
	for first := true; ; first = false {
		if first && c.peek() == '}' {
			break
		}
		if c.peek() != '"' {
			return c.unexpected("a key in quotes")
		}
		start := c.at
		escaped, err := c.text()
		if err != nil {
			return err
		}
		if !c.keys.add(&seen, c.data, start+1, c.at-1, escaped) {
			return c.fail(start, "the key %s stands twice in one object", clip(c.data[start:c.at]))
		}
		end := c.at
		if err := c.member(); err != nil {
			err.steps = append(err.steps, step(c.data[start+1:end-1]))
			return err
		}
		if c.peek() == '}' {
			break
		}
		if c.peek() != ',' {
			return c.unexpected(`"," or "}"`)
		}
		c.at++
		c.space()
	}
	c.leave()
	return nil
}

// member checks what follows a key.
func (c *checker) member() *fault {
	c.space()
	if c.peek() != ':' {
		return c.unexpected(`":"`)
	}
	c.at++
	c.space()
	if err := c.value(); err != nil {
		return err
	}
	c.space()
	return nil
}

func (c *checker) array() *fault {
	if err := c.enter(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		if i == 0 && c.peek() == ']' {
			break
		}
		if err := c.value(); err != nil {
			err.steps = append(err.steps, "["+strconv.Itoa(i)+"]")
			return err
		}
		c.space()
		if c.peek() == ']' {
			break
		}
		if c.peek() != ',' {
			return c.unexpected(`"," or "]"`)
		}
		c.at++
		c.space()
	}
	c.leave()
	return nil
}

func (c *checker) literal(word string) *fault {
	end := min(len(c.data), c.at+len(word))
	if string(c.data[c.at:end]) != word {
		return c.fail(c.at, "a value begins like %q and is something else", word)
	}
	c.at = end
	return nil
}

func (c *checker) number() *fault {
	if c.peek() == '-' {
		c.at++
	}
	if c.peek() == '0' {
		c.at++
		if b := c.peek(); b >= '0' && b <= '9' {
			return c.fail(c.at-1, "a number begins with a zero too many")
		}
	} else if !c.digits() {
		return c.unexpected("a digit")
	}
	if c.peek() == '.' {
		c.at++
		if !c.digits() {
			return c.unexpected("a digit")
		}
	}
	if b := c.peek(); b == 'e' || b == 'E' {
		c.at++
		if b := c.peek(); b == '+' || b == '-' {
			c.at++
		}
		if !c.digits() {
			return c.unexpected("a digit")
		}
	}
	return nil
}

func (c *checker) digits() bool {
	start := c.at
	for c.at < len(c.data) && c.data[c.at] >= '0' && c.data[c.at] <= '9' {
		c.at++
	}
	return c.at > start
}

// text checks a string and reports whether it holds an escape.
func (c *checker) text() (escaped bool, err *fault) {
	start := c.at
	c.at++
	for {
		c.at = skipPlain(c.data, c.at)
		if c.at >= len(c.data) {
			return false, c.fail(start, "a text is not closed by a quote")
		}
		switch b := c.data[c.at]; {
		case b == '"':
			c.at++
			return escaped, nil
		case b == '\\':
			escaped = true
			if err := c.escape(); err != nil {
				return false, err
			}
		case b < ' ':
			return false, c.fail(c.at, `a text holds the control character 0x%02X: write it as \u%04x`, b, b)
		default:
			r, size := utf8.DecodeRune(c.data[c.at:])
			if r == utf8.RuneError && size == 1 {
				return false, c.fail(c.at, "a text is not valid UTF-8: it has the byte 0x%02X", b)
			}
			c.at += size
		}
	}
}

// escape checks one escape, or two when they are the halves of one character.
func (c *checker) escape() *fault {
	start := c.at
	if start+1 >= len(c.data) {
		return c.fail(start, "a text is not closed by a quote")
	}
	switch c.data[start+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		c.at += 2
		return nil
	case 'u':
	default:
		return c.fail(start, "a text holds a backslash that begins no escape of JSON")
	}
	unit, ok := hex4(c.data, start)
	if !ok {
		return c.fail(start, `four hexadecimal digits must follow \u`)
	}
	c.at += 6
	switch {
	case unit < 0xD800 || unit > 0xDFFF:
		return nil
	case unit <= 0xDBFF:
		if low, ok := hex4(c.data, c.at); ok && low >= 0xDC00 && low <= 0xDFFF {
			c.at += 6
			return nil
		}
	}
	return c.fail(start, `the escape %s is half of a character: the other half is missing`, c.data[start:start+6])
}

// step names a key in a path; one that would be unreadable there is quoted.
func step(key []byte) string {
	for _, b := range key {
		if b <= ' ' || b == '.' || b == '[' || b == ']' || b == '"' || b == '\\' {
			return `"` + clip(key) + `"`
		}
	}
	if len(key) == 0 {
		return `""`
	}
	return clip(key)
}

// clip shortens text of a caller before it is quoted.
func clip(b []byte) string {
	const most = 64
	if len(b) <= most {
		return string(b)
	}
	return strings.ToValidUTF8(string(b[:most]), "") + "…"
}
