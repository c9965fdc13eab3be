package space

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// Bounds of definitions and entries. They are part of the state machine: a
// command beyond them is refused by every replica alike.
const (
	MaxKeyBytes     = 1024    // a key has 1 to MaxKeyBytes bytes
	MaxValueBytes   = 1 << 20 // records are rewritten whole, so a value stays small
	MaxNameBytes    = 128     // the name of a space, an index, a field or a sink
	MaxIndexes      = 16      // indexes of one space; each costs a tree insert per write
	MaxIndexFields  = 8       // fields of one compound index
	MaxFields       = 256     // declared fields of one space
	MaxSpaces       = 4096    // spaces of a grid
	MaxSinks        = 16      // sinks of a grid
	MaxOps          = 4096    // operations of one command
	MaxCommandBytes = 8 << 20 // one encoded command
	MaxAttempts     = 1 << 16 // claims of one entry that are counted
)

// DefaultScanLimit is the number of entries a template without a usable index
// may examine in one partition when the definition does not say otherwise.
const DefaultScanLimit = 10_000

// Shape says what the entries of a space look like.
type Shape uint8

// The shapes of a space.
const (
	ShapeAny    Shape = iota // each entry is either bytes or fields, as its Kind says
	ShapeFields              // every entry is a msgpack map of named fields
	ShapeBytes               // every entry is opaque bytes
)

// String returns the word used in listings and in JSON.
func (s Shape) String() string {
	switch s {
	case ShapeAny:
		return "any"
	case ShapeFields:
		return "fields"
	case ShapeBytes:
		return "bytes"
	}
	return fmt.Sprintf("shape(%d)", uint8(s))
}

// ParseShape reads the word that String writes.
func ParseShape(s string) (Shape, error) {
	for _, x := range []Shape{ShapeAny, ShapeFields, ShapeBytes} {
		if s == x.String() {
			return x, nil
		}
	}
	return 0, &Error{Code: CodeInvalid, Detail: fmt.Sprintf("unknown shape %q", s), Hint: "use any, fields or bytes"}
}

// Kind says how the value of one entry is to be read.
type Kind uint8

// The kinds of a value.
const (
	KindBytes  Kind = iota // opaque bytes
	KindFields             // a canonical msgpack map whose keys are strings
)

// Definition is what a grid knows of a space. It reaches partitions by command,
// so that every replica works under the same definition.
type Definition struct {
	ID    ID
	Name  string
	Shape Shape
	// Key names the field that clients take an entry's key from when they
	// write an entry without one. Empty: keys are given or generated. The
	// state machine itself does not look at it.
	Key string
	// Indexes are over one field or several each.
	Indexes []Index
	// Fields declares fields and their types, so that a template or a predicate
	// that could match nothing is refused: see CheckFilter. Entries are not held
	// against it. Empty: nothing is known of the fields.
	Fields []Field
	// Lease is granted when a write asks for none. 0 is forever.
	Lease time.Duration
	// ScanLimit bounds what a template without a usable index may examine in
	// one partition. 0 is DefaultScanLimit, negative is no limit.
	ScanLimit int
	// Group names the field whose value orders takes and claims: of the entries
	// that have the same value only the oldest is handed out, and none while a
	// claim on one of them lasts. Empty: entries are independent.
	Group string
	// Routing names the field whose text is the {tag} of every key, so that
	// entries with the same value lie in one partition. A write whose key says
	// otherwise is refused. Empty: keys alone decide.
	Routing string
	// ClaimLease is how long a claim lasts that asks for no time of its own. 0
	// is DefaultClaimLease.
	ClaimLease time.Duration
	// MaxAttempts is how many claims of an entry may end without an ack. After
	// the last one the entry moves to the space DeadLetter, which must have the
	// same shape, under its key. 0 is no limit.
	MaxAttempts int
	DeadLetter  ID
}

// DefaultClaimLease is how long a claim lasts when neither it nor the space says
// otherwise.
const DefaultClaimLease = 30 * time.Second

// Index finds the entries that have given values in all of Fields. An entry that
// lacks one of the fields is not in the index. A field may be a path through
// nested maps, with dots.
type Index struct {
	Name   string
	Fields []string
	// Ordered lets the last field also serve comparisons, ranges and prefixes,
	// and entries be found in its order; the fields before it serve equality.
	Ordered bool
}

// Field declares one field of the entries of a space.
type Field struct {
	// Path leads to the field, with dots through nested maps. A name that has a
	// dot in it is written in double quotes.
	Path string
	Type predicate.Type
}

