package msgp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// IsCanonical reports whether b is exactly one value in canonical form, of at
// most MaxValue bytes: whether [Canonical] would append it unchanged. It
// does not allocate.
func IsCanonical(b []byte) bool {
	end, ok := scanCanonical(b)
	return ok && end == len(b)
}

// enclosing is a container that scanCanonical is inside of.
type enclosing struct {
	left      int  // children still to come
	isMap     bool // keys are due when left is even
	key, tail int  // where the map's previous key starts and ends; equal before the first
}

// scanCanonical is scan with the rules of canonical form. ok is false as soon
// as one is broken; the slow path of Canonical then finds out whether the
// value can be mended.
func scanCanonical(b []byte) (end int, ok bool) {
	if len(b) > MaxValue {
		return 0, false
	}
	var open [MaxDepth]enclosing
	level, pos := 0, 0
	in := enclosing{left: 1}
	for {
		h, ok := headCanonical(b, pos)
		if !ok {
			return 0, false
		}
		if in.isMap && in.left%2 == 0 {
			if h.kind != String && h.kind != Int {
				return 0, false
			}
			if in.tail > in.key && bytes.Compare(b[in.key:in.tail], b[pos:h.end]) >= 0 {
				return 0, false
			}
			in.key, in.tail = pos, h.end
		}
		pos = h.end
		in.left--
		if h.kind.container() {
			if level == MaxDepth {
				return 0, false
			}
			open[level] = in
			level++
			in = enclosing{left: h.items, isMap: h.kind == Map}
		}
		for in.left == 0 {
			if level == 0 {
				return pos, true
			}
			level--
			in = open[level]
		}
	}
}

// headCanonical is readHead for values that take their smallest form.
func headCanonical(b []byte, pos int) (h head, ok bool) {
	// The shortest forms have no shorter one: they need no closer look.
	if pos < len(b) {
		f := &forms[b[pos]]
		if end := pos + int(f.size); f.size != 0 && end <= len(b) && (f.size == 1 || f.kind == String) {
			return head{kind: f.kind, end: end}, true
		}
	}
	h, err := readHead(b, pos)
	return h, err == nil && canonicalHead(b[pos:h.end], h.kind)
}

// canonicalHead reports whether v, a scalar or the header of a container,
// takes its smallest form.
func canonicalHead(v []byte, kind Kind) bool {
	switch c := v[0]; c {
	case codeUint8:
		return v[1] > maxFixInt
	case codeUint16:
		return binary.BigEndian.Uint16(v[1:]) > math.MaxUint8
	case codeUint32:
		return binary.BigEndian.Uint32(v[1:]) > math.MaxUint16
	case codeUint64:
		return binary.BigEndian.Uint64(v[1:]) > math.MaxUint32
	case codeInt8:
		return int8(v[1]) < minFixInt
	case codeInt16:
		return int16(binary.BigEndian.Uint16(v[1:])) < math.MinInt8
	case codeInt32:
		return int32(binary.BigEndian.Uint32(v[1:])) < math.MinInt16
	case codeInt64:
		return int64(binary.BigEndian.Uint64(v[1:])) < math.MinInt32
	case codeFloat32:
		return false
	case codeFloat64:
		bits := binary.BigEndian.Uint64(v[1:])
		return bits != 1<<63 && !math.IsNaN(math.Float64frombits(bits))
	case codeString8:
		return v[1] > maxFixString
	case codeString16, codeBin16:
		return binary.BigEndian.Uint16(v[1:]) > math.MaxUint8
	case codeArray16, codeMap16:
		return binary.BigEndian.Uint16(v[1:]) > maxFixCount
	case codeString32, codeBin32, codeArray32, codeMap32:
		return binary.BigEndian.Uint32(v[1:]) > math.MaxUint16
	}
	return kind != Ext || canonicalTimestamp(v)
}

// canonicalTimestamp reports whether the extension v is the smallest form of
// a timestamp.
func canonicalTimestamp(v []byte) bool {
	h, err := readHead(v, 0)
	if err != nil {
		return false
	}
	i, err := timestampPayload(v[h.body:h.end])
	if err != nil {
		return false
	}
	var room [15]byte
	return bytes.Equal(v, appendInstant(room[:0], i))
}

// Canonical appends the canonical form of src, which must be exactly one
// value. A src that is canonical already is only checked and copied, without
// any allocation but dst's own growth. Otherwise memory is proportional to
// the result. It fails with the reasons of [Check], and with ErrTooLarge,
// ErrNaN, ErrKey, ErrDuplicateKey, ErrRange or ErrType as the package
// comment lays down.
func Canonical(dst, src []byte) ([]byte, error) {
	if IsCanonical(src) {
		return append(dst, src...), nil
	}
	c := canonicalizer{builder: newBuilder(dst), src: src}
	if err := c.value(0); err != nil {
		return dst, err
	}
	if c.pos != len(src) {
		return dst, failAt(c.pos, ErrTrailing)
	}
	return c.dst, nil
}

// canonicalizer rewrites src from pos on.
type canonicalizer struct {
	builder
	src []byte
	pos int
}

// value rewrites the next value, which depth containers enclose.
func (c *canonicalizer) value(depth int) error {
	start := c.pos
	h, err := readHead(c.src, start)
	if err != nil {
		return err
	}
	if h.kind.container() && depth == MaxDepth {
		return failAt(start, ErrTooDeep)
	}
	if h.end-start > MaxValue {
		return failAt(start, ErrTooLarge)
	}
	c.pos = h.end
	switch h.kind {
	case Array:
		err = c.array(h, depth)
	case Map:
		err = c.pairsIn(h, depth)
	default:
		if err = c.scalar(start, h); err != nil {
			err = failAt(start, err)
		}
	}
	if err == nil && c.size() > MaxValue {
		err = failAt(start, ErrTooLarge)
	}
	return err
}

// scalar rewrites the value at src[start], whose head is h.
func (c *canonicalizer) scalar(start int, h head) error {
	v, payload := c.src[start:h.end], c.src[h.body:h.end]
	switch h.kind {
	case Int:
		c.dst = appendInteger(c.dst, integerAt(v))
	case Float:
		f := floatAt(v)
		if math.IsNaN(f) {
			return ErrNaN
		}
		c.dst = AppendFloat(c.dst, f)
	case String:
		c.dst = AppendString(c.dst, payload)
	case Bytes:
		c.dst = AppendBytes(c.dst, payload)
	case Ext:
		i, err := timestampPayload(payload)
		if err != nil {
			return err
		}
		c.dst = appendInstant(c.dst, i)
	default:
		c.dst = append(c.dst, v...)
	}
	return nil
}

func (c *canonicalizer) array(h head, depth int) error {
	c.dst = AppendArrayHeader(c.dst, h.items)
	for range h.items {
		if err := c.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

func (c *canonicalizer) pairsIn(h head, depth int) error {
	c.dst = AppendMapHeader(c.dst, h.items/2)
	m := c.openMap()
	for range h.items / 2 {
		if kind := KindOf(c.src[c.pos:]); kind != String && kind != Int && kind != Invalid {
			return failAt(c.pos, fmt.Errorf("%w: it is %v", ErrKey, kind))
		}
		c.key()
		if err := c.value(depth + 1); err != nil {
			return err
		}
		c.val()
		if err := c.value(depth + 1); err != nil {
			return err
		}
		c.pair()
	}
	if err := c.closeMap(m); err != nil {
		return failAt(c.pos, err)
	}
	return nil
}
