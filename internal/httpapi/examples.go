package httpapi

import (
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/links"
)

// The examples of the OpenAPI document. They are values of the types that are served, so they cannot spell a field
// that does not exist; a test checks each against the schema that stands beside it.

// The identifiers of the examples.
const (
	exampleEventID    = patchbay.EventID(250_000_000_000_000_000)
	exampleLinkID     = patchbay.LinkID(240_000_000_000_000_000)
	exampleDeliveryID = patchbay.DeliveryID(exampleEventID + patchbay.IDStep)
	exampleKeyID      = patchbay.KeyID(230_000_000_000_000_000)
)

var (
	exampleTime     = time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	examplePayload  = json.RawMessage(`{"repo":{"id":1,"name":"web"},"branch":"main","commits":[{"id":"4f2a9c1","message":"Fix the login form"}]}`)
	exampleSettings = json.RawMessage(`{"url":"https://hooks.example.com/patchbay"}`)
	exampleSchema   = json.RawMessage(`{"type":"object","required":["repo"],"properties":{"repo":{"type":"object","properties":{"id":{"type":"integer"},"name":{"type":"string"}}},"branch":{"type":"string"}}}`)

	exampleEvent = patchbay.Event{ID: exampleEventID, Type: "repo.push", Scope: "acme/repos/1", Also: []patchbay.Scope{"acme/users/ann"},
		Payload: examplePayload, Actor: json.RawMessage(`{"name":"Ann"}`), OccurredAt: exampleTime, ReceivedAt: exampleTime,
		Source: patchbay.Source{Kind: patchbay.SourceAPI, Key: exampleKeyID}}
	exampleMessage = &patchbay.Message{Title: "Ann pushed to web", Text: "1 commit on **main**", Severity: patchbay.SeverityInfo}

	exampleListedDelivery = deliver.View{ID: exampleDeliveryID, Event: exampleEventID, EventType: "repo.push", Scope: "acme/repos/1",
		Link: new(exampleLinkID), Integration: "webhook", State: patchbay.DeliveryPending, AttemptCount: 1, NextAttemptAt: new(exampleTime.Add(5 * time.Second))}
	exampleDelivery = func() deliver.View {
		v := exampleListedDelivery
		v.Attempts = []deliver.AttemptView{{At: exampleTime, DurationMS: 84, Verdict: patchbay.VerdictRetry, ErrorType: new(patchbay.CodeServiceError),
			Error: new("hooks.example.com failed with status 502"), ResponseCode: new(502), ResponseBody: new("bad gateway"),
			Request: &deliver.RequestView{Method: "POST", URL: "https://hooks.example.com/patchbay", Headers: map[string]string{"Content-Type": "application/json"}}}}
		return v
	}()
	exampleEventView = ingest.EventView{Event: exampleEvent, Message: exampleMessage, Deliveries: []deliver.View{exampleDelivery}}

	exampleLinkInput = links.Input{Integration: new("webhook"), Scope: new("acme/repos/1"), Events: []string{"repo.*"},
		Filter: new("payload.branch == 'main'"), Settings: exampleSettings, Name: new("Build server")}
	exampleLink = links.View{ID: exampleLinkID, Integration: "webhook", Scope: "acme/repos/1", Reach: patchbay.ReachSubtree,
		Events: []patchbay.Pattern{"repo.*"}, Filter: new("payload.branch == 'main'"), Settings: json.RawMessage(`{"url":"https://hooks.example.com/patchbay","secret":"••••Qk5w"}`),
		Enabled: true, State: patchbay.LinkActive, Name: "Build server", ShortName: "hooks.example.com",
		Summary: "repo.* in acme/repos/1 → hooks.example.com", DeletePath: "/integrations/webhook/link/" + exampleLinkID.String(),
		Concurrency: patchbay.DefaultConcurrency, Health: &links.Health{Breaker: "closed"}, CreatedAt: exampleTime, UpdatedAt: exampleTime}
	exampleNewLink = func() links.View {
		v := exampleLink
		v.Secrets = map[string]string{"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
		return v
	}()
	exampleTestResult = links.TestResult{Status: "failed", Error: "hooks.example.com does not know this address (404): check the settings",
		Type: patchbay.CodeUserConfigurationError, ResponseCode: 404, ResponseBody: "not found", DurationMS: 31}

	exampleKeyInput = keyInput{Name: "CI", Scope: "acme", Permissions: []access.Permission{access.Publish}}
	exampleKey      = access.KeyView{ID: exampleKeyID, Name: "CI", Scope: "acme", Permissions: []access.Permission{access.Publish}, Hint: "t7z0", CreatedAt: exampleTime}
	exampleNewKey   = func() access.KeyView {
		v := exampleKey
		v.Token = "pk_5q8r2m0c7w1zk4v9t3x6e8h2j5n0b4d7g1f9s3a6y8p2q5r0t7z0"
		return v
	}()

	exampleType = patchbay.EventType{Key: "repo.push", Title: "Push", Description: "Somebody pushed to a repository.", Schema: exampleSchema,
		Example: examplePayload, Message: &patchbay.MessageTemplate{Title: "{{.actor.name}} pushed to {{.payload.repo.name}}"}, Origin: "api"}
	exampleTypeInput = eventTypeInput{Title: "Push", Description: "Somebody pushed to a repository.", Schema: exampleSchema, Example: examplePayload,
		Message: &patchbay.MessageTemplate{Title: "{{.actor.name}} pushed to {{.payload.repo.name}}"}}
	exampleCatalogEntry = catalog.Info{Key: exampleType.Key, Title: exampleType.Title, Description: exampleType.Description,
		Payload: catalog.Keys{{Key: "repo", Fields: []string{"id", "name"}}, {Key: "branch"}}, Schema: exampleSchema, Example: examplePayload}

	exampleIntegration = func() integrationView {
		spec := integration.Spec{{Key: "url", Title: "URL", Type: integration.TypeURL, Required: true, Help: "Where events are sent."}}
		return integrationView{Key: "webhook", Title: "Webhook", Category: "automation", Description: "Sends every event, signed, to an address of yours.",
			Settings: spec.Info(), Schema: spec.Schema(), Supports: []integration.Capability{integration.CanSend, integration.CanTest}, Kinds: []string{}}
	}()

	exampleEventInput = eventInput{EventType: "repo.push", Scope: "acme/repos/1",
		Payload: map[string]any{"repo": map[string]any{"id": 1, "name": "web"}, "branch": "main"}, Actor: map[string]any{"name": "Ann"}, ID: "push-4f2a9c1"}
	exampleInlineInput = eventInput{EventType: "repo.push", Payload: map[string]any{"repo": map[string]any{"id": 1, "name": "web"}},
		Integrations: []inlineIntegration{{Key: "slack", Settings: json.RawMessage(`[{"key":"url","value":"https://hooks.slack.com/services/T0/B0/x"}]`)}}}
	exampleAccepted      = acceptedAnswer{Status: "ok", ID: exampleEventID, Deliveries: 3}
	exampleInline        = inlineAnswer{Status: "ok", ID: exampleEventID, Results: []ingest.Result{{Key: "slack", Status: "sent", Delivery: exampleDeliveryID}}}
	exampleInlineFailure = func() inlineFailure {
		r := ingest.Result{Key: "slack", Status: "failed", Delivery: exampleDeliveryID, Type: patchbay.CodeUserConfigurationError,
			Error: "Slack does not know this address (404): check the settings", ResponseCode: 404, ResponseBody: "no_service"}
		return inlineFailure{Message: r.Error, Type: r.Type, ResponseCode: r.ResponseCode, ResponseBody: r.ResponseBody,
			ID: exampleEventID, Results: []ingest.Result{r}}
	}()
	exampleDryRun = ingest.DryRun{Event: exampleEvent, Message: exampleMessage, Deliveries: 1, Links: []ingest.DryRunLink{
		{Link: exampleLinkID, Integration: "webhook", Scope: "acme/repos/1", Matched: true, Reason: "its scope, its pattern repo.* and its filter fit",
			Request: &ingest.DryRunRequest{Method: "POST", URL: "https://hooks.example.com/patchbay", Headers: map[string]string{"Content-Type": "application/json"}, Body: "{}"}},
	}}

	exampleUnauthorized = problem{Unauthorized: "unauthorized", Message: "this call needs an API key: send it as \"Authorization: Bearer pk_…\"", Type: patchbay.CodeUnauthorized}
	exampleUnavailable  = problem{Message: "not ready: the database cannot take writes at the moment", Type: patchbay.CodeUnavailable}
)
