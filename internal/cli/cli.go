// Package cli is the command line: every subcommand of patchbay, over package client where an installation is running
// and over what a Build brings where one is started. It does not import package app, so that app.Main can offer the
// whole command line to programs with integrations of their own.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
	"github.com/patchbay/patchbay/internal/store"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Installation is a running Patchbay.
type Installation interface {
	// Start serves. It returns when requests are answered, or with the reason why not.
	Start(ctx context.Context) error
	// Addr is the address that it serves on.
	Addr() string
	// AdminKey returns the key that the first start made, and whether this was that start.
	AdminKey() (token string, created bool)
	// Database describes the database, without its secrets, and Node is the number of this node at it.
	Database() string
	Node() int
	// Fenced is closed when the other nodes took this one for dead: it must be stopped, and another one may be started
	// in its place. nil where there are no other nodes.
	Fenced() <-chan struct{}
	// Stop ends it in order; ctx bounds how long that takes.
	Stop(ctx context.Context) error
}

// Build is what this program was built with.
type Build struct {
	// Version is the program's.
	Version string
	// Integrations are those that it knows.
	Integrations []integration.Integration
	// New makes an installation that has not been started.
	New func(config.Config, *slog.Logger) (Installation, error)
	// Logger makes the log of a configuration.
	Logger func(w io.Writer, c config.Config) (*slog.Logger, error)
	// OpenStore opens the database of an installation that is not running.
	OpenStore func(context.Context, config.Config) (store.Store, error)
}

// Streams are where a program reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// root is the command line as kong reads it.
type root struct {
	Config configFlag `name:"config" env:"PATCHBAY_CONFIG" placeholder:"FILE" help:"Configuration file. Default: patchbay.yaml in this directory, when there is one."`

	Serve serveCmd `cmd:"" group:"run" help:"Run an installation."`
	Demo  demoCmd  `cmd:"" group:"run" help:"Run one with sample links, and events flowing."`

	Send   sendCmd   `cmd:"" group:"use" help:"Publish an event."`
	Tail   tailCmd   `cmd:"" group:"use" help:"Watch events and deliveries as they happen."`
	Listen listenCmd `cmd:"" group:"use" help:"Deliver matching events to a program on this machine."`

	Events       eventsCmd       `cmd:"" group:"look" help:"Look at events and their types; replay one."`
	Deliveries   deliveriesCmd   `cmd:"" group:"look" help:"Look at deliveries; retry or cancel one."`
	Hooks        hooksCmd        `cmd:"" group:"look" help:"Look at what partners sent; read it again."`
	Jobs         jobsCmd         `cmd:"" group:"look" help:"Retry, cancel, replay or recover many at once."`
	Links        linksCmd        `cmd:"" group:"look" help:"Look at links; make and change them."`
	Connections  connectionsCmd  `cmd:"" group:"look" help:"Look at accounts at partners; check and remove them."`
	Integrations integrationsCmd `cmd:"" group:"look" help:"Look at integrations; try settings out."`
	Keys         keysCmd         `cmd:"" group:"look" help:"API keys."`
	Audit        auditCmd        `cmd:"" group:"look" help:"Who changed what, when and from where."`
	Portal       portalCmd       `cmd:"" group:"look" help:"Pages for customers."`
	Sessions     sessionsCmd     `cmd:"" group:"look" help:"Browsers in which somebody is signed in; end a session."`
	Erase        eraseCmd        `cmd:"" group:"look" help:"Forget a tenant, or every event that says something."`
	Nodes        nodesCmd        `cmd:"" group:"look" help:"The processes that share the database, and what each holds."`
	Secrets      secretsCmd      `cmd:"" group:"look" help:"The keys that secrets in the database are sealed with; another one."`
	Stats        statsCmd        `cmd:"" group:"look" help:"How it went, and what is going on."`

	Catalog catalogCmd `cmd:"" group:"tool" help:"Check catalog files; write documentation."`
	Migrate migrateCmd `cmd:"" group:"tool" help:"Bring the database's tables up to date before the nodes of a new version start."`
	Backup  backupCmd  `cmd:"" group:"tool" help:"Copy the database into a file, also while it is in use."`
	Restore restoreCmd `cmd:"" group:"tool" help:"Make an installation of a backup."`
	Move    moveCmd    `cmd:"" group:"tool" help:"Move an installation from SQLite to PostgreSQL."`
	Doctor  doctorCmd  `cmd:"" group:"tool" help:"Check this machine, its configuration and a running installation."`
	Bench   benchCmd   `cmd:"" group:"tool" help:"Measure an installation beside a baseline in the same run."`
	Version versionCmd `cmd:"" group:"tool" help:"Print the version."`

	BenchPart benchPartCmd `cmd:"" name:"bench-part" hidden:""`
}

