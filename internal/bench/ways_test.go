package bench

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWays proves that the sink refuses one event of failEvery once, counts it when it comes again, and takes its time
// over what is slow.
func TestWays(t *testing.T) {
	_, api := newSink(t)
	if err := api.reset(t.Context(), 3, ""); err != nil {
		t.Fatal(err)
	}
	post := func(way string, link, n int) int {
		body := fmt.Sprintf(`{"number":%d,"made_at":%d}`, firstNumber+n, time.Now().UnixNano())
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.way(way, link), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := api.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	refused := 0
	for n := range 3 * failEvery {
		if status := post(failWay, 1, n); status == http.StatusServiceUnavailable {
			refused++
			if again := post(failWay, 1, n); again != http.StatusOK {
				t.Errorf("event %d was refused twice: %d", n, again)
			}
		}
	}
	if refused != 3 {
		t.Errorf("%d of %d were refused", refused, 3*failEvery)
	}
	began := time.Now()
	post(slowWay, 2, 1)
	if took := time.Since(began); took < slowAnswer {
		t.Errorf("what is slow was answered after %s", took)
	}
	r, err := api.report(t.Context())
	if err != nil || r.Distinct != 3*failEvery+1 || r.Duplicates != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if r.Max != 0 {
		t.Errorf("latencies of links that are not the first are counted: %s", r.Max)
	}
}

// TestReadme proves that the figures come between the markers, that the rest of the file stays, and that a second run
// replaces the first.
func TestReadme(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	r := &Result{Machine: "two cores", Runs: 5, At: time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC), Load: [2]float64{0.5, 1.5},
		Rows: []Row{
			{Title: "a rate", Must: 0.5, Higher: true, Samples: []float64{0.4}, Value: 0.4, Note: "40/s of 100/s"},
			{Title: "a time", Unit: "ms", Must: 6, Problem: "it cannot be measured here"},
		}}
	if err := os.WriteFile(path, []byte("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.WriteReadme(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"before\n<!-- bench -->\n", "| a rate | ≥ 0.50 | 0.40 ✗ | 40/s of 100/s |\n", "| a time | ≤ 6.00 ms | – | it cannot be measured here |\n",
		"22 November 2026; two cores; medians of 5 runs", "load was 0.5 at the start and 1.5 at the end", "<!-- /bench -->\nafter\n",
	} {
		if strings.Count(string(got), want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "old") {
		t.Error("the old figures are still there")
	}
	if err := os.WriteFile(path, []byte("no markers"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteReadme(path); err == nil || !strings.Contains(err.Error(), "has no lines <!-- bench -->") {
		t.Errorf("a file without markers: %v", err)
	}
}

// TestSoakVerdict proves that growth fails a soak, and an even run does not.
func TestSoakVerdict(t *testing.T) {
	run := func(grow func(i int, s *Sample), lost int64) *SoakResult {
		r := &SoakResult{Totals: Totals{Lost: lost}}
		for i := range 20 {
			s := Sample{After: time.Duration(i+1) * 15 * time.Second, Memory: 100e6, Heap: 40e6, Goroutines: 50, Files: 80, Store: int64(i) * 1e6}
			if grow != nil {
				grow(i, &s)
			}
			r.Samples = append(r.Samples, s)
		}
		if err := r.judge(); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := run(nil, 0); !r.Passed {
		t.Errorf("an even run failed: %+v", r.Growth)
	}
	for what, grow := range map[string]func(int, *Sample){
		"memory":     func(i int, s *Sample) { s.Memory += int64(i) * 8e6 },
		"goroutines": func(i int, s *Sample) { s.Goroutines += float64(6 * i) },
		"files":      func(i int, s *Sample) { s.Files += float64(6 * i) },
	} {
		if r := run(grow, 0); r.Passed {
			t.Errorf("growing %s passed: %+v", what, r.Growth)
		}
	}
	if run(nil, 1).Passed {
		t.Error("a lost delivery passed")
	}
	store := run(nil, 0).Growth[4]
	if store.PerMinute < 3.9 || store.PerMinute > 4.1 || !store.Passed {
		t.Errorf("the store grows by 4 MB a minute: %+v", store)
	}
}

// TestParts proves that losses are told by group.
func TestParts(t *testing.T) {
	b := &bench{group: "rate"}
	b.note(phase{accepted: 10, report: Report{Distinct: 9}, lost: 1})
	b.group = "mix"
	b.note(phase{accepted: 5, report: Report{Distinct: 15, Duplicates: 2}})
	b.note(phase{accepted: 5, report: Report{Distinct: 15}})
	if len(b.parts) != 2 || b.parts[0].Lost != 1 || b.parts[1].Deliveries != 30 || b.parts[1].Duplicates != 2 || b.totals.Events != 20 {
		t.Errorf("%+v, %+v", b.parts, b.totals)
	}
}
