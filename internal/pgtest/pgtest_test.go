package pgtest_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay/internal/pgtest"
)

// panics is the environment variable that makes the test binary one that starts servers and panics.
const panics = "PATCHBAY_TEST_PANICS"

func TestMain(m *testing.M) {
	os.Exit(m.Run())
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func exec1(t *testing.T, c *pgx.Conn, sql string) {
	t.Helper()
	if _, err := c.Exec(context.Background(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func count(t *testing.T, c *pgx.Conn) (n int) {
	t.Helper()
	if err := c.QueryRow(context.Background(), "SELECT count(*) FROM x").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDatabasesAreApart(t *testing.T) {
	a, b := connect(t, pgtest.Database(t)), connect(t, pgtest.Database(t))
	exec1(t, a, "CREATE TABLE x (n int)")
	exec1(t, b, "CREATE TABLE x (n int)")
	exec1(t, a, "INSERT INTO x VALUES (1)")
	if count(t, a) != 1 || count(t, b) != 0 {
		t.Error("what was written into one is in the other")
	}
}

func TestKillAndRestart(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	url := s.Database(t)
	c := connect(t, url)
	exec1(t, c, "CREATE TABLE x (n int)")
	for i, stop := range []func(){
		func() { s.Kill(t) },
		func() { s.Stop(t, pgtest.Fast) },
		func() { s.Stop(t, pgtest.Immediate) },
		func() {},
	} {
		exec1(t, c, "INSERT INTO x VALUES (1)")
		stop()
		if i < 3 {
			if _, err := pgx.Connect(context.Background(), url); err == nil {
				t.Fatal("a server that was stopped answers")
			}
		}
		s.Restart(t)
		if c = connect(t, url); count(t, c) != i+1 {
			t.Fatalf("%d rows after %d starts", count(t, c), i+1)
		}
	}
}

func TestPromote(t *testing.T) {
	a := pgtest.Start(t, pgtest.Options{})
	a.Database(t)
	b := a.Standby(t)
	url := pgtest.URLs("test_1", a, b)
	c := connect(t, url)
	exec1(t, c, "CREATE TABLE x (n int)")
	exec1(t, c, "INSERT INTO x VALUES (1)")
	a.Kill(t)
	b.Promote(t)
	c = connect(t, url)
	if count(t, c) != 1 {
		t.Error("what was committed on the primary is not on its standby")
	}
	exec1(t, c, "INSERT INTO x VALUES (1)")
}

func TestASmallDisk(t *testing.T) {
	dir := pgtest.SmallDisk(t, 128<<20)
	s := pgtest.Start(t, pgtest.Options{Dir: dir, Settings: map[string]string{"max_wal_size": "'32MB'", "min_wal_size": "'32MB'"}})
	c := connect(t, s.Database(t))
	exec1(t, c, "CREATE TABLE x (n int, s text)")
	free := pgtest.FillDisk(t, dir)
	_, err := c.Exec(context.Background(), "INSERT INTO x SELECT n, repeat(md5(n::text), 50) FROM generate_series(1, 50000) n")
	if err == nil || !strings.Contains(err.Error(), "No space left") {
		t.Fatalf("on a full disk: %v", err)
	}
	free()
	if c.IsClosed() { // the log could not be written either
		c = connect(t, s.URL("test_1"))
	}
	exec1(t, c, "INSERT INTO x VALUES (1)")
}

// TestNothingIsLeft starts a test binary that panics while its servers run, and one that is killed.
func TestNothingIsLeft(t *testing.T) {
	if os.Getenv(panics) != "" {
		pgtest.Database(t)
		s := pgtest.Start(t, pgtest.Options{NoSync: true})
		fmt.Printf("\n%s\n%s\n", s.Address(), pgtest.Shared(t).Address())
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		panic("as it was told")
	}
	for _, end := range []string{"panic", "kill"} {
		dir, err := os.MkdirTemp("", "patchbay-pgtest-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the server runs as another user
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestNothingIsLeft$")
		cmd.Env = append(os.Environ(), panics+"=1", "TMPDIR="+dir)
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var addresses []string
		for len(addresses) < 2 && lines.Scan() {
			if strings.HasPrefix(lines.Text(), "127.0.0.1:") {
				addresses = append(addresses, lines.Text())
			}
		}
		if len(addresses) < 2 {
			t.Fatal("it started no servers")
		}
		if end == "kill" {
			_ = cmd.Process.Kill()
		}
		in.Close()
		for lines.Scan() {
		}
		if cmd.Wait() == nil {
			t.Fatal("it did not end badly")
		}
		for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			left, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil {
				t.Fatal(err)
			}
			if len(left) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("after a %s these are left: %v", end, left)
			}
		}
		for _, a := range addresses {
			if c, err := pgx.Connect(context.Background(), "postgres://postgres@"+a+"/postgres?sslmode=disable"); err == nil {
				t.Errorf("after a %s the server at %s still answers", end, a)
				c.Close(context.Background())
			}
		}
	}
}
