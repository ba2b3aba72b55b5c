package cli

import (
	"context"
	"time"

	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/demo"
)

// plainWidth is how wide the demo's lines are where nobody looks at a terminal, such as in a recording.
const plainWidth = 110

type demoCmd struct {
	For    time.Duration `name:"for" placeholder:"30s" help:"End after so long. Default: at Ctrl-C."`
	Speed  float64       `name:"speed" default:"1" help:"How much faster than usual events come."`
	Plain  bool          `name:"plain" help:"No colours, and lines of one width, whatever the terminal."`
	Listen string        `name:"listen" placeholder:"HOST:PORT" help:"Address to serve on. Default: ${default_listen}, or a free port when that is taken."`
	Data   string        `name:"data" placeholder:"DIR" help:"Keep the data there. Default: a temporary directory that is removed at the end."`
	Seed   uint64        `name:"seed" help:"Play the same events again."`
}

// Run runs the demo.
func (c *demoCmd) Run(p *program) error {
	if c.Speed <= 0 || c.Speed > 100 {
		return usagef("--speed %g: write a number above 0, at most 100", c.Speed)
	}
	out := *p.out
	if c.Plain {
		out.Color, out.Terminal = false, false
	}
	if !out.Terminal {
		out.Width = plainWidth
	}
	return demo.Run(p.ctx, demo.Options{
		Console: &out, Start: p.startQuietly, Listen: c.Listen, Data: c.Data, For: c.For, Speed: c.Speed, Seed: c.Seed,
	})
}

// startQuietly starts an installation whose log is not seen but for errors.
func (p *program) startQuietly(ctx context.Context, c config.Config) (string, func() error, error) {
	if err := c.Validate(); err != nil {
		return "", nil, usageError{err}
	}
	log, err := p.build.Logger(p.err.Writer(), c)
	if err != nil {
		return "", nil, err
	}
	in, err := p.build.New(c, log)
	if err != nil {
		return "", nil, err
	}
	if err := in.Start(ctx); err != nil {
		return "", nil, err
	}
	stop := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.WithDefaults().Grace)+stopMargin)
		defer cancel()
		return in.Stop(ctx)
	}
	return in.Addr(), stop, nil
}
