package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/stats"
)

// spark is a day of a link, small enough for a row: what was delivered, and on top of it what failed. Each is one path of
// strokes, so that a page with many of them stays small.
type spark struct {
	Fine, Bad string
	// Words say the same to whoever does not see it.
	Words string
}

const (
	sparkHeight = 24
	sparkGap    = 2 // from one stroke to the next
)

// sparkOf draws a day; nil where nothing happened.
func sparkOf(d *stats.Day) *spark {
	if d == nil || d.Delivered+d.Failed == 0 {
		return nil
	}
	top := int64(1)
	for _, p := range d.Parts {
		top = max(top, p.Delivered+p.Failed)
	}
	var fine, bad strings.Builder
	for i, p := range d.Parts {
		x := strconv.Itoa(i*sparkGap + 1)
		foot := sparkHeight
		for _, part := range []struct {
			n  int64
			to *strings.Builder
		}{{p.Delivered, &fine}, {p.Failed, &bad}} {
			if part.n == 0 {
				continue
			}
			high := max(2, int(part.n*sparkHeight/top)) // what is there can be seen
			fmt.Fprintf(part.to, "M%s %dV%d", x, foot, max(0, foot-high))
			foot = max(2, foot-high)
		}
	}
	words := figure(d.Delivered) + " delivered"
	if d.Failed > 0 {
		words += " and " + figure(d.Failed) + " failed"
	}
	return &spark{Fine: fine.String(), Bad: bad.String(), Words: words + " in the last 24 hours"}
}

// linkLine is a link in a list with how it does.
type linkLine struct {
	linkRow
	// Href is the link's own page; "" for those who see no more than that it is there.
	Href  string
	Spark *spark
	// Last is when something was delivered last, in the last day; Waiting is how much waits.
	Last    time.Time
	Waiting string
}

// lines makes the rows of links: two looks at figures for all of them.
func (c *call) lines(views []links.View) ([]linkLine, error) {
	ids := make([]patchbay.LinkID, 0, len(views))
	for i := range views {
		if c.who.Sees(views[i].Scope) {
			ids = append(ids, views[i].ID)
		}
	}
	var days map[patchbay.LinkID]*stats.Day
	var waiting map[patchbay.LinkID]stats.Backlog
	if c.o.Stats != nil && len(ids) > 0 {
		var err error
		if days, err = c.o.Stats.Days(c.r.Context(), c.who, ids); err != nil {
			return nil, err
		}
		if waiting, err = c.o.Stats.Waiting(c.r.Context(), c.who, ids); err != nil {
			return nil, err
		}
	}
	out := make([]linkLine, len(views))
	for i := range views {
		v := &views[i]
		n := waiting[v.ID].Waiting
		if v.Health != nil && v.State == patchbay.LinkActive {
			n = max(n, v.Health.Waiting)
		}
		if n > 0 && v.Health != nil {
			v.Health.Waiting = n // what waits in the database too
		}
		line := linkLine{linkRow: c.row(v), Spark: sparkOf(days[v.ID])}
		if d := days[v.ID]; d != nil {
			line.Last = d.LastSuccess
		}
		if c.who.Sees(v.Scope) {
			line.Href = linkPath(v.ID)
		}
		if n > 0 {
			line.Waiting = backlogWords(n)
		}
		out[i] = line
	}
	return out, nil
}

// backlogWords spells how much waits, which nobody counts further than to ten thousand in lists.
func backlogWords(n int) string {
	if n >= 10_000 {
		return "10,000 or more"
	}
	return figure(int64(n))
}

// linkPath is the address of a link's own page.
func linkPath(id patchbay.LinkID) string { return "/links/" + id.String() }
