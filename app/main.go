package app

import (
	"context"
	"io"
	"log/slog"

	"github.com/patchbay/patchbay/internal/cli"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/obs"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// Main is the whole program: it reads the command line, runs the command and ends the process. A build with
// integrations of its own is a main function that calls it. Of o, Integrations, Version and the clocks count; the rest
// comes from flags, environment and patchbay.yaml.
func Main(o Options) {
	cli.Main(cli.Build{
		Version:      o.Version,
		Integrations: o.Integrations,
		New: func(c config.Config, log *slog.Logger) (cli.Installation, error) {
			o := o
			o.Config, o.Log = c, log
			return New(o)
		},
		Logger: func(w io.Writer, c config.Config) (*slog.Logger, error) {
			return obs.NewLogger(w, obs.LogOptions{Format: c.LogFormat, Level: c.LogLevel})
		},
		OpenStore: func(ctx context.Context, c config.Config) (store.Store, error) {
			return sqlite.Open(ctx, sqlite.Options{Dir: c.Data})
		},
	})
}
