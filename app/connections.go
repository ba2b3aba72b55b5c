package app

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/connect"
	"github.com/patchbay/patchbay/internal/outbound"
)

// openConnections looks after accounts at partners. It comes before what uses them.
func (a *App) openConnections(client *outbound.Client, configs map[string]json.RawMessage, cell access.Cell) error {
	kept, ok := a.store.(connect.Store)
	if !ok {
		return errors.New("this database cannot keep connections")
	}
	a.connections = connect.New(connect.Options{
		Store: kept, Integrations: a.integrations, Configs: configs, Client: client, PublicURL: a.publicURL, Development: a.config.Dev,
		Links: uses{a}, Notify: a.needsReauth, Log: a.log, Now: a.o.Now, Random: a.o.RetryJitter, Cell: cell,
	})
	return nil
}

// runConnections reads the connections and has them refreshed ahead of time.
func (a *App) runConnections(ctx context.Context) error {
	if err := a.connections.Load(ctx); err != nil {
		return err
	}
	a.down.Push("the connections", a.connections.Stop)
	return a.connections.Start(ctx)
}

// needsReauth tells the world that a connection works again only after its owner's consent.
func (a *App) needsReauth(ctx context.Context, n connect.Notice) error {
	return a.ingest.NeedsReauth(ctx, n.Connection, n.Integration, n.Reason, n.Links)
}

// uses says which links use connections. The links come after the connections, which they need.
type uses struct{ app *App }

// UsedBy implements connect.Links.
func (u uses) UsedBy(ids []patchbay.ConnectionID) map[patchbay.ConnectionID][]connect.Use {
	out := make(map[patchbay.ConnectionID][]connect.Use, len(ids))
	for _, id := range ids {
		for _, l := range u.app.links.UsedBy(id) {
			out[id] = append(out[id], connect.Use{Link: l.Link, Scope: l.Scope, Name: l.Name})
		}
	}
	return out
}
