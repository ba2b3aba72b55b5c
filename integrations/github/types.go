package github

import (
	"embed"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/patchbay/patchbay"
)

// examples holds a payload for each type, shorter than GitHub's own.
//
//go:embed examples/*.json
var examples embed.FS

// eventTypes returns the types of the events that come in. What GitHub calls push is github.push.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads
var eventTypes = sync.OnceValue(func() []patchbay.EventType {
	all := slices.Concat(codeTypes(), pullTypes(), talkTypes(), runTypes(), otherTypes())
	for i := range all {
		t := &all[i]
		raw, err := examples.ReadFile("examples/" + t.Key + ".json")
		if err != nil {
			panic("github: the type " + t.Key + " has no example")
		}
		t.Key, t.Example = Key+"."+t.Key, json.RawMessage(raw)
	}
	return all
})

// eventNames are GitHub's names of what can come in.
var eventNames = sync.OnceValue(func() []string {
	out := make([]string, len(eventTypes()))
	for i, t := range eventTypes() {
		out[i] = strings.TrimPrefix(t.Key, Key+".")
	}
	return out
})

// Pieces of templates.
const (
	who     = `{{or .payload.sender.login .actor.name "Somebody"}}`
	where   = ` in {{.payload.repository.full_name}}`
	did     = `{{default "changed" (lower (replace "_" " " .payload.action))}}`
	excerpt = `{{if eq .payload.action "opened" "created" "submitted" "published"}}{{trunc 1500 %}}{{end}}`
	// shortRef is a branch or tag without what Git puts before it.
	shortRef = `{{trimprefix "refs/tags/" (trimprefix "refs/heads/" .payload.ref)}}`
)

func kind(key, title, description string, schema json.RawMessage, m patchbay.MessageTemplate) patchbay.EventType {
	if m.Text == "" && m.Fields == nil {
		m.Fields = []patchbay.FieldTemplate{} // the title says it all
	}
	return patchbay.EventType{Key: key, Title: title, Description: description, Schema: schema, Message: &m}
}

func open(path string) []patchbay.LinkTemplate {
	return []patchbay.LinkTemplate{{Title: "Show at GitHub", URL: "{{.payload." + path + ".html_url}}"}}
}

func short(title, value string) patchbay.FieldTemplate {
	return patchbay.FieldTemplate{Title: title, Value: value, Short: true}
}

// thread is what all messages about an issue or a pull request have in common.
func thread(path string) string {
	return "{{with .payload." + path + ".number}}github/{{$.payload.repository.full_name}}#{{.}}{{end}}"
}

