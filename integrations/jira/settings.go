package jira

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// methodRSASHA1 is the one signature method of OAuth 1.0a that Jira takes.
const methodRSASHA1 = "RSA-SHA1"

// Settings are a link's settings.
type Settings struct {
	BaseURL    string             `json:"jira_base_url"`
	ProjectKey string             `json:"project_key"`
	IssueType  string             `json:"issue_type"`
	Labels     []string           `json:"labels"`
	Priority   string             `json:"priority"`
	OAuth      OAuthSettings      `json:"oauth_settings"`
	Email      string             `json:"email"`
	APIToken   integration.Secret `json:"api_token"`
	Token      integration.Secret `json:"token"`
	// ResolveTransition names the transition of a message that resolves its thread.
	ResolveTransition string `json:"resolve_transition"`
	// CommentOnRepeat adds further messages of a thread to its open issue; OnRepeat says more and comes first.
	CommentOnRepeat bool   `json:"comment_on_repeat"`
	OnRepeat        string `json:"on_repeat"`
	// ReopenTransition names the transition of a message about what had been resolved.
	ReopenTransition string `json:"reopen_transition"`
	// Site is the host of the one of a connection's sites that the link is for.
	Site string `json:"site"`
	// Receive are the kinds of events that come in, Entries says whether finished issues are told as entries, and Hook who
	// registers the webhook.
	Receive []string `json:"receive"`
	Entries string   `json:"entries"`
	Hook    string   `json:"hook"`
}

// The values of settings. Those without a default stand for it when they are empty: links that only send keep the
// settings that they have.
const (
	repeatComment = "comment"
	repeatUpdate  = "update"
	repeatNothing = "nothing"
	anyTransition = "any"
	none          = "none"
	entriesDone   = "done"
	hookRegister  = "register"
	hookManual    = "manual"
)

// repeat is what a further message of a matter does.
func (s *Settings) repeat() string {
	switch {
	case s.OnRepeat != "":
		return s.OnRepeat
	case s.CommentOnRepeat:
		return repeatComment
	}
	return repeatNothing
}

// resolveBy is the transition that resolves: without one it is any over a connection, which is new, and none for links that
// sign in themselves, to which nothing happened before.
func (s *Settings) resolveBy() string {
	switch {
	case s.ResolveTransition != "":
		return s.ResolveTransition
	case s.BaseURL == "":
		return anyTransition
	}
	return none
}

// receives reports whether anything comes in, takes whether events of a kind do.
func (s *Settings) receives() bool         { return len(s.Receive) > 0 && !slices.Contains(s.Receive, none) }
func (s *Settings) takes(kind string) bool { return slices.Contains(s.Receive, kind) }
func (s *Settings) registers() bool        { return s.receives() && s.Hook != hookManual }
func (s *Settings) tellsEntries() bool     { return s.Entries != none }
func isNone(transition string) bool        { return strings.EqualFold(transition, none) }
func isAny(transition string) bool         { return strings.EqualFold(transition, anyTransition) }

// OAuthSettings are the access token of OAuth 1.0a.
type OAuthSettings struct {
	SignatureMethod string             `json:"signature_method"`
	AccessToken     integration.Secret `json:"access_token"`
	AccessSecret    integration.Secret `json:"access_secret"`
}

func settingsSpec() integration.Spec {
	return append(integration.Spec{
		{
			Key: "jira_base_url", Title: "URL to your JIRA integration", Type: integration.TypeURL, Required: true, UnlessConnected: true,
			Target: true, Check: integration.CheckBaseURL, Example: "https://acme.atlassian.net",
			Help: "For links that sign in themselves. A connection brings its own.",
		},
		{
			Key: "site", Title: "Site", Type: integration.TypeString, Dynamic: true, Example: "acme.atlassian.net",
			Help: "Which site at Atlassian, where the connection reaches several. Without it the connection's own.",
		},
		{Key: "project_key", Title: "Project Key", Type: integration.TypeString, Required: true, Dynamic: true, Example: "ABC"},
		{Key: "issue_type", Title: "Issue type", Type: integration.TypeString, Dynamic: true, Default: "Bug", Help: "What is made of an event. The project must have it."},
		{
			Key: "oauth_settings", Title: "OAuth 1.0a", Type: integration.TypeObject,
			Help: "The access token of an application link. Give this, or e-mail and API token, or a personal access token.",
			Fields: integration.Spec{
				{
					Key: "signature_method", Title: "Signature method", Type: integration.TypeSelect, Required: true,
					Options: []integration.Option{{Value: methodRSASHA1, Title: methodRSASHA1}},
				},
				{Key: "access_token", Title: "Access token", Type: integration.TypeString, Required: true, Secret: true, Help: "Of the user whom the issues are made by."},
				{Key: "access_secret", Title: "Access token secret", Type: integration.TypeString, Required: true, Secret: true, Help: "Came together with the access token."},
			},
		},
		{
			Key: "email", Title: "E-mail of the account", Type: integration.TypeString, Example: "bot@example.com",
			Help: "With an API token, for Jira Cloud.",
		},
		{
			Key: "api_token", Title: "API token", Type: integration.TypeString, Secret: true,
			Help: "Made at id.atlassian.com. With an e-mail, for Jira Cloud.",
		},
		{
			Key: "token", Title: "Personal access token", Type: integration.TypeString, Secret: true,
			Help: "Sent as a bearer token, for Jira Data Center.",
		},
		{Key: "labels", Title: "Labels", Type: integration.TypeList, Help: "Labels that every issue gets.", Example: "patchbay"},
		{Key: "priority", Title: "Priority", Type: integration.TypeString, Dynamic: true, Example: "High"},
		{
			Key: "resolve_transition", Title: "Transition that resolves", Type: integration.TypeString, Dynamic: true, Example: "Done",
			Help: "What happens to the open issue when a message says that the matter is resolved: a transition or the status it leads " +
				"to, any for whichever leads to a status that is done, none. Without it: any over a connection, otherwise none.",
		},
		{
			Key: "comment_on_repeat", Title: "Comment when it happens again", Type: integration.TypeBoolean, Default: false,
			Help: "Adds a further message of the same matter to the open issue.",
		},
	}, bothWaysSpec()...)
}

