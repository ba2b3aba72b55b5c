package sqlite

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Disk sees every write and every sync of a store's files and so knows what a power loss would leave of them.
type Disk struct {
	mu       sync.Mutex
	files    map[string]*platter
	syncs    int
	writes   int // until the power is lost; 0: it is not about to be
	lost     chan map[string]platter
	pointers []any // keeps Go functions that C memory refers to
}

// platter is a file: what is durable of it, and what was done to it since.
type platter struct {
	durable []byte
	since   []change
}

// change is a write, or a truncation when data is nil.
type change struct {
	at   int64
	data []byte
}

// Watch has a store that was just opened use the disk.
func Watch(t *testing.T, s *Store) *Disk {
	t.Helper()
	d := &Disk{files: map[string]*platter{}, lost: make(chan map[string]platter, 1)}
	for _, name := range []string{databaseName, databaseName + "-wal"} {
		content, err := os.ReadFile(filepath.Join(s.o.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		d.files[name] = &platter{durable: content}
	}
	watch := func(c *conn) error {
		// Both files are open once a connection has read.
		if _, err := c.number("SELECT count(*) FROM meta"); err != nil {
			return err
		}
		d.watch(t, c, lib.SQLITE_FCNTL_FILE_POINTER, d.files[databaseName])
		d.watch(t, c, lib.SQLITE_FCNTL_JOURNAL_POINTER, d.files[databaseName+"-wal"])
		return nil
	}
	if err := watch(s.w.checkpointer); err != nil { // nothing is in the log yet that it could be busy with
		t.Fatal(err)
	}
	if err := s.do(context.Background(), watch, nil); err != nil {
		t.Fatal(err)
	}
	return d
}

type (
	xWrite    = func(tls *libc.TLS, file, from uintptr, n int32, at int64) int32
	xTruncate = func(tls *libc.TLS, file uintptr, size int64) int32
	xSync     = func(tls *libc.TLS, file uintptr, flags int32) int32
)

// function makes a Go function of a pointer of the translated library, and pointer the reverse.
func function[F any](pointer uintptr) F { return *(*F)(unsafe.Pointer(&pointer)) }
func pointer[F any](d *Disk, f F) uintptr {
	d.pointers = append(d.pointers, f)
	return *(*uintptr)(unsafe.Pointer(&f))
}

// watch puts itself between a connection and one of its files.
func (d *Disk) watch(t *testing.T, c *conn, which int32, p *platter) {
	t.Helper()
	out, name := libc.Xcalloc(c.tls, 1, 8), libc.Xcalloc(c.tls, 1, 8)
	defer libc.Xfree(c.tls, out)
	defer libc.Xfree(c.tls, name)
	copy(unsafe.Slice((*byte)(at(name)), 8), "main")
	if rc := lib.Xsqlite3_file_control(c.tls, c.db, name, which, out); rc != lib.SQLITE_OK {
		t.Fatal(c.failure(rc))
	}
	file := (*lib.Tsqlite3_file)(at(*(*uintptr)(at(out))))
	methods := libc.Xcalloc(c.tls, 1, libc.Tsize_t(unsafe.Sizeof(lib.Tsqlite3_io_methods{}))) // as long as the test runs
	m := (*lib.Tsqlite3_io_methods)(at(methods))
	*m = *(*lib.Tsqlite3_io_methods)(at(file.FpMethods))
	write, truncate, sync := function[xWrite](m.FxWrite), function[xTruncate](m.FxTruncate), function[xSync](m.FxSync)
	m.FxWrite = pointer(d, func(tls *libc.TLS, f, from uintptr, n int32, to int64) int32 {
		d.mu.Lock()
		defer d.mu.Unlock()
		p.since = append(p.since, change{to, append([]byte{}, unsafe.Slice((*byte)(at(from)), n)...)})
		d.count()
		return write(tls, f, from, n, to)
	})
	m.FxTruncate = pointer(d, func(tls *libc.TLS, f uintptr, size int64) int32 {
		d.mu.Lock()
		defer d.mu.Unlock()
		p.since = append(p.since, change{at: size})
		return truncate(tls, f, size)
	})
	m.FxSync = pointer(d, func(tls *libc.TLS, f uintptr, flags int32) int32 {
		d.mu.Lock()
		defer d.mu.Unlock()
		rc := sync(tls, f, flags)
		if rc == lib.SQLITE_OK {
			for _, x := range p.since {
				p.durable = x.apply(p.durable)
			}
			p.since = nil
			d.syncs++
		}
		return rc
	})
	file.FpMethods = methods
}

func (x change) apply(to []byte) []byte {
	if x.data == nil {
		for int64(len(to)) < x.at {
			to = append(to, 0)
		}
		return to[:x.at]
	}
	if missing := x.at + int64(len(x.data)) - int64(len(to)); missing > 0 {
		to = append(to, make([]byte, missing)...)
	}
	copy(to[x.at:], x.data)
	return to
}

// count takes the power away when it is time. What is on the disk is copied; the store goes on.
func (d *Disk) count() {
	if d.writes == 0 {
		return
	}
	if d.writes--; d.writes > 0 {
		return
	}
	left := map[string]platter{}
	for name, p := range d.files {
		left[name] = platter{append([]byte(nil), p.durable...), append([]change(nil), p.since...)}
	}
	d.lost <- left
}

// sector is what a disk writes whole.
const sector = 512

// PowerLoss waits for one of the next writes and puts into a directory what a loss of power right after it may leave:
// everything that was synced, and of everything since any part, in any order, sector by sector.
func (d *Disk) PowerLoss(t *testing.T, dir string) (unsynced int) {
	t.Helper()
	d.mu.Lock()
	d.writes = 1 + rand.IntN(40)
	d.mu.Unlock()
	reaches := rand.Float64() // how much of it makes it to the disk
	for name, p := range <-d.lost {
		content := append([]byte(nil), p.durable...)
		for _, x := range p.since {
			unsynced++
			if x.data == nil {
				if rand.Float64() < reaches {
					content = x.apply(content)
				}
				continue
			}
			for from := 0; from < len(x.data); from += sector {
				if rand.Float64() < reaches {
					content = change{x.at + int64(from), x.data[from:min(from+sector, len(x.data))]}.apply(content)
				}
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return unsynced
}

// Syncs is how often a file was synced.
func (d *Disk) Syncs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}
