package sqlite

import (
	"fmt"
	"time"
	"unsafe"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"
)

// This file is the only one that calls SQLite. It talks to the library below the database/sql driver: measured on the
// writer, that is 3 of 8 µs and all 17 allocations of the two rows that an event takes (see docs/decisions). What it
// adds to the library is Go's types, statements that are prepared once, and one arena for bound values.

// conn is one connection. It must be used by one goroutine at a time; which one may change.
type conn struct {
	tls   *libc.TLS
	db    uintptr
	stmts map[string]*stmt
	// frames is C memory in which the hook that runs after each commit writes how many pages the log holds.
	frames uintptr
}

// openConn opens a file. flags are added to reading and writing.
func openConn(path string, flags int32) (*conn, error) {
	c := &conn{tls: libc.NewTLS(), stmts: make(map[string]*stmt)}
	name, err := libc.CString(path)
	if err != nil {
		c.tls.Close()
		return nil, fmt.Errorf("out of memory: %w", err)
	}
	defer libc.Xfree(c.tls, name)
	out := libc.Xcalloc(c.tls, 1, types.Size_t(unsafe.Sizeof(c.db)))
	defer libc.Xfree(c.tls, out)
	// NOMUTEX: a connection is never used by two goroutines at once, so it needs no lock of its own.
	rc := lib.Xsqlite3_open_v2(c.tls, name, out, lib.SQLITE_OPEN_READWRITE|lib.SQLITE_OPEN_NOMUTEX|flags, 0)
	c.db = *(*uintptr)(at(out))
	if rc != lib.SQLITE_OK {
		err := c.failure(rc)
		c.close()
		return nil, err
	}
	lib.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	// The store decides when the log goes into the database, also at the end; a process that is killed gets no say.
	args := libc.Xcalloc(c.tls, 2, 8)
	defer libc.Xfree(c.tls, args)
	lib.Xsqlite3_db_config(c.tls, c.db, lib.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, libc.VaList(args, int32(1), uintptr(0)))
	return c, nil
}

func (c *conn) close() {
	if c == nil || c.tls == nil {
		return
	}
	for _, s := range c.stmts {
		s.finalize()
	}
	if c.db != 0 {
		lib.Xsqlite3_close_v2(c.tls, c.db)
	}
	if c.frames != 0 {
		libc.Xfree(c.tls, c.frames)
	}
	c.tls.Close()
	c.tls = nil
}

// failure makes an error of a result code that is not a success.
func (c *conn) failure(rc int32) error {
	e := &engineError{code: int(rc), message: libc.GoString(lib.Xsqlite3_errstr(c.tls, rc))}
	if c.db != 0 {
		if text := libc.GoString(lib.Xsqlite3_errmsg(c.tls, c.db)); text != "" && text != e.message && text != "not an error" {
			e.message += ": " + text
		}
	}
	return e
}

// exec runs a statement that is not worth keeping prepared and throws its rows away.
func (c *conn) exec(sql string) error {
	s, err := c.compile(sql, 0)
	if err != nil {
		return err
	}
	defer s.finalize()
	for {
		row, err := s.step()
		if err != nil || !row {
			return err
		}
	}
}

// run runs a statement without parameters that is kept prepared.
func (c *conn) run(sql string) error {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	return s.run()
}

// script runs several statements.
func (c *conn) script(sql string) error {
	text, err := libc.CString(sql)
	if err != nil {
		return fmt.Errorf("out of memory: %w", err)
	}
	defer libc.Xfree(c.tls, text)
	if rc := lib.Xsqlite3_exec(c.tls, c.db, text, 0, 0, 0); rc != lib.SQLITE_OK {
		return c.failure(rc)
	}
	return nil
}

// text returns the first column of the first row, as PRAGMAs answer.
func (c *conn) text(sql string) (string, error) {
	s, err := c.compile(sql, 0)
	if err != nil {
		return "", err
	}
	defer s.finalize()
	row, err := s.step()
	if err != nil || !row {
		return "", err
	}
	return s.str(0), nil
}

// number is text for numbers.
func (c *conn) number(sql string) (int64, error) {
	s, err := c.prepare(sql)
	if err != nil {
		return 0, err
	}
	defer s.reset()
	row, err := s.step()
	if err != nil || !row {
		return 0, err
	}
	return s.int(0), nil
}

