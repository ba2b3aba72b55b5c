// Package inbox keeps what it is sent and shows it, so that trying Patchbay needs no account anywhere.
package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

// Key names the integration in the API.
const Key = "inbox"

// DefaultName is the inbox of links that do not name one.
const DefaultName = "inbox"

// maxName bounds the name of an inbox, which stands in every record.
const maxName = 64

// Inbox is the integration.
type Inbox struct{}

// New returns the integration.
func New() *Inbox { return &Inbox{} }

// Settings are a link's settings.
type Settings struct {
	Name string `json:"name"`
}

// Definition declares the integration.
func (*Inbox) Definition() *integration.Definition {
	return &integration.Definition{
		Key:         Key,
		Title:       "Inbox",
		Category:    "built-in",
		Description: "Keeps each message here, so that you can see what would be sent. It needs no account anywhere.",
		Docs:        docs,
		Settings: integration.Spec{{
			Key: "name", Title: "Name", Type: integration.TypeString, Default: DefaultName, Example: "deploys", Check: checkName,
			Help: "Tells one inbox from another where messages are shown.",
		}},
		Decode: integration.Into[Settings],
	}
}

const docs = `# Inbox

Keeps each message in Patchbay itself and shows it: what an event reads like before any partner's own format. Use it to
try links, patterns and filters, and to see what a template makes of an event, without an account anywhere.

## Settings

| setting | |
|---|---|
| ` + "`name`" + ` | Tells one inbox from another. Default ` + "`inbox`" + `. |

## What arrives

Nothing leaves the installation. Each delivery succeeds, and its attempt shows the message as JSON for the answer: title,
text, severity, fields, links, actor, thread and status. A link with a body expression of its own keeps that instead.
It is kept as long as the answers of attempts are (seven days unless configured otherwise), and up to 8 KiB of it.
`

// ShortName implements integration.Summarizer.
func (*Inbox) ShortName(settings any) string { return "Inbox " + settings.(*Settings).Name }

// Destination implements integration.Summarizer.
func (*Inbox) Destination(settings any) string { return settings.(*Settings).Name }

// Send keeps the message.
func (*Inbox) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	if err := ctx.Err(); err != nil {
		return integration.Retry("the message was not kept: %v", err)
	}
	kept := d.Body
	if kept == nil {
		message, err := d.Message()
		if err != nil {
			return integration.Unrenderable(err)
		}
		if kept, err = json.Marshal(message); err != nil {
			return integration.Unrenderable(err)
		}
	}
	x := integration.Exchange{Method: "KEEP", URL: "inbox:" + d.Settings.(*Settings).Name}
	if d.Preview {
		x.Body = kept
		d.Env.Record(x)
		return integration.Unreachable("the inbox", integration.ErrPreview)
	}
	x.ResponseCode, x.ResponseBody = 200, kept
	d.Env.Record(x)
	r := integration.Delivered()
	r.Code, r.Body = x.ResponseCode, kept
	return r
}

func checkName(v any) error {
	name := v.(string)
	if len(name) > maxName {
		return errors.New("may be at most 64 bytes long")
	}
	if strings.ContainsAny(name, " \t?#/:@") {
		return errors.New("must be one word without spaces and / ? # : @")
	}
	return nil
}
