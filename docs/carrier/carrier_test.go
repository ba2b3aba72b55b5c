package carrier_test

import (
	"testing"

	"github.com/patchbay/patchbay/docs/carrier"
	"github.com/patchbay/patchbay/integration/integrationtest"
)

func TestContract(t *testing.T) {
	integrationtest.Run(t, integrationtest.Case{
		Integration: carrier.New(),
		Settings:    `{"url": "{{URL}}/notes", "token": "ring-1234567890"}`,
		Secrets:     []string{"ring-1234567890"},
	})
}

func TestHooks(t *testing.T) {
	integrationtest.RunReceiver(t, integrationtest.ReceiverCase{
		Integration: carrier.New(), HookSecret: "seeds-1234567890",
		Settings: `{"url": "https://loft.example.com/notes", "token": "ring-1234567890"}`,
		Secrets:  []string{"ring-1234567890"},
		Calls:    []integrationtest.ReceiverCall{{Body: `{"note": "Send more seeds"}`}, {Name: "none", Body: `{}`, Ignored: true}},
	})
}