// prepare returns the statement for a constant text, compiled the first time.
func (c *conn) prepare(sql string) (*stmt, error) {
	if s, ok := c.stmts[sql]; ok {
		return s, nil
	}
	s, err := c.compile(sql, lib.SQLITE_PREPARE_PERSISTENT)
	if err != nil {
		return nil, err
	}
	c.stmts[sql] = s
	return s, nil
}

func (c *conn) compile(sql string, flags uint32) (*stmt, error) {
	text, err := libc.CString(sql)
	if err != nil {
		return nil, fmt.Errorf("out of memory: %w", err)
	}
	defer libc.Xfree(c.tls, text)
	out := libc.Xcalloc(c.tls, 1, types.Size_t(unsafe.Sizeof(text)))
	defer libc.Xfree(c.tls, out)
	if rc := lib.Xsqlite3_prepare_v3(c.tls, c.db, text, -1, flags, out, 0); rc != lib.SQLITE_OK {
		return nil, fmt.Errorf("preparing %.60q: %w", sql, c.failure(rc))
	}
	return &stmt{c: c, p: *(*uintptr)(at(out))}, nil
}

// inTransaction reports whether a transaction is open.
func (c *conn) inTransaction() bool { return lib.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

// changes is how many rows the last statement wrote.
func (c *conn) changes() int { return int(lib.Xsqlite3_changes(c.tls, c.db)) }

// totalChanges counts the rows that this connection has written.
func (c *conn) totalChanges() int32 { return lib.Xsqlite3_total_changes(c.tls, c.db) }

// watchLog has logFrames know the log's length. It also turns SQLite's own checkpoints off, which use the same hook.
func (c *conn) watchLog() {
	c.frames = libc.Xcalloc(c.tls, 1, 8)
	hook := func(_ *libc.TLS, to, _, _ uintptr, frames int32) int32 {
		*(*int32)(at(to)) = frames
		return 0
	}
	// A C function pointer is, to the translated library, the word that a Go function value is.
	pointer := *(*uintptr)(unsafe.Pointer(&struct {
		f func(*libc.TLS, uintptr, uintptr, uintptr, int32) int32
	}{hook}))
	lib.Xsqlite3_wal_hook(c.tls, c.db, pointer, c.frames)
}

// logFrames is how many pages the log held after this connection's last commit.
func (c *conn) logFrames() int { return int(*(*int32)(at(c.frames))) }

// checkpoint copies the log into the database as far as nobody reads what it would overwrite.
func (c *conn) checkpoint(mode int32) error {
	if rc := lib.Xsqlite3_wal_checkpoint_v2(c.tls, c.db, 0, mode, 0, 0); rc != lib.SQLITE_OK {
		return c.failure(rc)
	}
	return nil
}

// interrupt ends what the connection is doing with an error. It may be called by any goroutine while the connection is
// open.
func (c *conn) interrupt() {
	tls := libc.NewTLS()
	defer tls.Close()
	lib.Xsqlite3_interrupt(tls, c.db)
}

// stmt is a prepared statement. Parameters count from 1, columns from 0, as in SQLite.
type stmt struct {
	c     *conn
	p     uintptr
	arena arena
}

func (s *stmt) finalize() {
	lib.Xsqlite3_finalize(s.c.tls, s.p)
	s.arena.free(s.c.tls)
}

// reset makes the statement ready for new values. Its error is that of the last step, which has been seen already.
func (s *stmt) reset() {
	lib.Xsqlite3_reset(s.c.tls, s.p)
	s.arena.reset(s.c.tls)
}

// run steps a statement that returns no rows, and resets it.
func (s *stmt) run() error {
	rc := lib.Xsqlite3_step(s.c.tls, s.p)
	if rc == lib.SQLITE_DONE {
		s.reset()
		return nil
	}
	err := error(&engineError{code: lib.SQLITE_MISUSE, message: "a statement returned a row where none was expected"})
	if rc != lib.SQLITE_ROW {
		err = s.c.failure(rc)
	}
	s.reset()
	return err
}

// step moves to the next row and reports whether there is one.
func (s *stmt) step() (bool, error) {
	switch rc := lib.Xsqlite3_step(s.c.tls, s.p); rc {
	case lib.SQLITE_ROW:
		return true, nil
	case lib.SQLITE_DONE:
		return false, nil
	default:
		return false, s.c.failure(rc)
	}
}

func (s *stmt) bind(i int, v int64) *stmt {
	lib.Xsqlite3_bind_int64(s.c.tls, s.p, int32(i), v)
	return s
}

func (s *stmt) bindNull(i int) *stmt {
	lib.Xsqlite3_bind_null(s.c.tls, s.p, int32(i))
	return s
}

// bindID binds NULL for 0.
func (s *stmt) bindID(i int, v int64) *stmt {
	if v == 0 {
		return s.bindNull(i)
	}
	return s.bind(i, v)
}

func (s *stmt) bindText(i int, v string) *stmt {
	p := s.arena.put(s.c.tls, unsafe.Slice(unsafe.StringData(v), len(v)))
	lib.Xsqlite3_bind_text(s.c.tls, s.p, int32(i), p, int32(len(v)), 0)
	return s
}

// bindSome binds NULL for "".
func (s *stmt) bindSome(i int, v string) *stmt {
	if v == "" {
		return s.bindNull(i)
	}
	return s.bindText(i, v)
}

// bindBlob binds NULL for nil.
func (s *stmt) bindBlob(i int, v []byte) *stmt {
	if v == nil {
		return s.bindNull(i)
	}
	lib.Xsqlite3_bind_blob(s.c.tls, s.p, int32(i), s.arena.put(s.c.tls, v), int32(len(v)), 0)
	return s
}

func (s *stmt) int(i int) int64 { return lib.Xsqlite3_column_int64(s.c.tls, s.p, int32(i)) }

func (s *stmt) isNull(i int) bool {
	return lib.Xsqlite3_column_type(s.c.tls, s.p, int32(i)) == lib.SQLITE_NULL
}

// raw returns a column's bytes, which are SQLite's: they are good until the next step or reset.
func (s *stmt) raw(i int) []byte {
	p := lib.Xsqlite3_column_blob(s.c.tls, s.p, int32(i))
	if p == 0 {
		return nil
	}
	n := int(lib.Xsqlite3_column_bytes(s.c.tls, s.p, int32(i)))
	return unsafe.Slice((*byte)(at(p)), n)
}

func (s *stmt) str(i int) string { return string(s.raw(i)) }

// bytes returns a copy of a column's bytes; nil for NULL.
func (s *stmt) bytes(i int) []byte {
	raw := s.raw(i)
	if raw == nil {
		return nil
	}
	return append([]byte(nil), raw...)
}

// time returns a column of microseconds as a time; the zero time for NULL.
func (s *stmt) time(i int) time.Time {
	if s.isNull(i) {
		return time.Time{}
	}
	return time.UnixMicro(s.int(i)).UTC()
}

// bindTime binds microseconds, NULL for the zero time.
func (s *stmt) bindTime(i int, t time.Time) *stmt {
	if t.IsZero() {
		return s.bindNull(i)
	}
	return s.bind(i, t.UnixMicro())
}

// arena holds the bytes of a statement's bound values while it runs, in C memory that is kept from one run to the next.
type arena struct {
	chunk  uintptr
	size   int
	used   int
	filled []uintptr // chunks that were too small for what else had to go in
}

// The sizes of an arena: what it begins with, and what is given back after a run that needed more.
const (
	arenaFirst = 256
	arenaKeep  = 256 << 10
)

// put copies b into the arena. It never returns 0, which SQLite would take for NULL.
func (a *arena) put(tls *libc.TLS, b []byte) uintptr {
	if a.used+len(b) > a.size || a.chunk == 0 {
		if a.chunk != 0 {
			a.filled = append(a.filled, a.chunk)
		}
		a.size = max(arenaFirst, 2*a.size, len(b)+len(b)/4)
		a.chunk = libc.Xmalloc(tls, types.Size_t(a.size))
		if a.chunk == 0 {
			panic("out of memory") // as Go's own allocator does
		}
		a.used = 0
	}
	p := a.chunk + uintptr(a.used)
	copy(unsafe.Slice((*byte)(at(p)), len(b)), b)
	a.used += len(b)
	return p
}

// reset forgets what was put in.
func (a *arena) reset(tls *libc.TLS) {
	a.used = 0
	for _, p := range a.filled {
		libc.Xfree(tls, p)
	}
	a.filled = a.filled[:0]
	if a.size > arenaKeep {
		a.free(tls)
	}
}

func (a *arena) free(tls *libc.TLS) {
	for _, p := range append(a.filled, a.chunk) {
		if p != 0 {
			libc.Xfree(tls, p)
		}
	}
	*a = arena{}
}

// at makes a pointer of an address in C memory, which Go's collector neither moves nor frees.
func at(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }
