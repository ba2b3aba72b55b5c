package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/console"
)

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := &program{err: console.New(&out), now: func() time.Time { return now }}
	x := p.progress("Moving", nil)
	step := func(d time.Duration, done, total int64) string {
		out.Reset()
		now = now.Add(d)
		x.set(done, total)
		return out.String()
	}
	if got := step(0, 1000, 5000) + step(5*time.Second, 1500, 5000); got != "" {
		t.Errorf("elsewhere than at a terminal it says %q at once", got)
	}
	if got := step(5*time.Second, 2000, 5000); got != "Moving 40 %  2,000 of 5,000  100/s  30s left\n" {
		t.Errorf("after ten seconds it says %q", got)
	}
	if got := step(10*time.Second, 3000, 0); got != "Moving 3,000  100/s\n" {
		t.Errorf("without a total it says %q", got)
	}
	if got := step(10*time.Second, 6000, 5000); !strings.HasPrefix(got, "Moving 100 %  6,000 of 5,000") {
		t.Errorf("beyond its total it says %q", got)
	}
	x.end()
	p.err.Terminal, p.err.Width = true, 40
	x = p.progress("Moving", nil)
	x.set(0, 10)
	if got := step(time.Second, 5, 10); !strings.HasPrefix(got, "\r\x1b[KMoving 50 %") || strings.Contains(got, "█") {
		t.Errorf("a narrow terminal shows %q", got)
	}
	p.err.Width = 100
	if got := step(time.Second, 5, 10); !strings.Contains(got, "████████████░░░░░░░░░░░░") {
		t.Errorf("a wide terminal shows %q", got)
	}
}
