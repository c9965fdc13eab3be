package grid

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// tagName is the key of the struct tags that say how a field is stored. The
// package comment describes them.
const tagName = "grid"

// maxLayoutDepth is how deep structs in structs are looked into.
const maxLayoutDepth = 8

// layout is what the tags of a struct type say.
type layout struct {
	goType  reflect.Type
	key     int // field of the struct; -1 if there is none
	routing int
	lease   int
	keyName string
	// names of fields, empty if there is none
	routingName, groupName string

	indexes []*layoutIndex
	fields  []space.Field // all that is stored, with its type
}

// layoutIndex is an index as its fields name it.
type layoutIndex struct {
	name   string
	parts  []layoutPart
	sorted string // the path that the option ordered stood at
}

type layoutPart struct {
	position int
	path     string
}

// layoutOf reads the tags of a struct type. The error is ErrInvalid.
func layoutOf(t reflect.Type) (*layout, error) {
	l := &layout{goType: t, key: -1, routing: -1, lease: -1}
	if t.Kind() != reflect.Struct {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("%s is not a struct", t), Hint: "use a struct type, or a Batch for raw values"}
	}
	if err := l.walk(t, "", 0); err != nil {
		return nil, err
	}
	if l.key < 0 {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("%s has no key", t), Hint: "tag one field with `grid:\"name,key\"`"}
	}
	return l, nil
}

func parseTag(f reflect.StructField) (name string, options []string) {
	parts := strings.Split(f.Tag.Get(tagName), ",")
	if name = parts[0]; name == "" {
		name = f.Name
	}
	return name, parts[1:]
}

// walk reads the fields of a struct whose own path is prefix.
func (l *layout) walk(t reflect.Type, prefix string, depth int) error {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options := parseTag(f)
		if f.Anonymous && f.Tag.Get(tagName) == "" && typeOf(f.Type) == predicate.Map && structOf(f.Type) != nil {
			if depth < maxLayoutDepth {
				if err := l.walk(structOf(f.Type), prefix, depth+1); err != nil {
					return err
				}
			}
			continue
		}
		if !f.IsExported() {
			continue
		}
		at := &layoutField{l: l, f: f, name: name, path: prefix + name, top: depth == 0, i: i}
		for _, o := range options {
			if err := at.option(o); err != nil {
				return err
			}
		}
		if name == "-" {
			continue
		}
		inner := structOf(f.Type)
		if inner == nil || depth == maxLayoutDepth || strings.ContainsAny(name, `."`) {
			l.fields = append(l.fields, space.Field{Path: prefix + quoted(name), Type: typeOf(f.Type)})
			continue
		}
		before := len(l.fields)
		if err := l.walk(inner, prefix+name+".", depth+1); err != nil {
			return err
		}
		if len(l.fields) == before { // nothing is known of what lies in it
			l.fields = append(l.fields, space.Field{Path: prefix + name, Type: predicate.Map})
		}
	}
	return nil
}

// quoted writes a name as one step of a path.
func quoted(name string) string {
	if !strings.ContainsAny(name, `."`) {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// layoutField is a field whose options are being read.
type layoutField struct {
	l          *layout
	f          reflect.StructField
	name, path string
	top        bool // not inside of another struct
	i          int
	index      *layoutIndex // named last
}

func (x *layoutField) refuse(hint, format string, args ...any) error {
	return &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("%s.%s: ", x.l.goType, x.f.Name) + fmt.Sprintf(format, args...), Hint: hint}
}

func (x *layoutField) option(o string) error {
	word, argument, _ := strings.Cut(o, "=")
	if x.name == "-" && word != "lease" {
		return x.refuse("name the field", "it is not stored, so it cannot be %s", word)
	}
	switch word {
	case "key":
		return x.claim(&x.l.key, &x.l.keyName, "key", keyable(x.f.Type), "a key is a string, []byte or an integer")
	case "routing":
		return x.claim(&x.l.routing, &x.l.routingName, "routing", keyable(x.f.Type) && x.f.Type.Kind() != reflect.Slice, "a routing field is a string or an integer")
	case "group":
		none := -1
		if x.l.groupName != "" {
			none = 0
		}
		return x.claim(&none, &x.l.groupName, "group", true, "")
	case "lease":
		kind := x.f.Type == reflect.TypeFor[time.Duration]() || x.f.Type == reflect.TypeFor[time.Time]()
		return x.claim(&x.l.lease, new(string), "lease", kind, "a lease is a time.Duration or a time.Time")
	case "index":
		return x.indexed(argument)
	case "ordered":
		if x.index == nil {
			if err := x.indexed(""); err != nil {
				return err
			}
		}
		x.index.sorted = x.path
		return nil
	case "omitempty":
		return nil
	}
	return x.refuse("key, routing, group, lease, index, index=name:n, ordered or omitempty", "unknown tag option %q", o)
}

// claim gives a field an office that only one field of the struct has.
func (x *layoutField) claim(at *int, name *string, office string, fits bool, hint string) error {
	switch {
	case !x.top:
		return x.refuse("put it into the outer struct", "the %s cannot lie inside of another struct", office)
	case *at >= 0:
		return &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("%s has two fields for its %s", x.l.goType, office)}
	case !fits:
		return x.refuse(hint, "it cannot be the %s", office)
	}
	*at, *name = x.i, x.name
	return nil
}

