package web

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/stream"
)

// Stream shows what happens while it happens.
type Stream interface {
	Subscribe(f stream.Filter) *stream.Subscription
}

const (
	// maxWatching bounds how many pages watch at one time: every event is compared with the filter of each.
	maxWatching = 128
	// maxWatchingEach bounds those of one session: more tabs than somebody looks at.
	maxWatchingEach = 16
	// tellEvery is how often a page is told of what is new, so that a flood of events is one line a second.
	tellEvery = time.Second
	// beatEvery is how often a stream shows that it is alive, and looks whether the viewer's session still is.
	beatEvery = 15 * time.Second
	// watchWrite is how long a browser may take to take what is written before it is cut off.
	watchWrite = 30 * time.Second
)

// watchers counts the pages that watch, of everybody and of each session.
type watchers struct {
	mu   sync.Mutex
	all  int
	each map[patchbay.SessionID]int
}

// enter reports whether one more page may watch. No session takes the room of the others, and customers leave room for
// operators.
func (w *watchers) enter(c *access.Caller) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	room := maxWatching
	if c.Portal {
		room /= 2
	}
	if w.all >= room || c.Session != 0 && w.each[c.Session] >= maxWatchingEach {
		return false
	}
	if w.each == nil {
		w.each = map[patchbay.SessionID]int{}
	}
	w.all++
	w.each[c.Session]++
	return true
}

// leave gives the room back.
func (w *watchers) leave(c *access.Caller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	if w.each[c.Session]--; w.each[c.Session] == 0 {
		delete(w.each, c.Session)
	}
}

var errWatched = &patchbay.Error{
	Code: patchbay.CodeRateLimited, Message: "too many pages watch at this moment: reload the page instead", RetryAfter: 30,
}

// live tells a list of events how many have come in that belong to it, as server-sent events, until the page is left. It
// says nothing about them: the page asks for the list again, so that rows are only ever made in one place.
func (c *call) live() error {
	if err := c.forOperators(); err != nil {
		return err
	}
	filter, err := c.liveFilter()
	if err != nil {
		return err
	}
	return c.watch(filter)
}

// watch tells the page how much has happened that the filter selects, as far as the viewer sees it, until it is left.
func (c *call) watch(filter stream.Filter) error {
	if c.o.Stream == nil {
		return notKept("streams")
	}
	if err := c.who.Require(access.Read); err != nil {
		return err
	}
	if filter.Scope == "" {
		filter.Scope = c.who.Scope
	}
	filter.Within = c.who.Scope
	if !c.watching.enter(c.who) {
		return errWatched
	}
	defer c.watching.leave(c.who)
	sub := c.o.Stream.Subscribe(filter)
	defer sub.Close()
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold it back
	c.relay(sub)
	return nil
}

func (c *call) liveFilter() (f stream.Filter, err error) {
	if err = c.who.Require(access.Read); err != nil {
		return f, err
	}
	q := readEventFilter(c.r.URL.Query())
	f.Kinds = []string{stream.KindEvent}
	if f.Scope, err = c.scopeParameter(q.Scope); err != nil {
		return f, err
	}
	if f.Scope == "" {
		f.Scope = c.who.Scope
	}
	if q.Type == "" {
		return f, nil
	}
	name := q.Type
	if t := c.o.Catalog.Type(name); t != nil {
		name = t.Key() // items carry the key, never an alias
	}
	p, err := patchbay.ParsePattern(name)
	if err != nil {
		return f, patchbay.Invalid("type", "%v", err)
	}
	f.Types = []patchbay.Pattern{p}
	return f, nil
}

// relay writes counts until the browser leaves, its session ends, or the hub is closed.
func (c *call) relay(sub *stream.Subscription) {
	conn := http.NewResponseController(c.w)
	send := func(text string) bool {
		_ = conn.SetWriteDeadline(time.Now().Add(watchWrite)) // not every connection can; then the server's own limits hold
		_, err := c.w.Write([]byte(text))
		return err == nil && conn.Flush() == nil
	}
	beat, tell := time.NewTicker(beatEvery), time.NewTicker(tellEvery)
	defer beat.Stop()
	defer tell.Stop()
	if !send("retry: 5000\n\n") {
		return
	}
	var told, n uint64
	for {
		select {
		case <-c.r.Context().Done():
			return
		case _, open := <-sub.Messages():
			if !open {
				return
			}
			n++
		case <-tell.C:
			n += sub.Dropped()
			if n != told && !send("event: new\ndata: "+strconv.FormatUint(n, 10)+"\n\n") {
				return
			}
			told = n
		case <-beat.C:
			if _, _, err := c.o.Sessions.Caller(c.r); err != nil {
				return
			}
			if !send(": alive\n\n") {
				return
			}
		}
	}
}
