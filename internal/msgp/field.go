package msgp

import (
	"iter"
	"strings"
)

// Field returns the value of the field of that name in the canonical map m,
// as the bytes that encode it: a sub-slice of m. ok is false if there is no
// such field, or m is no map. It neither decodes nor allocates, and stops at
// the first key beyond name. A map that is not canonical gives a wrong
// answer at worst.
func Field(m []byte, name string) (value []byte, ok bool) {
	h, err := readHead(m, 0)
	if err != nil || h.kind != Map {
		return nil, false
	}
	if len(name) > maxFixString {
		return longField(m, h, name)
	}
	// A short name's first byte holds its length, so it settles most
	// comparisons alone, also those with integer keys.
	want := codeFixString | byte(len(name))
	pos := h.end
	for range h.items / 2 {
		if pos >= len(m) || m[pos] > want {
			return nil, false
		}
		found := false
		if m[pos] == want {
			pos++
			if len(name) > len(m)-pos {
				return nil, false
			}
			key := m[pos : pos+len(name)]
			if found = string(key) == name; !found && string(key) > name {
				return nil, false
			}
			pos += len(name)
		} else if pos = after(m, pos); pos < 0 {
			return nil, false
		}
		end := after(m, pos)
		if end < 0 {
			return nil, false
		}
		if found {
			return m[pos:end:end], true
		}
		pos = end
	}
	return nil, false
}

// longField is Field for names whose header is longer than a byte.
func longField(m []byte, h head, name string) (value []byte, ok bool) {
	pos := h.end
	for range h.items / 2 {
		k, err := readHead(m, pos)
		if err != nil {
			return nil, false
		}
		key := m[k.body:k.end]
		found := k.kind == String && string(key) == name
		if k.kind == String && !found && (len(key) > len(name) || len(key) == len(name) && string(key) > name) {
			return nil, false
		}
		end := after(m, k.end)
		if end < 0 {
			return nil, false
		}
		if found {
			return m[k.end:end:end], true
		}
		pos = end
	}
	return nil, false
}

// after returns the offset behind the value at m[pos], or -1 if m ends
// before it does.
func after(m []byte, pos int) int {
	if pos < len(m) {
		if f := &forms[m[pos]]; f.count == 0 && f.items == 0 && f.kind != Invalid {
			if pos += int(f.fixed); pos <= len(m) {
				return pos
			}
			return -1
		}
	}
	end, err := scan(m, pos, 0)
	if err != nil {
		return -1
	}
	return end
}

// FieldPath follows dots through nested maps: FieldPath(m, "seat.row") is the
// field row of the field seat. A field whose own name has a dot is reached
// by [Field] only. The result is as that of Field.
func FieldPath(m []byte, path string) (value []byte, ok bool) {
	for more := true; more; {
		var name string
		name, path, more = strings.Cut(path, ".")
		if m, ok = Field(m, name); !ok {
			return nil, false
		}
	}
	return m, true
}

// EachField ranges over the named fields of the map m, in its order: name,
// without its header, and encoded value, both sub-slices of m. Integer keys
// are passed over. The walk ends early where m is malformed.
func EachField(m []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		h, err := readHead(m, 0)
		if err != nil || h.kind != Map {
			return
		}
		pos := h.end
		for range h.items / 2 {
			k, err := readHead(m, pos)
			if err != nil || k.kind.container() {
				return
			}
			end := after(m, k.end)
			if end < 0 {
				return
			}
			if k.kind == String && !yield(m[k.body:k.end:k.end], m[k.end:end:end]) {
				return
			}
			pos = end
		}
	}
}
