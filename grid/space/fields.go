package space

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// CheckFilter reports why a template or a predicate, both as in Op, could match
// nothing in a space whose fields are declared: it names an unknown field, or
// compares one with what its type never equals. The error is an *Error that
// names the field and the known ones. Nil is returned for a space that declares
// no fields, and for a nil template or predicate.
func (d *Definition) CheckFilter(template, pred []byte) error {
	f, code := newFilter(template, pred)
	if code != OK {
		return &Error{Code: code, Detail: fmt.Sprintf("space %q: the template or the predicate cannot be read", d.Name)}
	}
	if len(d.Fields) == 0 {
		return nil
	}
	for i := range f.fields {
		if err := d.checkEqual(quotedStep(string(f.fields[i].name)), f.fields[i].value); err != nil {
			return err
		}
	}
	if f.predicate == nil {
		return nil
	}
	err := f.predicate.Check(d.typeAt)
	if refused, ok := errors.AsType[*predicate.Error](err); ok {
		return d.refuseFilter(refused.Detail)
	}
	return err
}

// checkEqual checks that a template may demand a value at a path.
func (d *Definition) checkEqual(path string, value []byte) error {
	declared, ok := d.typeAt(path)
	if !ok {
		return d.refuseFilter("the template names " + path + ", a field that is not declared")
	}
	if k := msgp.KindOf(value); !typeAdmits(declared, k) {
		return d.refuseFilter(fmt.Sprintf("the template demands of %s, which is of type %s, to be of kind %s", path, declared, k))
	}
	return nil
}

// typeAdmits reports whether a value of a kind can be in a field of a type. Any
// field may be nil.
func typeAdmits(t predicate.Type, k msgp.Kind) bool {
	if t == predicate.Any || k == msgp.Nil {
		return true
	}
	switch k {
	case msgp.Bool:
		return t == predicate.Bool
	case msgp.Int:
		return t == predicate.Int || t == predicate.Float || t == predicate.Number
	case msgp.Float:
		return t == predicate.Float || t == predicate.Number
	case msgp.String:
		return t == predicate.String
	case msgp.Bytes:
		return t == predicate.Bytes
	case msgp.Ext:
		return t == predicate.Time
	case msgp.Array:
		return t == predicate.List
	}
	return t == predicate.Map
}

// typeAt returns what is declared of a path: its type, Map if declared fields lie
// below it, Any if it lies below a field of that type or below a map of which
// nothing more is declared.
func (d *Definition) typeAt(path string) (predicate.Type, bool) {
	inside := func(outer, inner string) bool { return strings.HasPrefix(inner, outer) && inner[len(outer):][0] == '.' }
	above := predicate.Any
	known, below := false, false
	for _, f := range d.Fields {
		switch {
		case f.Path == path:
			return f.Type, true
		case len(f.Path) > len(path) && inside(path, f.Path):
			above, known = predicate.Map, true
		case len(f.Path) < len(path) && inside(f.Path, path) && (f.Type == predicate.Any || f.Type == predicate.Map):
			below = !d.detailed(f.Path)
		}
	}
	return above, known || below
}

// detailed reports whether fields below a path are declared.
func (d *Definition) detailed(path string) bool {
	return slices.ContainsFunc(d.Fields, func(f Field) bool { return strings.HasPrefix(f.Path, path+".") })
}

func (d *Definition) refuseFilter(detail string) error {
	known := make([]string, len(d.Fields))
	for i, f := range d.Fields {
		known[i] = f.Path + " " + f.Type.String()
	}
	slices.Sort(known)
	return &Error{
		Code: CodeInvalid, Detail: fmt.Sprintf("space %q: %s", d.Name, detail),
		Hint: "the declared fields are " + strings.Join(known, ", "),
	}
}

// quotedStep writes the name of a field as a path: in double quotes if it has a
// dot or a quote in it, or is empty.
func quotedStep(name string) string {
	if name != "" && !strings.ContainsAny(name, `."`) {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// CheckRouting reports why an entry may not lie under a key: in a space with a
// routing field the {tag} of the key is the text of that field, a string as it
// is or an integer in decimal. The error is an *Error.
func (d *Definition) CheckRouting(key []byte, kind Kind, value []byte) error {
	if d.routed(key, kind, value) {
		return nil
	}
	detail := fmt.Sprintf("space %q: the entry has no text or integer in its routing field %s", d.Name, d.Routing)
	if text, ok := routingText(kind, value, d.Routing); ok {
		detail = fmt.Sprintf("space %q: %s is %q, the key %q has the tag %q", d.Name, d.Routing, text, key, tagOf(key))
	}
	return &Error{Code: CodeInvalid, Detail: detail, Hint: fmt.Sprintf("write it under a key with {the text of %s} in it", d.Routing)}
}

// routed reports whether key and value agree on where the entry lies.
func (d *Definition) routed(key []byte, kind Kind, value []byte) bool {
	if d.Routing == "" {
		return true
	}
	text, ok := routingText(kind, value, d.Routing)
	return ok && bytes.Equal(text, tagOf(key))
}

// tagOf returns the part of a key that decides its slot, or nil if the key has
// no tag.
func tagOf(key []byte) []byte {
	if tag := hashTag(key); len(tag) < len(key) {
		return tag
	}
	return nil
}

// routingText returns the text that a routing field stands for in a key.
func routingText(kind Kind, value []byte, field string) ([]byte, bool) {
	if kind != KindFields {
		return nil, false
	}
	v, _ := msgp.FieldPath(value, field)
	switch msgp.KindOf(v) {
	case msgp.String:
		s, _, err := msgp.ReadString(v)
		return s, err == nil && len(s) > 0
	case msgp.Int:
		if i, _, err := msgp.ReadInt(v); err == nil {
			return strconv.AppendInt(nil, i, 10), true
		}
		u, _, err := msgp.ReadUint(v)
		return strconv.AppendUint(nil, u, 10), err == nil
	}
	return nil, false
}
