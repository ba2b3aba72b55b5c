package jira

import (
	"embed"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/patchbay/patchbay"
)

// examples holds a payload for each type, shorter than Jira's own.
//
//go:embed examples/*.json
var examples embed.FS

// eventNames are the kinds of events that come in: Jira's names without the "jira:" that stands before some. They are those
// that dynamic webhooks may have.
// https://developer.atlassian.com/cloud/jira/platform/webhooks/ (section "Registering a webhook using the Jira REST API")
var eventNames = sync.OnceValue(func() []string {
	out := make([]string, len(eventTypes()))
	for i, t := range eventTypes() {
		out[i] = strings.TrimPrefix(t.Key, Key+".")
	}
	return out
})

// jiraEvents are what the link receives, in Jira's own words and order.
func (s *Settings) jiraEvents() []string {
	var out []string
	for _, kind := range s.Receive {
		if strings.HasPrefix(kind, "issue_") {
			kind = "jira:" + kind
		}
		if !slices.Contains(out, kind) {
			out = append(out, kind)
		}
	}
	slices.Sort(out)
	return out
}

// Pieces of templates.
const (
	who   = `{{or .payload.user.displayName .actor.name "Somebody"}}`
	wrote = `{{or .payload.comment.updateAuthor.displayName .payload.comment.author.displayName .actor.name "Somebody"}}`
	about = ` {{.payload.issue.key}}: {{.payload.issue.fields.summary}}`
)

// eventTypes returns the types of the events that come in. What Jira calls jira:issue_created is jira.issue_created.
var eventTypes = sync.OnceValue(func() []patchbay.EventType {
	all := []patchbay.EventType{
		issueType("issue_created", "Issue created", "Somebody created an issue.", who+" created"+about, false,
			patchbay.FieldTemplate{Title: "Type", Value: "{{.payload.issue.fields.issuetype.name}}", Short: true},
			patchbay.FieldTemplate{Title: "Priority", Value: "{{.payload.issue.fields.priority.name}}", Short: true},
			patchbay.FieldTemplate{Title: "Assignee", Value: "{{.payload.issue.fields.assignee.displayName}}", Short: true}),
		issueType("issue_updated", "Issue updated", "Somebody changed an issue, or moved it to another status.",
			who+` {{if eq .payload.issue.fields.status.statusCategory.key "done"}}changed (done){{else}}changed{{end}}`+about, false,
			patchbay.FieldTemplate{Title: "Status", Value: "{{.payload.issue.fields.status.name}}", Short: true},
			patchbay.FieldTemplate{
				Title: "Changes",
				Value: `{{range head 10 .payload.changelog.items}}- {{.field}}: {{trunc 100 (or .fromString "–")}} → {{trunc 100 (or .toString "–")}}` + "\n{{end}}",
			}),
		issueType("issue_deleted", "Issue deleted", "Somebody deleted an issue.", who+" deleted"+about, false),
		issueType("comment_created", "Comment", "Somebody commented on an issue.", wrote+" commented on"+about, true),
		issueType("comment_updated", "Comment changed", "Somebody changed a comment.", wrote+" changed a comment on"+about, true),
		issueType("comment_deleted", "Comment deleted", "Somebody deleted a comment.", who+" deleted a comment on"+about, false),
	}
	for i := range all {
		raw, err := examples.ReadFile("examples/" + all[i].Key + ".json")
		if err != nil {
			panic("jira: the type " + all[i].Key + " has no example")
		}
		all[i].Key, all[i].Example = Key+"."+all[i].Key, raw
	}
	return all
})

func issueType(key, title, description, reads string, comment bool, fields ...patchbay.FieldTemplate) patchbay.EventType {
	m := &patchbay.MessageTemplate{
		Title: reads, Fields: fields, Thread: `{{with .payload.issue.key}}jira/{{.}}{{end}}`,
		Links: []patchbay.LinkTemplate{{Title: "Show in Jira", URL: "{{.payload.browse_url}}"}},
	}
	if strings.HasPrefix(key, "issue_") {
		m.Severity = `{{if eq .payload.issue.fields.status.statusCategory.key "done"}}success{{else}}info{{end}}`
		m.Status = `{{if eq .payload.issue.fields.status.statusCategory.key "done"}}resolved{{else}}open{{end}}`
	}
	if comment {
		m.Text = "{{trunc 1500 .payload.comment.body}}"
	}
	if m.Text == "" && m.Fields == nil {
		m.Fields = []patchbay.FieldTemplate{} // the title says it all
	}
	return patchbay.EventType{Key: key, Title: title, Description: description, Schema: schema(comment), Message: m}
}

// schema describes a payload: the issue must be there, the common keys may be, and others are welcome.
func schema(comment bool) json.RawMessage {
	object := func(description string, properties map[string]any) map[string]any {
		return map[string]any{"type": []string{"object", "null"}, "description": description, "properties": properties}
	}
	word := func(description string) map[string]any {
		return map[string]any{"type": []string{"string", "null"}, "description": description}
	}
	person := map[string]any{
		"accountId": word("Whose account, at Jira Cloud."), "displayName": word("Their name."), "key": word("Who, at Data Center."),
	}
	name := map[string]any{"name": word("Its name.")}
	required := []string{"issue"}
	properties := map[string]any{
		"webhookEvent": word("Jira's own name of what happened."),
		"timestamp":    map[string]any{"type": []string{"integer", "null"}, "description": "When, in milliseconds since 1970."},
		"user":         object("Who did it.", person),
		"browse_url":   word("The page of the issue."),
		"issue": object("The issue.", map[string]any{
			"key": word("Its key, such as ABC-1."), "self": word("Its address in the API."),
			"fields": object("What it says.", map[string]any{
				"summary": word("Its title."), "project": object("Its project.", map[string]any{"key": word("Its key."), "name": word("Its name.")}),
				"issuetype": object("Its type.", name), "priority": object("Its priority.", name),
				"assignee": object("Whose it is.", person),
				"status": object("Its status.", map[string]any{
					"name": word("Its name."), "statusCategory": object("What it means.", map[string]any{"key": word("new, indeterminate or done.")}),
				}),
			}),
		}),
		"changelog": object("What changed.", map[string]any{"items": map[string]any{
			"type": []string{"array", "null"}, "items": object("One field.", map[string]any{
				"field": word("Its name."), "fromString": word("What it said before."), "toString": word("What it says now."),
			}),
		}}),
	}
	if comment {
		required = append(required, "comment")
	}
	properties["comment"] = object("The comment.", map[string]any{
		"id": word("Its number."), "author": object("Who wrote it.", person), "updateAuthor": object("Who changed it last.", person),
	})
	out, err := json.Marshal(map[string]any{"type": "object", "required": required, "properties": properties})
	if err != nil {
		panic("jira: a schema that is no JSON: " + err.Error())
	}
	return out
}
