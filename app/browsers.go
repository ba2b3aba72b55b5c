package app

import (
	"errors"
	"net"

	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/session"
	"github.com/patchbay/patchbay/internal/store"
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
func (a *App) openSessions(cell access.Cell) error {
	kept, ok := a.store.(interface {
		store.Sessions
		NewID(n int) int64
	})
	if !ok {
		return errors.New("this database cannot keep sessions")
	}
	a.sessions = session.New(session.Options{
		Store: kept, Keys: a.keys, PublicURL: a.publicURL(), Development: a.config.Dev, Frames: a.config.PortalFrames, Now: a.o.Now, Cell: cell,
		Theme: session.Theme{Name: a.config.PortalName, Accent: a.config.PortalAccent, Logo: a.config.PortalLogo},
	})
	return nil
}
