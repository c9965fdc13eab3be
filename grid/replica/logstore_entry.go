package replica

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// entryFormat is the version of the log entry encoding, the first byte after the checksum.
const entryFormat = 1

// storedEntry is a log entry together with what the store keeps beside it.
type storedEntry struct {
	raft.Log
	// commit is the commit index that was known when the entry was stored, 0 for none. Keeping it inside the entry makes it
	// durable with the entry or not at all, and makes it disappear with the entry when the tail of the log is cut.
	commit uint64
}

// The body of a log entry is
//
//	format(1) | type(1) | term | commit | appended-at | length of extensions | extensions | data
//
// with unsigned varints, except appended-at: a signed varint of nanoseconds since 1970, 0 for an unknown time. Data is the
// rest. The index is in the key, which the checksum covers.

// entryBodyLen returns the exact length of what putEntryBody writes.
func entryBodyLen(e *storedEntry) int {
	return 2 + uvarintLen(e.Term) + uvarintLen(e.commit) + varintLen(appendedAtNanos(e.AppendedAt)) +
		uvarintLen(uint64(len(e.Extensions))) + len(e.Extensions) + len(e.Data)
}

// putEntryBody writes the body of e to buf, whose length must be entryBodyLen(e).
func putEntryBody(buf []byte, e *storedEntry) {
	buf[0], buf[1] = entryFormat, byte(e.Type)
	n := 2
	n += binary.PutUvarint(buf[n:], e.Term)
	n += binary.PutUvarint(buf[n:], e.commit)
	n += binary.PutVarint(buf[n:], appendedAtNanos(e.AppendedAt))
	n += binary.PutUvarint(buf[n:], uint64(len(e.Extensions)))
	n += copy(buf[n:], e.Extensions)
	copy(buf[n:], e.Data)
}

// putEntryValue writes the stored form of e (checksum and body) under key to buf.
func putEntryValue(buf, key []byte, e *storedEntry) {
	body := buf[checksumLen:]
	putEntryBody(body, e)
	binary.BigEndian.PutUint32(buf, checksum(key, body))
}

var (
	errEntryFormat    = errors.New("unknown entry format")
	errEntryTruncated = errors.New("entry is truncated")
)

// decodeEntryBody is the inverse of putEntryBody, except for the index, which it leaves zero. Extensions and Data are copies.
// Allocation is bounded by len(body).
func decodeEntryBody(body []byte) (storedEntry, error) {
	var e storedEntry
	if len(body) < 2 {
		return e, errEntryTruncated
	}
	if body[0] != entryFormat {
		return e, errEntryFormat
	}
	e.Type = raft.LogType(body[1])
	rest := body[2:]
	var ok [4]bool
	var nanos int64
	var extensions uint64
	e.Term, rest, ok[0] = takeUvarint(rest)
	e.commit, rest, ok[1] = takeUvarint(rest)
	nanos, rest, ok[2] = takeVarint(rest)
	extensions, rest, ok[3] = takeUvarint(rest)
	if ok != [4]bool{true, true, true, true} || extensions > uint64(len(rest)) {
		return storedEntry{}, errEntryTruncated
	}
	if nanos != 0 {
		e.AppendedAt = time.Unix(0, nanos).UTC()
	}
	if len(rest) > 0 {
		owned := append([]byte(nil), rest...)
		if extensions > 0 {
			e.Extensions = owned[:extensions:extensions]
		}
		if extensions < uint64(len(owned)) {
			e.Data = owned[extensions:]
		}
	}
	return e, nil
}

// appendedAtNanos maps an unknown time, and a time that nanoseconds in 64 bits cannot express, to 0. The field only informs.
func appendedAtNanos(t time.Time) int64 {
	if t.Year() < 1678 || t.Year() > 2261 {
		return 0
	}
	return t.UnixNano()
}

func takeUvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

func takeVarint(b []byte) (v int64, rest []byte, ok bool) {
	v, n := binary.Varint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func varintLen(v int64) int {
	return uvarintLen(uint64(v)<<1 ^ uint64(v>>63))
}
