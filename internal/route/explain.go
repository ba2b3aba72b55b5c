package route

import (
	"fmt"
	"slices"

	"github.com/patchbay/patchbay"
)

// Explanation says whether a link matches an event, and why or why not.
type Explanation struct {
	Link    *Link
	Matched bool
	// Held says that the link matches and keeps the delivery back, because it is paused.
	Held bool
	// Reason is a sentence.
	Reason string
}

// Explain says of every link that could see the event's scopes, and of every link at all when all is true, whether
// it matches and why, in the order in which they were made. It agrees with Match.
func (x *Index) Explain(e *Event, all bool, supports func(integration string) bool) []Explanation {
	links := x.explained(e, all)
	out := make([]Explanation, 0, len(links))
	deepest := make(map[slot]*Link)
	fits := make([]bool, len(links))
	for i, l := range links {
		var reason string
		fits[i], reason = fit(l, e, supports)
		out = append(out, Explanation{Link: l, Reason: reason})
		if key := (slot{l.Integration, l.Slot}); fits[i] && l.Slot != "" {
			if d := deepest[key]; d == nil || l.Scope.Depth() > d.Scope.Depth() {
				deepest[key] = l
			}
		}
	}
	for i, l := range links {
		if fits[i] {
			out[i].decide(e, deepest[slot{l.Integration, l.Slot}])
		}
	}
	return out
}

// explained returns the links that Explain speaks of, in order.
func (x *Index) explained(e *Event, all bool) []*Link {
	var links []*Link
	x.mu.RLock()
	if all {
		for _, l := range x.links {
			links = append(links, l)
		}
	} else {
		x.visible(e.Event, func(b *bucket) {
			for _, g := range b.literal {
				links = append(links, g.links...)
			}
			for _, g := range b.wild {
				links = append(links, g.links...)
			}
		})
	}
	x.mu.RUnlock()
	slices.SortFunc(links, byID)
	return slices.Compact(links)
}

// fit says whether the link's scope, patterns, integration and filter want the event, and if not, why.
func fit(l *Link, e *Event, supports func(string) bool) (bool, string) {
	if _, ok := seenFrom(l, e.Event); !ok {
		return false, fmt.Sprintf("the event is in %s, but the link sees %s", scopeName(e.Scope), reachName(l))
	}
	if _, _, ok := selected(l, e); !ok {
		if len(l.Events) == 0 {
			return false, "the link only receives"
		}
		return false, fmt.Sprintf("none of its patterns (%s) matches the type %s", patterns(l), e.Type)
	}
	switch {
	case l.State == patchbay.LinkAttaching:
		return false, "it is still being set up at the partner"
	case l.State == patchbay.LinkDetaching:
		return false, "it is being taken down at the partner"
	case !inService(l.State):
		return false, fmt.Sprintf("it is in the state %q", l.State)
	case supports != nil && !supports(l.Integration):
		return false, fmt.Sprintf("the integration %s does not take events of the type %s", l.Integration, e.Type)
	case l.Filter == nil:
		return true, ""
	}
	pass, err := l.Filter.Eval(e)
	switch {
	case err != nil:
		return false, fmt.Sprintf("its filter could not be evaluated: %v", err)
	case !pass:
		return false, fmt.Sprintf("its filter (%s) is false", clip(l.Filter.String()))
	}
	return true, ""
}

// decide completes the explanation of a link that fits. deepest is one of the deepest links of its slot, nil without
// a slot.
func (x *Explanation) decide(e *Event, deepest *Link) {
	l := x.Link
	switch {
	case deepest != nil && deepest.Scope.Depth() > l.Scope.Depth():
		x.Reason = fmt.Sprintf("in the slot %q the link %s in %s takes its place", l.Slot, deepest.ID, scopeName(deepest.Scope))
	case e.Hops >= patchbay.MaxHops:
		x.Reason = fmt.Sprintf("the event has been through a partner and back %d times and ends here", e.Hops)
	case returns(e.Event, l) && e.Source.Kind == patchbay.SourceHook:
		x.Reason = "the event came from there: it entered through a hook of the same target"
	case returns(e.Event, l):
		x.Reason = "the event is about this very link"
	case l.OptOut:
		x.Reason = fmt.Sprintf("it is there so that nothing from the slot %q comes to %s", l.Slot, scopeName(l.Scope))
	case l.State == patchbay.LinkDisabled:
		x.Reason = "it would match, but it is disabled"
	default:
		scope, _ := seenFrom(l, e.Event)
		pattern, name, _ := selected(l, e)
		x.Matched = true
		x.Reason = fmt.Sprintf("the event is in %s, the link sees %s, and its pattern %s matches %s",
			scopeName(scope), reachName(l), pattern, name)
		if l.State == patchbay.LinkPaused {
			x.Held = true
			x.Reason += "; the delivery is held, because the link is paused"
		}
	}
}

// seenFrom returns the first of the event's scopes that the link sees.
func seenFrom(l *Link, e *patchbay.Event) (patchbay.Scope, bool) {
	if l.Reach.Covers(l.Scope, e.Scope) {
		return e.Scope, true
	}
	for _, s := range e.Also {
		if l.Reach.Covers(l.Scope, s) {
			return s, true
		}
	}
	return "", false
}

// selected returns the first of the link's patterns that matches one of the type's names, and that name.
func selected(l *Link, e *Event) (patchbay.Pattern, string, bool) {
	names := e.Names
	if len(names) == 0 {
		names = []string{e.Type}
	}
	for _, p := range l.Events {
		for _, name := range names {
			if (system(name) || !system(e.Type)) && p.Match(name) {
				return p, name, true
			}
		}
	}
	return "", "", false
}

func scopeName(s patchbay.Scope) string {
	if s == "" {
		return "the whole installation"
	}
	return string(s)
}

func reachName(l *Link) string {
	switch {
	case l.Reach == patchbay.ReachExact:
		return "only " + scopeName(l.Scope) + " itself"
	case l.Reach == patchbay.ReachChildren:
		return "only what is one level below " + scopeName(l.Scope)
	case l.Scope == "":
		return "everything"
	}
	return string(l.Scope) + " and everything below it"
}

// patterns lists the link's patterns, not all when they are many.
func patterns(l *Link) string {
	const most = 5
	text := ""
	for i, p := range l.Events {
		if i == most {
			return fmt.Sprintf("%s and %d more", text, len(l.Events)-most)
		}
		if i > 0 {
			text += ", "
		}
		text += string(p)
	}
	return text
}

// clip shortens what is quoted in a reason.
func clip(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
