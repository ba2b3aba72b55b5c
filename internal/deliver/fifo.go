package deliver

import (
	"container/heap"
	"time"
)

// fifo is a queue on a ring; its zero value is empty.
type fifo[T any] struct {
	ring []T
	head int
	n    int
}

func (f *fifo[T]) push(v T) {
	if f.n == len(f.ring) {
		grown := make([]T, max(4, 2*len(f.ring)))
		for i := range f.n {
			grown[i] = f.ring[(f.head+i)%len(f.ring)]
		}
		f.ring, f.head = grown, 0
	}
	f.ring[(f.head+f.n)%len(f.ring)] = v
	f.n++
}

func (f *fifo[T]) pop() (v T, ok bool) {
	if f.n == 0 {
		return v, false
	}
	var zero T
	v, f.ring[f.head] = f.ring[f.head], zero
	f.head = (f.head + 1) % len(f.ring)
	f.n--
	if f.n == 0 && len(f.ring) > 1024 { // a burst is over: give its memory back
		f.ring, f.head = nil, 0
	}
	return v, true
}

// pushFront puts an element back where it was taken from.
func (f *fifo[T]) pushFront(v T) {
	f.push(v) // makes room
	f.head = (f.head + len(f.ring) - 1) % len(f.ring)
	f.ring[(f.head+f.n)%len(f.ring)] = *new(T)
	f.ring[f.head] = v
}

// at returns the element at an index.
func (f *fifo[T]) at(i int) T { return f.ring[(f.head+i)%len(f.ring)] }

func (f *fifo[T]) peek() (v T, ok bool) {
	if f.n == 0 {
		return v, false
	}
	return f.ring[f.head], true
}

// filter keeps the elements for which keep is true, in order.
func (f *fifo[T]) filter(keep func(T) bool) {
	for range f.n {
		v, _ := f.pop()
		if keep(v) {
			f.push(v)
		}
	}
}

// turns holds lanes that wait for the same thing; tenants take turns, and the lanes of one tenant too. Its zero value
// is empty.
type turns struct {
	lanes map[*tenant]*fifo[*lane]
	order fifo[*tenant]
	n     int
}

func (t *turns) push(l *lane) {
	mine := t.lanes[l.tenant]
	if mine == nil {
		if t.lanes == nil {
			t.lanes = map[*tenant]*fifo[*lane]{}
		}
		mine = &fifo[*lane]{}
		t.lanes[l.tenant] = mine
		t.order.push(l.tenant)
	}
	mine.push(l)
	t.n++
}

// pop returns the next lane; there must be one.
func (t *turns) pop() *lane {
	first, _ := t.order.pop()
	mine := t.lanes[first]
	l, _ := mine.pop()
	if t.n--; mine.n > 0 {
		t.order.push(first)
	} else {
		delete(t.lanes, first)
	}
	return l
}

// timers is a heap of lanes by the time at which they want to be looked at.
type timers []*lane

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].wakeAt.Before(t[j].wakeAt) }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].timer, t[j].timer = i+1, j+1
}

// Push is for container/heap.
func (t *timers) Push(x any) {
	l := x.(*lane)
	*t = append(*t, l)
	l.timer = len(*t)
}

// Pop is for container/heap.
func (t *timers) Pop() any {
	old := *t
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	l.timer = 0
	return l
}

// arm has the lane looked at when at comes, or earlier if it is armed for earlier already.
func (e *Engine) arm(l *lane, at time.Time) {
	switch {
	case l.timer == 0:
		l.wakeAt = at
		heap.Push(&e.timers, l)
	case at.Before(l.wakeAt):
		l.wakeAt = at
		heap.Fix(&e.timers, l.timer-1)
	default:
		return
	}
	if e.timers[0] == l {
		wake(e.wakeClock)
	}
}

// activeList holds the attempts under way in the order in which they began.
type activeList struct {
	first, last *item
	n           int
}

func (a *activeList) add(it *item) {
	it.prev, it.next = a.last, nil
	if a.last != nil {
		a.last.next = it
	} else {
		a.first = it
	}
	a.last = it
	a.n++
}

// has reports whether an attempt at the item is under way.
func (a *activeList) has(it *item) bool { return it.prev != nil || a.first == it }

func (a *activeList) remove(it *item) {
	if it.prev != nil {
		it.prev.next = it.next
	} else {
		a.first = it.next
	}
	if it.next != nil {
		it.next.prev = it.prev
	} else {
		a.last = it.prev
	}
	it.prev, it.next = nil, nil
	a.n--
}
