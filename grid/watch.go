package grid

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
	"maps"
	"slices"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// EventKind says what an event is about.
type EventKind uint8

// The kinds of events.
const (
	// Snapshot: an entry that was there when the watch began.
	Snapshot EventKind = iota
	// SnapshotEnd: every partition's snapshot is complete; changes follow. (Those
	// of partitions that were complete earlier may have come before.)
	SnapshotEnd
	// Written, Updated, Removed: a change, see space.ChangeOp.
	Written
	Updated
	Removed
	// Matched and Unmatched: an update by which the entry came to match the
	// watch's template, or ceased to. Where the value before is not known, in
	// spaces that do not hold fields, every update to a value that does not
	// match is Unmatched, and none is Matched.
	Matched
	Unmatched
	// Claimed and Released: a claim hides the entry; it is there again, with a
	// new version and one more attempt. They come only if asked for; otherwise
	// a release is an update.
	Claimed
	Released
	// Reset: what the watcher has of one partition is void, for Cause; entries
	// of a snapshot follow and replace it.
	Reset
	// Mark: nothing happened; Cursor of the watch has moved on.
	Mark
)

// Event is one thing that a watcher sees. Events of one partition come in the
// order of commit, without gap and without repetition.
type Event struct {
	Kind      EventKind
	Partition space.PartitionID
	Seq       space.Seq // of the change; of a Snapshot the version of the entry
	Cause     string    // Removed: deleted, taken, expired, cleared or exhausted; Reset: why
	Entry     Entry     // Removed, Claimed: only the key
	Before    Entry     // the entry before a change, in spaces of fields; its Value is nil if it is not known or there was none
	Previous  Version   // the version before; 0 if there was none
	More      bool      // further events of the same command follow
}

// WatchOptions say where a watch begins and what it is about.
type WatchOptions struct {
	// From continues at a cursor that an earlier watch of the same space had
	// reached, on any member. Empty begins with a snapshot, unless Now is set.
	From Cursor
	// Now leaves the snapshot out.
	Now bool
	// Template and Where leave out what has nothing to do with entries that match
	// both: a change is reported if the entry matched before or matches after it.
	// Removals in spaces that do not hold fields are all reported: what the entry
	// was is not known any more.
	Template Template
	Where    Condition
	// Claims reports claims and releases too.
	Claims bool
}

// Watcher follows what happens in a space. It is used by one goroutine.
type Watcher struct {
	g        *Grid
	def      space.Definition
	filter   space.Filter
	claims   bool
	req      cluster.FollowRequest
	at       map[space.PartitionID]space.Position
	snapshot map[space.PartitionID]bool // partitions whose snapshot is not complete
	ended    bool                       // SnapshotEnd was sent
	settled  settled
	scratch  []Event
}

// Watch prepares to follow a space. It fails with ErrInvalid if the cursor is
// not one of this space and grid.
func (g *Grid) Watch(ctx context.Context, spaceName string, o WatchOptions) (*Watcher, error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return nil, err
	}
	template, condition, err := filterFor(&def, o.Where.And(o.Template))
	if err != nil {
		return nil, err
	}
	return g.watch(def, template, condition, o)
}

// watch is Watch once the space and the parts of the filter are known.
func (g *Grid) watch(def space.Definition, template, condition []byte, o WatchOptions) (w *Watcher, err error) {
	w = &Watcher{g: g, def: def, claims: o.Claims, at: map[space.PartitionID]space.Position{}, snapshot: map[space.PartitionID]bool{}}
	if w.filter, err = space.NewFilter(template, condition); err != nil {
		return nil, err
	}
	if o.From != "" {
		if w.at, err = o.From.decode(def.ID, g.Partitions()); err != nil {
			return nil, err
		}
	}
	w.req.Space = def.ID
	for p := range g.Partitions() {
		id := space.PartitionID(p)
		from := cluster.FollowFrom{Partition: id, After: w.at[id], Now: o.Now}
		w.snapshot[id] = from.After.History.IsZero() && !o.Now
		w.req.From = append(w.req.From, from)
	}
	w.settled.at = maps.Clone(w.at)
	return w, nil
}

// Cursor returns the position after the last event that Events has yielded. It
// may be kept and continued on any member. It is empty until every partition is
// past its snapshot.
func (w *Watcher) Cursor() Cursor {
	if len(w.at) < len(w.req.From) {
		return ""
	}
	return encodeCursor(w.def.ID, w.at, len(w.req.From))
}

// Events yields events until ctx ends, the loop is left, or the watch fails; the
// last event of a failed watch comes with the error.
func (w *Watcher) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		left := false // the loop
		err := w.g.router.Follow(ctx, w.req, func(it cluster.FollowItem) error {
			left = left || !w.item(it, func(e Event) bool { return yield(e, nil) })
			if left {
				return errLeft
			}
			w.settle(it.Partition)
			return nil
		})
		// A loop that was left may not be given anything more, whatever else
		// ended the stream at the same time.
		if !left {
			yield(Event{}, err)
		}
	}
}

// errLeft ends a stream whose reader has left the loop.
var errLeft = errors.New("grid: the loop over a watch was left")

