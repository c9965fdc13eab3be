package space

import (
	"bytes"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// filter is a parsed template and predicate, both of which must hold. The zero
// filter matches every entry.
//
// The template names fields that a matching entry must have, with canonical
// values compared byte by byte; the predicate is a condition on any fields.
// Entries of opaque bytes have no fields: they match the zero filter only.
type filter struct {
	template  []byte // a canonical map, or nil
	fields    []templateField
	predicate *predicate.Predicate // nil is true
}

type templateField struct {
	name  []byte
	value []byte
}

// maxTemplateFields bounds the work per entry examined.
const maxTemplateFields = 64

// newFilter reads a template, a canonical msgpack map, and the binary form of a
// predicate. What is nil or empty asks for nothing. The filter aliases both.
func newFilter(template, pred []byte) (f filter, code Code) {
	if len(template) > 0 {
		if f.fields, code = parseTemplate(template); code != OK {
			return filter{}, code
		}
		if len(f.fields) > 0 {
			f.template = template
		}
	}
	if len(pred) > 0 {
		p, err := predicate.Decode(pred)
		if err != nil {
			return filter{}, CodeInvalid
		}
		f.predicate = p
	}
	return f, OK
}

// predicates keeps what was decoded last: decoding costs as much as finding an
// entry by an index, and consumers ask the same again and again. The zero value
// is ready for use.
type predicates struct {
	decoded map[string]*predicate.Predicate
	bytes   int
}

const (
	maxPredicates     = 256      // kept at once; then all are forgotten
	maxPredicateBytes = 64 << 10 // of their encodings together
)

func (c *predicates) decode(b []byte) (*predicate.Predicate, Code) {
	if p, ok := c.decoded[string(b)]; ok {
		return p, OK
	}
	p, err := predicate.Decode(b)
	if err != nil {
		return nil, CodeInvalid
	}
	if c.decoded == nil || len(c.decoded) >= maxPredicates || c.bytes+len(b) > maxPredicateBytes {
		c.decoded, c.bytes = make(map[string]*predicate.Predicate), 0
	}
	if len(b) <= maxPredicateBytes/maxPredicates*8 {
		c.decoded[string(b)] = p
		c.bytes += len(b)
	}
	return p, OK
}

// filter is newFilter with the predicates that the partition has decoded before.
// Only the goroutine that applies may call it.
func (p *Partition) filter(template, pred []byte) (filter, Code) {
	f, code := newFilter(template, nil)
	if code == OK && len(pred) > 0 {
		f.predicate, code = p.predicates.decode(pred)
	}
	return f, code
}

func parseTemplate(b []byte) ([]templateField, Code) {
	n, rest, err := msgp.ReadMapHeader(b)
	if err != nil || n > maxTemplateFields {
		return nil, CodeInvalid
	}
	fields := make([]templateField, 0, n)
	for range n {
		name, value, err := msgp.ReadString(rest)
		if err != nil {
			return nil, CodeInvalid
		}
		if rest, err = msgp.Skip(value); err != nil {
			return nil, CodeInvalid
		}
		fields = append(fields, templateField{name: name, value: value[:len(value)-len(rest)]})
	}
	if len(rest) != 0 {
		return nil, CodeInvalid
	}
	return fields, OK
}

// all reports whether the filter matches every entry.
func (f *filter) all() bool { return len(f.fields) == 0 && f.predicate == nil }

// matches reports whether the filter holds for a value of the given kind.
func (f *filter) matches(kind Kind, value []byte) bool {
	if f.all() {
		return true
	}
	if kind != KindFields {
		return false
	}
	for i := range f.fields {
		v, ok := msgp.Field(value, string(f.fields[i].name))
		if !ok || !bytes.Equal(v, f.fields[i].value) {
			return false
		}
	}
	return f.predicate == nil || f.predicate.Match(value)
}

// field returns the value that the template demands of a field.
func (f *filter) field(name string) ([]byte, bool) {
	for i := range f.fields {
		if string(f.fields[i].name) == name {
			return f.fields[i].value, true
		}
	}
	return nil, false
}

// equal returns the value that the template demands at a path.
func (f *filter) equal(path string) ([]byte, bool) {
	if f.template == nil {
		return nil, false
	}
	return msgp.FieldPath(f.template, path)
}

// bound returns what the filter demands of the field at a path, and false if it
// does not demand that there be one.
func (f *filter) bound(path string) (predicate.Bound, bool) {
	v, equal := f.equal(path)
	var b predicate.Bound
	bounded := false
	if f.predicate != nil {
		b, bounded = f.predicate.Bound(path)
	}
	switch {
	case equal && bounded && !b.Admits(v):
		return predicate.Bound{Equal: [][]byte{}}, true
	case equal:
		return predicate.Bound{Equal: [][]byte{v}}, true
	}
	return b, bounded
}

// conditional reports whether the operation has a template or a predicate.
func (o *Op) conditional() bool { return len(o.Template) > 0 || len(o.Predicate) > 0 }

// unmet returns what a condition on an entry comes to: OK if the operation has
// none or it holds, CodeNotFound without an entry, CodeUnmet otherwise.
func (p *Partition) unmet(o *Op, exists bool, e *Entry) Code {
	if !o.conditional() {
		return OK
	}
	f, code := p.filter(o.Template, o.Predicate)
	switch {
	case code != OK:
		return code
	case !exists:
		return CodeNotFound
	case !f.matches(e.Kind, e.Value):
		return CodeUnmet
	}
	return OK
}

// Matches reports whether a value matches a template, both as in Op. A template
// that cannot be read matches nothing.
func Matches(tmpl []byte, kind Kind, value []byte) bool { return MatchesBoth(tmpl, nil, kind, value) }

// MatchesBoth reports whether a value matches a template and a predicate, as in
// Op. What cannot be read matches nothing.
func MatchesBoth(tmpl, pred []byte, kind Kind, value []byte) bool {
	f, code := newFilter(tmpl, pred)
	return code == OK && f.matches(kind, value)
}
