// Package bench measures an installation from outside, beside a baseline in the same run: rates are comparable only
// within one run on one machine, so the figures that matter are ratios.
//
// Everything that is measured runs in processes of its own (the installation, the baseline, the receiver) on this
// machine's loopback. The event that is measured takes the real path: an idempotency key, a schema, a thousand links of
// which one matches by a filter, a signature, a recorded attempt. Every event must arrive, and is counted when it does.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
)

// Options say what to measure.
type Options struct {
	// Command makes the command that runs a part of the benchmark.
	Command func(role string, args ...string) *exec.Cmd
	// Server and Key name an installation that runs already; "" starts one.
	Server string
	Key    patchbay.Secret
	// Quick measures each thing once and shortly. Otherwise Runs says how often; the median counts.
	Quick bool
	Runs  int
	// Profile is a file for the CPU profile of the installation whose rates are measured; "" writes none.
	Profile string
	// Only names rows or groups; empty is everything.
	Only []string
	// Database is the URL of an empty PostgreSQL database for the rows about PostgreSQL; "" starts a server from the
	// binaries that are installed.
	Database patchbay.Secret
	// Progress is told what is being done.
	Progress func(format string, args ...any)
}

// The sizes of a full and of a quick run.
type sizes struct {
	phase, latency, hanging time.Duration
	pending                 int64
}

func (o *Options) sizes() sizes {
	if o.Quick {
		return sizes{phase: 2 * time.Second, latency: 4 * time.Second, hanging: 4 * time.Second, pending: 100_000}
	}
	return sizes{phase: 4 * time.Second, latency: 10 * time.Second, hanging: 10 * time.Second, pending: 1_000_000}
}

const (
	// totalLinks is how many links an event is matched against.
	totalLinks = 1000
	// fanout is how many of them match in the row about fan-out.
	fanout = 10
	// pendingLinks is over how many links the pending deliveries are spread.
	pendingLinks = 10
	// hangingLinks is how many links never answer in the row about neighbours.
	hangingLinks = 1000
	// latencyRate is the rate of the open loop, per second.
	latencyRate = 200
	// benchScope is where the measured events happen.
	benchScope = patchbay.Scope("bench/shop")
	// warmUp opens connections and fills caches before something is measured.
	warmUp = 500 * time.Millisecond
)

// bench is one run of the program.
type bench struct {
	o    Options
	size sizes
	sink *sinkAPI
	dirs []string
	// keyFile is the one that the nodes of a shared database share.
	keyFile string
	rows    map[string]*Row
	run     int
	totals  Totals
	// parts are the totals of each group, group the one that is being measured.
	parts []Part
	began time.Time
	load  float64
	group string
	// profiled says that the next installation writes a profile.
	profiled bool
}

// Run measures and returns the result. A row that could not be measured says why.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Runs <= 0 || o.Quick {
		o.Runs = 1
	}
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	b := &bench{o: o, size: o.sizes(), rows: map[string]*Row{}}
	defer b.clean()
	for _, r := range rows() {
		b.rows[r.ID] = &r
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	sink, err := start(ctx, o.Command(RoleSink))
	if err != nil {
		return nil, err
	}
	defer sink.kill()
	b.sink = &sinkAPI{part: sink}
	b.began, b.load = time.Now(), loadAverage()
	wanted := slices.DeleteFunc(groups(), func(g group) bool { return !b.wanted(g) })
	for i, g := range wanted {
		b.group = g.name
		b.o.Progress("[%d/%d] %s", i+1, len(wanted), g.name)
		if o.Server != "" && g.ownOnly {
			b.skip(g, errNotHere.Error())
			continue
		}
		if err := g.measure(b, ctx); err != nil {
			if ctx.Err() != nil {
				return nil, errors.New("the benchmark was interrupted")
			}
			b.skip(g, err.Error())
		}
	}
	return b.result(time.Since(b.began)), nil
}

// check refuses names of rows that there are not.
func (b *bench) check() error {
	for _, name := range b.o.Only {
		known := slices.ContainsFunc(groups(), func(g group) bool { return g.name == name || slices.Contains(g.rows, name) })
		if !known {
			return patchbay.Errorf(patchbay.CodeInvalidRequest, "there is no row or group %q; the groups are %s", name, strings.Join(groupNames(), ", "))
		}
	}
	return nil
}

func groupNames() []string {
	all := groups()
	names := make([]string, len(all))
	for i, g := range all {
		names[i] = g.name
	}
	return names
}

