package grid

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// codec turns values of a struct type into entries and back. A field of the
// struct is stored under the name in its grid tag, or under its Go name; a tag of
// "-" leaves it out. After the name the tag may say key (the entry's key: a
// string, []byte or an integer) and index (a hash index on this field).
type codec[T any] struct {
	key     int // index of the key field in T, -1 if there is none
	keyName string
	indexes []space.Index
}

const tagName = "grid"

func newCodec[T any]() (*codec[T], error) {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("%s is not a struct", t), Hint: "use a struct type, or a Batch for raw values"}
	}
	c := &codec[T]{key: -1}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options := parseTag(f)
		if !f.IsExported() || name == "-" {
			continue
		}
		for _, o := range options {
			switch o {
			case "key":
				if c.key >= 0 {
					return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("%s has two keys", t)}
				}
				if !keyable(f.Type) {
					return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("%s.%s cannot be a key", t, f.Name), Hint: "a key is a string, []byte or an integer"}
				}
				c.key, c.keyName = i, name
			case "index":
				c.indexes = append(c.indexes, space.Index{Name: name, Fields: []string{name}})
			case "omitempty":
			default:
				return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("%s.%s: unknown tag option %q", t, f.Name, o), Hint: "key, index or omitempty"}
			}
		}
	}
	if c.key < 0 {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("%s has no key", t), Hint: "tag one field with `grid:\"name,key\"`"}
	}
	return c, nil
}

func parseTag(f reflect.StructField) (name string, options []string) {
	parts := strings.Split(f.Tag.Get(tagName), ",")
	if name = parts[0]; name == "" {
		name = f.Name
	}
	return name, parts[1:]
}

func keyable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	case reflect.Slice:
		return t.Elem().Kind() == reflect.Uint8
	}
	return false
}

// keyOf returns the entry key of a value.
func (c *codec[T]) keyOf(v *T) []byte {
	f := reflect.ValueOf(v).Elem().Field(c.key)
	return appendKey(nil, f)
}

// appendKey appends the key form of a string, []byte or integer: integers as
// decimal text.
func appendKey(dst []byte, f reflect.Value) []byte {
	switch {
	case f.Kind() == reflect.String:
		return append(dst, f.String()...)
	case f.CanInt():
		return strconv.AppendInt(dst, f.Int(), 10)
	case f.CanUint():
		return strconv.AppendUint(dst, f.Uint(), 10)
	}
	return append(dst, f.Bytes()...)
}

// encode returns the canonical value of v.
func (c *codec[T]) encode(v *T) ([]byte, error) { return Marshal(v) }

// decode fills v from a stored value.
func (c *codec[T]) decode(e space.Entry, v *T) error {
	if e.Kind != space.KindFields {
		return &space.Error{Code: space.CodeWrongKind, Detail: "the entry holds bytes, not fields"}
	}
	return Unmarshal(e.Value, v)
}

// Marshal returns the canonical msgpack form of a Go value. Structs become maps
// under the names in their grid tags.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := msgpack.NewEncoder(&b)
	e.SetCustomStructTag(tagName)
	e.UseCompactInts(true)
	if err := e.Encode(v); err != nil {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: err.Error()}
	}
	value, err := msgp.Canonical(nil, b.Bytes())
	if err != nil {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: err.Error(), Hint: "a field holds a value that cannot be stored"}
	}
	return value, nil
}

// Unmarshal fills the value that v points to from msgpack. The bytes may come
// from anywhere: they are checked first, because the decoder trusts lengths.
func Unmarshal(b []byte, v any) error {
	if err := msgp.Check(b); err != nil {
		return &space.Error{Code: space.CodeInvalid, Detail: err.Error()}
	}
	d := msgpack.NewDecoder(bytes.NewReader(b))
	d.SetCustomStructTag(tagName)
	if err := d.Decode(v); err != nil {
		return &space.Error{Code: space.CodeWrongKind, Detail: err.Error(), Hint: "the stored fields do not fit the Go type"}
	}
	return nil
}
