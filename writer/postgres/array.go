package postgres

import "encoding/binary"

// array builds the parameter of one column for many rows: an array of one
// dimension in PostgreSQL's binary form, a header of 20 bytes and then each
// element behind its length. Rows go into it as they come, without an object for
// each value.
type array struct {
	oid  uint32 // of the elements
	buf  []byte
	n    int
	null bool // one of them is
	open int  // where the length of the element under way is
}

const arrayHeader = 20

func (a *array) reset(oid uint32) {
	a.oid, a.n, a.null = oid, 0, false
	if cap(a.buf) < arrayHeader {
		a.buf = make([]byte, arrayHeader, 512)
	}
	a.buf = a.buf[:arrayHeader]
}

// begin starts an element; its bytes are appended to what begin returns, which is
// then given to end.
func (a *array) begin() []byte {
	a.open = len(a.buf)
	return append(a.buf, 0, 0, 0, 0)
}

func (a *array) end(buf []byte) {
	a.buf = buf
	binary.BigEndian.PutUint32(buf[a.open:], uint32(len(buf)-a.open-4))
	a.n++
}

func (a *array) addNull() {
	a.buf = append(a.buf, 0xff, 0xff, 0xff, 0xff) // the length -1
	a.null = true
	a.n++
}

func (a *array) addInt64(v int64) { a.end(binary.BigEndian.AppendUint64(a.begin(), uint64(v))) }
func (a *array) addInt32(v int32) { a.end(binary.BigEndian.AppendUint32(a.begin(), uint32(v))) }
func (a *array) addInt16(v int16) { a.end(binary.BigEndian.AppendUint16(a.begin(), uint16(v))) }
func (a *array) addBytes(b []byte) {
	a.end(append(a.begin(), b...))
}

// bytes returns the parameter, which belongs to a until the next reset.
func (a *array) bytes() []byte {
	h := a.buf[:arrayHeader]
	clear(h)
	if a.n == 0 {
		binary.BigEndian.PutUint32(h[8:], a.oid)
		return h[:12]
	}
	binary.BigEndian.PutUint32(h[0:], 1)
	if a.null {
		h[7] = 1
	}
	binary.BigEndian.PutUint32(h[8:], a.oid)
	binary.BigEndian.PutUint32(h[12:], uint32(a.n))
	binary.BigEndian.PutUint32(h[16:], 1) // the first subscript
	return a.buf
}
