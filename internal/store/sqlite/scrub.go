package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	lib "modernc.org/sqlite/lib"

	"github.com/patchbay/patchbay/internal/store"
)

// SQLite overwrites what a transaction deletes when it is told to (see overwriting). But when it moved rows from page to
// page earlier, to make room, it left copies of them behind in the unused part of pages, and what was deleted at other
// times is on free pages as it was. So after an erasure every page is looked at, some at a time, and what no row uses is
// overwritten. The pages are read and written through SQLite itself (its sqlite_dbpage), in the writer's transactions.

const (
	// scrubPages is how many pages one transaction looks at: some milliseconds.
	scrubPages = 200
	// scrubTries and scrubPause are how often the end of all reads is waited for that hold the log back, a reader's
	// snapshot lasting some milliseconds.
	scrubTries = 100
	scrubPause = 20 * time.Millisecond
	// scrubRest is the longest pause between two transactions.
	scrubRest = 100 * time.Millisecond
)

// Scrub overwrites what no row uses, and empties the log; see store.Erasure.
func (s *Store) Scrub(ctx context.Context) error {
	for page, last := int64(1), int64(1); page <= last; page += scrubPages {
		began := time.Now()
		err := s.do(ctx, func(c *conn) (err error) {
			last, err = scrub(c, page, page+scrubPages)
			return err
		}, nil)
		if err != nil {
			return fmt.Errorf("clearing pages of the database: %w", err)
		}
		s.pause(ctx, min(time.Since(began), scrubRest)) // half of the time is the traffic's
	}
	if err := s.emptyLog(ctx); err != nil {
		return fmt.Errorf("emptying the database's log: %w", err)
	}
	return nil
}

// emptyLog has all of the log copied into the database and cut off.
func (s *Store) emptyLog(ctx context.Context) error {
	c, err := openConn(s.path, 0)
	if err != nil {
		return explain(err)
	}
	defer c.close()
	if err := configure(c, readerCache); err != nil {
		return err
	}
	if err := c.exec(fmt.Sprintf("PRAGMA busy_timeout = %d", scrubPause.Milliseconds())); err != nil {
		return err
	}
	for range scrubTries {
		if s.isClosed() {
			return store.ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		err = c.checkpoint(checkpointPassive) // most of it without holding anybody up
		if err == nil {
			err = c.checkpoint(checkpointTruncate)
		}
		if code := primaryCode(err); code != lib.SQLITE_BUSY && code != lib.SQLITE_LOCKED {
			break
		}
		// Another copy of the log is under way, which nothing waits for by itself.
		s.pause(ctx, scrubPause)
	}
	return explain(err)
}

// pause waits, unless ctx or the store has ended.
func (s *Store) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-s.closed:
	case <-timer.C:
	}
}

// pages reads and writes pages of the database in the transaction under way.
type pages struct {
	c     *conn
	size  int
	count int64
	free  map[uint32]bool // leaves of the list of free pages, of those that are looked at
	trunk map[uint32]bool
}

var errPage = errors.New("a page of the database is not as it should be: the file is damaged")

// read returns a copy of a page.
func (p *pages) read(n int64) ([]byte, error) {
	st, err := p.c.prepare("SELECT data FROM sqlite_dbpage WHERE pgno = ?")
	if err != nil {
		return nil, err
	}
	defer st.reset()
	row, err := st.bind(1, n).step()
	if err != nil {
		return nil, err
	}
	if !row {
		return nil, errPage
	}
	b := st.bytes(0)
	if len(b) != p.size {
		return nil, errPage
	}
	return b, nil
}

func (p *pages) write(n int64, b []byte) error {
	st, err := p.c.prepare("UPDATE sqlite_dbpage SET data = ? WHERE pgno = ?")
	if err != nil {
		return err
	}
	return st.bindBlob(1, b).bind(2, n).run()
}

// readFree reads which of the pages from one up to another are free.
func (p *pages) readFree(from, end int64) error {
	first, err := p.read(1)
	if err != nil {
		return err
	}
	p.free, p.trunk = map[uint32]bool{}, map[uint32]bool{}
	for n := binary.BigEndian.Uint32(first[32:]); n != 0; {
		if p.trunk[n] || int64(n) > p.count {
			return errPage
		}
		p.trunk[n] = true
		b, err := p.read(int64(n))
		if err != nil {
			return err
		}
		k := int(binary.BigEndian.Uint32(b[4:]))
		if 8+4*k > len(b) {
			return errPage
		}
		for i := range k {
			if leaf := binary.BigEndian.Uint32(b[8+4*i:]); int64(leaf) >= from && int64(leaf) < end {
				p.free[leaf] = true
			}
		}
		n = binary.BigEndian.Uint32(b)
	}
	return nil
}

