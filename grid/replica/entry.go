package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A log entry carries the commands that waited together:
//
//	format(1) | CRC-32C of the rest (4, big endian) | count | count × (length, bytes)
//
// with counts and lengths as varints. The checksum is made by the proposer and
// verified by every replica before it applies the entry, so it covers the way
// through memory, network and disk as a whole.
const (
	commandsFormat = 1
	entryHeader    = 1 + crc32.Size
)

const (
	// maxEntryCommands and maxEntryBytes bound what one log entry carries.
	// More would not raise the throughput, only the time that a command waits
	// for those beside it.
	maxEntryCommands = 512
	maxEntryBytes    = 256 << 10

	// MaxCommandBytes bounds one command. An entry of a single command of this
	// size crosses in one frame, with room for everything around it.
	MaxCommandBytes = 8 << 20
)

// errEntry is wrapped by every reason for which an entry does not decode.
var errEntry = errors.New("replica: log entry does not verify")

// entrySize returns what a command adds to an entry, at most, in bytes.
func entrySize(command []byte) int { return binary.MaxVarintLen32 + len(command) }

// encodeEntry returns the entry of some commands, in memory of its own: raft
// keeps it.
func encodeEntry(commands []waiting) []byte {
	size := entryHeader + binary.MaxVarintLen32
	for _, c := range commands {
		size += entrySize(c.command)
	}
	b := make([]byte, entryHeader, size)
	b = binary.AppendUvarint(b, uint64(len(commands)))
	for _, c := range commands {
		b = binary.AppendUvarint(b, uint64(len(c.command)))
		b = append(b, c.command...)
	}
	b[0] = commandsFormat
	return sealEntry(b)
}

// sealEntry writes the checksum into an entry and returns it.
func sealEntry(b []byte) []byte {
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[entryHeader:], castagnoli))
	return b
}

// decodeEntry appends an entry's commands to dst. They alias b. On an error dst
// is as before; what is allocated is bounded by len(b).
func decodeEntry(dst [][]byte, b []byte) ([][]byte, error) {
	if len(b) < entryHeader || b[0] != commandsFormat {
		return dst, fmt.Errorf("%w: unknown format", errEntry)
	}
	if got, want := crc32.Checksum(b[entryHeader:], castagnoli), binary.BigEndian.Uint32(b[1:]); got != want {
		return dst, fmt.Errorf("%w: checksum %08x, want %08x", errEntry, got, want)
	}
	commands := dst
	count, b, ok := takeUvarint(b[entryHeader:])
	for ; ok && count > 0; count-- {
		var n uint64
		if n, b, ok = takeUvarint(b); !ok || n > uint64(len(b)) {
			ok = false
			break
		}
		commands = append(commands, b[:n:n])
		b = b[n:]
	}
	if !ok || len(b) > 0 {
		return dst, fmt.Errorf("%w: lengths do not add up", errEntry)
	}
	return commands, nil
}
