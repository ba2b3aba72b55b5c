package github

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/patchbay/patchbay/integration"
)

// payload is what we understand of a call. Everything may be missing.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads
type payload struct {
	Action     string `json:"action"`
	Repository struct {
		FullName      string `json:"full_name"`
		DefaultBranch string `json:"default_branch"`
		MasterBranch  string `json:"master_branch"` // what pushes called it
		Owner         user   `json:"owner"`
	} `json:"repository"`
	Organization user `json:"organization"`
	Installation struct {
		ID      json.Number `json:"id"`
		Account user        `json:"account"`
	} `json:"installation"`
	Sender user `json:"sender"`

	// Of a push.
	Ref        string   `json:"ref"`
	Deleted    bool     `json:"deleted"`
	Commits    []commit `json:"commits"`
	HeadCommit *commit  `json:"head_commit"`

	// What other events are about.
	PullRequest *thing `json:"pull_request"`
	Issue       *thing `json:"issue"`
	Comment     *thing `json:"comment"`
	Review      *thing `json:"review"`
	Release     *thing `json:"release"`
	WorkflowRun *thing `json:"workflow_run"`
	WorkflowJob *thing `json:"workflow_job"`
	CheckRun    *thing `json:"check_run"`
	Discussion  *thing `json:"discussion"`
	Deployment  *thing `json:"deployment"`
	Forkee      *thing `json:"forkee"`
	Alert       *thing `json:"alert"`
	StarredAt   string `json:"starred_at"`
	UpdatedAt   string `json:"updated_at"` // of a commit status
	Context     string `json:"context"`    // of a commit status

	Changes struct {
		Title *struct{} `json:"title"`
		Body  *struct {
			From string `json:"from"`
		} `json:"body"`
	} `json:"changes"`
}

// user is an account.
type user struct {
	ID        json.Number `json:"id"`
	Login     string      `json:"login"`
	Email     string      `json:"email"`
	AvatarURL string      `json:"avatar_url"`
	HTMLURL   string      `json:"html_url"`
	Type      string      `json:"type"`
}

// commit is one commit of a push.
type commit struct {
	ID        string `json:"id"`
	Distinct  bool   `json:"distinct"`
	Message   string `json:"message"`
	Timestamp string `json:"timestamp"`
	URL       string `json:"url"`
	Author    struct {
		Name     string `json:"name"`
		Email    string `json:"email"`
		Username string `json:"username"`
	} `json:"author"`
}

// thing is what an event is about: a pull request, an issue, a comment, a review, a release, a run, …
type thing struct {
	ID          json.Number `json:"id"`
	Number      json.Number `json:"number"`
	Title       string      `json:"title"`
	Name        string      `json:"name"`
	TagName     string      `json:"tag_name"`
	Body        string      `json:"body"`
	HTMLURL     string      `json:"html_url"`
	User        *user       `json:"user"`
	Merged      bool        `json:"merged"`
	Draft       bool        `json:"draft"`
	StateReason string      `json:"state_reason"`
	CreatedAt   string      `json:"created_at"`
	UpdatedAt   string      `json:"updated_at"`
	SubmittedAt string      `json:"submitted_at"`
	PublishedAt string      `json:"published_at"`
	ClosedAt    string      `json:"closed_at"`
	MergedAt    string      `json:"merged_at"`
	StartedAt   string      `json:"started_at"`
	CompletedAt string      `json:"completed_at"`
	// App is the GitHub App through which a user made it.
	App *struct {
		ClientID string `json:"client_id"`
	} `json:"performed_via_github_app"`
	PullRequest *struct{} `json:"pull_request"` // of an issue that is one
}

// owner is whose repository it is, or whose installation.
func (p *payload) owner() json.Number {
	for _, u := range []*user{&p.Repository.Owner, &p.Organization, &p.Installation.Account} {
		if u.ID != "" {
			return u.ID
		}
	}
	return ""
}

// reader reads one call for one link.
type reader struct {
	call  *integration.HookCall
	event string
	p     *payload
	s     *Settings
	base  string // of the API, which says whose numbers accounts have
	app   string // the client id of the operator's app
}

// person makes a Person of an account; nil when there is none.
func (r *reader) person(u *user) *integration.Person {
	if u == nil || u.Login == "" && u.ID == "" {
		return nil
	}
	return &integration.Person{
		ID: accountID(r.base, u.ID), Name: u.Login, Email: u.Email, Avatar: u.AvatarURL, URL: u.HTMLURL,
	}
}

// bot reports whether an account is a program's.
func (u *user) bot() bool { return u != nil && (u.Type == "Bot" || isBot(u.Login)) }

