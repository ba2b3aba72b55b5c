package route

import (
	"slices"
	"strings"
	"sync"

	"github.com/patchbay/patchbay"
)

// Result is where an event goes.
type Result struct {
	// Matched are the links that get a delivery, in the order in which they were made. Paused ones hold theirs.
	Matched []*Link
	// Missed says that a disabled link would have got one.
	Missed bool
	// FilterErrors are the links whose filter could not be evaluated. They do not match.
	FilterErrors []FilterError
}

// FilterError is a filter that could not be evaluated.
type FilterError struct {
	Link *Link
	Err  error
}

// Match finds the links for an event. supports says whether an integration takes the event's type (its definition's
// patterns, what the catalog skips); nil stands for "every integration does".
func (x *Index) Match(e *Event, supports func(integration string) bool) Result {
	if e.Hops >= patchbay.MaxHops {
		return Result{}
	}
	s := scratches.Get().(*scratch)
	x.candidates(e, s)
	var r Result
	s.keepFitting(e, supports, &r)
	s.keepDeepest()
	s.keepReturning(e, &r)
	s.release()
	return r
}

// scratch is the memory of one Match.
type scratch struct {
	links    []*Link
	findings []*finding
	slots    map[slot]int
}

// slot is a place that only the links at one depth can have.
type slot struct{ integration, name string }

var scratches = sync.Pool{New: func() any { return &scratch{slots: make(map[slot]int)} }}

// keptLinks bounds what a scratch holds on to.
const keptLinks = 4096

func (s *scratch) release() {
	if cap(s.links) > keptLinks || len(s.slots) > keptLinks {
		return
	}
	clear(s.links[:cap(s.links)])
	s.links = s.links[:0]
	clear(s.slots)
	scratches.Put(s)
}

// candidates collects the links whose scope, reach and patterns fit, each once and in order.
func (x *Index) candidates(e *Event, s *scratch) {
	x.mu.RLock()
	x.visible(e.Event, func(b *bucket) {
		if len(e.Names) == 0 {
			s.collect(b, e.Type)
		}
		for _, name := range e.Names {
			// A system type has no other names, and no other pattern than one for system types may select it.
			if system(name) || !system(e.Type) {
				s.collect(b, name)
			}
		}
	})
	x.mu.RUnlock()
	if len(s.findings) > 0 {
		x.mu.Lock()
		for _, f := range s.findings {
			f.keep()
		}
		x.mu.Unlock()
		clear(s.findings)
		s.findings = s.findings[:0]
	}
	if !slices.IsSortedFunc(s.links, byID) {
		slices.SortFunc(s.links, byID)
	}
	s.links = slices.Compact(s.links)
}

func (s *scratch) collect(b *bucket, name string) {
	var f *finding
	if s.links, f = b.collect(name, s.links); f != nil {
		s.findings = append(s.findings, f)
	}
}

func system(name string) bool { return strings.HasPrefix(name, patchbay.SystemPrefix) }

// keepFitting drops links that are not in service, whose integration does not take the type, or whose filter is not
// true. That an integration does not take a type may be asked before slots are looked at, because the links of a
// slot share their integration.
func (s *scratch) keepFitting(e *Event, supports func(string) bool, r *Result) {
	var asked *Link // the last whose integration was asked about
	takes := true
	kept := s.links[:0]
	for _, l := range s.links {
		if !inService(l.State) {
			continue
		}
		if supports != nil && (asked == nil || l.Integration != asked.Integration) {
			asked, takes = l, supports(l.Integration)
		}
		if !takes {
			continue
		}
		if l.Filter != nil {
			pass, err := l.Filter.Eval(e)
			if err != nil {
				r.FilterErrors = append(r.FilterErrors, FilterError{l, err})
			}
			if !pass {
				continue
			}
		}
		kept = append(kept, l)
	}
	s.links = kept
}

// inService reports whether a link in this state can match or take its slot.
func inService(state patchbay.LinkState) bool {
	return state == patchbay.LinkActive || state == patchbay.LinkPaused || state == patchbay.LinkDisabled
}

// keepDeepest drops those of the links with one slot that are not at the deepest scope.
func (s *scratch) keepDeepest() {
	slotted := 0
	for _, l := range s.links {
		if l.Slot != "" {
			slotted++
		}
	}
	if slotted < 2 {
		return
	}
	for _, l := range s.links {
		if l.Slot != "" {
			key := slot{l.Integration, l.Slot}
			s.slots[key] = max(s.slots[key], l.Scope.Depth())
		}
	}
	kept := s.links[:0]
	for _, l := range s.links {
		if l.Slot == "" || l.Scope.Depth() == s.slots[slot{l.Integration, l.Slot}] {
			kept = append(kept, l)
		}
	}
	s.links = kept
}

// keepReturning makes the result of what is left, without the links over which the event must not go.
func (s *scratch) keepReturning(e *Event, r *Result) {
	kept := s.links[:0]
	for _, l := range s.links {
		switch {
		case returns(e.Event, l):
		case l.State == patchbay.LinkDisabled:
			r.Missed = r.Missed || !l.OptOut
		default:
			kept = append(kept, l)
		}
	}
	if len(kept) > 0 {
		r.Matched = slices.Clone(kept)
	}
}

// returns reports whether the link leads back to where the event came from, or is what a system event is about.
func returns(e *patchbay.Event, l *Link) bool {
	src := &e.Source
	switch {
	case src.Kind == patchbay.SourceHook:
		return l.ID == src.Link || src.Target != "" && l.Target == src.Target && l.Integration == src.Integration
	case src.Kind == patchbay.SourceSystem || system(e.Type):
		return src.Link != 0 && l.ID == src.Link
	}
	return false
}
