package app

import "log/slog"

// Log returns the log that services write to.
func (a *App) Log() *slog.Logger { return a.log }
