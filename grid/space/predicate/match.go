package predicate

import (
	"bytes"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// numberRoom holds the encoding of a computed number.
type numberRoom [9]byte

// entry is what one evaluation looks at. It remembers the field that it found
// last, which is the next one too where a range or several bounds are asked
// for. Finding a field is most of the work; remembering more than one costs
// more than it saves.
type entry struct {
	fields []byte
	path   *path  // found last, nil at first
	value  []byte // at path, nil if it is absent or null
}

// locate returns the encoded value at the path, nil if it is absent or null.
func (e *entry) locate(p *path) []byte {
	if e.path == nil || e.path.name != p.name {
		e.path, e.value = p, p.locate(e.fields)
	}
	return e.value
}

// holds reports whether the condition is true of the entry: false stands for
// false and for unknown.
func (c *cond) holds(e *entry) bool {
	switch c.op {
	case opAnd:
		for i := range c.kids {
			if !c.kids[i].holds(e) {
				return false
			}
		}
		return true
	case opOr:
		for i := range c.kids {
			if c.kids[i].holds(e) {
				return true
			}
		}
		return false
	case opAlways:
		return true
	case opNever:
		return false
	}
	// Most leaves compare a field with a constant; they need no room.
	if c.left.op == termField && c.right.op == termConstant {
		return c.leaf(e.locate(c.left.path), c.right.value)
	}
	var leftRoom, rightRoom numberRoom
	return c.leaf(c.left.eval(e, leftRoom[:0]), c.right.eval(e, rightRoom[:0]))
}

// leaf decides a leaf for the values of its terms; nil is null.
func (c *cond) leaf(a, b []byte) bool {
	switch {
	case c.op == opIsNull:
		return a == nil
	case a == nil:
		return false
	case c.op.comparison():
		return b != nil && compares(c.op, a, b)
	}
	switch c.op {
	case opNotNull:
		return true
	case opIn, opNotIn:
		return listed(c.list, a) == (c.op == opIn)
	case opPrefix, opNotPrefix:
		begins, known := hasPrefix(a, b)
		return known && begins == (c.op == opPrefix)
	case opContains, opNotContains:
		contains, known := hasElement(a, b)
		return known && contains == (c.op == opContains)
	}
	panic("predicate: unknown condition") // the constructors make no other
}

// listed searches a list in the order of msgp.Compare. The search is written
// out: through a function value, v would escape to the heap.
func listed(list [][]byte, v []byte) bool {
	low, high := 0, len(list)
	for low < high {
		middle := int(uint(low+high) / 2)
		switch c := msgp.Compare(list[middle], v); {
		case c == 0:
			return true
		case c < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return false
}

// compares decides a comparison between two values, neither of them null.
func compares(op condOp, a, b []byte) bool {
	class := classOf(a)
	if class != classOf(b) {
		return op == opNe
	}
	switch op {
	case opEq:
		return equal(class, a, b)
	case opNe:
		return !equal(class, a, b)
	}
	if !class.ordered() {
		return false
	}
	order := msgp.Compare(a, b)
	switch op {
	case opLt:
		return order < 0
	case opLe:
		return order <= 0
	case opGt:
		return order > 0
	}
	return order >= 0
}

// equal compares two values of one class. Canonical values with the same bytes
// are equal; different bytes may still be one number, alone or further inside.
func equal(class class, a, b []byte) bool {
	switch class {
	case classNumber, classList, classMap:
		return bytes.Equal(a, b) || msgp.Compare(a, b) == 0
	}
	return bytes.Equal(a, b)
}

// hasPrefix reports whether a begins with b; known is false unless both are
// strings or both are bytes.
func hasPrefix(a, b []byte) (begins, known bool) {
	if msgp.KindOf(a) != msgp.KindOf(b) {
		return false, false
	}
	whole, known := content(a)
	prefix, _ := content(b)
	return known && bytes.HasPrefix(whole, prefix), known
}

// content returns what a string or binary holds.
func content(v []byte) (p []byte, ok bool) {
	var err error
	switch msgp.KindOf(v) {
	case msgp.String:
		p, _, err = msgp.ReadString(v)
	case msgp.Bytes:
		p, _, err = msgp.ReadBytes(v)
	default:
		return nil, false
	}
	return p, err == nil
}

// hasElement reports whether the list has an element equal to v; known is false
// if it is no list, or v is null.
func hasElement(list, v []byte) (contains, known bool) {
	if v == nil || msgp.KindOf(list) != msgp.Array {
		return false, false
	}
	n, rest, err := msgp.ReadArrayHeader(list)
	if err != nil {
		return false, false
	}
	class := classOf(v)
	whole := msgp.KindOf(v) == msgp.Int
	for range n {
		behind, err := msgp.Skip(rest)
		if err != nil {
			return false, false
		}
		element := rest[:len(rest)-len(behind)]
		switch {
		case whole && msgp.KindOf(element) == msgp.Int:
			// The frequent case, and the longest lists: canonical integers are
			// equal if their bytes are.
			if bytes.Equal(element, v) {
				return true, true
			}
		case classOf(element) == class && equal(class, element, v):
			return true, true
		}
		rest = behind
	}
	return false, true
}

// eval returns the term's encoded value, nil if it is null or unknown: a part
// of the entry, the constant itself, or a number that it appends to room.
func (t *term) eval(e *entry, room []byte) []byte {
	switch t.op {
	case termNone:
		return nil
	case termField:
		return e.locate(t.path)
	case termConstant:
		return t.value
	}
	n := t.number(e)
	if n.form == unknownNumber {
		return nil
	}
	return n.append(room)
}

// number computes the term's value.
func (t *term) number(e *entry) number {
	switch t.op {
	case termField:
		return numberOf(e.locate(t.path))
	case termConstant:
		return numberOf(t.value)
	case termNeg:
		return negateNumber(t.kids[0].number(e))
	}
	// The right side is not needed if the left is unknown.
	left := t.kids[0].number(e)
	if left.form == unknownNumber {
		return left
	}
	return compute(t.op, left, t.kids[1].number(e))
}
