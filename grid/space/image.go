package space

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io"
	"maps"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
)

// exportFormat is the version of the exported form. A reader refuses what it
// does not know.
const exportFormat = 1

// Sections of an export, in the order in which they are written.
const (
	sectionHeader   = 1
	sectionSpace    = 2
	sectionEntries  = 3
	sectionChanges  = 4
	sectionSessions = 5
	sectionClaims   = 6
	sectionWaiting  = 7
	sectionTxns     = 8
	sectionEnd      = 15
)

// sectionBytes is the size at which a section is cut: small enough to be checked
// and applied in one step, large enough for its checksum to cost nothing.
const sectionBytes = 64 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Image is a partition as it was at one moment. Cutting it copies the tables of
// pages, not entries, and the tables of parts of what else there is; exporting it
// runs beside the partition's writer, whose first write to a page or part copies it.
type Image struct {
	seq     Seq
	header  []byte
	spaces  []imageSpace
	changes *Changelog
	floor   Seq
	answers frozenSessions
	claims  frozenClaims
	waiting frozenWaits
	txns    frozenTxns
}

type imageSpace struct {
	def Definition
	// places is the next order number, and how far each index has come.
	places []byte
	table  *arena.Image
}

// Image cuts the partition. Only the goroutine that applies may call it; the
// image itself may be used by any one goroutine afterwards.
func (p *Partition) Image() *Image {
	img := &Image{
		seq: p.seq, floor: p.floor, header: p.appendHeader(nil), answers: p.sessions.freeze(),
		claims: p.claims.freeze(), waiting: p.waits.freeze(), txns: p.txns.freeze(),
	}
	spaces := *p.spaces.Load()
	for _, id := range slices.Sorted(maps.Keys(spaces)) {
		sp := spaces[id]
		img.spaces = append(img.spaces, imageSpace{def: sp.def.Clone(), places: sp.appendPlaces(nil), table: sp.table.Image()})
	}
	img.changes = newChangelog(p.seq)
	img.changes.chunks.Store(p.log.chunks.Load())
	return img
}

func (p *Partition) appendHeader(dst []byte) []byte {
	dst = append(dst, exportFormat)
	dst = binary.AppendUvarint(dst, uint64(p.id))
	dst = append(dst, p.history[:]...)
	dst = append(dst, p.origin.History[:]...)
	for _, v := range []uint64{uint64(p.origin.Seq), uint64(p.epoch), uint64(p.seq), uint64(p.clock), uint64(p.wallAt), uint64(p.floor)} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = binary.AppendVarint(dst, p.wall)
	dst = binary.AppendUvarint(dst, uint64(len(p.sinks)))
	for _, s := range p.sinks {
		dst = appendBytes(dst, SinkCommand(s.Sink).Ops[0].Value)
		dst = binary.AppendUvarint(dst, uint64(s.watermark))
	}
	return dst
}

// Seq returns the last change that the image contains.
func (img *Image) Seq() Seq { return img.seq }

// Definitions returns the spaces of the image, ascending by id.
func (img *Image) Definitions() []Definition {
	defs := make([]Definition, len(img.spaces))
	for i := range img.spaces {
		defs[i] = img.spaces[i].def.Clone()
	}
	return defs
}

// Scan calls fn for every entry of a space in order until fn returns false.
func (img *Image) Scan(id ID, fn func(Entry) bool) {
	for i := range img.spaces {
		if img.spaces[i].def.ID == id {
			for r := range img.spaces[i].table.Ascend() {
				if !fn(entryOf(r)) {
					return
				}
			}
		}
	}
}

// Export writes the image to w in checksummed sections, to be read by Restore.
// It blocks as w does.
func (img *Image) Export(w io.Writer) error {
	s := sectionWriter{w: bufio.NewWriterSize(w, sectionBytes)}
	s.write(sectionHeader, img.header)
	entries := uint64(0)
	for i := range img.spaces {
		sp := &img.spaces[i]
		s.write(sectionSpace, append(appendDefinition(nil, &sp.def), sp.places...))
		for r := range sp.table.Ascend() {
			e := entryOf(r)
			entries++
			s.add(sectionEntries, func(dst []byte) []byte { return AppendEntry(dst, &e) })
			if s.err != nil {
				return s.err
			}
		}
		s.flush(sectionEntries)
	}
	err := img.eachChange(func(c *Change) {
		s.add(sectionChanges, c.Append)
	})
	s.flush(sectionChanges)
	img.answers.each(func(appendTo func([]byte) []byte) { s.stream(sectionSessions, appendTo) })
	s.flush(sectionSessions)
	img.claims.each(func(appendTo func([]byte) []byte) { s.add(sectionClaims, appendTo) })
	s.flush(sectionClaims)
	for chunk := range slices.Chunk(img.waiting.encode(), sectionBytes) {
		s.write(sectionWaiting, chunk)
	}
	for chunk := range slices.Chunk(img.txns.encode(), sectionBytes) {
		s.write(sectionTxns, chunk)
	}
	s.write(sectionEnd, binary.AppendUvarint(nil, entries))
	if s.err == nil {
		s.err = s.w.Flush()
	}
	if err != nil {
		return err
	}
	return s.err
}

