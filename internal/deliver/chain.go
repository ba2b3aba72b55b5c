package deliver

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// chain is what a lane has in memory of deliveries that go one after the other: those with the same turn. The first of
// items is the one whose turn it is; the others follow it without a way through the store. Behind a chain there may be
// more of its turn in the queue, but never before what is in items, except for what has just left them.
type chain struct {
	turn  string
	items fifo[*item]
	// leaving counts those that are on their way to the queue. The chain stays until they are there.
	leaving int
	// closed says that there is more of the turn in the queue: what comes now goes there too. parked says that there is
	// something in the queue that comes before what is committed from now on.
	closed, parked bool
}

// longestTurn is the longest key that is kept as it is.
const longestTurn = 64

// turnOf returns the turn of a key of an order. It is text that every database takes, and never empty.
func turnOf(key string) string {
	if len(key) <= longestTurn && utf8.ValidString(key) && !strings.ContainsRune(key, 0) {
		return "=" + key
	}
	sum := sha256.Sum256([]byte(key))
	return "#" + hex.EncodeToString(sum[:20])
}

// turn returns what orders an event's delivery over a link, "" when nothing does, and the thread of its message.
func (e *Engine) turn(link *Link, event *patchbay.Event) (turn, thread string) {
	if link.threads() {
		thread = e.o.Catalog.Thread(event, link.Definition)
		turn = thread
	}
	if link.Order != nil {
		key := ""
		if link.OrderKey != nil {
			key = link.OrderKey(event)
		}
		turn = turnOf(key)
	}
	return turn, thread
}

// append puts an item at the end of the chain of its turn.
func (l *lane) append(it *item) *chain {
	c := l.chains[it.turn]
	if c == nil {
		c = &chain{turn: it.turn}
		l.chains[it.turn] = c
	}
	c.items.push(it)
	it.chain = c
	return c
}

// first reports whether it is the item's turn.
func (it *item) first() bool {
	if it.chain == nil {
		return true
	}
	head, _ := it.chain.items.peek()
	return head == it
}

// stand counts a committed item that waits for its turn in memory.
func (l *lane) stand(it *item) {
	it.behind = true
	l.behind++
	if !it.queued {
		l.behindFresh++
	}
}

// unstand is the opposite of stand.
func (l *lane) unstand(it *item) {
	it.behind = false
	l.behind--
	if !it.queued {
		l.behindFresh--
	}
}

// unchain takes an item out of its chain, and lets the next one go on if it was its turn.
func (e *Engine) unchain(it *item) {
	c := it.chain
	if c == nil {
		return
	}
	it.chain = nil
	if it.behind {
		it.lane.unstand(it)
	}
	if head, _ := c.items.peek(); head == it {
		c.items.pop()
	} else {
		c.items.filter(func(other *item) bool { return other != it })
	}
	e.goOn(it.lane, c)
}

// goOn makes the first of a chain ready, if it waited for its turn, and forgets a chain that is over. The rest of its
// turn is looked for in the queue.
func (e *Engine) goOn(l *lane, c *chain) {
	if next, ok := c.items.peek(); ok {
		if next.behind { // else it is ready already, under way, or not committed yet
			l.unstand(next)
			l.ready.push(next)
			if !next.queued {
				l.fresh++
			}
		}
		return
	}
	if c.leaving > 0 || l.chains[c.turn] != c {
		return
	}
	delete(l.chains, c.turn)
	if l.loading {
		if l.moved == nil {
			l.moved = map[string]struct{}{}
		}
		l.moved[c.turn] = struct{}{}
	}
	e.follow(l)
}

// follow looks in the queue for those whose turn it may be now.
func (e *Engine) follow(l *lane) {
	if l.queued {
		e.noteDue(l, e.now())
		e.kick(l)
	}
}

// takeChained takes fresh deliveries that wait for their turn out of memory: of chains of which something is in the
// queue or on its way there, and of those whose first one has waited since before a time (zero: of all).
func (e *Engine) takeChained(l *lane, before time.Time, out []store.Queued) []store.Queued {
	if l.behindFresh == 0 {
		return out
	}
	for _, c := range l.chains {
		old := c.parked || before.IsZero()
		for i := 0; i < c.items.n && !old; i++ {
			it := c.items.at(i)
			if it.behind {
				old = it.ready.Before(before)
				break
			}
		}
		if !old {
			continue
		}
		c.items.filter(func(it *item) bool {
			if !it.behind || it.queued {
				return true
			}
			out = append(out, e.depart(c, it))
			l.unstand(it)
			return false
		})
		e.goOn(l, c)
	}
	return out
}

// depart makes the place in the queue for a fresh item that is taken out of its chain.
func (e *Engine) depart(c *chain, it *item) store.Queued {
	e.readyBytes -= len(it.event.Payload)
	it.chain = nil
	c.leaving++
	c.closed, c.parked = true, true
	return it.row(it.event.ReceivedAt)
}

// scatter gives back what waits behind an item that has failed and blocks it: the block may last for hours.
func (e *Engine) scatter(it *item) {
	l, c := it.lane, it.chain
	c.closed, c.parked = true, true
	var rows []store.Queued
	c.items.filter(func(other *item) bool {
		switch {
		case !other.behind:
			return true
		case other.queued:
			other.chain = nil
			l.letGo(other.delivery)
			e.readyBytes -= len(other.event.Payload)
			l.hands--
		default:
			rows = append(rows, e.depart(c, other))
		}
		l.unstand(other)
		return false
	})
	e.handOver(l, rows)
}

// arrived notes that something of a turn has got its place in the queue.
func (e *Engine) arrived(l *lane, turn string) {
	if c := l.chains[turn]; turn != "" && c != nil && c.leaving > 0 {
		c.leaving--
		e.goOn(l, c)
	}
}
