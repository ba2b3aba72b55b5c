package reference

import (
	"context"
	"fmt"

	"github.com/patchbay/patchbay/integration"
)

// Webhook is the request of a webhook, in each format that there is.
type Webhook struct {
	Part
	Formats []Format
}

// Format is one form of the request.
type Format struct {
	// Key is the value of the setting format, Title says what it is.
	Key, Title  string
	Method, URL string
	Header      integration.Header
	Body        []byte
}

func showWebhook(ctx context.Context, a *attempt) *Webhook {
	w := &Webhook{Part: a.part()}
	if w.Skipped {
		return w
	}
	for i := range a.def.Settings {
		s := &a.def.Settings[i]
		if s.Key != "format" {
			continue
		}
		for _, o := range s.Options {
			x, err := a.sent(ctx, fmt.Sprintf(webhookSettings, o.Value), true)
			if err != nil {
				w.Trouble = err.Error()
				return w
			}
			w.Formats = append(w.Formats, Format{Key: o.Value, Title: o.Title, Method: x.Method, URL: x.URL, Header: x.Header, Body: x.Body})
		}
	}
	return w
}
