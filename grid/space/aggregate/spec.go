package aggregate

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// The limits of a specification and of what a partial holds. They keep an answer
// within one frame and a question from filling a member's memory.
const (
	MaxColumns   = 32       // columns of one Spec
	MaxGroupBy   = 8        // paths to group by
	MaxPathBytes = 512      // one path
	MaxGroups    = 10_000   // groups of one answer: more are for a query, page by page
	MaxDistinct  = 100_000  // values held to tell them apart, over all groups and columns
	MaxTop       = 1_000    // entries of one Top
	MaxBytes     = 16 << 20 // what a partial takes in memory, roughly; its encoding is smaller
)

// Func says what a column computes.
type Func uint8

// The functions. The numbers cross the wire: never reused or reordered.
const (
	FuncCount    Func = 1 // entries, or entries that have a value at the path
	FuncSum      Func = 2 // of numbers
	FuncMin      Func = 3 // the lowest value, in the order of msgp.Compare
	FuncMax      Func = 4 // the highest
	FuncAvg      Func = 5 // the mean of numbers, a float
	FuncDistinct Func = 6 // how many different values
	FuncTop      Func = 7 // the entries with the highest values
	FuncBottom   Func = 8 // the entries with the lowest values
)

var funcWords = [...]string{
	FuncCount: "count", FuncSum: "sum", FuncMin: "min", FuncMax: "max", FuncAvg: "avg",
	FuncDistinct: "distinct", FuncTop: "top", FuncBottom: "bottom",
}

// String returns the word of the function.
func (f Func) String() string {
	if f >= FuncCount && int(f) < len(funcWords) {
		return funcWords[f]
	}
	return fmt.Sprintf("function %d", uint8(f))
}

// ParseFunc reads the word that String writes.
func ParseFunc(word string) (Func, error) {
	for f := FuncCount; int(f) < len(funcWords); f++ {
		if funcWords[f] == word {
			return f, nil
		}
	}
	return 0, invalid("use "+strings.Join(funcWords[FuncCount:], ", "), "unknown function %q", word)
}

// Column is one column of the answer.
type Column struct {
	Func Func
	// Path leads to the field, with dots through nested maps; a name that has a
	// dot in it is written in double quotes. Only FuncCount may do without: it
	// then counts entries.
	Path string
	// N is how many entries FuncTop and FuncBottom keep.
	N int
	// Name is what the column is called in Having and OrderBy and in the answer.
	// Empty: the function's word and the path, "sum_price"; see Title.
	Name string
}

// Title returns the column's name: the one given, or the word of the function
// and the path with underscores between the steps.
func (c *Column) Title() string {
	switch {
	case c.Name != "":
		return c.Name
	case c.Path == "":
		return c.Func.String()
	}
	return c.Func.String() + "_" + strings.ReplaceAll(c.Path, ".", "_")
}

// As returns the column under another name.
func (c Column) As(name string) Column {
	c.Name = name
	return c
}

// Count counts entries.
func Count() Column { return Column{Func: FuncCount} }

// CountOf counts the entries that have a value at the path.
func CountOf(path string) Column { return Column{Func: FuncCount, Path: path} }

// Sum adds the numbers at the path. It is an integer if all of them are.
func Sum(path string) Column { return Column{Func: FuncSum, Path: path} }

// Min is the lowest value at the path.
func Min(path string) Column { return Column{Func: FuncMin, Path: path} }

// Max is the highest value at the path.
func Max(path string) Column { return Column{Func: FuncMax, Path: path} }

// Avg is the mean of the numbers at the path, a float.
func Avg(path string) Column { return Column{Func: FuncAvg, Path: path} }

// Distinct counts the different values at the path, exactly: see MaxDistinct.
func Distinct(path string) Column { return Column{Func: FuncDistinct, Path: path} }

// Top is the n entries with the highest values at the path, highest first; of
// equal ones those with the lower keys.
func Top(n int, path string) Column { return Column{Func: FuncTop, N: n, Path: path} }

// Bottom is the n entries with the lowest values at the path, lowest first.
func Bottom(n int, path string) Column { return Column{Func: FuncBottom, N: n, Path: path} }

// Condition narrows the rows of an answer; a predicate is one.
type Condition interface {
	// Match reports whether fields, a canonical msgpack map, meets the condition.
	Match(fields []byte) bool
}

// Order is a place in the order of rows.
type Order struct {
	Name       string // of a column, or a path of GroupBy
	Descending bool
}

