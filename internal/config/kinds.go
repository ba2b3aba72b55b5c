package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
)

// ScopeKinds says which scopes are of which kind: by kind, such as team, patterns of scopes in which * stands for any run of
// characters within one segment.
type ScopeKinds map[string][]string

var kindName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// UnmarshalText reads "team=*/teams/*", several of them separated by commas, or a JSON object with a pattern or a list of
// them for each kind. It adds to what it has. A kind without a pattern ("user=") has no scopes.
func (k *ScopeKinds) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if !strings.HasPrefix(s, "{") {
		for _, part := range split(s) {
			kind, pattern, ok := strings.Cut(part, "=")
			if !ok {
				return fmt.Errorf("%q is not a kind of scopes: write KIND=PATTERN, such as team=*/teams/*", part)
			}
			if err := k.add(kind, pattern); err != nil {
				return err
			}
		}
		return nil
	}
	var in map[string]any
	if err := json.Unmarshal([]byte(s), &in); err != nil {
		return err
	}
	for kind, value := range in {
		patterns, ok := value.([]any)
		if !ok {
			patterns = []any{value}
		}
		for _, p := range patterns {
			pattern, ok := p.(string)
			if !ok {
				return fmt.Errorf("the kind %q must have a pattern or a list of patterns, such as */teams/*", kind)
			}
			if err := k.add(kind, pattern); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *ScopeKinds) add(kind, pattern string) error {
	kind, pattern = strings.TrimSpace(kind), strings.TrimSpace(pattern)
	if !kindName.MatchString(kind) {
		return fmt.Errorf("%q is not a kind of scopes: write a word such as %s or %s", kind, patchbay.KindTeam, patchbay.KindUser)
	}
	if *k == nil {
		*k = ScopeKinds{}
	}
	if pattern == "" {
		(*k)[kind] = []string{}
		return nil
	}
	if _, err := patchbay.ParseScope(strings.ReplaceAll(pattern, "*", "x")); err != nil {
		return fmt.Errorf("the pattern %q of the kind %s: %w", pattern, kind, err)
	}
	if !slices.Contains((*k)[kind], pattern) {
		(*k)[kind] = append((*k)[kind], pattern)
	}
	return nil
}

// withDefaults adds where teams and users are unless it says so itself.
func (k ScopeKinds) withDefaults() ScopeKinds {
	out := ScopeKinds{patchbay.KindTeam: {"*/teams/*"}, patchbay.KindUser: {"*/users/*"}}
	for kind, patterns := range k {
		out[kind] = patterns
	}
	return out
}
