package links

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// Kinds says which scopes are of which kind: by a kind, such as patchbay.KindTeam, the patterns of its scopes. In a
// pattern * stands for any run of characters within one segment: */teams/* is the scope of every team of every tenant.
type Kinds map[string][]string

// DefaultKinds is where hosts put teams and users unless the operator says otherwise.
func DefaultKinds() Kinds {
	return Kinds{patchbay.KindTeam: {"*/teams/*"}, patchbay.KindUser: {"*/users/*"}}
}

// Of returns the kinds of a scope; none for a scope that no pattern selects.
func (k Kinds) Of(scope patchbay.Scope) []string {
	var out []string
	for _, kind := range slices.Sorted(maps.Keys(k)) {
		if slices.ContainsFunc(k[kind], func(p string) bool { return inKind(p, string(scope)) }) {
			out = append(out, kind)
		}
	}
	return out
}

// inKind reports whether a pattern selects a scope, segment by segment.
func inKind(pattern, scope string) bool {
	for {
		p, restP, moreP := strings.Cut(pattern, "/")
		s, restS, moreS := strings.Cut(scope, "/")
		if s == "" || !matches(p, s) || moreP != moreS {
			return false
		}
		if !moreP {
			return true
		}
		pattern, scope = restP, restS
	}
}

// matches is path.Match for a pattern that is known to be well-formed.
func matches(pattern, segment string) bool {
	ok, err := path.Match(pattern, segment)
	return ok && err == nil
}

// Takes reports whether an integration's links may lie in a scope: a scope of no kind takes every link.
func (k Kinds) Takes(def *integration.Definition, scope patchbay.Scope) bool {
	kinds := k.Of(scope)
	return len(def.Kinds) == 0 || len(kinds) == 0 || slices.ContainsFunc(kinds, func(kind string) bool { return slices.Contains(def.Kinds, kind) })
}

// check refuses a link in a scope of a kind that its integration is not for.
func (k Kinds) check(def *integration.Definition, scope patchbay.Scope) error {
	if k.Takes(def, scope) {
		return nil
	}
	return patchbay.Invalid("scope", "%s", fmt.Sprintf("%s is the scope of a %s, and links of the integration %q are for that of a %s",
		scope, strings.Join(k.Of(scope), " and a "), def.Key, strings.Join(def.Kinds, " or a ")))
}
