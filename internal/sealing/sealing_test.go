package sealing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/secret"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hidden = "xoxb-hidden-token"

var admin = &access.Caller{Permissions: []access.Permission{access.Admin}, Name: "test"}

// node is a process with its own key file, as far as sealing goes.
type node struct {
	t    *testing.T
	file string
	ring *secret.Ring
	s    *Service
	// others are what the other nodes said of themselves; jobs counts those that were made.
	others []store.Node
	jobs   int
}

// database opens a database for a node.
type database func(t *testing.T, sealer store.Sealer) allStore

type allStore interface {
	store.Store
	store.Sealed
}

// onSQLite is one database in a directory; onPostgreSQL one at a server.
func onSQLite(t *testing.T) database {
	dir := t.TempDir()
	return func(t *testing.T, sealer store.Sealer) allStore {
		t.Helper()
		s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Sealer: sealer})
		return opened(t, s, err)
	}
}

func onPostgreSQL(t *testing.T) database {
	url, n := pgtest.Database(t), 0
	return func(t *testing.T, sealer store.Sealer) allStore {
		t.Helper()
		n++
		s, err := postgres.Open(t.Context(), postgres.Options{URL: url, Name: fmt.Sprint("node ", n), Sealer: sealer})
		return opened(t, s, err)
	}
}

