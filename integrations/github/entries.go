package github

import (
	"strings"
	"time"

	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

const (
	// maxEntries bounds how many commits of one push are told: a push may hold 2,048, mostly somebody else's history.
	// https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
	maxEntries = 250
	// maxEntryText is in characters.
	maxEntryText = 500
)

// entries are what people got done, as the link wants to hear it. Programs get nothing done.
func (r *reader) entries() []integration.Entry {
	p := r.p
	switch {
	case r.event == "push" && r.s.tells(entryCommits):
		return r.commits()
	case r.event == "pull_request" && p.Action == "closed" && p.PullRequest != nil && p.PullRequest.Merged &&
		r.s.tells(entryMerged):
		// The one who wrote it, whoever pressed the button.
		return r.entry(p.PullRequest, p.PullRequest.User, "Merged", p.PullRequest.Title, p.PullRequest.MergedAt)
	case r.event == "issues" && p.Action == "closed" && p.Issue != nil && p.Issue.StateReason != "not_planned" &&
		p.Issue.StateReason != "duplicate" && r.s.tells(entryClosed):
		return r.entry(p.Issue, &p.Sender, "Closed", p.Issue.Title, p.Issue.ClosedAt)
	case r.event == "release" && p.Action == "published" && p.Release != nil && r.s.tells(entryReleases):
		name := p.Release.Name
		if name == "" {
			name = p.Release.TagName
		}
		return r.entry(p.Release, &p.Sender, "Released", name, p.Release.PublishedAt)
	}
	return nil
}

// entry tells of one thing.
func (r *reader) entry(t *thing, by *user, did, what, at string) []integration.Entry {
	text := markup.Line(what)
	if by.bot() || text == "" {
		return nil
	}
	if t.Number != "" {
		did += " #" + t.Number.String() + ":"
	}
	e := integration.Entry{
		Text: clip(did + " " + text), OccurredOn: day(at), ExternalID: t.HTMLURL, ExternalURL: t.HTMLURL, Author: r.person(by),
	}
	if e.ExternalID == "" {
		e.ExternalID = r.p.Repository.FullName + "/" + r.event + "/" + t.ID.String()
	}
	return []integration.Entry{e}
}

// commits tells of the commits that are new in the repository with a push to its default branch, merges apart.
func (r *reader) commits() []integration.Entry {
	p := r.p
	branch := p.Repository.DefaultBranch
	if branch == "" {
		branch = p.Repository.MasterBranch
	}
	if p.Deleted || branch == "" || p.Ref != "refs/heads/"+branch {
		return nil
	}
	var out []integration.Entry
	for i := range p.Commits {
		c := &p.Commits[i]
		text := subject(c.Message)
		if !c.Distinct || text == "" || merges(text) || isBot(c.Author.Username) || isBot(c.Author.Name) {
			continue
		}
		out = append(out, integration.Entry{
			Text: clip(text), OccurredOn: day(c.Timestamp), ExternalID: c.ID, ExternalURL: c.URL, Author: r.author(c),
		})
	}
	return out[max(0, len(out)-maxEntries):]
}

// merges reports whether a commit only brings branches together, by the words that Git and GitHub write for that. A push
// does not name the parents of commits.
func merges(subject string) bool {
	for _, begin := range []string{"Merge pull request #", "Merge branch '", "Merge remote-tracking branch '", "Merge branches '"} {
		if strings.HasPrefix(subject, begin) {
			return true
		}
	}
	return false
}

// subject is the first line of a message that is not blank.
func subject(message string) string {
	for line := range strings.Lines(message) {
		if text := markup.Line(line); text != "" {
			return text
		}
	}
	return ""
}

func clip(text string) string { return markup.Clip(text, maxEntryText) }

// day is the day of a time where its author was, "" when it is none. Commits carry their author's offset; what GitHub times
// itself is in UTC.
func day(text string) string {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 1970 || t.Year() > 9998 {
		return ""
	}
	return t.Format(time.DateOnly)
}
