package cli

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
)

type jobsCmd struct {
	connection
	List   jobsListCmd   `cmd:"" default:"withargs" help:"List jobs, newest first."`
	Show   jobsShowCmd   `cmd:"" help:"Show a job and how far it is."`
	Run    jobsRunCmd    `cmd:"" help:"Retry, cancel, replay or recover many at once."`
	Cancel jobsCancelCmd `cmd:"" help:"End a job. What it has done stays done."`
}

type jobsListCmd struct {
	State  []string `name:"state" placeholder:"STATE" help:"Only these states: pending, running, succeeded, failed, cancelled."`
	Action string   `name:"action" placeholder:"ACTION" help:"Only retry, cancel, replay, recover, erase or reseal."`
	paging
}

// Run lists jobs.
func (c *jobsListCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	page, err := api.Jobs(p.ctx, client.JobsFilter{States: c.State, Action: c.Action, Paging: c.page()})
	if err != nil || p.json {
		return err
	}
	rows := make([][]console.Cell, len(page.Data))
	for i := range page.Data {
		j := &page.Data[i]
		look := jobLook(j.State)
		rows[i] = []console.Cell{
			{Text: j.ID.String()}, {Text: look.Sign + " " + j.State, Style: look.Style}, {Text: j.Action, Style: console.Bold},
			{Text: about(&j.Filter)}, {Text: fmt.Sprintf("%d %%", int(100*j.Progress))}, {Text: grouped(j.Changed)},
			{Text: console.Ago(j.CreatedAt, p.now()), Style: console.Dim},
		}
	}
	p.table("There are no jobs.", []string{"JOB", "STATE", "ACTION", "ABOUT", "DONE", "CHANGED", "MADE"}, rows)
	p.more(page.Next)
	return nil
}

func jobLook(state string) console.Look {
	switch state {
	case "succeeded":
		return console.Look{Sign: "✓", Style: console.Green}
	case "failed":
		return console.Look{Sign: "✗", Style: console.Red}
	case "cancelled":
		return console.Look{Sign: "–", Style: console.Dim}
	case "running":
		return console.Look{Sign: "↻", Style: console.Yellow}
	}
	return console.Look{Sign: "○", Style: console.Blue}
}

// about says in a few words what a job is about.
func about(f *client.JobFilter) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	states := make([]string, len(f.States))
	for i, s := range f.States {
		states[i] = string(s)
	}
	add("what is", strings.Join(states, ", "))
	add("over", f.Link.String())
	add("of", f.Event.String())
	add("to", f.Integration)
	add("of type", f.Type)
	add("in", string(f.Scope))
	add("tenant", f.Tenant)
	add("where", f.Path)
	if len(f.Value) > 0 {
		add("is", console.Clip(console.Line(string(f.Value)), 40))
	}
	if f.ValueHash != "" {
		add("is", "… (erased, SHA-256 "+f.ValueHash[:min(8, len(f.ValueHash))]+"…)")
	}
	if f.TenantHash != "" {
		add("a tenant", "(erased, SHA-256 "+f.TenantHash[:min(8, len(f.TenantHash))]+"…)")
	}
	if !f.Since.IsZero() {
		add("since", f.Since.Local().Format("2006-01-02 15:04:05"))
	}
	if !f.Until.IsZero() {
		add("until", f.Until.Local().Format("2006-01-02 15:04:05"))
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, " ")
}

type jobsShowCmd struct {
	ID     patchbay.JobID `arg:"" help:"The job (job_…)."`
	Follow bool           `name:"follow" short:"f" help:"Show its progress until it has ended."`
}

// Run shows a job.
func (c *jobsShowCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	j, err := api.Job(p.ctx, c.ID)
	if err != nil {
		return err
	}
	if c.Follow {
		return p.follow(api, j)
	}
	if !p.json {
		p.job(j)
	}
	return nil
}

// job prints a job.
func (p *program) job(j *client.Job) {
	p.out.Printf("%s  %s\n", p.out.Paint(console.Bold, j.ID.String()), jobLook(j.State).Paint(p.out, j.State))
	p.out.Printf("%s %s\n\n", p.out.Paint(console.Cyan, j.Action), about(&j.Filter))
	total := "an unknown number"
	if j.Total != nil {
		total = grouped(*j.Total)
	}
	p.field("looked at", fmt.Sprintf("%s of %s, %d %%", grouped(j.Seen), total, int(100*j.Progress)))
	p.field("changed", grouped(j.Changed))
	p.field("skipped", grouped(j.Skipped))
	p.field("failed", grouped(j.Failed))
	p.field("made", console.Ago(j.CreatedAt, p.now())+" by "+j.By)
	switch {
	case !j.FinishedAt.IsZero() && !j.StartedAt.IsZero():
		p.field("took", console.Length(j.FinishedAt.Sub(j.StartedAt)))
	case !j.ETA.IsZero():
		p.field("ends", soon(j.ETA, p.now()))
	}
	if j.Error != "" {
		p.field("note", console.Line(j.Error))
	}
}

