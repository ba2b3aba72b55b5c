package tmpl

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"
)

// Template is a compiled template. It is immutable and safe for concurrent use.
type Template struct {
	mode  Mode
	steps []step
	slots int // how many variables it has, the root included
}

// Parse compiles a template. Its error is an *Error.
func Parse(source string, mode Mode) (*Template, error) {
	if len(source) > MaxSource {
		return nil, &Error{Line: 1, Message: fmt.Sprintf("the template is longer than %d bytes", MaxSource)}
	}
	trees, err := parse.Parse("t", source, "", "", functionNames)
	if err != nil {
		return nil, syntaxError(err)
	}
	c := &compiler{source: source, mode: mode}
	if len(trees) > 1 {
		return nil, &Error{Line: 1, Message: "define and block are not supported: write the text where it belongs"}
	}
	root := trees["t"].Root
	c.declare("$")
	steps, err := c.list(root, true)
	if err != nil {
		return nil, err
	}
	return &Template{mode: mode, steps: steps, slots: c.slots}, nil
}

// syntaxError takes the line out of the parser's "template: t:3: …".
func syntaxError(err error) *Error {
	message := strings.TrimPrefix(err.Error(), "template: t:")
	number, rest, found := strings.Cut(message, ":")
	line, convErr := strconv.Atoi(number)
	if !found || convErr != nil {
		return &Error{Line: 1, Message: strings.TrimPrefix(err.Error(), "template: ")}
	}
	return &Error{Line: line, Message: strings.TrimSpace(rest)}
}

// compiler turns parse trees into steps and expressions.
type compiler struct {
	source string
	mode   Mode
	scope  []variable
	slots  int
}

type variable struct {
	name string
	slot int
}

func (c *compiler) fail(n parse.Node, format string, args ...any) error {
	at := min(int(n.Position()), len(c.source))
	return &Error{Line: 1 + strings.Count(c.source[:at], "\n"), Message: fmt.Sprintf(format, args...)}
}

func (c *compiler) declare(name string) int {
	c.scope = append(c.scope, variable{name, c.slots})
	c.slots++
	return c.slots - 1
}

func (c *compiler) slot(name string) (int, bool) {
	for _, v := range slices.Backward(c.scope) {
		if v.name == name {
			return v.slot, true
		}
	}
	return 0, false
}

// list compiles a list of nodes. atRoot says that dot is the root there, so that misspelt names can be found.
func (c *compiler) list(l *parse.ListNode, atRoot bool) ([]step, error) {
	if l == nil {
		return nil, nil
	}
	mark := len(c.scope)
	defer func() { c.scope = c.scope[:mark] }()
	var steps []step
	for _, n := range l.Nodes {
		s, err := c.node(n, atRoot)
		if err != nil {
			return nil, err
		}
		if s != nil {
			steps = append(steps, s)
		}
	}
	return steps, nil
}

func (c *compiler) node(n parse.Node, atRoot bool) (step, error) {
	switch n := n.(type) {
	case *parse.TextNode:
		source := string(n.Text)
		if c.mode == Markdown {
			checked, message := checkStatic(source)
			if message != "" {
				return nil, c.fail(n, "%s", message)
			}
			source = checked
		}
		return textStep(source), nil
	case *parse.ActionNode:
		p, err := c.pipe(n.Pipe, atRoot)
		if err != nil {
			return nil, err
		}
		return &actionStep{p}, nil
	case *parse.IfNode:
		return c.branch(&n.BranchNode, atRoot)
	case *parse.WithNode:
		return c.branch(&n.BranchNode, atRoot)
	case *parse.RangeNode:
		return c.loop(n, atRoot)
	case *parse.BreakNode:
		return jumpStep(breaks), nil
	case *parse.ContinueNode:
		return jumpStep(continues), nil
	case *parse.CommentNode:
		return nil, nil
	case *parse.TemplateNode:
		return nil, c.fail(n, "template is not supported: write the text where it belongs")
	}
	return nil, c.fail(n, "%s is not supported", n)
}

func (c *compiler) branch(n *parse.BranchNode, atRoot bool) (step, error) {
	mark := len(c.scope)
	defer func() { c.scope = c.scope[:mark] }()
	with := n.Type() == parse.NodeWith
	cond, err := c.pipe(n.Pipe, atRoot)
	if err != nil {
		return nil, err
	}
	then, err := c.list(n.List, atRoot && !with)
	if err != nil {
		return nil, err
	}
	otherwise, err := c.list(n.ElseList, atRoot)
	if err != nil {
		return nil, err
	}
	return &ifStep{cond: cond, with: with, then: then, otherwise: otherwise}, nil
}

func (c *compiler) loop(n *parse.RangeNode, atRoot bool) (step, error) {
	mark := len(c.scope)
	defer func() { c.scope = c.scope[:mark] }()
	decl, isAssign := n.Pipe.Decl, n.Pipe.IsAssign
	over, err := c.expression(n.Pipe, atRoot)
	if err != nil {
		return nil, err
	}
	if over.counts() {
		return nil, c.fail(n, "a range cannot count: range over a list or an object")
	}
	r := &rangeStep{over: over, key: -1, element: -1}
	slots := make([]int, len(decl))
	for i, v := range decl {
		if !isAssign {
			slots[i] = c.declare(v.Ident[0])
			continue
		}
		slot, ok := c.slot(v.Ident[0])
		if !ok {
			return nil, c.fail(n, "the variable %s is not defined", v.Ident[0])
		}
		slots[i] = slot
	}
	switch len(slots) {
	case 1:
		r.element = slots[0]
	case 2:
		r.key, r.element = slots[0], slots[1]
	}
	if r.body, err = c.list(n.List, false); err != nil {
		return nil, err
	}
	r.otherwise, err = c.list(n.ElseList, atRoot)
	return r, err
}

