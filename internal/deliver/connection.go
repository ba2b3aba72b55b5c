package deliver

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/outbound"
)

const (
	// refusedPause is the pause before a delivery is sent again whose credentials the partner did not take: by then they
	// are new ones, if there are any.
	refusedPause = time.Second
	// refusedMost bounds how many deliveries of one link are remembered as refused.
	refusedMost = 4096
	// redactorsMost bounds how many connections' redactors are kept.
	redactorsMost = 10_000
)

// connection returns the connection that a call's link uses; nil and a Result when it has one that cannot be used.
func (e *Engine) connection(ctx context.Context, c *Call) (*integration.Connected, *integration.Result) {
	id := c.Link.Connection
	if id == 0 {
		return nil, nil
	}
	if e.o.Connections == nil {
		r := integration.Expired("this installation has no connections, and the link needs one")
		return nil, &r
	}
	if c.Preview {
		return e.redacted(c.Link), nil
	}
	con, err := e.o.Connections.Use(ctx, id, c.Link.Scope)
	if err == nil {
		return con, nil
	}
	var said *patchbay.Error
	r := integration.Retry("the link's connection could not be used")
	switch {
	case !errors.As(err, &said):
		e.log.Error("a connection could not be used", "connection", id, "link", c.Link.ID, "error", err)
	case said.Code == patchbay.CodeUserConfigurationError || said.Code == patchbay.CodeNotFound:
		r = integration.Expired("%s", said.Message)
	default:
		r = integration.Retry("%s", said.Message)
	}
	return nil, &r
}

// redacted is a link's connection as previews show it: everything but its credentials.
func (e *Engine) redacted(l *Link) *integration.Connected {
	hidden := patchbay.Secret(patchbay.Redacted)
	out := &integration.Connected{ID: l.Connection, Credentials: patchbay.Credentials{
		Access: hidden, Refresh: hidden, TokenSecret: hidden, Type: "Bearer", Extra: map[string]patchbay.Secret{},
	}}
	if con, ok := e.o.Connections.Known(l.Connection); ok {
		out.Account, out.Grants, out.Data = con.Account, con.Grants, con.Data
	}
	if connector, ok := l.Sender.(integration.Connector); ok {
		if how, err := connector.Connect(l.Config); err == nil {
			for i := range how.Keys {
				if how.Keys[i].Secret {
					out.Credentials.Extra[how.Keys[i].Key] = hidden
				}
			}
		}
	}
	return out
}

// redactors keeps what hides the credentials of connections from attempt to attempt: making one costs more than using it.
type redactors struct {
	mu   sync.Mutex
	made map[patchbay.ConnectionID]kept
}

type kept struct {
	secrets  []string
	redactor *outbound.Redactor
}

func (r *redactors) hiding(con *integration.Connected) *outbound.Redactor {
	secrets := con.Credentials.Secrets()
	slices.Sort(secrets) // some come out of a map
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.made[con.ID]; ok && slices.Equal(k.secrets, secrets) {
		return k.redactor
	}
	if r.made == nil || len(r.made) >= redactorsMost {
		r.made = map[patchbay.ConnectionID]kept{}
	}
	k := kept{secrets, outbound.NewRedactor(secrets)}
	r.made[con.ID] = k
	return k.redactor
}

// forgive reports whether a delivery whose credentials the partner did not take is sent again without using up an attempt:
// once in a row. What a node knows of that does not outlive it, so a restart may forgive once more.
func (e *Engine) forgive(it *item) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := it.lane
	if _, again := l.refused[it.delivery]; again || len(l.refused) >= refusedMost {
		return false
	}
	if l.refused == nil {
		l.refused = map[patchbay.DeliveryID]struct{}{}
	}
	l.refused[it.delivery] = struct{}{}
	return true
}