func isBot(login string) bool { return strings.HasSuffix(login, "[bot]") }

// maxAhead is how far GitHub's clock may be ahead of ours.
const maxAhead = 5 * time.Minute

// occurredAt is when it happened, as far as the call says; zero when it does not.
func (r *reader) occurredAt() time.Time {
	for _, text := range r.times() {
		t, err := time.Parse(time.RFC3339, text)
		if err == nil && t.Year() > 2000 && t.Before(r.call.ReceivedAt.Add(maxAhead)) {
			return t.UTC()
		}
	}
	return time.Time{}
}

// times are the times of what an event is about, the best first. A push has none: the times of commits are when they were
// made.
func (r *reader) times() []string {
	p := r.p
	switch r.event {
	case "push", "create", "delete", "member", "public", "label", "gollum":
		return nil
	case "star":
		return []string{p.StarredAt}
	case "status":
		return []string{p.UpdatedAt}
	case "release":
		return pick(p.Release, func(t *thing) []string { return []string{t.PublishedAt, t.CreatedAt} })
	case "fork":
		return pick(p.Forkee, func(t *thing) []string { return []string{t.CreatedAt} })
	case "pull_request_review":
		return pick(p.Review, func(t *thing) []string { return []string{t.SubmittedAt} })
	}
	for _, about := range []*thing{
		p.Comment, p.Review, p.WorkflowJob, p.CheckRun, p.WorkflowRun, p.PullRequest, p.Issue, p.Discussion, p.Deployment, p.Alert,
	} {
		if about != nil {
			return []string{about.UpdatedAt, about.CompletedAt, about.StartedAt, about.CreatedAt}
		}
	}
	return nil
}

func pick(t *thing, of func(*thing) []string) []string {
	if t == nil {
		return nil
	}
	return of(t)
}

// own reports whether we did it ourselves. See markerForm; GitHub tells of GitHub Apps, but not of OAuth apps, through which
// app somebody did something.
func (r *reader) own() bool {
	p := r.p
	switch r.event {
	case "status":
		name := strings.ToLower(p.Context)
		return name == defaultContext || strings.HasPrefix(name, defaultContext+"/") ||
			r.s.Mode == ModeStatus && name != "" && name == strings.ToLower(r.s.Context)
	case "issue_comment":
		if p.Action != "created" || p.Comment == nil {
			return false
		}
		did, _ := marked(p.Comment.Body)
		return did == didComment || r.viaApp(p.Comment)
	case "issues":
		if p.Issue == nil {
			return false
		}
		return r.ownIssue(p.Issue)
	}
	return false
}

func (r *reader) ownIssue(i *thing) bool {
	did, _ := marked(i.Body)
	switch r.p.Action {
	case "opened":
		return did == didOpen || r.viaApp(i)
	case "closed", "reopened":
		return did == r.p.Action
	case "labeled", "assigned": // with which it was opened
		created, err := time.Parse(time.RFC3339, i.CreatedAt)
		updated, err2 := time.Parse(time.RFC3339, i.UpdatedAt)
		return err == nil && err2 == nil && did == didOpen && updated.Sub(created) <= 5*time.Second
	case "edited": // only the marker is new
		body, title := r.p.Changes.Body, r.p.Changes.Title
		return did != "" && title == nil && body != nil && body.From != i.Body && unmarked(body.From) == unmarked(i.Body)
	}
	return false
}

func (r *reader) viaApp(t *thing) bool {
	return r.app != "" && t.App != nil && t.App.ClientID == r.app
}

// numbered is the form of an address that GitHub gives people who do not show theirs; it begins with the account's number.
// https://docs.github.com/en/account-and-profile/reference/email-addresses-reference
var numbered = regexp.MustCompile(`^([0-9]{1,18})\+[^@+]+@users\.noreply\.github\.com$`)

// author is who wrote a commit. A push names only logins; the number of an account is told by an address without a mailbox,
// or by the sender, when that is the same person.
func (r *reader) author(c *commit) *integration.Person {
	a := c.Author
	out := &integration.Person{Name: a.Username, Email: a.Email}
	if out.Name == "" {
		out.Name = a.Name
	}
	switch number := numbered.FindStringSubmatch(a.Email); {
	case a.Username != "" && strings.EqualFold(a.Username, r.p.Sender.Login):
		person := r.person(&r.p.Sender)
		person.Email = a.Email
		return person
	case number != nil && r.base == publicAPI:
		out.ID = accountID(r.base, json.Number(number[1]))
	}
	if *out == (integration.Person{}) {
		return nil
	}
	return out
}
