package space

import (
	"bytes"
	"hash/maphash"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// template is a parsed template: the fields that a matching entry must have,
// with canonical values compared byte by byte. An empty template matches every
// entry.
type template struct {
	fields []templateField
}

type templateField struct {
	name  []byte
	value []byte
}

// maxTemplateFields bounds the work per entry examined.
const maxTemplateFields = 64

// parseTemplate reads a canonical msgpack map; nil and empty match everything.
func parseTemplate(b []byte) (template, Code) {
	var t template
	if len(b) == 0 {
		return t, OK
	}
	n, rest, err := msgp.ReadMapHeader(b)
	if err != nil || n > maxTemplateFields {
		return t, CodeInvalid
	}
	for range n {
		var f templateField
		if f.name, rest, err = msgp.ReadString(rest); err != nil {
			return t, CodeInvalid
		}
		after, err := msgp.Skip(rest)
		if err != nil {
			return t, CodeInvalid
		}
		f.value = rest[:len(rest)-len(after)]
		rest = after
		t.fields = append(t.fields, f)
	}
	if len(rest) != 0 {
		return t, CodeInvalid
	}
	return t, OK
}

// matches reports whether a value of the given kind has all the fields.
func (t *template) matches(kind Kind, value []byte) bool {
	if len(t.fields) == 0 {
		return true
	}
	if kind != KindFields {
		return false
	}
	for i := range t.fields {
		v, ok := msgp.Field(value, string(t.fields[i].name))
		if !ok || !bytes.Equal(v, t.fields[i].value) {
			return false
		}
	}
	return true
}

func (t *template) field(name string) ([]byte, bool) {
	for i := range t.fields {
		if string(t.fields[i].name) == name {
			return t.fields[i].value, true
		}
	}
	return nil, false
}

// Matches reports whether a value matches a template, both as in Op. A template
// that cannot be read matches nothing.
func Matches(tmpl []byte, kind Kind, value []byte) bool {
	t, code := parseTemplate(tmpl)
	return code == OK && t.matches(kind, value)
}

// plan returns the index to use for a template: the one with the most fields, all
// of which the template names, and the hash to look for; nil if there is none.
func (sp *entries) plan(t *template) (*fieldIndex, uint64) {
	var best *fieldIndex
	for i := range sp.indexes {
		x := &sp.indexes[i]
		if best != nil && len(x.fields) <= len(best.fields) {
			continue
		}
		covered := true
		for _, f := range x.fields {
			if _, ok := t.field(f); !ok {
				covered = false
				break
			}
		}
		if covered {
			best = x
		}
	}
	if best == nil {
		return nil, 0
	}
	var h maphash.Hash
	h.SetSeed(sp.seed)
	for _, f := range best.fields {
		v, _ := t.field(f)
		hashValue(&h, v)
	}
	return best, h.Sum64()
}

// match calls fn for the records that match, ascending by order from the given
// one, until fn returns false. Without a usable index it examines at most the
// definition's scan limit, unless allowScan, and then refuses: which entries it
// has reported by then depends on nothing but the state.
func (sp *entries) match(t template, from uint64, allowScan bool, fn func(arena.Record) bool) Code {
	if x, h := sp.plan(&t); x != nil {
		x.tree.AscendFrom(h, from, func(hi, order uint64) bool {
			if hi != h {
				return false
			}
			r, ok := sp.table.ByOrder(order)
			if !ok {
				panic("space: index names an entry that is not there")
			}
			return !t.matches(Kind(r.Kind()), r.Value()) || fn(r)
		})
		return OK
	}
	examined, limit := 0, sp.def.scanLimit()
	for r := range sp.visible(from) {
		if t.matches(Kind(r.Kind()), r.Value()) {
			if !fn(r) {
				return OK
			}
			continue
		}
		if examined++; examined > limit && !allowScan {
			return CodeScanRefused
		}
	}
	return OK
}
