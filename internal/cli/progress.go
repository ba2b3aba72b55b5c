package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/patchbay/patchbay/internal/console"
)

const (
	// barEvery is how often a person sees a progress move, linesEvery how often a log gets a line of it.
	barEvery   = 100 * time.Millisecond
	linesEvery = 10 * time.Second
)

// progress shows how far something is: a bar that moves at a terminal, a line now and then elsewhere. It writes where
// messages go, so that results stay alone.
type progress struct {
	p      *program
	what   string
	amount func(int64) string
	began  time.Time
	shown  time.Time
	first  int64 // what was done before it began
	drawn  bool
}

// progress begins to show how far something is. amount writes how much it is; nil is a plain number.
func (p *program) progress(what string, amount func(int64) string) *progress {
	if amount == nil {
		amount = grouped
	}
	return &progress{p: p, what: what, amount: amount, began: p.now(), shown: p.now(), first: -1}
}

// set says how much is done of how much; total 0 is not known.
func (x *progress) set(done, total int64) {
	if x.first < 0 {
		x.first = done
	}
	every := linesEvery
	if x.p.err.Terminal {
		every = barEvery
	}
	now := x.p.now()
	if now.Sub(x.shown) < every {
		return
	}
	x.shown = now
	line := x.line(min(done, max(total, done)), total, now)
	if !x.p.err.Terminal {
		x.p.err.Printf("%s\n", line)
		return
	}
	x.drawn = true
	x.p.err.Printf("\r\x1b[K%s", console.Clip(line, x.p.err.Width-1))
}

// line is what is shown: bar, amounts, rate and what is left.
func (x *progress) line(done, total int64, now time.Time) string {
	text := x.what + " "
	if total > 0 {
		const width = 24
		full := int(min(done, total) * width / total)
		if x.p.err.Terminal && x.p.err.Width >= 72 {
			text += strings.Repeat("█", full) + strings.Repeat("░", width-full) + " "
		}
		text += fmt.Sprintf("%d %%  %s of %s", min(done, total)*100/total, x.amount(done), x.amount(total))
	} else {
		text += x.amount(done)
	}
	took := now.Sub(x.began).Seconds()
	if took <= 0 || done <= x.first {
		return text
	}
	rate := float64(done-x.first) / took
	text += "  " + x.amount(int64(rate)) + "/s"
	if total > done {
		text += "  " + console.Length(time.Duration(float64(total-done)/rate*float64(time.Second))) + " left"
	}
	return text
}

// end removes the bar.
func (x *progress) end() {
	if x.drawn {
		x.p.err.Printf("\r\x1b[K")
	}
}