func codeTypes() []patchbay.EventType {
	return []patchbay.EventType{
		kind("push", "Push", "Commits were pushed, or a branch or tag was made, moved or deleted.",
			schema(text("ref", "The branch or tag, as refs/heads/main."), list("commits", "The commits, oldest first.",
				text("id", "The hash."), text("message", "The message."), text("timestamp", "When it was written."), text("url", "Its page."),
				flag("distinct", "Whether it is new in the repository.")),
				text("compare", "A page that shows the change. "+maybe), text("after", "The hash that the branch is at now. "+maybe)),
			patchbay.MessageTemplate{
				Title: who + ` {{if .payload.deleted}}deleted{{else if .payload.commits}}pushed {{len .payload.commits}} ` +
					`{{plural "commit" "commits" (len .payload.commits)}} to{{else if .payload.created}}made{{else}}moved{{end}} ` + shortRef + where,
				Text: `{{range head 10 .payload.commits}}- {{link (short 7 .id) .url}} {{trunc 200 (firstline .message)}}` +
					`{{with or .author.username .author.name}} ({{.}}){{end}}` + "\n" +
					`{{end}}{{if gt (len .payload.commits) 10}}- and {{sub (len .payload.commits) 10}} more{{end}}`,
				Links: []patchbay.LinkTemplate{{Title: "Compare", URL: "{{.payload.compare}}"}},
			}),
		kind("create", "Branch or tag made", "A branch or a tag was made.",
			schema(text("ref", "Its name."), text("ref_type", "branch or tag.")),
			patchbay.MessageTemplate{Title: who + ` made the {{.payload.ref_type}} {{.payload.ref}}` + where, Links: open("repository")}),
		kind("delete", "Branch or tag deleted", "A branch or a tag was deleted.",
			schema(text("ref", "Its name."), text("ref_type", "branch or tag.")),
			patchbay.MessageTemplate{Title: who + ` deleted the {{.payload.ref_type}} {{.payload.ref}}` + where, Links: open("repository")}),
		kind("release", "Release", "A release was drafted, published, changed or deleted.",
			schema(text("action", "published, released, created, edited, …"), thingOf("release", "The release.", text("tag_name", "Its tag."),
				text("name", "Its name."), text("body", "Its notes, in Markdown."), text("html_url", "Its page."), flag("prerelease", "Whether it is not yet final."),
				flag("draft", "Whether only maintainers see it."))),
			patchbay.MessageTemplate{
				Title: who + ` ` + did + ` a release` + where + `: {{or .payload.release.name .payload.release.tag_name}}`,
				Text:  strings.ReplaceAll(excerpt, "%", ".payload.release.body"), Links: open("release"),
				Severity: `{{if eq .payload.action "published"}}success{{else}}info{{end}}`,
				Fields:   []patchbay.FieldTemplate{short("Tag", "{{.payload.release.tag_name}}")},
			}),
	}
}

// pullRequestVerb says in words what happened to a pull request.
const pullRequestVerb = `{{if and (eq .payload.action "closed") .payload.pull_request.merged}}merged` +
	`{{else if eq .payload.action "synchronize"}}pushed to` +
	`{{else if eq .payload.action "review_requested"}}asked for a review of` +
	`{{else if eq .payload.action "review_request_removed"}}no longer asks for a review of` +
	`{{else if eq .payload.action "ready_for_review"}}finished the draft of` +
	`{{else if eq .payload.action "converted_to_draft"}}made a draft of` +
	`{{else if eq .payload.action "auto_merge_enabled"}}lets GitHub merge, when all is well,` +
	`{{else if eq .payload.action "auto_merge_disabled"}}no longer lets GitHub merge` +
	`{{else if hassuffix "milestoned" .payload.action}}changed the milestone of{{else}}` + did + `{{end}}`

// issueVerb does so for an issue.
const issueVerb = `{{if hassuffix "milestoned" .payload.action}}changed the milestone of{{else}}` + did + `{{end}}`

