package web

import (
	"strings"
	"testing"

	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integrations/all"
)

// TestEveryIntegrationCanBeShown: each has a drawing of its own, a category with a title, words on what it does, and a page whose
// settings say what they are for.
func TestEveryIntegrationCanBeShown(t *testing.T) {
	drawn := map[string]string{}
	for _, i := range all.Integrations() {
		d := i.Definition()
		g, ok := glyphs[d.Key]
		if !ok {
			t.Errorf("%s has no mark of its own", d.Key)
		}
		if other := drawn[g.drawing]; other != "" {
			t.Errorf("%s and %s have the same drawing", d.Key, other)
		}
		drawn[g.drawing] = d.Key
		if d.Title == "" || !strings.HasSuffix(d.Description, ".") || len(supports(i)) == 0 {
			t.Errorf("%s is called %q, described as %q, and does %v", d.Key, d.Title, d.Description, supports(i))
		}
		known := false
		for _, c := range categories {
			known = known || c.key == d.Category
		}
		if !known {
			t.Errorf("%s is of the category %q, which has no title", d.Key, d.Category)
		}
		docs, err := markdown(d.Docs)
		if err != nil || len(docs) < 200 {
			t.Errorf("the documentation of %s is %q, %v", d.Key, docs, err)
		}
		explains(t, d.Key, d.Settings)
	}
}

// explains checks that settings say what they are for.
func explains(t *testing.T, of string, spec integration.Spec) {
	t.Helper()
	for i := range spec {
		s := &spec[i]
		if s.Title == "" || s.Help == "" && s.Example == "" && len(s.Options) == 0 {
			t.Errorf("the setting %s.%s says nothing of itself", of, s.Key)
		}
		explains(t, of+"."+s.Key, s.Fields)
	}
}