// scrub overwrites what is unused on the pages from one up to another, and returns how many pages there are.
func scrub(c *conn, from, end int64) (int64, error) {
	p := &pages{c: c}
	size, err := c.number("PRAGMA page_size")
	if err != nil {
		return 0, err
	}
	if p.count, err = c.number("PRAGMA page_count"); err != nil {
		return 0, err
	}
	p.size = int(size)
	if err := p.readFree(from, end); err != nil {
		return 0, err
	}
	for n := from; n < end && n <= p.count; n++ {
		if err := p.scrub(n); err != nil {
			return 0, err
		}
	}
	return p.count, nil
}

// scrub overwrites what is unused on a page.
func (p *pages) scrub(n int64) error {
	if n == lockPage(p.size) {
		return nil // SQLite never uses it
	}
	b, err := p.read(n)
	if err != nil {
		return err
	}
	var changed bool
	switch id := uint32(n); {
	case p.free[id]:
		changed = zero(b)
	case p.trunk[id]:
		changed = zero(b[8+4*int(binary.BigEndian.Uint32(b[4:])):])
	default:
		header := 0
		if n == 1 {
			header = 100
		}
		if changed, err = p.scrubTree(b, header); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	return p.write(n, b)
}

// lockPage is the page whose bytes stand for locks on the file.
func lockPage(size int) int64 { return 1<<30/int64(size) + 1 }

// zero overwrites bytes and reports whether any was not zero already.
func zero(b []byte) bool {
	changed := false
	for _, x := range b {
		if x != 0 {
			changed = true
			break
		}
	}
	clear(b)
	return changed
}

// The kinds of pages of a tree.
const (
	pageIndexInner = 2
	pageTableInner = 5
	pageIndexLeaf  = 10
	pageTableLeaf  = 13
)

// scrubTree overwrites what no cell of a page of a tree uses. Any other page that is in use continues a long row: it
// begins with the number of the next one, whose first byte is 0 in a file of less than 2^24 pages, and is not looked at
// here but from the row's cell.
func (p *pages) scrubTree(b []byte, header int) (bool, error) {
	kind, start := b[header], header+8
	switch kind {
	case pageIndexInner, pageTableInner:
		start += 4
	case pageIndexLeaf, pageTableLeaf:
	default:
		return false, nil
	}
	if p.count >= 1<<24 {
		return false, errors.New("the database has too many pages to tell them apart")
	}
	cells := int(binary.BigEndian.Uint16(b[header+3:]))
	content := int(binary.BigEndian.Uint16(b[header+5:]))
	if content == 0 {
		content = 1 << 16
	}
	if start+2*cells > content || content > len(b) {
		return false, errPage
	}
	changed := zero(b[start+2*cells : content])
	for at := int(binary.BigEndian.Uint16(b[header+1:])); at != 0; {
		if at < content || at+4 > len(b) {
			return false, errPage
		}
		next, size := int(binary.BigEndian.Uint16(b[at:])), int(binary.BigEndian.Uint16(b[at+2:]))
		if size < 4 || at+size > len(b) || next != 0 && next < at+size {
			return false, errPage
		}
		changed = zero(b[at+4:at+size]) || changed
		at = next
	}
	if kind == pageTableInner {
		return changed, nil // its cells hold numbers only
	}
	for i := range cells {
		at := int(binary.BigEndian.Uint16(b[start+2*i:]))
		if at < content || at >= len(b) {
			return false, errPage
		}
		if err := p.scrubOverflow(kind, b[at:]); err != nil {
			return false, err
		}
	}
	return changed, nil
}

// scrubOverflow overwrites what a long row does not use of its last page.
func (p *pages) scrubOverflow(kind byte, cell []byte) error {
	if kind == pageIndexInner {
		cell = cell[min(4, len(cell)):]
	}
	length, n := varint(cell)
	cell = cell[n:]
	most := (p.size-12)*64/255 - 23
	if kind == pageTableLeaf {
		_, n := varint(cell) // the row's identifier
		cell = cell[n:]
		most = p.size - 35
	}
	if length <= int64(most) {
		return nil
	}
	least, room := int64((p.size-12)*32/255-23), int64(p.size-4)
	local := least + (length-least)%room
	if local > int64(most) {
		local = least
	}
	if local+4 > int64(len(cell)) {
		return errPage
	}
	page, rest := int64(binary.BigEndian.Uint32(cell[local:])), length-local
	for ; ; rest -= room {
		if page == 0 || page > p.count {
			return errPage
		}
		b, err := p.read(page)
		if err != nil {
			return err
		}
		if rest > room {
			page = int64(binary.BigEndian.Uint32(b))
			continue
		}
		if zero(b[4+rest:]) {
			return p.write(page, b)
		}
		return nil
	}
}

// varint reads one of SQLite's numbers, and returns how many bytes it takes.
func varint(b []byte) (v int64, n int) {
	for n < len(b) && n < 8 {
		v = v<<7 | int64(b[n]&0x7f)
		if n++; b[n-1] < 0x80 {
			return v, n
		}
	}
	if n < len(b) {
		v = v<<8 | int64(b[n])
		n++
	}
	return v, n
}
