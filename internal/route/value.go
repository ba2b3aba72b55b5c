package route

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// The limits of what an expression may look at. They make the work that an event can cause independent of what is in
// it: opening an object or array reads it once, so a payload is read at most maxLook times over, however many
// expressions look at it.
const (
	// maxLook is how deep an expression can look into nested JSON.
	maxLook = 64
	// maxParts is how many parts an object or array may have that an expression looks into.
	maxParts = 100_000
	// maxSteps is how many values one evaluation may touch, a text counting once per 64 bytes. It is about 50 ms.
	maxSteps = 1 << 20
)

// work counts what one evaluation touches.
type work struct{ steps int }

// spend ends the evaluation when it has done too much. It panics with the value that CEL's own limits panic with,
// because a value has no other way out of an evaluation: an error value inside of a comparison would make it false.
func (w *work) spend(n int) {
	if w.steps += n; w.steps > maxSteps {
		stop("it looks at too many values")
	}
}

// stop ends an evaluation. CEL turns the panic into an error that says why.
func stop(why string) {
	panic(interpreter.EvalCancelledError{Message: why, Cause: interpreter.CostLimitExceeded})
}

// decode makes a CEL value of raw JSON. Objects and arrays stay as they are until something in them is touched.
func decode(w *work, raw []byte, depth int) ref.Val {
	switch rawjson.KindOf(raw) {
	case rawjson.KindNull:
		return types.NullValue
	case rawjson.KindBool:
		return types.Bool(raw[0] == 't')
	case rawjson.KindNumber:
		return number(raw)
	case rawjson.KindString:
		w.spend(1 + len(raw)/64)
		s, _ := rawjson.String(raw)
		return types.String(s)
	case rawjson.KindArray:
		return &list{w: w, raw: raw, depth: depth}
	case rawjson.KindObject:
		return &object{w: w, raw: raw, depth: depth}
	}
	return types.NewErr("this is not JSON")
}

// number makes an int of a whole number that fits, otherwise a double. What is too large for a double is infinite.
func number(raw []byte) ref.Val {
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return types.Int(n)
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil && !math.IsInf(f, 0) {
		return types.NewErr("%q is not a number", raw)
	}
	return types.Double(f)
}

// part is a piece of an object or array, decoded when it is first touched.
type part struct {
	raw []byte
	val ref.Val
}

func (p *part) value(w *work, depth int) ref.Val {
	w.spend(1)
	if p.val == nil {
		p.val = decode(w, p.raw, depth+1)
	}
	return p.val
}

func checkLook(depth, parts int) {
	if depth >= maxLook {
		stop(fmt.Sprintf("it looks more than %d levels deep into the event", maxLook))
	}
	if parts > maxParts {
		stop(fmt.Sprintf("it looks into an object or array of more than %d parts", maxParts))
	}
}

// guessParts estimates how many parts raw has, so that reading it seldom grows a slice.
func guessParts(raw []byte) int { return min(max(len(raw)/48, 4), 64) }

// object is a JSON object as CEL sees it. The first look-ups in a small one read it anew, which is cheaper than
// remembering what was read; after those it remembers.
type object struct {
	w      *work
	raw    []byte
	depth  int
	scans  int
	parsed *fields
}

// The bounds of look-ups that remember nothing.
const (
	maxScans = 4
	scanSize = 4 << 10
)

// fields is what has been read of an object: only as far as it took to find what was looked for.
type fields struct {
	cursor rawjson.Cursor
	done   bool
	list   []field
	index  map[string]int // of list, once there are many and all are read
}

type field struct {
	key []byte
	part
}

// indexFrom is from how many fields on a map finds them.
const indexFrom = 24

var (
	_ traits.Mapper   = (*object)(nil)
	_ traits.Foldable = (*object)(nil)
	_ traits.Zeroer   = (*object)(nil)
)

// parse opens the object for reading.
func (o *object) parse() *fields {
	if o.parsed == nil {
		checkLook(o.depth, 0)
		o.parsed = &fields{cursor: rawjson.NewCursor(o.raw), list: make([]field, 0, guessParts(o.raw))}
		o.parsed.cursor.Enter()
	}
	return o.parsed
}

// read reads one more field; it returns nil behind the last.
func (f *fields) read() *field {
	if f.done {
		return nil
	}
	key, escaped, ok := f.cursor.NextField()
	if !ok {
		f.done = true
		return nil
	}
	if escaped {
		key = rawjson.Unescape(nil, key)
	}
	f.list = append(f.list, field{key: key, part: part{raw: f.cursor.Skip()}})
	checkLook(0, len(f.list))
	return &f.list[len(f.list)-1]
}

