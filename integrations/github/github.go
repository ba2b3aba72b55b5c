// Package github connects a repository at GitHub, or at a GitHub Enterprise Server, both ways. What happens there comes in
// through a webhook that it registers on the repository, as events such as github.push and as entries of the people who
// got something done. What goes out becomes an issue, a comment, a commit status, or starts a workflow.
package github

import (
	"context"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

// Key names the integration in the API.
const Key = "github"

// partner is how messages call the service.
const partner = "GitHub"

// GitHub is the integration.
type GitHub struct{}

// New returns the integration.
func New() *GitHub { return &GitHub{} }

// Definition declares the integration.
func (*GitHub) Definition() *integration.Definition {
	return &integration.Definition{
		Key:      Key,
		Title:    partner,
		Category: "tracker",
		Description: "Brings in what happens in a repository, as events and as entries of who got it done, and creates issues, " +
			"comments, commit statuses and workflow runs there.",
		Docs:     docs,
		Settings: settingsSpec(),
		Decode:   integration.Into[Settings],
		Threads:  true,
		Threaded: func(settings any) bool { return settings.(*Settings).Mode == ModeIssue },
		Config:   configSpec(),
		Types:    eventTypes(),
		Hooked:   func(settings any) bool { return settings.(*Settings).receives() },
		Sends:    func(settings any) bool { return settings.(*Settings).Mode != ModeNone },
	}
}

// ShortName describes a link in a few words.
func (*GitHub) ShortName(settings any) string {
	return partner + " " + settings.(*Settings).Repository
}

// Destination says where a link leads.
func (*GitHub) Destination(settings any) string { return settings.(*Settings).Repository }

// Target names the repository. GitHub does not tell capitals from small letters in names.
func (*GitHub) Target(settings any) string {
	s := settings.(*Settings)
	target := strings.ToLower(s.Repository)
	if s.APIURL != "" {
		target = strings.ToLower(strings.TrimRight(s.APIURL, "/")) + " " + target
	}
	return target
}

// Test looks at the repository, and at what the account may do there.
func (*GitHub) Test(ctx context.Context, d *integration.Delivery) integration.Result {
	s := d.Settings.(*Settings)
	a, failed := newAPI(s, d.Connection, d.Env)
	if failed != nil {
		return *failed
	}
	var repository struct {
		HasIssues   *bool `json:"has_issues"`
		Archived    bool  `json:"archived"`
		Permissions *struct {
			Admin, Push bool
		} `json:"permissions"`
	}
	resp, failed := a.get(ctx, a.repository(s), &repository)
	if failed != nil {
		return *failed
	}
	may := repository.Permissions
	switch {
	case s.Mode != ModeNone && repository.Archived:
		return integration.UserError("%s is archived: nothing can be written there", s.Repository).With(resp)
	case s.Mode == ModeIssue && repository.HasIssues != nil && !*repository.HasIssues:
		return integration.UserError("%s has no issues: turn them on in the repository's settings at GitHub, or choose another mode",
			s.Repository).With(resp)
	case may != nil && s.Mode.pushes() && !may.Push:
		return integration.UserError("the account may not write to %s, which the mode %s needs", s.Repository, s.Mode).With(resp)
	case may != nil && s.hooks() && !may.Admin:
		return integration.UserError("the account does not administer %s, which is needed to register a webhook there",
			s.Repository).With(resp)
	}
	return integration.Delivered().With(resp)
}
