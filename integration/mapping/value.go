package mapping

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// maxDepth is how deep values may be nested.
const maxDepth = 64

// Decode reads JSON as expressions see it: whole numbers that fit into 64 bits keep their digits, others become doubles.
func Decode(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, errors.New("it is not JSON that can be read")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows its JSON")
	}
	return numbers(v, 0)
}

// numbers replaces the numbers in a decoded value.
func numbers(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("its JSON is nested more than %d levels deep", maxDepth)
	}
	var err error
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n, nil
		}
		f, err := strconv.ParseFloat(v.String(), 64)
		if err != nil && !math.IsInf(f, 0) {
			return nil, errors.New("it holds a number that cannot be read")
		}
		return f, nil
	case map[string]any:
		for k := range v {
			if v[k], err = numbers(v[k], depth+1); err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range v {
			if v[i], err = numbers(v[i], depth+1); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// Bool evaluates an expression that is true or false.
func (e *Expression) Bool(ctx context.Context, in *Input) (bool, error) {
	v, err := e.eval(ctx, in)
	if err != nil {
		return false, err
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, errors.New("its value is neither true nor false")
	}
	return bool(b), nil
}

// JSON evaluates an expression to JSON. The keys of objects are sorted; nil is an optional value that is not there.
func (e *Expression) JSON(ctx context.Context, in *Input) (json.RawMessage, error) {
	v, err := e.eval(ctx, in)
	if err != nil {
		return nil, err
	}
	if o, ok := v.(*types.Optional); ok {
		if !o.HasValue() {
			return nil, nil
		}
		v = o.GetValue()
	}
	w := writer{}
	if err := w.value(v, 0); err != nil {
		return nil, err
	}
	return w.out, nil
}

// Text evaluates an expression to a text: numbers, times and truth values are spelled. What is not there, or null, is "".
func (e *Expression) Text(ctx context.Context, in *Input) (string, error) {
	raw, err := e.JSON(ctx, in)
	if err != nil || raw == nil || string(raw) == "null" {
		return "", err
	}
	switch raw[0] {
	case '{', '[':
		return "", errors.New("its value is not a text")
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	}
	return string(raw), nil
}

// writer turns CEL values into JSON. A value may hold another one many times over, so its size is bounded here too.
type writer struct{ out []byte }

func (w *writer) value(v ref.Val, depth int) error {
	switch {
	case len(w.out) > MaxValue:
		return fmt.Errorf("its value is larger than %d bytes", MaxValue)
	case depth > maxDepth:
		return fmt.Errorf("its value is nested more than %d levels deep", maxDepth)
	}
	switch v := v.(type) {
	case types.Null:
		w.out = append(w.out, "null"...)
	case types.Bool:
		w.out = strconv.AppendBool(w.out, bool(v))
	case types.Int:
		w.out = strconv.AppendInt(w.out, int64(v), 10)
	case types.Uint:
		w.out = strconv.AppendUint(w.out, uint64(v), 10)
	case types.Double:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("its value holds the number %v, which JSON does not have", float64(v))
		}
		return w.text(float64(v))
	case types.String:
		return w.text(strings.ToValidUTF8(string(v), "\uFFFD"))
	case types.Bytes:
		return w.text(base64.StdEncoding.EncodeToString(v))
	case types.Timestamp:
		return w.text(v.UTC().Format(time.RFC3339Nano))
	case types.Duration:
		return w.text(strconv.FormatFloat(v.Seconds(), 'f', -1, 64) + "s")
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
		return errors.New("its value holds something that JSON does not have")
	}
	return nil
}

// text appends what encoding/json makes of a text or a number, < and > as they are.
func (w *writer) text(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	w.out = append(w.out, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
	return nil
}

func (w *writer) lister(l traits.Lister, depth int) error {
	n, _ := l.Size().(types.Int)
	w.out = append(w.out, '[')
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
	values := map[string]ref.Val{}
	var keys []string
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.ConvertToType(types.StringType).(types.String)
		if !ok {
			return errors.New("its value has a key that is not a text")
		}
		if _, twice := values[string(name)]; twice {
			return fmt.Errorf("its value has the key %q twice", clip(string(name)))
		}
		values[string(name)], _ = m.Find(key)
		keys = append(keys, string(name))
	}
	slices.Sort(keys)
	w.out = append(w.out, '{')
	for i, k := range keys {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if err := w.text(strings.ToValidUTF8(k, "\uFFFD")); err != nil {
			return err
		}
		w.out = append(w.out, ':')
		if err := w.value(values[k], depth+1); err != nil {
			return err
		}
	}
	w.out = append(w.out, '}')
	return nil
}