// all reads the rest and returns every field.
func (o *object) all() []field {
	f := o.parse()
	for f.read() != nil {
	}
	return f.list
}

// find returns a field's value, nil when there is none.
func (o *object) find(key string) ref.Val {
	o.w.spend(1)
	if o.parsed == nil && len(o.raw) <= scanSize && o.scans < maxScans {
		o.scans++
		return o.scan(key)
	}
	f := o.parse()
	if f.done && len(f.list) >= indexFrom {
		if i, ok := f.lookup(key); ok {
			return f.list[i].value(o.w, o.depth)
		}
		return nil
	}
	for i := range f.list {
		if string(f.list[i].key) == key {
			return f.list[i].value(o.w, o.depth)
		}
	}
	for next := f.read(); next != nil; next = f.read() {
		if string(next.key) == key {
			return next.value(o.w, o.depth)
		}
	}
	return nil
}

// scan finds a field without remembering any.
func (o *object) scan(key string) ref.Val {
	checkLook(o.depth, 0)
	c := rawjson.NewCursor(o.raw)
	c.Enter()
	for {
		k, escaped, ok := c.NextField()
		if !ok {
			return nil
		}
		if escaped {
			k = rawjson.Unescape(nil, k)
		}
		value := c.Skip()
		if string(k) == key {
			return decode(o.w, value, o.depth+1)
		}
	}
}

func (f *fields) lookup(key string) (int, bool) {
	if f.index == nil {
		f.index = make(map[string]int, len(f.list))
		for i := range f.list {
			f.index[string(f.list[i].key)] = i
		}
	}
	i, ok := f.index[key]
	return i, ok
}

// FindStringKey is how CEL looks up payload.key without boxing the key.
func (o *object) FindStringKey(key string) (any, bool) {
	v := o.find(key)
	return v, v != nil
}

// Find looks a key up; only text can be one.
func (o *object) Find(key ref.Val) (ref.Val, bool) {
	s, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	v := o.find(string(s))
	return v, v != nil
}

// Get is Find with an error for what is missing.
func (o *object) Get(key ref.Val) ref.Val {
	if v, ok := o.Find(key); ok {
		return v
	}
	return types.ValOrErr(key, "no such key: %v", key)
}

// Contains answers "key in object".
func (o *object) Contains(key ref.Val) ref.Val {
	_, ok := o.Find(key)
	return types.Bool(ok)
}

// Size counts the keys.
func (o *object) Size() ref.Val { return types.Int(len(o.all())) }

// IsZeroValue reports whether the object is empty.
func (o *object) IsZeroValue() bool { return len(o.all()) == 0 }

// Fold visits every field.
func (o *object) Fold(f traits.Folder) {
	fields := o.all()
	for i := range fields {
		if !f.FoldEntry(types.String(fields[i].key), fields[i].value(o.w, o.depth)) {
			return
		}
	}
}

// Iterator visits the keys.
func (o *object) Iterator() traits.Iterator {
	fields := o.all()
	o.w.spend(len(fields))
	keys := make([]ref.Val, len(fields))
	for i := range fields {
		keys[i] = types.String(fields[i].key)
	}
	return types.NewRefValList(types.DefaultTypeAdapter, keys).Iterator()
}

// Equal compares with any map.
func (o *object) Equal(other ref.Val) ref.Val {
	if p, ok := other.(*object); ok && p == o {
		return types.True
	}
	m, ok := other.(traits.Mapper)
	if !ok || m.Size() != o.Size() {
		return types.False
	}
	fields := o.all()
	for i := range fields {
		theirs, ok := m.Find(types.String(fields[i].key))
		if !ok || types.Equal(fields[i].value(o.w, o.depth), theirs) != types.True {
			return types.False
		}
	}
	return types.True
}

// AggregateSize estimates how large the value is, for the memory limit.
func (o *object) AggregateSize(types.AggregateSizer) uint32 { return rawSize(o.raw) }

// ConvertToNative gives the raw JSON; nothing that is enabled asks for anything else.
func (o *object) ConvertToNative(t reflect.Type) (any, error) { return toNative(o.raw, t) }

// ConvertToType supports map() and type().
func (o *object) ConvertToType(t ref.Type) ref.Val { return convert(o, types.MapType, t) }

// Type is map.
func (o *object) Type() ref.Type { return types.MapType }

// Value is the raw JSON.
func (o *object) Value() any { return json.RawMessage(o.raw) }

// String keeps what is in the object out of error messages.
func (o *object) String() string { return "{…}" }

