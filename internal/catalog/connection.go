package catalog

import "github.com/patchbay/patchbay"

// TypeConnectionNeedsReauth is the key of the type that is about a connection which works again only after its owner's
// consent.
const TypeConnectionNeedsReauth = patchbay.SystemPrefix + "connection.needs_reauth"

const connectionSchema = `{"type":"object","required":["connection"],"properties":{` +
	`"connection":{"type":"object","title":"Connection","description":"The connection that this is about.","required":["id"],"properties":{` +
	`"id":{"type":"string","description":"Its identifier."},` +
	`"name":{"type":"string","description":"The name that its owner gave it."},` +
	`"integration":{"type":"string","description":"The key of its integration."},` +
	`"integration_title":{"type":"string","description":"The integration's name for people."},` +
	`"scope":{"type":"string","description":"Where it belongs."},` +
	`"owner":{"type":"string","description":"Your product's name for the user whose account it is."},` +
	`"account":{"type":"object","description":"Who the partner says this is.","properties":{` +
	`"id":{"type":"string","description":"The partner's identifier."},"name":{"type":"string","description":"The partner's name."}}}}},` +
	`"reason":{"type":"string","title":"Reason","description":"What went wrong, as a sentence."},` +
	`"links":{"type":"integer","title":"Links","description":"How many links use it."}}}`

const connectionExample = `{"connection":{"id":"con_01jq3x5v8k2ma","name":"","integration":"github","integration_title":"GitHub","scope":"acme","owner":"u-17",` +
	`"account":{"id":"583231","name":"octocat"}},"reason":"GitHub did not renew the credentials: it takes the grant for no longer valid (invalid_grant)","links":3}`

// connectionType is what is raised when a connection works again only after its owner's consent.
func connectionType() patchbay.EventType {
	const name = `{{or .payload.connection.name .payload.connection.account.name .payload.connection.account.id .payload.connection.id}}`
	return patchbay.EventType{
		Key: TypeConnectionNeedsReauth, Title: "Connection needs its owner", Origin: OriginBuiltin,
		Description: "A partner does not take a connection's credentials any more, and they cannot be renewed without its owner. Links over it wait until the account is connected again.",
		Schema:      []byte(connectionSchema), Example: []byte(connectionExample),
		Message: &patchbay.MessageTemplate{
			Title:    `The connection to {{or .payload.connection.integration_title .payload.connection.integration}} as ` + name + ` must be connected again`,
			Severity: "error", Status: "open", Thread: "connection/{{.payload.connection.id}}",
			Fields: []patchbay.FieldTemplate{
				{Title: "Reason", Value: "{{.payload.reason}}"},
				{Title: "Scope", Value: "{{.payload.connection.scope}}", Short: true},
				{Title: "Owner", Value: "{{.payload.connection.owner}}", Short: true},
				{Title: "Links", Value: "{{with .payload.links}}{{number .}}{{end}}", Short: true},
			},
		},
	}
}
