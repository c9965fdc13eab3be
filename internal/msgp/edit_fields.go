package msgp

import (
	"bytes"
	"cmp"
	"slices"
)

// FieldEdit is what becomes of one field.
type FieldEdit struct {
	Name  string
	Value []byte // one canonical value; nil removes the field

	turn int // its place among the edits
}

// EditFields appends the canonical map m with many fields set or removed, in one
// pass: setting them one by one would copy m for each. It also returns how many
// fields were added or removed. The edits are sorted in place; of several with
// one name the last one counts. It fails as [SetField] does; dst is then
// returned as it was.
func EditFields(dst, m []byte, edits []FieldEdit) (out []byte, changed int, err error) {
	// The order of the names is that of their encoded forms.
	for i := range edits {
		edits[i].turn = i
	}
	slices.SortFunc(edits, func(a, b FieldEdit) int {
		if c := cmp.Compare(len(a.Name), len(b.Name)); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.turn, b.turn))
	})
	f, err := openFields(m)
	if err != nil {
		return dst, 0, err
	}
	b := newBuilder(dst)
	b.dst = append(b.dst, codeFixMap)
	copied, pairs := f.pos, f.left
	if err := f.next(); err != nil {
		return dst, 0, err
	}
	var room [64]byte
	for i := range edits {
		e := &edits[i]
		if i+1 < len(edits) && edits[i+1].Name == e.Name {
			continue
		}
		key := AppendString(room[:0], e.Name)
		for f.key != nil && bytes.Compare(f.key, key) < 0 {
			if err := f.next(); err != nil {
				return dst, 0, err
			}
		}
		at := f.pos - len(f.pair)
		b.dst = append(b.dst, m[copied:at]...)
		copied = at
		present := bytes.Equal(f.key, key)
		if present {
			copied = f.pos
		}
		switch {
		case e.Value != nil:
			if err := CheckIn(e.Value, 1); err != nil {
				return dst, 0, err
			}
			b.dst = append(append(b.dst, key...), e.Value...)
			if !present {
				changed++
				pairs++
			}
		case present:
			changed++
			pairs--
		}
		if b.size() > MaxValue {
			return dst, 0, failAt(f.pos, ErrTooLarge)
		}
	}
	b.dst = append(b.dst, m[copied:]...)
	b.setCount(0, pairs, codeFixMap, codeMap16)
	if b.size() > MaxValue {
		return dst, 0, failAt(0, ErrTooLarge)
	}
	return b.dst, changed, nil
}