// pullTypes are about pull requests.
func pullTypes() []patchbay.EventType {
	pullRequest := numberedThing("pull_request", "The pull request.", flag("merged", "Whether it was merged."), flag("draft", "Whether it is a draft."))
	action := text("action", "What happened to it.")
	pull := ` pull request #{{.payload.pull_request.number}}` + where + `: {{.payload.pull_request.title}}`
	return []patchbay.EventType{
		kind("pull_request", "Pull request", "A pull request was opened, changed, merged or closed.", schema(action, pullRequest),
			patchbay.MessageTemplate{
				Title: who + ` ` + pullRequestVerb + pull,
				Text:  strings.ReplaceAll(excerpt, "%", ".payload.pull_request.body"), Links: open("pull_request"),
				Severity: `{{if .payload.pull_request.merged}}success{{else}}info{{end}}`,
				Fields: []patchbay.FieldTemplate{
					short("From", `{{.payload.pull_request.head.ref}}`), short("Into", `{{.payload.pull_request.base.ref}}`),
					short("Label", `{{if hassuffix "labeled" .payload.action}}{{.payload.label.name}}{{end}}`),
				},
				Thread: thread("pull_request"), Status: `{{if eq .payload.pull_request.state "closed"}}resolved{{else}}open{{end}}`,
			}),
		kind("pull_request_review", "Review of a pull request", "A review was submitted, edited or dismissed.",
			schema(action, pullRequest, thingOf("review", "The review.", text("state", "approved, changes_requested, commented or dismissed."),
				text("body", "Its text, in Markdown."), text("html_url", "Where it stands."), account("user", "Who wrote it."))),
			patchbay.MessageTemplate{
				Title: who + ` {{if ne .payload.action "submitted"}}` + did + ` a review of{{else if eq .payload.review.state "approved"}}approved` +
					`{{else if eq .payload.review.state "changes_requested"}}asks for changes to{{else}}reviewed{{end}}` + pull,
				Text: strings.ReplaceAll(excerpt, "%", ".payload.review.body"), Links: open("review"), Thread: thread("pull_request"),
				Severity: `{{if eq .payload.review.state "approved"}}success{{else if eq .payload.review.state "changes_requested"}}warning{{else}}info{{end}}`,
			}),
		kind("pull_request_review_comment", "Comment on a pull request's lines", "Somebody commented on lines of a pull request.",
			schema(action, pullRequest, comment()),
			patchbay.MessageTemplate{
				Title: who + ` {{if eq .payload.action "created"}}commented on` + `{{else}}` + did + ` a comment on{{end}}` + pull,
				Text:  strings.ReplaceAll(excerpt, "%", ".payload.comment.body"), Links: open("comment"), Thread: thread("pull_request"),
				Fields: []patchbay.FieldTemplate{short("File", "{{code .payload.comment.path}}")},
			}),
		kind("pull_request_review_thread", "Conversation in a pull request", "A conversation about lines of a pull request was resolved, or taken up again.",
			schema(action, pullRequest),
			patchbay.MessageTemplate{
				Title: who + ` ` + did + ` a conversation in` + pull, Links: open("pull_request"), Thread: thread("pull_request"),
			}),
	}
}

// talkTypes are about issues and what people write.
func talkTypes() []patchbay.EventType {
	issue := numberedThing("issue", "The issue.", text("state_reason", "Why it was closed: completed, not_planned, …"))
	action := text("action", "What happened to it.")
	about := ` #{{.payload.issue.number}}` + where + `: {{.payload.issue.title}}`
	return []patchbay.EventType{
		kind("issues", "Issue", "An issue was opened, changed or closed.", schema(action, issue),
			patchbay.MessageTemplate{
				Title: who + ` ` + issueVerb + ` issue` + about,
				Text:  strings.ReplaceAll(excerpt, "%", ".payload.issue.body"), Links: open("issue"),
				Severity: `{{if eq .payload.action "closed"}}success{{else}}info{{end}}`,
				Fields: []patchbay.FieldTemplate{
					short("Label", `{{if hassuffix "labeled" .payload.action}}{{.payload.label.name}}{{end}}`),
					short("Assignee", `{{if hassuffix "assigned" .payload.action}}{{.payload.assignee.login}}{{end}}`),
				},
				Thread: thread("issue"), Status: `{{if eq .payload.issue.state "closed"}}resolved{{else}}open{{end}}`,
			}),
		kind("issue_comment", "Comment", "Somebody commented on an issue or a pull request.", schema(action, issue, comment()),
			patchbay.MessageTemplate{
				Title: who + ` {{if eq .payload.action "created"}}commented on{{else}}` + did + ` a comment on{{end}} ` +
					`{{if .payload.issue.pull_request}}pull request{{else}}issue{{end}}` + about,
				Text: strings.ReplaceAll(excerpt, "%", ".payload.comment.body"), Links: open("comment"), Thread: thread("issue"),
			}),
		kind("commit_comment", "Comment on a commit", "Somebody commented on a commit.", schema(action, comment()),
			patchbay.MessageTemplate{
				Title: who + ` commented on the commit {{short 7 .payload.comment.commit_id}}` + where,
				Text:  strings.ReplaceAll(excerpt, "%", ".payload.comment.body"), Links: open("comment"),
				Fields: []patchbay.FieldTemplate{short("File", "{{with .payload.comment.path}}{{code .}}{{end}}")},
			}),
		kind("discussion", "Discussion", "A discussion was begun, changed or answered.", schema(action, numberedThing("discussion", "The discussion.")),
			patchbay.MessageTemplate{
				Title: who + ` ` + did + ` the discussion #{{.payload.discussion.number}}` + where + `: {{.payload.discussion.title}}`,
				Text:  strings.ReplaceAll(excerpt, "%", ".payload.discussion.body"), Links: open("discussion"), Thread: thread("discussion"),
			}),
		kind("discussion_comment", "Comment in a discussion", "Somebody wrote in a discussion.",
			schema(action, numberedThing("discussion", "The discussion."), comment()),
			patchbay.MessageTemplate{
				Title: who + ` {{if eq .payload.action "created"}}wrote{{else}}` + did + ` a comment{{end}} in the discussion ` +
					`#{{.payload.discussion.number}}` + where + `: {{.payload.discussion.title}}`,
				Text: strings.ReplaceAll(excerpt, "%", ".payload.comment.body"), Links: open("comment"), Thread: thread("discussion"),
			}),
	}
}

