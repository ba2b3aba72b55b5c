package access

import (
	"cmp"

	"github.com/patchbay/patchbay"
)

// NameOf returns what people call a key: its name, or the end of its token where it has none; "" when it was deleted.
func (k *Keys) NameOf(id patchbay.KeyID) string {
	for _, e := range *k.byHash.Load() {
		if e.ID == id {
			return cmp.Or(e.Name, "key …"+e.Hint)
		}
	}
	return ""
}
