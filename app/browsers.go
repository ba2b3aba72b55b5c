package app

import (
	"net"

	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/session"
)

// publicURL is where browsers and partners reach this installation: what the operator says, or, on a developer's machine
// without that, the very address that is served on. "" when nobody knows.
func (a *App) publicURL() string {
	if a.config.PublicURL != "" || !a.config.Dev {
		return a.config.PublicURL
	}
	host, port, err := net.SplitHostPort(a.Addr())
	if err != nil {
		return ""
	}
	return "http://" + net.JoinHostPort(host, port)
}

// openSessions lets browsers in.
func (a *App) openSessions(cell access.Cell) {
	a.sessions = session.New(session.Options{
		Store: a.store, Keys: a.keys, PublicURL: a.publicURL(), Development: a.config.Dev, Framed: len(a.config.PortalFrames) > 0, Now: a.o.Now, Cell: cell,
	})
}