func opened(t *testing.T, s allStore, err error) allStore {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func newNode(t *testing.T, file string) *node {
	t.Helper()
	ring, err := secret.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return &node{t: t, file: file, ring: ring}
}

// on has the node use a database.
func (n *node) on(db allStore, shared bool) *node {
	o := Options{Store: db, Wrapper: n.ring, Ring: n.ring, Database: "the database", Job: func(context.Context, *access.Caller) (*jobs.View, error) {
		n.jobs++
		return &jobs.View{Action: jobs.Reseal}, nil
	}}
	if shared {
		o.Others = func() []store.Node { return n.others }
	}
	n.s = New(o)
	return n
}

func (n *node) admit() {
	n.t.Helper()
	if err := n.s.Admit(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

// work does what the job does.
func (n *node) work() (changed int) {
	n.t.Helper()
	why, err := n.s.Ready(n.t.Context())
	if why != "" || err != nil {
		n.t.Fatal(why, err)
	}
	for next, more := "", true; more; more = next != "" {
		var c int
		if next, _, c, err = n.s.Reseal(n.t.Context(), next, 3); err != nil {
			n.t.Fatal(err)
		}
		changed += c
	}
	if err := n.s.Done(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
	return changed
}

func saveLinks(t *testing.T, db allStore, count int) {
	t.Helper()
	for range count {
		l := &patchbay.Link{
			ID: patchbay.LinkID(db.NewID(1)), Revision: 1, Integration: "slack", Scope: "acme", Reach: patchbay.ReachSubtree,
			Events: []patchbay.Pattern{"*"}, Settings: json.RawMessage(`{"token":"` + hidden + `"}`), Enabled: true, State: patchbay.LinkActive,
			CreatedAt: time.Now(), UpdatedAt: time.Now(),
		}
		if err := db.SaveLink(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
}

func wantLinks(t *testing.T, db allStore, count int) {
	t.Helper()
	links, err := db.AllLinks(t.Context())
	if err != nil || len(links) != count {
		t.Fatalf("%d links, want %d: %v", len(links), count, err)
	}
	for i := range links {
		if !strings.Contains(string(links[i].Settings), hidden) {
			t.Errorf("the settings come back as %s", links[i].Settings)
		}
	}
}

// rows counts what needs which key.
func (n *node) rows() map[string]int64 {
	n.t.Helper()
	o, err := n.s.Overview(n.t.Context(), admin)
	if err != nil {
		n.t.Fatal(err)
	}
	out := map[string]int64{"in the open": o.Unsealed, "unreadable": o.Unreadable}
	for _, k := range o.Keys {
		out[k.ID] = k.Rows
	}
	return out
}

// TestFirstStart proves that a first start makes the key file and that a later one with another file, or none, refuses
// with a sentence and changes nothing.
func TestFirstStart(t *testing.T) {
	open := onSQLite(t)
	n := newNode(t, filepath.Join(t.TempDir(), "secret.key"))
	db := open(t, secret.NewSealer(n.ring))
	n.on(db, false).admit()
	if err := n.s.Begin(t.Context()); err != nil || n.jobs != 0 {
		t.Errorf("a new database needs a job: %d, %v", n.jobs, err)
	}
	saveLinks(t, db, 2)
	id := n.ring.Current()
	canary, err := db.Meta(t.Context(), MetaCanary)
	if err != nil || canary == "" {
		t.Fatal(canary, err)
	}
	dir := t.TempDir()
	other := newNode(t, filepath.Join(dir, "other.key"))
	if _, err := other.ring.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	same := filepath.Join(dir, "same.key")
	text, err := os.ReadFile(other.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(same, []byte(strings.ReplaceAll(string(text), "\n"+other.ring.Current()+" ", "\n"+id+" ")), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ file, want string }{
		"no file":      {filepath.Join(dir, "none.key"), "there is no key file " + filepath.Join(dir, "none.key")},
		"another file": {other.file, other.file + " does not have"},
		"another key":  {same, "is not the one of this name in " + same},
	} {
		x := newNode(t, c.file).on(db, false)
		err := x.s.Admit(t.Context())
		if !errors.Is(err, store.ErrSealed) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), "--key-file") {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := db.Meta(t.Context(), MetaCanary); err != nil || now != canary {
			t.Errorf("%s: the database was changed (%v)", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none.key")); err == nil {
		t.Error("a refused start has made a key file")
	}
	newNode(t, n.file).on(db, false).admit()
	wantLinks(t, db, 2)
}

// TestTwoFirstNodes proves that of two nodes that are the first at the same time, each with a key file of its own, one is
// let in and the other refused, and that the refused one leaves no key file behind.
func TestTwoFirstNodes(t *testing.T) {
	for round := range 5 {
		open := onPostgreSQL(t)
		nodes := make([]*node, 4)
		errs := make([]error, len(nodes))
		for i := range nodes {
			nodes[i] = newNode(t, filepath.Join(t.TempDir(), "secret.key"))
			nodes[i].on(open(t, secret.NewSealer(nodes[i].ring)), true)
		}
		var all sync.WaitGroup
		for i, n := range nodes {
			all.Go(func() { errs[i] = n.s.Admit(t.Context()) })
		}
		all.Wait()
		won := 0
		for i, n := range nodes {
			_, err := os.Stat(n.file)
			switch {
			case errs[i] == nil:
				won++
				if err != nil {
					t.Errorf("round %d: the key file of the first node: %v", round, err)
				}
			case !errors.Is(errs[i], store.ErrSealed) || !strings.Contains(errs[i].Error(), "--key-file"):
				t.Errorf("round %d: %v", round, errs[i])
			case err == nil:
				t.Errorf("round %d: a refused node has kept its key file", round)
			}
		}
		if won != 1 {
			t.Errorf("round %d: %d of %d were let in: %v", round, won, len(nodes), errs)
		}
	}
}

// TestRotate proves on both databases that another key comes into use, that everything is sealed anew with it, links of a
// version without sealing too, and that the old key can go then.
func TestRotate(t *testing.T) {
	for name, database := range map[string]func(*testing.T) database{"SQLite": onSQLite, "PostgreSQL": onPostgreSQL} {
		t.Run(name, func(t *testing.T) {
			open := database(t)
			plain := open(t, nil)
			saveLinks(t, plain, 4)
			if err := plain.Close(); err != nil {
				t.Fatal(err)
			}
			n := newNode(t, filepath.Join(t.TempDir(), "secret.key"))
			db := open(t, secret.NewSealer(n.ring))
			n.on(db, false).admit()
			saveLinks(t, db, 5)
			first := n.ring.Current()
			if rows := n.rows(); rows["in the open"] != 4 || rows[first] != 5 {
				t.Errorf("before: %v", rows)
			}
			if err := n.s.Begin(t.Context()); err != nil || n.jobs != 1 {
				t.Fatalf("%d jobs, %v", n.jobs, err)
			}
			if open, err := n.s.InTheOpen(t.Context()); !open || err != nil {
				t.Errorf("rows in the open: %v, %v", open, err)
			}
			if _, err := n.s.Rotate(t.Context(), admin); err != nil || n.ring.Current() != first {
				t.Errorf("what has begun does not come first: %v", err)
			}
			if changed := n.work(); changed != 4 {
				t.Errorf("%d rows were sealed", changed)
			}
			if open, err := n.s.InTheOpen(t.Context()); open || err != nil {
				t.Errorf("rows in the open: %v, %v", open, err)
			}
			if err := n.s.Begin(t.Context()); err != nil || n.jobs != 2 {
				t.Fatalf("%d jobs, %v", n.jobs, err)
			}
			if _, err := n.s.Rotate(t.Context(), admin); err != nil {
				t.Fatal(err)
			}
			second := n.ring.Current()
			saveLinks(t, db, 1)
			if rows := n.rows(); rows[first] != 9 || rows[second] != 1 || first == second {
				t.Errorf("in between: %v", rows)
			}
			wantLinks(t, db, 10)

			// A start in between goes on, with the same key; the same rotation is not begun twice.
			x := newNode(t, n.file).on(db, false)
			x.admit()
			if err := x.s.Begin(t.Context()); err != nil || x.jobs != 1 || x.ring.Current() != second {
				t.Errorf("%d jobs with %s, %v", x.jobs, x.ring.Current(), err)
			}
			if _, err := n.s.Rotate(t.Context(), admin); err != nil || n.ring.Current() != second {
				t.Errorf("a second rotation has begun: %s, %v", n.ring.Current(), err)
			}
			if changed := n.work(); changed != 9 {
				t.Errorf("%d rows were sealed", changed)
			}
			if rows := n.rows(); rows[first] != 0 || rows[second] != 10 || rows["in the open"] != 0 || rows["unreadable"] != 0 {
				t.Errorf("after: %v", rows)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(n.file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(n.file, []byte(strings.ReplaceAll(string(text), "\n"+first+" ", "\n# ")), 0o600); err != nil {
				t.Fatal(err)
			}
			last := newNode(t, n.file)
			again := open(t, secret.NewSealer(last.ring))
			last.on(again, false).admit()
			wantLinks(t, again, 10)
			if keys := last.ring.Keys(); len(keys) != 1 || keys[0].ID != second {
				t.Errorf("the ring has %+v", keys)
			}
		})
	}
}

// TestSeveralNodes proves that a key becomes current only when every node has it, and that the others follow.
func TestSeveralNodes(t *testing.T) {
	open := onPostgreSQL(t)
	one := newNode(t, filepath.Join(t.TempDir(), "secret.key"))
	db := open(t, secret.NewSealer(one.ring))
	one.on(db, true).admit()
	first := one.ring.Current()
	text, err := os.ReadFile(one.file)
	if err != nil {
		t.Fatal(err)
	}
	two := newNode(t, filepath.Join(t.TempDir(), "secret.key"))
	distribute := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(two.file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	distribute(text)
	two = newNode(t, two.file)
	db2 := open(t, secret.NewSealer(two.ring))
	two.on(db2, true).admit()
	saveLinks(t, db2, 3)
	// tell has each know what the other says of itself.
	tell := func() {
		for _, x := range [][2]*node{{one, two}, {two, one}} {
			n := store.Node{Number: 7, Address: "two:8080"}
			x[1].s.Report(&n.Report)
			x[0].others = []store.Node{n}
		}
	}
	refused := func(when, want string) {
		t.Helper()
		before, err := db.Meta(t.Context(), MetaCanary)
		if err != nil {
			t.Fatal(err)
		}
		_, err = one.s.Rotate(t.Context(), admin)
		if patchbay.CodeOf(err) != patchbay.CodeConflict || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", when, err, want)
		}
		if now, err := db.Meta(t.Context(), MetaCanary); now != before || err != nil || one.ring.Current() != first || one.jobs != 0 {
			t.Errorf("%s: something has changed (%v)", when, err)
		}
	}
	one.others = []store.Node{{Number: 7, Address: "two:8080"}} // of an older version, or it has said nothing yet
	refused("without a new key", "secrets new-key")
	tell()
	refused("without a new key", "secrets new-key")
	second, err := one.ring.Add(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	refused("with a key that another node lacks", "node 7 (two:8080)")
	if text, err = os.ReadFile(one.file); err != nil {
		t.Fatal(err)
	}
	distribute([]byte(strings.ReplaceAll(string(text), second+" ", second+"-other ")))
	if err := two.s.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	tell()
	refused("with another key of another name", "node 7 (two:8080)")
	distribute(text)
	if err := two.s.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	tell()
	if _, err := one.s.Rotate(t.Context(), admin); err != nil || one.ring.Current() != second || one.jobs != 1 {
		t.Fatalf("the current key is %s, %v", one.ring.Current(), err)
	}
	if why, err := one.s.Ready(t.Context()); err != nil || !strings.Contains(why, "node 7 (two:8080)") {
		t.Errorf("it would seal anew before the other node does: %q, %v", why, err)
	}
	if err := two.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); two.ring.Current() != second; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the other node does not follow")
		}
	}
	if err := two.s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	tell()
	if changed := one.work(); changed != 3 {
		t.Errorf("%d rows were sealed anew", changed)
	}
	wantLinks(t, db, 3)
	wantLinks(t, db2, 3)
	// A third node with the old file is not let in.
	distribute([]byte(strings.ReplaceAll(string(text), "\n"+second+" ", "\n# ")))
	three := newNode(t, two.file)
	if err := three.on(open(t, secret.NewSealer(three.ring)), true).s.Admit(t.Context()); !errors.Is(err, store.ErrSealed) || !strings.Contains(err.Error(), second) {
		t.Errorf("a node without the new key: %v", err)
	}
}

// patient is a node's Sealer as the program makes it.
type patient struct {
	*secret.Sealer
	n *node
}

func (p patient) Later() bool { return p.n.s.Later() }

// TestBesideAnOlderVersion leaves links readable for nodes that know of no keys, for as long as there are any in a database
// that was never sealed; then they are sealed, and stay so.
func TestBesideAnOlderVersion(t *testing.T) {
	open := onPostgreSQL(t)
	old := open(t, nil)
	saveLinks(t, old, 1)
	n := newNode(t, filepath.Join(t.TempDir(), "secret.key"))
	db := open(t, patient{secret.NewSealer(n.ring), n})
	n.on(db, true).admit()
	n.others = []store.Node{{Number: 1, Address: "old:8080"}}
	if err := n.s.Begin(t.Context()); err != nil || n.jobs != 1 {
		t.Fatalf("%d jobs seal what stands in the open, %v", n.jobs, err)
	}
	saveLinks(t, db, 2)
	wantLinks(t, old, 3)
	wantLinks(t, db, 3)
	if why, err := n.s.Ready(t.Context()); err != nil || !strings.Contains(why, "old:8080") {
		t.Errorf("the job would not wait: %q, %v", why, err)
	}
	n.others = nil
	saveLinks(t, db, 1)
	if got := n.rows(); got["in the open"] != 3 || got[n.ring.Current()] != 1 {
		t.Errorf("without the older node: %v", got)
	}
	if changed := n.work(); changed != 3 {
		t.Errorf("%d rows were sealed", changed)
	}
	n.others = []store.Node{{Number: 1, Address: "old:8080"}} // which somebody started again
	saveLinks(t, db, 1)
	if got := n.rows(); got["in the open"] != 0 || got[n.ring.Current()] != 5 {
		t.Errorf("after all was sealed: %v", got)
	}
}

// wrapper is a Wrapper of another program.
type wrapper struct {
	*secret.Ring
	current string
}

func (w *wrapper) Current() string { return w.current }

// TestWrapper proves that with another Wrapper a rotation follows the key that it names.
func TestWrapper(t *testing.T) {
	ring, err := secret.Read(filepath.Join(t.TempDir(), "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &wrapper{ring, ring.Current()}
	db := onSQLite(t)(t, secret.NewSealer(w))
	made := 0
	s := New(Options{Store: db, Wrapper: w, Database: "the database", Job: func(context.Context, *access.Caller) (*jobs.View, error) {
		made++
		return &jobs.View{}, nil
	}})
	if err := s.Admit(t.Context()); err != nil {
		t.Fatal(err)
	}
	saveLinks(t, db, 2)
	if _, err := s.Rotate(t.Context(), admin); patchbay.CodeOf(err) != patchbay.CodeConflict || !strings.Contains(err.Error(), w.current) {
		t.Errorf("a rotation to the same key: %v", err)
	}
	if w.current, err = ring.Add(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := New(Options{Store: db, Wrapper: w}).Admit(t.Context()); err != nil {
		t.Errorf("a start with another key current: %v", err)
	}
	if _, err := s.Rotate(t.Context(), admin); err != nil || made != 1 {
		t.Fatal(made, err)
	}
	n := &node{t: t, s: s}
	if changed := n.work(); changed != 2 {
		t.Errorf("%d rows were sealed anew", changed)
	}
	if rows := n.rows(); rows[w.current] != 2 {
		t.Errorf("after: %v", rows)
	}
}

// TestWho proves that only an admin of the whole installation looks at keys and rotates.
func TestWho(t *testing.T) {
	n := newNode(t, filepath.Join(t.TempDir(), "secret.key"))
	n.on(onSQLite(t)(t, secret.NewSealer(n.ring)), false).admit()
	for _, c := range []*access.Caller{nil, {Permissions: []access.Permission{access.Manage}}, {Scope: "acme", Permissions: []access.Permission{access.Admin}}} {
		if _, err := n.s.Overview(t.Context(), c); patchbay.CodeOf(err) != patchbay.CodeForbidden {
			t.Errorf("%+v looks: %v", c, err)
		}
		if _, err := n.s.Rotate(t.Context(), c); patchbay.CodeOf(err) != patchbay.CodeForbidden {
			t.Errorf("%+v rotates: %v", c, err)
		}
	}
}

// TestCheck proves that a database can be looked at from outside while it is in use, also one without tables, and that
// only the right key file opens what is found there.
func TestCheck(t *testing.T) {
	dir, url := t.TempDir(), pgtest.Database(t)
	if canary, err := postgres.Fact(t.Context(), url, MetaCanary); canary != "" || err != nil {
		t.Errorf("an empty database has the canary %q, %v", canary, err)
	}
	if _, err := sqlite.Fact(dir, MetaCanary); err == nil || !strings.Contains(err.Error(), "there is no database in "+dir) {
		t.Errorf("a directory without a database: %v", err)
	}
	n := newNode(t, filepath.Join(t.TempDir(), "secret.key"))
	lite, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	n.on(opened(t, lite, err), false).admit()
	shared, err := postgres.Open(t.Context(), postgres.Options{URL: url})
	n.on(opened(t, shared, err), true).admit()
	other, err := secret.Read(filepath.Join(t.TempDir(), "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, fact := range map[string]func() (string, error){
		"SQLite":     func() (string, error) { return sqlite.Fact(dir, MetaCanary) },
		"PostgreSQL": func() (string, error) { return postgres.Fact(t.Context(), url, MetaCanary) },
	} {
		canary, err := fact()
		if err != nil || canary == "" {
			t.Errorf("%s: %q, %v", name, canary, err)
		}
		if err := Check(n.ring, n.ring, name, canary); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := Check(other, other, name, canary); !errors.Is(err, store.ErrSealed) {
			t.Errorf("%s with another key file: %v", name, err)
		}
	}
	if err := Check(other, other, "x", ""); err != nil {
		t.Errorf("without a canary: %v", err)
	}
	if err := Check(other, other, "x", "!"); err == nil {
		t.Error("nonsense is no canary")
	}
}
