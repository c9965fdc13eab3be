package primarybackup

import (
	"encoding/binary"
	"fmt"

	"github.com/spacegrid/spacegrid/internal/wire"
)

const (
	// batchWrites and batchBytes bound a batch, as they bound a log entry of the
	// grid.
	batchWrites = 512
	batchBytes  = 256 << 10
	// keyMax and valueMax are what an entry of the grid may have.
	keyMax   = 1024
	valueMax = 1 << 20
	// frameMax bounds a frame: a batch whose last write is as large as can be.
	frameMax = batchBytes + keyMax + valueMax + 64
)

// Kinds of requests. A write's body is a key and a value, a batch's the number
// of its writes and then their keys and values.
const (
	kindWrite uint8 = 1
	kindBatch uint8 = 2
)

// write is one write, and who waits for it.
type write struct {
	key, value []byte
	w          *wire.Writer
	id         uint64
}

// size is what the write adds to a batch, at most.
func (p *write) size() int { return len(p.key) + len(p.value) + 2*binary.MaxVarintLen32 }

// batch is what goes to the backups at once.
type batch struct {
	writes []write
	bytes  int
}

// take adds a write and reports whether there is room for more.
func (b *batch) take(p write) bool {
	b.writes = append(b.writes, p)
	b.bytes += p.size()
	return len(b.writes) < batchWrites && b.bytes < batchBytes
}

// reset empties the batch. What it referred to can be collected.
func (b *batch) reset() {
	clear(b.writes)
	b.writes, b.bytes = b.writes[:0], 0
}

// append encodes the batch.
func (b *batch) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.writes)))
	for i := range b.writes {
		dst = wire.AppendBytes(dst, b.writes[i].key)
		dst = wire.AppendBytes(dst, b.writes[i].value)
	}
	return dst
}

// eachWrite calls fn for the writes of an encoded batch, whose slices alias it.
func eachWrite(body []byte, fn func(key, value []byte)) error {
	p := wire.NewParser(body)
	n := p.Uvarint()
	for ; n > 0 && p.Err() == nil; n-- {
		key, value := p.Bytes(keyMax), p.Bytes(valueMax)
		if p.Err() == nil {
			fn(key, value)
		}
	}
	if err := p.End(); err != nil {
		return fmt.Errorf("primarybackup: a batch: %w", err)
	}
	return nil
}
