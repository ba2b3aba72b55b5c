package web

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// chart is a diagram over time. It is drawn with shares of its width, so that text in it stays as large as text is, on a
// phone too.
type chart struct {
	ID, Title string
	// Unit is what the numbers count, such as "events".
	Unit string
	// Names are the series in the order of the values of a step, Classes their colours.
	Names, Classes []string
	Steps          []chartStep
	// Seconds is how long a step is.
	Seconds int
	Across  []tick
	Up      []tick
	// Lines are drawn instead of bars where values do not add up.
	Lines []chartLine
	// Bars says that values stand on each other, Low that the chart is half as high as others: it stands above what matters.
	Bars, Low bool
	// Empty says that there is nothing to see.
	Empty bool
}

// Last is the number of the last step, counting from 0.
func (c *chart) Last() int { return len(c.Steps) - 1 }

// chartStep is what is drawn for one step of time.
type chartStep struct {
	At time.Time
	// Left and Width are shares of the width, Words what hovering shows.
	Left, Width, Words string
	Bars               []chartBar
	Values             []string
}

// chartBar is one series' part of a step, in pixels from the top.
type chartBar struct {
	Class, Left, Width string
	Top, Height        int
}

// chartLine leads from one step to the next.
type chartLine struct {
	Class, X1, X2 string
	Y1, Y2        int
}

// tick is a label of an axis.
type tick struct {
	At string
	// Y is in pixels from the top.
	Y     int
	Label string
	// Time is the moment of a label below; Day says that the day alone matters. Date stands under the first label of a day.
	Time time.Time
	Day  bool
	Date string
	// Odd ones are left out where there is little room.
	Odd bool
}

// chartHeight is how high the values' part of a chart is, in pixels, lowHeight that of a low one.
const (
	chartHeight = 160
	lowHeight   = 72
)

// High is how high the values' part is, in pixels; Under is what lies so many below it.
func (c *chart) High() int {
	if c.Low {
		return lowHeight
	}
	return chartHeight
}

// Under is a place below the values' part.
func (c *chart) Under(n int) int { return c.High() + n }

// chartValue is one number of one step; not known where nothing happened that has one.
type chartValue struct {
	N     float64
	Known bool
}

// newChart draws series over steps: values has a row for each step and in it a number for each name.
func newChart(c chart, at []time.Time, step time.Duration, values [][]chartValue, spell func(float64) string) *chart {
	c.Seconds = int(step / time.Second)
	top := 0.0
	for _, row := range values {
		sum := 0.0
		for _, v := range row {
			if c.Bars {
				sum += v.N
			} else {
				sum = max(sum, v.N)
			}
		}
		top = max(top, sum)
	}
	c.Empty = top == 0
	gap, n := niceGap(top, c.Bars)
	for c.Low && n > 2 { // there is room for few labels
		gap, n = 2*gap, (n+1)/2
	}
	full := gap * float64(n)
	for i := range n + 1 {
		v := gap * float64(i)
		c.Up = append(c.Up, tick{Y: c.pixel(v, full), Label: spell(v)})
	}
	share := func(x float64) string { return strconv.FormatFloat(100*x/float64(max(len(at), 1)), 'f', 3, 64) + "%" }
	for i, t := range at {
		s := chartStep{At: t, Left: share(float64(i)), Width: share(1), Words: spellTime(t, step)}
		base := 0.0
		for j, v := range values[i] {
			text := "–"
			if v.Known {
				text = spell(v.N)
			}
			s.Values = append(s.Values, text)
			s.Words += "\n" + c.Names[j] + ": " + text
			switch {
			case c.Bars && v.N > 0:
				y, foot := c.pixel(base+v.N, full), c.pixel(base, full)
				base += v.N
				if foot-y < 2 { // what is there can be seen
					y = foot - 2
				}
				s.Bars = append(s.Bars, chartBar{c.Classes[j], share(float64(i) + .12), share(.76), y, foot - y})
			case !c.Bars && v.Known:
				c.join(values, i, j, full, share)
			}
		}
		c.Steps = append(c.Steps, s)
	}
	c.Across = ticksAcross(at, step, share)
	return &c
}

// join draws the value of a step: to that of the one before, or by itself where there is none.
func (c *chart) join(values [][]chartValue, i, j int, full float64, share func(float64) string) {
	y := c.pixel(values[i][j].N, full)
	if i > 0 && values[i-1][j].Known {
		c.Lines = append(c.Lines, chartLine{c.Classes[j], share(float64(i) - .5), share(float64(i) + .5), c.pixel(values[i-1][j].N, full), y})
		return
	}
	c.Lines = append(c.Lines, chartLine{c.Classes[j], share(float64(i) + .3), share(float64(i) + .7), y, y})
}

// pixel is how far from the top a value is.
func (c *chart) pixel(v, full float64) int {
	return c.High() - int(math.Round(float64(c.High())*v/full))
}

// niceGap chooses between two labels a distance that people count in, and how many there are of it.
func niceGap(top float64, whole bool) (gap float64, n int) {
	if top <= 0 {
		return 1, 4
	}
	unit := math.Pow(10, math.Floor(math.Log10(top/4)))
	if whole {
		unit = max(unit, 1)
	}
	for _, f := range []float64{1, 2, 5, 10} {
		if gap = f * unit; gap*5 >= top {
			break
		}
	}
	return gap, max(1, int(math.Ceil(top/gap-1e-9)))
}

// tickTimes are distances between labels that people count in.
var tickTimes = []time.Duration{
	time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	day, 2 * day, 5 * day, 10 * day, 20 * day,
}

const day = 24 * time.Hour

// ticksMost is how many labels there are below.
const ticksMost = 8

// ticksAcross labels round moments.
func ticksAcross(at []time.Time, step time.Duration, share func(float64) string) []tick {
	span := step * time.Duration(len(at))
	every := tickTimes[len(tickTimes)-1]
	for _, t := range slices.Backward(tickTimes) {
		if t%step == 0 && span <= ticksMost*t {
			every = t
		}
	}
	var out []tick
	date := ""
	for i, t := range at {
		if t = t.UTC(); i == 0 || !t.Truncate(every).Equal(t) {
			continue
		}
		x := tick{At: share(float64(i)), Label: t.Format("15:04"), Time: t, Day: every >= day, Odd: len(out)%2 == 1}
		if x.Day {
			x.Label = t.Format("2 Jan")
		} else if d := t.Format("2 Jan"); d != date {
			x.Date, date = d, d
		}
		out = append(out, x)
	}
	return out
}

// spellTime says which time a step stands for.
func spellTime(t time.Time, step time.Duration) string {
	t = t.UTC()
	return t.Format("2 Jan, 15:04") + "–" + t.Add(step).Format("15:04") + " UTC"
}

// figure spells a number so that it can be read at a glance: 1,234 and 1.2 M.
func figure(n int64) string {
	switch {
	case n >= 10_000_000_000:
		return strconv.FormatInt(n/1_000_000_000, 10) + " G"
	case n >= 10_000_000:
		return strconv.FormatInt(n/1_000_000, 10) + " M"
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// spellMS spells a time in milliseconds.
func spellMS(ms float64) string {
	switch {
	case ms >= 60_000:
		return strconv.FormatFloat(ms/60_000, 'g', 3, 64) + " min"
	case ms >= 1000:
		return strconv.FormatFloat(ms/1000, 'g', 3, 64) + " s"
	}
	return strconv.FormatFloat(ms, 'g', 3, 64) + " ms"
}
