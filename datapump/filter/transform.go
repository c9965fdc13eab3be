package filter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Path leads to a field: names between dots, those with a dot or quote in them in
// double quotes, as in predicates.
type Path string

func (p Path) steps() ([]string, error) {
	steps, err := predicate.SplitPath(string(p))
	if err != nil {
		return nil, fmt.Errorf("field %q: %w", string(p), err)
	}
	return steps, nil
}

// locate finds a field. ok is false if something on the way is no map: then the
// field is not there and cannot be.
func locate(m []byte, steps []string) (place msgp.Place, ok bool) {
	at := m
	for _, s := range steps[:len(steps)-1] {
		v, there := msgp.Field(at, s)
		if !there {
			break
		}
		if msgp.KindOf(v) != msgp.Map {
			return place, false
		}
		at = v
	}
	place, err := msgp.Locate(m, steps[0], steps[1:])
	return place, err == nil
}

// value returns the field at a path, nil if there is none.
func value(m []byte, steps []string) []byte {
	place, ok := locate(m, steps)
	if !ok {
		return nil
	}
	v, _ := place.Value()
	return v
}

// unset appends m without a field.
func unset(dst, m []byte, steps []string) []byte {
	place, ok := locate(m, steps)
	if !ok {
		return append(dst, m...)
	}
	return place.Unset(dst)
}

// set appends m with a field; maps on the way are made.
func set(dst, m []byte, steps []string, v []byte) ([]byte, error) {
	place, ok := locate(m, steps)
	if !ok {
		return dst, fmt.Errorf("field %s cannot be set: something on the way is no map", strings.Join(steps, "."))
	}
	return place.Set(dst, v)
}

// Rename moves a field. An entry without it stays as it is; what was under the new
// name is replaced.
type Rename struct{ from, to []string }

// NewRename returns the transform that moves from to to. Neither may lie in the
// other.
func NewRename(from, to Path) (Rename, error) {
	var r Rename
	var err error
	if r.from, err = from.steps(); err != nil {
		return r, err
	}
	if r.to, err = to.steps(); err != nil {
		return r, err
	}
	if within(r.from, r.to) || within(r.to, r.from) {
		return r, fmt.Errorf("field %s cannot be renamed to %s: one lies in the other", from, to)
	}
	return r, nil
}

func within(outer, inner []string) bool {
	if len(outer) > len(inner) {
		return false
	}
	for i := range outer {
		if outer[i] != inner[i] {
			return false
		}
	}
	return true
}

// Transform implements Transform.
func (r Rename) Transform(dst []byte, e *Entry) ([]byte, error) {
	v := value(e.Fields, r.from)
	if v == nil {
		return append(dst, e.Fields...), nil
	}
	return set(dst, unset(nil, e.Fields, r.from), r.to, v)
}

// Drop removes fields.
type Drop struct{ fields [][]string }

// NewDrop returns the transform that removes fields.
func NewDrop(fields ...Path) (Drop, error) {
	steps, err := allSteps(fields)
	return Drop{steps}, err
}

func allSteps(fields []Path) (all [][]string, err error) {
	if len(fields) == 0 {
		return nil, errors.New("it names no field")
	}
	for _, f := range fields {
		steps, err := f.steps()
		if err != nil {
			return nil, err
		}
		all = append(all, steps)
	}
	return all, nil
}

// Transform implements Transform.
func (d Drop) Transform(dst []byte, e *Entry) ([]byte, error) {
	m := e.Fields
	for _, f := range d.fields {
		m = unset(nil, m, f)
	}
	return append(dst, m...), nil
}

// Keep removes all fields but some.
type Keep struct{ fields [][]string }

// NewKeep returns the transform that keeps nothing but fields.
func NewKeep(fields ...Path) (Keep, error) {
	steps, err := allSteps(fields)
	return Keep{steps}, err
}

// Transform implements Transform.
func (k Keep) Transform(dst []byte, e *Entry) ([]byte, error) {
	kept := msgp.AppendMapHeader(nil, 0)
	for _, f := range k.fields {
		v := value(e.Fields, f)
		if v == nil {
			continue
		}
		out, err := set(nil, kept, f, v)
		if err != nil {
			return dst, err
		}
		kept = out
	}
	return append(dst, kept...), nil
}

// maskText stands for what is hidden.
const maskText = "***"

// Mask hides fields: a text becomes ***, followed by its last letters if the mask
// shows some; anything else that is not nil becomes ***.
type Mask struct {
	fields [][]string
	show   int
}

// NewMask returns the transform that hides fields. Of texts that are at least
// twice as long, the last show letters stay to be seen.
func NewMask(show int, fields ...Path) (Mask, error) {
	if show < 0 {
		return Mask{}, errors.New("a mask shows no negative number of letters")
	}
	steps, err := allSteps(fields)
	return Mask{steps, show}, err
}

