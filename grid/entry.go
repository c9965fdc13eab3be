package grid

import (
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Version is the version of an entry: the number of the change that made it in
// its partition. It never repeats within a partition's history.
type Version = space.Seq

// Kind says how an entry's value is to be read.
type Kind = space.Kind

// The kinds of a value.
const (
	Bytes  = space.KindBytes  // opaque bytes
	Fields = space.KindFields // a canonical msgpack map of named fields
)

// Forever asks for a lease that does not end, also in a space that grants
// shorter ones by default.
const Forever = space.Forever

// Entry is one entry without a Go type. Its slices must not be changed.
type Entry struct {
	Key     []byte
	Value   []byte
	Kind    Kind
	Version Version       // of the entry as read; not looked at by writes
	Lease   time.Duration // asked for by a write: 0 is the space's default
	// Deadline is the end of the lease on the partition's clock, 0 if it does
	// not end..
	Deadline space.Time
}

func entryOf(e space.Entry) Entry {
	return Entry{Key: e.Key, Value: e.Value, Kind: e.Kind, Version: e.Version, Deadline: e.Deadline}
}

// Field returns the value of a field as a Go value (see msgp for the types), and
// whether the entry has it.
func (e Entry) Field(name string) (any, bool) {
	if e.Kind != Fields {
		return nil, false
	}
	b, ok := msgp.Field(e.Value, name)
	if !ok {
		return nil, false
	}
	v, err := msgp.Decode(b)
	return v, err == nil
}

// FieldsOf returns the canonical value of an entry of fields, from Go values:
// nil, booleans, integers, floats, strings, []byte, time.Time, []any and
// map[string]any of these.
func FieldsOf(fields map[string]any) ([]byte, error) {
	b, err := msgp.AppendValue(nil, fields)
	if err != nil {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: err.Error(), Hint: "use plain values, or a Space of a struct type"}
	}
	return b, nil
}

// Template says which entries are meant: those that have all its fields with
// equal values. A field that is not named may have any value. Fields are
// compared as stored: a Go zero value is a value.
type Template map[string]any

// encode returns the canonical form; nil matches everything.
func (t Template) encode() ([]byte, error) {
	if len(t) == 0 {
		return nil, nil
	}
	b, err := FieldsOf(t)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	return b, nil
}
