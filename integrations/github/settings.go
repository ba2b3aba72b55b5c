package github

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// Mode is what a link does with what goes out.
type Mode string

// The modes.
const (
	ModeNone               Mode = "none"
	ModeIssue              Mode = "issue"
	ModeComment            Mode = "comment"
	ModeStatus             Mode = "status"
	ModeRepositoryDispatch Mode = "repository_dispatch"
	ModeWorkflowDispatch   Mode = "workflow_dispatch"
)

// pushes reports whether a mode needs the right to push.
func (m Mode) pushes() bool {
	return m == ModeStatus || m == ModeRepositoryDispatch || m == ModeWorkflowDispatch
}

// none is the value of a list that means nothing: an empty list means the default.
const none = "none"

// The values of the setting entries.
const (
	entryCommits  = "commits"
	entryMerged   = "merged_pull_requests"
	entryClosed   = "closed_issues"
	entryReleases = "releases"
)

// The values of the settings hook and on_repeat.
const (
	hookRepository = "repository"
	hookApp        = "app"
	repeatComment  = "comment"
	repeatNothing  = "nothing"
)

// defaultContext names our commit statuses.
const defaultContext = "patchbay"

// Settings are a link's settings.
type Settings struct {
	Repository string             `json:"repository"`
	Receive    []string           `json:"receive"`
	Entries    []string           `json:"entries"`
	Hook       string             `json:"hook"`
	Mode       Mode               `json:"mode"`
	Labels     []string           `json:"labels"`
	Assignees  []string           `json:"assignees"`
	OnRepeat   string             `json:"on_repeat"`
	Note       string             `json:"note"`
	Issue      string             `json:"issue"`
	SHA        string             `json:"sha"`
	Context    string             `json:"context"`
	EventType  string             `json:"event_type"`
	Workflow   string             `json:"workflow"`
	Ref        string             `json:"ref"`
	Inputs     map[string]string  `json:"inputs"`
	Token      integration.Secret `json:"token"`
	APIURL     string             `json:"api_url"`
}

// receives reports whether anything comes in.
func (s *Settings) receives() bool { return !slices.Contains(s.Receive, none) }

// takes reports whether events of a kind come in, and tells reports whether they may become entries.
func (s *Settings) takes(event string) bool { return slices.Contains(s.Receive, event) }
func (s *Settings) tells(entry string) bool { return slices.Contains(s.Entries, entry) }

// hooks reports whether a webhook on the repository is the link's way in.
func (s *Settings) hooks() bool { return s.receives() && s.Hook != hookApp }

func settingsSpec() integration.Spec {
	return append(append(integration.Spec{
		{
			Key: "repository", Title: "Repository", Type: integration.TypeString, Required: true, Dynamic: true,
			Check: checkRepository, Example: "acme/web", Help: "Owner and name. To receive from it, the account must administer it.",
		},
		{
			Key: "receive", Title: "What comes in", Type: integration.TypeList, Dynamic: true, Check: checkReceive,
			Default: []string{"push", "pull_request", "issues", "issue_comment", "release", "workflow_run"},
			Help:    "GitHub's names of what becomes events: push becomes github.push. none: nothing comes in.",
		},
		{
			Key: "entries", Title: "What becomes entries", Type: integration.TypeList, Dynamic: true, Check: checkEntries,
			Default: []string{entryCommits, entryMerged, entryClosed, entryReleases},
			Help: "What is told as done by a person (entry.created): commits pushed to the default branch, merged_pull_requests, " +
				"closed_issues, releases. none: nothing.",
		},
		{
			Key: "hook", Title: "Where it comes from", Type: integration.TypeSelect, Default: hookRepository,
			Options: []integration.Option{
				{Value: hookRepository, Title: "A webhook on the repository, which is registered for this link"},
				{Value: hookApp, Title: "The operator's GitHub App, installed on the repository"},
			},
		},
		{
			Key: "mode", Title: "What goes out", Type: integration.TypeSelect, Default: string(ModeNone), Main: true,
			Options: []integration.Option{
				{Value: string(ModeNone), Title: "Nothing"},
				{Value: string(ModeIssue), Title: "An issue for each matter"},
				{Value: string(ModeComment), Title: "A comment on one issue or pull request"},
				{Value: string(ModeStatus), Title: "A commit status"},
				{Value: string(ModeRepositoryDispatch), Title: "A repository_dispatch event for workflows"},
				{Value: string(ModeWorkflowDispatch), Title: "A run of one workflow"},
			},
		},
	}, modeSpec()...), integration.Spec{
		{
			Key: "token", Title: "Access token", Type: integration.TypeString, Required: true, UnlessConnected: true, Secret: true,
			Help: "A personal access token, for links without a connection.",
		},
		{
			Key: "api_url", Title: "Address of the API", Type: integration.TypeURL, Target: true, Check: integration.CheckBaseURL,
			Example: "https://github.example.com/api/v3",
			Help: "Where the token is good: of a GitHub Enterprise Server. Without it https://api.github.com, or the operator's. " +
				"A connection brings its own.",
		},
	}...)
}

