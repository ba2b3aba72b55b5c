package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/cluster"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/sealing"
	"github.com/patchbay/patchbay/internal/session"
)

// Installation knows how this process is set up, and how it is. Its callers need admin on the whole installation.
type Installation interface {
	// About says what runs here.
	About(ctx context.Context, c *access.Caller) (*About, error)
	// Checks look for what an operator should know of. far asks others too, such as the mail server, which takes a while.
	Checks(ctx context.Context, c *access.Caller, far bool) ([]Check, error)
	// Settings are the configuration as it is in effect, without its secrets.
	Settings(c *access.Caller) ([]config.SettingGroup, error)
}

// Sealing knows the keys that secrets are sealed with.
type Sealing interface {
	Overview(ctx context.Context, c *access.Caller) (*sealing.Overview, error)
	Rotate(ctx context.Context, c *access.Caller) (*jobs.View, error)
}

// About is what runs.
type About struct {
	Version, Go, Platform string
	StartedAt             time.Time
	// Database describes it; Engine is its version, Schema the number of its tables' layout.
	Database, Engine string
	Schema           int
	// Bytes is what the database takes, MaxBytes the most that it may; 0 is no limit. Queued counts deliveries that wait.
	Bytes, MaxBytes, Queued int64
	// Kept says for how long what is kept, by what it is.
	Kept [][2]string
}

// Check is what one look came to.
type Check struct {
	Name string
	// Status is ok, warning or failed; What says what was found, Do what to do about it.
	Status, What, Do string
}

// installationPage is one of the pages about the installation; what the others have is nil.
type installationPage struct {
	Tabs     []option
	About    *aboutPart
	Groups   []config.SettingGroup
	Secrets  *secretsPart
	Rotate   bool
	Sessions *sessionsPart
	Look     *lookPart
}

type aboutPart struct {
	About
	Size string
	// Full is how much of the most that the database may take it does, in percent; 0 where there is no such limit.
	Full   int
	Checks []checkRow
	// Bad and Warn count checks that found something. Far says that others were asked too.
	Bad, Warn int
	Far       bool
	Nodes     []cluster.NodeView
	Waiting   int64
}

type checkRow struct {
	Check
	Kind, Word string
}

type secretsPart struct {
	*sealing.Overview
	Rows []secretRow
}

type secretRow struct {
	sealing.KeyView
	Kind, Word string
}

type sessionsPart struct {
	Kinds []option
	Rows  []sessionRow
	Next  string
	// Portals says that these are customers'.
	Portals bool
}

type sessionRow struct {
	session.SessionView
	// Way says how an operator signed in, Browser what with, and Role what they may do, in words.
	Way, Browser, Role string
}

type lookPart struct {
	Theme theme
	// Given is the accent that is configured or tried, Light and Dark what became of it on either ground.
	Given, Light, Dark string
	// Tried says that it is not the configured one. Error is what is wrong with it.
	Tried bool
	Error string
	// Sheet is the address of the preview's colours.
	Sheet string
}

// sessionsShown is how many sessions one page lists.
const sessionsShown = 50

// installationTabs are the pages about the installation. Who looks after a part of it sees the sessions of that alone.
var installationTabs = []option{
	{Value: "/installation", Title: "Health"}, {Value: "/installation/configuration", Title: "Configuration"}, {Value: "/installation/secrets", Title: "Secrets"},
	{Value: "/installation/sessions", Title: "Sessions"}, {Value: "/installation/look", Title: "Portal's look"},
}

// wholeInstallation lets those look who look after all of it.
func (c *call) wholeInstallation() error {
	if err := c.administrators(); err != nil {
		return err
	}
	if c.o.Installation == nil || c.o.Sealing == nil {
		return patchbay.Errorf(patchbay.CodeNotFound, "the page that you wanted does not exist")
	}
	return c.who.Reach("")
}

