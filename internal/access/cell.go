package access

import (
	"strings"

	"github.com/patchbay/patchbay"
)

// Cell says which tenants an installation serves when several installations share the tenants among them. Its zero value
// serves everybody.
type Cell struct {
	// Serves are patterns of tenants, in which * stands for any run of characters.
	Serves []patchbay.Pattern
}

// Refuse returns an error when a scope belongs to another installation. The empty scope belongs to each.
func (c Cell) Refuse(scope patchbay.Scope) error {
	tenant := scope.Tenant()
	if len(c.Serves) == 0 || tenant == "" {
		return nil
	}
	names := make([]string, len(c.Serves))
	for i, p := range c.Serves {
		if p.Match(tenant) {
			return nil
		}
		names[i] = string(p)
	}
	return patchbay.Errorf(patchbay.CodeForbidden, "the tenant %q is not served by this installation, which serves %s: send the call to the one that does",
		tenant, strings.Join(names, ", "))
}
