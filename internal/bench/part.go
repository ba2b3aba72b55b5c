package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Hello is the first line that a part prints: where it is reached, or what came of it.
type Hello struct {
	Addr string `json:"addr,omitempty"`
	// Key is an installation's admin key.
	Key string `json:"key,omitempty"`
	// Claim is what the part "claim" measured.
	Claim *Claimed `json:"claim,omitempty"`
}

// The roles of parts.
const (
	RoleServe    = "serve"
	RoleSink     = "sink"
	RoleBaseline = "baseline"
	RoleClaim    = "claim"
)

// DatabaseVariable is the environment variable that tells an installation of its PostgreSQL database.
const DatabaseVariable = "PATCHBAY_BENCH_DATABASE"

const (
	// helloWithin is how long a part may take to begin; with a million deliveries pending a start takes a while.
	helloWithin = 60 * time.Second
	// stopWithin is how long a part may take to end in order.
	stopWithin = 45 * time.Second
)

// Say prints a part's hello.
func Say(w io.Writer, h Hello) error { return json.NewEncoder(w).Encode(h) }

// Orphaned returns a context that is done when the input ends. A part's input is a pipe from the program that started
// it, which ends when that program does, however it ends: no part outlives it.
func Orphaned(ctx context.Context, input io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	var owned sync.WaitGroup // nobody waits: a read of an open pipe ends with the process
	owned.Go(func() {
		_, _ = io.Copy(io.Discard, input) // any end of it is the end
		cancel()
	})
	return ctx, cancel
}

// part is a process of its own: what it costs can be told from what measuring costs.
type part struct {
	Hello
	cmd   *exec.Cmd
	input io.Closer
	errs  *lastBytes
	done  chan struct{}
	owned sync.WaitGroup
	once  sync.Once
}

// start starts a part and waits for its hello.
func start(ctx context.Context, cmd *exec.Cmd) (*part, error) {
	p := &part{cmd: cmd, errs: &lastBytes{}, done: make(chan struct{})}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.input, cmd.Stderr = input, p.errs
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("a part of the benchmark cannot be started: %w", err)
	}
	hello := make(chan error, 1)
	p.owned.Go(func() {
		r := bufio.NewReader(output)
		line, err := r.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &p.Hello)
		}
		hello <- err
		_, _ = io.Copy(io.Discard, r)
		_ = cmd.Wait()
		close(p.done)
	})
	timeout := time.NewTimer(helloWithin)
	defer timeout.Stop()
	select {
	case err = <-hello:
	case <-timeout.C:
		err = fmt.Errorf("it did not begin within %s", helloWithin)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("a part of the benchmark failed: %w\n%s", err, p.errs)
	}
	return p, nil
}

// stop ends the part in order.
func (p *part) stop() error {
	var err error
	p.once.Do(func() {
		_ = p.input.Close()
		timeout := time.NewTimer(stopWithin)
		defer timeout.Stop()
		select {
		case <-p.done:
		case <-timeout.C:
			err = fmt.Errorf("a part of the benchmark did not end within %s", stopWithin)
			_ = p.cmd.Process.Kill()
		}
		p.owned.Wait()
		if code := p.cmd.ProcessState.ExitCode(); err == nil && code != 0 {
			err = fmt.Errorf("a part of the benchmark ended with %d:\n%s", code, p.errs)
		}
	})
	return err
}

// kill ends the part at once.
func (p *part) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		_ = p.input.Close()
		p.owned.Wait()
	})
}

// rss returns how much memory of the machine the part holds, in bytes; 0 where that cannot be told.
func (p *part) rss() int64 {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// watchRSS returns a function that ends the watch and returns the most memory that the part held.
func (p *part) watchRSS(ctx context.Context) func() int64 {
	ctx, cancel := context.WithCancel(ctx)
	var owned sync.WaitGroup
	most := p.rss()
	owned.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-tick.C:
				most = max(most, p.rss())
			}
		}
	})
	return func() int64 {
		cancel()
		owned.Wait()
		return most
	}
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	mu sync.Mutex
	b  []byte
}

const keptErrors = 4 << 10

func (l *lastBytes) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if len(l.b) > keptErrors {
		l.b = bytes.Clone(l.b[len(l.b)-keptErrors:])
	}
	return len(p), nil
}

func (l *lastBytes) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

var errNotHere = errors.New("this cannot be measured on an installation that was not started for it")
