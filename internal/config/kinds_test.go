package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestScopeKinds reads which scopes are of which kind, in every spelling.
func TestScopeKinds(t *testing.T) {
	for _, test := range []struct {
		text string
		want ScopeKinds
	}{
		{"", ScopeKinds{"team": {"*/teams/*"}, "user": {"*/users/*"}}},
		{"team=*/t/*", ScopeKinds{"team": {"*/t/*"}, "user": {"*/users/*"}}},
		{"team=*/t/*,team=*/groups/*, user=", ScopeKinds{"team": {"*/t/*", "*/groups/*"}, "user": {}}},
		{`{"team": ["a/*", "b/*"], "user": "u/*"}`, ScopeKinds{"team": {"a/*", "b/*"}, "user": {"u/*"}}},
		{"squad=*/squads/*", ScopeKinds{"team": {"*/teams/*"}, "user": {"*/users/*"}, "squad": {"*/squads/*"}}},
	} {
		var k ScopeKinds
		if err := k.UnmarshalText([]byte(test.text)); err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if diff := cmp.Diff(test.want, k.withDefaults()); diff != "" {
			t.Errorf("%q: %s", test.text, diff)
		}
	}
	for text, want := range map[string]string{
		"team": "KIND=PATTERN", "A B=x": "not a kind", "team=a//b": "empty segment", "team=a!b": "byte", `{"team": 1}`: "list of patterns", `{"team": [[]]}`: "list of patterns",
	} {
		var k ScopeKinds
		if err := k.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	f, err := ParseFile("patchbay.yaml", []byte("scope-kinds:\n  team: [\"*/t/*\"]\n"))
	if err != nil || f.Value("scope-kinds") != `{"team":["*/t/*"]}` {
		t.Errorf("the file says %v, %v", f.Value("scope-kinds"), err)
	}
}
