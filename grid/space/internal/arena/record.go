package arena

import (
	"encoding/binary"
	"math"
)

const (
	// MaxKeyLen bounds what a record's header can state of its key. The limit of
	// a space is far below it.
	MaxKeyLen = math.MaxUint16
	// MaxValueLen is the same of a value.
	MaxValueLen = math.MaxInt32

	// unit is the alignment of records, in bytes; references count units.
	unit = 8

	// headerLen covers the key length (2 bytes), kind, flags, the value length
	// (4 bytes), version and order. The optional words follow it.
	headerLen = 24

	hasDeadline byte = 1 << 0
	hasExtra    byte = 1 << 1
)

// Meta is what an entry carries besides its key and value.
type Meta struct {
	// Version is the Seq of the change that made the record.
	Version uint64

	// Order is the entry's place among the entries of its table. It counts only
	// when the key is new: an entry keeps the order it was first written with.
	Order uint64

	// Deadline is the end of the entry's lease in partition time; 0 means that
	// it has none. A record without one does not spend the eight bytes.
	Deadline int64

	// Extra is a word for the caller's use, such as a count of attempts. A
	// record whose word is 0 does not spend the eight bytes.
	Extra uint64

	// Kind is a byte for the caller's use, such as the encoding of the value.
	Kind byte
}

// Record is a view of one stored entry. It aliases the table's memory, which is
// never changed where a record lies: a Record and the slices it hands out stay
// valid and constant for as long as the caller holds them, whatever happens to
// the entry. They must not be written to. Holding one keeps its slab (up to
// 256 KiB) in memory, so who keeps bytes for long copies them.
//
// The zero Record stands for no entry; its methods must not be called.
type Record struct {
	buf []byte
}

// Version returns the Seq of the change that made the record.
func (r Record) Version() uint64 { return binary.LittleEndian.Uint64(r.buf[8:]) }

// Order returns the entry's place among the entries of its table.
func (r Record) Order() uint64 { return binary.LittleEndian.Uint64(r.buf[16:]) }

// Kind returns the caller's byte.
func (r Record) Kind() byte { return r.buf[2] }

// Deadline returns the end of the entry's lease in partition time, 0 for none.
func (r Record) Deadline() int64 {
	if r.buf[3]&hasDeadline == 0 {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(r.buf[headerLen:]))
}

// Extra returns the caller's word.
func (r Record) Extra() uint64 {
	if r.buf[3]&hasExtra == 0 {
		return 0
	}
	return binary.LittleEndian.Uint64(r.buf[r.keyStart()-8:])
}

// Meta returns everything but the key and the value.
func (r Record) Meta() Meta {
	return Meta{
		Version:  r.Version(),
		Order:    r.Order(),
		Deadline: r.Deadline(),
		Extra:    r.Extra(),
		Kind:     r.Kind(),
	}
}

// Key returns the key, in the table's memory.
func (r Record) Key() []byte {
	start := r.keyStart()
	end := start + r.keyLen()
	return r.buf[start:end:end]
}

// Value returns the value, in the table's memory.
func (r Record) Value() []byte {
	start := r.keyStart() + r.keyLen()
	end := start + r.valueLen()
	return r.buf[start:end:end]
}

// Size returns the bytes that the record takes in its slab.
func (r Record) Size() int { return len(r.buf) }

func (r Record) keyLen() int   { return int(binary.LittleEndian.Uint16(r.buf)) }
func (r Record) valueLen() int { return int(binary.LittleEndian.Uint32(r.buf[4:])) }
func (r Record) keyStart() int { return headerLen + optionalLen(r.buf[3]) }

// recordAt returns the record that begins at the front of buf.
func recordAt(buf []byte) Record {
	r := Record{buf}
	size := aligned(r.keyStart() + r.keyLen() + r.valueLen())
	return Record{buf[:size:size]}
}

// recordLen returns the bytes that a record takes in a slab.
func recordLen(key []byte, m Meta, value []byte) int {
	return aligned(headerLen + optionalLen(m.flags()) + len(key) + len(value))
}

// encode writes a record over buf, whose length is recordLen of the same
// arguments and whose bytes are still zero.
func encode(buf, key []byte, m Meta, value []byte) {
	flags := m.flags()
	binary.LittleEndian.PutUint16(buf, uint16(len(key)))
	buf[2] = m.Kind
	buf[3] = flags
	binary.LittleEndian.PutUint32(buf[4:], uint32(len(value)))
	binary.LittleEndian.PutUint64(buf[8:], m.Version)
	binary.LittleEndian.PutUint64(buf[16:], m.Order)
	at := headerLen
	if flags&hasDeadline != 0 {
		binary.LittleEndian.PutUint64(buf[at:], uint64(m.Deadline))
		at += 8
	}
	if flags&hasExtra != 0 {
		binary.LittleEndian.PutUint64(buf[at:], m.Extra)
		at += 8
	}
	at += copy(buf[at:], key)
	copy(buf[at:], value)
}

func (m Meta) flags() byte {
	var flags byte
	if m.Deadline != 0 {
		flags |= hasDeadline
	}
	if m.Extra != 0 {
		flags |= hasExtra
	}
	return flags
}

// optionalLen returns the bytes between the header and the key.
func optionalLen(flags byte) int {
	return 8 * int(flags&hasDeadline+flags&hasExtra>>1)
}

func aligned(n int) int { return (n + unit - 1) &^ (unit - 1) }