// Spec says what is wanted of the entries. Having, OrderBy and Limit concern the
// finished answer: they do not travel to the partitions.
type Spec struct {
	Columns []Column
	// GroupBy makes one row for each combination of values at these paths.
	// Empty: one row for everything, also for nothing.
	GroupBy []string
	// Having keeps the rows that it matches: maps of the groups' paths and the
	// columns' names (a path with a dot is one name) to their values, those of
	// Top and Bottom left out. nil keeps all.
	Having Condition
	// OrderBy puts rows in order; nil, and equal rows, are in the order of the
	// groups' values, ascending, null first.
	OrderBy []Order
	// Limit cuts the answer behind so many rows. 0 is all.
	Limit int
}

// Validate reports what is wrong with s, or nil.
func (s *Spec) Validate() error {
	switch {
	case len(s.Columns) == 0 || len(s.Columns) > MaxColumns:
		return invalid("", "an aggregate has 1 to %d columns, not %d", MaxColumns, len(s.Columns))
	case len(s.GroupBy) > MaxGroupBy:
		return invalid("", "grouped by %d paths, at most %d", len(s.GroupBy), MaxGroupBy)
	case s.Limit < 0:
		return invalid("use 0 for no limit", "a limit of %d rows", s.Limit)
	}
	names := make(map[string]*Column, len(s.Columns)+len(s.GroupBy))
	for _, path := range s.GroupBy {
		if err := checkPath(path); err != nil {
			return err
		}
		if _, twice := names[path]; twice {
			return invalid("", "grouped twice by %q", path)
		}
		names[path] = nil
	}
	for i := range s.Columns {
		c := &s.Columns[i]
		if err := c.validate(); err != nil {
			return err
		}
		if _, twice := names[c.Title()]; twice {
			return invalid("give one of them another name", "two columns are called %q", c.Title())
		}
		names[c.Title()] = c
	}
	for _, o := range s.OrderBy {
		c, ok := names[o.Name]
		switch {
		case !ok:
			return invalid("name a column or a path of the grouping", "ordered by %q, which is not in the answer", o.Name)
		case c != nil && c.ranks():
			return invalid("", "ordered by %q, which is a list of entries", o.Name)
		}
	}
	return nil
}

func (c *Column) validate() error {
	if c.Func < FuncCount || int(c.Func) >= len(funcWords) {
		return invalid("", "unknown function %d", uint8(c.Func))
	}
	if c.ranks() && (c.N < 1 || c.N > MaxTop) {
		return invalid("", "%v has 1 to %d entries, not %d", c.Func, MaxTop, c.N)
	}
	if len(c.Name) > MaxPathBytes {
		return invalid("", "a column's name has at most %d bytes", MaxPathBytes)
	}
	if c.Func == FuncCount && c.Path == "" {
		return nil
	}
	return checkPath(c.Path)
}

// ranks reports whether the column holds entries rather than a value.
func (c *Column) ranks() bool { return c.Func == FuncTop || c.Func == FuncBottom }

func checkPath(path string) error {
	_, err := predicate.SplitPath(path)
	if err != nil || len(path) > MaxPathBytes {
		return invalid(`write field names with dots between them, those with a dot in them in double quotes`, "the path %.40q", path)
	}
	return nil
}

// Append appends the binary form of what the partitions need of s, which
// DecodeSpec reads.
func (s *Spec) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.GroupBy)))
	for _, path := range s.GroupBy {
		dst = appendBytes(dst, path)
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Columns)))
	for i := range s.Columns {
		c := &s.Columns[i]
		dst = append(dst, byte(c.Func))
		dst = binary.AppendUvarint(dst, uint64(max(c.N, 0)))
		dst = appendBytes(dst, c.Path)
		dst = appendBytes(dst, c.Name)
	}
	return dst
}

// DecodeSpec reads what Append wrote and validates it. It shares nothing with b.
func DecodeSpec(b []byte) (Spec, error) {
	d := decoder{b: b}
	var s Spec
	for range d.count(MaxGroupBy, 2) {
		s.GroupBy = append(s.GroupBy, string(d.bytes()))
	}
	for range d.count(MaxColumns, 4) {
		c := Column{Func: Func(d.byte())}
		c.N = int(min(d.uvarint(), MaxTop+1))
		c.Path, c.Name = string(d.bytes()), string(d.bytes())
		s.Columns = append(s.Columns, c)
	}
	if !d.done() {
		return Spec{}, invalid("", "a damaged specification")
	}
	if err := s.Validate(); err != nil {
		return Spec{}, err
	}
	return s, nil
}

func invalid(hint, format string, args ...any) error {
	return &space.Error{Code: space.CodeInvalid, Detail: "aggregate: " + fmt.Sprintf(format, args...), Hint: hint}
}
