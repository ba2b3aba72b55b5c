package slack

import (
	"net/url"
	"testing"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/integrationtest"
)

func TestReceiverContract(t *testing.T) {
	con := connected()
	con.Credentials = patchbay.Credentials{} // hooks see none
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	events := map[string]string{"Content-Type": "application/json"}
	message := eventOf(`{"type":"message","channel":"C0123456789","user":"U123ABC456","text":"Fixed *it* &amp; <https://x.test|that>","ts":"1355517523.000005"}`)
	integrationtest.RunReceiver(t, integrationtest.ReceiverCase{
		Integration: New(), Settings: `{"receive":"messages","entries":"messages"}`, Connection: con,
		Config:  `{"client_id":"1.2","client_secret":"the-clients-secret","signing_secret":"` + docSecret + `","previous_signing_secret":"the-older-secret"}`,
		Secrets: []string{"the-clients-secret", docSecret, "the-older-secret"},
		Calls: []integrationtest.ReceiverCall{
			{Name: "a message at the app's address", Header: events, App: true, Body: message},
			{Name: "a message at the link's", Header: events, Body: message},
			{Name: "a mention", Header: events, App: true, Body: eventOf(`{"type":"app_mention","channel":"C0123456789","user":"U123ABC456","text":"<@U0KRQLJ9H> hi","ts":"1.000005"}`)},
			{Name: "a change", Header: events, App: true, Ignored: true, Body: eventOf(`{"type":"message","subtype":"message_changed","channel":"C0123456789"}`)},
			{Name: "a challenge", Header: events, App: true, Done: true, Body: `{"type":"url_verification","challenge":"3eZbrw1a"}`},
			{Name: "a command", Header: form, App: true, Body: commandOf()},
			{Name: "a button", Header: form, App: true, Body: "payload=" + url.QueryEscape(buttonJSON)},
			{Name: "the end", Header: events, App: true, Body: eventOf(`{"type":"app_uninstalled"}`)},
		},
	})
}
