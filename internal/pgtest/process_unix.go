//go:build unix

package pgtest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"sync"
	"syscall"
)

// unprivileged is who servers run as when the tests run as root, which PostgreSQL refuses to serve as.
var unprivileged = sync.OnceValues(func() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and there is neither a user postgres nor nobody: run these tests as an ordinary user")
})

// own gives a file to the user that servers run as.
func own(path string) error {
	if os.Getuid() != 0 {
		return nil
	}
	c, err := unprivileged()
	if err != nil {
		return err
	}
	return os.Chown(path, int(c.Uid), int(c.Gid))
}

// command makes a command of the user that servers run as, in a process group of its own: an interrupt from a terminal
// is for the test binary.
func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential, _ = unprivileged() // own has told of the error
	}
	return cmd
}

// guard is a shell that waits for the end of the test binary: its standard input is a pipe that nobody else holds. Then
// it ends the server and removes its files, whether the binary returned, panicked or was killed.
type guard struct {
	cmd  *exec.Cmd
	pipe io.Closer
}

const guardScript = `
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
  kill -QUIT "$pid" 2>/dev/null && for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -e "$1/data/postmaster.pid" ] || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$1"
`

func watch(s *Server) (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript, "guard", s.root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Dir = "/"
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &guard{cmd: cmd, pipe: pipe}, cmd.Start()
}

// release has the guard do its work now, and waits for it.
func (g *guard) release() {
	g.pipe.Close()
	_ = g.cmd.Wait() // what it could not remove stays in the temporary directory
}

func freeze(pid int) { _ = syscall.Kill(pid, syscall.SIGSTOP) }
func end(pid int)    { _ = syscall.Kill(pid, syscall.SIGKILL) }

// children returns the processes whose parent pid is. Every process of PostgreSQL leads a group of its own, so that
// killing the postmaster's group reaches nobody else. Where there is no /proc they notice by themselves.
func children(pid int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		p, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, parent, ok := status(p); ok && parent == pid {
			out = append(out, p)
		}
	}
	return out
}

// gone says whether a process has ended, reaped or not.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return true
	}
	state, _, ok := status(pid)
	return ok && state == 'Z'
}

// status reads a process's state and parent; false when it cannot be known.
func status(pid int) (state byte, parent int, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	// pid (name) state parent …; the name may hold anything.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 2 {
		return 0, 0, false
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return fields[0][0], parent, err == nil
}
