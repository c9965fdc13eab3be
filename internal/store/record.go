package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/spacegrid/spacegrid/grid/space"
)

// recordFormat is the first byte of every record. A record of another format is
// refused, never guessed at.
const recordFormat = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CorruptError is returned when a record does not read back as it was written.
type CorruptError struct {
	Record string // which record, in words
	Reason string
}

// Error says what is damaged and what to do.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("store: damaged %s: %s (load this partition from another member's store, or from a backup)", e.Record, e.Reason)
}

// Row is one entry as it rests in the store. The key is the record's key.
type Row struct {
	Kind     space.Kind
	Version  space.Seq
	Order    uint64
	Deadline space.Time
	Attempts uint64 // claims of the entry that ended without an ack
	Value    []byte
}

// append appends the stored form of r: format, kind, version, order, deadline
// and attempts as varints, then the value to the end. The block that holds it
// has a checksum of its own.
func (r *Row) append(dst []byte) []byte {
	dst = append(dst, recordFormat, byte(r.Kind))
	dst = binary.AppendUvarint(dst, uint64(r.Version))
	dst = binary.AppendUvarint(dst, r.Order)
	dst = binary.AppendUvarint(dst, uint64(r.Deadline))
	dst = binary.AppendUvarint(dst, r.Attempts)
	return append(dst, r.Value...)
}

// decodeRow reads a stored row; its value aliases b.
func decodeRow(b []byte) (r Row, ok bool) {
	if len(b) < 2 || b[0] != recordFormat || b[1] > byte(space.KindFields) {
		return Row{}, false
	}
	r.Kind = space.Kind(b[1])
	d := decoder{b: b[2:]}
	r.Version = space.Seq(d.uvarint())
	r.Order = d.uvarint()
	r.Deadline = space.Time(d.uvarint())
	r.Attempts = d.uvarint()
	r.Value = d.b
	if d.failed || r.Deadline < 0 || len(r.Value) > space.MaxValueBytes {
		return Row{}, false
	}
	return r, true
}

// Entry returns the row as an entry under key. Both alias what they were made of.
func (r *Row) Entry(key []byte) space.Entry {
	return space.Entry{
		Key: key, Value: r.Value, Kind: r.Kind, Version: r.Version, Order: r.Order, Deadline: r.Deadline,
		Attempts: int(min(r.Attempts, space.MaxAttempts)),
	}
}

// RowOf returns the row of an entry; the value is shared. That a claim hides the
// entry is not kept: a claim does not outlive the grid.
func RowOf(e *space.Entry) Row {
	return Row{
		Kind: e.Kind, Version: e.Version, Order: e.Order, Deadline: e.Deadline,
		Attempts: uint64(e.Attempts), Value: e.Value,
	}
}

// Space is what the store knows of one space of one partition.
type Space struct {
	Definition space.Definition
	// Entries counts the rows of the space. It is exact as long as every section
	// of changes was written whole, and is used to size tables only.
	Entries uint64
}

func (s *Space) append(dst []byte) []byte {
	dst = append(dst, recordFormat)
	dst = binary.AppendUvarint(dst, s.Entries)
	return space.AppendDefinition(dst, &s.Definition)
}

func decodeSpace(b []byte) (Space, bool) {
	if len(b) < 1 || b[0] != recordFormat {
		return Space{}, false
	}
	d := decoder{b: b[1:]}
	s := Space{Entries: d.uvarint()}
	if d.failed {
		return Space{}, false
	}
	var err error
	s.Definition, err = space.DecodeDefinition(d.b)
	return s, err == nil && s.Definition.ID != 0 && s.Definition.Validate() == nil
}

// Mark is how far a partition has come in this store.
type Mark struct {
	// History and Seq name the state that the rows of Generation are: the fold of
	// all changes of History up to Seq. A zero History holds nothing yet.
	History space.History
	Seq     space.Seq
	// Epoch is the highest that has fenced. Writes of a lower one are refused.
	Epoch space.Epoch
	Clock space.Time // partition clock of change Seq
	// Generation of the rows that count.
	Generation uint8
	// Build is the replacement under way, if Build.History is not zero.
	Build Build
}

// Build is a partition that is written aside, to take the place of what is there.
type Build struct {
	History    space.History
	Epoch      space.Epoch
	Generation uint8
}

// Position returns the history and seq of m.
func (m *Mark) Position() space.Position { return space.Position{History: m.History, Seq: m.Seq} }

const markBytes = 1 + 16 + 8 + 8 + 8 + 1 + 16 + 8 + 1

// append appends the stored form of m: format, then the fields at fixed places,
// little-endian.
func (m *Mark) append(dst []byte) []byte {
	dst = append(dst, recordFormat)
	dst = append(dst, m.History[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Seq))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Epoch))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Clock))
	dst = append(dst, m.Generation)
	dst = append(dst, m.Build.History[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Build.Epoch))
	return append(dst, m.Build.Generation)
}

func decodeMark(b []byte) (m Mark, ok bool) {
	if len(b) != markBytes || b[0] != recordFormat {
		return Mark{}, false
	}
	b = b[1:]
	b = b[copy(m.History[:], b):]
	m.Seq = space.Seq(binary.LittleEndian.Uint64(b))
	m.Epoch = space.Epoch(binary.LittleEndian.Uint64(b[8:]))
	m.Clock = space.Time(binary.LittleEndian.Uint64(b[16:]))
	m.Generation = b[24]
	b = b[25:]
	b = b[copy(m.Build.History[:], b):]
	m.Build.Epoch = space.Epoch(binary.LittleEndian.Uint64(b))
	m.Build.Generation = b[8]
	return m, m.Clock >= 0
}

// seal ends a record with CRC-32C over its key and itself, so that a record
// under a wrong key is noticed too.
func seal(record, key []byte) []byte {
	return binary.LittleEndian.AppendUint32(record, sum(key, record))
}

// unseal returns the body of a sealed record; it aliases b.
func unseal(b, key []byte) ([]byte, bool) {
	n := len(b) - 4
	if n < 0 || binary.LittleEndian.Uint32(b[n:]) != sum(key, b[:n]) {
		return nil, false
	}
	return b[:n:n], true
}

func sum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

// decoder reads varints; the first damaged one makes it fail for good.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.failed, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}