// Sink is a place that wants every change, as the partitions know it.
type Sink struct {
	ID   SinkID
	Name string
	// Required sinks hold the changelog: nothing is trimmed before they have it.
	Required bool
}

// SinkID names a sink inside a grid; it is never reused.
type SinkID uint16

// StoreSink is the embedded store that every replica feeds by itself.
const StoreSink SinkID = 1

// Validate reports what is wrong with d, or nil.
func (d *Definition) Validate() error {
	bad := func(format string, args ...any) error {
		return &Error{Code: CodeInvalid, Detail: fmt.Sprintf("space %q: ", d.Name) + fmt.Sprintf(format, args...)}
	}
	switch {
	case d.Name == "" || len(d.Name) > MaxNameBytes:
		return bad("a name has 1 to %d bytes", MaxNameBytes)
	case !nameOK(d.Name):
		return bad("a name has letters, digits, '_', '-', '.' only and begins with a letter or digit")
	case d.Shape > ShapeBytes:
		return bad("unknown shape %d", d.Shape)
	case d.Lease < 0, d.ClaimLease < 0:
		return bad("a lease must not be negative")
	case d.ClaimLease > MaxClaimLease:
		return bad("a claim lasts at most %v", MaxClaimLease)
	case d.MaxAttempts < 0 || d.MaxAttempts > MaxAttempts:
		return bad("the attempts are 0 (no limit) to %d", MaxAttempts)
	case d.MaxAttempts > 0 && (d.DeadLetter == 0 || d.DeadLetter == d.ID):
		return bad("a limit on attempts needs another space for what exceeds it")
	case len(d.Group) > MaxNameBytes, len(d.Routing) > MaxNameBytes:
		return bad("a field name has at most %d bytes", MaxNameBytes)
	case len(d.Indexes) > MaxIndexes:
		return bad("at most %d indexes", MaxIndexes)
	case len(d.Key) > MaxNameBytes:
		return bad("the key field's name has at most %d bytes", MaxNameBytes)
	case d.Shape == ShapeBytes && (len(d.Indexes) > 0 || d.Key != "" || d.Group != "" || d.Routing != "" || len(d.Fields) > 0):
		return bad("a space of opaque bytes has no fields to declare, index or take keys from")
	case len(d.Fields) > MaxFields:
		return bad("at most %d declared fields", MaxFields)
	}
	for i, f := range d.Fields {
		switch {
		case f.Path == "" || len(f.Path) > MaxNameBytes:
			return bad("the path of a declared field has 1 to %d bytes", MaxNameBytes)
		case f.Type > predicate.Map:
			return bad("field %s has the unknown type %d", f.Path, f.Type)
		case slices.ContainsFunc(d.Fields[:i], func(g Field) bool { return g.Path == f.Path }):
			return bad("field %s is declared twice", f.Path)
		}
	}
	for i, x := range d.Indexes {
		if x.Name == "" || len(x.Name) > MaxNameBytes || !nameOK(x.Name) {
			return bad("index %d needs a name of letters and digits", i+1)
		}
		if len(x.Fields) == 0 || len(x.Fields) > MaxIndexFields {
			return bad("index %q has 1 to %d fields", x.Name, MaxIndexFields)
		}
		for j, f := range x.Fields {
			if slices.Contains(strings.Split(f, "."), "") || len(f) > MaxNameBytes || slices.Contains(x.Fields[:j], f) {
				return bad("index %q: field names are not empty, not longer than %d bytes and not repeated", x.Name, MaxNameBytes)
			}
		}
		for _, y := range d.Indexes[:i] {
			if y.Name == x.Name {
				return bad("two indexes are named %q", x.Name)
			}
			if y.Ordered == x.Ordered && slices.Equal(y.Fields, x.Fields) {
				return bad("index %q repeats index %q", x.Name, y.Name)
			}
		}
	}
	return nil
}

// Clone returns a copy that shares nothing with d.
func (d *Definition) Clone() Definition {
	c := *d
	c.Indexes = make([]Index, len(d.Indexes))
	for i, x := range d.Indexes {
		c.Indexes[i] = Index{Name: x.Name, Fields: slices.Clone(x.Fields), Ordered: x.Ordered}
	}
	c.Fields = slices.Clone(d.Fields)
	return c
}

func (d *Definition) scanLimit() int {
	switch {
	case d.ScanLimit == 0:
		return DefaultScanLimit
	case d.ScanLimit < 0:
		return int(^uint(0) >> 1)
	}
	return d.ScanLimit
}

func nameOK(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '_' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return true
}
