package links

import (
	"context"
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
)

const (
	// choicesTime is how long a partner may take to say what there is to choose from: somebody waits for it.
	choicesTime = 10 * time.Second
	// choicesMost is how many values are asked for and shown at most; a search finds the others.
	choicesMost = 100
	// searchMost bounds what a person can search for.
	searchMost = 200
)

// ChoiceInput says for whom a setting's values are asked.
type ChoiceInput struct {
	// Settings is what is known of the other settings, unchecked; masks in it stand for the stored values of Link.
	Settings   json.RawMessage
	Connection *string
	// Scope is, when it is nil, that of the link or of the connection, or else the caller's own.
	Scope  *string
	Search string
	// Link is the stored link that is being changed, if one is.
	Link *patchbay.LinkID
}

// Choices asks the partner for the values of a setting.
func (s *Service) Choices(ctx context.Context, c *access.Caller, key, setting string, in ChoiceInput) ([]integration.Choice, error) {
	d := Draft{Settings: in.Settings, Connection: in.Connection, Scope: in.Scope, Link: in.Link}
	l, err := s.draft(ctx, c, key, &d)
	if err != nil {
		return nil, err
	}
	if err := s.entrusted(c, l); err != nil {
		return nil, err
	}
	i, def, err := s.integration(key)
	if err != nil {
		return nil, err
	}
	chooser, ok := i.(integration.Chooser)
	if !ok || !dynamic(def, setting) {
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "the integration %q has no setting %q whose values it could look up", key, clip(setting))
	}
	if len(in.Search) > searchMost {
		return nil, patchbay.Invalid("search", "is longer than %d bytes", searchMost)
	}
	if d.Settings, err = settingsObject(def.Settings, d.Settings); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, choicesTime)
	defer cancel()
	var found []integration.Choice
	result := s.outside(ctx, l, def.Settings.Secrets(d.Settings), func(con *integration.Connected, env *integration.Env) integration.Result {
		var r integration.Result
		found, r = chooser.Choices(ctx, &integration.ChoiceQuery{
			Setting: setting, Search: in.Search, Settings: d.Settings, Connection: con, Env: env, Limit: choicesMost,
		})
		return r
	})
	if result.Verdict != patchbay.VerdictDelivered {
		return nil, refusal(result)
	}
	if found == nil {
		found = []integration.Choice{}
	}
	return found[:min(len(found), choicesMost)], nil
}

// dynamic reports whether an integration has a setting with values that only the partner knows.
func dynamic(def *integration.Definition, key string) bool {
	for i := range def.Settings {
		if def.Settings[i].Key == key {
			return def.Settings[i].Dynamic
		}
	}
	return false
}

// settingsObject refuses what is no JSON object; nothing is an empty one. It drops what the Spec does not know: JSON is decoded
// whatever the case of its keys, so that an "API_URL", which was nobody's target when stored secrets were put in place of
// their masks, would become the address that they are sent to.
func settingsObject(spec integration.Spec, raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return json.RawMessage("{}"), nil
	}
	var in map[string]json.RawMessage
	if len(raw) > patchbay.MaxSettingsBytes || json.Unmarshal(raw, &in) != nil || in == nil {
		return nil, patchbay.Invalid("settings", "must be a JSON object of at most %d bytes", patchbay.MaxSettingsBytes)
	}
	return json.Marshal(known(spec, in))
}

// known are the settings that a Spec knows.
func known(spec integration.Spec, in map[string]json.RawMessage) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(spec))
	for i := range spec {
		value, ok := in[spec[i].Key]
		if !ok {
			continue
		}
		var fields map[string]json.RawMessage
		if spec[i].Type == integration.TypeObject && json.Unmarshal(value, &fields) == nil && fields != nil {
			value, _ = json.Marshal(known(spec[i].Fields, fields)) // it was JSON, and still is
		}
		out[spec[i].Key] = value
	}
	return out
}
