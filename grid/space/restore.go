package space

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"io"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
)

// maxSectionBytes bounds one section of an export: a single entry or change
// beyond the usual cut, and nothing more.
const maxSectionBytes = 2*sectionBytes + MaxValueBytes + 4*MaxKeyBytes

// Restore reads an export and returns the partition, built aside: on an error
// nothing has been touched. It reads exactly the export and blocks as r does.
func Restore(r io.Reader) (*Partition, error) {
	b := restorer{}
	for b.last != sectionEnd {
		kind, content, err := readSection(r)
		if err != nil {
			return nil, err
		}
		if kind < b.last || (b.p == nil) != (kind == sectionHeader) {
			return nil, &CorruptError{What: "export: sections out of order"}
		}
		// Spaces and their entries alternate.
		if kind != sectionEntries {
			b.last = kind
		}
		if err := b.section(kind, content); err != nil {
			return nil, err
		}
	}
	return b.p, nil
}

// readSection reads one section; its content is allocated as it arrives, not as
// it is announced.
func readSection(r io.Reader) (byte, []byte, error) {
	var head [sectionPrefix]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("space: export ends early: %w", err)
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > maxSectionBytes {
		return 0, nil, &CorruptError{What: "export: section length"}
	}
	var content bytes.Buffer
	if _, err := io.CopyN(&content, r, int64(n)); err != nil {
		return 0, nil, fmt.Errorf("space: export ends early: %w", err)
	}
	if binary.LittleEndian.Uint32(head[5:]) != sectionSum(head[:5], content.Bytes()) {
		return 0, nil, &CorruptError{What: "export: checksum"}
	}
	return head[0], content.Bytes(), nil
}

type restorer struct {
	p       *Partition
	sp      *entries
	last    byte
	entries uint64
	next    Seq // of the next change
	answers []byte
}

func (b *restorer) section(kind byte, content []byte) error {
	d := decoder{b: content}
	switch kind {
	case sectionHeader:
		return b.header(&d)
	case sectionSpace:
		def := d.definition()
		if d.failed || def.Validate() != nil || b.p.space(def.ID) != nil {
			return &CorruptError{What: "export: space"}
		}
		b.sp = newEntries(def, b.p.seed)
		if b.sp.readPlaces(&d); !d.done() {
			return &CorruptError{What: "export: space"}
		}
		b.p.setSpace(def.ID, b.sp)
	case sectionEntries:
		for len(d.b) > 0 {
			e := d.entry()
			if d.failed || b.sp == nil || len(e.Key) == 0 || len(e.Key) > MaxKeyBytes || e.Order == 0 || e.Order >= b.sp.nextOrder {
				return &CorruptError{What: "export: entry"}
			}
			if err := b.sp.load(&e); err != nil {
				return err
			}
			b.entries++
		}
	case sectionChanges:
		for len(d.b) > 0 {
			c := d.change()
			if d.failed || c.Seq != b.next || c.Seq > b.p.seq {
				return &CorruptError{What: "export: change"}
			}
			b.p.log.append(&c)
			b.next++
		}
	case sectionSessions:
		b.answers = append(b.answers, content...)
	case sectionEnd:
		return b.end(&d)
	default:
		return &CorruptError{What: fmt.Sprintf("export: unknown section %d", kind)}
	}
	return nil
}

func (b *restorer) header(d *decoder) error {
	if v := d.u8(); v != exportFormat {
		return fmt.Errorf("space: export has format %d, this program reads %d (use a newer program)", v, exportFormat)
	}
	p := &Partition{id: PartitionID(d.uvarint()), seed: maphash.MakeSeed(), sessions: newSessions()}
	p.history = d.history()
	p.origin.History = d.history()
	p.origin.Seq = Seq(d.uvarint())
	p.epoch = Epoch(d.uvarint())
	p.seq = Seq(d.uvarint())
	p.clock = Time(d.uvarint())
	p.wallAt = Time(d.uvarint())
	p.floor = Seq(d.uvarint())
	p.wall = d.varint()
	for range d.count(MaxSinks, 2) {
		sd := decoder{b: d.bytes()}
		s := sinkState{Sink: sd.sink(), watermark: Seq(d.uvarint())}
		if !sd.done() {
			d.fail()
		}
		p.sinks = append(p.sinks, s)
	}
	if !d.done() || p.floor > p.seq || p.clock < 0 {
		return &CorruptError{What: "export: header"}
	}
	p.spaces.Store(&map[ID]*entries{})
	p.log = newChangelog(p.floor)
	b.p, b.next = p, p.floor+1
	return nil
}

func (b *restorer) end(d *decoder) error {
	if n := d.uvarint(); !d.done() || n != b.entries || b.next != b.p.seq+1 {
		return &CorruptError{What: "export: not complete"}
	}
	b.p.log.publish()
	sd := decoder{b: b.answers}
	if len(b.answers) > 0 {
		b.p.sessions = sd.sessions()
	}
	if !sd.done() {
		return &CorruptError{What: "export: kept answers"}
	}
	return nil
}

// load adds an entry that a snapshot or a store holds.
func (sp *entries) load(e *Entry) error {
	if _, ok := sp.table.Get(e.Key); ok {
		return &CorruptError{What: "loaded state: a key occurs twice"}
	}
	if _, ok := sp.table.ByOrder(e.Order); ok {
		return &CorruptError{What: "loaded state: an order number occurs twice"}
	}
	sp.put(e, arena.Record{}, false)
	return nil
}

// Loader builds a partition from the rows of a store: the start of a new history
// whose content is that of an older one at some Seq.
type Loader struct {
	p *Partition
}

// Loaded says what a loader starts from.
type Loaded struct {
	ID      PartitionID
	History History  // the new history
	Origin  Position // what the store holds; the new history goes on above its Seq
	Epoch   Epoch    // of the last leader that the store has seen
	Clock   Time     // partition clock of the last change in the store
}

// NewLoader returns a loader without spaces.
func NewLoader(from Loaded) *Loader {
	p := New(from.ID, from.History)
	p.origin, p.epoch, p.seq, p.floor, p.clock = from.Origin, from.Epoch, from.Origin.Seq, from.Origin.Seq, from.Clock
	p.log = newChangelog(p.seq)
	return &Loader{p: p}
}

// Define adds a space, before its entries.
func (l *Loader) Define(def Definition) error {
	if err := def.Validate(); err != nil {
		return err
	}
	if def.ID == 0 || l.p.space(def.ID) != nil {
		return &CorruptError{What: fmt.Sprintf("loaded state: space %d is defined twice or has no number", def.ID)}
	}
	l.p.setSpace(def.ID, newEntries(def.Clone(), l.p.seed))
	return nil
}

// Add adds an entry of a defined space, in any order. The entry is copied.
func (l *Loader) Add(id ID, e Entry) error {
	sp := l.p.space(id)
	if sp == nil {
		return &CorruptError{What: fmt.Sprintf("loaded state: an entry of space %d, which is not defined", id)}
	}
	if len(e.Key) == 0 || len(e.Key) > MaxKeyBytes || e.Order == 0 || e.Version == 0 || e.Version > l.p.seq {
		return &CorruptError{What: "loaded state: entry"}
	}
	return sp.load(&e)
}

// Partition returns the loaded partition. The loader must not be used afterwards.
func (l *Loader) Partition() *Partition { return l.p }
