package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// StopMode says how a server is stopped.
type StopMode string

// The ways to stop a server: wait for clients to go, send them away, or drop everything as in a crash.
const (
	Smart     StopMode = "smart"
	Fast      StopMode = "fast"
	Immediate StopMode = "immediate"
)

// Restart starts s again after Stop or Kill, on the same address. A server that runs is stopped first (Fast).
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if s.cmd != nil {
		s.Stop(t, Fast)
	}
	if err := s.begin(); err != nil {
		t.Fatalf("starting PostgreSQL again: %v\n%s", err, s.Log())
	}
}

// Stop ends s in order and returns when it has ended.
func (s *Server) Stop(t testing.TB, mode StopMode) {
	t.Helper()
	if s.cmd == nil {
		return
	}
	if err := s.run("pg_ctl", "stop", "-D", s.data, "-m", string(mode), "-t", strconv.Itoa(int(patience.Seconds()))); err != nil {
		t.Fatal(err)
	}
	s.end()
}

// Kill ends every process of s with SIGKILL at once, and returns when none is left.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if s.cmd == nil {
		return
	}
	if err := s.kill(); err != nil {
		t.Fatal(err)
	}
}

// Promote makes a standby a primary.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	if err := s.run("pg_ctl", "promote", "-D", s.data, "-w", "-t", strconv.Itoa(int(patience.Seconds()))); err != nil {
		t.Fatal(err)
	}
}

// Standby starts a server that follows s, and from now on no commit on s returns before the standby has it on its disk
// too. It ends with the test.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	standby, err := create("", func(b *Server) error {
		err := b.run("pg_basebackup", "--pgdata="+b.data, "--host=127.0.0.1", "--port="+strconv.Itoa(s.port), "--username="+superuser,
			"--wal-method=stream", "--checkpoint=fast", "--no-sync")
		if err != nil {
			return err
		}
		if err := b.configure(map[string]string{
			"primary_conninfo": fmt.Sprintf("'host=127.0.0.1 port=%d user=%s application_name=standby'", s.port, superuser),
			// On a standby that was promoted there is nobody to wait for.
			"synchronous_standby_names": "''",
		}); err != nil {
			return err
		}
		signal := filepath.Join(b.data, "standby.signal")
		if err := os.WriteFile(signal, nil, 0o600); err != nil {
			return err
		}
		return own(signal)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.destroy)
	s.SQL(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	s.SQL(t, "postgres", "SELECT pg_reload_conf()")
	err = until(func() (bool, error) {
		out, err := s.psql("postgres", "SELECT sync_state FROM pg_stat_replication WHERE application_name = 'standby'")
		return out == "sync", err
	})
	if err != nil {
		t.Fatalf("the standby does not follow: %v\n%s", err, standby.Log())
	}
	return standby
}

// create makes the directory of a server below dir, has fill make its data directory, and starts it.
func create(dir string, fill func(*Server) error) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp(dir, "patchbay-postgres-")
	if err != nil {
		return nil, fmt.Errorf("making the directory of a PostgreSQL server: %w", err)
	}
	s := &Server{root: root, data: filepath.Join(root, "data"), bin: bin}
	if s.guard, err = watch(s); err != nil {
		return nil, errors.Join(err, os.RemoveAll(root))
	}
	if err = own(root); err == nil {
		err = fill(s)
	}
	if err == nil {
		err = s.begin()
	}
	if err != nil {
		err = fmt.Errorf("starting PostgreSQL from %s: %w\n%s", bin, err, s.Log())
		s.destroy()
		return nil, err
	}
	return s, nil
}

// initialise makes a new data directory.
func (s *Server) initialise(o Options) error {
	settings := map[string]string{
		"listen_addresses":        "'127.0.0.1'",
		"unix_socket_directories": "''",
		"max_connections":         "200",
		"shared_buffers":          "'64MB'",
		"max_wal_size":            "'256MB'",
		"log_line_prefix":         "'%m [%p] %a '",
	}
	if o.NoSync {
		settings["fsync"], settings["full_page_writes"] = "off", "off"
	}
	for k, v := range o.Settings {
		settings[k] = v
	}
	err := s.run("initdb", "--pgdata="+s.data, "--username="+superuser, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync",
		"--no-instructions")
	if err != nil {
		return err
	}
	return s.configure(settings)
}

