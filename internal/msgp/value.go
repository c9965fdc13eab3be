package msgp

import (
	"fmt"
	"math"
	"reflect"
	"time"
)

// AppendValue appends the canonical form of a Go value: nil, booleans,
// integers, floats, strings, []byte, [time.Time], slices, arrays and maps of
// these, in any nesting, also of named types and behind pointers. A nil
// pointer, slice or map is nil; slices and arrays of bytes are binary. It
// fails with ErrType for any other type, structs among them, with ErrKey for
// a map whose keys are neither strings nor integers, and with ErrNaN,
// ErrRange, ErrTooDeep and ErrTooLarge, as a value that contains itself
// does; dst is then returned as it was.
func AppendValue(dst []byte, v any) ([]byte, error) {
	w := valueWriter{newBuilder(dst)}
	if err := w.value(v, 0); err != nil {
		return dst, err
	}
	return w.dst, nil
}

type valueWriter struct{ builder }

// value appends v, which depth containers enclose. The types that decoding
// produces need no reflection.
func (w *valueWriter) value(v any, depth int) error {
	switch v := v.(type) {
	case nil:
		w.dst = AppendNil(w.dst)
	case bool:
		w.dst = AppendBool(w.dst, v)
	case int:
		w.dst = AppendInt(w.dst, int64(v))
	case int64:
		w.dst = AppendInt(w.dst, v)
	case uint64:
		w.dst = AppendUint(w.dst, v)
	case float64:
		return w.float(v)
	case string:
		return w.text(v)
	case []byte:
		return w.bytes(v)
	case time.Time:
		return w.time(v)
	case []any:
		return w.slice(v, depth)
	case map[string]any:
		return w.fields(v, depth)
	default:
		return w.reflected(reflect.ValueOf(v), depth)
	}
	return w.fits(0)
}

// fits reports whether n more bytes leave the value within MaxValue.
func (w *valueWriter) fits(n int) error {
	if n > MaxValue-w.size() {
		return ErrTooLarge
	}
	return nil
}

func (w *valueWriter) float(f float64) error {
	if math.IsNaN(f) {
		return ErrNaN
	}
	w.dst = AppendFloat(w.dst, f)
	return w.fits(0)
}

func (w *valueWriter) text(s string) error {
	if err := w.fits(len(s)); err != nil {
		return err
	}
	w.dst = AppendString(w.dst, s)
	return w.fits(0)
}

func (w *valueWriter) bytes(p []byte) error {
	if p == nil {
		w.dst = AppendNil(w.dst)
		return w.fits(0)
	}
	if err := w.fits(len(p)); err != nil {
		return err
	}
	w.dst = AppendBytes(w.dst, p)
	return w.fits(0)
}

func (w *valueWriter) time(t time.Time) error {
	if sec := t.Unix(); sec < minInstant || sec > maxInstant {
		return fmt.Errorf("%w: year %d", ErrRange, t.UTC().Year())
	}
	w.dst = AppendTime(w.dst, t)
	return w.fits(0)
}

// begin checks that a container of n values, enclosed by depth others, can
// still be appended: each value takes a byte at least.
func (w *valueWriter) begin(n, depth int) error {
	if depth == MaxDepth {
		return ErrTooDeep
	}
	return w.fits(n)
}

func (w *valueWriter) slice(s []any, depth int) error {
	if s == nil {
		w.dst = AppendNil(w.dst)
		return w.fits(0)
	}
	if err := w.begin(len(s), depth); err != nil {
		return err
	}
	w.dst = AppendArrayHeader(w.dst, len(s))
	for _, v := range s {
		if err := w.value(v, depth+1); err != nil {
			return err
		}
	}
	return w.fits(0)
}

func (w *valueWriter) fields(m map[string]any, depth int) error {
	if m == nil {
		w.dst = AppendNil(w.dst)
		return w.fits(0)
	}
	if err := w.begin(2*len(m), depth); err != nil {
		return err
	}
	w.dst = AppendMapHeader(w.dst, len(m))
	opened := w.openMap()
	for k, v := range m {
		w.key()
		if err := w.text(k); err != nil {
			return err
		}
		w.val()
		if err := w.value(v, depth+1); err != nil {
			return err
		}
		w.pair()
	}
	return w.closeMap(opened)
}

// reflected is value for the types it does not name.
func (w *valueWriter) reflected(v reflect.Value, depth int) error {
	for range MaxDepth {
		if k := v.Kind(); k != reflect.Pointer && k != reflect.Interface {
			break
		}
		v = v.Elem()
	}
	if v.IsValid() && v.Type() == reflect.TypeFor[time.Time]() {
		return w.time(v.Interface().(time.Time))
	}
	switch v.Kind() {
	case reflect.Invalid:
		w.dst = AppendNil(w.dst)
	case reflect.Bool:
		w.dst = AppendBool(w.dst, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		w.dst = AppendInt(w.dst, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		w.dst = AppendUint(w.dst, v.Uint())
	case reflect.Float32, reflect.Float64:
		return w.float(v.Float())
	case reflect.String:
		return w.text(v.String())
	case reflect.Slice, reflect.Array:
		return w.reflectedList(v, depth)
	case reflect.Map:
		return w.reflectedMap(v, depth)
	case reflect.Pointer, reflect.Interface:
		return ErrTooDeep
	default:
		return fmt.Errorf("%w: Go type %v", ErrType, v.Type())
	}
	return w.fits(0)
}

func (w *valueWriter) reflectedList(v reflect.Value, depth int) error {
	if v.Kind() == reflect.Slice && v.IsNil() {
		w.dst = AppendNil(w.dst)
		return w.fits(0)
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		p := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(p), v)
		return w.bytes(p)
	}
	if err := w.begin(v.Len(), depth); err != nil {
		return err
	}
	w.dst = AppendArrayHeader(w.dst, v.Len())
	for i := range v.Len() {
		if err := w.reflected(v.Index(i), depth+1); err != nil {
			return err
		}
	}
	return w.fits(0)
}

func (w *valueWriter) reflectedMap(v reflect.Value, depth int) error {
	if v.IsNil() {
		w.dst = AppendNil(w.dst)
		return w.fits(0)
	}
	if err := w.begin(2*v.Len(), depth); err != nil {
		return err
	}
	w.dst = AppendMapHeader(w.dst, v.Len())
	opened := w.openMap()
	for key, value := range v.Seq2() {
		w.key()
		at := len(w.dst)
		if err := w.reflected(key, depth+1); err != nil {
			return err
		}
		if kind := KindOf(w.dst[at:]); kind != String && kind != Int {
			return fmt.Errorf("%w: Go type %v", ErrKey, v.Type().Key())
		}
		w.val()
		if err := w.reflected(value, depth+1); err != nil {
			return err
		}
		w.pair()
	}
	return w.closeMap(opened)
}
