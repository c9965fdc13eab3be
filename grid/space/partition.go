package space

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
)

// Partition is all that one partition holds: entries, indexes, changelog, kept
// answers, clock, epoch, watermarks and definitions.
//
// One goroutine at a time may call the methods that change it, and it is this
// goroutine that may also call everything else. Get, View and the Changelog's
// Read may be called by any goroutine at any time.
type Partition struct {
	id      PartitionID
	history History
	// origin is where this history began: the history and Seq that a cold start
	// loaded. A store that stands exactly there may follow on.
	origin Position
	epoch  Epoch
	seq    Seq
	clock  Time
	// wall is the wall clock, in nanoseconds since 1970, when the clock stood at
	// wallAt: an estimate for people, never used to decide anything.
	wall   int64
	wallAt Time
	floor  Seq // changes at or below it may have been trimmed

	spaces   atomic.Pointer[map[ID]*entries] // copied on change; read without a lock
	sinks    []sinkState                     // ascending by id
	claims   *claims
	sessions sessions
	waits    waits
	txns     transactions
	log      *Changelog

	// busy is odd while Apply works, so that View can tell.
	busy atomic.Uint64
	seed maphash.Seed // of key tables and indexes; never leaves the process
	// unbuilt names the spaces with an index that is still being built.
	unbuilt    []ID
	mark       uint64     // of the last command, if it was an OpDigest
	predicates predicates // scratch: decoded before
	prep       prepared   // scratch of Apply
}

// Position is a place in one history.
type Position struct {
	History History
	Seq     Seq
}

type sinkState struct {
	Sink
	watermark Seq
}

// New returns an empty partition that begins a history.
func New(id PartitionID, history History) *Partition {
	p := &Partition{
		id: id, history: history,
		claims: newClaims(), sessions: newSessions(), txns: newTransactions(),
		log: newChangelog(0), seed: maphash.MakeSeed(),
	}
	p.beginWaits()
	p.spaces.Store(&map[ID]*entries{})
	return p
}

// ID returns the partition's number.
func (p *Partition) ID() PartitionID { return p.id }

// Status is a summary of a partition, for decisions of its shell and for people.
type Status struct {
	ID         PartitionID
	History    History
	Origin     Position
	Epoch      Epoch
	Seq        Seq
	Floor      Seq
	Clock      Time
	Wall       time.Time // wall clock at Clock, estimated; zero before the first epoch
	Entries    int
	Bytes      int64 // records and their garbage, without indexes
	LogBytes   int64 // encoded changes kept
	Answers    int   // kept answers
	Repeats    int   // commands answered from them by this replica since it is there
	Claims     int   // entries that are claimed, or wait out the delay of a nack; part of Entries
	Waiting    int   // commands that wait for an entry
	Prepared   int   // transactions prepared and not finished
	Outcomes   int   // outcomes of transactions kept
	Sinks      []Sink
	Watermarks []Watermark
	Building   []IndexProgress // indexes that are still being built
}

// Status returns the summary. Only the goroutine that applies may call it.
func (p *Partition) Status() Status {
	s := Status{
		ID: p.id, History: p.history, Origin: p.origin, Epoch: p.epoch, Seq: p.seq,
		Floor: p.floor, Clock: p.clock, LogBytes: p.log.Bytes(), Answers: p.sessions.answers, Repeats: p.sessions.repeats,
		Claims: p.claims.byNumber.len(), Waiting: p.waits.byPlace.len(),
		Prepared: p.txns.prepared.len(), Outcomes: p.txns.outcomes.len(),
	}
	if p.epoch > 0 {
		s.Wall = time.Unix(0, p.wall).Add(p.clock.Sub(p.wallAt)).UTC()
	}
	for _, sp := range *p.spaces.Load() {
		s.Entries += sp.table.Len()
		s.Bytes += int64(sp.table.Bytes().Total())
	}
	for _, id := range p.unbuilt {
		s.Building = p.space(id).progress(s.Building)
	}
	for _, k := range p.sinks {
		s.Sinks = append(s.Sinks, k.Sink)
		s.Watermarks = append(s.Watermarks, Watermark{Sink: k.ID, Seq: k.watermark})
	}
	return s
}

// Definitions returns the spaces of the partition, ascending by id. Any
// goroutine may call it.
func (p *Partition) Definitions() []Definition {
	spaces := *p.spaces.Load()
	defs := make([]Definition, 0, len(spaces))
	for _, id := range slices.Sorted(maps.Keys(spaces)) {
		defs = append(defs, spaces[id].def.Clone())
	}
	return defs
}

// Changelog returns the partition's changelog. Any goroutine may call it.
func (p *Partition) Changelog() *Changelog { return p.log }

// Clock returns the partition clock as of the last command. Only the goroutine
// that applies may call it.
func (p *Partition) Clock() Time { return p.clock }

