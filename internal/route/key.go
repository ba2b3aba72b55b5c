package route

import (
	"fmt"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/patchbay/patchbay"
)

// Key is a compiled CEL expression whose value tells events apart: those with the same one belong together. It is safe
// for concurrent use.
type Key struct{ expression }

// CompileKey compiles a key. The error is an invalid_request whose sentence says where and what is wrong.
func CompileKey(expr string) (*Key, error) {
	e, result, err := compile("key", expr)
	if err != nil {
		return nil, err
	}
	switch result.Kind() {
	case types.StringKind, types.IntKind, types.UintKind, types.DoubleKind, types.BoolKind, types.NullTypeKind,
		types.TimestampKind, types.DynKind, types.AnyKind, types.TypeParamKind:
	default:
		if result.TypeName() != "optional_type" {
			return nil, patchbay.Errorf(patchbay.CodeInvalidRequest,
				"the key must be a text, a number, a time, true or false, but this one is %s: choose a part of it", typeName(result))
		}
	}
	return &Key{e}, nil
}

// Eval returns the key of an event, as text. Numbers that are the same have the same key, however they are spelled; null
// and an optional value that is absent have the empty one. The error says why there is none.
func (k *Key) Eval(e *Event) (string, error) {
	out, err := k.eval(e)
	if err != nil {
		return "", err
	}
	for {
		v, ok := out.(*types.Optional)
		if !ok {
			break
		}
		if !v.HasValue() {
			return "", nil
		}
		out = v.GetValue()
	}
	switch v := out.(type) {
	case types.Null:
		return "", nil
	case types.String:
		return string(v), nil
	case types.Int:
		return strconv.FormatInt(int64(v), 10), nil
	case types.Uint:
		return strconv.FormatUint(uint64(v), 10), nil
	case types.Double:
		if whole := int64(v); types.Double(whole) == v && whole > -1<<53 && whole < 1<<53 {
			return strconv.FormatInt(whole, 10), nil
		}
		return strconv.FormatFloat(float64(v), 'g', -1, 64), nil
	case types.Bool:
		return strconv.FormatBool(bool(v)), nil
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339Nano), nil
	}
	return "", fmt.Errorf("the key is %s, not a text or a number", typeName(out.Type().(*types.Type)))
}
