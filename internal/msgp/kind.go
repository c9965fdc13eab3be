package msgp

// Kind is the sort of a value, whatever the width of its encoding.
type Kind uint8

// The kinds. Invalid is the kind of no value: empty input, or a first byte
// that MessagePack leaves unassigned.
const (
	Invalid Kind = iota
	Nil
	Bool
	Int // signed or unsigned, any width
	Float
	String
	Bytes
	Array
	Map
	Ext // canonical values have one extension only: the timestamp
)

// String returns the name of the kind in lower case, for messages.
func (k Kind) String() string {
	switch k {
	case Nil:
		return "nil"
	case Bool:
		return "bool"
	case Int:
		return "int"
	case Float:
		return "float"
	case String:
		return "string"
	case Bytes:
		return "bytes"
	case Array:
		return "array"
	case Map:
		return "map"
	case Ext:
		return "ext"
	}
	return "invalid"
}

func (k Kind) container() bool { return k == Array || k == Map }

// KindOf returns the kind of the value that starts at b, judged by its first
// byte alone; Invalid if there is none.
func KindOf(b []byte) Kind {
	if len(b) == 0 {
		return Invalid
	}
	return forms[b[0]].kind
}

// First bytes of the MessagePack specification that stand for one form each.
const (
	codeNil       = 0xc0
	codeFalse     = 0xc2
	codeTrue      = 0xc3
	codeBin8      = 0xc4
	codeBin16     = 0xc5
	codeBin32     = 0xc6
	codeExt8      = 0xc7
	codeExt16     = 0xc8
	codeExt32     = 0xc9
	codeFloat32   = 0xca
	codeFloat64   = 0xcb
	codeUint8     = 0xcc
	codeUint16    = 0xcd
	codeUint32    = 0xce
	codeUint64    = 0xcf
	codeInt8      = 0xd0
	codeInt16     = 0xd1
	codeInt32     = 0xd2
	codeInt64     = 0xd3
	codeFixExt1   = 0xd4
	codeFixExt2   = 0xd5
	codeFixExt4   = 0xd6
	codeFixExt8   = 0xd7
	codeFixExt16  = 0xd8
	codeString8   = 0xd9
	codeString16  = 0xda
	codeString32  = 0xdb
	codeArray16   = 0xdc
	codeArray32   = 0xdd
	codeMap16     = 0xde
	codeMap32     = 0xdf
	codeFixMap    = 0x80 // and the count in the low 4 bits
	codeFixArray  = 0x90 // and the count in the low 4 bits
	codeFixString = 0xa0 // and the length in the low 5 bits
	codeFixNeg    = 0xe0 // and the value plus 32 in the low 5 bits
)

const (
	maxFixInt    = 0x7f
	minFixInt    = -32
	maxFixString = 31
	maxFixCount  = 15
)

// form is what a first byte says about its value.
type form struct {
	kind  Kind
	fixed uint8 // bytes that are always there: first byte, count, extension type, payload of known size
	count uint8 // of these, bytes of the big-endian length or count behind the first byte
	items uint8 // child values that the first byte itself declares; a map declares two for each pair
	size  uint8 // bytes of the whole value if the first byte settles it, else 0; 0 for containers
}

// forms is indexed by first byte and never written. A lookup beats a switch
// by a factor of two in the scanner.
var forms = makeForms()

func makeForms() (t [256]form) {
	for c := range 0x80 {
		t[c] = form{kind: Int, fixed: 1}
	}
	for n := range 16 {
		t[codeFixMap+n] = form{kind: Map, fixed: 1, items: uint8(2 * n)}
		t[codeFixArray+n] = form{kind: Array, fixed: 1, items: uint8(n)}
	}
	for n := range 32 {
		t[codeFixString+n] = form{kind: String, fixed: uint8(1 + n)}
		t[codeFixNeg+n] = form{kind: Int, fixed: 1}
	}
	t[codeNil] = form{kind: Nil, fixed: 1}
	t[codeFalse] = form{kind: Bool, fixed: 1}
	t[codeTrue] = form{kind: Bool, fixed: 1}
	t[codeFloat32] = form{kind: Float, fixed: 5}
	t[codeFloat64] = form{kind: Float, fixed: 9}
	for i := range 4 {
		t[codeUint8+i] = form{kind: Int, fixed: uint8(1 + 1<<i)}
		t[codeInt8+i] = form{kind: Int, fixed: uint8(1 + 1<<i)}
	}
	for i := range 5 {
		t[codeFixExt1+i] = form{kind: Ext, fixed: uint8(2 + 1<<i)}
	}
	for i := range 3 {
		width := uint8(1) << i
		t[codeBin8+i] = form{kind: Bytes, fixed: 1 + width, count: width}
		t[codeString8+i] = form{kind: String, fixed: 1 + width, count: width}
		t[codeExt8+i] = form{kind: Ext, fixed: 2 + width, count: width}
	}
	for i := range 2 {
		width := uint8(2) << i
		t[codeArray16+i] = form{kind: Array, fixed: 1 + width, count: width}
		t[codeMap16+i] = form{kind: Map, fixed: 1 + width, count: width}
	}
	for c := range t {
		if f := &t[c]; f.count == 0 && !f.kind.container() {
			f.size = f.fixed
		}
	}
	return t
}
