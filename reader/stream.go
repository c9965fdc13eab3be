package reader

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/store"
)

// streamFormat is the version of the stream; another one is refused.
const streamFormat = 1

// Frames of a stream, in this order; space and entries alternate.
const (
	frameHeader  = 1 // format u8, partition, seq, epoch, clock as varints, history
	frameSpace   = 2 // a definition
	frameEntries = 3 // entries of the space before it, one after the other
	frameEnd     = 4 // number of entries as varint
)

const (
	framePrefix = 9        // kind u8, length u32, CRC-32C over both and the content u32; little-endian
	frameCut    = 64 << 10 // entries are cut into frames of about this size
	// frameMax bounds one frame: an entry beyond the usual cut, and nothing more.
	frameMax = 2*frameCut + space.MaxValueBytes + space.MaxKeyBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged is returned by Import for a stream that is not what Export wrote.
var ErrDamaged = errors.New("reader: damaged stream (send it again)")

// Export writes a stored partition to w, to be read by Import, and returns the
// position that was written. It blocks as w does; the store goes on meanwhile.
func (r *Reader) Export(ctx context.Context, p space.PartitionID, w io.Writer) (at space.Position, err error) {
	err = r.viewPartition(p, func(n *store.Snapshot, m store.Mark) error {
		at = m.Position()
		return export(ctx, n, m, p, w)
	})
	return at, err
}

func export(ctx context.Context, n *store.Snapshot, m store.Mark, p space.PartitionID, w io.Writer) error {
	out := frameWriter{w: bufio.NewWriterSize(w, frameCut)}
	header := []byte{streamFormat}
	for _, v := range []uint64{uint64(p), uint64(m.Seq), uint64(m.Epoch), uint64(m.Clock)} {
		header = binary.AppendUvarint(header, v)
	}
	out.write(frameHeader, append(header, m.History[:]...))
	spaces, err := n.Spaces(p, m.Generation)
	if err != nil {
		return err
	}
	// Spaces and rows are in the same order, so that one walk over both does.
	open := func(upTo space.ID) {
		for len(spaces) > 0 && spaces[0].Definition.ID <= upTo {
			out.flush()
			out.write(frameSpace, space.AppendDefinition(nil, &spaces[0].Definition))
			spaces = spaces[1:]
		}
	}
	err = n.Scan(ctx, p, m.Generation, func(id space.ID, key []byte, row *store.Row) error {
		open(id)
		e := row.Entry(key)
		out.entry(&e)
		return out.err
	})
	if err != nil {
		return err
	}
	open(^space.ID(0))
	out.flush()
	out.write(frameEnd, binary.AppendUvarint(nil, out.entries))
	if out.err != nil {
		return out.err
	}
	return out.w.Flush()
}

// frameWriter writes frames; the first error stays.
type frameWriter struct {
	w       *bufio.Writer
	open    []byte // entries that are not in a frame yet
	entries uint64
	err     error
}

func (f *frameWriter) entry(e *space.Entry) {
	f.open = space.AppendEntry(f.open, e)
	f.entries++
	if len(f.open) >= frameCut {
		f.flush()
	}
}

func (f *frameWriter) flush() {
	if len(f.open) > 0 {
		f.write(frameEntries, f.open)
		f.open = f.open[:0]
	}
}

func (f *frameWriter) write(kind byte, content []byte) {
	if f.err != nil {
		return
	}
	var head [framePrefix]byte
	head[0] = kind
	binary.LittleEndian.PutUint32(head[1:], uint32(len(content)))
	binary.LittleEndian.PutUint32(head[5:], frameSum(head[:5], content))
	if _, f.err = f.w.Write(head[:]); f.err == nil {
		_, f.err = f.w.Write(content)
	}
}

func frameSum(head, content []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, content)
}

// Import reads a stream that Export wrote and makes a partition of it, which
// begins a new history as Load's does, above the stream's epoch and the given
// one. It reads exactly the stream, blocks as r
// does, and allocates what arrives, never what is announced. It fails with
// ErrDamaged, nothing made, if a byte is wrong or missing.
func Import(r io.Reader, history space.History, above space.Epoch) (*space.Partition, error) {
	im := importer{history: history, above: above}
	for im.last != frameEnd {
		kind, content, err := readFrame(r)
		if err != nil {
			return nil, err
		}
		if kind < im.last || (im.loader == nil) != (kind == frameHeader) {
			return nil, fmt.Errorf("%w: frames out of order", ErrDamaged)
		}
		if kind != frameEntries {
			im.last = kind
		}
		if err := im.frame(kind, content); err != nil {
			return nil, err
		}
	}
	return im.loader.Partition(), nil
}

func readFrame(r io.Reader) (kind byte, content []byte, err error) {
	var head [framePrefix]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("%w: it ends early: %w", ErrDamaged, err)
	}
	size := binary.LittleEndian.Uint32(head[1:])
	if size > frameMax {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes", ErrDamaged, size)
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, int64(size)); err != nil {
		return 0, nil, fmt.Errorf("%w: it ends early: %w", ErrDamaged, err)
	}
	if binary.LittleEndian.Uint32(head[5:]) != frameSum(head[:5], b.Bytes()) {
		return 0, nil, fmt.Errorf("%w: checksum", ErrDamaged)
	}
	return head[0], b.Bytes(), nil
}

// importer builds a partition from frames.
type importer struct {
	history space.History
	above   space.Epoch
	loader  *space.Loader
	id      space.ID // of the space whose entries come; 0 before the first
	last    byte
	entries uint64
}

func (im *importer) frame(kind byte, content []byte) error {
	switch kind {
	case frameHeader:
		return im.header(content)
	case frameSpace:
		def, err := space.DecodeDefinition(content)
		if err == nil {
			im.id, err = def.ID, im.loader.Define(def)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	case frameEntries:
		for len(content) > 0 {
			e, rest, err := space.DecodeEntry(content)
			if err == nil {
				err = im.loader.Add(im.id, e)
			}
			if err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			content = rest
			im.entries++
		}
	case frameEnd:
		if n, used := binary.Uvarint(content); used != len(content) || n != im.entries {
			return fmt.Errorf("%w: not complete", ErrDamaged)
		}
	default:
		return fmt.Errorf("%w: unknown frame %d", ErrDamaged, kind)
	}
	return nil
}

func (im *importer) header(b []byte) error {
	if len(b) < 1 || b[0] != streamFormat {
		return fmt.Errorf("%w: its format is not %d (use the program that wrote it)", ErrDamaged, streamFormat)
	}
	b = b[1:]
	var v [4]uint64
	for i := range v {
		x, n := binary.Uvarint(b)
		if n <= 0 {
			return fmt.Errorf("%w: header", ErrDamaged)
		}
		v[i], b = x, b[n:]
	}
	from := space.Loaded{
		ID: space.PartitionID(v[0]), History: im.history, Epoch: max(space.Epoch(v[2]), im.above) + EpochGap, Clock: space.Time(v[3]),
		Origin: space.Position{Seq: space.Seq(v[1])},
	}
	if copy(from.Origin.History[:], b); len(b) != len(from.Origin.History) || v[0] >= space.MaxPartitions || v[2] == math.MaxUint64 || from.Clock < 0 {
		return fmt.Errorf("%w: header", ErrDamaged)
	}
	if im.history.IsZero() || im.history == from.Origin.History {
		return fmt.Errorf("reader: partition %d is loaded into a new history, not %s", from.ID, im.history)
	}
	im.loader = space.NewLoader(from)
	return nil
}
