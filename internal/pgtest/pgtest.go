// Package pgtest starts real PostgreSQL servers for tests, from the binaries that are installed: one that all tests of a
// test binary share, with a database for each (Database), and private ones that a test may stop, kill, fill up, follow
// with a standby and promote (Start). Whatever happens to the test binary, its servers end and their files go.
package pgtest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Role is the role that tests connect as. It is no superuser: what it may do is what an operator has to grant.
const Role = "patchbay"

// superuser is the role that servers are made with; it trusts everybody who reaches the loopback interface.
const superuser = "postgres"

// patience is how long a server may take to start, to stop or to follow another before the test fails. Machines that
// run many tests at once are slow.
const patience = 60 * time.Second

// Options say how a server is set up. The zero value is a server as an operator would run it, but small.
type Options struct {
	// Dir is where its files go; "" is a temporary directory. A small file system makes a server whose disk fills up.
	Dir string
	// NoSync turns fsync off: faster, and it makes no difference to a test that has no power loss.
	NoSync bool
	// Settings are further lines of postgresql.conf.
	Settings map[string]string
}

// Server is a PostgreSQL server, running or not. Its address stays the same over restarts.
type Server struct {
	root, data string
	port       int
	bin        string
	cmd        *exec.Cmd // nil while it does not run
	guard      *guard
	databases  atomic.Int64
}

// Start starts a private server. It ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := create(o.Dir, func(s *Server) error { return s.initialise(o) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.destroy)
	if err := s.createRole(); err != nil {
		t.Fatal(err)
	}
	return s
}

// shared is the server that all tests of a binary use. Its guard ends it when the binary does, however that ends.
var shared = sync.OnceValues(func() (*Server, error) {
	s, err := create("", func(s *Server) error { return s.initialise(Options{NoSync: true}) })
	if err != nil {
		return nil, err
	}
	return s, s.createRole()
})

// Database makes an empty database on the server that all tests of this binary share, and returns its URL. It goes with
// the test, whoever is still connected.
func Database(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s.Database(t)
}

// Shared returns the server that all tests of this binary share. Nobody may stop it.
func Shared(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Database makes an empty database on s and returns its URL. It goes with the test when the server runs then.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", s.databases.Add(1))
	s.SQL(t, "postgres", "CREATE DATABASE "+name+" OWNER "+Role+" TEMPLATE template0")
	t.Cleanup(func() {
		if s.cmd != nil {
			_, _ = s.psql("postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") // the guard removes what stays
		}
	})
	return s.URL(name)
}

// URL returns the address of a database on s, for Role.
func (s *Server) URL(database string) string {
	return URLs(database, s)
}

// Address is the host and port that s listens on.
func (s *Server) Address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// URLs returns the address of a database that is on one of several servers: that which takes writes.
func URLs(database string, servers ...*Server) string {
	var hosts []string
	for _, s := range servers {
		hosts = append(hosts, s.Address())
	}
	q := url.Values{"sslmode": {"disable"}}
	if len(servers) > 1 {
		q.Set("target_session_attrs", "read-write")
	}
	return "postgres://" + Role + "@" + strings.Join(hosts, ",") + "/" + database + "?" + q.Encode()
}

// SQL runs statements as the superuser and returns what they print: a line for each row, columns divided by |.
func (s *Server) SQL(t testing.TB, database, sql string) string {
	t.Helper()
	out, err := s.psql(database, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func (s *Server) createRole() error {
	_, err := s.psql("postgres", "CREATE ROLE "+Role+" LOGIN")
	return err
}

func (s *Server) psql(database, sql string) (string, error) {
	cmd := exec.Command(filepath.Join(s.bin, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port),
		"-U", superuser, "-d", database, "-c", sql)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

// Log returns what the server has written into its log.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.log())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (s *Server) log() string { return filepath.Join(s.root, "log") }
