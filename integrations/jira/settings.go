package jira

import (
	"net/url"
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
	// CommentOnRepeat adds further messages of a thread to its open issue.
	CommentOnRepeat bool `json:"comment_on_repeat"`
}

// OAuthSettings are the access token of OAuth 1.0a.
type OAuthSettings struct {
	SignatureMethod string             `json:"signature_method"`
	AccessToken     integration.Secret `json:"access_token"`
	AccessSecret    integration.Secret `json:"access_secret"`
}

func settingsSpec() integration.Spec {
	return integration.Spec{
		{
			Key: "jira_base_url", Title: "URL to your JIRA integration", Type: integration.TypeURL, Required: true, Target: true,
			Check: integration.CheckBaseURL, Example: "https://acme.atlassian.net",
		},
		{Key: "project_key", Title: "Project Key", Type: integration.TypeString, Required: true, Example: "ABC"},
		{Key: "issue_type", Title: "Issue type", Type: integration.TypeString, Default: "Bug"},
		{
			Key: "oauth_settings", Title: "OAuth 1.0a", Type: integration.TypeObject,
			Help: "The access token of an application link. Give this, or e-mail and API token, or a personal access token.",
			Fields: integration.Spec{
				{
					Key: "signature_method", Title: "Signature method", Type: integration.TypeSelect, Required: true,
					Options: []integration.Option{{Value: methodRSASHA1, Title: methodRSASHA1}},
				},
				{Key: "access_token", Title: "Access token", Type: integration.TypeString, Required: true, Secret: true},
				{Key: "access_secret", Title: "Access token secret", Type: integration.TypeString, Required: true, Secret: true},
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
		{Key: "priority", Title: "Priority", Type: integration.TypeString, Example: "High"},
		{
			Key: "resolve_transition", Title: "Transition that resolves", Type: integration.TypeString, Example: "Done",
			Help: "What happens to the open issue when a message says that the matter is resolved.",
		},
		{
			Key: "comment_on_repeat", Title: "Comment when it happens again", Type: integration.TypeBoolean, Default: false,
			Help: "Adds a further message of the same matter to the open issue.",
		},
	}
}

// signs reports whether requests are signed with OAuth 1.0a.
func (s *Settings) signs() bool { return s.OAuth != OAuthSettings{} }

// Validate checks that there is exactly one way to sign in.
func (s *Settings) Validate() error {
	oauth, basic, bearer := s.signs(), s.Email != "" || s.APIToken != "", s.Token != ""
	switch {
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
func (s *Settings) cloud() bool {
	u, err := url.Parse(s.BaseURL)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	return strings.HasSuffix(host, ".atlassian.net") || host == "api.atlassian.com"
}
