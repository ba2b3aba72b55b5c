package app

import (
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/patchbay/patchbay/internal/cli"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/obs"
)

// gcPercent trades memory for time: what lives in memory is small (some ten megabytes) and what is collected is
// large, so collecting at four times the live heap costs some 80 MB at full load and saves a twentieth of the time.
const gcPercent = 300

// Main runs the whole command line of Patchbay with the integrations in o, and ends the process. A program with
// integrations of its own is a main function that calls it.
func Main(o Options) {
	if o.Version == "" {
		o.Version = version()
	}
	cli.Main(cli.Build{
		Version:      o.Version,
		Integrations: o.Integrations,
		New: func(c config.Config, log *slog.Logger) (cli.Installation, error) {
			o := o
			o.Config, o.Log = c, log
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			return New(o)
		},
		Logger: func(w io.Writer, c config.Config) (*slog.Logger, error) {
			return obs.NewLogger(w, obs.LogOptions{Format: c.LogFormat, Level: c.LogLevel})
		},
		OpenStore: openForTools,
	})
}

// version is what the build knows of itself: a release's tag, or "dev".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}
