package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
)

type statsCmd struct {
	connection
	Show statsShowCmd `cmd:"" default:"withargs" help:"Show how it went: what was accepted and delivered, what failed, how long it took."`
	Now  statsNowCmd  `cmd:"" help:"Show what is going on: what waits, lanes, the database."`
}

type statsShowCmd struct {
	Since       moment          `name:"since" placeholder:"2h|TIME" help:"From when on. Default: a day ago."`
	Until       moment          `name:"until" placeholder:"2h|TIME" help:"Until when. Default: now."`
	Step        config.Duration `name:"step" placeholder:"15m" help:"How long a point stands for. Default: one that makes about a hundred."`
	Link        patchbay.LinkID `name:"link" help:"Only this link."`
	Type        string          `name:"type" help:"Only this event type."`
	Integration string          `name:"integration" help:"Only this integration."`
	Scope       string          `name:"scope" help:"Only what lies at or below this scope."`
	By          string          `name:"by" placeholder:"link|type|scope|integration" help:"Tell these apart."`
}

// Run shows figures.
func (c *statsShowCmd) Run(p *program, conn *connection) error {
	f := client.StatsFilter{Step: time.Duration(c.Step), Link: c.Link, Type: c.Type, Integration: c.Integration, By: c.By}
	if c.By != "" && !slices.Contains([]string{"link", "type", "scope", "integration"}, c.By) {
		return usagef("--by %s: figures can be told apart by link, type, scope or integration", c.By)
	}
	var err error
	if f.Scope, err = scope(c.Scope); err != nil {
		return err
	}
	if f.Since, err = c.Since.time("--since", p.now()); err != nil {
		return err
	}
	if f.Until, err = c.Until.time("--until", p.now()); err != nil {
		return err
	}
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	s, err := api.Stats(p.ctx, f)
	if err != nil || p.json {
		return err
	}
	p.out.Printf("%s\n", p.out.Paint(console.Dim, fmt.Sprintf("%s to %s, in steps of %s",
		s.Since.Local().Format("2 Jan 15:04"), s.Until.Local().Format("2 Jan 15:04"), patchbay.Duration(s.Step))))
	if c.By == "" {
		p.figures(s)
	} else {
		p.groups(s, c.By)
	}
	return nil
}

// figures shows one series: a line for each figure.
func (p *program) figures(s *client.Stats) {
	if s.Total == nil {
		return
	}
	for _, row := range []struct {
		name  string
		style console.Style
		total int64
		of    func(*client.StatsPoint) int64
	}{
		{"accepted", console.Blue, s.Total.Accepted, func(x *client.StatsPoint) int64 { return x.Accepted }},
		{"delivered", console.Green, s.Total.Delivered, func(x *client.StatsPoint) int64 { return x.Delivered }},
		{"failed", console.Red, s.Total.Failed, func(x *client.StatsPoint) int64 { return x.Failed }},
		{"attempts", console.Dim, s.Total.Attempts, func(x *client.StatsPoint) int64 { return x.Attempts }},
	} {
		values := make([]int64, len(s.Data))
		for i := range s.Data {
			values[i] = row.of(&s.Data[i])
		}
		number := grouped(row.total)
		line := fmt.Sprintf("%s %12s", console.Pad(row.name, 9), number)
		if width := p.out.Width - 26; width >= 8 {
			if spark := strings.TrimRight(console.Spark(values, width), " "); spark != "" {
				line += "  " + p.out.Paint(row.style, spark)
			}
		}
		p.out.Printf("%s\n", line)
	}
	took := "nothing was delivered"
	if l := s.Total.Latency; l != nil {
		took = fmt.Sprintf("p50 %s, p90 %s, p99 %s", millis(l.P50), millis(l.P90), millis(l.P99))
	}
	p.out.Printf("%s %s\n", console.Pad("latency", 9), took)
}

