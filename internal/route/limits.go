package route

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// The limits of an evaluation. An expression comes from a customer and an event from anybody, so no pair of them may
// hold up the others. Most expressions are too small to need them: see light.
const (
	// costLimit is in CEL's units, of which one is 20 to 100 ns. A loop over the 30,000 parts of a payload of 1 MiB
	// stays below it.
	costLimit = 1_000_000
	// maxCompared bounds the values that a comparison looks into: so many elements, or 10 bytes of text each. A loop
	// can make lists that hold one another many times over, small in memory and endless to compare.
	maxCompared = 250_000
	// deadline ends a loop whose steps are much dearer than their cost says. It is far beyond what costLimit allows
	// on a machine that is not overloaded, so that what matches does not depend on load.
	deadline = 2 * time.Second
	// lightNodes is how large an expression may be that is evaluated without accounting.
	lightNodes = 64
	// maxPattern bounds the program of a regular expression, maxMatch the steps of matching one: its program's size
	// times the text's length. A step is up to 20 ns.
	maxPattern = 1_000
	maxMatch   = 1 << 22
	// maxText is the longest text that an expression can make.
	maxText = 1 << 20
)

// weight is how dear an expression can be.
type weight int

const (
	light weight = iota // no loops, and nothing but cheap functions
	calls               // no loops
	loops               // everything else
)

// lightFunctions cost no more than reading their arguments once.
var lightFunctions = map[string]bool{
	operators.Equals: true, operators.NotEquals: true, operators.Less: true, operators.LessEquals: true,
	operators.Greater: true, operators.GreaterEquals: true, operators.LogicalAnd: true, operators.LogicalOr: true,
	operators.LogicalNot: true, operators.Conditional: true, operators.In: true, operators.Index: true,
	operators.OptIndex: true, operators.OptSelect: true, operators.Negate: true, operators.Subtract: true,
	overloads.StartsWith: true, overloads.EndsWith: true, overloads.Contains: true, overloads.Size: true,
	"orValue": true, "or": true, "hasValue": true,
}

// weigh looks at everything in an expression.
func weigh(root ast.Expr) weight {
	nodes, w := 0, light
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		nodes++
		switch e.Kind() {
		case ast.ComprehensionKind:
			w = loops
		case ast.CallKind:
			if !lightFunctions[e.AsCall().FunctionName()] {
				w = max(w, calls)
			}
		}
	}))
	if nodes > lightNodes {
		w = max(w, calls)
	}
	return w
}

// programOptions are what an expression of a weight needs.
func programOptions(w weight, m *meter) []cel.ProgramOption {
	options := []cel.ProgramOption{
		cel.OptimizeRegex(m.regex(overloads.Matches), m.regex(overloads.MatchesString)),
		cel.EvalOptions(cel.OptOptimize),
	}
	if w == light {
		return options
	}
	options = append(options, cel.CostTracking(m), cel.CostLimit(costLimit))
	if w == loops {
		options = append(options, cel.InterruptCheckFrequency(1), cel.CustomDecoratorV2(guardComparison))
	}
	return options
}

// sizes measures values that an expression made. It remembers what it measured, so that shared parts cost nothing;
// what is nested too deep, or is too large to measure, counts as infinitely large.
var sizes = types.NewSizeCalculator(types.SizeCalculatorMaxDepth(maxLook), types.SizeCalculatorMaxTraversal(4*maxCompared))

// guardComparison replaces comparisons by ones that measure what they compare first.
func guardComparison(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || len(call.Args()) != 2 {
		return i, nil
	}
	var compare func(a, b ref.Val) ref.Val
	switch call.Function() {
	case operators.Equals:
		compare = types.Equal
	case operators.NotEquals:
		compare = func(a, b ref.Val) ref.Val { return types.Bool(types.Equal(a, b) != types.True) }
	case operators.In:
		compare = func(a, b ref.Val) ref.Val {
			if c, ok := b.(traits.Container); ok {
				return c.Contains(a)
			}
			return types.MaybeNoSuchOverloadErr(b)
		}
	default:
		return i, nil
	}
	return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
		if max(size(args[0]), size(args[1])) > maxCompared {
			stop("it compares values that are too large")
		}
		return compare(args[0], args[1])
	}), nil
}

// meter prices the calls of one expression. CEL's own prices leave out much of what happens on dynamic values.
type meter struct {
	programs map[string]int // sizes of the programs of the expression's regular expressions
}

// CallCost is linear in the size of everything that goes in and comes out.
func (m *meter) CallCost(_, overload string, args []ref.Val, result ref.Val) *uint64 {
	cost := uint64(1)
	switch overload {
	case overloads.AddList, overloads.IndexList, overloads.IndexMap, overloads.SizeList, overloads.SizeMap,
		overloads.SizeListInst, overloads.SizeMapInst:
		return &cost // these look at no element
	case overloads.Matches, overloads.MatchesString:
		if len(args) == 2 {
			text, _ := args[0].(types.String)
			pattern, _ := args[1].(types.String)
			cost += uint64(len(text)*m.programs[string(pattern)]) / 8
		}
		return &cost
	}
	for _, a := range args {
		cost += uint64(size(a))
	}
	cost += uint64(size(result))
	return &cost
}

// size is what a value weighs in a call. What was decoded from the event is accounted for when it is touched.
func size(v ref.Val) uint32 {
	switch v := v.(type) {
	case types.String:
		return uint32(len(v) / sizeUnit)
	case types.Bytes:
		return uint32(len(v) / sizeUnit)
	case *object, *list:
		return 0
	case traits.Sizer:
		return sizes.AggregateSize(v)
	}
	return 0
}

// checkPattern compiles a regular expression and measures its program.
func checkPattern(pattern string) (*regexp.Regexp, int, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, 0, fmt.Errorf("the pattern of matches() is not a regular expression: %w", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, 0, fmt.Errorf("the pattern of matches() is not a regular expression: %w", err)
	}
	if len(program.Inst) > maxPattern {
		return nil, 0, fmt.Errorf("the pattern of matches() is too complex: use fewer or smaller repetitions")
	}
	compiled, err := regexp.Compile(pattern)
	return compiled, len(program.Inst), err
}

// regex replaces calls of matches() by ones whose pattern is compiled already and whose work is bounded.
func (m *meter) regex(overload string) *interpreter.RegexOptimization {
	return &interpreter.RegexOptimization{
		Function: overloads.Matches, OverloadID: overload, RegexIndex: 1,
		Factory: func(call interpreter.InterpretableCall, pattern string) (interpreter.InterpretableCall, error) {
			compiled, program, err := checkPattern(pattern)
			if err != nil {
				return nil, err
			}
			m.programs[pattern] = program
			return interpreter.NewCall(call.ID(), call.Function(), overload, call.Args(), func(args ...ref.Val) ref.Val {
				text, ok := args[0].(types.String)
				if !ok {
					return types.MaybeNoSuchOverloadErr(args[0])
				}
				if len(text)*program > maxMatch {
					return types.NewErr("a text of %d bytes is too long for the pattern of matches()", len(text))
				}
				return types.Bool(compiled.MatchString(string(text)))
			}), nil
		},
	}
}
