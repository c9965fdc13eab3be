package aggregate

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Append appends the binary form of p, which DecodePartial reads: groups and
// values in order, so that partials of the same entries have the same bytes.
func (p *Partial) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(p.groups)))
	for _, key := range slices.Sorted(maps.Keys(p.groups)) {
		dst = append(dst, key...) // values end by themselves
		g := p.groups[key]
		for i := range g.cells {
			dst = p.spec.Columns[i].appendCell(dst, &g.cells[i])
		}
	}
	return dst
}

func (c *Column) appendCell(dst []byte, x *cell) []byte {
	dst = binary.AppendUvarint(dst, x.n)
	if x.n == 0 {
		return dst
	}
	switch c.Func {
	case FuncSum, FuncAvg:
		dst = x.sum.append(dst)
	case FuncMin, FuncMax:
		dst = append(dst, x.value...)
	case FuncDistinct:
		for _, v := range slices.Sorted(maps.Keys(x.set)) {
			dst = append(dst, v...)
		}
	case FuncTop, FuncBottom:
		dst = binary.AppendUvarint(dst, uint64(len(x.best)))
		for i := range x.best {
			dst = appendBytes(dst, x.best[i].Key)
			dst = appendBytes(dst, x.best[i].Fields)
		}
	}
	return dst
}

// DecodePartial reads what Append wrote of a partial for s, which must not change
// any more. The bytes may come from anywhere. The partial shares nothing with b.
func DecodePartial(s *Spec, b []byte) (*Partial, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	p := &Partial{spec: s, groups: map[string]*group{}}
	d := decoder{b: b}
	least := len(s.GroupBy) + len(s.Columns)
	var last []byte
	for i := range d.count(MaxGroups, least) {
		key := d.values(len(s.GroupBy))
		if d.failed || i > 0 && string(key) <= string(last) {
			return nil, damaged()
		}
		last = key
		g, err := p.group(key)
		if err != nil {
			return nil, err
		}
		for j := range s.Columns {
			if err := p.decodeCell(&d, &s.Columns[j], &g.cells[j]); err != nil {
				return nil, err
			}
		}
	}
	if !d.done() || len(s.GroupBy) == 0 && len(p.groups) != 1 {
		return nil, damaged()
	}
	return p, nil
}

func damaged() error { return invalid("", "a damaged partial answer") }

// maxSeen bounds a count that was sent: the sum of those of every partition there
// can be is still an int64.
const maxSeen = 1 << 46

func (p *Partial) decodeCell(d *decoder, c *Column, x *cell) error {
	n := d.uvarint()
	if d.failed || n > maxSeen {
		return damaged()
	}
	if n == 0 {
		return nil
	}
	switch c.Func {
	case FuncSum, FuncAvg:
		x.n, x.sum = n, d.exact()
		if err := p.hold(8 * cap(x.sum.limbs)); err != nil {
			return err
		}
	case FuncMin, FuncMax:
		x.n = n
		if v := d.value(); !d.failed {
			return p.extreme(c, x, v)
		}
	case FuncDistinct:
		return p.decodeSet(d, c, x, n)
	case FuncTop, FuncBottom:
		x.n = n
		return p.decodeBest(d, c, x)
	default:
		x.n = n
	}
	if d.failed {
		return damaged()
	}
	return nil
}

func (p *Partial) decodeSet(d *decoder, c *Column, x *cell, n uint64) error {
	last := ""
	for range n {
		v := d.value()
		if d.failed || string(v) <= last {
			return damaged()
		}
		last = string(v)
		if err := p.distinct(c, x, v); err != nil {
			return err
		}
	}
	return nil
}

func (p *Partial) decodeBest(d *decoder, c *Column, x *cell) error {
	n := d.count(c.N, 4)
	if n == 0 || uint64(n) > x.n {
		return damaged()
	}
	for i := range n {
		e := Ranked{Key: d.bytes(), Fields: d.bytes()}
		if d.failed || !msgp.IsCanonical(e.Fields) {
			return damaged()
		}
		var ok bool
		if e.by, ok = valueAt(e.Fields, c.Path); !ok || i > 0 && c.compare(x.best[i-1], e) >= 0 {
			return damaged()
		}
		if err := p.rank(c, x, e, true); err != nil {
			return err
		}
	}
	return nil
}

// decoder reads fields from the front of b. After a failure it returns nothing
// but zero values.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) fail() { d.b, d.failed = nil, true }

// done reports whether everything was read, and read well.
func (d *decoder) done() bool { return !d.failed && len(d.b) == 0 }

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.fail()
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a number of elements, at most limit. Each takes so many bytes, the
// least of them.
func (d *decoder) count(limit, least int) int {
	n := d.uvarint()
	if n > uint64(limit) || n > uint64(len(d.b)/least) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	return d.take(int(n))
}

// value reads a canonical value that is not nil.
func (d *decoder) value() []byte {
	v := d.values(1)
	if !d.failed && msgp.KindOf(v) == msgp.Nil {
		d.fail()
	}
	return v
}

// values reads n canonical values.
func (d *decoder) values(n int) []byte {
	rest := d.b
	for range n {
		behind, err := msgp.Skip(rest)
		if err != nil || !msgp.IsCanonical(rest[:len(rest)-len(behind)]) {
			d.fail()
			return nil
		}
		rest = behind
	}
	return d.take(len(d.b) - len(rest))
}

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}
