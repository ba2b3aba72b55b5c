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
	var b strings.Builder
	b.WriteString("| catalog | event types |\n|---|---|\n")
	for _, origin := range origins {
		name := "`" + cell(origin) + "`"
		if origin == catalog.OriginBuiltin {
			name = "always there"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, strings.Join(keys[origin], ", "))
	}
	return b.String()
}
