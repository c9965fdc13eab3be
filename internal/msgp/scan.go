package msgp

import "encoding/binary"

const (
	// MaxDepth is how many containers may enclose each other. A record needs
	// three or four; the limit keeps every walk over a value within a few
	// hundred bytes of stack.
	MaxDepth = 16
	// MaxValue is the size in bytes of the largest value that the grid stores.
	// Records are rewritten whole, so a larger one would stall its partition.
	MaxValue = 1 << 20
)

// head is a value's first bytes, understood. A container's children follow
// at end and are not part of it.
type head struct {
	kind  Kind
	items int // child values: elements of an array, keys and values of a map
	body  int // offset of a string's, binary's or extension's payload
	end   int // offset of the first byte behind header and payload
}

// readHead reads the head of the value at b[pos]. It succeeds only if header
// and payload lie inside b, and if the rest of b has at least one byte for
// each child.
func readHead(b []byte, pos int) (head, error) {
	if pos >= len(b) {
		return head{}, failAt(pos, ErrTruncated)
	}
	f := forms[b[pos]]
	h := head{kind: f.kind, items: int(f.items), body: pos + 1, end: pos + int(f.fixed)}
	if f.kind == Invalid {
		return head{}, failAt(pos, ErrInvalid)
	}
	if h.end > len(b) {
		return head{}, failAt(pos, ErrTruncated)
	}
	if f.count == 0 {
		if h.items > len(b)-h.end {
			return head{}, failAt(pos, ErrTruncated)
		}
		return h, nil
	}
	n := uint64(readCount(b[pos+1:], f.count))
	if f.kind == Map {
		n *= 2
	}
	if n > uint64(len(b)-h.end) {
		return head{}, failAt(pos, ErrTruncated)
	}
	if f.kind.container() {
		h.items = int(n)
		return h, nil
	}
	h.body += int(f.count)
	h.end += int(n)
	return h, nil
}

// readCount reads a big-endian number of 1, 2 or 4 bytes that must be there.
func readCount(b []byte, width uint8) uint32 {
	switch width {
	case 1:
		return uint32(b[0])
	case 2:
		return uint32(binary.BigEndian.Uint16(b))
	}
	return binary.BigEndian.Uint32(b)
}

// scan finds the end of the value at b[pos], which outer containers enclose
// already. It is one loop and a fixed array: hostile nesting costs nothing.
func scan(b []byte, pos, outer int) (end int, err error) {
	var open [MaxDepth]int // per enclosing container, children still to come
	level, left := outer, 1
	for {
		if pos >= len(b) {
			return 0, failAt(pos, ErrTruncated)
		}
		// Most values are scalars of known size; they need no head.
		if size := int(forms[b[pos]].size); size != 0 {
			if size > len(b)-pos {
				return 0, failAt(pos, ErrTruncated)
			}
			pos += size
			left--
		} else {
			h, err := readHead(b, pos)
			if err != nil {
				return 0, err
			}
			left--
			if h.kind.container() {
				if level >= MaxDepth {
					return 0, failAt(pos, ErrTooDeep)
				}
				open[level] = left
				level++
				left = h.items
			}
			pos = h.end
		}
		for left == 0 {
			if level == outer {
				return pos, nil
			}
			level--
			left = open[level]
		}
	}
}

// after returns the offset behind the value at b[pos], where b has been
// checked or does not matter: beyond len(b) if b ends first or is malformed.
func after(b []byte, pos int) int {
	if pos < len(b) {
		if size := forms[b[pos]].size; size != 0 {
			return pos + int(size)
		}
	}
	return afterLong(b, pos)
}

// afterLong is after for values whose first byte does not settle their size.
func afterLong(b []byte, pos int) int {
	end, err := scan(b, pos, 0)
	if err != nil {
		return len(b) + 1
	}
	return end
}

// Check reports whether b is exactly one well-formed value nested at most
// MaxDepth deep. It says nothing about canonical form and does not bound
// len(b): whoever reads b from the network does. It allocates only the error.
func Check(b []byte) error {
	end, err := scan(b, 0, 0)
	if err != nil {
		return err
	}
	if end != len(b) {
		return failAt(end, ErrTrailing)
	}
	return nil
}

// Skip checks the value at the start of b as [Check] does and returns what
// follows it, a sub-slice of b.
func Skip(b []byte) (rest []byte, err error) {
	end, err := scan(b, 0, 0)
	if err != nil {
		return nil, err
	}
	return b[end:], nil
}