func (c *call) showInstallation(tab string, body *installationPage) error {
	title := "Settings"
	for _, t := range installationTabs {
		if c.who.Scope != "" && t.Value != "/installation/sessions" {
			continue
		}
		if t.Chosen = t.Value == tab; t.Chosen {
			title = t.Title
		}
		body.Tabs = append(body.Tabs, t)
	}
	if strings.HasSuffix(c.r.URL.Path, "/rotate") {
		title = "New key for secrets"
	}
	return c.show(http.StatusOK, "installation", &page{Title: title, Nav: "installation", Body: body})
}

// installation shows how it is.
func (c *call) installation() error {
	if err := c.administrators(); err != nil {
		return err
	}
	if c.who.Scope != "" {
		return c.redirect("/installation/sessions")
	}
	if err := c.wholeInstallation(); err != nil {
		return err
	}
	about, err := c.o.Installation.About(c.r.Context(), c.who)
	if err != nil {
		return err
	}
	part := &aboutPart{About: *about, Size: bytesWord(about.Bytes), Far: c.r.FormValue("far") != ""}
	if about.MaxBytes > 0 {
		part.Full = int(min(100, about.Bytes*100/about.MaxBytes))
	}
	checks, err := c.o.Installation.Checks(c.r.Context(), c.who, part.Far)
	if err != nil {
		return err
	}
	for _, check := range checks {
		row := checkRow{check, "ok", "Fine"}
		switch check.Status {
		case "warning":
			row.Kind, row.Word = "warn", "Look"
			part.Warn++
		case "failed":
			row.Kind, row.Word = "bad", "Broken"
			part.Bad++
		}
		part.Checks = append(part.Checks, row)
	}
	if c.o.Nodes != nil {
		o, err := c.o.Nodes.Overview(c.r.Context(), c.who)
		if err != nil {
			return err
		}
		part.Nodes, part.Waiting = o.Nodes, o.Waiting
	}
	return c.showInstallation("/installation", &installationPage{About: part})
}

// configuration shows every setting, and where it comes from.
func (c *call) configuration() error {
	if err := c.wholeInstallation(); err != nil {
		return err
	}
	groups, err := c.o.Installation.Settings(c.who)
	if err != nil {
		return err
	}
	return c.showInstallation("/installation/configuration", &installationPage{Groups: groups})
}

// secrets shows which keys secrets are sealed with.
func (c *call) secrets() error {
	if err := c.wholeInstallation(); err != nil {
		return err
	}
	o, err := c.o.Sealing.Overview(c.r.Context(), c.who)
	if err != nil {
		return err
	}
	part := &secretsPart{Overview: o}
	for _, k := range o.Keys {
		row := secretRow{KeyView: k, Word: "Not in use"}
		switch {
		case k.Current:
			row.Kind, row.Word = "ok", "In use"
		case k.Rows > 0:
			row.Kind, row.Word = "warn", "Still needed"
		}
		part.Rows = append(part.Rows, row)
	}
	return c.showInstallation("/installation/secrets", &installationPage{Secrets: part})
}

func (c *call) confirmRotation() error {
	if err := c.wholeInstallation(); err != nil {
		return err
	}
	return c.showInstallation("/installation/secrets", &installationPage{Rotate: true})
}

// rotateSecrets takes another key into use, and leads to the job that seals everything anew.
func (c *call) rotateSecrets() error {
	if err := c.wholeInstallation(); err != nil {
		return err
	}
	j, err := c.o.Sealing.Rotate(c.r.Context(), c.who)
	if err != nil {
		return err
	}
	c.leave(&note{Kind: "ok", Title: "Everything is being sealed with a new key.", Text: "Nothing stops meanwhile. Keep a copy of the key file as it is now, apart from the backups of the database."})
	return c.redirect("/jobs/" + j.ID.String())
}