// configure appends settings to the configuration, where the last one counts.
func (s *Server) configure(settings map[string]string) error {
	var lines []string
	for k, v := range settings {
		lines = append(lines, k+" = "+v+"\n")
	}
	slices.Sort(lines)
	f, err := os.OpenFile(filepath.Join(s.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(lines, ""))
	return errors.Join(err, f.Close())
}

// begin starts the server and waits until it takes connections. Another program may take the port in the moment before
// a first start; then it takes another.
func (s *Server) begin() error {
	first := s.port == 0
	for try := 1; ; try++ {
		if first {
			if err := s.choosePort(); err != nil {
				return err
			}
		}
		err := s.launch()
		if err == nil || !first || try == 5 || !strings.Contains(s.Log(), "could not bind") {
			return err
		}
	}
}

// choosePort finds a free port outside of the range from which clients are given theirs: it must still be free when the
// server starts again.
func (s *Server) choosePort() error {
	for range 100 {
		port := 15000 + rand.IntN(15000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		s.port = port
		return l.Close()
	}
	return errors.New("no free port was found for PostgreSQL between 15000 and 30000")
}

func (s *Server) launch() error {
	out, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := command(filepath.Join(s.bin, "postgres"), "-D", s.data, "-c", "port="+strconv.Itoa(s.port))
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.root, out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	// The last line of the lock file says what state the server is in; a standby is "standby" until it can be read.
	ready := func() (bool, error) {
		if gone(cmd.Process.Pid) {
			return false, errors.New("the server ended at once")
		}
		b, err := os.ReadFile(filepath.Join(s.data, "postmaster.pid"))
		lines := strings.Split(string(b), "\n")
		if err != nil || len(lines) < 8 || lines[0] != strconv.Itoa(cmd.Process.Pid) {
			return false, nil //nolint:nilerr // the file is not there yet
		}
		return strings.TrimSpace(lines[7]) == "ready", nil
	}
	if err := until(ready); err != nil {
		return errors.Join(err, s.kill())
	}
	return nil
}

// kill stops the postmaster first so that it starts no more processes, ends all there are, and then it.
func (s *Server) kill() error {
	pid := s.cmd.Process.Pid
	freeze(pid)
	family := append(children(pid), pid)
	for _, p := range family {
		end(p)
	}
	s.end()
	return until(func() (bool, error) { return !slices.ContainsFunc(family, func(p int) bool { return !gone(p) }), nil })
}

// end waits for the postmaster that was told to end.
func (s *Server) end() {
	_ = s.cmd.Wait() // how it ended is what the test asked for
	s.cmd = nil
}

func (s *Server) destroy() {
	if s.cmd != nil {
		_ = s.kill() // the guard looks again
	}
	s.guard.release()
}

// run runs one of PostgreSQL's programs as the user that servers run as.
func (s *Server) run(program string, args ...string) error {
	cmd := command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.root
	// Not a pipe: pg_ctl's server would keep it open.
	out, err := os.CreateTemp("", "patchbay-postgres-out-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()) }()
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(said))
	}
	return nil
}

// until asks 50 times a second until it is told yes, an error, or patience is at its end.
func until(yes func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for {
		ok, err := yes()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nothing after %s", patience)
		}
		<-tick.C
	}
}

// binaries finds PostgreSQL's programs: the newest of what Debian installs, or what is in the PATH.
func binaries() (string, error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	slices.SortFunc(dirs, func(a, b string) int { return version(b) - version(a) })
	for _, d := range dirs {
		if _, err := os.Stat(filepath.Join(filepath.Dir(d), "initdb")); err == nil {
			return filepath.Dir(d), nil
		}
	}
	if initdb, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(initdb), nil
	}
	return "", errors.New("PostgreSQL's programs are missing, and these tests need a real server: install them " +
		"(Debian: apt-get install --no-install-recommends postgresql), or run ./check as root, which does")
}
