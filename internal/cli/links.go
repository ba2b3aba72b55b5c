package cli

import (
	"context"

	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
)

type linksCmd struct {
	connection
	List   linksListCmd   `cmd:"" default:"withargs" help:"List links."`
	Show   linksShowCmd   `cmd:"" help:"Show a link, and how it is doing."`
	Create linksCreateCmd `cmd:"" help:"Make a link: these events, in this scope, go to that integration."`
	Pause  linksPauseCmd  `cmd:"" help:"Hold what matches a link."`
	Resume linksResumeCmd `cmd:"" help:"Deliver what a link held; enable one that was disabled."`
	Test   linksTestCmd   `cmd:"" help:"Make one attempt over a link."`
	Rotate linksRotateCmd `cmd:"" help:"Give a link a new signing secret; the old one signs too for a while."`
	Delete linksDeleteCmd `cmd:"" help:"Remove a link."`
}

type linksListCmd struct {
	Scope       *string `name:"scope" help:"Only links at or below this scope."`
	Effective   bool    `name:"effective" help:"Instead, every link that an event of --scope could match, inherited ones included."`
	Integration string  `name:"integration" placeholder:"KEY" help:"Only links to an integration."`
	paging
}

// Run lists links.
func (c *linksListCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	f := client.LinkFilter{Effective: c.Effective, Integration: c.Integration, Paging: c.page()}
	if c.Effective && c.Scope == nil {
		return usagef("--effective needs a --scope; --scope= is the whole installation")
	}
	if c.Scope != nil {
		s, err := scope(*c.Scope)
		if err != nil {
			return err
		}
		f.Scope = &s
	}
	page, err := api.Links(p.ctx, f)
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(page.Data))
	for i, l := range page.Data {
		look := console.LinkLook(l.State)
		name := l.Name
		if name == "" {
			name = l.ShortName
		}
		rows[i] = []console.Cell{
			{Text: l.ID.String()}, {Text: look.Sign + " " + string(l.State), Style: look.Style}, {Text: name, Style: console.Bold},
			{Text: scopeName(l.Scope)}, {Text: console.Clip(eventsOf(&l), 30)}, {Text: health(l.Health), Style: console.Dim},
		}
	}
	p.table("There are no links. \"patchbay links create\" makes one.", []string{"LINK", "STATE", "NAME", "SCOPE", "EVENTS", "HEALTH"}, rows)
	p.more(page.Next)
	return nil
}

// eventsOf says what goes over a link.
func eventsOf(l *client.Link) string {
	if len(l.Events) == 0 {
		return "only receives"
	}
	return joined(l.Events)
}

// health says in a few words how a link is doing.
func health(h *client.Health) string {
	if h == nil {
		return ""
	}
	var parts []string
	if h.Breaker != "" && h.Breaker != "closed" {
		parts = append(parts, "breaker "+h.Breaker)
	}
	if h.Failures > 0 {
		parts = append(parts, count(h.Failures, "failure", "failures")+" in a row")
	}
	if h.Waiting > 0 {
		parts = append(parts, fmt.Sprintf("%d waiting", h.Waiting))
	}
	if h.FilterErrors > 0 {
		parts = append(parts, fmt.Sprintf("filter failed %d times", h.FilterErrors))
	}
	if len(parts) == 0 {
		return "ok"
	}
	return strings.Join(parts, ", ")
}

type linkArg struct {
	ID patchbay.LinkID `arg:"" help:"The link (lnk_…)."`
}

type linksShowCmd struct{ linkArg }

// Run shows a link.
func (c *linksShowCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	l, err := api.Link(p.ctx, c.ID)
	if err != nil || p.json {
		return err
	}
	p.link(l)
	return nil
}

