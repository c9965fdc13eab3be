package msgp

import (
	"encoding/binary"
	"fmt"
	"time"
)

// timestampType is the extension type that MessagePack reserves for time.
const timestampType = 0xff // int8(-1)

// The instants a timestamp may name, in Unix seconds: the years 0 to 9999,
// which are those that RFC 3339 can write.
const (
	minInstant = -62167219200
	maxInstant = 253402300799
)

// instant is a point in time as a timestamp holds it.
type instant struct {
	sec  int64 // since the Unix epoch
	nsec uint32
}

func (i instant) time() time.Time { return time.Unix(i.sec, int64(i.nsec)).UTC() }

// timestampPayload reads an extension's payload: its type, which in all
// eight forms comes first, and its data.
func timestampPayload(p []byte) (instant, error) {
	kind, data := p[0], p[1:]
	if kind != timestampType {
		return instant{}, fmt.Errorf("%w: extension %d", ErrType, int8(kind))
	}
	var i instant
	switch len(data) {
	case 4:
		i.sec = int64(binary.BigEndian.Uint32(data))
	case 8:
		both := binary.BigEndian.Uint64(data)
		i = instant{sec: int64(both & (1<<34 - 1)), nsec: uint32(both >> 34)}
	case 12:
		i = instant{sec: int64(binary.BigEndian.Uint64(data[4:])), nsec: binary.BigEndian.Uint32(data)}
	default:
		return instant{}, fmt.Errorf("%w: timestamp of %d bytes", ErrInvalid, len(data))
	}
	if i.nsec > 999_999_999 {
		return instant{}, fmt.Errorf("%w: timestamp with %d nanoseconds", ErrInvalid, i.nsec)
	}
	if i.sec < minInstant || i.sec > maxInstant {
		return instant{}, fmt.Errorf("%w: timestamp outside the years 0 to 9999", ErrRange)
	}
	return i, nil
}

// AppendTime appends t, to the nanosecond, in the smallest form. Zone and
// monotonic reading are dropped. A t outside the years 0 to 9999 is appended
// as it is, and refused by everything that asks for canonical form.
func AppendTime(dst []byte, t time.Time) []byte {
	return appendInstant(dst, instant{sec: t.Unix(), nsec: uint32(t.Nanosecond())})
}

func appendInstant(dst []byte, i instant) []byte {
	switch {
	case i.nsec == 0 && i.sec>>32 == 0:
		dst = append(dst, codeFixExt4, timestampType)
		return binary.BigEndian.AppendUint32(dst, uint32(i.sec))
	case i.sec>>34 == 0:
		dst = append(dst, codeFixExt8, timestampType)
		return binary.BigEndian.AppendUint64(dst, uint64(i.nsec)<<34|uint64(i.sec))
	}
	dst = append(dst, codeExt8, 12, timestampType)
	dst = binary.BigEndian.AppendUint32(dst, i.nsec)
	return binary.BigEndian.AppendUint64(dst, uint64(i.sec))
}