// Epoch returns the epoch as of the last command. Only the goroutine that
// applies may call it.
func (p *Partition) Epoch() Epoch { return p.epoch }

// History returns the partition's history. It never changes.
func (p *Partition) History() History { return p.history }

// Get returns the entry under a key of a space, with CodeNotFound if there is
// none, or a claim hides it, and CodeNoSpace if there is no such space. Any goroutine may call it
// beside a running Apply; it takes no lock and copies nothing. The entry may be
// past its deadline if no command stamped past it has been applied: see
// Entry.Deadline.
func (p *Partition) Get(id ID, key []byte) (Entry, Code) {
	sp := (*p.spaces.Load())[id]
	if sp == nil {
		return Entry{}, CodeNoSpace
	}
	r, ok := sp.table.Get(key)
	if !ok || isHidden(r) {
		return Entry{}, CodeNotFound
	}
	return entryOf(r), OK
}

// Count returns the number of entries of a space that no claim hides. Any goroutine may call it.
func (p *Partition) Count(id ID) int {
	if sp := (*p.spaces.Load())[id]; sp != nil {
		return max(0, sp.table.Len()-int(sp.hidden.count.Load()))
	}
	return 0
}

// View runs read and reports whether no command was applied meanwhile, that is,
// whether what read saw is one state of the partition. The caller repeats it, or
// asks the goroutine that applies to run it. Any goroutine may call it; inside
// read only Get, Count and Scan may be used.
func (p *Partition) View(read func()) bool {
	before := p.busy.Load()
	if before%2 == 1 {
		return false
	}
	read()
	return p.busy.Load() == before
}

// Scan calls fn for the entries of a space in their order, from the given order
// number on, until fn returns false. It is for those who mirror a space: claimed
// entries are among them, marked as such. Any goroutine may call it, inside View if
// it needs one state.
func (p *Partition) Scan(id ID, from uint64, fn func(Entry) bool) Code {
	sp := (*p.spaces.Load())[id]
	if sp == nil {
		return CodeNoSpace
	}
	for r := range sp.table.Ascend(from) {
		if !fn(entryOf(r)) {
			break
		}
	}
	return OK
}

// Match appends to dst the first entries of a space that match a template and a
// predicate, both as in Op, in their order, from the given order number on. It stops when dst has limit
// entries, or room bytes of keys and values are appended, the last entry going
// beyond; then more is true and the search goes on behind the last entry. room
// and what dst lacks to limit are positive. allowScan lifts the limit on entries
// examined. Only the goroutine that applies may call it.
func (p *Partition) Match(dst []Entry, id ID, template, predicate []byte, from uint64, limit, room int, allowScan bool) (found []Entry, more bool, code Code) {
	sp := (*p.spaces.Load())[id]
	if sp == nil {
		return dst, false, CodeNoSpace
	}
	f, code := p.filter(template, predicate)
	if code != OK {
		return dst, false, code
	}
	code = sp.match(&f, from, allowScan, func(r arena.Record) bool {
		if !p.gone(sp, r) {
			dst = append(dst, entryOf(r))
			room -= len(r.Key()) + len(r.Value())
		}
		more = len(dst) >= limit || room <= 0
		return !more
	})
	return dst, more, code
}

// NextDeadline returns the earliest end of a lease, a claim or a wait, or Never if
// there is none. Only the goroutine that applies may call it.
func (p *Partition) NextDeadline() Time {
	next := Never
	for _, tree := range []*pairtree.Tree{&p.claims.deadlines, &p.waits.ends} {
		if d, _, ok := tree.Min(); ok && (next == Never || Time(d) < next) {
			next = Time(d)
		}
	}
	for _, sp := range *p.spaces.Load() {
		if d, _, ok := sp.leases.Min(); ok && (next == Never || Time(d) < next) {
			next = Time(d)
		}
	}
	return next
}

// space returns the entries of a space, or nil.
func (p *Partition) space(id ID) *entries { return (*p.spaces.Load())[id] }

// setSpace adds, replaces or (nil) removes a space.
func (p *Partition) setSpace(id ID, sp *entries) {
	m := maps.Clone(*p.spaces.Load())
	if sp == nil {
		delete(m, id)
	} else {
		m[id] = sp
	}
	p.spaces.Store(&m)
	p.noteUnbuilt()
}

func entryOf(r arena.Record) Entry {
	return Entry{
		Key: r.Key(), Value: r.Value(), Kind: kindOf(r),
		Version: Seq(r.Version()), Order: r.Order(), Deadline: Time(r.Deadline()),
		Attempts: int(r.Extra()), Claimed: isHidden(r),
	}
}

func (p *Partition) sink(id SinkID) (int, bool) {
	return slices.BinarySearchFunc(p.sinks, id, func(s sinkState, id SinkID) int { return cmp.Compare(s.ID, id) })
}
