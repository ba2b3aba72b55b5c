package connect

import (
	"context"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
)

// changeOf is what is written down of a change of a connection.
func changeOf(action string, con *patchbay.Connection, fields ...access.Field) access.Change {
	title := con.Name
	if title == "" {
		title = accountName(&con.Account)
	}
	return access.Change{Action: action, Object: con.ID.String(), Title: con.Integration + ": " + title, Scope: con.Scope, Fields: fields}
}

// connectedChange is what is written down when somebody has connected an account. before is nil when it was not known.
func connectedChange(before, con *patchbay.Connection) access.Change {
	if before == nil {
		return changeOf("connection.connected", con, compared(&patchbay.Connection{}, con)...)
	}
	return changeOf("connection.reconnected", con, compared(before, con)...)
}

// compared says what of a connection became something else, but for its credentials.
func compared(before, con *patchbay.Connection) []access.Field {
	fields := func(c *patchbay.Connection) any {
		return struct {
			Integration string                   `json:"integration"`
			Account     string                   `json:"account"`
			Scope       patchbay.Scope           `json:"scope"`
			Owner       string                   `json:"owner"`
			OwnerScope  *patchbay.Scope          `json:"owner_scope"`
			Name        string                   `json:"name"`
			Visible     bool                     `json:"visible"`
			Grants      []string                 `json:"grants"`
			State       patchbay.ConnectionState `json:"state"`
			StateReason string                   `json:"state_reason"`
		}{c.Integration, accountName(&c.Account), c.Scope, c.Owner, c.OwnerScope, c.Name, c.Visible, c.Grants, c.State, c.StateReason}
	}
	return access.Compare(fields(before), fields(con))
}

// expired returns a context with which it is written down that a connection needs its owner from now on, if that is so: it is
// Patchbay itself that has found out, whoever asked.
func expired(ctx context.Context, before, con *patchbay.Connection) context.Context {
	if con.State != patchbay.ConnectionNeedsReauth || before.State == patchbay.ConnectionNeedsReauth {
		return ctx
	}
	return access.Audited(ctx, nil, changeOf("connection.expired", con, compared(before, con)...))
}
