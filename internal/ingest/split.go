package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// splitRead is how much is read at once. It is also what a batch that brings nothing costs.
const splitRead = 32 << 10

// ErrItemTooLarge is the error of an item that takes more than patchbay.MaxEventBody. It has been skipped, and the next
// one can be read.
var ErrItemTooLarge = errors.New("the item is too large")

// BrokenError ends a batch: what follows cannot be told apart into items, or not safely. What came before stands.
type BrokenError struct {
	// Item counts from 0, Offset is the byte of the body.
	Item   int
	Offset int64
	// Reason is a sentence without the place.
	Reason string
	// Cut is the reader's error when the body ended before its time.
	Cut error
}

// Error returns the sentence with the place.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("reading stopped at byte %d, in item %d: %s; nothing from there on was accepted", e.Offset, e.Item, e.Reason)
}

// Unwrap returns the reader's error.
func (e *BrokenError) Unwrap() error { return e.Cut }

// Splitter cuts a body into events: the elements of a JSON array, or the lines of NDJSON. It holds one read's worth of
// the body, whatever its length.
type Splitter struct {
	r          io.Reader
	buf        []byte
	start, end int // what is in buf and not taken yet
	offset     int64
	err        error // of r; io.EOF at the end
	n          int   // items so far
	array      bool
	begun      bool // it is known whether it is an array
	closed     bool // the array is
	done       bool
}

// NewSplitter returns a Splitter. With lines the body is NDJSON; otherwise its first byte says what it is.
func NewSplitter(r io.Reader, lines bool) *Splitter {
	return &Splitter{r: r, buf: make([]byte, splitRead), begun: lines}
}

// Array reports whether the body is an array, for which it reads its first bytes. It returns io.EOF when there is
// nothing in it.
func (s *Splitter) Array() (bool, error) {
	if s.begun {
		return s.array, nil
	}
	if bytes.HasPrefix(s.peek(3), []byte("\xef\xbb\xbf")) {
		return false, s.broken("the body begins with a byte order mark, which JSON must not have")
	}
	b, ok := s.space()
	if !ok {
		return false, s.ended("")
	}
	s.begun = true
	if b == '[' {
		s.array = true
		s.take(1)
	}
	return s.array, nil
}

// Next appends the next item to dst, without the space around it. At the end it returns io.EOF. After ErrItemTooLarge
// there may be more; a *BrokenError is the last.
func (s *Splitter) Next(dst []byte) ([]byte, error) {
	if _, err := s.Array(); err != nil {
		return dst, err
	}
	if s.done {
		return dst, io.EOF
	}
	if s.array {
		return s.element(dst)
	}
	return s.line(dst)
}

// line takes one line that is not blank.
func (s *Splitter) line(dst []byte) ([]byte, error) {
	for {
		from, tooLarge, ended := len(dst), false, false
		for !ended {
			if s.start == s.end && !s.fill() {
				break
			}
			chunk := s.buf[s.start:s.end]
			eol := bytes.IndexByte(chunk, '\n')
			if eol >= 0 {
				chunk = chunk[:eol]
			}
			if tooLarge = tooLarge || len(dst)-from+len(chunk) > patchbay.MaxEventBody+1; !tooLarge { // one more for a \r
				dst = append(dst, chunk...)
			}
			s.take(len(chunk))
			if ended = eol >= 0; ended {
				s.take(1)
			}
		}
		item := bytes.TrimRight(dst[from:], " \t\r")
		lead := len(item) - len(bytes.TrimLeft(item, " \t\r"))
		over := s.start == s.end && s.err != nil && !ended
		if over && !errors.Is(s.err, io.EOF) {
			return dst[:from], s.ended("") // what came of this line may be half of it
		}
		switch {
		case tooLarge || len(item)-lead > patchbay.MaxEventBody:
			s.n++
			return dst[:from], ErrItemTooLarge
		case len(item) > lead:
			s.n++
			return dst[:from+copy(dst[from:], item[lead:])], nil
		case over:
			return dst[:from], s.ended("")
		}
		dst = dst[:from]
	}
}

