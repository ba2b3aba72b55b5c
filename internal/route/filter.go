package route

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/patchbay/patchbay"
)

// Filter is a compiled CEL expression that says whether an event is wanted. It is safe for concurrent use.
type Filter struct{ expression }

// CompileFilter compiles a filter. The error is an invalid_request whose sentence says where and what is wrong.
func CompileFilter(expr string) (*Filter, error) {
	e, result, err := compile("filter", expr)
	if err != nil {
		return nil, err
	}
	if !result.IsExactType(cel.BoolType) && !result.IsExactType(cel.DynType) {
		return nil, patchbay.Errorf(patchbay.CodeInvalidRequest,
			"the filter must be true or false, but this one is %s: compare it with something", typeName(result))
	}
	return &Filter{e}, nil
}

// Eval reports whether the event passes the filter. The error says why the filter could not be evaluated.
func (f *Filter) Eval(e *Event) (bool, error) {
	out, err := f.eval(e)
	if err != nil {
		return false, err
	}
	pass, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the filter's value is %s, not true or false", typeName(out.Type().(*types.Type)))
	}
	return bool(pass), nil
}

// expression is a compiled CEL expression.
type expression struct {
	source  string
	program cel.Program
	weight  weight
}

// String returns the expression as it was written.
func (x *expression) String() string { return x.source }

// maxReason bounds the text of an error of evaluation, which may quote the event.
const maxReason = 300

func (x *expression) eval(e *Event) (ref.Val, error) {
	var out ref.Val
	var err error
	if x.weight == loops {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		out, _, err = x.program.ContextEval(ctx, e.activation())
		cancel()
	} else {
		out, _, err = x.program.Eval(e.activation())
	}
	if err == nil {
		return out, nil
	}
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) {
		return nil, fmt.Errorf("the expression was stopped, because %s", stopReason(cancelled))
	}
	text := err.Error()
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return nil, errors.New(text)
}

func stopReason(c interpreter.EvalCancelledError) string {
	switch c.Message {
	case "operation cancelled: actual cost limit exceeded":
		return "it does too much work on this event"
	case "operation interrupted", "":
		return "it takes too long"
	}
	return c.Message
}

// environment is what expressions are compiled in. Making it takes a few milliseconds.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(append(textFunctions(),
		cel.Variable("type", cel.StringType),
		cel.Variable("scope", cel.StringType),
		cel.Variable("payload", cel.DynType),
		cel.Variable("actor", cel.DynType),
		cel.Variable("source", cel.DynType),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.OptionalTypes(),
		cel.ParserExpressionSizeLimit(patchbay.MaxFilterLength),
		cel.ParserRecursionLimit(100),
		cel.ParserErrorRecoveryLimit(4),
		cel.ExpressionNodeLimit(4*patchbay.MaxFilterLength),
	)...)
})

// compile compiles an expression; what is its name in errors.
func compile(what, source string) (expression, *cel.Type, error) {
	switch {
	case strings.TrimSpace(source) == "":
		return expression{}, nil, patchbay.Errorf(patchbay.CodeInvalidRequest, "the %s is empty: leave it out", what)
	case len(source) > patchbay.MaxFilterLength:
		return expression{}, nil, patchbay.Errorf(patchbay.CodeInvalidRequest,
			"the %s is longer than %d bytes", what, patchbay.MaxFilterLength)
	case !utf8.ValidString(source):
		return expression{}, nil, patchbay.Errorf(patchbay.CodeInvalidRequest, "the %s must be valid UTF-8", what)
	}
	env, err := environment()
	if err != nil {
		return expression{}, nil, patchbay.Internal("preparing the language of filters", err)
	}
	compiled, issues := env.Compile(source)
	if issues.Err() != nil {
		return expression{}, nil, compileError(what, source, issues)
	}
	root := compiled.NativeRep().Expr()
	if err := checkCalls(root); err != nil {
		return expression{}, nil, patchbay.Errorf(patchbay.CodeInvalidRequest, "the %s does not compile: %v", what, err)
	}
	x := expression{source: source, weight: weigh(root)}
	x.program, err = env.Program(compiled, programOptions(x.weight, &meter{programs: map[string]int{}})...)
	if err != nil {
		return expression{}, nil, patchbay.Errorf(patchbay.CodeInvalidRequest, "the %s does not compile: %s", what, err)
	}
	return x, compiled.OutputType(), nil
}

