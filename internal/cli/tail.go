package cli

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
	"github.com/patchbay/patchbay/internal/live"
)

// reconnectAfter is the pause before a broken stream is opened again.
const reconnectAfter = time.Second

type tailCmd struct {
	connection
	Events      []string        `name:"events" placeholder:"PATTERN" help:"Only these event types; * stands for any run of characters. Can be repeated."`
	Scope       string          `name:"scope" help:"Only what lies at or below this scope."`
	Link        patchbay.LinkID `name:"link" placeholder:"lnk_…" help:"Only what goes over a link."`
	Integration string          `name:"integration" placeholder:"KEY" help:"Only what goes to an integration."`
	Kind        []string        `name:"kind" enum:"event,delivery,attempt" placeholder:"KIND" help:"Only these: event, delivery, attempt."`
}

// Run prints what happens.
func (c *tailCmd) Run(p *program) error {
	api, err := c.dial(p)
	if err != nil {
		return err
	}
	f := client.StreamFilter{Kinds: c.Kind, Link: c.Link, Integration: c.Integration}
	if f.Scope, err = scope(c.Scope); err != nil {
		return err
	}
	if f.Types, err = patterns(c.Events); err != nil {
		return err
	}
	narrator := live.Narrator{Console: p.out, Name: linkNames(p.ctx, api)}
	return p.watch(api, f, func(item client.Item) error {
		if p.json {
			return p.out.JSON(struct {
				Kind string          `json:"kind"`
				Data json.RawMessage `json:"data"`
			}{item.Kind, item.Data})
		}
		return narrator.Tell(item)
	})
}

// watch calls handle with every item until the program is told to end. A connection that breaks is opened again, so
// that an installation may be restarted meanwhile; one that cannot be opened at first is an error.
func (p *program) watch(api *client.Client, f client.StreamFilter, handle func(client.Item) error) error {
	stream, err := api.Stream(p.ctx, f)
	if err != nil {
		return err
	}
	p.err.Printf("%s\n", p.err.Paint(console.Dim, "Watching "+api.Server()+". Ctrl-C ends it."))
	for {
		err := follow(stream, handle)
		if p.ctx.Err() != nil {
			return nil //nolint:nilerr // the stream ended because the program was told to
		}
		var broken *client.UnreachableError
		if !errors.As(err, &broken) {
			return err
		}
		p.err.Printf("%s\n", p.err.Paint(console.Yellow, "The connection is lost ("+broken.Err.Error()+"); trying again."))
		if stream = p.reopen(api, f); stream == nil {
			return nil
		}
		p.err.Printf("%s\n", p.err.Paint(console.Dim, "Connected again. What happened meanwhile is not shown."))
	}
}

// follow handles items until one fails or the stream ends.
func follow(stream *client.Stream, handle func(client.Item) error) error {
	defer func() { _ = stream.Close() }() // it was only read
	for {
		item, err := stream.Next()
		if err != nil {
			return err
		}
		if err := handle(item); err != nil {
			return err
		}
	}
}

// reopen tries until it works; nil when the program is told to end.
func (p *program) reopen(api *client.Client, f client.StreamFilter) *client.Stream {
	tick := time.NewTicker(reconnectAfter)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return nil
		case <-tick.C:
			if stream, err := api.Stream(p.ctx, f); err == nil {
				return stream
			}
		}
	}
}

// linkNames names the links of deliveries. A link is asked for once; without the permission its identifier must do.
func linkNames(ctx context.Context, api *client.Client) func(*client.Delivery) string {
	known := map[patchbay.LinkID]string{}
	return func(d *client.Delivery) string {
		if d.Link == 0 {
			return "inline"
		}
		name, ok := known[d.Link]
		if !ok {
			if l, err := api.Link(ctx, d.Link); err == nil {
				name = l.Name
				if name == "" {
					name = l.ShortName
				}
			}
			known[d.Link] = name
		}
		return name
	}
}

// streamed decodes an event of a stream.
func streamed(item client.Item) (*patchbay.Event, error) {
	var e live.Accepted
	if err := json.Unmarshal(item.Data, &e); err != nil {
		return nil, err
	}
	return &e.Event, nil
}