// eachChange calls fn for the changes above the floor.
func (img *Image) eachChange(fn func(*Change)) error {
	var buf []Change
	for at := img.floor; at < img.seq; {
		var err error
		if buf, err = img.changes.Read(buf[:0], at, sectionBytes); err != nil {
			return err
		}
		for i := range buf {
			fn(&buf[i])
		}
		at = buf[len(buf)-1].Seq
	}
	return nil
}

// DigestFormat is the version of how digests are computed: those of different
// formats do not compare.
const DigestFormat = 1

// Digest is a fingerprint of a partition at one Seq.
type Digest struct {
	Seq Seq
	// Content covers what readers can see: history, Seq, definitions, entries.
	Content [16]byte
	// State covers all that replicas must agree on, at one log position.
	State [16]byte
}

// Digest computes the fingerprint of the image; it takes the time of reading
// every entry once.
func (img *Image) Digest() Digest {
	content := sha256.New()
	content.Write(img.header[:1]) // the format that the fingerprint is computed over
	var buf []byte
	buf = binary.AppendUvarint(buf, uint64(img.seq))
	content.Write(buf)
	for i := range img.spaces {
		sp := &img.spaces[i]
		content.Write(appendDefinition(buf[:0], &sp.def))
		for r := range sp.table.Ascend() {
			e := entryOf(r)
			buf = AppendEntry(buf[:0], &e)
			content.Write(buf)
		}
	}
	d := Digest{Seq: img.seq}
	sum := content.Sum(nil)
	copy(d.Content[:], sum)
	state := sha256.New()
	state.Write(sum)
	state.Write(img.header)
	for i := range img.spaces {
		state.Write(img.spaces[i].places)
	}
	err := img.eachChange(func(c *Change) {
		buf = c.Append(buf[:0])
		state.Write(buf)
	})
	if err != nil {
		panic("space: an image lacks the changes above its floor: " + err.Error())
	}
	img.answers.each(func(appendTo func([]byte) []byte) {
		buf = appendTo(buf[:0])
		state.Write(buf)
	})
	img.claims.each(func(appendTo func([]byte) []byte) {
		buf = appendTo(buf[:0])
		state.Write(buf)
	})
	state.Write(img.waiting.encode())
	state.Write(img.txns.encode())
	copy(d.State[:], state.Sum(nil))
	return d
}

// sectionWriter writes sections: kind, length, CRC-32C over both and the
// content, content.
type sectionWriter struct {
	w    *bufio.Writer
	open []byte
	err  error
}

const sectionPrefix = 9 // kind u8, length u32, checksum u32, little-endian

func (s *sectionWriter) write(kind byte, content []byte) {
	if s.err != nil {
		return
	}
	var head [sectionPrefix]byte
	head[0] = kind
	binary.LittleEndian.PutUint32(head[1:], uint32(len(content)))
	binary.LittleEndian.PutUint32(head[5:], sectionSum(head[:5], content))
	if _, s.err = s.w.Write(head[:]); s.err == nil {
		_, s.err = s.w.Write(content)
	}
}

func (s *sectionWriter) add(kind byte, appendTo func([]byte) []byte) {
	s.open = appendTo(s.open)
	if len(s.open) >= sectionBytes {
		s.flush(kind)
	}
}

// stream is add for content that may be cut anywhere.
func (s *sectionWriter) stream(kind byte, appendTo func([]byte) []byte) {
	s.open = appendTo(s.open)
	at := 0
	for ; len(s.open)-at >= sectionBytes; at += sectionBytes {
		s.write(kind, s.open[at:at+sectionBytes])
	}
	s.open = s.open[:copy(s.open, s.open[at:])]
}

func (s *sectionWriter) flush(kind byte) {
	if len(s.open) > 0 {
		s.write(kind, s.open)
		s.open = s.open[:0]
	}
}

func sectionSum(head, content []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, content)
}
