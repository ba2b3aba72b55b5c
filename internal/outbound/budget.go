package outbound

import "sync/atomic"

const (
	// freeBody is what every answer's body may take without asking.
	freeBody = 64 << 10
	// bodyMemory is what larger bodies may take together while they are read. Without it, a few thousand servers that
	// send a megabyte and then nothing would take gigabytes.
	bodyMemory = 64 << 20
)

// budget is memory that is shared. Whoever gets none does with less.
type budget struct{ left atomic.Int64 }

func newBudget(n int64) *budget {
	b := &budget{}
	b.left.Store(n)
	return b
}

func (b *budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

func (b *budget) put(n int64) { b.left.Add(n) }
