package predicate

import (
	"bytes"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// The encoding is one byte of version and the condition. A condition is its
// op and what the op needs: to join conditions their count and them, for in
// the term, the count and the constants, else the terms, one or two. A term is
// its op and the path as count and strings, the constant, or the terms. Counts,
// strings and constants are canonical msgpack.

// version is the first byte of an encoding. Another layout gets another number.
const version = 1

// Append appends the encoding of the predicate, at most MaxEncoded bytes.
// Predicates whose normal forms are the same have the same bytes: so have
// `a = 1 and (b > 2 and c is null)` and `1.0 = a and not b <= 4 / 2 and c is
// null`. The order of conditions is kept.
func (p *Predicate) Append(dst []byte) []byte { return append(dst, p.encoding...) }

func (c *cond) append(dst []byte) []byte {
	dst = append(dst, byte(c.op))
	switch c.op {
	case opAnd, opOr:
		dst = msgp.AppendUint(dst, uint64(len(c.kids)))
		for i := range c.kids {
			dst = c.kids[i].append(dst)
		}
	case opIn, opNotIn:
		dst = c.left.append(dst)
		dst = msgp.AppendUint(dst, uint64(len(c.list)))
		for _, member := range c.list {
			dst = append(dst, member...)
		}
	default:
		dst = c.left.append(dst)
		dst = c.right.append(dst)
	}
	return dst
}

func (t *term) append(dst []byte) []byte {
	if t.op == termNone {
		return dst
	}
	dst = append(dst, byte(t.op))
	switch t.op {
	case termField:
		dst = msgp.AppendUint(dst, uint64(len(t.path.steps)))
		for _, step := range t.path.steps {
			dst = msgp.AppendString(dst, step)
		}
	case termConstant:
		dst = append(dst, t.value...)
	default:
		for i := range t.kids {
			dst = t.kids[i].append(dst)
		}
	}
	return dst
}

// Decode reads what Append wrote; b may be any bytes and is not kept. It is
// strict: an encoding that Append would not have written, such as one with a
// constant computation in it, is refused, so that equal predicates cannot
// arrive as different bytes.
func Decode(b []byte) (*Predicate, error) {
	if len(b) > MaxEncoded {
		return nil, placed(refuse("", "an encoding of %d bytes, more than %d", len(b), MaxEncoded), 0)
	}
	if len(b) == 0 || b[0] != version {
		return nil, placed(refuse("encode it with Append of this version", "no predicate, or one of another version"), 0)
	}
	d := decoder{b: bytes.Clone(b), pos: 1}
	root, err := d.cond(1)
	if err != nil {
		return nil, placed(err, d.pos)
	}
	if d.pos != len(b) {
		return nil, placed(refuse("", "%d bytes follow the predicate", len(b)-d.pos), d.pos)
	}
	p, err := finish(root)
	if err != nil {
		return nil, placed(err, 0)
	}
	if !bytes.Equal(p.encoding, b) {
		return nil, placed(refuse("encode it with Append", "the encoding is not in normal form"), 0)
	}
	return p, nil
}

// decoder reads conditions. Constants share memory with b.
type decoder struct {
	b     []byte
	pos   int
	nodes int
}

// enter counts a node at the given level and reads its op.
func (d *decoder) enter(level int) (byte, *Error) {
	if d.pos >= len(d.b) {
		return 0, refuse("", "the predicate is cut short")
	}
	if level > MaxDepth {
		return 0, refuse("", "nested more than %d levels deep", MaxDepth)
	}
	if d.nodes++; d.nodes > MaxNodes {
		return 0, refuse("", "more than %d conditions and terms", MaxNodes)
	}
	d.pos++
	return d.b[d.pos-1], nil
}

func (d *decoder) cond(level int) (cond, *Error) {
	code, err := d.enter(level)
	if err != nil {
		return cond{}, err
	}
	switch op := condOp(code); op {
	case opNever, opAlways:
		return cond{op: op}, nil
	case opAnd, opOr:
		return d.junction(op, level)
	case opEq, opNe, opLt, opLe, opGt, opGe, opPrefix, opNotPrefix, opContains, opNotContains:
		left, err := d.term(level + 1)
		if err != nil {
			return cond{}, err
		}
		right, err := d.term(level + 1)
		if err != nil {
			return cond{}, err
		}
		return pair(op, left, right)
	case opIn, opNotIn, opIsNull, opNotNull:
		left, err := d.term(level + 1)
		if err != nil {
			return cond{}, err
		}
		var list [][]byte
		if op == opIn || op == opNotIn {
			if list, err = d.list(); err != nil {
				return cond{}, err
			}
		}
		return single(op, left, list)
	}
	d.pos--
	return cond{}, refuse("", "no condition has the code %d", code)
}

// pair builds a leaf of two terms.
func pair(op condOp, left, right term) (c cond, err *Error) {
	switch op {
	case opPrefix, opNotPrefix:
		c, err = beginning(left, right)
	case opContains, opNotContains:
		c, err = containing(left, right)
	default:
		return comparison(op, left, right)
	}
	return negatedIf(op == opNotPrefix || op == opNotContains, c, err)
}

// single builds a leaf of one term.
func single(op condOp, left term, list [][]byte) (c cond, err *Error) {
	if op == opIsNull || op == opNotNull {
		c, err = isNull(left)
	} else {
		c, err = membership(left, list)
	}
	return negatedIf(op == opNotNull || op == opNotIn, c, err)
}

func negatedIf(not bool, c cond, err *Error) (cond, *Error) {
	if err == nil && not {
		c = negate(c)
	}
	return c, err
}

func (d *decoder) junction(op condOp, level int) (cond, *Error) {
	n, err := d.count(MaxNodes)
	if err != nil {
		return cond{}, err
	}
	var parts []cond // grows with what is there, not with what is declared
	for range n {
		part, err := d.cond(level + 1)
		if err != nil {
			return cond{}, err
		}
		parts = append(parts, part)
	}
	return junction(op, parts), nil
}

func (d *decoder) list() ([][]byte, *Error) {
	n, err := d.count(MaxList)
	if err != nil {
		return nil, err
	}
	var list [][]byte
	for range n {
		v, err := d.constant()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (d *decoder) term(level int) (term, *Error) {
	code, err := d.enter(level)
	if err != nil {
		return term{}, err
	}
	switch op := termOp(code); op {
	case termField:
		p, err := d.path()
		return term{op: op, path: p}, err
	case termConstant:
		v, err := d.constant()
		return term{op: op, value: v}, err
	case termNeg, termAdd, termSub, termMul, termDiv, termMod:
		n := 2
		if op == termNeg {
			n = 1
		}
		kids := make([]term, n)
		for i := range kids {
			if kids[i], err = d.term(level + 1); err != nil {
				return term{}, err
			}
		}
		return calculation(op, kids...)
	}
	d.pos--
	return term{}, refuse("", "no term has the code %d", code)
}

func (d *decoder) path() (*path, *Error) {
	n, err := d.count(maxSteps)
	if err != nil {
		return nil, err
	}
	var steps []string
	for range n {
		step, rest, err := msgp.ReadString(d.b[d.pos:])
		if err != nil {
			return nil, refuse("", "a step of a path is not a string")
		}
		d.pos = len(d.b) - len(rest)
		steps = append(steps, string(step))
	}
	return newPath(steps)
}

func (d *decoder) count(limit int) (int, *Error) {
	n, rest, err := msgp.ReadUint(d.b[d.pos:])
	if err != nil || n > uint64(limit) {
		return 0, refuse("", "no count up to %d", limit)
	}
	d.pos = len(d.b) - len(rest)
	return int(n), nil
}

// constant reads a canonical value other than null.
func (d *decoder) constant() ([]byte, *Error) {
	rest, err := msgp.Skip(d.b[d.pos:])
	if err != nil {
		return nil, refuse("", "no constant: %v", err)
	}
	end := len(d.b) - len(rest)
	v := d.b[d.pos:end:end]
	if !msgp.IsCanonical(v) || classOf(v) == classNull {
		return nil, refuse("", "a constant is null or not canonical")
	}
	d.pos = end
	return v, nil
}
