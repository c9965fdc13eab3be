package msgp

import "bytes"

// fields walks the pairs of a map as encoded keys and values.
type fields struct {
	m    []byte
	pos  int
	left int // pairs
	key  []byte
	pair []byte // key and value
}

// openFields starts before the first pair of m. An empty m has none.
func openFields(m []byte) (fields, error) {
	if len(m) == 0 {
		return fields{}, nil
	}
	pairs, rest, err := ReadMapHeader(m)
	if err != nil {
		return fields{}, err
	}
	return fields{m: m, pos: len(m) - len(rest), left: pairs}, nil
}

// next steps to the next pair; key is nil behind the last.
func (f *fields) next() error {
	f.key, f.pair = nil, nil
	if f.left == 0 {
		return nil
	}
	h, err := readHead(f.m, f.pos)
	if err != nil {
		return err
	}
	if h.kind != String && h.kind != Int {
		return failAt(f.pos, ErrKey)
	}
	end, err := scan(f.m, h.end, 1)
	if err != nil {
		return err
	}
	f.key, f.pair = f.m[f.pos:h.end], f.m[f.pos:end]
	f.pos = end
	f.left--
	return nil
}

// find steps to the first pair whose key is not below key and returns its
// offset, that of the end of m if there is none, and whether it is key's own.
func (f *fields) find(key []byte) (at int, found bool, err error) {
	for {
		at = f.pos
		if err := f.next(); err != nil {
			return 0, false, err
		}
		if f.key == nil {
			return at, false, nil
		}
		if c := bytes.Compare(f.key, key); c >= 0 {
			return at, c == 0, nil
		}
	}
}

// SetField appends the canonical map m with the field name set to value,
// which is one canonical value: replaced if m has it, inserted in its place
// if not. An empty m counts as the empty map. The cost is that of copying m.
// It fails if m is no map, value is malformed or would nest too deep, or the
// result would exceed MaxValue; dst is then returned as it was.
func SetField(dst, m []byte, name string, value []byte) ([]byte, error) {
	end, err := scan(value, 0, 1)
	if err != nil {
		return dst, err
	}
	if end != len(value) {
		return dst, failAt(end, ErrTrailing)
	}
	if len(m)+len(name)+len(value) > 2*MaxValue {
		return dst, failAt(0, ErrTooLarge)
	}
	var room [64]byte
	key := AppendString(room[:0], name)
	f, err := openFields(m)
	if err != nil {
		return dst, err
	}
	body, pairs := f.pos, f.left
	at, found, err := f.find(key)
	if err != nil {
		return dst, err
	}
	resume := at
	if found {
		resume = f.pos
	} else {
		pairs++
	}
	out := AppendMapHeader(dst, pairs)
	out = append(out, m[body:at]...)
	out = append(out, key...)
	out = append(out, value...)
	out = append(out, m[resume:]...)
	if len(out)-len(dst) > MaxValue {
		return dst, failAt(0, ErrTooLarge)
	}
	return out, nil
}

// UnsetField appends the canonical map m without the field name, or m as it
// is if it has no such field. An empty m counts as the empty map. It fails
// if m is no map; dst is then returned as it was.
func UnsetField(dst, m []byte, name string) ([]byte, error) {
	var room [64]byte
	key := AppendString(room[:0], name)
	f, err := openFields(m)
	if err != nil {
		return dst, err
	}
	body, pairs := f.pos, f.left
	at, found, err := f.find(key)
	if err != nil {
		return dst, err
	}
	if !found {
		return append(AppendMapHeader(dst, pairs), m[body:]...), nil
	}
	dst = AppendMapHeader(dst, pairs-1)
	dst = append(dst, m[body:at]...)
	return append(dst, m[f.pos:]...), nil
}

// MergeFields appends the canonical map m overlaid with the canonical map
// patch: a field that both have takes patch's value, whole. Empty arguments
// count as empty maps. It fails if either is no map or the result would
// exceed MaxValue; dst is then returned as it was.
func MergeFields(dst, m, patch []byte) ([]byte, error) {
	b := newBuilder(dst)
	old, err := openFields(m)
	if err != nil {
		return dst, err
	}
	over, err := openFields(patch)
	if err != nil {
		return dst, err
	}
	b.dst = append(b.dst, codeFixMap)
	if err = old.next(); err == nil {
		err = over.next()
	}
	pairs := 0
	for ; err == nil && (old.key != nil || over.key != nil); pairs++ {
		c := order(old.key, over.key)
		if c < 0 {
			b.dst = append(b.dst, old.pair...)
		} else {
			b.dst = append(b.dst, over.pair...)
		}
		if b.size() > MaxValue {
			return dst, failAt(old.pos, ErrTooLarge)
		}
		if c <= 0 {
			err = old.next()
		}
		if c >= 0 && err == nil {
			err = over.next()
		}
	}
	if err != nil {
		return dst, err
	}
	b.setCount(0, pairs, codeFixMap, codeMap16)
	if b.size() > MaxValue {
		return dst, failAt(0, ErrTooLarge)
	}
	return b.dst, nil
}

// order compares two keys, one of which may be missing and then comes last.
func order(x, y []byte) int {
	switch {
	case x == nil:
		return 1
	case y == nil:
		return -1
	}
	return bytes.Compare(x, y)
}
