package web

import (
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/catalog"
)

// eventsPart is the choice of event types.
type eventsPart struct {
	Everything bool
	Groups     []typeGroup
	Patterns   string
	Matches    []patternMatch
	Error      string
	// None says that choosing nothing is possible, because the link receives.
	None bool
}

// typeGroup are types that belong together; Chosen counts those that are chosen.
type typeGroup struct {
	Title  string
	All    *typeOption
	Types  []typeOption
	Chosen int
}

type typeOption struct {
	Key, Title, Help string
	Chosen           bool
}

// patternMatch says what a pattern selects in the catalog as it is now.
type patternMatch struct {
	Pattern string
	Types   []string
	More    int
}

// offers reports whether the integration takes a type, so that there is a sense in choosing it.
func (f *linkForm) offers(t *catalog.Type) bool {
	if t.Key() == "integration_test" || t.Skips(catalog.Target{Key: f.def.Key, Category: f.def.Category, Title: f.def.Title}) {
		return false
	}
	return f.def.Events == nil || slices.ContainsFunc(f.def.Events, t.Matches)
}

func (f *linkForm) eventsPart(receives bool) *eventsPart {
	e := &eventsPart{
		Everything: slices.Contains(f.sent["events"], "*"), Patterns: f.sent.Get("patterns"), Error: f.errors["events"], None: receives,
	}
	at := map[string]int{}
	for _, t := range f.o.Catalog.Types() {
		if !f.offers(t) {
			continue
		}
		title, all := f.groupOf(t)
		n, ok := at[title]
		if !ok {
			n = len(e.Groups)
			at[title] = n
			e.Groups = append(e.Groups, typeGroup{Title: title})
			if all != "" {
				e.Groups[n].All = &typeOption{Key: all, Chosen: slices.Contains(f.sent["events"], all)}
			}
		}
		g := &e.Groups[n]
		o := typeOption{Key: t.Key(), Title: t.Title(), Help: t.Spec().Description, Chosen: slices.Contains(f.sent["events"], t.Key())}
		g.Types = append(g.Types, o)
		if o.Chosen || g.All != nil && g.All.Chosen {
			g.Chosen++
		}
	}
	const shown = 8
	for _, text := range lines(strings.Split(strings.ReplaceAll(e.Patterns, ",", "\n"), "\n")) {
		m := patternMatch{Pattern: text}
		if p, err := patchbay.ParsePattern(text); err == nil {
			for _, t := range f.o.Catalog.Types() {
				if !t.Matches(p) || !f.offers(t) {
					continue
				}
				if len(m.Types) == shown {
					m.More++
					continue
				}
				m.Types = append(m.Types, t.Key())
			}
		}
		e.Matches = append(e.Matches, m)
	}
	return e
}

// groupOf names the group that a type is shown in, by the word before its first dot, and the pattern that selects all of
// it; "" when there is none.
func (f *linkForm) groupOf(t *catalog.Type) (title, all string) {
	first, _, dotted := strings.Cut(t.Key(), ".")
	if !dotted {
		return "General", ""
	}
	if d := f.definitions[first]; d != nil {
		return d.Title, first + ".*"
	}
	return strings.ToUpper(first[:1]) + strings.ReplaceAll(first[1:], "_", " "), first + ".*"
}

// listed reports whether a pattern has a box of its own in the form.
func (f *linkForm) listed(p patchbay.Pattern) bool {
	if p == "*" {
		return true
	}
	return slices.ContainsFunc(f.o.Catalog.Types(), func(t *catalog.Type) bool {
		_, all := f.groupOf(t)
		return f.offers(t) && (string(p) == t.Key() || string(p) == all)
	})
}
