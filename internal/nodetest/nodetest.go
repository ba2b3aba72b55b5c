// Package nodetest gives tests what they need from npm: packages, and servers that run on Node. The packages are those of
// npm/package-lock.json; they are installed once for a user, into the user's cache directory, and Node itself is one of
// them, so that every machine runs the same one. What a test starts ends with the test.
package nodetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/datadir"
)

//go:embed npm/package.json npm/package-lock.json
var packages embed.FS

//go:embed all:scripts
var scripts embed.FS

const (
	// installTime bounds an installation, ready how long a server may take until it can be used: on a busy machine Node
	// alone takes seconds to start.
	installTime = 10 * time.Minute
	readyTime   = 3 * time.Minute
	// waitForInstall is how long another process's installation is waited for.
	waitForInstall = installTime + time.Minute
)

// place is where everything lies.
type place struct{ modules, scripts string }

var whole = sync.OnceValues(install)

// Dir returns the directory that holds node_modules, and installs them when they are not there yet.
func Dir(t testing.TB) string {
	t.Helper()
	return installed(t).modules
}

func installed(t testing.TB) place {
	t.Helper()
	p, err := whole()
	if err != nil {
		t.Fatalf("what this test needs from npm is not there: %v", err)
	}
	return p
}

// Path returns the path of a file of a package, such as "node_modules/axe-core/axe.min.js".
func Path(t testing.TB, name string) string {
	t.Helper()
	file := filepath.Join(Dir(t), filepath.FromSlash(name))
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("%s is not among the installed packages: %v", name, err)
	}
	return file
}

// Server is a running script.
type Server struct {
	// URL is what the script said after "ready ".
	URL string
	log *tail
}

// Log returns the end of what the script has printed.
func (s *Server) Log() string { return s.log.String() }

// Start runs a script of this package's folder scripts until the test ends. The script prints a line "ready <URL>" when it
// can be used. Arguments are given to it as they are.
func Start(t testing.TB, script string, args ...string) *Server {
	t.Helper()
	p := installed(t)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(p.modules, "node_modules", ".bin", "node"), append([]string{filepath.Join(p.scripts, script)}, args...)...)
	cmd.Dir, cmd.Env = p.modules, append(os.Environ(), "NODE_ENV=test", "NO_COLOR=1")
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	s := &Server{log: &tail{}}
	cmd.Stderr = s.log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("%s cannot be started: %v", script, err)
	}
	ready := make(chan string, 1)
	var owned sync.WaitGroup
	owned.Go(func() {
		defer close(ready)
		lines, told := bufio.NewScanner(out), false
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok && !told {
				told = true
				ready <- url
				continue
			}
			_, _ = s.log.Write(append(lines.Bytes(), '\n'))
		}
	})
	t.Cleanup(func() {
		cancel()
		owned.Wait()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s printed:\n%s", script, s.Log())
		}
	})
	select {
	case url, ok := <-ready:
		if !ok {
			t.Fatalf("%s ended before it was ready:\n%s", script, s.Log())
		}
		s.URL = url
	case <-time.After(readyTime):
		t.Fatalf("%s was not ready after %v:\n%s", script, readyTime, s.Log())
	}
	return s
}

// install makes the directories, or finds that another process has made them. The scripts lie below the packages, where
// Node looks for those.
func install() (place, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return place{}, fmt.Errorf("there is no cache directory for this user: set XDG_CACHE_HOME or HOME: %w", err)
	}
	list, name, err := contents(packages, "npm")
	if err != nil {
		return place{}, err
	}
	p := place{modules: filepath.Join(cache, "patchbay-tests", name)}
	err = fill(p.modules, list, func() error { return npm(p.modules) })
	if err != nil {
		return place{}, err
	}
	if list, name, err = contents(scripts, "scripts"); err != nil {
		return place{}, err
	}
	p.scripts = filepath.Join(p.modules, "scripts-"+name)
	return p, fill(p.scripts, list, func() error { return nil })
}

// fill writes files into a directory and finishes it, once.
func fill(dir string, files map[string][]byte, finish func() error) error {
	done := filepath.Join(dir, ".done")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	// Only who is in the way is waited for, not the right to write.
	if err := writable(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("the cache directory cannot be written; point XDG_CACHE_HOME to one that can: %w", err)
	}
	lock, err := locked(dir + ".lock")
	if err != nil {
		return err
	}
	defer func() { _ = lock.Unlock() }()
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	for file, text := range files {
		file = filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	if err := finish(); err != nil {
		return err
	}
	return os.WriteFile(done, nil, 0o644)
}

// writable makes a directory if need be, and writes to it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".try-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// contents returns the files of a tree by their paths, and a name that changes with them.
func contents(tree embed.FS, top string) (map[string][]byte, string, error) {
	files, sum := map[string][]byte{}, sha256.New()
	err := fs.WalkDir(tree, top, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := tree.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
		files[strings.TrimPrefix(name, top+"/")] = text
		return nil
	})
	return files, hex.EncodeToString(sum.Sum(nil)[:8]), err
}

// locked waits until nobody else installs into the directory.
func locked(dir string) (*datadir.Dir, error) {
	deadline := time.Now().Add(waitForInstall)
	for {
		lock, err := datadir.Lock(dir)
		if err == nil || time.Now().After(deadline) {
			return lock, err
		}
		<-time.After(250 * time.Millisecond)
	}
}

// npm installs the packages.
func npm(dir string) error {
	program, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("npm is missing: install it (Debian: apt-get install --no-install-recommends npm), or run ./check as root, which does")
	}
	ctx, cancel := context.WithTimeout(context.Background(), installTime)
	defer cancel()
	// The engines that some packages ask for are those of the Node that is installed here, not of the one that runs npm.
	cmd := exec.CommandContext(ctx, program, "ci", "--no-audit", "--no-fund", "--loglevel=error", "--engine-strict=false")
	cmd.Dir = dir
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("npm ci failed: %w\n%s", err, out.Bytes())
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailKept = 32 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - tailKept; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