// program is what a command runs with.
type program struct {
	ctx   context.Context
	build Build
	in    io.Reader
	// out is for results, err for everything else.
	out, err *console.Console
	json     bool
	now      func() time.Time
	args     []string
	// file is the configuration file; nil before it was read.
	file *config.File
}

// Main runs the program with the process's arguments and ends the process.
func Main(b Build) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := Run(ctx, b, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

// exited is how kong's call of os.Exit comes back to Run.
type exited int

// Run runs one command and returns its exit code: 0, 1 when it failed, 2 when it was called wrongly.
func Run(ctx context.Context, b Build, args []string, s Streams) (code int) {
	p := &program{ctx: ctx, build: b, in: s.In, out: console.New(s.Out), err: console.New(s.Err), now: time.Now, args: args}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case exited:
			code = int(e)
		default:
			panic(e)
		}
	}()
	commands := &root{}
	parser, err := newParser(commands, p, s)
	if err != nil {
		p.err.Printf("patchbay: %v\n", err)
		return exitFailed
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return p.usage(err)
	}
	if err := parsed.Run(p); err != nil {
		return p.fail(err)
	}
	return exitOK
}

func newParser(commands *root, p *program, s Streams) (*kong.Kong, error) {
	return kong.New(commands,
		kong.Name("patchbay"),
		kong.Description("Patchbay gets what happens in your product to every tool its customers use."),
		kong.Vars(config.Vars()),
		kong.Bind(p),
		kong.Writers(s.Out, s.Err),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "run", Title: "Run:"}, {Key: "use", Title: "Use a running installation:"},
			{Key: "look", Title: "Look and change:"}, {Key: "tool", Title: "Tools:"},
		}),
	)
}

// usage reports a command line that cannot be read.
func (p *program) usage(err error) int {
	p.err.Printf("%s %v\n", p.err.Paint(console.Red, "patchbay:"), err)
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		path := "patchbay"
		if selected := parse.Context.Selected(); selected != nil {
			if up := selected.Parent; up != nil && up.DefaultCmd == selected && !slices.Contains(p.args, selected.Name) {
				selected = up // in "links update" nobody asked for "links list"
			}
			path = selected.FullPath()
		}
		p.err.Printf("Run \"%s --help\" to see how it is used.\n", path)
	}
	return exitUsage
}

// usageError is a mistake in how a command was called that kong cannot see.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// fail reports what went wrong, with what can be done about it.
func (p *program) fail(err error) int {
	var wrong usageError
	if errors.As(err, &wrong) {
		return p.usage(wrong.error)
	}
	if errors.Is(err, errReported) {
		return exitFailed
	}
	p.err.Printf("%s %v\n", p.err.Paint(console.Red, "patchbay:"), err)
	var answer *client.Error
	var unreachable *client.UnreachableError
	switch {
	case errors.As(err, &answer):
		p.details(answer)
	case errors.As(err, &unreachable):
		p.err.Printf("Is it running? \"patchbay serve\" starts one; --server or PATCHBAY_SERVER says where another one is.\n")
	}
	return exitFailed
}

// errReported ends a command with exit code 1 when it has said already what is wrong.
var errReported = errors.New("reported")

func (p *program) details(answer *client.Error) {
	for _, d := range answer.Details {
		if !strings.Contains(answer.Message, d.Message) {
			p.err.Printf("  %s: %s\n", d.Path, d.Message)
		}
	}
	switch answer.Code {
	case patchbay.CodeUnauthorized:
		p.err.Printf("Give an API key with --key or PATCHBAY_KEY; the first start of an installation prints its admin key.\n")
	case patchbay.CodeInvalidRequest:
		if answer.ResponseBody != "" {
			p.err.Printf("  the partner answered %d: %s\n", answer.ResponseCode, console.Clip(console.Line(answer.ResponseBody), 300))
		}
	}
}

// configFlag names the configuration file. The file is read for every command, so that a mistake in it is found by the
// first one.
type configFlag string

// BeforeResolve gives kong the configuration file's values.
func (r *root) BeforeResolve(ctx *kong.Context, p *program) error {
	path := ""
	for _, flag := range ctx.Flags() {
		if flag.Name == "config" {
			path = string(ctx.FlagValue(flag).(configFlag))
		}
	}
	file, err := config.ReadFile(path)
	if err != nil {
		return err
	}
	p.file = file
	ctx.AddResolver(resolver{file})
	return nil
}

// resolver is a configuration file as kong asks it. Flags win by kong's own rule; that the environment wins over the
// file is this type's.
type resolver struct{ file *config.File }

// Validate implements kong.Resolver. The file has been checked when it was read.
func (resolver) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (r resolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if len(flag.Envs) == 0 {
		return nil, nil // not a setting but an argument of one command
	}
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	return r.file.Value(flag.Name), nil
}
