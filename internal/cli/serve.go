package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
)

// stopMargin is what a stop may take beyond its grace, to write down what was not sent.
const stopMargin = 10 * time.Second

// startPause is the pause before a start that failed is tried again; it doubles up to startPauseMost.
const (
	startPause     = time.Second
	startPauseMost = 10 * time.Second
)

type serveCmd struct{ config.Config }

// Run runs an installation until it is told to stop.
func (c *serveCmd) Run(p *program) error {
	if err := c.Validate(); err != nil {
		return usageError{err}
	}
	c.From = config.FindOrigins(p.args, os.LookupEnv, p.file)
	return p.serve(p.ctx, c.WithDefaults(), func(in Installation) { p.banner(c.WithDefaults(), in) })
}

// serve starts an installation, calls started, and stops it when ctx is done. One that the other nodes took for dead is
// stopped and started anew.
func (p *program) serve(ctx context.Context, c config.Config, started func(Installation)) error {
	log, err := p.build.Logger(p.err.Writer(), c)
	if err != nil {
		return usageError{err}
	}
	in, err := p.begin(ctx, c, log)
	if err != nil {
		return err
	}
	started(in)
	systemd := &manager{log: log}
	systemd.ready(ctx, in.Addr())
	for {
		select {
		case <-ctx.Done():
			defer systemd.stopping()()
			if err := p.end(ctx, c, in); err != nil {
				return fmt.Errorf("the stop was not in order; nothing accepted is lost, the next start goes on: %w", err)
			}
			return nil
		case <-in.Fenced():
		}
		log.Warn("stopping without writing, to start anew as another node", "node", in.Node())
		c.Listen = in.Addr() // the same one, also when it was to be any free one
		systemd.again("")
		if err := p.end(ctx, c, in); err != nil {
			log.Warn("the stop was not in order; nothing accepted is lost", "error", err)
		}
		if in, err = p.beginAgain(ctx, c, log); err != nil {
			systemd.stopping()()
			return nil // told to stop before there was anything to stop
		}
		systemd.again(in.Addr())
		log.Info("started anew", "node", in.Node())
	}
}

func (p *program) begin(ctx context.Context, c config.Config, log *slog.Logger) (Installation, error) {
	in, err := p.build.New(c, log)
	if err != nil {
		return nil, err
	}
	return in, in.Start(ctx)
}

// beginAgain tries until it works. The only error is ctx's.
func (p *program) beginAgain(ctx context.Context, c config.Config, log *slog.Logger) (Installation, error) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for pause := startPause; ; pause = min(2*pause, startPauseMost) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		in, err := p.begin(ctx, c, log)
		if err == nil {
			return in, nil
		}
		log.Error("it could not be started anew; trying again", "error", err)
		timer.Reset(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
}

// end stops an installation, also when ctx is done.
func (p *program) end(ctx context.Context, c config.Config, in Installation) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(c.Grace)+stopMargin)
	defer cancel()
	return in.Stop(ctx)
}

// banner says where the installation is reached.
func (p *program) banner(c config.Config, in Installation) {
	base := "http://" + in.Addr()
	p.out.Printf("%s %s serves on %s\n", p.out.Paint(console.Bold, "Patchbay"), p.build.Version, p.out.Paint(console.Cyan, base))
	p.field("events", "POST "+base+"/events")
	p.field("docs", base+"/docs")
	p.field("data", c.Data)
	if c.PostgreSQL() {
		p.field("database", in.Database())
		p.field("node", strconv.Itoa(in.Node()))
	}
	if c.Dev {
		p.field("mode", "development: no credentials are needed, this machine only")
	}
	if token, created := in.AdminKey(); created {
		p.field("admin key", p.out.Paint(console.Yellow, token))
		p.field("", "shown this once; it is also in "+config.AdminKeyFile(c.Data))
	}
}

type versionCmd struct{ jsonFlag }

// Run prints the version.
func (c *versionCmd) Run(p *program) error {
	if p.json {
		return p.out.JSON(map[string]string{"version": p.build.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
	}
	p.out.Printf("patchbay %s (%s, %s/%s)\n", p.build.Version, strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS, runtime.GOARCH)
	return nil
}
