// Package carrier is the integration that docs/add-an-integration.md builds, whole: copy it to begin your own. It posts
// the text of each event to a loft, where a pigeon takes over.
package carrier

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

// Carrier is the integration.
type Carrier struct{}

// New returns the integration.
func New() *Carrier { return &Carrier{} }

// docs is the integration's page.
//
//go:embed docs.md
var docs string

// settings are a link's settings.
type settings struct {
	URL   string             `json:"url"`
	Token integration.Secret `json:"token"`
}

// Definition declares the integration.
func (*Carrier) Definition() *integration.Definition {
	return &integration.Definition{
		Key: "carrier", Title: "Carrier pigeon", Category: "chat",
		Description: "Sends each event by pigeon.", Docs: docs,
		Settings: integration.Spec{
			{Key: "url", Title: "Loft", Type: integration.TypeURL, Required: true, Target: true,
				Example: "https://loft.example.com/notes"},
			{Key: "token", Title: "Ring number", Type: integration.TypeString, Required: true, Secret: true,
				Help: "It stands on the pigeon's left leg."},
		},
		Decode: integration.Into[settings],
		Types:  types,
	}
}

// Send makes one attempt.
func (*Carrier) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	s := d.Settings.(*settings)
	body := []byte(d.Body) // of a link that has an expression for it
	if body == nil {
		m, err := d.Message()
		if err != nil {
			return integration.Unrenderable(err)
		}
		note := map[string]string{"title": m.Title, "note": markup.Text(m.Text)}
		if body, err = json.Marshal(note); err != nil {
			return integration.Unrenderable(err)
		}
	}
	resp, err := d.Env.HTTP.Do(ctx, &integration.Request{
		Method: "POST", URL: s.URL, Body: body,
		Header: integration.Header{
			{Name: "Content-Type", Value: "application/json"},
			{Name: "Authorization", Value: "Bearer " + s.Token.Reveal()},
		},
	})
	if err != nil {
		return integration.Unreachable("the loft", err)
	}
	return integration.Classify("the loft", resp)
}