func (p *program) link(l *client.Link) {
	p.out.Printf("%s  %s  %s\n", p.out.Paint(console.Bold, l.ID.String()), console.LinkLook(l.State).Paint(p.out, string(l.State)), l.StateReason)
	p.out.Printf("%s\n\n", console.Line(l.Summary))
	p.field("integration", l.Integration)
	if l.Name != "" {
		p.field("name", console.Line(l.Name))
	}
	p.field("scope", scopeName(l.Scope)+", "+string(l.Reach))
	p.field("events", eventsOf(l))
	for _, f := range []struct{ name, value string }{{"filter", l.Filter}, {"slot", l.Slot}, {"called at", l.HookURL}} {
		if f.value != "" {
			p.field(f.name, console.Line(f.value))
		}
	}
	if l.Connection != 0 {
		p.field("connection", l.Connection.String())
	}
	p.field("settings", compact(l.Settings))
	if l.Retry != nil {
		p.field("retry", retrySentence(l.Retry))
	}
	if h := health(l.Health); h != "" {
		p.field("health", h)
		if l.Health.LastError != "" {
			p.field("", console.Line(l.Health.LastError))
		}
	}
	p.secrets(l)
}

// secrets shows what was made for a link. It is the only time.
func (p *program) secrets(l *client.Link) {
	for _, key := range slices.Sorted(maps.Keys(l.Secrets)) {
		p.field(key, p.out.Paint(console.Yellow, l.Secrets[key])+"  (shown this once: keep it)")
	}
}

func retrySentence(r *patchbay.RetryPolicy) string {
	parts := make([]string, len(r.Schedule))
	for i, d := range r.Schedule {
		parts[i] = d.String()
	}
	text := "after " + strings.Join(parts, ", ")
	switch {
	case r.Schedule == nil:
		text = "as usual"
	case len(parts) == 0:
		text = "never"
	}
	if r.MaxAge > 0 {
		text += ", for " + r.MaxAge.String() + " at most"
	}
	return text
}

type linksCreateCmd struct {
	Integration string            `arg:"" help:"The integration's key; \"patchbay integrations\" lists them."`
	Events      []string          `name:"events" placeholder:"PATTERN" help:"Event types; * stands for any run of characters. Can be repeated. None: the link only receives."`
	Scope       string            `name:"scope" help:"Where the link belongs. Default: the whole installation."`
	Reach       string            `name:"reach" enum:",subtree,children,exact" default:"" placeholder:"REACH" help:"How far below its scope it sees: subtree (default), children or exact."`
	Set         []string          `name:"set" sep:"none" placeholder:"KEY=VALUE" help:"A setting of the integration; KEY:=JSON for a list or an object. Can be repeated."`
	Connection  string            `name:"connection" placeholder:"CON" help:"The connection to use (con_…)."`
	Filter      string            `name:"filter" placeholder:"CEL" help:"An expression that must be true, such as payload.branch == 'main'."`
	Slot        string            `name:"slot" help:"Of links with the same integration and slot, only those at the deepest scope count."`
	Name        string            `name:"name" help:"A name for people."`
	Retry       []config.Duration `name:"retry" placeholder:"5s,30s,5m" help:"The pauses before each retry."`
	Concurrency int               `name:"concurrency" placeholder:"N" help:"How many deliveries at most are sent at the same time."`
	Rate        float64           `name:"rate" placeholder:"N" help:"How many attempts a second at most."`
	Disabled    bool              `name:"disabled" help:"Make it disabled, such as to opt out of an inherited link of the same slot."`
}

