package mapping

import (
	"maps"
	"slices"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// adapter makes values of what was decoded. Loops go through objects in the order of their keys, so that an expression
// says the same of the same call each time.
type adapter struct{}

// NativeToValue implements types.Adapter.
func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case map[string]any:
		return &object{Mapper: types.NewStringInterfaceMap(a, v), keys: slices.Sorted(maps.Keys(v))}
	case map[string]string:
		return &object{Mapper: types.NewStringStringMap(a, v), keys: slices.Sorted(maps.Keys(v))}
	case []any:
		return types.NewDynamicList(a, v)
	}
	return types.DefaultTypeAdapter.NativeToValue(v)
}

// object is a map whose keys come in order.
type object struct {
	traits.Mapper
	keys []string
}

// Iterator goes through the keys in order.
func (o *object) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, o.keys).Iterator()
}
