package grid

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
	"maps"

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
	Cause     string    // Removed: deleted, taken, expired or cleared; Reset: why
	Entry     Entry     // Removed: only the key
	Previous  Version   // Updated, Removed: the version before
	More      bool      // further events of the same command follow
}

// WatchOptions say where a watch begins and what it is about.
type WatchOptions struct {
	// From continues at a cursor that an earlier watch of the same space had
	// reached, on any member. Empty begins with a snapshot, unless Now is set.
	From Cursor
	// Now leaves the snapshot out.
	Now bool
	// Template leaves out entries that do not match it, and Where those of which
	// it is not true. Removals are always reported: what the entry was is not
	// known any more.
	Template Template
	Where    Condition
}

// Watcher follows what happens in a space. It is used by one goroutine.
type Watcher struct {
	g        *Grid
	def      space.Definition
	filter   space.Filter
	req      cluster.FollowRequest
	at       map[space.PartitionID]space.Position
	snapshot map[space.PartitionID]bool // partitions whose snapshot is not complete
	ended    bool                       // SnapshotEnd was sent
	settled  settled
}

// Watch prepares to follow a space. It fails with ErrInvalid if the cursor is
// not one of this space and grid.
func (g *Grid) Watch(ctx context.Context, spaceName string, o WatchOptions) (*Watcher, error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return nil, err
	}
	w := &Watcher{g: g, def: def, at: map[space.PartitionID]space.Position{}, snapshot: map[space.PartitionID]bool{}}
	template, condition, err := filterFor(&def, o.Where.And(o.Template))
	if err != nil {
		return nil, err
	}
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
	for i := range it.Changes {
		c := &it.Changes[i]
		e := Event{Partition: it.Partition, Seq: c.Seq, Previous: c.Previous, More: c.More > 0}
		e.Entry = Entry{Key: c.Key, Value: c.Value, Kind: c.Kind, Version: c.Seq, Deadline: c.Deadline}
		// The cursor moves with what was yielded, but not into a command.
		if c.More == 0 {
			w.at[it.Partition] = space.Position{History: it.Position.History, Seq: c.Seq}
		}
		switch c.Op {
		case space.Written:
			e.Kind = Written
		case space.Updated:
			e.Kind = Updated
		case space.Removed:
			e.Kind, e.Cause = Removed, c.Cause.String()
		default:
			continue
		}
		if e.Kind != Removed && !w.filter.Matches(c.Kind, c.Value) {
			continue
		}
		if !yield(e) {
			return false
		}
	}
	w.at[it.Partition] = it.Position
	return len(it.Changes) > 0 || yield(Event{Kind: Mark, Partition: it.Partition, Seq: it.Position.Seq})
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
