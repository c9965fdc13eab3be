package predicate

import "github.com/spacegrid/spacegrid/internal/msgp"

// Type is what a space declares of a field. Whatever it is, a field may be
// absent.
type Type uint8

// The types.
const (
	Any    Type = iota // nothing is declared
	Bool               // true or false
	Int                // an integer
	Float              // a float, or an integer in its place
	Number             // an integer or a float
	String             // text
	Bytes              // binary
	Time               // a timestamp
	List               // an array
	Map                // fields of its own, each a path
)

var typeNames = [...]string{"any", "bool", "int", "float", "number", "string", "bytes", "time", "list", "map"}

// String returns the name of the type in lower case.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown"
}

// class returns the class of the type's values, classNull for those of Any.
func (t Type) class() class {
	switch t {
	case Bool:
		return classBool
	case Int, Float, Number:
		return classNumber
	case String:
		return classString
	case Bytes:
		return classBytes
	case Time:
		return classTime
	case List:
		return classList
	case Map:
		return classMap
	}
	return classNull
}

// Check holds the predicate against what is declared of the fields: known
// returns the type of a path, written as Paths gives it, and whether there is
// such a field. It fails with an [*Error] for a field that is not known, and
// for a condition that is the same for every value of the declared type.
func (p *Predicate) Check(known func(path string) (Type, bool)) error {
	c := checker{known: known}
	if err := c.cond(&p.root); err != nil {
		return err
	}
	return nil
}

type checker struct {
	known func(path string) (Type, bool)
}

func (c checker) cond(on *cond) *Error {
	for i := range on.kids {
		if err := c.cond(&on.kids[i]); err != nil {
			return err
		}
	}
	left, err := c.term(&on.left)
	if err != nil {
		return err
	}
	right, err := c.term(&on.right)
	if err != nil {
		return err
	}
	switch on.op {
	case opContains, opNotContains:
		if left != Any && left != List {
			return mismatch(on, "%s is %s, only a list contains", on.left.path.name, left)
		}
	case opPrefix, opNotPrefix:
		return c.comparable(on, left, right)
	case opIn, opNotIn:
		for _, member := range on.list {
			if err := c.constant(on, left, member); err != nil {
				return err
			}
		}
	case opEq, opNe:
		if on.right.op == termConstant {
			return c.constant(on, left, on.right.value)
		}
		return c.comparable(on, left, right)
	case opLt, opLe, opGt, opGe:
		if left == List || left == Map || right == List || right == Map {
			return mismatch(on, "lists and maps have no order")
		}
		return c.comparable(on, left, right)
	}
	return nil
}

// constant checks that a value of the type can be equal to the constant.
func (c checker) constant(on *cond, t Type, v []byte) *Error {
	if t == Int && msgp.KindOf(v) == msgp.Float {
		return mismatch(on, "an int is never equal to a number with a fraction")
	}
	return c.comparable(on, t, typeOf(v))
}

func (c checker) comparable(on *cond, a, b Type) *Error {
	if a != Any && b != Any && a.class() != b.class() {
		return mismatch(on, "%s and %s are never equal and have no order", a, b)
	}
	return nil
}

// typeOf returns the type of a constant.
func typeOf(v []byte) Type {
	return [...]Type{
		classNull: Any, classBool: Bool, classNumber: Number, classString: String,
		classBytes: Bytes, classTime: Time, classList: List, classMap: Map,
	}[classOf(v)]
}

// term returns the type of a term's values.
func (c checker) term(t *term) (Type, *Error) {
	switch t.op {
	case termNone:
		return Any, nil
	case termConstant:
		return typeOf(t.value), nil
	case termField:
		declared, ok := c.known(t.path.name)
		if !ok {
			return Any, refuse("check its spelling; text is written in single quotes", "no field %s", t.path.name)
		}
		return declared, nil
	}
	for i := range t.kids {
		of, err := c.term(&t.kids[i])
		if err != nil {
			return Any, err
		}
		if of != Any && of.class() != classNumber {
			var w writer
			w.term(t, 0)
			return Any, refuse("compute with numbers", "%s computes with %s", excerpt(w.b.String()), of)
		}
	}
	return Number, nil
}

// mismatch refuses a condition, which it quotes.
func mismatch(on *cond, format string, args ...any) *Error {
	var w writer
	w.cond(on)
	err := refuse("compare with a value of the declared type", format, args...)
	err.Detail = excerpt(w.b.String()) + ": " + err.Detail
	return err
}
