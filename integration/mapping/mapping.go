// Package mapping takes values out of what a service sent, with expressions that a person writes into a link's settings:
// CEL (https://cel.dev) over body, header and query. An expression is checked when it is saved. Expression and call come
// from different people, neither of whom is trusted, so evaluating one is bounded in work, time and memory.
package mapping

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

const (
	// MaxSource is how long an expression may be.
	MaxSource = 4 << 10
	// MaxValue is the largest value that an expression may make, as JSON.
	MaxValue = 1 << 20
	// deadline ends what is much dearer than it looks. It is far beyond what costLimit allows on a machine that is not
	// overloaded.
	deadline = 2 * time.Second
	// maxReason bounds the text of an error, which may quote the call.
	maxReason = 300
)

// Kind is what an expression must make.
type Kind int

// The kinds.
const (
	// Any is everything that JSON has.
	Any Kind = iota
	// Bool is true or false.
	Bool
)

// Input is what expressions see.
type Input struct {
	// Body is JSON, decoded by Decode.
	Body any
	// Header has lower-case names and the first value of each field; Query the first value of each parameter.
	Header, Query map[string]string
}

// Expression is a compiled expression. It is safe for concurrent use.
type Expression struct {
	program cel.Program
	want    Kind
}

// environment is what expressions are compiled in. Making it takes a few milliseconds.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(append(functions(),
		cel.Variable("body", cel.DynType),
		cel.Variable("header", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("query", cel.MapType(cel.StringType, cel.StringType)),
		cel.CustomTypeAdapter(adapter{}),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.OptionalTypes(),
		cel.ParserExpressionSizeLimit(MaxSource),
		cel.ParserRecursionLimit(50),
		cel.ParserErrorRecoveryLimit(4),
		cel.ExpressionNodeLimit(4*MaxSource),
	)...)
})

// Compile compiles an expression. The error is a sentence that says what is wrong and where.
func Compile(source string, want Kind) (*Expression, error) {
	switch {
	case strings.TrimSpace(source) == "":
		return nil, errors.New("is empty: leave it out")
	case len(source) > MaxSource:
		return nil, fmt.Errorf("is longer than %d bytes", MaxSource)
	case !utf8.ValidString(source):
		return nil, errors.New("must be valid UTF-8")
	}
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("cannot be compiled: %w", err)
	}
	compiled, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, explain(issues, source)
	}
	if t := compiled.OutputType(); want == Bool && !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, errors.New("must be true or false: compare it with something")
	}
	if err := checkPatterns(compiled.NativeRep().Expr()); err != nil {
		return nil, err
	}
	program, err := env.Program(compiled, cel.EvalOptions(cel.OptOptimize), cel.OptimizeRegex(interpreter.MatchesRegexOptimization),
		cel.CostTracking(meter{}), cel.CostLimit(costLimit), cel.InterruptCheckFrequency(1), cel.CustomDecoratorV2(guard))
	if err != nil {
		return nil, fmt.Errorf("does not compile: %s", clip(err.Error()))
	}
	return &Expression{program: program, want: want}, nil
}

// explain says in a sentence what CEL found first.
func explain(issues *cel.Issues, source string) error {
	found := issues.Errors()
	if len(found) == 0 {
		return errors.New("does not compile")
	}
	first := found[0]
	for _, f := range found[1:] {
		if f.Location.Line() < first.Location.Line() || f.Location.Line() == first.Location.Line() && f.Location.Column() < first.Location.Column() {
			first = f
		}
	}
	place := fmt.Sprintf("at character %d", first.Location.Column()+1)
	if strings.Contains(source, "\n") {
		place = fmt.Sprintf("at line %d, character %d", first.Location.Line(), first.Location.Column()+1)
	}
	text := strings.TrimPrefix(first.Message, "Syntax error: ")
	if name, ok := strings.CutPrefix(text, "undeclared reference to '"); ok {
		name, _, _ = strings.Cut(name, "'")
		text = fmt.Sprintf("there is no %q: an expression may use body, header and query, and the functions of CEL", name)
	}
	if strings.Contains(text, "'<EOF>'") {
		text = "it ends too early"
	}
	return fmt.Errorf("does not compile: %s: %s", place, clip(text))
}

// eval evaluates an expression.
func (e *Expression) eval(ctx context.Context, in *Input) (ref.Val, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	out, _, err := e.program.ContextEval(ctx, map[string]any{"body": in.Body, "header": in.Header, "query": in.Query})
	var cancelled interpreter.EvalCancelledError
	switch {
	case err == nil:
		return out, nil
	case errors.As(err, &cancelled) && cancelled.Cause == interpreter.CostLimitExceeded:
		return nil, errors.New("it does too much work on this call")
	case errors.As(err, &cancelled):
		return nil, errors.New("it takes too long")
	}
	return nil, errors.New(clip(err.Error()))
}

func clip(s string) string {
	if len(s) > maxReason {
		return strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}
