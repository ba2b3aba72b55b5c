package route

import (
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// textFunctions are the functions on text of CEL's "strings" extension, with its names and meanings: lowerAscii,
// upperAscii, trim, split, join, replace, substring, indexOf, lastIndexOf, charAt. They are our own because the
// extension's make texts of any length in one step, before a limit can notice, and search in quadratic time.
func textFunctions() []cel.EnvOption {
	str, num, strs := cel.StringType, cel.IntType, cel.ListType(cel.StringType)
	return []cel.EnvOption{
		method("lowerAscii", over("string_lower_ascii", str, func(s string, _ []ref.Val) ref.Val {
			return types.String(mapASCII(s, 'A', 'Z', 'a'-'A'))
		}, str)),
		method("upperAscii", over("string_upper_ascii", str, func(s string, _ []ref.Val) ref.Val {
			return types.String(mapASCII(s, 'a', 'z', -('a' - 'A')))
		}, str)),
		method("trim", over("string_trim", str, func(s string, _ []ref.Val) ref.Val {
			return types.String(strings.TrimSpace(s))
		}, str)),
		method("charAt", over("string_char_at_int", str, charAt, str, num)),
		method("substring",
			over("string_substring_int", str, substring, str, num),
			over("string_substring_int_int", str, substring, str, num, num)),
		method("indexOf",
			over("string_index_of_string", num, indexOf, str, str),
			over("string_index_of_string_int", num, indexOf, str, str, num)),
		method("lastIndexOf",
			over("string_last_index_of_string", num, lastIndexOf, str, str),
			over("string_last_index_of_string_int", num, lastIndexOf, str, str, num)),
		method("split",
			over("string_split_string", strs, split, str, str),
			over("string_split_string_int", strs, split, str, str, num)),
		method("replace",
			over("string_replace_string_string", str, replace, str, str, str),
			over("string_replace_string_string_int", str, replace, str, str, str, num)),
		method("join",
			cel.MemberOverload("list_join", []*cel.Type{strs}, str, cel.FunctionBinding(join)),
			cel.MemberOverload("list_join_string", []*cel.Type{strs, str}, str, cel.FunctionBinding(join))),
	}
}

func method(name string, overloads ...cel.FunctionOpt) cel.EnvOption {
	return cel.Function(name, overloads...)
}

// over declares a method of a text.
func over(id string, result *cel.Type, f func(s string, args []ref.Val) ref.Val, params ...*cel.Type) cel.FunctionOpt {
	return cel.MemberOverload(id, params, result, cel.FunctionBinding(func(args ...ref.Val) ref.Val {
		s, ok := args[0].(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(args[0])
		}
		return f(string(s), args[1:])
	}))
}

func mapASCII(s string, from, to rune, shift rune) string {
	return strings.Map(func(r rune) rune {
		if r >= from && r <= to {
			return r + shift
		}
		return r
	}, s)
}

// offset returns where the n-th character of s begins, counting from 0; len(s) is the place behind the last.
func offset(s string, n types.Int) (int, bool) {
	if n < 0 || n > types.Int(len(s)) {
		return 0, false
	}
	at := 0
	for ; n > 0; n-- {
		if at == len(s) {
			return 0, false
		}
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
	}
	return at, true
}

func outOfRange(n ref.Val) ref.Val { return types.NewErr("index out of range: %v", n) }

func charAt(s string, args []ref.Val) ref.Val {
	at, ok := offset(s, args[0].(types.Int))
	if !ok {
		return outOfRange(args[0])
	}
	_, size := utf8.DecodeRuneInString(s[at:])
	return types.String(s[at : at+size])
}

func substring(s string, args []ref.Val) ref.Val {
	start, ok := offset(s, args[0].(types.Int))
	if !ok {
		return outOfRange(args[0])
	}
	if len(args) == 1 {
		return types.String(s[start:])
	}
	length := args[1].(types.Int) - args[0].(types.Int)
	if length < 0 {
		return types.NewErr("invalid substring range: it ends before it begins")
	}
	end, ok := offset(s[start:], length)
	if !ok {
		return outOfRange(args[1])
	}
	return types.String(s[start : start+end])
}

// characters turns a place in s into a count of characters.
func characters(s string, at int) ref.Val {
	if at < 0 {
		return types.Int(-1)
	}
	return types.Int(utf8.RuneCountInString(s[:at]))
}

// searchFrom reads the place at which a search begins, which may lie beyond the end of s.
func searchFrom(s string, n ref.Val) (at int, inside bool, err ref.Val) {
	if n.(types.Int) < 0 {
		return 0, false, outOfRange(n)
	}
	at, inside = offset(s, n.(types.Int))
	return at, inside && at < len(s), nil
}

func indexOf(s string, args []ref.Val) ref.Val {
	sought, start := string(args[0].(types.String)), 0
	if len(args) == 2 {
		at, inside, err := searchFrom(s, args[1])
		switch {
		case err != nil:
			return err
		case !inside && sought == "":
			return characters(s, len(s))
		case !inside:
			return types.Int(-1)
		}
		start = at
	}
	at := strings.Index(s[start:], sought)
	if at >= 0 {
		at += start
	}
	return characters(s, at)
}

func lastIndexOf(s string, args []ref.Val) ref.Val {
	sought := string(args[0].(types.String))
	if len(args) == 2 {
		at, inside, err := searchFrom(s, args[1])
		switch {
		case err != nil:
			return err
		case !inside && sought == "":
			return characters(s, len(s))
		case !inside:
			return types.Int(-1)
		}
		return characters(s, strings.LastIndex(s[:min(len(s), at+len(sought))], sought)) // the last may begin there
	}
	return characters(s, strings.LastIndex(s, sought))
}

func split(s string, args []ref.Val) ref.Val {
	n := -1
	if len(args) == 2 {
		n = int(max(-1, min(args[1].(types.Int), maxText)))
	}
	parts := strings.SplitN(s, string(args[0].(types.String)), n)
	if len(parts) > maxParts {
		return types.NewErr("split() would make more than %d texts", maxParts)
	}
	return types.NewStringList(types.DefaultTypeAdapter, parts)
}

func tooLong() ref.Val {
	return types.NewErr("an expression cannot make a text of more than %d bytes", maxText)
}

func replace(s string, args []ref.Val) ref.Val {
	from, to, n := string(args[0].(types.String)), string(args[1].(types.String)), -1
	if len(args) == 3 {
		n = int(max(-1, min(args[2].(types.Int), maxText)))
	}
	count := strings.Count(s, from)
	if n >= 0 {
		count = min(count, n)
	}
	if len(s)+count*max(0, len(to)-len(from)) > maxText {
		return tooLong()
	}
	return types.String(strings.Replace(s, from, to, count))
}

func join(args ...ref.Val) ref.Val {
	l, ok := args[0].(traits.Lister)
	if !ok {
		return types.MaybeNoSuchOverloadErr(args[0])
	}
	var separator types.String
	if len(args) == 2 {
		separator = args[1].(types.String)
	}
	var b strings.Builder
	n := l.Size().(types.Int)
	if n > maxParts {
		return types.NewErr("join() takes at most %d texts", maxParts)
	}
	for i := types.Int(0); i < n; i++ {
		if i > 0 {
			b.WriteString(string(separator))
		}
		s, ok := l.Get(i).(types.String)
		if !ok {
			return types.NewErr("join() takes a list of texts, and element %d is none", i)
		}
		if b.Len()+len(s)+len(separator) > maxText {
			return tooLong()
		}
		b.WriteString(string(s))
	}
	return types.String(b.String())
}
