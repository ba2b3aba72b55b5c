package store

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestBucketsAreWithinFivePercent proves the promise of /v1/stats for every time that a delivery can take.
func TestBucketsAreWithinFivePercent(t *testing.T) {
	last := 0
	for d := bucketFirst; d < 30*24*time.Hour; d += d/1000 + 1 {
		b := Bucket(d)
		if b < last || b >= Buckets {
			t.Fatalf("%s is in bucket %d, a shorter time in %d", d, b, last)
		}
		last = b
		if off := math.Abs(float64(BucketTime(b))/float64(d) - 1); off > 0.05 {
			t.Fatalf("%s is shown as %s: %.1f %% off", d, BucketTime(b), 100*off)
		}
	}
	if Bucket(-time.Second) != 0 || Bucket(1<<62) != Buckets-1 {
		t.Error("times beyond the ends have no bucket")
	}
}

func TestQuantilesAreThoseOfTheTimes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	l := Latency{}
	for range 10_000 {
		d := time.Duration(math.Exp(r.Float64()*12) * float64(time.Millisecond))
		all = append(all, d)
		l[Bucket(d)]++
	}
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 1} {
		want := all[int(math.Ceil(q*float64(len(all))))-1]
		if got := l.Quantile(q); math.Abs(float64(got)/float64(want)-1) > 0.05 {
			t.Errorf("the %v quantile is %s, want %s", q, got, want)
		}
	}
	if got := (Latency{}).Quantile(0.5); got != 0 {
		t.Errorf("of nothing the median is %s", got)
	}
}

func TestLatencyReadsWhatItWrote(t *testing.T) {
	l := Latency{0: 1, 7: 300, 255: 1 << 40}
	got := Latency{7: 1}
	if err := got.AddEncoded(l.Encode(nil)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Latency{0: 1, 7: 301, 255: 1 << 40}, got); d != "" {
		t.Error(d)
	}
}

func FuzzLatency(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4})
	f.Fuzz(func(_ *testing.T, b []byte) {
		l := Latency{}
		if l.AddEncoded(b) == nil {
			l.Encode(nil)
			l.Quantile(0.5)
		}
	})
}
