package tmpl

import (
	"errors"
	"sync"
)

// errWork is what a template fails with that takes more than maxSteps.
var errWork = errors.New("the template does too much work on this event: use fewer or smaller ranges")

// state is one run of a template.
type state struct {
	data  *Data
	mode  Mode
	dot   value
	vars  []value
	args  []value // the arguments of the calls that are under way
	steps int
	loops int
	out   writer
}

var states = sync.Pool{New: func() any { return new(state) }}

// Render runs the template. Data makes no template fail; the error is one that took too much work.
func (t *Template) Render(d *Data) (string, error) {
	s := states.Get().(*state)
	defer func() {
		clear(s.vars[:cap(s.vars)])
		clear(s.args[:cap(s.args)])
		*s = state{vars: s.vars[:0], args: s.args[:0], out: s.out}
		s.out.reset()
		states.Put(s)
	}()
	s.data, s.mode, s.dot = d, t.mode, value{kind: kindRoot}
	for range t.slots {
		s.vars = append(s.vars, value{})
	}
	s.vars[0] = s.dot
	s.run(t.steps)
	if s.steps > maxSteps {
		return "", errWork
	}
	return s.out.finish(t.mode), nil
}

// jump says how a step ends.
type jump int

const (
	goesOn    jump = iota
	breaks         // out of the range
	continues      // with the range's next element
	stops          // the template is over: there is no more room, or it has done too much
)

type step interface{ run(s *state) jump }

func (s *state) run(steps []step) jump {
	for _, st := range steps {
		if s.steps++; s.steps > maxSteps {
			return stops
		}
		if j := st.run(s); j != goesOn {
			return j
		}
	}
	return goesOn
}

// pipe is a pipeline, whose value may be put into a variable.
type pipe struct {
	expr
	slot int // -1: no variable
}

func (p pipe) eval(s *state) value {
	v := p.expr.eval(s)
	if p.slot >= 0 {
		s.vars[p.slot] = v
	}
	return v
}

type textStep string

func (t textStep) run(s *state) jump { return s.wrote(s.out.static(string(t), s.mode)) }

type actionStep struct{ pipe }

func (a *actionStep) run(s *state) jump {
	v := a.eval(s)
	if a.slot >= 0 {
		return goesOn
	}
	return s.wrote(s.out.value(v, s.str(v), s.mode))
}

func (s *state) wrote(room bool) jump {
	if !room {
		return stops
	}
	return goesOn
}

type jumpStep jump

func (j jumpStep) run(*state) jump { return jump(j) }

type ifStep struct {
	cond            pipe
	with            bool
	then, otherwise []step
}

func (i *ifStep) run(s *state) jump {
	v := i.cond.eval(s)
	if !v.truth() {
		return s.run(i.otherwise)
	}
	if !i.with {
		return s.run(i.then)
	}
	dot := s.dot
	s.dot = v
	j := s.run(i.then)
	s.dot = dot
	return j
}

type rangeStep struct {
	over            expr
	key, element    int // variables; -1: none
	body, otherwise []step
}

func (r *rangeStep) run(s *state) jump {
	v := r.over.eval(s)
	n := v.len()
	if n == 0 || v.kind != kindList && v.kind != kindObject {
		return s.run(r.otherwise)
	}
	dot := s.dot
	defer func() { s.dot = dot }()
	for i := range n {
		if s.loops++; s.loops > maxLoops {
			break
		}
		key := integer(i)
		if v.kind == kindObject {
			part := &v.node.parts()[i]
			key, s.dot = text(string(part.key)), part.value()
		} else {
			s.dot = v.at(i)
		}
		if r.key >= 0 {
			s.vars[r.key] = key
		}
		if r.element >= 0 {
			s.vars[r.element] = s.dot
		}
		switch s.run(r.body) {
		case breaks:
			return goesOn
		case stops:
			return stops
		}
	}
	return goesOn
}

type expr interface {
	eval(s *state) value
	// counts reports whether the expression is always a number.
	counts() bool
}

type dotExpr struct{}

func (dotExpr) eval(s *state) value { return s.dot }
func (dotExpr) counts() bool        { return false }

type varExpr int

func (v varExpr) eval(s *state) value { return s.vars[v] }
func (v varExpr) counts() bool        { return false }

type constExpr value

func (c constExpr) eval(*state) value { return value(c) }
func (c constExpr) counts() bool      { return c.kind == kindNumber }

type fieldExpr struct {
	base expr
	path []string
}

func (f *fieldExpr) eval(s *state) value { return s.walk(f.base.eval(s), f.path) }
func (f *fieldExpr) counts() bool        { return false }

type callExpr struct {
	function *Function
	args     []expr
}

func (c *callExpr) eval(s *state) value {
	if s.steps++; s.steps > maxSteps {
		return value{}
	}
	mark := len(s.args)
	for _, a := range c.args {
		v := a.eval(s)
		s.args = append(s.args, v)
	}
	v := c.function.call(s, s.args[mark:])
	s.args = s.args[:mark]
	return v
}

func (c *callExpr) counts() bool { return c.function.counts }
