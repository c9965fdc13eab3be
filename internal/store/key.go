package store

import (
	"encoding/binary"

	"github.com/spacegrid/spacegrid/grid/space"
)

// The first byte of a key says what its record is. Numbers in keys are
// big-endian, so that the order of keys is the order of numbers.
const (
	kindData  = 'd' // partition u16, generation u8, space u32, key: Row
	kindMeta  = 'm' // name: a record of the whole store
	kindSpace = 's' // partition u16, generation u8, space u32: Space
	kindMark  = 'w' // partition u16: Mark
	// kindDead holds refused changes: partition u16, seq u64. Such rows outlive
	// generations and are not counted as content.
	kindDead = 'x'
)

const (
	generationPrefix = 1 + 2 + 1            // kind, partition, generation
	spacePrefix      = generationPrefix + 4 // and space
)

func appendGeneration(dst []byte, kind byte, p space.PartitionID, generation uint8) []byte {
	dst = append(dst, kind)
	dst = binary.BigEndian.AppendUint16(dst, uint16(p))
	return append(dst, generation)
}

func appendSpaceKey(dst []byte, kind byte, p space.PartitionID, generation uint8, id space.ID) []byte {
	return binary.BigEndian.AppendUint32(appendGeneration(dst, kind, p, generation), uint32(id))
}

func appendRowKey(dst []byte, p space.PartitionID, generation uint8, id space.ID, key []byte) []byte {
	return append(appendSpaceKey(dst, kindData, p, generation, id), key...)
}

// splitRowKey takes a row's key apart; key aliases b.
func splitRowKey(b []byte) (p space.PartitionID, generation uint8, id space.ID, key []byte, ok bool) {
	if len(b) <= spacePrefix || len(b) > spacePrefix+space.MaxKeyBytes || b[0] != kindData {
		return 0, 0, 0, nil, false
	}
	return space.PartitionID(binary.BigEndian.Uint16(b[1:])), b[3],
		space.ID(binary.BigEndian.Uint32(b[generationPrefix:])), b[spacePrefix:], true
}

func appendMarkKey(dst []byte, p space.PartitionID) []byte {
	return binary.BigEndian.AppendUint16(append(dst, kindMark), uint16(p))
}

func metaKey(name string) []byte { return append([]byte{kindMeta}, name...) }

// after returns the first key that does not begin with prefix. A prefix begins
// with a kind, which is never 0xff, so there always is one.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	panic("store: a prefix without end")
}
