package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/spacegrid/spacegrid/grid/space"
)

// A snapshot is
//
//	magic "sgctl" · format byte · length of the body, 4 bytes big endian · body · CRC-32C of all before, 4 bytes big endian
//
// so that it can be followed by something else in the same stream.
const (
	snapshotMagic  = "sgctl"
	snapshotFormat = 1
	snapshotHead   = len(snapshotMagic) + 1 + 4
)

// MaxSnapshotBytes bounds the body of a snapshot. The largest state, with every
// space and every index at its bound, has 80 MiB.
const MaxSnapshotBytes = 128 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot writes the newest state. It may run beside Apply.
func (c *Control) Snapshot(w io.Writer) error { return c.State().Snapshot(w) }

// Snapshot writes s in the form that [Control.Restore] reads.
func (s *State) Snapshot(w io.Writer) error {
	e := &encoder{}
	e.b = append(e.b, snapshotMagic...)
	e.byte(snapshotFormat)
	e.b = append(e.b, 0, 0, 0, 0)
	s.encode(e)
	binary.BigEndian.PutUint32(e.b[snapshotHead-4:], uint32(len(e.b)-snapshotHead))
	e.b = binary.BigEndian.AppendUint32(e.b, crc32.Checksum(e.b, castagnoli))
	if _, err := w.Write(e.b); err != nil {
		return fmt.Errorf("cluster: write snapshot of the control state: %w", err)
	}
	return nil
}

// Restore replaces the state by a snapshot's. On an error, which is an
// [*CorruptError] unless r itself failed, the state is as before. It reads no
// further than the snapshot's end.
func (c *Control) Restore(r io.Reader) error {
	body, err := readSnapshot(r)
	if err != nil {
		return err
	}
	s, err := decodeState(body)
	if err != nil {
		return &CorruptError{What: "snapshot of the control state", Err: err}
	}
	c.state.Store(s)
	return nil
}

func readSnapshot(r io.Reader) ([]byte, error) {
	damaged := func(err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errTruncated
		}
		return &CorruptError{What: "snapshot of the control state", Err: err}
	}
	var head [snapshotHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, damaged(err)
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return nil, damaged(errors.New("it does not begin like one"))
	}
	if f := head[len(snapshotMagic)]; f != snapshotFormat {
		return nil, damaged(fmt.Errorf("format %d is unknown", f))
	}
	n := int64(binary.BigEndian.Uint32(head[snapshotHead-4:]))
	if n > MaxSnapshotBytes {
		return nil, damaged(fmt.Errorf("%d bytes are over the limit of %d", n, MaxSnapshotBytes))
	}
	// The buffer grows with what is really there.
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, n+4); err != nil {
		return nil, damaged(err)
	}
	b := body.Bytes()
	sum := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, b[:n])
	if sum != binary.BigEndian.Uint32(b[n:]) {
		return nil, damaged(errors.New("the checksum differs"))
	}
	return b[:n], nil
}

func (s *State) encode(e *encoder) {
	e.b = append(e.b, s.Cluster[:]...)
	e.uint(s.Version)
	e.uint(s.TableVersion)
	e.uint(uint64(s.Copies))
	putList(e, s.Members, putMember)
	putList(e, s.Spaces, putDefinition)
	e.uint(uint64(s.LastSpace))
	putList(e, s.Sinks, putSink)
	e.uint(uint64(s.LastSink))
	putList(e, s.Groups, putGroup)
	putTable(e, s.Table)
	putAllSettings(e, s.Sinks)
	s.encodeMended(e)
}

// encodeMended writes which replicas were mended.
func (s *State) encodeMended(e *encoder) {
	for i := range s.Groups {
		putList(e, s.Groups[i].Mended, func(e *encoder, m *Mended) {
			putMemberID(e, &m.Member)
			e.uint(m.Times)
		})
	}
}

func (s *State) decodeMended(d *decoder) {
	for i := range s.Groups {
		s.Groups[i].Mended = list(d, MaxMembers, func(d *decoder) Mended {
			return Mended{Member: memberID(d), Times: d.uint(noLimit)}
		})
	}
}

