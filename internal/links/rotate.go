package links

import (
	"context"
	"encoding/json"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
)

// RotateSecret makes a new signing secret, or where the integration has none a new one for the partner's calls. Both are
// good for a day, so that the other side can change over.
func (s *Service) RotateSecret(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*View, error) {
	if err := c.Require(access.Secrets); err != nil {
		return nil, err
	}
	return s.alter(ctx, c, id, 0, func(l *patchbay.Link, def *integration.Definition) (map[string]string, error) {
		for i := range def.Settings {
			if set := &def.Settings[i]; set.Generate != nil && set.Signing {
				return rotate(l, set)
			}
		}
		current, err := s.compile(l)
		if err != nil {
			return nil, err
		}
		if signs(current, l, s.o.Configs[l.Integration]) {
			return rotateHook(l)
		}
		return nil, patchbay.Errorf(patchbay.CodeInvalidRequest, "the integration %q has no secret that Patchbay could make anew", l.Integration)
	})
}

// rotate replaces one of a link's secrets and returns the new one by its setting's key.
func rotate(l *patchbay.Link, set *integration.Setting) (map[string]string, error) {
	var in map[string]any
	if err := json.Unmarshal(l.Settings, &in); err != nil {
		return nil, patchbay.Internal("reading the link's settings", err)
	}
	old, _ := in[set.Key].(string)
	value, err := successor(set, old)
	if err != nil {
		return nil, patchbay.Internal("making a secret", err)
	}
	if l.Settings, err = with(l.Settings, set.Key, value); err != nil {
		return nil, err
	}
	if old != "" {
		l.Previous = &patchbay.PreviousSecret{Setting: set.Key, Value: patchbay.Secret(old), Until: l.UpdatedAt.Add(rotationOverlap)}
	}
	return map[string]string{set.Key: value}, nil
}

func successor(set *integration.Setting, old string) (string, error) {
	if set.Successor != nil && old != "" {
		return set.Successor(old)
	}
	return set.Generate()
}
