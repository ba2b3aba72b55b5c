package mapping

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

const (
	// costLimit is in CEL's units, of which one is 20 to 100 ns.
	costLimit = 1_000_000
	// sizeUnit is how many bytes of text count as one unit: an evaluation makes at most 64 MB of text.
	sizeUnit = 64
	// maxPattern bounds the program of a regular expression, maxMatched the text that it is held against.
	maxPattern = 200
	maxMatched = 64 << 10
	// maxSplit is how many pieces split makes.
	maxSplit = 10_000
)

// functions are those that CEL lacks for texts. None makes anything larger than what it is given.
func functions() []cel.EnvOption {
	text := func(name string, f func(string) string) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload("string_"+name, []*cel.Type{cel.StringType}, cel.StringType,
			cel.UnaryBinding(func(v ref.Val) ref.Val {
				s, ok := v.(types.String)
				if !ok {
					return types.MaybeNoSuchOverloadErr(v)
				}
				return types.String(f(string(s)))
			})))
	}
	return []cel.EnvOption{
		text("lower", strings.ToLower), text("upper", strings.ToUpper), text("trim", strings.TrimSpace),
		cel.Function("split", cel.MemberOverload("string_split", []*cel.Type{cel.StringType, cel.StringType}, cel.ListType(cel.StringType),
			cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				s, ok := a.(types.String)
				sep, okay := b.(types.String)
				if !ok || !okay {
					return types.MaybeNoSuchOverloadErr(a)
				}
				return types.NewStringList(types.DefaultTypeAdapter, strings.SplitN(string(s), string(sep), maxSplit))
			}))),
	}
}

// meter prices calls by the text that goes in and comes out.
type meter struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (meter) CallCost(_, overload string, args []ref.Val, result ref.Val) *uint64 {
	cost := uint64(1) + weight(result)
	for _, a := range args {
		cost += weight(a)
	}
	if overload == overloads.Matches || overload == overloads.MatchesString {
		cost *= sizeUnit / 2
	}
	return &cost
}

func weight(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v) / sizeUnit)
	case types.Bytes:
		return uint64(len(v) / sizeUnit)
	}
	return 0
}

// guard replaces calls whose work their price would not show before it is done.
func guard(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || len(call.Args()) != 2 {
		return i, nil
	}
	var work func(a, b ref.Val) ref.Val
	switch call.Function() {
	case operators.Equals, operators.NotEquals:
		differs := call.Function() == operators.NotEquals
		work = func(a, b ref.Val) ref.Val {
			// Lists can hold one another many times over: small in memory, and endless to compare.
			if nested(a) && nested(b) {
				return types.NewErr("lists and objects cannot be compared with one another: compare something in them")
			}
			return types.Bool((types.Equal(a, b) == types.True) != differs)
		}
	case operators.In:
		work = func(a, b ref.Val) ref.Val {
			container, ok := b.(traits.Container)
			if !ok {
				return types.MaybeNoSuchOverloadErr(b)
			}
			if nested(a) {
				return types.NewErr("a list or an object cannot be looked for: look for a text or a number")
			}
			return container.Contains(a)
		}
	case overloads.Matches:
		return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
			text, ok := args[0].(types.String)
			if ok && len(text) > maxMatched {
				return types.NewErr("a text of %d bytes is too long for matches()", len(text))
			}
			m, ok := args[0].(traits.Matcher)
			if !ok {
				return types.MaybeNoSuchOverloadErr(args[0])
			}
			return m.Match(args[1])
		}), nil
	default:
		return i, nil
	}
	return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
		return work(args[0], args[1])
	}), nil
}

func nested(v ref.Val) bool {
	switch v.(type) {
	case traits.Lister, traits.Mapper:
		return true
	}
	return false
}

// checkPatterns refuses regular expressions that come from a call, or are large: how much work they are could not be known.
func checkPatterns(root ast.Expr) (err error) {
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		if err != nil || e.Kind() != ast.CallKind || e.AsCall().FunctionName() != overloads.Matches {
			return
		}
		args := e.AsCall().Args()
		if len(args) == 0 || args[len(args)-1].Kind() != ast.LiteralKind {
			err = errors.New("the pattern of matches() must be written out as a text in quotes")
			return
		}
		pattern, _ := args[len(args)-1].AsLiteral().(types.String)
		parsed, broken := syntax.Parse(string(pattern), syntax.Perl)
		if broken != nil {
			err = fmt.Errorf("the pattern of matches() is not a regular expression: %s", clip(broken.Error()))
			return
		}
		program, broken := syntax.Compile(parsed.Simplify())
		if broken != nil || len(program.Inst) > maxPattern {
			err = errors.New("the pattern of matches() is too complex: use fewer or smaller repetitions")
		}
	}))
	return err
}