// item turns one item into events.
func (w *Watcher) item(it cluster.FollowItem, yield func(Event) bool) bool {
	p := it.Partition
	switch it.Kind {
	case cluster.FollowReset:
		delete(w.at, p)
		w.snapshot[p], w.ended = true, false
		return yield(Event{Kind: Reset, Partition: p, Cause: it.Reason})
	case cluster.FollowEntries:
		for _, e := range it.Entries {
			if w.filter.Matches(e.Kind, e.Value) &&
				!yield(Event{Kind: Snapshot, Partition: p, Seq: e.Version, Entry: entryOf(e)}) {
				return false
			}
		}
	case cluster.FollowReady:
		w.at[p] = it.Position
		if w.snapshot[p] {
			delete(w.snapshot, p)
		}
		if !w.ended && w.complete() {
			w.ended = true
			return yield(Event{Kind: SnapshotEnd, Partition: p})
		}
	case cluster.FollowChanges:
		return w.changes(it, yield)
	}
	return true
}

func (w *Watcher) complete() bool {
	for _, open := range w.snapshot {
		if open {
			return false
		}
	}
	return len(w.at) == len(w.req.From)
}

func (w *Watcher) changes(it cluster.FollowItem, yield func(Event) bool) bool {
	events := w.classifyAll(it.Changes)
	reported := false
	for i := range it.Changes {
		c := &it.Changes[i]
		// The cursor moves with what was yielded, but not into a command.
		if c.More == 0 {
			w.at[it.Partition] = space.Position{History: it.Position.History, Seq: c.Seq}
		}
		e := events[i]
		if e.Kind == Mark {
			continue
		}
		e.Partition, e.Seq, e.Previous = it.Partition, c.Seq, c.Previous
		e.Entry = Entry{Key: c.Key, Value: c.Value, Kind: c.Kind, Version: c.Seq, Deadline: c.Deadline}
		if e.Kind == Removed {
			e.Cause = c.Cause.String()
		}
		if c.Before != nil {
			e.Before = Entry{Key: c.Key, Value: c.Before, Kind: Fields, Version: c.Previous}
		}
		reported = true
		if !yield(e) {
			return false
		}
	}
	w.at[it.Partition] = it.Position
	return reported || yield(Event{Kind: Mark, Partition: it.Partition, Seq: it.Position.Seq})
}

// classifyAll returns an event for each change, with nothing but Kind and More:
// a Mark for those that are not reported.
func (w *Watcher) classifyAll(changes []space.Change) []Event {
	events := w.scratch[:0]
	for i := range changes {
		kind, ok := w.classify(&changes[i])
		if !ok {
			kind = Mark
		}
		events = append(events, Event{Kind: kind})
	}
	more := false // the command has an event further on
	for i := range slices.Backward(changes) {
		more = more && changes[i].More > 0
		events[i].More = more
		more = more || events[i].Kind != Mark
	}
	w.scratch = events
	return events
}

// classify says what a change is to this watch; false if nothing.
func (w *Watcher) classify(c *space.Change) (EventKind, bool) {
	known := w.def.Shape == space.ShapeFields // the value before is, if there was one
	before := !known || c.Before != nil && w.filter.Matches(space.KindFields, c.Before)
	after := w.filter.Matches(c.Kind, c.Value)
	switch c.Op {
	case space.Written:
		return Written, after
	case space.Removed:
		return Removed, before
	case space.Claimed:
		return Claimed, w.claims && (c.Before == nil || before)
	case space.Released:
		if w.claims {
			return Released, after || before
		}
	case space.Updated:
	default:
		return 0, false
	}
	switch {
	case before && after:
		return Updated, true
	case after:
		return Matched, true
	}
	return Unmatched, before
}

// Cursor is a watcher's position: opaque text that any member understands.
type Cursor string

const cursorFormat = 1

var cursorTable = crc32.MakeTable(crc32.Castagnoli)

func encodeCursor(id space.ID, at map[space.PartitionID]space.Position, partitions int) Cursor {
	b := []byte{cursorFormat}
	b = binary.AppendUvarint(b, uint64(id))
	b = binary.AppendUvarint(b, uint64(partitions))
	for p := range partitions {
		x := at[space.PartitionID(p)]
		b = append(b, x.History[:]...)
		b = binary.AppendUvarint(b, uint64(x.Seq))
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, cursorTable))
	return Cursor(base64.RawURLEncoding.EncodeToString(b))
}

// decode reads a cursor of a space.
func (c Cursor) decode(id space.ID, partitions int) (map[space.PartitionID]space.Position, error) {
	bad := &space.Error{Code: space.CodeInvalid, Detail: "this is not a cursor of this space", Hint: "begin with a snapshot"}
	b, err := base64.RawURLEncoding.DecodeString(string(c))
	const sum, history = 4, len(space.History{})
	if err != nil || len(b) < 1+sum || b[0] != cursorFormat {
		return nil, bad
	}
	body := b[:len(b)-sum]
	if binary.LittleEndian.Uint32(b[len(body):]) != crc32.Checksum(body, cursorTable) {
		return nil, bad
	}
	body = body[1:]
	next := func() uint64 {
		v, n := binary.Uvarint(body)
		if n <= 0 {
			body = nil
			return 0
		}
		body = body[n:]
		return v
	}
	if next() != uint64(id) || next() != uint64(partitions) {
		return nil, bad
	}
	at := make(map[space.PartitionID]space.Position, partitions)
	for p := range partitions {
		if len(body) < history+1 {
			return nil, bad
		}
		var x space.Position
		copy(x.History[:], body)
		body = body[history:]
		x.Seq = space.Seq(next())
		at[space.PartitionID(p)] = x
	}
	if len(body) != 0 {
		return nil, bad
	}
	return at, nil
}
