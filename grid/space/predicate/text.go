package predicate

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// String returns the predicate as text, in normal form, which Parse reads back
// to an equal predicate.
func (p *Predicate) String() string {
	var w writer
	w.cond(&p.root)
	return w.b.String()
}

// writer writes text. Parentheses stand only where Parse needs them.
type writer struct{ b strings.Builder }

// operators holds what stands between the sides, with its spaces.
var operators = [...]string{
	opAnd: " and ", opOr: " or ",
	opEq: " = ", opNe: " <> ", opLt: " < ", opLe: " <= ", opGt: " > ", opGe: " >= ",
	opIn: " in ", opNotIn: " not in ", opIsNull: " is null", opNotNull: " is not null",
	opPrefix: " prefix ", opNotPrefix: " not prefix ",
	opContains: " contains ", opNotContains: " not contains ",
	termAdd: " + ", termSub: " - ", termMul: " * ", termDiv: " / ", termMod: " % ",
}

func (w *writer) cond(c *cond) {
	switch c.op {
	case opAlways:
		w.b.WriteString("true")
		return
	case opNever:
		w.b.WriteString("false")
		return
	case opAnd, opOr:
		for i := range c.kids {
			if i > 0 {
				w.b.WriteString(operators[c.op])
			}
			if c.kids[i].op == opOr {
				w.b.WriteByte('(')
				w.cond(&c.kids[i])
				w.b.WriteByte(')')
			} else {
				w.cond(&c.kids[i])
			}
		}
		return
	}
	w.term(&c.left, 0)
	w.b.WriteString(operators[c.op])
	w.term(&c.right, 0)
	if c.list != nil {
		for i, member := range c.list {
			w.b.WriteString([...]string{"(", ", "}[min(i, 1)])
			w.value(member)
		}
		w.b.WriteByte(')')
	}
}

// binding says how tightly an operator of arithmetic holds its sides together.
func (op termOp) binding() int {
	switch op {
	case termAdd, termSub:
		return 1
	case termMul, termDiv, termMod:
		return 2
	case termNeg:
		return 3
	}
	return 4
}

// term writes a term, in parentheses if it binds more loosely than asked for.
func (w *writer) term(t *term, binding int) {
	if t.op == termNone {
		return
	}
	own := t.op.binding()
	if own < binding {
		w.b.WriteByte('(')
		defer w.b.WriteByte(')')
	}
	switch t.op {
	case termField:
		w.path(t.path)
	case termConstant:
		w.value(t.value)
	case termNeg:
		// In parentheses whatever binds more loosely than a field: two signs in
		// a row, and a sign before a number, would read as something else.
		w.b.WriteByte('-')
		w.term(&t.kids[0], own+1)
	default:
		w.term(&t.kids[0], own)
		w.b.WriteString(operators[t.op])
		w.term(&t.kids[1], own+1)
	}
}

func (w *writer) path(p *path) {
	for i, step := range p.steps {
		if i > 0 {
			w.b.WriteByte('.')
		}
		if isWord(step) && keywords[strings.ToLower(step)] == 0 {
			w.b.WriteString(step)
		} else {
			writeQuoted(&w.b, step, '"')
		}
	}
}

// value writes a canonical value.
func (w *writer) value(v []byte) {
	switch msgp.KindOf(v) {
	case msgp.Bool:
		yes, _, _ := msgp.ReadBool(v)
		w.b.WriteString(strconv.FormatBool(yes))
	case msgp.Int:
		if i, _, err := msgp.ReadInt(v); err == nil {
			w.b.WriteString(strconv.FormatInt(i, 10))
		} else {
			u, _, _ := msgp.ReadUint(v)
			w.b.WriteString(strconv.FormatUint(u, 10))
		}
	case msgp.Float:
		f, _, _ := msgp.ReadFloat(v)
		w.float(f)
	case msgp.String:
		s, _, _ := msgp.ReadString(v)
		writeQuoted(&w.b, string(s), '\'')
	case msgp.Bytes:
		p, _, _ := msgp.ReadBytes(v)
		w.b.WriteString("x'" + hex.EncodeToString(p) + "'")
	case msgp.Ext:
		t, _, _ := msgp.ReadTime(v)
		w.b.WriteString("ts '" + t.Format(time.RFC3339Nano) + "'")
	case msgp.Array:
		w.list(v)
	case msgp.Map:
		w.mapping(v)
	default:
		w.b.WriteString("null")
	}
}

// float writes a number that reads back as a float.
func (w *writer) float(f float64) {
	if math.IsInf(f, 0) {
		w.b.WriteString("float '" + strconv.FormatFloat(f, 'g', -1, 64) + "'")
		return
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	w.b.WriteString(s)
	if !strings.ContainsAny(s, ".e") {
		w.b.WriteString(".0")
	}
}

func (w *writer) list(v []byte) {
	n, rest, _ := msgp.ReadArrayHeader(v)
	w.b.WriteByte('[')
	for i := range n {
		if i > 0 {
			w.b.WriteString(", ")
		}
		rest = w.first(rest)
	}
	w.b.WriteByte(']')
}

func (w *writer) mapping(v []byte) {
	n, rest, _ := msgp.ReadMapHeader(v)
	w.b.WriteByte('{')
	for i := range n {
		if i > 0 {
			w.b.WriteString(", ")
		}
		rest = w.first(rest)
		w.b.WriteString(": ")
		rest = w.first(rest)
	}
	w.b.WriteByte('}')
}

// first writes the first value of b and returns what follows.
func (w *writer) first(b []byte) []byte {
	rest, err := msgp.Skip(b)
	if err != nil {
		panic("predicate: a constant is malformed") // the constructors took it as canonical
	}
	w.value(b[:len(b)-len(rest)])
	return rest
}
