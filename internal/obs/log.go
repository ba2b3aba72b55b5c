// Package obs is how an installation is observed: the log that people and machines read, and the metrics that
// Prometheus scrapes. It knows nothing of what it measures; services call the methods of Metrics, and figures that
// are somebody's state are asked for when they are scraped.
package obs

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// LogOptions say how the log is written.
type LogOptions struct {
	// Format is "text" for people, "json" for machines, "auto" or "" for text on a terminal and JSON elsewhere.
	Format string
	// Level is "debug", "info", "warn" or "error"; "" is "info".
	Level string
}

// NewLogger returns a logger that writes to w. The error is a sentence about the option that is wrong.
func NewLogger(w io.Writer, o LogOptions) (*slog.Logger, error) {
	var level slog.Level
	if o.Level != "" {
		if err := level.UnmarshalText([]byte(o.Level)); err != nil {
			return nil, fmt.Errorf("the log level %q is not one of debug, info, warn and error", o.Level)
		}
	}
	tty := isTerminal(w)
	switch o.Format {
	case "", "auto":
		if !tty {
			return jsonLogger(w, level), nil
		}
	case "json":
		return jsonLogger(w, level), nil
	case "text":
	default:
		return nil, fmt.Errorf("the log format %q is not one of auto, text and json", o.Format)
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{
		Level: level, TimeFormat: time.TimeOnly, NoColor: !tty || os.Getenv("NO_COLOR") != "",
	})), nil
}

// jsonLogger writes times in UTC, as everything else does.
func jsonLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: utc}))
}

func utc(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		a.Value = slog.TimeValue(a.Value.Time().UTC())
	}
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
