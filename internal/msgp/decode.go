package msgp

import "math"

// Decode returns the Go value of b, exactly one well-formed value of at most
// MaxValue bytes, canonical or not:
//
//	nil, bool, string, []byte   themselves; nothing of b is shared
//	integers                    int64, or uint64 above math.MaxInt64
//	floats                      float64
//	timestamps                  time.Time in UTC
//	arrays                      []any, never nil
//	maps                        map[string]any if every key is a string,
//	                            else map[any]any with int64 and uint64 keys
//
// It fails as [Check] does, with ErrTooLarge, ErrKey, ErrDuplicateKey and,
// for an extension that is no timestamp, with ErrType or ErrRange. Counts are
// believed only after the whole of b has been checked. Go's own overhead is
// the multiple: at worst a map of one pair, 3 bytes of b, takes some 350.
func Decode(b []byte) (any, error) {
	if len(b) > MaxValue {
		return nil, failAt(0, ErrTooLarge)
	}
	if err := Check(b); err != nil {
		return nil, err
	}
	d := decoder{b: b}
	v, err := d.value()
	if err != nil {
		return nil, failAt(d.pos, err)
	}
	return v, nil
}

// decoder walks b, which has been checked: its depth bounds the recursion,
// and every count in it is true.
type decoder struct {
	b   []byte
	pos int
}

func (d *decoder) value() (any, error) {
	h, err := readHead(d.b, d.pos)
	if err != nil {
		return nil, err
	}
	v, payload := d.b[d.pos:h.end], d.b[h.body:h.end]
	if h.kind == Ext {
		i, err := timestampPayload(payload)
		if err != nil {
			return nil, err
		}
		d.pos = h.end
		return i.time(), nil
	}
	d.pos = h.end
	switch h.kind {
	case Bool:
		return v[0] == codeTrue, nil
	case Int:
		if i := integerAt(v); i.negative || i.bits <= math.MaxInt64 {
			return int64(i.bits), nil
		}
		return integerAt(v).bits, nil
	case Float:
		return floatAt(v), nil
	case String:
		return string(payload), nil
	case Bytes:
		return append([]byte{}, payload...), nil
	case Array:
		return d.array(h.items)
	case Map:
		return d.mapping(h.items / 2)
	}
	return nil, nil
}

func (d *decoder) array(n int) (any, error) {
	list := make([]any, n)
	for i := range list {
		var err error
		if list[i], err = d.value(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (d *decoder) mapping(pairs int) (any, error) {
	if !everyKey(d.b, d.pos, pairs, func(h head) bool { return h.kind == String }) {
		return d.mixedMapping(pairs)
	}
	m := make(map[string]any, pairs)
	for range pairs {
		key, rest, err := ReadString(d.b[d.pos:])
		if err != nil {
			return nil, err
		}
		if _, twice := m[string(key)]; twice {
			return nil, ErrDuplicateKey
		}
		d.pos = len(d.b) - len(rest)
		if m[string(key)], err = d.value(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// mixedMapping is mapping for keys that are not all strings.
func (d *decoder) mixedMapping(pairs int) (any, error) {
	m := make(map[any]any, pairs)
	for range pairs {
		if kind := KindOf(d.b[d.pos:]); kind != String && kind != Int {
			return nil, ErrKey
		}
		key, err := d.value()
		if err != nil {
			return nil, err
		}
		if _, twice := m[key]; twice {
			return nil, ErrDuplicateKey
		}
		if m[key], err = d.value(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// everyKey reports whether all keys of the map whose pairs start at b[pos]
// satisfy ok. b has been checked.
func everyKey(b []byte, pos, pairs int, ok func(head) bool) bool {
	for range pairs {
		key, err := readHead(b, pos)
		if err != nil || !ok(key) {
			return false
		}
		pos = after(b, key.end)
	}
	return true
}
