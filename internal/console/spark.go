package console

import "strings"

// sparks are from nothing to the most.
var sparks = []rune("▁▂▃▄▅▆▇█")

// Spark draws numbers as a line of at most so many columns: neighbours are added up when there are more of them. The
// highest is as high as a line is; nothing at all is a space.
func Spark(values []int64, columns int) string {
	if columns <= 0 || len(values) == 0 {
		return ""
	}
	n := min(columns, len(values))
	sums := make([]int64, n)
	most := int64(0)
	for i, v := range values {
		sums[i*n/len(values)] += v
	}
	for _, v := range sums {
		most = max(most, v)
	}
	var b strings.Builder
	for _, v := range sums {
		switch {
		case v <= 0:
			b.WriteByte(' ')
		default:
			b.WriteRune(sparks[(v*int64(len(sparks))-1)/max(most, 1)])
		}
	}
	return b.String()
}
