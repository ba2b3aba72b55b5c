package route

import (
	"encoding/json"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// Event is one event being routed. It decodes what expressions touch once, whatever the number of expressions, so it
// belongs to one goroutine at a time, and the event in it must not change.
type Event struct {
	*patchbay.Event
	// Names are the key of the event's type and its aliases; nil stands for Type alone.
	Names []string

	view view
}

// view is an event as CEL sees it: it resolves the variables of expressions.
type view struct {
	event               *patchbay.Event
	work                work
	payload             object
	actor, source       ref.Val
	typeName, scopeName ref.Val
}

// activation returns the view, ready for one more evaluation.
func (e *Event) activation() *view {
	v := &e.view
	if v.event != e.Event {
		*v = view{event: e.Event}
		v.payload = object{w: &v.work, raw: e.Payload}
	}
	v.work.steps = 0
	return v
}

// ResolveName returns the value of a variable.
func (v *view) ResolveName(name string) (any, bool) {
	switch name {
	case "payload":
		if rawjson.KindOf(v.payload.raw) != rawjson.KindObject {
			return types.NullValue, true
		}
		return &v.payload, true
	case "type":
		return once(&v.typeName, func() ref.Val { return types.String(v.event.Type) }), true
	case "scope":
		return once(&v.scopeName, func() ref.Val { return types.String(v.event.Scope) }), true
	case "actor":
		return once(&v.actor, func() ref.Val { return v.decodeActor() }), true
	case "source":
		return once(&v.source, func() ref.Val { return v.decodeSource() }), true
	}
	return nil, false
}

// Parent says that there are no other variables.
func (v *view) Parent() interpreter.Activation { return nil }

func once(at *ref.Val, make func() ref.Val) ref.Val {
	if *at == nil {
		*at = make()
	}
	return *at
}

// decodeActor is null for an event without an actor, so has(actor.name) is false rather than an error.
func (v *view) decodeActor() ref.Val {
	if len(v.event.Actor) == 0 {
		return types.NullValue
	}
	return decode(&v.work, v.event.Actor, 0)
}

// decodeSource shows the source with the names that it has in the API.
func (v *view) decodeSource() ref.Val {
	raw, err := json.Marshal(v.event.Source)
	if err != nil {
		return types.WrapErr(err)
	}
	return decode(&v.work, raw, 0)
}