// indexed notes that the field is in an index, of its own if argument is empty.
func (x *layoutField) indexed(argument string) error {
	if strings.Contains(x.name, ".") {
		return x.refuse("rename it", "a field with a dot in its name cannot be indexed")
	}
	name, position := x.path, 1
	if argument != "" {
		word, number, ok := strings.Cut(argument, ":")
		n, err := strconv.Atoi(number)
		if !ok || word == "" || err != nil || n < 1 {
			return x.refuse("write index=name:1, with the field's place in the index", "%q names no place in an index", argument)
		}
		name, position = word, n
	}
	at := slices.IndexFunc(x.l.indexes, func(ix *layoutIndex) bool { return ix.name == name })
	if at < 0 {
		at = len(x.l.indexes)
		x.l.indexes = append(x.l.indexes, &layoutIndex{name: name})
	}
	x.index = x.l.indexes[at]
	for _, p := range x.index.parts {
		if p.position == position {
			return x.refuse("give each field its own place", "place %d of index %q is taken", position, name)
		}
	}
	x.index.parts = append(x.index.parts, layoutPart{position, x.path})
	return nil
}

// definition returns the definition of a space of such entries.
func (l *layout) definition(name string) (space.Definition, error) {
	def := space.Definition{Name: name, Shape: space.ShapeFields, Key: l.keyName, Routing: l.routingName, Group: l.groupName}
	for _, ix := range l.indexes {
		slices.SortFunc(ix.parts, func(a, b layoutPart) int { return cmp.Compare(a.position, b.position) })
		x := space.Index{Name: ix.name, Ordered: ix.sorted != ""}
		for _, p := range ix.parts {
			x.Fields = append(x.Fields, p.path)
		}
		if last := x.Fields[len(x.Fields)-1]; x.Ordered && last != ix.sorted {
			return def, &space.Error{
				Code: space.CodeInvalid, Detail: fmt.Sprintf("%s: index %q is ordered in %s, which is not its last field", l.goType, ix.name, ix.sorted),
				Hint: "move the option ordered to " + last,
			}
		}
		def.Indexes = append(def.Indexes, x)
	}
	err := def.Validate()
	return def, err
}

// structOf returns the struct type that a type is or points to and whose fields
// are stored one by one, or nil.
func structOf(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || typeOf(t) != predicate.Map {
		return nil
	}
	return t
}

// encoders are the interfaces by which a type decides itself how it is stored.
var encoders = [...]reflect.Type{
	reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.Marshaler](),
	reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.TextMarshaler](),
}

// typeOf returns what the stored form of a Go type is.
func typeOf(t reflect.Type) predicate.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[time.Time]() {
		return predicate.Time
	}
	for _, e := range encoders {
		if t.Implements(e) || reflect.PointerTo(t).Implements(e) {
			return predicate.Any
		}
	}
	switch t.Kind() {
	case reflect.Bool:
		return predicate.Bool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return predicate.Int
	case reflect.Float32, reflect.Float64:
		return predicate.Float
	case reflect.String:
		return predicate.String
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return predicate.Bytes
		}
		return predicate.List
	case reflect.Map, reflect.Struct:
		return predicate.Map
	}
	return predicate.Any
}