// element takes one element of the array.
func (s *Splitter) element(dst []byte) ([]byte, error) {
	b, ok := s.space()
	switch {
	case s.closed && ok:
		return dst, s.broken("something follows the end of the array")
	case s.closed:
		return dst, s.ended("the body was cut off")
	case !ok:
		return dst, s.ended("the array is not closed by a ]")
	case b == ']' && s.n == 0:
		s.take(1)
		s.closed = true
		return s.element(dst)
	}
	at, from := s.offset, len(dst)
	dst, tooLarge, ok := s.value(dst)
	if !ok {
		return dst[:from], s.ended("the body ended in the middle of it")
	}
	item := bytes.TrimRight(dst[from:], " \t\r\n")
	if tooLarge = tooLarge || len(item) > patchbay.MaxEventBody; !tooLarge {
		// An item that is not JSON may have shifted where items begin and end: text of a payload could pass for an event
		// of its own. What is JSON and refused for another reason fails alone.
		if err := rawjson.Check(item, 0); err != nil && !json.Valid(item) {
			s.offset = at
			return dst[:from], s.broken("it is not JSON: " + err.Error())
		}
	}
	if s.buf[s.start] == '}' {
		return dst[:from], s.broken(`"}" stands where "," or "]" should`)
	}
	s.closed = s.buf[s.start] == ']'
	s.take(1)
	s.n++
	if tooLarge {
		return dst[:from], ErrItemTooLarge
	}
	return dst[:from+len(item)], nil
}

// value appends everything before the comma or bracket that ends an element, which stays where it is. It reports false
// when the body ends first.
func (s *Splitter) value(dst []byte) (_ []byte, tooLarge, ok bool) {
	from, depth, text, escaped := len(dst), 0, false, false
	for s.start < s.end || s.fill() {
		chunk := s.buf[s.start:s.end]
		n, ended := 0, false
		for ; n < len(chunk) && !ended; n++ {
			switch b := chunk[n]; {
			case escaped:
				escaped = false
			case text:
				escaped, text = b == '\\', b != '"'
			case b == '"':
				text = true
			case b == '{' || b == '[':
				depth++
			case depth == 0 && (b == ',' || b == ']' || b == '}'):
				ended = true
				n-- // it stays
			case b == '}' || b == ']':
				depth--
			}
		}
		if tooLarge = tooLarge || len(dst)-from+n > patchbay.MaxEventBody+splitRead; tooLarge {
			dst = dst[:from]
		} else {
			dst = append(dst, chunk[:n]...)
		}
		s.take(n)
		if ended {
			return dst, tooLarge, true
		}
	}
	return dst, tooLarge, false
}

// space skips space and returns the byte after it, which stays; false when the body ends.
func (s *Splitter) space() (byte, bool) {
	for s.start < s.end || s.fill() {
		for i, b := range s.buf[s.start:s.end] {
			if b != ' ' && b != '\n' && b != '\t' && b != '\r' {
				s.take(i)
				return b, true
			}
		}
		s.take(s.end - s.start)
	}
	return 0, false
}

// peek returns up to n bytes that stay.
func (s *Splitter) peek(n int) []byte {
	for s.end-s.start < n && s.more() {
		continue
	}
	return s.buf[s.start:min(s.end, s.start+n)]
}

func (s *Splitter) take(n int) {
	s.start += n
	s.offset += int64(n)
}

// fill reads into the empty buffer and reports whether something came.
func (s *Splitter) fill() bool {
	s.start, s.end = 0, 0
	return s.more()
}

func (s *Splitter) more() bool {
	for idle := 0; s.err == nil && idle < 100; idle++ {
		n, err := s.r.Read(s.buf[s.end:])
		s.end, s.err = s.end+n, err
		if n > 0 {
			return true
		}
	}
	if s.err == nil {
		s.err = io.ErrNoProgress
	}
	return false
}

// ended says how the body ended: as it may (reason ""), too early, or because it could not be read.
func (s *Splitter) ended(reason string) error {
	s.done = true
	if !errors.Is(s.err, io.EOF) {
		err := s.broken("the body could not be read to its end")
		err.Cut = s.err
		return err
	}
	if reason == "" || s.closed {
		return io.EOF
	}
	return s.broken(reason)
}

func (s *Splitter) broken(reason string) *BrokenError {
	s.done = true
	return &BrokenError{Item: s.n, Offset: s.offset, Reason: reason}
}
