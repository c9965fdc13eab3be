package predicate

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// The constructors of this file are the only source of conditions and terms.
// They bring what they are given to normal form and refuse what could never be
// true: constants are folded, nested conjunctions flattened, negations pushed down to
// the leaves, a constant side of a comparison put right, the members of a list
// sorted. Building a condition from the parts of a built one changes nothing.

var (
	always = cond{op: opAlways}
	never  = cond{op: opNever}
)

func truth(v bool) cond {
	if v {
		return always
	}
	return never
}

// junction is the and or the or of conditions.
func junction(op condOp, parts []cond) cond {
	neutral, decisive := always, never
	if op == opOr {
		neutral, decisive = never, always
	}
	var kids []cond
	for _, part := range parts {
		switch part.op {
		case neutral.op:
		case decisive.op:
			return decisive
		case op:
			kids = append(kids, part.kids...)
		default:
			kids = append(kids, part)
		}
	}
	switch len(kids) {
	case 0:
		return neutral
	case 1:
		return kids[0]
	}
	return cond{op: op, kids: slices.Clip(kids)}
}

// negate is the condition that is true where c is false and unknown where c is.
func negate(c cond) cond {
	c.op = opposites[c.op]
	if c.kids != nil {
		kids := make([]cond, len(c.kids))
		for i := range kids {
			kids[i] = negate(c.kids[i])
		}
		c.kids = kids
	}
	return c
}

// comparison compares two terms.
func comparison(op condOp, left, right term) (cond, *Error) {
	if left.op == termConstant {
		if right.op == termConstant {
			return comparedConstants(op, left.value, right.value)
		}
		op, left, right = mirrored[op], right, left
	}
	if right.op == termConstant {
		if err := refuseNull(right.value); err != nil {
			return cond{}, err
		}
		if c := classOf(right.value); op.ordering() && !c.ordered() {
			return cond{}, refuse("use = or <>", "%s has no order", c)
		}
		right.value = plainNumber(right.value)
	}
	return cond{op: op, left: left, right: right}, nil
}

func comparedConstants(op condOp, a, b []byte) (cond, *Error) {
	for _, v := range [...][]byte{a, b} {
		if err := refuseNull(v); err != nil {
			return cond{}, err
		}
	}
	if x, y := classOf(a), classOf(b); op.ordering() && (x != y || !x.ordered()) {
		return cond{}, refuse("compare values of one kind", "%s and %s have no order", x, y)
	}
	return truth(compares(op, a, b)), nil
}

// refuseNull refuses the constant null where it would make everything unknown.
func refuseNull(v []byte) *Error {
	if classOf(v) != classNull {
		return nil
	}
	return refuse("write `is null` or `is not null`", "nothing is ever equal to null, above or below it")
}

// plainNumber gives numbers that are equal the same bytes: an integral float
// becomes an integer if one holds it. Only comparing may do this; arithmetic
// tells 1 from 1.0.
func plainNumber(v []byte) []byte {
	if msgp.KindOf(v) != msgp.Float {
		return v
	}
	f, _, err := msgp.ReadFloat(v)
	switch {
	case err != nil || f != math.Trunc(f) || f < -1<<63 || f >= 1<<64:
		return v
	case f < 0:
		return msgp.AppendInt(nil, int64(f))
	}
	return msgp.AppendUint(nil, uint64(f))
}

// membership asks whether the value of left is one of list, which it may
// reorder.
func membership(left term, list [][]byte) (cond, *Error) {
	if len(list) > MaxList {
		return cond{}, refuse("ask for a range, or keep the list in a field", "a list of %d values, more than %d", len(list), MaxList)
	}
	for i := range list {
		if classOf(list[i]) == classNull {
			return cond{}, refuse("add `or … is null`", "null in a list is never found")
		}
		list[i] = plainNumber(list[i])
	}
	slices.SortFunc(list, func(a, b []byte) int { return cmp.Or(msgp.Compare(a, b), bytes.Compare(a, b)) })
	list = slices.CompactFunc(list, func(a, b []byte) bool { return msgp.Compare(a, b) == 0 })
	switch {
	case len(list) == 0:
		return never, nil
	case len(list) == 1:
		return comparison(opEq, left, term{op: termConstant, value: list[0]})
	case left.op == termConstant:
		if err := refuseNull(left.value); err != nil {
			return cond{}, err
		}
		return truth(listed(list, left.value)), nil
	}
	return cond{op: opIn, left: left, list: slices.Clip(list)}, nil
}

// isNull asks whether a term has no value.
func isNull(left term) (cond, *Error) {
	if left.op == termConstant {
		return cond{}, refuse("put the name of a field before `is`", "a constant is null or is not, for every entry alike")
	}
	return cond{op: opIsNull, left: left}, nil
}

// beginning asks whether a string or binary field begins with a constant.
func beginning(left, prefix term) (cond, *Error) {
	if left.op != termField {
		return cond{}, refuse("put the name of a field before `prefix`", "only a field has a prefix")
	}
	if _, ok := content(prefix.value); prefix.op != termConstant || !ok {
		return cond{}, refuse("write 'text' or x'00ff' behind `prefix`", "a prefix is a constant, a string or bytes")
	}
	return cond{op: opPrefix, left: left, right: prefix}, nil
}

// containing asks whether a list field has an element equal to a term.
func containing(left, element term) (cond, *Error) {
	if left.op != termField {
		return cond{}, refuse("put the name of a field before `contains`", "only a field can contain")
	}
	if element.op == termConstant {
		if classOf(element.value) == classNull {
			return cond{}, refuse("ask for a value", "null in a list is never found")
		}
		element.value = plainNumber(element.value)
	}
	return cond{op: opContains, left: left, right: element}, nil
}

// calculation applies an operator of arithmetic to one term or two.
func calculation(op termOp, kids ...term) (term, *Error) {
	constant := true
	for _, kid := range kids {
		if kid.op != termConstant {
			constant = false
		} else if c := classOf(kid.value); c != classNumber {
			return term{}, refuse("compute with numbers", "%s in a computation", c)
		}
	}
	t := term{op: op, kids: kids}
	if !constant {
		return t, nil
	}
	n := t.number(&entry{})
	if n.form == unknownNumber {
		return term{}, refuse("write the value that is meant", "a constant is out of range, or divided by zero")
	}
	return term{op: termConstant, value: n.append(nil)}, nil
}
