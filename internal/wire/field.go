package wire

import (
	"encoding/binary"
	"errors"
)

var (
	// ErrTruncated is returned when a body ends before its fields do.
	ErrTruncated = errors.New("wire: body too short")
	// ErrFieldTooLong is returned when a field is longer than its reader allows.
	ErrFieldTooLong = errors.New("wire: field above its limit")
	// ErrMalformed is returned when bytes cannot be the field they stand for.
	ErrMalformed = errors.New("wire: malformed field")
	// ErrTrailing is returned when bytes follow the last field.
	ErrTrailing = errors.New("wire: bytes after the last field")
)

// AppendBytes appends b preceded by its length as an unsigned varint.
func AppendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// AppendString appends s preceded by its length as an unsigned varint.
func AppendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// AppendBool appends one byte, 1 for true.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// Parser consumes the fields of one body from front to back. The first error
// sticks: later calls return zero values, and End reports it. So a decoder is
// a list of fields followed by one check.
type Parser struct {
	rest []byte
	err  error
}

// NewParser returns a Parser over body. It keeps body; slices it returns alias
// body.
func NewParser(body []byte) *Parser { return &Parser{rest: body} }

// Len returns how many bytes are left, 0 after an error.
func (p *Parser) Len() int { return len(p.rest) }

// Err returns the first error met so far.
func (p *Parser) Err() error { return p.err }

// Fail makes err the Parser's error unless it has one already.
func (p *Parser) Fail(err error) {
	if p.err == nil {
		p.err, p.rest = err, nil
	}
}

// Byte consumes one byte.
func (p *Parser) Byte() byte {
	b := p.take(1)
	if b == nil {
		return 0
	}
	return b[0]
}

// Bool consumes one byte that must be 0 or 1.
func (p *Parser) Bool() bool {
	v := p.Byte()
	if v > 1 {
		p.Fail(ErrMalformed)
	}
	return v == 1
}

// Uint32 consumes four bytes, big-endian.
func (p *Parser) Uint32() uint32 {
	b := p.take(4)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// Uint64 consumes eight bytes, big-endian.
func (p *Parser) Uint64() uint64 {
	b := p.take(8)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// Uvarint consumes an unsigned varint.
func (p *Parser) Uvarint() uint64 {
	v, n := binary.Uvarint(p.rest)
	p.skipVarint(n)
	if n <= 0 {
		return 0
	}
	return v
}

// Varint consumes a signed (zigzag) varint.
func (p *Parser) Varint() int64 {
	v, n := binary.Varint(p.rest)
	p.skipVarint(n)
	if n <= 0 {
		return 0
	}
	return v
}

// Bytes consumes a length and that many bytes, at most limit. The result
// aliases the body; it is nil when empty.
func (p *Parser) Bytes(limit int) []byte {
	n := p.Uvarint()
	if n > uint64(limit) {
		p.Fail(ErrFieldTooLong)
		return nil
	}
	if n == 0 {
		return nil
	}
	return p.take(int(n))
}

// String consumes a length and a string of at most limit bytes.
func (p *Parser) String(limit int) string { return string(p.Bytes(limit)) }

// End reports the first error, or ErrTrailing when bytes are left over.
func (p *Parser) End() error {
	if p.err == nil && len(p.rest) > 0 {
		p.Fail(ErrTrailing)
	}
	return p.err
}

// take consumes n bytes, or fails and returns nil.
func (p *Parser) take(n int) []byte {
	if p.err != nil {
		return nil
	}
	if n > len(p.rest) {
		p.Fail(ErrTruncated)
		return nil
	}
	b := p.rest[:n:n]
	p.rest = p.rest[n:]
	return b
}

// skipVarint advances past a varint of n bytes; n is what encoding/binary
// returned, so 0 means cut short and negative means more than 64 bits.
func (p *Parser) skipVarint(n int) {
	switch {
	case p.err != nil:
	case n == 0:
		p.Fail(ErrTruncated)
	case n < 0:
		p.Fail(ErrMalformed)
	default:
		p.rest = p.rest[n:]
	}
}
