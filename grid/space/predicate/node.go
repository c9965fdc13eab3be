package predicate

import (
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// condOp is what a condition asks. The numbers are part of the encoding: never
// reused or reordered.
type condOp uint8

const (
	opNever       condOp = 1 // false
	opAlways      condOp = 2 // true
	opAnd         condOp = 3
	opOr          condOp = 4
	opEq          condOp = 5
	opNe          condOp = 6
	opLt          condOp = 7
	opLe          condOp = 8
	opGt          condOp = 9
	opGe          condOp = 10
	opIn          condOp = 11
	opNotIn       condOp = 12
	opIsNull      condOp = 13
	opNotNull     condOp = 14
	opPrefix      condOp = 15
	opNotPrefix   condOp = 16
	opContains    condOp = 17
	opNotContains condOp = 18
)

// opposites holds, for each op, the one that is true where it is false, false
// where it is true and unknown where it is unknown. With it a negation moves
// down to the leaves and disappears.
var opposites = [...]condOp{
	opNever: opAlways, opAlways: opNever,
	opAnd: opOr, opOr: opAnd,
	opEq: opNe, opNe: opEq,
	opLt: opGe, opGe: opLt,
	opLe: opGt, opGt: opLe,
	opIn: opNotIn, opNotIn: opIn,
	opIsNull: opNotNull, opNotNull: opIsNull,
	opPrefix: opNotPrefix, opNotPrefix: opPrefix,
	opContains: opNotContains, opNotContains: opContains,
}

// mirrored holds for each comparison the one that asks the same with its sides
// exchanged.
var mirrored = [...]condOp{opEq: opEq, opNe: opNe, opLt: opGt, opGt: opLt, opLe: opGe, opGe: opLe}

func (op condOp) comparison() bool { return op >= opEq && op <= opGe }
func (op condOp) ordering() bool   { return op >= opLt && op <= opGe }

// cond is a condition in normal form: a tree of junctions over leaves, without
// a not. It is immutable.
//
// Because nothing negates, and since and is the least and or the greatest of
// its parts in the order false, unknown, true, the whole is true exactly if it
// is so when every unknown leaf counts as false. Matching therefore needs two
// values only.
type cond struct {
	op   condOp
	kids []cond // of junctions: at least two, none of the same op, no constant

	left  term     // of leaves: what is looked at, never a constant
	right term     // of comparisons, prefix and contains
	list  [][]byte // of in: canonical constants, ascending by msgp.Compare, no two equal, at least two
}

// termOp is how a term gets its value. Part of the encoding, as condOp is.
type termOp uint8

const (
	termNone     termOp = 0 // no term
	termField    termOp = 32
	termConstant termOp = 33
	termAdd      termOp = 34
	termSub      termOp = 35
	termMul      termOp = 36
	termDiv      termOp = 37
	termMod      termOp = 38
	termNeg      termOp = 39
)

// term is a value: of a field, a constant, or computed. It is immutable.
type term struct {
	op    termOp
	path  *path  // of a field
	value []byte // of a constant: canonical, never null
	kids  []term // of arithmetic: two, of a negation one; not all constants
}

// class is what two values must have in common to be compared: a kind, with
// integers and floats as one.
type class uint8

const (
	classNull class = iota
	classBool
	classNumber
	classString
	classBytes
	classTime
	classList
	classMap
)

var classNames = [...]string{"null", "a boolean", "a number", "a string", "bytes", "a timestamp", "a list", "a map"}

func (c class) String() string { return classNames[c] }

// ordered reports whether values of the class have an order. Lists and maps are
// equal or not; what lies inside them may be of different classes.
func (c class) ordered() bool { return c >= classBool && c <= classTime }

// classes is indexed by msgp.Kind. An extension is a timestamp: canonical
// values have no other.
var classes = [...]class{
	msgp.Invalid: classNull, msgp.Nil: classNull, msgp.Bool: classBool,
	msgp.Int: classNumber, msgp.Float: classNumber, msgp.String: classString,
	msgp.Bytes: classBytes, msgp.Ext: classTime, msgp.Array: classList, msgp.Map: classMap,
}

func classOf(v []byte) class { return classes[msgp.KindOf(v)] }
