package docgen

import (
	"fmt"
	"strings"

	"github.com/patchbay/patchbay/internal/catalog"
)

// CatalogTable returns a table with a row for each catalog, which names its event types.
func CatalogTable(types []*catalog.Type) string {
	var origins []string
	keys := map[string][]string{}
	for _, t := range types {
		origin := t.Spec().Origin
		if keys[origin] == nil {
			origins = append(origins, origin)
		}
		keys[origin] = append(keys[origin], "`"+t.Key()+"`")
	}
	keys[catalog.OriginIntegration] = byPrefix(keys[catalog.OriginIntegration])
	var b strings.Builder
	b.WriteString("| catalog | event types |\n|---|---|\n")
	for _, origin := range origins {
		name := "`" + cell(origin) + "`"
		switch origin {
		case catalog.OriginBuiltin:
			name = "always there"
		case catalog.OriginIntegration:
			name = "brought in by integrations"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, strings.Join(keys[origin], ", "))
	}
	return b.String()
}

// byPrefix makes one of the many types that an integration brings in: `github.*` (31).
func byPrefix(keys []string) []string {
	var prefixes []string
	all := map[string][]string{}
	for _, key := range keys {
		prefix, _, _ := strings.Cut(strings.Trim(key, "`"), ".")
		if all[prefix] == nil {
			prefixes = append(prefixes, prefix)
		}
		all[prefix] = append(all[prefix], key)
	}
	out := make([]string, 0, len(prefixes))
	for _, prefix := range prefixes {
		if n := len(all[prefix]); n > 1 {
			out = append(out, fmt.Sprintf("`%s.*` (%d)", prefix, n))
		} else {
			out = append(out, all[prefix][0])
		}
	}
	return out
}
