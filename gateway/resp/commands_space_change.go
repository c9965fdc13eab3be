package resp

import (
	"math"
	"strconv"
	"strings"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Mutations of SPACE.CHANGE, in order and repeatedly:
//
//	SET f v | UNSET f | DEFAULT f v | ADD f n [MIN m] [MAX m] | APPEND f text | PUSH f v | INSERT f v | REMOVE f v
//	JSON array
//
// f is a path such as owner.name or log.0.text, v is text; the array has the
// mutations that PATCH of an entry takes, whose values have types. The reply is
// what the entry has become, or null if there is none; by filter an array.

func spaceChange(d *dialog, c Command) {
	ms, rest, refusal := parseMutations(c.Args[2:])
	if refusal != "" {
		d.error(refusal)
		return
	}
	c.Args = append(c.Args[:2:2], rest...)
	def, a, ok := d.open(c, "KEY", "MATCH", "WHERE", "IF", "ARGS", "VERSION", "LIMIT", "CREATE", "ALLOWSCAN")
	if !ok {
		return
	}
	if (a.key != nil) == a.matching || len(ms) == 0 {
		d.error(textSyntax)
		return
	}
	parts := form.Changes(ms)
	if a.condition != "" {
		args := a.args
		if a.where != "" {
			args = nil
		}
		parts = append(parts, grid.If(a.condition, args...))
	}
	if a.version != 0 {
		parts = append(parts, grid.IfVersion(a.version))
	}
	if a.create {
		parts = append(parts, grid.OrCreate())
	}
	if a.allowScan {
		parts = append(parts, grid.AllowScan())
	}
	var made []grid.Entry
	var err error
	if a.key != nil {
		var changed grid.Changed[grid.Entry]
		changed, err = d.commands.grid.Change(d.ctx, def.Name, a.key, parts...)
		made = []grid.Entry{changed.Value}
	} else {
		made, err = d.commands.grid.ChangeMatch(d.ctx, def.Name, a.filter, max(a.limit, 1), parts...)
	}
	switch {
	case err == nil:
		d.entries(made, a.matching)
	case isNotFound(err) && a.matching:
		d.out.Array(0)
	case isNotFound(err):
		d.out.Null()
	default:
		d.fail(err)
	}
}

var mutationWords = map[string]space.MutationCode{
	"SET": space.MutSet, "UNSET": space.MutUnset, "DEFAULT": space.MutDefault, "ADD": space.MutAdd, "APPEND": space.MutAppend,
	"PUSH": space.MutPush, "INSERT": space.MutInsert, "REMOVE": space.MutRemove,
}

// flagWords are the options of SPACE.CHANGE that have no argument.
var flagWords = map[string]bool{"CREATE": true, "ALLOWSCAN": true}

// parseMutations takes the mutations out of the arguments and returns the others.
func parseMutations(args [][]byte) (ms []space.Mutation, rest [][]byte, refusal string) {
	for len(args) > 0 {
		word := strings.ToUpper(quotable(args[0], refusalQuote))
		code, ok := mutationWords[word]
		switch {
		case word == "JSON" && len(args) > 1:
			list, err := form.ParseMutations(args[1])
			if err != nil {
				return nil, nil, errorText(err)
			}
			ms, args = append(ms, list...), args[2:]
		case ok:
			m, n, refusal := parseMutation(code, args)
			if refusal != "" {
				return nil, nil, refusal
			}
			ms, args = append(ms, m), args[n:]
		default:
			n := 2
			if flagWords[word] {
				n = 1
			}
			n = min(n, len(args))
			rest, args = append(rest, args[:n]...), args[n:]
		}
	}
	return ms, rest, ""
}

// parseMutation reads a mutation from its word on and returns how many arguments
// it has.
func parseMutation(code space.MutationCode, args [][]byte) (m space.Mutation, n int, refusal string) {
	n = 3
	if code == space.MutUnset {
		n = 2
	}
	if len(args) < n {
		return m, 0, textSyntax
	}
	steps, err := grid.SplitPath(string(args[1]))
	if err != nil {
		return m, 0, errorText(err)
	}
	m = space.Mutation{Code: code, Field: steps[0], Path: steps[1:]}
	switch code {
	case space.MutUnset:
		return m, n, ""
	case space.MutAppend:
		m.Arg = args[2]
		return m, n, ""
	case space.MutAdd:
	default:
		m.Arg = fieldValue(args[2])
		return m, n, ""
	}
	var ok bool
	if m.Arg, ok = numberValue(args[2]); !ok {
		return m, 0, textNotFloat
	}
	if msgp.KindOf(m.Arg) == msgp.Float {
		m.Code = space.MutAddFloat
	}
	for ; len(args) > n+1; n += 2 {
		bound := &m.Min
		switch {
		case isWord(args[n], "MAX"):
			bound = &m.Max
		case !isWord(args[n], "MIN"):
			return m, n, ""
		}
		if *bound, ok = numberValue(args[n+1]); !ok {
			return m, 0, textNotFloat
		}
	}
	return m, n, ""
}

// numberValue returns an integer, or else a float.
func numberValue(b []byte) ([]byte, bool) {
	if n, ok := integer(b); ok {
		return msgp.AppendInt(nil, n), true
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(f) {
		return nil, false
	}
	return msgp.AppendFloat(nil, f), true
}