// outcome says how grave the conclusion of a run is.
func outcome(path string) string {
	return `{{if eq .payload.` + path + `.conclusion "success"}}success` +
		`{{else if eq .payload.` + path + `.conclusion "failure" "timed_out" "startup_failure"}}error` +
		`{{else if eq .payload.` + path + `.conclusion "cancelled" "action_required" "stale"}}warning{{else}}info{{end}}`
}

// ended says how a run ended, or how it stands.
func ended(path string) string {
	return `{{lower (humanize (or .payload.` + path + `.conclusion .payload.` + path + `.status .payload.action))}}`
}

func run(key, description string) property {
	return thingOf(key, description, number("id", "Its number."), text("name", "Its name."), text("status", "queued, in_progress, completed, …"),
		text("conclusion", "How it ended: success, failure, cancelled, …"), text("html_url", "Its page."), text("head_branch", "The branch."),
		text("head_sha", "The commit."))
}

func runTypes() []patchbay.EventType {
	action := text("action", "What happened to it.")
	fields := func(path string) []patchbay.FieldTemplate {
		return []patchbay.FieldTemplate{
			short("Branch", `{{.payload.`+path+`.head_branch}}`), short("Commit", `{{with .payload.`+path+`.head_sha}}{{code (short 7 .)}}{{end}}`),
		}
	}
	return []patchbay.EventType{
		kind("workflow_run", "Workflow run", "A run of a workflow was asked for, has begun or has ended.", schema(action, run("workflow_run", "The run.")),
			patchbay.MessageTemplate{
				Title:    `{{or .payload.workflow_run.name .payload.workflow.name "A workflow"}} #{{.payload.workflow_run.run_number}}` + where + `: ` + ended("workflow_run"),
				Text:     `{{.payload.workflow_run.display_title}}`,
				Severity: outcome("workflow_run"), Links: open("workflow_run"), Fields: fields("workflow_run"),
				Thread: `{{with .payload.workflow_run.id}}github/{{$.payload.repository.full_name}}/run/{{.}}{{end}}`,
				Status: `{{if eq .payload.workflow_run.conclusion "success"}}resolved{{end}}`,
			}),
		kind("workflow_job", "Workflow job", "A job of a workflow's run waits, has begun or has ended.", schema(action, run("workflow_job", "The job.")),
			patchbay.MessageTemplate{
				Title:    `{{with .payload.workflow_job.workflow_name}}{{.}}: {{end}}{{.payload.workflow_job.name}}` + where + `: ` + ended("workflow_job"),
				Severity: outcome("workflow_job"), Links: open("workflow_job"), Fields: fields("workflow_job"),
				Thread: `{{with .payload.workflow_job.run_id}}github/{{$.payload.repository.full_name}}/run/{{.}}{{end}}`,
			}),
		kind("check_run", "Check", "A check of a commit was made, or has ended.", schema(action, run("check_run", "The check.")),
			patchbay.MessageTemplate{
				Title: `{{.payload.check_run.name}}` + where + `: ` + ended("check_run"), Text: `{{trunc 1500 .payload.check_run.output.summary}}`,
				Severity: outcome("check_run"), Links: open("check_run"), Fields: fields("check_run"),
			}),
		kind("check_suite", "Checks of a commit", "All checks of a commit by one app were asked for, or have ended.", schema(action, run("check_suite", "The checks.")),
			patchbay.MessageTemplate{
				Title:    `{{or .payload.check_suite.app.name "Checks"}}` + where + `: ` + ended("check_suite"),
				Severity: outcome("check_suite"), Links: open("repository"), Fields: fields("check_suite"),
			}),
		kind("status", "Commit status", "Somebody said how a commit stands.",
			schema(text("sha", "The commit."), text("state", "error, failure, pending or success."), text("context", "Who says so."),
				text("description", "A few words. "+maybe), text("target_url", "A page that says more. "+maybe)),
			patchbay.MessageTemplate{
				Title:    `{{.payload.context}}` + where + ` at {{short 7 .payload.sha}}: {{.payload.state}}`,
				Text:     `{{.payload.description}}`,
				Severity: `{{if eq .payload.state "success"}}success{{else if eq .payload.state "failure" "error"}}error{{else}}info{{end}}`,
				Links:    []patchbay.LinkTemplate{{Title: "More", URL: "{{.payload.target_url}}"}},
			}),
		kind("deployment", "Deployment", "A deployment was asked for.",
			schema(action, thingOf("deployment", "The deployment.", text("environment", "Where to."), text("ref", "What."), text("sha", "The commit."))),
			patchbay.MessageTemplate{
				Title: who + ` deploys {{.payload.deployment.ref}} to {{.payload.deployment.environment}}` + where,
				Text:  `{{.payload.deployment.description}}`, Links: open("repository"),
			}),
		kind("deployment_status", "Deployment's status", "A deployment goes on, has succeeded or has failed.",
			schema(action, thingOf("deployment_status", "How it stands.", text("state", "success, failure, in_progress, …"), text("environment", "Where to.")),
				thingOf("deployment", "The deployment.", text("ref", "What."), text("sha", "The commit."))),
			patchbay.MessageTemplate{
				Title: `Deployment of {{.payload.deployment.ref}} to {{or .payload.deployment_status.environment .payload.deployment.environment}}` +
					where + `: {{lower (humanize .payload.deployment_status.state)}}`,
				Text: `{{.payload.deployment_status.description}}`,
				Severity: `{{if eq .payload.deployment_status.state "success"}}success{{else if eq .payload.deployment_status.state "failure" "error"}}error` +
					`{{else}}info{{end}}`,
				Links: []patchbay.LinkTemplate{{Title: "More", URL: "{{or .payload.deployment_status.environment_url .payload.deployment_status.log_url}}"}},
			}),
	}
}