// modeSpec are the settings of the modes.
func modeSpec() integration.Spec {
	return integration.Spec{
		{
			Key: "labels", Title: "Labels", Type: integration.TypeList, Dynamic: true, Example: "patchbay",
			Help: "Mode issue: labels that every issue gets, before those of its message. They take the right to push.",
		},
		{
			Key: "assignees", Title: "Assignees", Type: integration.TypeList, Dynamic: true, Example: "octocat",
			Help: "Mode issue: whom every issue is assigned to. This takes the right to push.",
		},
		{
			Key: "on_repeat", Title: "When it happens again", Type: integration.TypeSelect, Default: repeatComment,
			Options: []integration.Option{
				{Value: repeatComment, Title: "Comment on the issue"}, {Value: repeatNothing, Title: "Say nothing more"},
			},
			Help: "Mode issue: what a further message of a matter does to its issue, apart from opening and closing it.",
		},
		{
			Key: "note", Title: "Note", Type: integration.TypeText, Example: "cc @acme/on-call",
			Help: "Modes issue and comment: Markdown that stands below every text, as you write it. Mentions in it notify; those in " +
				"texts of events do not.",
		},
		{
			Key: "issue", Title: "Issue", Type: integration.TypeString, Check: checkTemplate, Example: "${payload.issue.number}",
			Help: "Mode comment: the number of the issue or pull request. ${payload.…} takes it from the event.",
		},
		{
			Key: "sha", Title: "Commit", Type: integration.TypeString, Check: checkTemplate, Example: "${payload.commit.sha}",
			Help: "Mode status: the whole hash of the commit. ${payload.…} takes it from the event.",
		},
		{
			Key: "context", Title: "Context", Type: integration.TypeString, Check: checkTemplate, Default: defaultContext,
			Example: "ci/${payload.job}",
			Help:    "Mode status: what tells this status from those of others. ${payload.…} takes values from the event.",
		},
		{
			Key: "event_type", Title: "Event type", Type: integration.TypeString, Check: checkTemplate, Example: "deploy",
			Help: "Mode repository_dispatch: what workflows listen for, at most 100 characters. Without it, the event's own type.",
		},
		{
			Key: "workflow", Title: "Workflow", Type: integration.TypeString, Dynamic: true, Check: checkWorkflow,
			Example: "deploy.yml",
			Help:    "Mode workflow_dispatch: the workflow's file name, or its number.",
		},
		{
			Key: "ref", Title: "Branch or tag", Type: integration.TypeString, Dynamic: true, Check: checkTemplate, Default: "main", Example: "main",
			Help: "Mode workflow_dispatch: where the workflow runs. ${payload.…} takes it from the event.",
		},
		{
			Key: "inputs", Title: "Inputs", Type: integration.TypeMap, Check: checkInputs,
			Help: "Mode workflow_dispatch: the workflow's inputs. ${payload.…} in a value takes it from the event.",
		},
	}
}

// repositoryForm is an owner's login and a repository's name.
var repositoryForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}/[A-Za-z0-9._-]{1,100}$`)

func checkRepository(value any) error {
	text := value.(string)
	if _, name, _ := strings.Cut(text, "/"); !repositoryForm.MatchString(text) || name == "." || name == ".." {
		return errors.New("must be the owner and the name of a repository, such as acme/web, without an address")
	}
	return nil
}

func checkReceive(value any) error { return checkNames(value.([]string), eventNames()) }

func checkEntries(value any) error {
	return checkNames(value.([]string), []string{entryCommits, entryMerged, entryClosed, entryReleases})
}

func checkNames(given, known []string) error {
	for _, name := range given {
		switch {
		case name == none && len(given) > 1:
			return errors.New("holds none beside other values: give one or the other")
		case name != none && !slices.Contains(known, name):
			return fmt.Errorf("holds %.64q, but there are only %s and none", name, strings.Join(known, ", "))
		}
	}
	return nil
}

var workflowForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$`)

func checkWorkflow(value any) error {
	if !workflowForm.MatchString(value.(string)) {
		return errors.New("must be the name of a file below .github/workflows, such as deploy.yml, without its folder, or a workflow's number")
	}
	return nil
}

func checkTemplate(value any) error {
	_, err := parseTemplate(value.(string))
	return err
}

// maxInputs is what GitHub takes at most.
// https://docs.github.com/en/rest/actions/workflows#create-a-workflow-dispatch-event
const maxInputs = 25

func checkInputs(value any) error {
	inputs := value.(map[string]string)
	if len(inputs) > maxInputs {
		return fmt.Errorf("has more than %d inputs", maxInputs)
	}
	for name, text := range inputs {
		if err := checkTemplate(text); err != nil {
			return fmt.Errorf("%.64s %w", name, err)
		}
	}
	return nil
}

// Validate checks that a mode has what it needs.
func (s *Settings) Validate() error {
	switch {
	case s.Mode == ModeComment && s.Issue == "":
		return missing("settings.issue", "is required (Issue), because mode is comment")
	case s.Mode == ModeStatus && s.SHA == "":
		return missing("settings.sha", "is required (Commit), because mode is status")
	case s.Mode == ModeWorkflowDispatch && s.Workflow == "":
		return missing("settings.workflow", "is required (Workflow), because mode is workflow_dispatch")
	}
	return nil
}

func missing(path, message string) error {
	return &patchbay.Error{
		Code: patchbay.CodeMisconfiguredIntegration, Message: path + ": " + message,
		Details: []patchbay.Detail{{Path: path, Message: message}},
	}
}
