package integration

import "encoding/json"

// SettingInfo is how the API describes a setting.
type SettingInfo struct {
	Key      string      `json:"key"`
	Title    string      `json:"title"`
	Required bool        `json:"required"`
	Type     SettingType `json:"type"`
	Secret   bool        `json:"secret"`
	// UnlessConnected says that a link over a connection does without it, Dynamic that the partner knows the values.
	UnlessConnected bool   `json:"unless_connected,omitempty"`
	Dynamic         bool   `json:"dynamic,omitempty"`
	Default         any    `json:"default"`
	Help            string `json:"help"`
	Example         string `json:"example,omitempty"`
	// Options is empty unless Type is TypeSelect.
	Options []Option      `json:"options" nullable:"false"`
	Fields  []SettingInfo `json:"fields,omitempty"`
}

// Info describes the settings.
func (s Spec) Info() []SettingInfo {
	out := make([]SettingInfo, len(s))
	for i := range s {
		set := &s[i]
		out[i] = SettingInfo{
			Key: set.Key, Title: set.Title, Required: set.Required, Type: set.Type, Secret: set.Secret,
			Default: set.Default, Help: set.Help, Example: set.Example, Options: append([]Option{}, set.Options...),
			UnlessConnected: set.UnlessConnected, Dynamic: set.Dynamic,
		}
		if set.Type == TypeObject {
			out[i].Fields = set.Fields.Info()
		}
	}
	return out
}

// Schema returns the settings' JSON Schema 2020-12.
func (s Spec) Schema() json.RawMessage {
	schema := s.schema()
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	b, err := json.Marshal(schema)
	if err != nil {
		panic("integration: a default that is not JSON: " + err.Error())
	}
	return b
}

func (s Spec) schema() map[string]any {
	properties := make(map[string]any, len(s))
	required := []string{}
	for i := range s {
		set := &s[i]
		properties[set.Key] = set.schema()
		if set.Required && !set.UnlessConnected && set.Default == nil && set.Generate == nil {
			required = append(required, set.Key)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}

func (set *Setting) schema() map[string]any {
	p := map[string]any{"title": set.Title}
	switch set.Type {
	case TypeInteger:
		p["type"] = "integer"
	case TypeBoolean:
		p["type"] = "boolean"
	case TypeList:
		p["type"], p["items"] = "array", map[string]any{"type": "string"}
	case TypeMap:
		p["type"], p["additionalProperties"] = "object", map[string]any{"type": "string"}
	case TypeObject:
		for k, v := range set.Fields.schema() {
			p[k] = v
		}
	case TypeURL:
		p["type"], p["format"] = "string", "uri"
	case TypeSelect:
		values := make([]string, len(set.Options))
		for i, o := range set.Options {
			values[i] = o.Value
		}
		p["type"], p["enum"] = "string", values
	default:
		p["type"] = "string"
	}
	if set.Help != "" {
		p["description"] = set.Help
	}
	if set.Default != nil {
		p["default"] = set.Default
	}
	if set.Secret {
		p["writeOnly"] = true
	}
	return p
}
