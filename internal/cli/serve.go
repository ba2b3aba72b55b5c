package cli

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
)

// stopMargin is what a stop may take beyond its grace, to write down what was not sent.
const stopMargin = 10 * time.Second

type serveCmd struct{ config.Config }

// Run runs an installation until it is told to stop.
func (c *serveCmd) Run(p *program) error {
	if err := c.Validate(); err != nil {
		return usageError{err}
	}
	return p.serve(p.ctx, c.WithDefaults(), func(in Installation) { p.banner(c.WithDefaults(), in) })
}

// serve starts an installation, calls started, and stops it when ctx is done.
func (p *program) serve(ctx context.Context, c config.Config, started func(Installation)) error {
	log, err := p.build.Logger(p.err.Writer(), c)
	if err != nil {
		return usageError{err}
	}
	in, err := p.build.New(c, log)
	if err != nil {
		return err
	}
	if err := in.Start(ctx); err != nil {
		return err
	}
	started(in)
	<-ctx.Done()
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(c.Grace)+stopMargin)
	defer cancel()
	if err := in.Stop(stopCtx); err != nil {
		return fmt.Errorf("the stop was not in order; nothing accepted is lost, the next start goes on: %w", err)
	}
	return nil
}

// banner says where the installation is reached.
func (p *program) banner(c config.Config, in Installation) {
	base := "http://" + in.Addr()
	p.out.Printf("%s %s serves on %s\n", p.out.Paint(console.Bold, "Patchbay"), p.build.Version, p.out.Paint(console.Cyan, base))
	p.field("events", "POST "+base+"/events")
	p.field("docs", base+"/docs")
	p.field("data", c.Data)
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
