package app

import (
	"strings"

	"github.com/patchbay/patchbay/internal/audit"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/web"
)

// pages makes what people see in a browser.
func (a *App) pages() (*web.Site, error) {
	o := web.Options{
		Links: a.links, Catalog: a.catalog, Sessions: a.sessions, Integrations: a.o.Integrations, Kinds: links.Kinds(a.config.ScopeKinds),
		Theme:          web.Theme{Name: a.config.PortalName, Accent: a.config.PortalAccent, Logo: a.config.PortalLogo},
		FrameAncestors: a.config.PortalFrames, Secure: strings.HasPrefix(a.publicURL(), "https://"), Log: a.log, Now: a.o.Now,
		Stats: a.stats, Nodes: a.nodes(), Sealer: a.sealer, Audit: audit.New(a.store),
	}
	o.Keys, o.SignedIn, o.Installation, o.Sealing = a.keys, a.sessions, installation{a}, a.sealing
	if a.signOn != nil {
		o.SignOn, o.SignOnName = a.signOn, a.config.OIDCName
	}
	if a.jobs != nil {
		o.Jobs = a.jobs
	}
	if a.connections != nil {
		o.Connections = a.connections
	}
	if a.hooks != nil {
		o.Hooks = a.hooks
	}
	deliveries := deliver.NewService(a.engine, a.links.Revision)
	o.Events, o.Outcomes, o.Deliveries, o.Stream = a.ingest, deliveries, deliveries, a.hub
	o.Playground, o.Backlogs = a.ingest, deliveries
	o.Inbox = deliver.NewService(a.engine, a.links.Revision)
	return web.New(o)
}