// openSessions lists who is signed in.
func (c *call) openSessions() error {
	if err := c.administrators(); err != nil {
		return err
	}
	part := &sessionsPart{Portals: c.r.FormValue("of") == "customers"}
	f := session.SessionFilter{Portal: &part.Portals, Limit: sessionsShown}
	if text := c.r.FormValue("after"); text != "" && f.After.UnmarshalText([]byte(text)) != nil {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not the identifier of a session", clip(text))
	}
	part.Kinds = []option{
		{Value: "/installation/sessions", Title: "Operators", Chosen: !part.Portals}, {Value: "/installation/sessions?of=customers", Title: "Customers' portals", Chosen: part.Portals},
	}
	views, more, err := c.o.SignedIn.Sessions(c.r.Context(), c.who, f)
	if err != nil {
		return err
	}
	for _, v := range views {
		row := sessionRow{SessionView: v, Way: "an API key", Browser: browserName(v.Agent), Role: roleWord(v.Role)}
		if v.Via != session.ViaKey && v.Via != "" {
			row.Way = strings.TrimPrefix(v.Via, "https://")
		}
		part.Rows = append(part.Rows, row)
	}
	if more {
		part.Next = link("/installation/sessions", "of", c.r.FormValue("of"), "after", views[len(views)-1].ID.String())
	}
	return c.showInstallation("/installation/sessions", &installationPage{Sessions: part})
}

// endSession ends somebody's session.
func (c *call) endSession() error {
	if err := c.administrators(); err != nil {
		return err
	}
	var id patchbay.SessionID
	if id.UnmarshalText([]byte(c.r.PathValue("id"))) != nil || id == 0 {
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no session %q", clip(c.r.PathValue("id")))
	}
	if id == c.who.Session {
		return c.signOut()
	}
	if err := c.o.SignedIn.EndSession(c.r.Context(), c.who, id); err != nil {
		return err
	}
	c.leave(&note{Kind: "ok", Title: "The session has ended.", Text: "Its pages answer nothing any more."})
	return c.redirect(local(c.r.FormValue("return"), "/installation/sessions"))
}

// browserName says in a few words what a browser calls itself (RFC 9110, section 10.1.5, which nobody keeps to).
func browserName(agent string) string {
	name := ""
	for _, known := range [][2]string{{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}} {
		if strings.Contains(agent, known[0]) {
			name = known[1]
			break
		}
	}
	for _, known := range [][2]string{{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS X", "a Mac"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"}} {
		if name != "" && strings.Contains(agent, known[0]) {
			return name + " on " + known[1]
		}
	}
	if name == "" {
		name, _, _ = strings.Cut(agent, " ")
	}
	return clip(name)
}

// look shows what customers' portals look like, with the configured accent or with another one.
func (c *call) look() error {
	if err := c.wholeInstallation(); err != nil {
		return err
	}
	part := &lookPart{Theme: c.theme}
	if c.theme.accent != nil {
		part.Given = c.theme.accent.String()
	}
	if tried := strings.TrimSpace(c.r.FormValue("accent")); tried != "" && tried != part.Given {
		given, ok := parseColour(tried)
		if !ok {
			part.Error = fmt.Sprintf("%q is not a colour: write # and six hexadecimal digits, such as #1f57c3.", clip(tried))
		} else {
			part.Theme.accent, part.Given, part.Tried = &given, given.String(), true
		}
	}
	if a := part.Theme.accent; a != nil {
		part.Light, part.Dark = a.readable(lightGround).String(), a.readable(darkGround).String()
	}
	part.Sheet = link("/installation/look.css", "accent", part.Given)
	return c.showInstallation("/installation/look", &installationPage{Look: part})
}

// lookSheet is the preview's colours.
func (c *call) lookSheet() error {
	if err := c.wholeInstallation(); err != nil {
		return err
	}
	var t theme
	if given, ok := parseColour(c.r.FormValue("accent")); ok {
		t.accent = &given
	}
	css := strings.ReplaceAll(t.css(), ":root", ".portal-look")
	c.secure()
	c.w.Header().Set("Content-Type", "text/css; charset=utf-8")
	c.w.Header().Set("Cache-Control", "no-store")
	_, _ = c.w.Write([]byte(css)) // an error means that the browser is gone
	return nil
}

// bytesWord spells a size for people.
func bytesWord(n int64) string {
	units := []string{"bytes", "KB", "MB", "GB", "TB"}
	x, u := float64(n), 0
	for x >= 1024 && u < len(units)-1 {
		x, u = x/1024, u+1
	}
	if u == 0 || x >= 100 {
		return fmt.Sprintf("%.0f %s", x, units[u])
	}
	return fmt.Sprintf("%.1f %s", x, units[u])
}
