package store

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"time"
)

// The buckets of latencies grow by a tenth each, so that the middle of one is at most 4.8 % off from anything in it. The
// first takes everything up to a tenth of a millisecond, the last everything beyond some 36 days.
const (
	// Buckets is how many there are, numbered from 0.
	Buckets      = 256
	bucketFirst  = 100 * time.Microsecond
	bucketGrowth = 1.1
)

var bucketScale = 1 / math.Log(bucketGrowth)

// Bucket returns the bucket that a time belongs to.
func Bucket(d time.Duration) int {
	if d <= bucketFirst {
		return 0
	}
	return min(Buckets-1, 1+int(math.Log(float64(d)/float64(bucketFirst))*bucketScale))
}

// BucketTime returns the time that stands for a bucket.
func BucketTime(bucket int) time.Duration {
	if bucket <= 0 {
		return bucketFirst
	}
	upper := float64(bucketFirst) * math.Pow(bucketGrowth, float64(bucket))
	return time.Duration(upper * 2 / (1 + bucketGrowth)) // as far from one end as from the other, in parts of it
}

// Latency counts by Bucket.
type Latency map[int]int64

// Count is how many there are in all.
func (l Latency) Count() int64 {
	n := int64(0)
	for _, c := range l {
		n += c
	}
	return n
}

// Quantile returns the time that a part q of all, 0 < q ≤ 1, did not exceed, to within 5 %; 0 when there is none.
func (l Latency) Quantile(q float64) time.Duration {
	rank := int64(math.Ceil(q * float64(l.Count())))
	for _, bucket := range slices.Sorted(maps.Keys(l)) {
		if rank -= l[bucket]; rank <= 0 {
			return BucketTime(bucket)
		}
	}
	return 0
}

// Encode appends the counts to b: for each bucket that has any, in order, the distance to the one before and the count.
func (l Latency) Encode(b []byte) []byte {
	last := 0
	for _, bucket := range slices.Sorted(maps.Keys(l)) {
		if l[bucket] <= 0 || bucket < 0 {
			continue
		}
		b = binary.AppendUvarint(b, uint64(bucket-last))
		b = binary.AppendUvarint(b, uint64(l[bucket]))
		last = bucket
	}
	return b
}

var errLatency = errors.New("a count of latencies in the database is malformed")

// AddEncoded adds what Encode wrote.
func (l Latency) AddEncoded(b []byte) error {
	bucket := 0
	for len(b) > 0 {
		step, n := binary.Uvarint(b)
		if n <= 0 || step > Buckets {
			return errLatency
		}
		count, m := binary.Uvarint(b[n:])
		if m <= 0 {
			return errLatency
		}
		bucket += int(step)
		l[bucket] += int64(count)
		b = b[n+m:]
	}
	return nil
}
