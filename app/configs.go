package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
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
			return nil, configError(key, err)
		}
		out[key] = checked
	}
	return out, nil
}

// configError calls what is wrong by the keys of the configuration, which have no settings in them.
func configError(key string, err error) error {
	var e *patchbay.Error
	if !errors.As(err, &e) || len(e.Details) == 0 {
		return fmt.Errorf("integrations.%s: %w", key, err)
	}
	var texts []string
	for _, d := range e.Details {
		texts = append(texts, "integrations."+key+"."+strings.TrimPrefix(d.Path, "settings.")+": "+d.Message)
	}
	return errors.New(strings.Join(texts, "; "))
}
