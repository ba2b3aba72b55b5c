package console

import (
	"testing"
	"unicode/utf8"
)

func TestSpark(t *testing.T) {
	for _, tc := range []struct {
		values  []int64
		columns int
		want    string
	}{
		{nil, 10, ""}, {[]int64{1}, 0, ""}, {[]int64{0, 0}, 10, "  "},
		{[]int64{0, 1, 2, 3, 4, 5, 6, 7, 8}, 20, " ▁▂▃▄▅▆▇█"},
		{[]int64{1, 1, 1, 1, 2, 2}, 3, "▄▄█"},
		{[]int64{1, 1_000_000}, 2, "▁█"},
	} {
		if got := Spark(tc.values, tc.columns); got != tc.want {
			t.Errorf("%v in %d columns is %q, want %q", tc.values, tc.columns, got, tc.want)
		}
	}
	long := make([]int64, 97)
	for columns := range 120 {
		if got := utf8.RuneCountInString(Spark(long, columns)); got != min(columns, 97) {
			t.Fatalf("97 values in %d columns take %d", columns, got)
		}
	}
}
