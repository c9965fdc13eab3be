package msgp

import "bytes"

// elements returns the head of the array in the place; ok is false if there is
// nothing, or nil. Any other value is refused with ErrType.
func (p *Place) elements() (h head, ok bool, err error) {
	if !p.found || KindOf(p.m[p.at:]) == Nil {
		return head{}, false, nil
	}
	if h, err = readHead(p.m, p.at); err != nil {
		return head{}, false, err
	}
	if h.kind != Array {
		return head{}, false, failAt(p.at, ErrType)
	}
	return h, true, nil
}

// Push appends the map with value, one canonical value, added behind the last
// element of the array in the place, which is made if there is nothing or nil. It
// fails with ErrType if something else is there, otherwise as [Place.Set].
func (p *Place) Push(dst, value []byte) ([]byte, error) {
	if err := CheckIn(value, p.outer+1); err != nil {
		return dst, err
	}
	h, ok, err := p.elements()
	if err != nil {
		return dst, err
	}
	var room [5]byte
	header := AppendArrayHeader(room[:0], h.items+1)
	var before []byte
	if ok {
		before = p.m[h.end:p.end]
	}
	return p.put(dst, header, before, value)
}

// Contains reports whether the place holds an array with an element that
// [Compare] finds equal to value. It fails with ErrType if something that is no
// array is there.
func (p *Place) Contains(value []byte) (bool, error) {
	h, ok, err := p.elements()
	if err != nil || !ok {
		return false, err
	}
	pos := h.end
	for range h.items {
		end := after(p.m, pos)
		if end > p.end {
			return false, failAt(pos, ErrTruncated)
		}
		if same(p.m[pos:end], value) {
			return true, nil
		}
		pos = end
	}
	return false, nil
}

// Remove appends the map without the elements, of the array in the place, that
// [Compare] finds equal to value, and returns how many they were. The array
// stays if it becomes empty; where there is nothing, or nil, nothing changes. It
// fails with ErrType if something that is no array is there; dst is then
// returned as it was.
func (p *Place) Remove(dst, value []byte) (out []byte, removed int, err error) {
	h, ok, err := p.elements()
	switch {
	case err != nil:
		return dst, 0, err
	case !ok:
		return append(dst, p.m...), 0, nil
	}
	// The elements that stay are copied behind room for the longest header they
	// can have, which is the old one, and moved up once their number is known.
	header := len(dst) + p.at
	out = dst
	out = append(out, p.m[:h.end]...)
	body := len(out)
	kept := h.end // start of a run of elements that stay
	pos := h.end
	for range h.items {
		end := after(p.m, pos)
		if end > p.end {
			return dst, 0, failAt(pos, ErrTruncated)
		}
		if same(p.m[pos:end], value) {
			out = append(out, p.m[kept:pos]...)
			kept = end
			removed++
		}
		pos = end
	}
	out = append(out, p.m[kept:p.end]...)
	shorter := AppendArrayHeader(out[:header], h.items-removed)
	n := copy(out[len(shorter):], out[body:])
	out = out[:len(shorter)+n]
	return append(out, p.m[p.end:]...), removed, nil
}

// same reports whether [Compare] finds two canonical values equal. Scalars of
// one kind are equal only if their bytes are, which settles most cases.
func same(a, b []byte) bool {
	if k := KindOf(a); k == KindOf(b) && !k.container() {
		return bytes.Equal(a, b)
	}
	return Compare(a, b) == 0
}
