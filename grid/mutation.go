package grid

import (
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Mutation changes one value of an entry. What it changes is named by a path:
// names of fields, from the entry's own into the maps that they hold, with dots
// in between, and positions in arrays, from 0.
//
//	"stock"        the field stock
//	"owner.name"   the field name of the map in the field owner
//	"log.0.text"   of the first element of the array in the field log
//	`"a.b".c`      of the map in the field whose own name is a.b
//
// Maps that are not there are made where something is put into them. An element
// is there or the mutation fails with [ErrRange]; [Push] adds one. A path through
// anything else fails with [ErrWrongKind].
//
// Values are those that [FieldsOf] takes, and structs, which are stored as by
// [Marshal].
type Mutation struct {
	what, path string
	m          space.Mutation
	err        error
}

func (m Mutation) amend(op *space.Op) error {
	if m.err != nil {
		return errPath(m.what, m.path, m.err)
	}
	op.Mutations = append(op.Mutations, m.m)
	return nil
}

// mutation makes a mutation of what the path names.
func mutation(what string, code space.MutationCode, path string) Mutation {
	m := Mutation{what: what, path: path}
	steps, err := SplitPath(path)
	if err != nil {
		m.err = err
		return m
	}
	m.m = space.Mutation{Code: code, Field: steps[0], Path: steps[1:]}
	return m
}

func mutationWith(what string, code space.MutationCode, path string, v any) Mutation {
	m := mutation(what, code, path)
	if m.err == nil {
		m.m.Arg, m.err = valueOf(v)
	}
	return m
}

// SplitPath returns the steps of a path: see [Mutation]. The first is the name of
// a field of the entry.
func SplitPath(path string) ([]string, error) {
	steps, err := predicate.SplitPath(path)
	if err == nil && steps[0] == "" {
		err = errors.New("a field has a name")
	}
	if err != nil {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: err.Error(), Hint: `a path is names with dots in between; a name with a dot in it is put in double quotes`}
	}
	return steps, nil
}

// valueOf returns the canonical form of a value.
func valueOf(v any) ([]byte, error) {
	b, err := msgp.AppendValue(nil, v)
	if errors.Is(err, msgp.ErrType) {
		return Marshal(v) // it holds structs
	}
	return b, err
}

// Set sets a value, whatever was there.
func Set(path string, v any) Mutation { return mutationWith("set", space.MutSet, path, v) }

// Unset removes a field, or an element, behind which the others move up. If
// there is no such field nothing changes.
func Unset(path string) Mutation { return mutation("unset", space.MutUnset, path) }

// Default sets a value if there is none.
func Default(path string, v any) Mutation { return mutationWith("default", space.MutDefault, path, v) }

// Append adds text to the end of a string, or of bytes. Nothing is an empty
// string.
func Append(path, text string) Mutation {
	m := mutation("append", space.MutAppend, path)
	m.m.Arg = []byte(text)
	return m
}

// Push adds an element to the end of an array. Nothing is an empty array.
func Push(path string, v any) Mutation { return mutationWith("push", space.MutPush, path, v) }

// Insert adds an element to the end of an array unless it has an equal one
// already, so that the array is a set. Nothing is an empty array. Numbers are
// equal if they have the same value: 1 and 1.0 are.
func Insert(path string, v any) Mutation { return mutationWith("insert", space.MutInsert, path, v) }

// Remove removes all elements of an array that are equal to v, as in [Insert].
// Nothing is an empty array, and stays nothing.
func Remove(path string, v any) Mutation { return mutationWith("remove", space.MutRemove, path, v) }

// Lowest sets a value if there is none, or a greater one: the lowest that was
// ever given stays. Values of different kinds have an order too, see
// msgp.Compare.
func Lowest(path string, v any) Mutation { return mutationWith("lowest", space.MutLowest, path, v) }

// Highest sets a value if there is none, or a smaller one.
func Highest(path string, v any) Mutation { return mutationWith("highest", space.MutHighest, path, v) }

// Number is what can be added.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// Addition is a mutation that adds, and that may have bounds.
type Addition[N Number] struct{ m Mutation }

// Add adds to a number; nothing is 0. An integer is added to integers only, a
// float to either, and the sum is a float then: Add("price", 1.0) suits a field
// of type float64. The sum of integers has 64 bits, beyond which Add fails with
// [ErrRange].
func Add[N Number](path string, n N) Addition[N] {
	m := mutation("add", space.MutAdd, path)
	if arg, err := numberOf(n); m.err == nil {
		if m.m.Arg, m.err = arg, err; msgp.KindOf(arg) == msgp.Float {
			m.m.Code = space.MutAddFloat
		}
	}
	return Addition[N]{m}
}

// Min makes the addition fail with [ErrRange], without effect, if the sum would
// be below n.
func (a Addition[N]) Min(n N) Addition[N] {
	if a.m.err == nil {
		a.m.m.Min, a.m.err = numberOf(n)
	}
	return a
}

// Max makes the addition fail with [ErrRange], without effect, if the sum would
// be above n.
func (a Addition[N]) Max(n N) Addition[N] {
	if a.m.err == nil {
		a.m.m.Max, a.m.err = numberOf(n)
	}
	return a
}

func (a Addition[N]) amend(op *space.Op) error { return a.m.amend(op) }

func numberOf[N Number](n N) ([]byte, error) {
	b, err := msgp.AppendValue(nil, n)
	if err != nil {
		return nil, err
	}
	if msgp.KindOf(b) == msgp.Int {
		if _, _, err := msgp.ReadInt(b); err != nil {
			return nil, fmt.Errorf("%v is above the range of int64", n)
		}
	}
	return b, nil
}

// If makes a change fail with [ErrUnmet], without effect, unless the entry
// matches a predicate, whose question marks stand for the arguments:
//
//	grid.If("stock >= ? and not closed", 2)
//
// The language is that of package predicate. An entry that is not there meets no
// condition, also not with [OrCreate]. In a change by template a condition
// narrows what is looked for. Of several conditions all must hold.
func If(text string, args ...any) Condition {
	p, err := predicate.Parse(text, args...)
	return Condition{p: p, err: err}
}

func (c Condition) amend(op *space.Op) error {
	if c.err != nil {
		return &space.Error{Code: space.CodeInvalid, Detail: c.err.Error()}
	}
	p := c.p
	if op.Predicate != nil {
		before, err := predicate.Decode(op.Predicate)
		if err == nil {
			p, err = predicate.And(before, p)
		}
		if err != nil {
			return &space.Error{Code: space.CodeInvalid, Detail: err.Error()}
		}
	}
	op.Predicate = p.Append(nil)
	return nil
}