// groups shows a row for each link, type, scope or integration.
func (p *program) groups(s *client.Stats, by string) {
	trends := map[string][]int64{}
	for i := range s.Data {
		name := groupName(&s.Data[i])
		trends[name] = append(trends[name], s.Data[i].Accepted+s.Data[i].Attempts)
	}
	names := make([]string, len(s.Totals))
	widest := len(by)
	for i := range s.Totals {
		names[i] = groupName(&s.Totals[i])
		widest = max(widest, len(names[i]))
	}
	// The name gets what the figures leave, the trend what is left then.
	const figures = 5*9 + 2
	widest = min(widest, max(12, p.out.Width-figures))
	trend := min(40, p.out.Width-figures-widest-8)
	rows := make([][]console.Cell, len(s.Totals))
	for i, x := range s.Totals {
		failed := console.Cell{Text: grouped(x.Failed)}
		if x.Failed > 0 {
			failed.Style = console.Red
		}
		p50, p99 := "", ""
		if x.Latency != nil {
			p50, p99 = millis(x.Latency.P50), millis(x.Latency.P99)
		}
		rows[i] = []console.Cell{
			{Text: console.Clip(names[i], widest), Style: console.Bold}, {Text: grouped(x.Accepted)}, {Text: grouped(x.Delivered)}, failed,
			{Text: p50, Style: console.Dim}, {Text: p99, Style: console.Dim},
		}
		if trend >= 8 {
			rows[i] = append(rows[i], console.Cell{Text: console.Spark(trends[names[i]], trend), Style: console.Green})
		}
	}
	header := []string{strings.ToUpper(by), "ACCEPTED", "DELIVERED", "FAILED", "P50", "P99"}
	if trend >= 8 {
		header = append(header, "TREND")
	}
	p.table("Nothing happened.", header, rows)
}

// groupName names what a point is about.
func groupName(x *client.StatsPoint) string {
	name := ""
	switch {
	case x.Rest:
		return "(all others)"
	case x.Link != nil:
		name = x.Link.String()
	case x.Type != nil:
		name = *x.Type
	case x.Scope != nil:
		return scopeName(*x.Scope)
	case x.Integration != nil:
		name = *x.Integration
	}
	if name == "" {
		return "(none)" // acceptances have no link and no integration
	}
	return name
}

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// millis writes milliseconds in a unit that people read.
func millis(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	switch {
	case d < 10*time.Millisecond:
		return strconv.FormatFloat(ms, 'f', 1, 64) + "ms"
	case d < time.Second:
		return strconv.FormatFloat(ms, 'f', 0, 64) + "ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	}
	return console.Length(d)
}

type statsNowCmd struct{}

// Run shows what is going on.
func (c *statsNowCmd) Run(p *program, conn *connection) error {
	api, err := conn.dial(p)
	if err != nil {
		return err
	}
	now, err := api.StatsNow(p.ctx)
	if err != nil || p.json {
		return err
	}
	if q := now.Queue; q != nil {
		p.field("queue", fmt.Sprintf("%s waiting, %d ready, %d in flight", grouped(q.Waiting), q.Ready, q.InFlight))
	}
	if len(now.Lanes) > 0 {
		var parts []string
		for _, state := range []string{"working", "idle", "failing", "throttled", "open", "probing", "held"} {
			if n := now.Lanes[state]; n > 0 {
				parts = append(parts, fmt.Sprintf("%s %s", grouped(int64(n)), state))
			}
		}
		if len(parts) == 0 {
			parts = []string{"there are no links"}
		}
		p.field("lanes", strings.Join(parts, ", "))
	}
	if s := now.Store; s != nil {
		text := fmt.Sprintf("%s, %s", s.Engine, wholeUnit(s.Bytes))
		if s.CommitMS != nil {
			text += fmt.Sprintf(", commits take p50 %s, p99 %s", millis(s.CommitMS.P50), millis(s.CommitMS.P99))
		}
		p.field("database", text)
	}
	if len(now.Oldest) == 0 {
		p.field("oldest", "nothing waits")
		return nil
	}
	p.out.Printf("\n")
	rows := make([][]console.Cell, len(now.Oldest))
	for i, b := range now.Oldest {
		waiting := grouped(int64(b.Waiting))
		if b.Waiting >= 10_000 {
			waiting += " or more"
		}
		rows[i] = []console.Cell{{Text: b.Link.String(), Style: console.Bold}, {Text: waiting}, {Text: console.Ago(b.At, p.now())}, {Text: b.Event.String(), Style: console.Dim}}
	}
	p.out.Table([]string{"LINK", "WAITING", "OLDEST", "EVENT"}, slices.Clip(rows))
	return nil
}
