package web

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestChartsStayInTheirFrame draws numbers of every size: nothing leaves the frame, and axes have few round labels.
func TestChartsStayInTheirFrame(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	begin := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for _, w := range overviewTimes {
		for _, top := range []int64{1, 2, 3, 7, 19, 60, 999, 123_456, 98_765_432_109} {
			var at []time.Time
			var values [][]chartValue
			for i := range int(w.span / w.step) {
				at = append(at, begin.Add(time.Duration(i)*w.step))
				values = append(values, []chartValue{{float64(rnd.Int64N(top + 1)), true}, {float64(rnd.Int64N(top + 1)), rnd.IntN(2) == 0}})
			}
			for _, bars := range []bool{true, false} {
				c := newChart(chart{Names: []string{"A", "B"}, Classes: []string{"a", "b"}, Bars: bars}, at, w.step, values, func(v float64) string { return figure(int64(v)) })
				checkChart(t, fmt.Sprint(w.key, " ", top, " ", bars), c)
			}
		}
	}
}

func checkChart(t *testing.T, name string, c *chart) {
	t.Helper()
	if n := len(c.Up); n < 2 || n > 6 {
		t.Errorf("%s: the axis has %d labels", name, n)
	}
	for _, u := range c.Up {
		if strings.Trim(u.Label, "0125 ,MGk") != "" && len(u.Label) > 0 && c.Up[1] == u {
			t.Errorf("%s: the first label is %q, which nobody counts in", name, u.Label)
		}
		if u.Y < 0 || u.Y > chartHeight {
			t.Errorf("%s: a label is at %d", name, u.Y)
		}
	}
	for _, s := range c.Steps {
		for _, b := range s.Bars {
			if b.Top < -2 || b.Height < 2 || b.Top+b.Height > chartHeight {
				t.Errorf("%s: a bar reaches from %d to %d", name, b.Top, b.Top+b.Height)
			}
		}
	}
	for _, l := range c.Lines {
		if l.Y1 < 0 || l.Y1 > chartHeight || l.Y2 < 0 || l.Y2 > chartHeight {
			t.Errorf("%s: a line goes from %d to %d", name, l.Y1, l.Y2)
		}
	}
	if n := len(c.Across); n < 3 || n > 9 {
		t.Errorf("%s: there are %d labels below", name, n)
	}
}

func TestFigures(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 9_999_999: "9,999,999", 12_345_678: "12 M", 23_456_789_000: "23 G"} {
		if got := figure(n); got != want {
			t.Errorf("%d is spelled %q, want %q", n, got, want)
		}
	}
	for ms, want := range map[float64]string{0.5: "0.5 ms", 240: "240 ms", 1500: "1.5 s", 90_000: "1.5 min"} {
		if got := spellMS(ms); got != want {
			t.Errorf("%v ms is spelled %q, want %q", ms, got, want)
		}
	}
}
