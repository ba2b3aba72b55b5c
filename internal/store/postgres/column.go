package postgres

import (
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// column makes a parameter that is an array, in PostgreSQL's binary form: one element for each row. The writers send what
// they write as arrays that the server unnests, so that a transaction is a handful of statements whatever is in it.
type column struct {
	oid uint32 // of an element
	n   int
	buf []byte
}

// columnHead is the number of dimensions, whether there are NULLs, the elements' type, their number, the first index.
const columnHead = 20

// columnKept is up to where a column keeps its memory for the next transaction.
const columnKept = 1 << 20

func (c *column) reset() {
	c.n = 0
	if cap(c.buf) > columnKept {
		c.buf = nil
	}
	c.buf = append(c.buf[:0], make([]byte, columnHead)...)
}

// param returns the finished parameter; it is valid until the next reset.
func (c *column) param() []byte {
	b := c.buf
	if c.n == 0 {
		b = b[:12] // no dimensions
		clear(b)
		binary.BigEndian.PutUint32(b[8:], c.oid)
		return b
	}
	binary.BigEndian.PutUint32(b, 1)
	binary.BigEndian.PutUint32(b[4:], 1)
	binary.BigEndian.PutUint32(b[8:], c.oid)
	binary.BigEndian.PutUint32(b[12:], uint32(c.n))
	binary.BigEndian.PutUint32(b[16:], 1)
	return b
}

func (c *column) null() {
	c.n++
	c.buf = binary.BigEndian.AppendUint32(c.buf, 1<<32-1)
}

func (c *column) size(n int) {
	c.n++
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(n))
}

func (c *column) bytes(b []byte) {
	c.size(len(b))
	c.buf = append(c.buf, b...)
}

func (c *column) text(s string) {
	c.size(len(s))
	c.buf = append(c.buf, s...)
}

// some is text with "" as NULL.
func (c *column) some(s string) {
	if s == "" {
		c.null()
		return
	}
	c.text(s)
}

func (c *column) int8(v int64) {
	c.size(8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(v))
}

// id is int8 with 0 as NULL.
func (c *column) id(v int64) {
	if v == 0 {
		c.null()
		return
	}
	c.int8(v)
}

func (c *column) int4(v int64) {
	c.size(4)
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(int32(min(max(v, -1<<31), 1<<31-1))))
}

func (c *column) int2(v int16) {
	c.size(2)
	c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(v))
}

func (c *column) bool(v bool) {
	c.size(1)
	if v {
		c.buf = append(c.buf, 1)
		return
	}
	c.buf = append(c.buf, 0)
}

// time is to the microsecond, with the zero time as NULL.
func (c *column) time(t time.Time) {
	if t.IsZero() {
		c.null()
		return
	}
	c.int8(t.UnixMicro() - epoch2000)
}

// epoch2000 is the beginning of PostgreSQL's time, in microseconds since 1970.
const epoch2000 = 946684800_000000

// table is the columns of what one statement writes.
type table []column

func newTable(oids ...uint32) table {
	t := make(table, len(oids))
	for i := range t {
		t[i].oid = oids[i]
		t[i].reset()
	}
	return t
}

func (t table) reset() {
	for i := range t {
		t[i].reset()
	}
}

func (t table) empty() bool { return t[0].n == 0 }

// params appends the finished parameters.
func (t table) params(p [][]byte) [][]byte {
	for i := range t {
		p = append(p, t[i].param())
	}
	return p
}

// The types of elements.
const (
	oidBool = pgtype.BoolOID
	oidInt2 = pgtype.Int2OID
	oidInt4 = pgtype.Int4OID
	oidInt8 = pgtype.Int8OID
	oidText = pgtype.TextOID
	oidData = pgtype.ByteaOID
	oidTime = pgtype.TimestamptzOID
	oidUUID = pgtype.UUIDOID
)
