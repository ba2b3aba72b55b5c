package carrier

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/signature"
)

// types are what pigeons bring.
var types = []patchbay.EventType{{
	Key: "carrier.landed", Title: "Pigeon landed", Description: "A pigeon has brought a note.",
	Schema:  []byte(`{"type": "object", "required": ["note"]}`),
	Example: []byte(`{"note": "Send more seeds"}`),
}}

// Verification says how a call is signed: with the link's own hook secret.
func (*Carrier) Verification(c *integration.HookCall) integration.Verification {
	return integration.Verification{Scheme: signature.GitHub(), Secrets: c.Secrets}
}

// Open reads as much as the answer needs; the key tells a call that is sent again.
func (*Carrier) Open(c *integration.HookCall) (*integration.Envelope, error) {
	return &integration.Envelope{Key: c.Header.Get("X-Flight"), Type: "landed"}, nil
}

// Read makes events. It may run again, and says the same again.
func (*Carrier) Read(_ context.Context, c *integration.HookCall) (*integration.Reading, error) {
	var note struct {
		Note string `json:"note"`
	}
	if err := json.Unmarshal(c.Body, &note); err != nil {
		return nil, errors.New("it is no note")
	}
	if note.Note == "" {
		return &integration.Reading{Ignored: "The pigeon has brought no note."}, nil
	}
	payload, err := json.Marshal(note)
	if err != nil {
		return nil, err
	}
	return &integration.Reading{Events: []integration.Inbound{{Type: "carrier.landed", Payload: payload}}}, nil
}
