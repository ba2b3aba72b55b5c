package cli

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime/pprof"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/bench"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
)

// partCommand is the hidden command that runs a part of the benchmark in a process of its own.
const partCommand = "bench-part"

// benchCmd does not read PATCHBAY_SERVER: load on an installation that others use must be asked for by name.
type benchCmd struct {
	Server   string          `name:"server" placeholder:"URL" help:"Measure an installation that runs already, with links and an event type that are removed afterwards. Default: start one."`
	Key      patchbay.Secret `name:"key" placeholder:"TOKEN" help:"Its admin key."`
	Quick    bool            `name:"quick" help:"About a minute: each thing once and shortly, for orientation."`
	Runs     int             `name:"runs" default:"5" help:"How often each thing is measured; the median counts."`
	Only     []string        `name:"only" placeholder:"ROW" help:"Only these rows or groups: start, rate, latency, fan-out, neighbours, mix, pending, postgres."`
	Profile  string          `name:"profile" placeholder:"FILE" help:"Write a CPU profile of the installation whose rates are measured."`
	Database patchbay.Secret `name:"database" placeholder:"URL" help:"An empty PostgreSQL database for the rows about PostgreSQL. Default: a server is started from the binaries that are installed."`
	Readme   string          `name:"readme" placeholder:"FILE" help:"Write the table into this file too, between <!-- bench --> and <!-- /bench -->."`
	Soak     time.Duration   `name:"soak" placeholder:"TIME" help:"Instead of measuring rates, run at an even rate for this long, such as 10m, and see whether anything grows that should not."`
	jsonFlag
}

// Run measures.
func (c *benchCmd) Run(p *program) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if c.Runs < 1 || c.Runs > 100 {
		return usagef("--runs %d: write a number from 1 to 100", c.Runs)
	}
	o := bench.Options{
		Command: func(role string, args ...string) *exec.Cmd {
			return exec.CommandContext(p.ctx, exe, append([]string{partCommand, role}, args...)...)
		},
		Server: c.Server, Key: c.Key, Quick: c.Quick, Runs: c.Runs, Only: c.Only, Profile: c.Profile, Database: c.Database,
		Progress: func(format string, args ...any) {
			p.err.Printf("%s\n", p.err.Paint(console.Dim, "  "+fmt.Sprintf(format, args...)))
		},
	}
	if c.Soak != 0 {
		return c.soak(p, o)
	}
	result, err := bench.Run(p.ctx, o)
	if patchbay.CodeOf(err) == patchbay.CodeInvalidRequest {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if p.json {
		err = p.out.JSON(result)
	} else {
		result.Print(p.out)
	}
	if err == nil && c.Readme != "" {
		err = result.WriteReadme(c.Readme)
	}
	if err == nil && !result.Passed {
		return errReported
	}
	return err
}

func (c *benchCmd) soak(p *program, o bench.Options) error {
	if c.Server != "" || c.Readme != "" || len(c.Only) > 0 {
		return usagef("--soak starts an installation of its own: leave --server, --only and --readme out")
	}
	result, err := bench.Soak(p.ctx, o, c.Soak)
	if err != nil {
		return err
	}
	if p.json {
		err = p.out.JSON(result)
	} else {
		result.Print(p.out)
	}
	if err == nil && !result.Passed {
		return errReported
	}
	return err
}

// benchPartCmd is one part of the benchmark. It ends when its standard input does.
type benchPartCmd struct {
	Serve    partServeCmd    `cmd:""`
	Sink     partSinkCmd     `cmd:""`
	Baseline partBaselineCmd `cmd:""`
	Claim    partClaimCmd    `cmd:""`
}

// partDatabase is set by the program that starts a part, in its environment.
type partDatabase struct {
	Database patchbay.Secret `name:"database" env:"PATCHBAY_BENCH_DATABASE"`
}

type partServeCmd struct {
	partDatabase
	Data       string `name:"data" required:""`
	KeyFile    string `name:"key-file"`
	CPUProfile string `name:"cpu-profile"`
}

// Run serves as serve does, on a free port, with loopback targets allowed.
func (c *partServeCmd) Run(p *program) error {
	ctx, cancel := bench.Orphaned(p.ctx, p.in)
	defer cancel()
	settings := config.Config{Listen: "127.0.0.1:0", Data: c.Data, Database: c.Database, KeyFile: c.KeyFile, LogFormat: "json", LogLevel: "error",
		EgressAllow: config.Networks{netip.MustParsePrefix("127.0.0.0/8")}}.WithDefaults()
	if c.CPUProfile != "" {
		f, err := os.Create(c.CPUProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var said error
	err := p.serve(ctx, settings, func(in Installation) {
		token, _ := in.AdminKey()
		said = bench.Say(p.out, bench.Hello{Addr: in.Addr(), Key: token})
	})
	if err == nil {
		err = said
	}
	return err
}

type partSinkCmd struct{}

// Run receives.
func (c *partSinkCmd) Run(p *program) error {
	sink, err := bench.NewSink(p.ctx)
	if err != nil {
		return err
	}
	defer sink.Close()
	return p.untilOrphaned(bench.Hello{Addr: sink.Addr()})
}

type partBaselineCmd struct {
	To        []string `name:"to" required:""`
	GCPercent int      `name:"gc-percent" default:"100"`
}

// Run forwards.
func (c *partBaselineCmd) Run(p *program) error {
	baseline, err := bench.NewBaseline(p.ctx, c.To, c.GCPercent)
	if err != nil {
		return err
	}
	defer baseline.Close()
	return p.untilOrphaned(bench.Hello{Addr: baseline.Addr()})
}

type partClaimCmd struct {
	partDatabase
	Data string `name:"data" required:""`
}

// Run reads what is due in a store that nobody else has open.
func (c *partClaimCmd) Run(p *program) error {
	s, err := p.build.OpenStore(p.ctx, config.Config{Data: c.Data, Database: c.Database}.WithDefaults())
	if err != nil {
		return err
	}
	claimed, err := bench.Claim(p.ctx, s)
	if closed := s.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return p.untilOrphaned(bench.Hello{Claim: claimed})
}

func (p *program) untilOrphaned(h bench.Hello) error {
	ctx, cancel := bench.Orphaned(p.ctx, p.in)
	defer cancel()
	if err := bench.Say(p.out, h); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
