package github

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/signature"
)

// The headers of GitHub's calls.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
const headerEvent = "X-GitHub-Event"

// eventAuthorization comes to every GitHub App when a person no longer lets it act for them; the person is the sender.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#github_app_authorization
const eventAuthorization = "github_app_authorization"

// formType is the content type of webhooks that somebody set to application/x-www-form-urlencoded.
const formType = "application/x-www-form-urlencoded"

// Verification says that calls are signed: at a link's address with the link's secret, at our own with that of the
// operator's GitHub App.
func (*GitHub) Verification(c *integration.HookCall) integration.Verification {
	v := integration.Verification{Scheme: signature.GitHub(), Secrets: c.Secrets}
	if c.Link == 0 {
		v.Secrets = nil
		if config, err := readConfig(c.Config); err == nil && config.WebhookSecret != "" {
			v.Secrets = []integration.Secret{config.WebhookSecret}
		}
	}
	return v
}

// Open reads the headers, and at our own address whose repository it is about. X-GitHub-Delivery is no identifier for us: the
// signature covers the body alone and holds forever, so whoever got hold of a call could send it again and again under
// other ones. GitHub's own redeliveries have the same body, and bodies of two deliveries differ in times and identifiers.
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func (*GitHub) Open(c *integration.HookCall) (*integration.Envelope, error) {
	e := &integration.Envelope{Type: c.Header.Get(headerEvent)}
	switch {
	case e.Type == "":
		return nil, fmt.Errorf("the call has no %s: it is not one of GitHub's", headerEvent)
	case e.Type == "ping": // https://docs.github.com/en/webhooks/webhook-events-and-payloads#ping
		e.Done = true
		return e, nil
	case c.Link != 0:
		return e, nil
	}
	_, p, err := readPayload(c)
	if err != nil {
		return nil, err
	}
	config, err := readConfig(c.Config)
	if err != nil {
		return nil, err
	}
	e.Account = accountID(config.APIURL, p.owner())
	if e.Type == eventAuthorization {
		e.Account = accountID(config.APIURL, p.Sender.ID)
	}
	return e, nil
}

// Read makes one event of a call, with the entries that it tells.
func (*GitHub) Read(_ context.Context, c *integration.HookCall) (*integration.Reading, error) {
	event := c.Header.Get(headerEvent)
	s, ok := c.Settings.(*Settings)
	if !ok {
		return nil, errors.New("a call can be read only for a link")
	}
	if event == eventAuthorization {
		return &integration.Reading{Ignored: "somebody has withdrawn what they had let the app do", Ended: true}, nil
	}
	if !s.takes(event) {
		return &integration.Reading{Ignored: fmt.Sprintf("%.64q is not among what this link receives", event)}, nil
	}
	raw, p, err := readPayload(c)
	if err != nil {
		return nil, err
	}
	// The address of the app gets what happens in all repositories in which it is installed.
	if throughApp(c, p) && (s.Hook != hookApp || !strings.EqualFold(p.Repository.FullName, s.Repository)) {
		return &integration.Reading{Ignored: "the link is for another repository, or has a webhook of its own there"}, nil
	}
	config, err := readConfig(c.Config)
	if err != nil {
		return nil, err
	}
	r := &reader{call: c, event: event, p: p, s: s, base: baseURL(config, s, c.Connection), app: config.ClientID}
	in := integration.Inbound{
		Type: Key + "." + event, Payload: bytes.Clone(raw), Actor: r.person(&p.Sender), OccurredAt: r.occurredAt(), Own: r.own(),
	}
	if !in.Own {
		in.Entries = r.entries()
	}
	return &integration.Reading{Events: []integration.Inbound{in}}, nil
}

// throughApp reports whether a GitHub App's webhook made the call, rather than a repository's or an organization's: only
// those say in the body, which is signed, through which installation they come. A header says so too.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#webhook-payload-object-common-properties
func throughApp(c *integration.HookCall, p *payload) bool {
	switch c.Header.Get("X-GitHub-Hook-Installation-Target-Type") {
	case "repository", "organization":
		return false
	}
	return p.Installation.ID != ""
}

// readPayload returns a call's JSON, and what we understand of it.
func readPayload(c *integration.HookCall) (json.RawMessage, *payload, error) {
	raw := c.Body
	if kind, _, _ := strings.Cut(c.Header.Get("Content-Type"), ";"); strings.EqualFold(strings.TrimSpace(kind), formType) {
		values, err := url.ParseQuery(string(raw))
		if err != nil || values.Get("payload") == "" {
			return nil, nil, errors.New("the call is a form without a payload")
		}
		raw = []byte(values.Get("payload"))
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '{' {
		return nil, nil, errors.New("the call's body is no JSON object")
	}
	p := new(payload)
	if err := json.Unmarshal(raw, p); err != nil && !isKind(err) {
		return nil, nil, errors.New("the call's body is no JSON that can be read")
	}
	return raw, p, nil
}

// isKind reports whether JSON was read, but for values of other kinds than ours, which are left out. GitHub's real calls
// have such: an id may be text, a user null.
func isKind(err error) bool {
	var kind *json.UnmarshalTypeError
	return errors.As(err, &kind)
}