// list is a JSON array as CEL sees it.
type list struct {
	w      *work
	raw    []byte
	depth  int
	opened bool
	parts  []part
}

var (
	_ traits.Lister   = (*list)(nil)
	_ traits.Foldable = (*list)(nil)
	_ traits.Zeroer   = (*list)(nil)
)

// all reads the array when it is first touched.
func (l *list) all() []part {
	if l.opened {
		return l.parts
	}
	checkLook(l.depth, 0)
	l.parts = make([]part, 0, guessParts(l.raw))
	c := rawjson.NewCursor(l.raw)
	c.Enter()
	for c.NextElement() {
		l.parts = append(l.parts, part{raw: c.Skip()})
		checkLook(0, len(l.parts))
	}
	l.opened = true
	return l.parts
}

// Get returns one element. CEL allows any number that is whole as an index.
func (l *list) Get(index ref.Val) ref.Val {
	i, err := types.GetOrError(index)
	if err != nil {
		return types.ValOrErr(index, "%v", err)
	}
	parts := l.all()
	if i < 0 || i >= len(parts) {
		return types.NewErr("index out of bounds: %d", i)
	}
	return parts[i].value(l.w, l.depth)
}

// Contains answers "value in list".
func (l *list) Contains(v ref.Val) ref.Val {
	parts := l.all()
	for i := range parts {
		if types.Equal(v, parts[i].value(l.w, l.depth)) == types.True {
			return types.True
		}
	}
	return types.False
}

// Size counts the elements.
func (l *list) Size() ref.Val { return types.Int(len(l.all())) }

// IsZeroValue reports whether the list is empty.
func (l *list) IsZeroValue() bool { return len(l.all()) == 0 }

// Fold visits every element.
func (l *list) Fold(f traits.Folder) {
	parts := l.all()
	for i := range parts {
		if !f.FoldEntry(types.Int(i), parts[i].value(l.w, l.depth)) {
			return
		}
	}
}

// values decodes every element.
func (l *list) values() []ref.Val {
	parts := l.all()
	out := make([]ref.Val, len(parts))
	for i := range parts {
		out[i] = parts[i].value(l.w, l.depth)
	}
	return out
}

// Iterator visits the elements.
func (l *list) Iterator() traits.Iterator {
	return types.NewRefValList(types.DefaultTypeAdapter, l.values()).Iterator()
}

// Add concatenates.
func (l *list) Add(other ref.Val) ref.Val {
	return types.NewRefValList(types.DefaultTypeAdapter, l.values()).Add(other)
}

// Equal compares with any list.
func (l *list) Equal(other ref.Val) ref.Val {
	if p, ok := other.(*list); ok && p == l {
		return types.True
	}
	o, ok := other.(traits.Lister)
	if !ok || o.Size() != l.Size() {
		return types.False
	}
	for i := range l.parts {
		if types.Equal(l.parts[i].value(l.w, l.depth), o.Get(types.Int(i))) != types.True {
			return types.False
		}
	}
	return types.True
}

// AggregateSize estimates how large the value is, for the memory limit.
func (l *list) AggregateSize(types.AggregateSizer) uint32 { return rawSize(l.raw) }

// ConvertToNative gives the raw JSON; nothing that is enabled asks for anything else.
func (l *list) ConvertToNative(t reflect.Type) (any, error) { return toNative(l.raw, t) }

// ConvertToType supports list() and type().
func (l *list) ConvertToType(t ref.Type) ref.Val { return convert(l, types.ListType, t) }

// Type is list.
func (l *list) Type() ref.Type { return types.ListType }

// Value is the raw JSON.
func (l *list) Value() any { return json.RawMessage(l.raw) }

// String keeps what is in the list out of error messages.
func (l *list) String() string { return "[…]" }

// sizeUnit is how many bytes count as one element in CEL's own size of a text.
const sizeUnit = 10

func rawSize(raw []byte) uint32 { return uint32(min(1+len(raw)/sizeUnit, math.MaxInt32)) }

func convert(v ref.Val, own *types.Type, t ref.Type) ref.Val {
	switch t {
	case own:
		return v
	case types.TypeType:
		return own
	}
	return types.NewErr("a %s cannot be turned into a %s", own.TypeName(), t.TypeName())
}

func toNative(raw []byte, t reflect.Type) (any, error) {
	v := reflect.ValueOf(json.RawMessage(raw))
	if v.Type().AssignableTo(t) {
		return v.Interface(), nil
	}
	return nil, fmt.Errorf("JSON cannot be turned into %s", strings.TrimPrefix(t.String(), "*"))
}
