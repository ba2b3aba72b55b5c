package route

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// Body is a compiled CEL expression that makes a request's body of an event. It is safe for concurrent use.
type Body struct{ expression }

// CompileBody compiles a body. The error is an invalid_request whose sentence says where and what is wrong.
func CompileBody(expr string) (*Body, error) {
	e, _, err := compile("body", expr)
	if err != nil {
		return nil, err
	}
	return &Body{e}, nil
}

// Eval makes the body for an event, as JSON. Objects and arrays of the event that are in it are spelled as they came
// in; single numbers become what they are in CEL, 64-bit integers or doubles. The keys of objects that the expression
// makes are sorted. The caller must not change the result, which may be a part of the event.
func (b *Body) Eval(e *Event) (json.RawMessage, error) {
	out, err := b.eval(e)
	if err != nil {
		return nil, err
	}
	switch v := out.(type) {
	case *object:
		return v.raw, nil
	case *list:
		return v.raw, nil
	}
	w := writer{}
	if err := w.value(out, 0); err != nil {
		return nil, err
	}
	return w.out, nil
}

// writer turns CEL values into JSON. A value may hold another one many times over, so its size is bounded here too.
type writer struct{ out []byte }

// maxBody is the largest body that an expression can make.
const maxBody = 1 << 20

func (w *writer) value(v ref.Val, depth int) error {
	if len(w.out) > maxBody {
		return fmt.Errorf("the body is larger than %d bytes", maxBody)
	}
	if depth > maxLook {
		return fmt.Errorf("the body is nested more than %d levels deep", maxLook)
	}
	switch v := v.(type) {
	case *object:
		w.out = append(w.out, v.raw...)
	case *list:
		w.out = append(w.out, v.raw...)
	case types.Null:
		w.out = append(w.out, "null"...)
	case types.Bool:
		w.out = strconv.AppendBool(w.out, bool(v))
	case types.Int:
		w.out = strconv.AppendInt(w.out, int64(v), 10)
	case types.Uint:
		w.out = strconv.AppendUint(w.out, uint64(v), 10)
	case types.Double:
		return w.double(float64(v))
	case types.String:
		w.out = rawjson.AppendQuoted(w.out, string(v))
	case types.Bytes:
		w.out = rawjson.AppendQuoted(w.out, base64.StdEncoding.EncodeToString(v))
	case types.Timestamp:
		w.out = rawjson.AppendQuoted(w.out, v.UTC().Format(time.RFC3339Nano))
	case types.Duration:
		w.out = rawjson.AppendQuoted(w.out, strconv.FormatFloat(v.Seconds(), 'f', -1, 64)+"s")
	case *types.Optional:
		if !v.HasValue() {
			w.out = append(w.out, "null"...)
			return nil
		}
		return w.value(v.GetValue(), depth+1)
	case traits.Mapper:
		return w.mapper(v, depth)
	case traits.Lister:
		return w.lister(v, depth)
	default:
		return fmt.Errorf("%s cannot be a part of the body", typeName(v.Type().(*types.Type)))
	}
	return nil
}

func (w *writer) double(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("the body holds the number %v, which JSON does not have", f)
	}
	b, err := json.Marshal(f)
	w.out = append(w.out, b...)
	return err
}

func (w *writer) lister(l traits.Lister, depth int) error {
	w.out = append(w.out, '[')
	n := l.Size().(types.Int)
	for i := types.Int(0); i < n; i++ {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if err := w.value(l.Get(i), depth+1); err != nil {
			return err
		}
	}
	w.out = append(w.out, ']')
	return nil
}

func (w *writer) mapper(m traits.Mapper, depth int) error {
	type entry struct {
		key   string
		value ref.Val
	}
	var entries []entry
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		text, ok := key.ConvertToType(types.StringType).(types.String)
		if !ok {
			return fmt.Errorf("%s cannot be a key in the body", typeName(key.Type().(*types.Type)))
		}
		value, _ := m.Find(key)
		entries = append(entries, entry{string(text), value})
	}
	slices.SortFunc(entries, func(a, b entry) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return 0
	})
	w.out = append(w.out, '{')
	for i, e := range entries {
		if i > 0 {
			if e.key == entries[i-1].key {
				return fmt.Errorf("the body has the key %q twice, as a text and as something else", e.key)
			}
			w.out = append(w.out, ',')
		}
		w.out = append(rawjson.AppendQuoted(w.out, e.key), ':')
		if err := w.value(e.value, depth+1); err != nil {
			return err
		}
	}
	w.out = append(w.out, '}')
	return nil
}