// Transform implements Transform.
func (k Mask) Transform(dst []byte, e *Entry) ([]byte, error) {
	m := e.Fields
	for _, f := range k.fields {
		v := value(m, f)
		if v == nil || msgp.KindOf(v) == msgp.Nil {
			continue
		}
		out, err := set(nil, m, f, msgp.AppendString(nil, k.hide(v)))
		if err != nil {
			return dst, err
		}
		m = out
	}
	return append(dst, m...), nil
}

func (k Mask) hide(v []byte) string {
	s, _, err := msgp.ReadString(v)
	if err != nil || k.show == 0 || !utf8.Valid(s) || utf8.RuneCount(s) < 2*k.show {
		return maskText
	}
	at := len(s)
	for range k.show {
		_, size := utf8.DecodeLastRune(s[:at])
		at -= size
	}
	return maskText + string(s[at:])
}

// Compute sets a field: to a constant, to a copy of another field, or to a text
// with fields in it.
type Compute struct {
	field    []string
	constant []byte
	from     []string
	template template
}

// NewConstant returns the transform that sets a field to a value, given as Go
// value or, with the type msgp has for it, nested in slices and maps.
func NewConstant(field Path, v any) (Compute, error) {
	steps, err := field.steps()
	if err != nil {
		return Compute{}, err
	}
	encoded, err := msgp.AppendValue(nil, v)
	if err != nil {
		return Compute{}, fmt.Errorf("field %s: %w", field, err)
	}
	return Compute{field: steps, constant: encoded}, nil
}

// NewCopy returns the transform that sets a field to a copy of another, which is
// absent if that one is.
func NewCopy(field, from Path) (Compute, error) {
	to, err := field.steps()
	if err != nil {
		return Compute{}, err
	}
	source, err := from.steps()
	return Compute{field: to, from: source}, err
}

// NewTemplate returns the transform that sets a field to a text in which ${path} is
// replaced by a field, ${$key} by the entry's key and ${$space} by the name of its
// space. $$ is a dollar. A text stands for itself, an absent or nil field for
// nothing, anything else for its JSON.
func NewTemplate(field Path, text string) (Compute, error) {
	steps, err := field.steps()
	if err != nil {
		return Compute{}, err
	}
	t, err := parseTemplate(text)
	return Compute{field: steps, template: t}, err
}

// Transform implements Transform.
func (c Compute) Transform(dst []byte, e *Entry) ([]byte, error) {
	v := c.constant
	switch {
	case c.from != nil:
		if v = value(e.Fields, c.from); v == nil {
			return unset(dst, e.Fields, c.field), nil
		}
	case c.template != nil:
		text, err := c.template.text(e)
		if err != nil {
			return dst, err
		}
		v = msgp.AppendString(nil, text)
	}
	return set(dst, e.Fields, c.field, v)
}

// template is a text with holes.
type template []part

type part struct {
	text string
	hole []string // the path of a field; nil: the text itself
	key  bool     // the entry's key
	name bool     // the name of its space
}

func parseTemplate(text string) (template, error) {
	t := template{}
	for text != "" {
		before, rest, found := strings.Cut(text, "$")
		t = append(t, part{text: before})
		switch {
		case !found:
			return t, nil
		case strings.HasPrefix(rest, "$"):
			t, text = append(t, part{text: "$"}), rest[1:]
		case strings.HasPrefix(rest, "{"):
			name, after, closed := strings.Cut(rest[1:], "}")
			if !closed {
				return nil, fmt.Errorf("template: a ${ at %q is not closed", "$"+rest)
			}
			text = after
			switch name {
			case "$key":
				t = append(t, part{key: true})
			case "$space":
				t = append(t, part{name: true})
			default:
				steps, err := Path(name).steps()
				if err != nil {
					return nil, fmt.Errorf("template: %w", err)
				}
				t = append(t, part{hole: steps})
			}
		default:
			return nil, fmt.Errorf("template: a $ at %q is neither ${path} nor $$", "$"+rest)
		}
	}
	return t, nil
}

// text fills the holes.
func (t template) text(e *Entry) ([]byte, error) {
	var out []byte
	for _, p := range t {
		switch {
		case p.key:
			out = append(out, e.Key...)
		case p.name:
			out = append(out, e.Space...)
		case p.hole == nil:
			out = append(out, p.text...)
		default:
			var err error
			if out, err = appendPlain(out, value(e.Fields, p.hole)); err != nil {
				return nil, err
			}
		}
		if len(out) > msgp.MaxValue {
			return nil, errors.New("template: the text is larger than a value may be (" + strconv.Itoa(msgp.MaxValue) + " bytes)")
		}
	}
	return out, nil
}

func appendPlain(dst, v []byte) ([]byte, error) {
	switch msgp.KindOf(v) {
	case msgp.Invalid, msgp.Nil:
		return dst, nil
	case msgp.String:
		s, _, err := msgp.ReadString(v)
		return append(dst, s...), err
	}
	return msgp.AppendJSON(dst, v)
}