// pipe compiles a pipeline with its declarations.
func (c *compiler) pipe(p *parse.PipeNode, atRoot bool) (pipe, error) {
	e, err := c.expression(p, atRoot)
	if err != nil {
		return pipe{}, err
	}
	out := pipe{expr: e, slot: -1}
	if len(p.Decl) == 0 {
		return out, nil
	}
	name := p.Decl[0].Ident[0]
	if !p.IsAssign {
		out.slot = c.declare(name)
		return out, nil
	}
	slot, ok := c.slot(name)
	if !ok {
		return pipe{}, c.fail(p, "the variable %s is not defined", name)
	}
	out.slot = slot
	return out, nil
}

// expression compiles the commands of a pipeline.
func (c *compiler) expression(p *parse.PipeNode, atRoot bool) (expr, error) {
	if len(p.Cmds) == 0 {
		return nil, c.fail(p, "the action is empty")
	}
	var e expr
	for _, cmd := range p.Cmds {
		var err error
		if e, err = c.command(cmd, e, atRoot); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// command compiles a command; piped is the value of the one before, which becomes its last argument.
func (c *compiler) command(cmd *parse.CommandNode, piped expr, atRoot bool) (expr, error) {
	first, ok := cmd.Args[0].(*parse.IdentifierNode)
	if !ok {
		switch {
		case len(cmd.Args) > 1:
			return nil, c.fail(cmd, "%s is not a function, so nothing may follow it", cmd.Args[0])
		case piped != nil:
			return nil, c.fail(cmd, "%s is not a function, so nothing can be piped into it", cmd.Args[0])
		}
		return c.argument(cmd.Args[0], atRoot)
	}
	call, err := c.call(first, cmd.Args[1:], piped, atRoot)
	if err != nil {
		return nil, err
	}
	return call, nil
}

func (c *compiler) call(name *parse.IdentifierNode, nodes []parse.Node, piped expr, atRoot bool) (*callExpr, error) {
	f := functions[name.Ident]
	if f == nil {
		return nil, c.fail(name, "there is no function %s", quote(name.Ident))
	}
	var args []expr
	for _, n := range nodes {
		e, err := c.argument(n, atRoot)
		if err != nil {
			return nil, err
		}
		args = append(args, e)
	}
	if piped != nil {
		args = append(args, piped)
	}
	if len(args) < f.min || f.max >= 0 && len(args) > f.max {
		return nil, c.fail(name, "write it as %s", f.Usage)
	}
	return &callExpr{f, args}, nil
}

func (c *compiler) argument(n parse.Node, atRoot bool) (expr, error) {
	switch n := n.(type) {
	case *parse.DotNode:
		return dotExpr{}, nil
	case *parse.FieldNode:
		if err := c.known(n, n.Ident, atRoot); err != nil {
			return nil, err
		}
		return &fieldExpr{dotExpr{}, n.Ident}, nil
	case *parse.VariableNode:
		slot, ok := c.slot(n.Ident[0])
		if !ok {
			return nil, c.fail(n, "the variable %s is not defined", n.Ident[0])
		}
		if len(n.Ident) == 1 {
			return varExpr(slot), nil
		}
		if err := c.known(n, n.Ident[1:], slot == 0); err != nil {
			return nil, err
		}
		return &fieldExpr{varExpr(slot), n.Ident[1:]}, nil
	case *parse.ChainNode:
		base, err := c.argument(n.Node, atRoot)
		if err != nil {
			return nil, err
		}
		return &fieldExpr{base, n.Field}, nil
	case *parse.PipeNode:
		if len(n.Decl) > 0 {
			return nil, c.fail(n, "a variable cannot be declared in parentheses")
		}
		return c.expression(n, atRoot)
	case *parse.IdentifierNode:
		call, err := c.call(n, nil, nil, atRoot)
		if err != nil {
			return nil, err
		}
		return call, nil
	}
	return c.constant(n)
}

func (c *compiler) constant(n parse.Node) (expr, error) {
	switch n := n.(type) {
	case *parse.StringNode:
		return constExpr(text(n.Text)), nil
	case *parse.BoolNode:
		return constExpr(boolean(n.True)), nil
	case *parse.NilNode:
		return constExpr{}, nil
	case *parse.NumberNode:
		spelled := n.Text
		switch {
		case json.Valid([]byte(spelled)):
		case n.IsInt:
			spelled = strconv.FormatInt(n.Int64, 10)
		default:
			return nil, c.fail(n, "write the number %s in decimal", n.Text)
		}
		return constExpr(value{kind: kindNumber, text: spelled}), nil
	}
	return nil, c.fail(n, "%s is not supported", n)
}

// known refuses names that no event has.
func (c *compiler) known(n parse.Node, path []string, atRoot bool) error {
	if !atRoot || slices.Contains(rootNames, path[0]) {
		return nil
	}
	return c.fail(n, "there is no .%s: templates see .%s", path[0], strings.Join(rootNames, ", ."))
}

func quote(s string) string { return strconv.Quote(s) }
