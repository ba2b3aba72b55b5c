package catalog

import "github.com/patchbay/patchbay"

// The keys of the types that are always there. Integrations that bring something in make TypeEntry of it.
const (
	TypeTest          = "integration_test"
	TypeEntry         = "entry.created"
	TypeLinkFailing   = patchbay.SystemPrefix + "link.failing"
	TypeLinkDisabled  = patchbay.SystemPrefix + "link.disabled"
	TypeLinkRecovered = patchbay.SystemPrefix + "link.recovered"
	TypeLinkDetached  = patchbay.SystemPrefix + "link.detached"
)

const entrySchema = `{"type":"object","required":["text"],"properties":{` +
	`"text":{"type":"string","title":"Text","description":"What was done."},` +
	`"occurred_on":{"type":"string","format":"date","title":"Date","description":"The day on which it was done."},` +
	`"source":{"type":"string","title":"Source","description":"Where the entry was written, such as the key of an integration."},` +
	`"external_id":{"type":["string","integer"],"title":"External ID","description":"What the source calls it."},` +
	`"external_url":{"type":"string","title":"Address","description":"Where the source shows it."},` +
	`"author":{"type":"object","title":"Author","description":"Who did it.","properties":{` +
	`"external_id":{"type":["string","integer"],"description":"What the source calls the author."},` +
	`"name":{"type":"string","description":"The author's name."},` +
	`"email":{"type":"string","description":"The author's e-mail address."}}}}}`

const entryExample = `{"text":"Shipped the new sign-up page","occurred_on":"2026-03-04","source":"slack","external_id":"1772600000.000100",` +
	`"external_url":"https://example.slack.com/archives/C1/p1772600000000100","author":{"external_id":"U1","name":"Ann Example","email":"ann@example.com"}}`

const linkSchema = `{"type":"object","required":["link"],"properties":{` +
	`"link":{"type":"object","title":"Link","description":"The link that this is about.","required":["id"],"properties":{` +
	`"id":{"type":"string","description":"Its identifier."},` +
	`"name":{"type":"string","description":"The name that its owner gave it."},` +
	`"integration":{"type":"string","description":"The key of its integration."},` +
	`"scope":{"type":"string","description":"Where it belongs."},` +
	`"short_name":{"type":"string","description":"A few words on where it leads."}}},` +
	`"reason":{"type":"string","title":"Reason","description":"What went wrong, as a sentence."},` +
	`"failures":{"type":"integer","title":"Failures","description":"How many attempts failed in a row."},` +
	`"since":{"type":"string","format":"date-time","title":"Since","description":"When the first of them was."}}}`

func linkExample(withReason bool) []byte {
	reason := `"reason":"the webhook failed with status 503",`
	if !withReason {
		reason = ""
	}
	return []byte(`{"link":{"id":"lnk_01jq3x5v8k2ma","name":"","integration":"webhook","scope":"acme","short_name":"Webhook hooks.example.com"},` +
		reason + `"failures":12,"since":"2026-03-04T05:06:07Z"}`)
}

// linkName is how a system message calls its link.
const linkName = `{{or .payload.link.name .payload.link.short_name .payload.link.id}}`

func linkType(key, title, description, headline, severity, status string, withReason bool) patchbay.EventType {
	return patchbay.EventType{
		Key: key, Title: title, Description: description, Schema: []byte(linkSchema), Example: linkExample(withReason), Origin: OriginBuiltin,
		Message: &patchbay.MessageTemplate{
			Title: linkName + " " + headline, Severity: severity, Status: status,
			Thread: "link/{{.payload.link.id}}",
			Fields: []patchbay.FieldTemplate{
				{Title: "Reason", Value: "{{.payload.reason}}"},
				{Title: "Scope", Value: "{{.payload.link.scope}}", Short: true},
				{Title: "Failed attempts", Value: "{{with .payload.failures}}{{number .}}{{end}}", Short: true},
				{Title: "Since", Value: "{{with .payload.since}}{{date .}}{{end}}", Short: true},
			},
		},
	}
}

// builtin returns the types that are always there.
func builtin() []patchbay.EventType {
	return []patchbay.EventType{
		{
			Key: TypeTest, Title: "Integration Test", Description: "Sent to find out whether an integration is set up correctly.",
			Origin: OriginBuiltin, Schema: []byte(`{"type":"object"}`), Example: []byte(`{}`),
			Message: &patchbay.MessageTemplate{
				Title: "Your {{with .integration.title}}{{.}} {{end}}integration works!", Severity: "success",
				Fields: []patchbay.FieldTemplate{},
			},
		},
		{
			Key: TypeEntry, Title: "Entry Created", Description: "Somebody wrote down what they got done, here or in another tool.",
			Origin: OriginBuiltin, Schema: []byte(entrySchema), Example: []byte(entryExample),
			Message: &patchbay.MessageTemplate{
				Title:  `{{with or .payload.author.name .actor.name}}{{.}}: {{end}}{{trunc 120 (firstline .payload.text)}}`,
				Text:   "{{.payload.text}}",
				Links:  []patchbay.LinkTemplate{{Title: "{{humanize .payload.source}}", URL: "{{.payload.external_url}}"}},
				Actor:  &patchbay.ActorTemplate{Name: "{{or .payload.author.name .actor.name}}"},
				Thread: `{{with .payload.external_id}}entry/{{$.payload.source}}/{{.}}{{end}}`,
			},
		},
		linkType(TypeLinkFailing, "Link failing", "Deliveries on a link have begun to fail. They are tried again.", "is failing", "warning", "open", true),
		linkType(TypeLinkDisabled, "Link disabled", "A link was disabled, because it failed for too long or its target is gone. What it misses can be recovered.",
			"was disabled", "error", "open", true),
		linkType(TypeLinkRecovered, "Link recovered", "Deliveries on a link that was failing succeed again.", "works again", "success", "resolved", false),
		linkType(TypeLinkDetached, "Link detached", "A link is gone, but what was set up for it at the partner could not be taken down and may remain there.",
			"could not be taken down at the partner", "warning", "", true),
		connectionType(),
	}
}