// bothWaysSpec are the settings that links had not before they could receive.
func bothWaysSpec() integration.Spec {
	return integration.Spec{
		{
			Key: "on_repeat", Title: "When it happens again", Type: integration.TypeSelect,
			Options: []integration.Option{
				{Value: repeatComment, Title: "Comment on the open issue"},
				{Value: repeatUpdate, Title: "Update its summary and description"},
				{Value: repeatNothing, Title: "Leave it as it is"},
			},
			Help: "Says more than comment_on_repeat, and comes first. Without both: nothing.",
		},
		{
			Key: "reopen_transition", Title: "Transition that opens again", Type: integration.TypeString, Dynamic: true, Example: "Reopen",
			Help: "What happens to the resolved issue of a matter that comes up again: a transition or the status it leads to, or any for " +
				"whichever leads to a status that is not done. Without it, a new issue.",
		},
		{
			Key: "receive", Title: "What comes in", Type: integration.TypeList, Dynamic: true, Check: checkReceive, Main: true,
			Example: "issue_created",
			Help:    "Kinds of events of the project: issue_created becomes jira.issue_created. Without it, nothing comes in.",
		},
		{
			Key: "entries", Title: "What becomes entries", Type: integration.TypeSelect,
			Options: []integration.Option{
				{Value: entriesDone, Title: "Issues that somebody moves to a status that is done"}, {Value: none, Title: "Nothing"},
			},
			Help: "What of what comes in is told as done by a person (entry.created). It takes issue_updated. Without it: done.",
		},
		{
			Key: "hook", Title: "Who registers the webhook", Type: integration.TypeSelect,
			Options: []integration.Option{
				{Value: hookRegister, Title: "Patchbay, for this link"},
				{Value: hookManual, Title: "An administrator of Jira, by hand, with the link's address and secret"},
			},
			Help: "Without it: Patchbay. Outside connections by OAuth 2 that takes an account that administers Jira.",
		},
	}
}

func checkReceive(value any) error {
	given := value.([]string)
	for _, name := range given {
		switch {
		case name == none && len(given) > 1:
			return errors.New("holds none beside other values: give one or the other")
		case name != none && !slices.Contains(eventNames(), name):
			return fmt.Errorf("holds %.64q, but there are only %s and none", name, strings.Join(eventNames(), ", "))
		}
	}
	return nil
}

// signs reports whether requests are signed with OAuth 1.0a.
func (s *Settings) signs() bool { return s.OAuth != OAuthSettings{} }

// Validate checks that there is exactly one way to sign in. Without an address it is the connection's.
func (s *Settings) Validate() error {
	oauth, basic, bearer := s.signs(), s.Email != "" || s.APIToken != "", s.Token != ""
	switch {
	case s.BaseURL == "" && (oauth || basic || bearer):
		return missing("settings.jira_base_url", "is required (URL to your JIRA integration), because the link signs in itself")
	case s.BaseURL == "":
		return nil
	case !oauth && !basic && !bearer:
		return missing("settings.oauth_settings", "is required (OAuth 1.0a), unless there are email and api_token, or token")
	case oauth && (basic || bearer) || basic && bearer:
		return patchbay.Invalid("settings", "there is more than one way to sign in: give only one of oauth_settings, email with api_token, and token")
	case basic && s.APIToken == "":
		return missing("settings.api_token", "is required (API token), because there is an email; a personal access token goes into token")
	case basic && s.Email == "":
		return missing("settings.email", "is required (E-mail of the account), because there is an api_token; a personal access token goes into token")
	}
	return nil
}

func missing(path, message string) error {
	return &patchbay.Error{
		Code: patchbay.CodeMisconfiguredIntegration, Message: path + ": " + message,
		Details: []patchbay.Detail{{Path: path, Message: message}},
	}
}

// cloud reports whether the address is Jira Cloud's. Its host says so; asking the server would be a request more and
// an answer that somebody else decides about.
func (s *Settings) cloud() bool { return isCloud(s.BaseURL) }

func isCloud(base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	return strings.HasSuffix(host, ".atlassian.net") || host == "api.atlassian.com"
}
