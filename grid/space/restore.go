package space

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"io"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
)

// maxSectionBytes bounds one section of an export: a single entry or change
// beyond the usual cut, and nothing more. A change has two values, the one before
// and the one after.
const maxSectionBytes = 2*sectionBytes + 2*MaxValueBytes + 4*MaxKeyBytes

// Restore reads an export and returns the partition, built aside: on an error
// nothing has been touched. It reads exactly the export and blocks as r does.
func Restore(r io.Reader) (*Partition, error) {
	b := restorer{held: map[heldEntry]bool{}}
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

// heldEntry names an entry that has a claim.
type heldEntry struct {
	space ID
	order uint64
}

type restorer struct {
	p       *Partition
	sp      *entries
	last    byte
	entries uint64
	next    Seq // of the next change
	answers []byte
	claimed Seq // the last claim read
	held    map[heldEntry]bool
	waiting []byte
	txns    []byte
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
	case sectionClaims:
		for len(d.b) > 0 {
			if err := b.claim(&d); err != nil {
				return err
			}
		}
	case sectionWaiting:
		b.waiting = append(b.waiting, content...)
	case sectionTxns:
		b.txns = append(b.txns, content...)
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
	p := &Partition{
		id: PartitionID(d.uvarint()), seed: maphash.MakeSeed(),
		claims: newClaims(), sessions: newSessions(), txns: newTransactions(),
	}
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
	hidden := int64(0)
	for _, sp := range *b.p.spaces.Load() {
		hidden += sp.hidden.count.Load()
	}
	if hidden != int64(b.p.claims.byNumber.len()) {
		return &CorruptError{What: "export: hidden entries without a claim"}
	}
	b.p.log.publish()
	sd := decoder{b: b.answers}
	if len(b.answers) > 0 {
		b.p.sessions = sd.sessions()
	}
	if !sd.done() {
		return &CorruptError{What: "export: kept answers"}
	}
	if err := b.p.restoreWaits(b.waiting); err != nil {
		return err
	}
	return b.p.restoreTxns(b.txns)
}

// claim reads one claim. Each has an entry of its own, which is hidden.
func (b *restorer) claim(d *decoder) error {
	number, c, value := d.claim()
	if d.failed || number <= b.claimed || number > b.p.seq || c.epoch > b.p.epoch || b.p.claims.byNumber.len() >= maxClaims {
		return &CorruptError{What: "export: claim"}
	}
	b.claimed = number
	sp := b.p.space(c.space)
	if sp == nil {
		return &CorruptError{What: "export: a claim in no space"}
	}
	r, ok := sp.table.ByOrder(c.order)
	if !ok || !isHidden(r) || b.held[heldEntry{c.space, c.order}] {
		return &CorruptError{What: "export: a claim on no hidden entry"}
	}
	b.held[heldEntry{c.space, c.order}] = true
	b.p.claims.set(number, c)
	if value != nil {
		b.p.claims.values.set(number, slices.Clone(value))
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
	if sp.groups != nil {
		sp.groups.fresh = sp.groups.fresh[:0] // nothing is new to those who wait
	}
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
	e.Claimed = false // a claim does not outlive its grid
	return sp.load(&e)
}

// Partition returns the loaded partition. The loader must not be used afterwards.
func (l *Loader) Partition() *Partition { return l.p }