type jobsRunCmd struct {
	Action      string           `arg:"" help:"retry (what failed), cancel (what waits), replay (events, to all links that match), recover (events, over links that they missed)."`
	State       []string         `name:"state" placeholder:"STATE" help:"retry, cancel: only deliveries in these states."`
	Link        patchbay.LinkID  `name:"link" placeholder:"lnk_…" help:"retry, cancel, recover: only this link."`
	Event       patchbay.EventID `name:"event" placeholder:"evt_…" help:"retry, cancel: only this event."`
	Integration string           `name:"integration" placeholder:"KEY" help:"retry, cancel: only to this integration."`
	Type        string           `name:"type" placeholder:"PATTERN" help:"Only events of these types."`
	Scope       string           `name:"scope" help:"Only what lies at or below this scope."`
	Since       moment           `name:"since" placeholder:"2h|TIME" help:"Only events since then."`
	Until       moment           `name:"until" placeholder:"2h|TIME" help:"Only events before then."`
	DryRun      bool             `name:"dry-run" help:"Only say how many it would touch."`
	Follow      bool             `name:"follow" short:"f" help:"Show its progress until it has ended."`
	Yes         bool             `name:"yes" short:"y" help:"Do not ask."`
}

// filter makes the job's filter of the flags.
func (c *jobsRunCmd) filter(now time.Time) (f client.JobFilter, err error) {
	f = client.JobFilter{Link: c.Link, Event: c.Event, Integration: c.Integration, Type: c.Type}
	for _, text := range c.State {
		state := patchbay.DeliveryState(text)
		if !state.Valid() {
			return f, usagef("--state %s: a delivery is pending, held, succeeded, failed, cancelled or skipped", text)
		}
		f.States = append(f.States, state)
	}
	if f.Scope, err = scope(c.Scope); err != nil {
		return f, err
	}
	if f.Since, err = c.Since.time("--since", now); err != nil {
		return f, err
	}
	f.Until, err = c.Until.time("--until", now)
	return f, err
}

// Run makes a job.
func (c *jobsRunCmd) Run(p *program, conn *connection) error {
	f, err := c.filter(p.now())
	if err != nil {
		return err
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	in := &client.NewJob{Action: c.Action, Filter: f}
	if c.DryRun || !c.Yes && !p.json && p.asks() {
		preview, err := api.PreviewJob(p.ctx, in)
		if err != nil || p.json {
			return err
		}
		text := fmt.Sprintf("%s %s: %s", c.Action, about(&preview.Filter), touched(preview))
		if c.DryRun {
			p.out.Printf("%s\n", text)
			return nil
		}
		if !p.confirm(text + ".") {
			return nil
		}
	}
	j, err := api.CreateJob(p.ctx, in)
	if err != nil {
		return err
	}
	return p.made(api, j, c.Follow)
}

// touched says how many things a job would touch.
func touched(preview *client.JobPreview) string {
	noun, nouns := "event", "events"
	if preview.Action == "retry" || preview.Action == "cancel" || preview.Action == "recover" {
		noun, nouns = "delivery", "deliveries"
	}
	if !preview.Complete {
		return "more than " + grouped(preview.Total) + " " + nouns
	}
	if preview.Total == 1 {
		return "1 " + noun
	}
	return grouped(preview.Total) + " " + nouns
}

// made tells of a new job, or follows it.
func (p *program) made(api *client.Client, j *client.Job, follow bool) error {
	switch {
	case follow:
		return p.follow(api, j)
	case !p.json:
		p.out.Printf("%s %s runs. Follow it with: patchbay jobs show %s --follow\n", p.out.Paint(console.Green, "✓"), j.ID, j.ID)
	}
	return nil
}

// followEvery is how often a job that is followed is looked at.
const followEvery = 250 * time.Millisecond

// follow shows a job's progress until it has ended. Interrupting it does not end the job.
func (p *program) follow(api *client.Client, j *client.Job) error {
	bar := p.progress(strings.ToUpper(j.Action[:1])+j.Action[1:], nil)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for !j.Ended() {
		total := int64(0)
		if j.Total != nil {
			total = *j.Total
		}
		if !p.json {
			bar.set(j.Seen, total)
		}
		select {
		case <-p.ctx.Done():
			bar.end()
			p.err.Printf("%s goes on by itself. Look at it with: patchbay jobs show %s --follow\n", j.ID, j.ID)
			return errReported
		case <-tick.C:
		}
		next, err := api.Job(p.ctx, j.ID)
		if err != nil {
			if p.ctx.Err() != nil {
				continue
			}
			bar.end()
			return err
		}
		j = next
	}
	bar.end()
	if !p.json {
		p.job(j)
	}
	if j.State != "succeeded" {
		return errReported
	}
	return nil
}

type jobsCancelCmd struct {
	ID patchbay.JobID `arg:"" help:"The job (job_…)."`
}

// Run cancels a job.
func (c *jobsCancelCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	j, err := api.CancelJob(p.ctx, c.ID)
	if err != nil || p.json {
		return err
	}
	if j.Ended() {
		p.out.Printf("%s %s is cancelled.\n", p.out.Paint(console.Green, "✓"), j.ID)
	} else {
		p.out.Printf("%s %s ends after its current step.\n", p.out.Paint(console.Green, "✓"), j.ID)
	}
	return nil
}

// asks reports whether there is somebody who can be asked.
func (p *program) asks() bool {
	f, ok := p.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// confirm asks whether to go on. What is asked goes where messages go.
func (p *program) confirm(question string) bool {
	p.err.Printf("%s Go on? [y/N] ", question)
	line, err := bufio.NewReader(p.in).ReadString('\n')
	if err != nil && line == "" {
		p.err.Printf("\n")
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	if answer == "y" || answer == "yes" {
		return true
	}
	p.err.Printf("Nothing was done.\n")
	return false
}
