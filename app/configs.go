package app

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

// configs checks the operator's settings of integrations against what each declares. An integration without settings
// of the operator's gets none, not an empty object, so that it can tell the two apart.
func (a *App) configs() (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	for _, key := range slices.Sorted(maps.Keys(a.config.Integrations)) {
		i, ok := a.integrations[key]
		if !ok {
			return nil, fmt.Errorf("integrations.%s: there is no integration %q; there are %s", key, key,
				strings.Join(slices.Sorted(maps.Keys(a.integrations)), ", "))
		}
		raw, err := a.config.Integrations.JSON(key)
		if err != nil {
			return nil, fmt.Errorf("integrations.%s: %w", key, err)
		}
		checked, err := i.Definition().Config.Check(raw, integration.CheckOptions{})
		if err != nil {
			return nil, fmt.Errorf("integrations.%s: %w", key, err)
		}
		out[key] = checked
	}
	return out, nil
}
