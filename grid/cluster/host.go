package cluster

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// host is the state machine of one group that carries partitions: it takes the
// commands of a log entry apart and applies each to its partition. Everything
// but the partitions themselves follows from the log.
//
// The group calls Apply, Image and Restore from one goroutine at a time. The
// partitions may be read by any goroutine, as space.Partition allows.
type host struct {
	group GroupID
	// partitions is replaced as a whole when a snapshot is restored.
	partitions atomic.Pointer[map[space.PartitionID]*carried]
	// applied is called after a log entry with the partitions that it touched.
	// It runs on the applying goroutine and must not block.
	applied func([]space.PartitionID)
	// granted is called with what became of commands that had been waiting, right
	// after the command that decided it. It must not block.
	granted func(space.PartitionID, []space.Grant)
	// restored is called after a snapshot has replaced all partitions.
	restored func()
	// marked is called right after a command that marks its place in the log for
	// digests, with the partition as it is there. nil: nobody wants them.
	marked func(*space.Partition)

	touched []space.PartitionID
}

var _ replica.StateMachine = (*host)(nil)

// carried is one partition of a group.
type carried struct {
	*space.Partition
	facts atomic.Pointer[facts]
}

// facts are what any goroutine may know of a partition beside Apply. They change
// with its epoch.
type facts struct {
	origin space.Position
	epoch  space.Epoch
	// wall is the wall clock, in nanoseconds since 1970, at zero on the
	// partition's clock, as the leader of the epoch estimated it; 0: unknown.
	wall int64
}

func carry(p *space.Partition) *carried {
	c := &carried{Partition: p}
	c.learn()
	return c
}

// learn takes note of a new epoch. Only the goroutine that applies may call it.
func (c *carried) learn() {
	st := c.Status()
	f := &facts{origin: st.Origin, epoch: st.Epoch}
	if !st.Wall.IsZero() {
		f.wall = st.Wall.UnixNano() - int64(st.Clock)
	}
	c.facts.Store(f)
}

func newHost(g GroupID, applied func([]space.PartitionID), restored func(), granted func(space.PartitionID, []space.Grant)) *host {
	h := &host{group: g, applied: applied, restored: restored, granted: granted}
	h.partitions.Store(&map[space.PartitionID]*carried{})
	return h
}

// partition returns a partition that the group carries, or nil.
func (h *host) partition(p space.PartitionID) *carried { return (*h.partitions.Load())[p] }

// all returns the partitions by number. The map must not be changed.
func (h *host) all() map[space.PartitionID]*carried { return *h.partitions.Load() }

// found takes over the partitions that a bootstrap made, before the group runs.
func (h *host) found(ps []*space.Partition) {
	m := make(map[space.PartitionID]*carried, len(ps))
	for _, p := range ps {
		m[p.ID()] = carry(p)
	}
	h.partitions.Store(&m)
}

// appendCommand appends what the group's log holds of one command: the
// partition, the leader's stamp on its clock, the command.
func appendCommand(dst []byte, p space.PartitionID, stamp space.Time, command []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(p))
	dst = binary.AppendVarint(dst, int64(stamp))
	return append(dst, command...)
}

// Apply implements replica.StateMachine. A command for a partition that the group
// does not carry has an empty reply.
func (h *host) Apply(_ uint64, commands [][]byte) [][]byte {
	replies := make([][]byte, len(commands))
	h.touched = h.touched[:0]
	partitions := h.all()
	for i, b := range commands {
		parser := wire.NewParser(b)
		id, stamp := space.PartitionID(parser.Uvarint()), space.Time(parser.Varint())
		if parser.Err() != nil {
			// Every replica sees the same bytes, so every replica skips them.
			continue
		}
		p := partitions[id]
		if p == nil {
			continue
		}
		replies[i] = p.ApplyBytes(stamp, b[len(b)-parser.Len():])
		if grants := p.Granted(); len(grants) > 0 {
			h.granted(id, grants)
		}
		if h.marked != nil && p.Marked() != 0 {
			h.marked(p.Partition)
		}
		if p.Epoch() != p.facts.Load().epoch {
			p.learn()
		}
		if n := len(h.touched); n == 0 || h.touched[n-1] != id {
			h.touched = append(h.touched, id)
		}
	}
	if len(h.touched) > 0 {
		h.applied(h.touched)
	}
	return replies
}

// Format of a group's image: the format byte, then for each partition the marker
// and its export, then the end marker. The exports carry their own checksums.
const (
	hostFormat     = 1
	hostPartition  = 1
	hostEnd        = 0
	maxHostSection = MaxPartitions
)

// hostImage is the images of all partitions of a group.
type hostImage struct {
	images []*space.Image
}

// Image implements replica.StateMachine. Partitions are cut one after the other,
// between two log entries, so they belong to one log position.
func (h *host) Image() (replica.Image, error) {
	var img hostImage
	for _, p := range sortedPartitions(h.all()) {
		img.images = append(img.images, p.Image())
	}
	return &img, nil
}

func (i *hostImage) Export(w io.Writer) error {
	if _, err := w.Write([]byte{hostFormat}); err != nil {
		return err
	}
	for _, img := range i.images {
		if _, err := w.Write([]byte{hostPartition}); err != nil {
			return err
		}
		if err := img.Export(w); err != nil {
			return err
		}
	}
	_, err := w.Write([]byte{hostEnd})
	return err
}

func (i *hostImage) Close() { i.images = nil }

// Restore implements replica.StateMachine.
func (h *host) Restore(r io.Reader) error {
	var b [1]byte
	next := func() (byte, error) {
		_, err := io.ReadFull(r, b[:])
		return b[0], err
	}
	format, err := next()
	if err != nil {
		return fmt.Errorf("cluster: snapshot of group %d: %w", h.group, err)
	}
	if format != hostFormat {
		return fmt.Errorf("cluster: snapshot of group %d has format %d, this program reads %d (use a newer program)", h.group, format, hostFormat)
	}
	m := map[space.PartitionID]*carried{}
	for {
		mark, err := next()
		switch {
		case err != nil:
			return fmt.Errorf("cluster: snapshot of group %d: %w", h.group, err)
		case mark == hostEnd:
			h.partitions.Store(&m)
			h.restored()
			return nil
		case mark != hostPartition || len(m) >= maxHostSection:
			return &CorruptError{What: "snapshot of a group"}
		}
		p, err := space.Restore(r)
		if err != nil {
			return err
		}
		m[p.ID()] = carry(p)
	}
}

func sortedPartitions(m map[space.PartitionID]*carried) []*carried {
	ps := make([]*carried, 0, len(m))
	for _, id := range slices.Sorted(maps.Keys(m)) {
		ps = append(ps, m[id])
	}
	return ps
}
