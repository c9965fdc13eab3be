package grid

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// codec turns values of a struct type into entries and back, as its tags say.
type codec[T any] struct {
	*layout
}

func newCodec[T any]() (*codec[T], error) {
	l, err := layoutOf(reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	return &codec[T]{l}, nil
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

// keyOf returns the entry key of a value: the text of its key field, behind the
// {text of its routing field} if there is one and the key has no {tag} itself.
func (c *codec[T]) keyOf(v *T) []byte {
	f := reflect.ValueOf(v).Elem()
	key := keyOf(f.Field(c.key))
	if c.routing < 0 {
		return key
	}
	return routedKey(keyOf(f.Field(c.routing)), key)
}

// RoutedKey is the key of an entry in a space with a routing field: entries whose
// routing fields have the same text lie in one partition. Both are strings,
// []byte or integers. The entry's key is "{Routing}Key", or Key as it is if that
// has a {tag} already.
type RoutedKey struct {
	Routing, Key any
}

func routedKey(routing, key []byte) []byte {
	if open := bytes.IndexByte(key, '{'); open >= 0 && bytes.IndexByte(key[open+1:], '}') > 0 {
		return key
	}
	return fmt.Appendf(nil, "{%s}%s", routing, key)
}

// unrouted returns a key without the {tag} that routedKey puts before it.
func unrouted(key []byte) []byte {
	if end := bytes.IndexByte(key, '}'); end > 1 && key[0] == '{' && end+1 < len(key) {
		return key[end+1:]
	}
	return key
}

// leaseOf returns the lease that a value asks for, 0 for the space's default.
func (c *codec[T]) leaseOf(v *T) (time.Duration, error) {
	if c.lease < 0 {
		return 0, nil
	}
	switch x := reflect.ValueOf(v).Elem().Field(c.lease).Interface().(type) {
	case time.Duration:
		return x, nil
	case time.Time:
		if x.IsZero() {
			return 0, nil
		}
		if d := time.Until(x); d > 0 {
			return d, nil
		}
		return 0, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("the lease has ended at %s", x.Format(time.RFC3339)), Hint: "write a time to come, or the zero time for the space's default"}
	}
	panic("grid: a lease of another type")
}

// keyOf returns the key form of a string, []byte or integer: integers as decimal
// text.
func keyOf(f reflect.Value) []byte {
	switch {
	case f.Kind() == reflect.String:
		return []byte(f.String())
	case f.CanInt():
		return strconv.AppendInt(nil, f.Int(), 10)
	case f.CanUint():
		return strconv.AppendUint(nil, f.Uint(), 10)
	}
	return slices.Clone(f.Bytes())
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
