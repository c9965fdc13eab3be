package space

import (
	"encoding/binary"
	"time"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// decoder reads the forms that the append functions of this package write. The
// first damaged field makes it fail for good; what it returns afterwards is
// zero. Byte slices alias the input; nothing is allocated.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) fail() {
	d.failed = true
	d.b = nil
}

func (d *decoder) u8() uint8 {
	if len(d.b) < 1 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) u64() uint64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
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

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// bytes reads a length and that many bytes, which must be there.
func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if d.failed || n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes()) }

// count reads the number of following elements, each of which takes at least
// min bytes, so that a count can be trusted for an allocation.
func (d *decoder) count(limit, min int) int {
	n := d.uvarint()
	if d.failed || n > uint64(limit) || n > uint64(len(d.b)/min) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) history() (h History) {
	if len(d.b) < len(h) {
		d.fail()
		return h
	}
	copy(h[:], d.b)
	d.b = d.b[len(h):]
	return h
}

// done reports whether everything was read and nothing was damaged.
func (d *decoder) done() bool { return !d.failed && len(d.b) == 0 }

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendDefinition appends the form that decoder.definition reads.
func appendDefinition(dst []byte, d *Definition) []byte {
	dst = binary.AppendUvarint(dst, uint64(d.ID))
	dst = appendString(dst, d.Name)
	dst = append(dst, byte(d.Shape))
	dst = appendString(dst, d.Key)
	dst = binary.AppendVarint(dst, int64(d.Lease))
	dst = binary.AppendVarint(dst, int64(d.ScanLimit))
	dst = binary.AppendUvarint(dst, uint64(len(d.Indexes)))
	for _, x := range d.Indexes {
		dst = appendString(dst, x.Name)
		dst = binary.AppendUvarint(dst, uint64(len(x.Fields)))
		for _, f := range x.Fields {
			dst = appendString(dst, f)
		}
		dst = append(dst, boolByte(x.Ordered))
	}
	dst = appendString(dst, d.Group)
	dst = appendString(dst, d.Routing)
	dst = binary.AppendVarint(dst, int64(d.ClaimLease))
	dst = binary.AppendVarint(dst, int64(d.MaxAttempts))
	dst = binary.AppendUvarint(dst, uint64(d.DeadLetter))
	dst = binary.AppendUvarint(dst, uint64(len(d.Fields)))
	for _, f := range d.Fields {
		dst = append(appendString(dst, f.Path), byte(f.Type))
	}
	return dst
}

func (d *decoder) definition() (v Definition) {
	v.ID = ID(d.uvarint())
	v.Name = d.string()
	v.Shape = Shape(d.u8())
	v.Key = d.string()
	v.Lease = time.Duration(d.varint())
	v.ScanLimit = int(d.varint())
	for range d.count(MaxIndexes, 2) {
		x := Index{Name: d.string()}
		for range d.count(MaxIndexFields, 1) {
			x.Fields = append(x.Fields, d.string())
		}
		x.Ordered = d.u8() == 1
		v.Indexes = append(v.Indexes, x)
	}
	v.Group, v.Routing = d.string(), d.string()
	v.ClaimLease = time.Duration(d.varint())
	v.MaxAttempts = int(d.varint())
	v.DeadLetter = ID(d.uvarint())
	for range d.count(MaxFields, 2) {
		v.Fields = append(v.Fields, Field{Path: d.string(), Type: predicate.Type(d.u8())})
	}
	return v
}

// AppendDefinition appends the binary form of a definition, for those who keep
// definitions outside of a partition.
func AppendDefinition(dst []byte, d *Definition) []byte { return appendDefinition(dst, d) }

// DecodeDefinition reads what AppendDefinition wrote.
func DecodeDefinition(b []byte) (Definition, error) {
	d := decoder{b: b}
	v := d.definition()
	if !d.done() {
		return Definition{}, &CorruptError{What: "definition of a space"}
	}
	return v, nil
}