func decodeState(b []byte) (*State, error) {
	d := &decoder{b: b}
	s := &State{}
	d.fixed(s.Cluster[:])
	s.Version = d.uint(noLimit)
	s.TableVersion = d.uint(noLimit)
	s.Copies = int(d.uint(MaxCopies))
	s.Members = list(d, MaxMembers, member)
	s.setSpaces(list(d, space.MaxSpaces, definition))
	s.LastSpace = space.ID(d.uint(uint64(^space.ID(0))))
	s.Sinks = list(d, space.MaxSinks, sink)
	s.LastSink = space.SinkID(d.uint(uint64(^space.SinkID(0))))
	s.Groups = list(d, MaxGroups, group)
	s.Table = table(d)
	allSettings(d, s.Sinks)
	s.decodeMended(d)
	if err := d.done(); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return s, nil
}

// putTable writes the owners of all partitions as runs: how many in a row
// belong to which group.
func putTable(e *encoder, table []GroupID) {
	e.uint(uint64(len(table)))
	for i := 0; i < len(table); {
		run := 1
		for i+run < len(table) && table[i+run] == table[i] {
			run++
		}
		e.uint(uint64(run))
		e.uint(uint64(table[i]))
		i += run
	}
}

func table(d *decoder) []GroupID {
	n := int(d.uint(MaxPartitions))
	var out []GroupID
	for len(out) < n && d.err == nil {
		run := int(d.uint(uint64(n - len(out))))
		g := GroupID(d.uint(MaxGroups))
		if run == 0 {
			d.fail(errors.New("an empty run of partitions"))
		}
		if d.err != nil {
			return nil
		}
		for range run {
			out = append(out, g)
		}
	}
	return out
}

// check says which invariant of State does not hold, or nil.
func (s *State) check() error {
	if !s.Formed() {
		if s.Version != 0 || len(s.Members)+len(s.Spaces)+len(s.Groups)+len(s.Table) > 0 {
			return errors.New("a cluster without identity has a state")
		}
		return nil
	}
	if len(s.Table) == 0 || len(s.Groups) == 0 || s.Copies == 0 || s.TableVersion > s.Version {
		return errors.New("a formed cluster has partitions, groups and copies")
	}
	for i := range s.Members {
		if err := s.Members[i].check(); err != nil {
			return err
		}
		if i > 0 && s.Members[i-1].ID >= s.Members[i].ID {
			return errors.New("members are not in order")
		}
	}
	for i := range s.Spaces {
		if err := s.Spaces[i].Validate(); err != nil {
			return err
		}
		if id := s.Spaces[i].ID; id == 0 || id > s.LastSpace || i > 0 && s.Spaces[i-1].ID >= id {
			return errors.New("spaces are not in order")
		}
	}
	if len(s.named) != len(s.Spaces) {
		return errors.New("two spaces have one name")
	}
	for i := range s.Sinks {
		if id := s.Sinks[i].ID; id == 0 || id > s.LastSink || i > 0 && s.Sinks[i-1].ID >= id {
			return errors.New("sinks are not in order")
		}
	}
	for i := range s.Groups {
		g := &s.Groups[i]
		if !slices.IsSortedFunc(g.Mended, func(a, b Mended) int { return strings.Compare(string(a.Member), string(b.Member)) }) {
			return fmt.Errorf("mended replicas of group %d are not in order", i+1)
		}
		if g.ID != GroupID(i+1) || g.Stage < Unborn || g.Stage > Serving ||
			(g.Durability != Disk && g.Durability != Memory) || s.checkReplicas(g, g.Replicas) != nil {
			return fmt.Errorf("group %d is not in order", i+1)
		}
	}
	for p, g := range s.Table {
		if _, ok := s.Group(g); !ok {
			return fmt.Errorf("partition %d belongs to group %d, which does not exist", p, g)
		}
	}
	return nil
}