func (b *bench) wanted(g group) bool {
	return len(b.o.Only) == 0 || slices.ContainsFunc(b.o.Only, func(name string) bool { return name == g.name || slices.Contains(g.rows, name) })
}

func (b *bench) skip(g group, why string) {
	for _, id := range g.rows {
		if r := b.rows[id]; len(r.Samples) == 0 {
			r.Problem = why
		}
	}
}

func (b *bench) clean() {
	for _, dir := range b.dirs {
		_ = os.RemoveAll(dir)
	}
}

// directory makes a data directory that is removed at the end.
func (b *bench) directory() (string, error) {
	dir, err := os.MkdirTemp("", "patchbay-bench-")
	if err != nil {
		return "", fmt.Errorf("there is no place for the data: %w", err)
	}
	b.dirs = append(b.dirs, dir)
	return dir, nil
}

// serve starts an installation on a data directory.
func (b *bench) serve(ctx context.Context, dir, key string) (*target, error) {
	return b.serveOn(ctx, dir, key, "")
}

// serveOn starts an installation whose database is PostgreSQL, when a URL is given.
func (b *bench) serveOn(ctx context.Context, dir, key, database string) (*target, error) {
	args := []string{"--data", dir}
	if b.profiled {
		args = append(args, "--cpu-profile", b.o.Profile)
	}
	if database != "" {
		if b.keyFile == "" {
			b.keyFile = filepath.Join(dir, "secret.key")
		}
		args = append(args, "--key-file", b.keyFile)
	}
	cmd := b.o.Command(RoleServe, args...)
	if database != "" {
		cmd.Env = append(cmd.Environ(), DatabaseVariable+"="+database) // not an argument, which everybody on the machine could read
	}
	p, err := start(ctx, cmd)
	if err != nil {
		return nil, err
	}
	if p.Key == "" {
		p.Key = key // a later start of the same directory
	}
	api, err := client.New(client.Options{Server: "http://" + p.Addr, Key: patchbay.Secret(p.Key), Timeout: 2 * time.Minute})
	if err != nil {
		p.kill()
		return nil, err
	}
	return &target{addr: p.Addr, token: p.Key, api: api, part: p, records: true}, nil
}

// installation is a prepared installation: one of its own, or the one that runs already.
func (b *bench) installation(ctx context.Context, matching int) (t *target, dir, secret string, done func() error, err error) {
	if b.o.Server != "" {
		return b.running(ctx, matching)
	}
	if dir, err = b.directory(); err != nil {
		return nil, "", "", nil, err
	}
	if t, err = b.serve(ctx, dir, ""); err != nil {
		return nil, "", "", nil, err
	}
	b.o.Progress("making %d links", totalLinks)
	if secret, _, err = prepare(ctx, t.api, matching, totalLinks, b.sink.hit); err != nil {
		t.part.kill()
		return nil, "", "", nil, err
	}
	return t, dir, secret, t.part.stop, nil
}

// running prepares the installation that runs already, and takes away afterwards what it added.
func (b *bench) running(ctx context.Context, matching int) (*target, string, string, func() error, error) {
	api, err := client.New(client.Options{Server: b.o.Server, Key: b.o.Key, Timeout: 2 * time.Minute})
	if err != nil {
		return nil, "", "", nil, err
	}
	b.o.Progress("making %d links", totalLinks)
	secret, links, err := prepare(ctx, api, matching, totalLinks, b.sink.hit)
	done := func() error {
		ctx := context.WithoutCancel(ctx)
		var failed error
		for _, id := range links {
			failed = errors.Join(failed, api.DeleteLink(ctx, id))
		}
		return errors.Join(failed, api.DeleteEventType(ctx, eventType))
	}
	if err != nil {
		return nil, "", "", nil, errors.Join(err, done())
	}
	return &target{addr: hostPort(api.Server()), token: b.o.Key.Reveal(), api: api, records: true}, "", secret, done, nil
}

// baseline starts the baseline with as many targets as links match.
func (b *bench) baseline(ctx context.Context, matching, gcPercent int) (*target, error) {
	args := make([]string, 0, 2+matching)
	args = append(args, "--gc-percent", strconv.Itoa(gcPercent))
	for i := range matching {
		args = append(args, "--to="+b.sink.hit(i))
	}
	p, err := start(ctx, b.o.Command(RoleBaseline, args...))
	if err != nil {
		return nil, err
	}
	api, err := client.New(client.Options{Server: "http://" + p.Addr})
	if err != nil {
		p.kill()
		return nil, err
	}
	return &target{addr: p.Addr, api: api, part: p}, nil
}

// size returns how many bytes the files of a directory have.
func size(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
