package web_test

import (
	"flag"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/config"
)

// large is where BenchmarkFirstByte keeps its installation, so that it is made once; "" is a folder that is removed again.
var (
	large       = flag.String("large", "", "folder that keeps the benchmark's installation")
	largeEvents = flag.Int("events", 1_000_000, "how many events it has")
)

// firstByte is how long a page may take to begin, at the server.
const firstByte = 50 * time.Millisecond

// BenchmarkFirstByte asks for every page of an installation with a million events, and says when its first byte came:
//
//	go test ./internal/web -run - -bench FirstByte -timeout 30m -args -large /var/tmp/large
func BenchmarkFirstByte(b *testing.B) {
	dir := *large
	if dir == "" {
		dir = b.TempDir()
	}
	key := grow(b, dir)
	s := open(b, func(c *config.Config) { c.Data = dir })
	s.key = key
	s.caughtUp(b)
	v := s.signedIn()
	kinds := map[string]string{}
	for _, p := range v.crawl("/") {
		if kind := alike(p.address); p.status == http.StatusOK && kinds[kind] == "" {
			kinds[kind] = p.address
		}
	}
	for name, address := range s.searches() {
		kinds[name] = address
	}
	names := make([]string, 0, len(kinds))
	for kind := range kinds {
		names = append(names, kind)
	}
	slices.Sort(names)
	for _, kind := range names {
		b.Run(strings.ReplaceAll(kind, "/", "∕"), func(b *testing.B) {
			took := make([]time.Duration, 0, b.N)
			for range b.N {
				took = append(took, v.firstByte(b, kinds[kind]))
			}
			slices.Sort(took)
			median, worst := took[len(took)/2], took[len(took)*99/100]
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(median.Microseconds())/1000, "ms-p50")
			b.ReportMetric(float64(worst.Microseconds())/1000, "ms-p99")
			if len(took) >= 5 && median > firstByte { // the first of all is the benchmark's own try
				b.Errorf("%s begins after %v, which is more than %v", kinds[kind], median, firstByte)
			}
		})
	}
}

// searches are what people look for in lists: what there is much of, little, and none.
func (s *site) searches() map[string]string {
	return map[string]string{
		"events of a scope":      "/events?scope=tenant-007",
		"events of a type":       "/events?type=run_error",
		"events of a pattern":    "/events?type=repo.*&scope=tenant-042",
		"events of nothing":      "/events?scope=nobody&type=run_error",
		"events of a week ago":   "/events?until=" + time.Now().Add(-7*24*time.Hour).UTC().Format("2006-01-02T15:04"),
		"overview of an hour":    "/?window=1h",
		"overview of 30 days":    "/?window=30d",
		"settings of a scope":    "/settings/tenant-007/teams/3",
		"links of a tenant":      "/links?scope=tenant-007",
		"failed deliveries":      "/deliveries?state=failed",
		"deliveries that wait":   "/deliveries?state=pending",
		"deliveries of a tenant": "/deliveries?scope=tenant-007",
		"found scope":            "/find?q=tenant-007",
		"found name":             "/find?q=slack",
	}
}

// firstByte asks for a page and returns how long its first byte took to come.
func (v *visitor) firstByte(b *testing.B, address string) time.Duration {
	b.Helper()
	var first time.Time
	ctx := httptrace.WithClientTrace(b.Context(), &httptrace.ClientTrace{GotFirstResponseByte: func() { first = time.Now() }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+address, http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	for _, c := range v.cookies {
		req.AddCookie(c)
	}
	begun := time.Now()
	resp, err := v.http.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	_ = resp.Body.Close() // only its beginning counts
	if resp.StatusCode >= http.StatusBadRequest && resp.StatusCode != http.StatusNotFound {
		b.Fatalf("%s was answered %d", address, resp.StatusCode)
	}
	return first.Sub(begun)
}

// caughtUp waits until lists know everything: their indexes follow what is stored.
func (s *site) caughtUp(b *testing.B) {
	b.Helper()
	v := s.signedIn()
	for quick := 0; quick < 3; time.Sleep(500 * time.Millisecond) {
		if v.firstByte(b, "/events?scope=nobody") < 30*time.Millisecond {
			quick++
		}
	}
}