// checkCalls refuses regular expressions that come from the event: how much work they are cannot be known before.
func checkCalls(root ast.Expr) (err error) {
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		if err == nil && e.Kind() == ast.CallKind && e.AsCall().FunctionName() == overloads.Matches {
			err = checkMatches(e.AsCall().Args())
		}
	}))
	return err
}

func checkMatches(args []ast.Expr) error {
	if n := len(args); n > 0 && args[n-1].Kind() == ast.LiteralKind {
		if pattern, ok := args[n-1].AsLiteral().(types.String); ok {
			_, _, err := checkPattern(string(pattern))
			return err
		}
	}
	return errors.New("the pattern of matches() must be written out as a text in quotes")
}

// compileError turns what CEL found first into a sentence.
func compileError(what, source string, issues *cel.Issues) error {
	found := issues.Errors()
	if len(found) == 0 {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "the %s does not compile", what)
	}
	first := found[0]
	for _, f := range found[1:] {
		if before(f.Location, first.Location) {
			first = f
		}
	}
	return patchbay.Errorf(patchbay.CodeInvalidRequest, "the %s does not compile: %s%s",
		what, place(first.Location, source), explain(first.Message))
}

func before(a, b common.Location) bool {
	return a.Line() < b.Line() || a.Line() == b.Line() && a.Column() < b.Column()
}

func place(at common.Location, source string) string {
	switch {
	case at == nil || at.Line() < 1 || at.Column() < 0:
		return ""
	case strings.Contains(source, "\n"):
		return fmt.Sprintf("at line %d, character %d: ", at.Line(), at.Column()+1)
	}
	return fmt.Sprintf("at character %d: ", at.Column()+1)
}

// explain says in plain words what CEL's message means.
func explain(message string) string {
	text := strings.TrimPrefix(message, "Syntax error: ")
	switch {
	case strings.HasPrefix(text, "undeclared reference to '"):
		name, _, _ := strings.Cut(strings.TrimPrefix(text, "undeclared reference to '"), "'")
		return fmt.Sprintf("there is no %q: an expression may use type, scope, payload, actor and source, and the functions of CEL", name)
	case strings.HasPrefix(text, "found no matching overload for '"):
		name, applied, _ := strings.Cut(strings.TrimPrefix(text, "found no matching overload for '"), "'")
		return fmt.Sprintf("%s cannot be%s", operator(name), applied)
	case strings.HasPrefix(text, "token recognition error at: "):
		return strings.TrimPrefix(text, "token recognition error at: ") + " is not expected here"
	case strings.Contains(text, "'<EOF>'"):
		return "it ends too early"
	case strings.HasPrefix(text, "mismatched input "), strings.HasPrefix(text, "extraneous input "):
		token, _, _ := strings.Cut(text[len("mismatched input "):], " expecting ")
		return token + " is not expected here"
	}
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// operator turns CEL's name of an operator, such as _==_, into what people write.
func operator(name string) string { return strings.Trim(name, "_") }

// typeName names a type for people.
func typeName(t *types.Type) string {
	switch t.Kind() {
	case types.StringKind:
		return "a text"
	case types.IntKind, types.UintKind, types.DoubleKind:
		return "a number"
	case types.ListKind:
		return "a list"
	case types.MapKind:
		return "an object"
	case types.NullTypeKind:
		return "null"
	case types.BoolKind:
		return "true or false"
	}
	return "a " + t.TypeName()
}