// Run makes a link.
func (c *linksCreateCmd) Run(p *program, conn *connection) error {
	in, err := c.input()
	if err != nil {
		return err
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	l, err := api.CreateLink(p.ctx, in)
	if err != nil || p.json {
		return err
	}
	p.link(l)
	p.out.Printf("\nTry it with: patchbay links test %s\n", l.ID)
	return nil
}

func (c *linksCreateCmd) input() (*client.LinkInput, error) {
	s, err := scope(c.Scope)
	if err != nil {
		return nil, err
	}
	in := &client.LinkInput{Integration: &c.Integration, Scope: &s}
	if in.Events, err = patterns(c.Events); err != nil {
		return nil, err
	}
	if in.Settings, err = settings(c.Set); err != nil {
		return nil, err
	}
	reach, enabled := patchbay.Reach(c.Reach), !c.Disabled
	optional(&in.Reach, &reach)
	optional(&in.Filter, &c.Filter)
	optional(&in.Connection, &c.Connection)
	optional(&in.Slot, &c.Slot)
	optional(&in.Name, &c.Name)
	optional(&in.Concurrency, &c.Concurrency)
	optional(&in.Rate, &c.Rate)
	if c.Disabled {
		in.Enabled = &enabled
	}
	if len(c.Retry) > 0 {
		in.Retry = &patchbay.RetryPolicy{}
		for _, d := range c.Retry {
			in.Retry.Schedule = append(in.Retry.Schedule, patchbay.Duration(d))
		}
	}
	return in, nil
}

// optional sets a field of a request unless the value is zero.
func optional[T comparable](field **T, value *T) {
	var zero T
	if *value != zero {
		*field = value
	}
}

type linksPauseCmd struct{ linkArg }

// Run pauses a link.
func (c *linksPauseCmd) Run(p *program, conn *connection) error {
	return p.changeLink(conn, c.ID, (*client.Client).PauseLink, "holds what matches; patchbay links resume delivers it")
}

type linksResumeCmd struct {
	linkArg
	Skip bool `help:"Go on with what happens from now on: cancel what was held instead. patchbay jobs run recover brings it back."`
}

// Run resumes a link.
func (c *linksResumeCmd) Run(p *program, conn *connection) error {
	if c.Skip {
		return p.changeLink(conn, c.ID, (*client.Client).SkipLink, "is active; what it held was cancelled")
	}
	return p.changeLink(conn, c.ID, (*client.Client).ResumeLink, "is active")
}

type linksRotateCmd struct{ linkArg }

// Run gives a link a new secret.
func (c *linksRotateCmd) Run(p *program, conn *connection) error {
	return p.changeLink(conn, c.ID, (*client.Client).RotateSecret, "has a new secret")
}

type linkChange = func(*client.Client, context.Context, patchbay.LinkID) (*client.Link, error)

func (p *program) changeLink(conn *connection, id patchbay.LinkID, change linkChange, done string) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	l, err := change(api, p.ctx, id)
	if err != nil || p.json {
		return err
	}
	p.out.Printf("%s %s %s.\n", p.out.Paint(console.Green, "✓"), l.ID, done)
	p.secrets(l)
	return nil
}

type linksTestCmd struct{ linkArg }

// Run makes one attempt over a link.
func (c *linksTestCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	a, err := api.TestLink(p.ctx, c.ID)
	if err != nil {
		return err
	}
	return p.tested(a)
}

// testSent is the status of a test that worked.
const testSent = "sent"

// tested reports an attempt that was a test.
func (p *program) tested(a *client.TestResult) error {
	if !p.json {
		answer := ""
		if a.ResponseCode != 0 {
			answer = fmt.Sprintf(" with %d", a.ResponseCode)
		}
		if a.Status == testSent {
			p.out.Printf("%s It works: answered%s in %s.\n", p.out.Paint(console.Green, "✓"), answer, time.Duration(a.DurationMS)*time.Millisecond)
		} else {
			p.out.Printf("%s %s\n", p.out.Paint(console.Red, "✗"), console.Line(a.Error))
			if a.ResponseBody != "" {
				p.out.Printf("  the partner answered%s: %s\n", answer, console.Clip(console.Line(a.ResponseBody), 300))
			}
		}
	}
	if a.Status != testSent {
		return errReported
	}
	return nil
}

type linksDeleteCmd struct {
	linkArg
}

// Run removes a link.
func (c *linksDeleteCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	if err := api.DeleteLink(p.ctx, c.ID); err != nil {
		return err
	}
	if p.json {
		return p.out.JSON(map[string]any{"deleted": c.ID})
	}
	p.out.Printf("%s %s is deleted.\n", p.out.Paint(console.Green, "✓"), c.ID)
	return nil
}
