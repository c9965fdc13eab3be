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
		// Up to want, the first byte of a canonical key tells its size. For
		// the value, after is written out: a third off the time of a scan
		// over many entries.
		size := int(forms[m[pos]].size)
		behind := pos + size
		if size == 0 || behind >= len(m) {
			return nil, false
		}
		end := behind + int(forms[m[behind]].size)
		if end == behind {
			end = afterLong(m, behind)
		}
		if end > len(m) {
			return nil, false
		}
		if m[pos] == want {
			if key := m[pos+1 : behind]; string(key) == name {
				return m[behind:end:end], true
			} else if string(key) > name {
				return nil, false
			}
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
		if end > len(m) {
			return nil, false
		}
		if found {
			return m[k.end:end:end], true
		}
		pos = end
	}
	return nil, false
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
			if end > len(m) {
				return
			}
			if k.kind == String && !yield(m[k.body:k.end:k.end], m[k.end:end:end]) {
				return
			}
			pos = end
		}
	}
}