// alert is what GitHub found wrong.
func alert() property {
	return thingOf("alert", "The alert.", number("number", "Its number in the repository."), text("state", "open, fixed, dismissed, …"), text("html_url", "Its page."))
}

// alertMessage says what was found, and how grave it is.
func alertMessage(what, summary, severity string) patchbay.MessageTemplate {
	return patchbay.MessageTemplate{
		Title: what + ` #{{.payload.alert.number}}` + where + `: ` + summary, Text: `{{humanize .payload.action}}.`, Links: open("alert"),
		Severity: `{{if eq .payload.alert.state "fixed" "resolved" "dismissed" "auto_dismissed"}}success{{else}}` + severity + `{{end}}`,
		Thread:   `github/{{.payload.repository.full_name}}/` + strings.ToLower(strings.Fields(what)[0]) + `/{{.payload.alert.number}}`,
		Status:   `{{if eq .payload.alert.state "fixed" "resolved" "dismissed" "auto_dismissed"}}resolved{{else}}open{{end}}`,
	}
}

func otherTypes() []patchbay.EventType {
	action := text("action", "What happened.")
	graveness := func(path string) string {
		return `{{if eq ` + path + ` "critical"}}critical{{else if eq ` + path + ` "high" "error"}}error{{else}}warning{{end}}`
	}
	return []patchbay.EventType{
		kind("dependabot_alert", "Dependabot alert", "A dependency was found to be vulnerable, or no longer is.", schema(action, alert()),
			alertMessage("Dependabot alert", `{{or .payload.alert.security_advisory.summary .payload.alert.dependency.package.name}}`,
				graveness(".payload.alert.security_advisory.severity"))),
		kind("code_scanning_alert", "Code scanning alert", "A scan found something in the code, or it was fixed.", schema(action, alert()),
			alertMessage("Code alert", `{{or .payload.alert.rule.description .payload.alert.rule.id}}`,
				graveness("(or .payload.alert.rule.security_severity_level .payload.alert.rule.severity)"))),
		kind("secret_scanning_alert", "Secret scanning alert", "A secret was found in the repository, or was dealt with.", schema(action, alert()),
			alertMessage("Secret alert", `{{or .payload.alert.secret_type_display_name .payload.alert.secret_type "a secret"}}`, "critical")),
		kind("fork", "Fork", "Somebody forked the repository.",
			schema(thingOf("forkee", "The fork.", text("full_name", "Its owner and name."), text("html_url", "Its page."))),
			patchbay.MessageTemplate{Title: who + ` forked {{.payload.repository.full_name}} to {{.payload.forkee.full_name}}`, Links: open("forkee")}),
		kind("star", "Star", "Somebody gave the repository a star, or took it back.", schema(action),
			patchbay.MessageTemplate{
				Title: who + ` {{if eq .payload.action "deleted"}}took a star from{{else}}gave a star to{{end}} {{.payload.repository.full_name}}`,
				Links: open("repository"), Fields: []patchbay.FieldTemplate{short("Stars", `{{with .payload.repository.stargazers_count}}{{number .}}{{end}}`)},
			}),
		kind("gollum", "Wiki", "Pages of the wiki were written.",
			schema(list("pages", "The pages.", text("title", "The page's title."), text("action", "created or edited."), text("html_url", "The page."))),
			patchbay.MessageTemplate{
				Title: who + ` wrote {{len .payload.pages}} {{plural "page" "pages" (len .payload.pages)}} of the wiki` + where,
				Text:  "{{range head 10 .payload.pages}}- {{link .title .html_url}} ({{.action}})\n{{end}}",
			}),
		kind("label", "Label", "A label was made, changed or deleted.", schema(action, thingOf("label", "The label.", text("name", "Its name."))),
			patchbay.MessageTemplate{Title: who + ` ` + did + ` the label {{.payload.label.name}}` + where, Links: open("repository")}),
		kind("milestone", "Milestone", "A milestone was made, changed, reached or deleted.",
			schema(action, thingOf("milestone", "The milestone.", text("title", "Its title."), text("html_url", "Its page."), text("state", "open or closed."))),
			patchbay.MessageTemplate{
				Title: who + ` ` + did + ` the milestone {{.payload.milestone.title}}` + where, Links: open("milestone"),
				Severity: `{{if eq .payload.action "closed"}}success{{else}}info{{end}}`,
			}),
		kind("member", "Collaborator", "A collaborator was added, changed or removed.", schema(action, account("member", "The collaborator.")),
			patchbay.MessageTemplate{Title: who + ` ` + did + ` the collaborator {{.payload.member.login}}` + where, Links: open("member")}),
		kind("public", "Made public", "The repository was made public.", schema(),
			patchbay.MessageTemplate{Title: who + ` made {{.payload.repository.full_name}} public`, Severity: "warning", Links: open("repository")}),
		kind("repository", "Repository", "The repository was renamed, archived, transferred or changed in another way.", schema(action),
			patchbay.MessageTemplate{Title: who + ` ` + did + ` the repository {{.payload.repository.full_name}}`, Links: open("repository")}),
	}
}
