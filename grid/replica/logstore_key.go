package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// A key of the log storage is group(4, big endian) | kind(1) | rest, so that everything of one group is one key range
// and the log of a group is one range in index order within it.
const (
	kindFirst  = 'f' // rest empty; value: index of the first log entry
	kindLog    = 'l' // rest: index(8, big endian); value: one log entry
	kindMeta   = 'm' // rest: name; only in memberGroup
	kindStable = 's' // rest: name; a raft stable value other than the vote
	kindVote   = 'v' // rest empty; value: term and candidate of the last vote
)

// memberGroup is the group id under which the member's own records are kept. No raft group may use it.
const memberGroup uint32 = math.MaxUint32

// castagnoli is the CRC-32C table: the polynomial that processors compute in hardware.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumLen is the length of the CRC-32C at the start of every value.
const checksumLen = 4

// ErrCorrupt is matched by every error that reports stored bytes which do not verify: the replica must be rebuilt from the
// other members under a new identity, never patched up from what can still be read.
var ErrCorrupt = errors.New("replica: stored data is corrupt")

// CorruptError says which record of the log storage does not verify. errors.Is(err, ErrCorrupt) holds for it.
type CorruptError struct {
	Group  uint32
	Index  uint64 // of the log entry; 0 for a record that is not a log entry
	Record string // "log entry", "vote", …
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("replica: stored data is corrupt: group %d, %s, index %d: %s; remove this replica and let it be rebuilt from the others",
		e.Group, e.Record, e.Index, e.Reason)
}

// Is makes every CorruptError match ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

func groupPrefix(group uint32, kind byte) []byte {
	key := make([]byte, 0, 5+8)
	key = binary.BigEndian.AppendUint32(key, group)
	return append(key, kind)
}

func logKey(group uint32, index uint64) []byte {
	return binary.BigEndian.AppendUint64(groupPrefix(group, kindLog), index)
}

// logKeyLen is the length of the key of a log entry.
const logKeyLen = 4 + 1 + 8

func namedKey(group uint32, kind byte, name string) []byte {
	return append(groupPrefix(group, kind), name...)
}

// checksum covers the key as well as the value, so that a value which turns up under another key does not verify.
func checksum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

// sealValue returns the stored form of body: its checksum, then body.
func sealValue(key, body []byte) []byte {
	value := make([]byte, 0, checksumLen+len(body))
	value = binary.BigEndian.AppendUint32(value, checksum(key, body))
	return append(value, body...)
}

var errChecksum = errors.New("checksum does not match")

// openValue verifies value and returns its body, which aliases value.
func openValue(key, value []byte) ([]byte, error) {
	if len(value) < checksumLen {
		return nil, errors.New("value is shorter than its checksum")
	}
	body := value[checksumLen:]
	if binary.BigEndian.Uint32(value) != checksum(key, body) {
		return nil, errChecksum
	}
	return body, nil
}

func keyGroup(key []byte) uint32 { return binary.BigEndian.Uint32(key) }

// keyIndex returns the index in the key of a log entry.
func keyIndex(key []byte) uint64 { return binary.BigEndian.Uint64(key[logKeyLen-8:]) }
